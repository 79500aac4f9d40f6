//! Moving replicas and leaders, and where replicas lie on disk.

message! {
    /// Moves partitions to other replicas, or cancels that (KIP-455).
    alter_partition_reassignments_request: AlterPartitionReassignmentsRequest, versions 0-1, flexible 0+ {
        timeout_ms:                      int32 = 60000,       0+;
        allow_replication_factor_change: bool = true,         1+;
        topics:                          [ReassignableTopic], 0+;
    }
    ReassignableTopic {
        name:       string,                  0+;
        partitions: [ReassignablePartition], 0+;
    }
    ReassignablePartition {
        partition_index: int32,          0+;
        replicas:        [int32] = None, 0+ nullable 0+;
    }
}

message! {
    /// Answers `AlterPartitionReassignmentsRequest`: a result per partition.
    alter_partition_reassignments_response: AlterPartitionReassignmentsResponse, versions 0-1, flexible 0+ {
        throttle_time_ms:                int32,                       0+;
        allow_replication_factor_change: bool = true,                 1+, ignorable;
        error_code:                      error_code,                  0+;
        error_message:                   string,                      0+ nullable 0+;
        responses:                       [ReassignableTopicResponse], 0+;
    }
    ReassignableTopicResponse {
        name:       string,                          0+;
        partitions: [ReassignablePartitionResponse], 0+;
    }
    ReassignablePartitionResponse {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
        error_message:   string,     0+ nullable 0+;
    }
}

message! {
    /// Lists partitions on the move (KIP-455).
    list_partition_reassignments_request: ListPartitionReassignmentsRequest, versions 0, flexible 0+ {
        timeout_ms: int32 = 60000,                             0+;
        topics:     [ListPartitionReassignmentsTopics] = None, 0+ nullable 0+;
    }
    ListPartitionReassignmentsTopics {
        name:              string,  0+;
        partition_indexes: [int32], 0+;
    }
}

message! {
    /// Answers `ListPartitionReassignmentsRequest`: replicas that come and go.
    list_partition_reassignments_response: ListPartitionReassignmentsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                      0+;
        error_code:       error_code,                 0+;
        error_message:    string,                     0+ nullable 0+;
        topics:           [OngoingTopicReassignment], 0+;
    }
    OngoingTopicReassignment {
        name:       string,                         0+;
        partitions: [OngoingPartitionReassignment], 0+;
    }
    OngoingPartitionReassignment {
        partition_index:   int32,   0+;
        replicas:          [int32], 0+;
        adding_replicas:   [int32], 0+;
        removing_replicas: [int32], 0+;
    }
}

message! {
    /// Elects preferred leaders, or unclean ones (KIP-183, KIP-460). Null partitions means all.
    elect_leaders_request: ElectLeadersRequest, versions 0-2, flexible 2+ {
        election_type:    int8,              1+;
        topic_partitions: [TopicPartitions], 0+ nullable 0+;
        timeout_ms:       int32 = 60000,     0+;
    }
    TopicPartitions {
        topic:      string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `ElectLeadersRequest`: a result per partition.
    elect_leaders_response: ElectLeadersResponse, versions 0-2, flexible 2+ {
        throttle_time_ms:         int32,                   0+;
        error_code:               error_code,              1+;
        replica_election_results: [ReplicaElectionResult], 0+;
    }
    ReplicaElectionResult {
        topic:            string,            0+;
        partition_result: [PartitionResult], 0+;
    }
    PartitionResult {
        partition_id:  int32,      0+;
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
    }
}

message! {
    /// Describes log directories and the replicas in them (KIP-113).
    describe_log_dirs_request: DescribeLogDirsRequest, versions 1-5, flexible 2+ {
        topics: [DescribableLogDirTopic], 0+ nullable 0+;
    }
    DescribableLogDirTopic {
        topic:      string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `DescribeLogDirsRequest`: sizes and lags; v4 adds the space of volumes (KIP-827).
    describe_log_dirs_response: DescribeLogDirsResponse, versions 1-5, flexible 2+ {
        throttle_time_ms: int32,                   0+;
        error_code:       error_code,              3+, ignorable;
        results:          [DescribeLogDirsResult], 0+;
    }
    DescribeLogDirsResult {
        error_code:   error_code,             0+;
        log_dir:      string,                 0+;
        topics:       [DescribeLogDirsTopic], 0+;
        total_bytes:  int64 = -1,             4+, ignorable;
        usable_bytes: int64 = -1,             4+, ignorable;
        is_cordoned:  bool,                   5+, ignorable;
    }
    DescribeLogDirsTopic {
        name:       string,                     0+;
        partitions: [DescribeLogDirsPartition], 0+;
    }
    DescribeLogDirsPartition {
        partition_index: int32, 0+;
        partition_size:  int64, 0+;
        offset_lag:      int64, 0+;
        is_future_key:   bool,  0+;
    }
}

message! {
    /// Moves replicas between log directories of a broker (KIP-113).
    alter_replica_log_dirs_request: AlterReplicaLogDirsRequest, versions 1-2, flexible 2+ {
        dirs: [AlterReplicaLogDir], 0+;
    }
    AlterReplicaLogDir {
        path:   string,                    0+;
        topics: [AlterReplicaLogDirTopic], 0+;
    }
    AlterReplicaLogDirTopic {
        name:       string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `AlterReplicaLogDirsRequest`: a result per partition.
    alter_replica_log_dirs_response: AlterReplicaLogDirsResponse, versions 1-2, flexible 2+ {
        throttle_time_ms: int32,                           0+;
        results:          [AlterReplicaLogDirTopicResult], 0+;
    }
    AlterReplicaLogDirTopicResult {
        topic_name: string,                              0+;
        partitions: [AlterReplicaLogDirPartitionResult], 0+;
    }
    AlterReplicaLogDirPartitionResult {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
    }
}
