//! The quorum of controllers, and who belongs to the cluster.

message! {
    /// Describes the voters and observers of the controller quorum (KIP-595, KIP-836, KIP-853).
    describe_quorum_request: DescribeQuorumRequest, versions 0-2, flexible 0+ {
        topics: [TopicData], 0+;
    }
    TopicData {
        topic_name: string,          0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition_index: int32, 0+;
    }
}

message! {
    /// Answers `DescribeQuorumRequest`: leader, epoch, replicas and their lag.
    describe_quorum_response: DescribeQuorumResponse, versions 0-2, flexible 0+ {
        error_code:    error_code,  0+;
        error_message: string,      2+ nullable 2+, ignorable;
        topics:        [TopicData], 0+;
        nodes:         [Node],      2+;
    }
    TopicData {
        topic_name: string,          0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition_index: int32,          0+;
        error_code:      error_code,     0+;
        error_message:   string,         2+ nullable 2+, ignorable;
        leader_id:       int32,          0+;
        leader_epoch:    int32,          0+;
        high_watermark:  int64,          0+;
        current_voters:  [ReplicaState], 0+;
        observers:       [ReplicaState], 0+;
    }
    ReplicaState {
        replica_id:               int32,      0+;
        replica_directory_id:     uuid,       2+;
        log_end_offset:           int64,      0+;
        last_fetch_timestamp:     int64 = -1, 1+, ignorable;
        last_caught_up_timestamp: int64 = -1, 1+, ignorable;
    }
    Node {
        node_id:   int32,      2+;
        listeners: [Listener], 2+;
    }
    Listener {
        name: string, 2+;
        host: string, 2+;
        port: uint16, 2+;
    }
}

message! {
    /// Adds a controller to the voters (KIP-853).
    add_raft_voter_request: AddRaftVoterRequest, versions 0-1, flexible 0+ {
        cluster_id:         string,      0+ nullable 0+;
        timeout_ms:         int32,       0+;
        voter_id:           int32,       0+;
        voter_directory_id: uuid,        0+;
        listeners:          [Listener],  0+;
        ack_when_committed: bool = true, 1+;
    }
    Listener {
        name: string, 0+;
        host: string, 0+;
        port: uint16, 0+;
    }
}

message! {
    /// Answers `AddRaftVoterRequest`: whether it was added.
    add_raft_voter_response: AddRaftVoterResponse, versions 0-1, flexible 0+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
        error_message:    string,     0+ nullable 0+, ignorable;
    }
}

message! {
    /// Takes a controller out of the voters (KIP-853).
    remove_raft_voter_request: RemoveRaftVoterRequest, versions 0, flexible 0+ {
        cluster_id:         string, 0+ nullable 0+;
        voter_id:           int32,  0+;
        voter_directory_id: uuid,   0+;
    }
}

message! {
    /// Answers `RemoveRaftVoterRequest`: whether it was removed.
    remove_raft_voter_response: RemoveRaftVoterResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
        error_message:    string,     0+ nullable 0+, ignorable;
    }
}

message! {
    /// Forgets a broker that is gone for good (KIP-500).
    unregister_broker_request: UnregisterBrokerRequest, versions 0, flexible 0+ {
        broker_id: int32, 0+;
    }
}

message! {
    /// Answers `UnregisterBrokerRequest`: whether it was forgotten.
    unregister_broker_response: UnregisterBrokerResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
        error_message:    string,     0+ nullable 0+;
    }
}

message! {
    /// Forgets a controller that is gone for good.
    unregister_controller_request: UnregisterControllerRequest, versions 0, flexible 0+ {
        controller_id: int32, 0+;
    }
}

message! {
    /// Answers `UnregisterControllerRequest`: whether it was forgotten.
    unregister_controller_response: UnregisterControllerResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
        error_message:    string,     0+ nullable 0+;
    }
}
