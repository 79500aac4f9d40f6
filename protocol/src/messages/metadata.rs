//! Where topics, partitions and brokers are.

message! {
    /// Asks for brokers, topics and partition leaders. By topic id from v10 (KIP-516); null topics means all.
    metadata_request: MetadataRequest, versions 0-13, flexible 9+ {
        topics:                                [MetadataRequestTopic], 0+ nullable 1+;
        allow_auto_topic_creation:             bool = true,            4+;
        include_cluster_authorized_operations: bool,                   8-10;
        include_topic_authorized_operations:   bool,                   8+;
    }
    MetadataRequestTopic {
        topic_id: uuid,   10+, ignorable;
        name:     string, 0+ nullable 10+;
    }
}

impl MetadataRequest {
    /// The first version with an error of the whole response (KIP-1102); before, only topics have one.
    pub const ERROR_FROM: i16 = 13;
}

message! {
    /// Answers `MetadataRequest`: brokers, topics and leaders; v13 can order a new bootstrap (KIP-1102).
    metadata_response: MetadataResponse, versions 0-13, flexible 9+ {
        throttle_time_ms:              int32,                    3+, ignorable;
        brokers:                       [MetadataResponseBroker], 0+;
        cluster_id:                    string = None,            2+ nullable 2+, ignorable;
        controller_id:                 int32 = -1,               1+, ignorable;
        topics:                        [MetadataResponseTopic],  0+;
        cluster_authorized_operations: int32 = i32::MIN,         8-10;
        error_code:                    error_code,               13+, ignorable;
    }
    MetadataResponseBroker {
        node_id: int32,         0+;
        host:    string,        0+;
        port:    int32,         0+;
        rack:    string = None, 1+ nullable 1+, ignorable;
    }
    MetadataResponseTopic {
        error_code:                  error_code,                  0+;
        name:                        string,                      0+ nullable 12+;
        topic_id:                    uuid,                        10+, ignorable;
        is_internal:                 bool,                        1+, ignorable;
        partitions:                  [MetadataResponsePartition], 0+;
        topic_authorized_operations: int32 = i32::MIN,            8+;
    }
    MetadataResponsePartition {
        error_code:       error_code, 0+;
        partition_index:  int32,      0+;
        leader_id:        int32,      0+;
        leader_epoch:     int32 = -1, 7+, ignorable;
        replica_nodes:    [int32],    0+;
        isr_nodes:        [int32],    0+;
        offline_replicas: [int32],    5+, ignorable;
    }
}

message! {
    /// Pages through the partitions of topics, with eligible leader replicas (KIP-966).
    describe_topic_partitions_request: DescribeTopicPartitionsRequest, versions 0, flexible 0+ {
        topics:                   [TopicRequest], 0+;
        response_partition_limit: int32 = 2000,   0+;
        cursor:                   Cursor = None,  0+ nullable 0+;
    }
    TopicRequest {
        name: string, 0+;
    }
    Cursor {
        topic_name:      string, 0+;
        partition_index: int32,  0+;
    }
}

message! {
    /// Answers `DescribeTopicPartitionsRequest`: one page; a cursor leads to the next.
    describe_topic_partitions_response: DescribeTopicPartitionsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                                  0+, ignorable;
        topics:           [DescribeTopicPartitionsResponseTopic], 0+;
        next_cursor:      Cursor = None,                          0+ nullable 0+;
    }
    DescribeTopicPartitionsResponseTopic {
        error_code:                  error_code,                                 0+;
        name:                        string,                                     0+ nullable 0+;
        topic_id:                    uuid,                                       0+, ignorable;
        is_internal:                 bool,                                       0+, ignorable;
        partitions:                  [DescribeTopicPartitionsResponsePartition], 0+;
        topic_authorized_operations: int32 = i32::MIN,                           0+;
    }
    DescribeTopicPartitionsResponsePartition {
        error_code:               error_code,     0+;
        partition_index:          int32,          0+;
        leader_id:                int32,          0+;
        leader_epoch:             int32 = -1,     0+, ignorable;
        replica_nodes:            [int32],        0+;
        isr_nodes:                [int32],        0+;
        eligible_leader_replicas: [int32] = None, 0+ nullable 0+;
        last_known_elr:           [int32] = None, 0+ nullable 0+;
        offline_replicas:         [int32],        0+, ignorable;
    }
    Cursor {
        topic_name:      string, 0+;
        partition_index: int32,  0+;
    }
}

message! {
    /// Asks for the cluster id, its controller and its brokers or controllers (KIP-700, KIP-919; fenced ones
    /// KIP-1073).
    describe_cluster_request: DescribeClusterRequest, versions 0-2, flexible 0+ {
        include_cluster_authorized_operations: bool,     0+;
        endpoint_type:                         int8 = 1, 1+;
        include_fenced_brokers:                bool,     2+;
    }
}

message! {
    /// Answers `DescribeClusterRequest`: who is in the cluster.
    describe_cluster_response: DescribeClusterResponse, versions 0-2, flexible 0+ {
        throttle_time_ms:              int32,                   0+;
        error_code:                    error_code,              0+;
        error_message:                 string = None,           0+ nullable 0+;
        endpoint_type:                 int8 = 1,                1+;
        cluster_id:                    string,                  0+;
        controller_id:                 int32 = -1,              0+;
        brokers:                       [DescribeClusterBroker], 0+;
        cluster_authorized_operations: int32 = i32::MIN,        0+;
    }
    DescribeClusterBroker {
        broker_id: int32,         0+;
        host:      string,        0+;
        port:      int32,         0+;
        rack:      string = None, 0+ nullable 0+;
        is_fenced: bool,          2+;
    }
}
