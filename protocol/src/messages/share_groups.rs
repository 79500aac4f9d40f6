//! Share groups: records acknowledged one by one (KIP-932).

message! {
    /// Joins, keeps up with and leaves a share group (KIP-932).
    share_group_heartbeat_request: ShareGroupHeartbeatRequest, versions 1, flexible 0+ {
        group_id:               string,          0+;
        member_id:              string,          0+;
        member_epoch:           int32,           0+;
        rack_id:                string = None,   0+ nullable 0+;
        subscribed_topic_names: [string] = None, 0+ nullable 0+;
    }
}

message! {
    /// Answers `ShareGroupHeartbeatRequest`: the member epoch, and the assignment when it changed.
    share_group_heartbeat_response: ShareGroupHeartbeatResponse, versions 1, flexible 0+ {
        throttle_time_ms:      int32,             0+;
        error_code:            error_code,        0+;
        error_message:         string = None,     0+ nullable 0+;
        member_id:             string = None,     0+ nullable 0+;
        member_epoch:          int32,             0+;
        heartbeat_interval_ms: int32,             0+;
        assignment:            Assignment = None, 0+ nullable 0+;
    }
    Assignment {
        topic_partitions: [TopicPartitions], 0+;
    }
    TopicPartitions {
        topic_id:   uuid,    0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Describes share groups (KIP-932).
    share_group_describe_request: ShareGroupDescribeRequest, versions 1, flexible 0+ {
        group_ids:                     [string], 0+;
        include_authorized_operations: bool,     0+;
    }
}

message! {
    /// Answers `ShareGroupDescribeRequest`: state, members and assignments.
    share_group_describe_response: ShareGroupDescribeResponse, versions 1, flexible 0+ {
        throttle_time_ms: int32,            0+;
        groups:           [DescribedGroup], 0+;
    }
    DescribedGroup {
        error_code:            error_code,       0+;
        error_message:         string = None,    0+ nullable 0+;
        group_id:              string,           0+;
        group_state:           string,           0+;
        group_epoch:           int32,            0+;
        assignment_epoch:      int32,            0+;
        assignor_name:         string,           0+;
        members:               [Member],         0+;
        authorized_operations: int32 = i32::MIN, 0+;
    }
    Member {
        member_id:              string,        0+;
        rack_id:                string = None, 0+ nullable 0+;
        member_epoch:           int32,         0+;
        client_id:              string,        0+;
        client_host:            string,        0+;
        subscribed_topic_names: [string],      0+;
        assignment:             Assignment,    0+;
    }
    Assignment {
        topic_partitions: [TopicPartitions], 0+;
    }
    TopicPartitions {
        topic_id:   uuid,    0+;
        topic_name: string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Acquires records for a share group and acknowledges earlier ones (KIP-932); renewal from v2 (KIP-1222).
    share_fetch_request: ShareFetchRequest, versions 1-2, flexible 0+ {
        group_id:              string = None,    0+ nullable 0+;
        member_id:             string,           0+ nullable 0+;
        share_session_epoch:   int32,            0+;
        max_wait_ms:           int32,            0+;
        min_bytes:             int32,            0+;
        max_bytes:             int32 = i32::MAX, 0+;
        max_records:           int32,            1+;
        batch_size:            int32,            1+;
        share_acquire_mode:    int8,             2+, ignorable;
        is_renew_ack:          bool,             2+;
        topics:                [FetchTopic],     0+;
        forgotten_topics_data: [ForgottenTopic], 0+;
    }
    FetchTopic {
        topic_id:   uuid,             0+;
        partitions: [FetchPartition], 0+;
    }
    FetchPartition {
        partition_index:         int32,                  0+;
        partition_max_bytes:     int32,                  0-0;
        acknowledgement_batches: [AcknowledgementBatch], 0+;
    }
    AcknowledgementBatch {
        first_offset:      int64,  0+;
        last_offset:       int64,  0+;
        acknowledge_types: [int8], 0+;
    }
    ForgottenTopic {
        topic_id:   uuid,    0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `ShareFetchRequest`: records and the offsets acquired of them.
    share_fetch_response: ShareFetchResponse, versions 1-2, flexible 0+ {
        throttle_time_ms:            int32,                         0+;
        error_code:                  error_code,                    0+;
        error_message:               string = None,                 0+ nullable 0+;
        acquisition_lock_timeout_ms: int32,                         1+;
        responses:                   [ShareFetchableTopicResponse], 0+;
        node_endpoints:              [NodeEndpoint],                0+;
    }
    ShareFetchableTopicResponse {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition_index:           int32,             0+;
        error_code:                error_code,        0+;
        error_message:             string = None,     0+ nullable 0+;
        acknowledge_error_code:    int16,             0+;
        acknowledge_error_message: string = None,     0+ nullable 0+;
        current_leader:            LeaderIdAndEpoch,  0+;
        records:                   records,           0+ nullable 0-0;
        acquired_records:          [AcquiredRecords], 0+;
    }
    LeaderIdAndEpoch {
        leader_id:    int32, 0+;
        leader_epoch: int32, 0+;
    }
    AcquiredRecords {
        first_offset:   int64, 0+;
        last_offset:    int64, 0+;
        delivery_count: int16, 0+;
    }
    NodeEndpoint {
        node_id: int32,         0+;
        host:    string,        0+;
        port:    int32,         0+;
        rack:    string = None, 0+ nullable 0+;
    }
}

message! {
    /// Acknowledges records of a share group (KIP-932); renewal from v2 (KIP-1222).
    share_acknowledge_request: ShareAcknowledgeRequest, versions 1-2, flexible 0+ {
        group_id:            string = None,      0+ nullable 0+;
        member_id:           string,             0+ nullable 0+;
        share_session_epoch: int32,              0+;
        is_renew_ack:        bool,               2+;
        topics:              [AcknowledgeTopic], 0+;
    }
    AcknowledgeTopic {
        topic_id:   uuid,                   0+;
        partitions: [AcknowledgePartition], 0+;
    }
    AcknowledgePartition {
        partition_index:         int32,                  0+;
        acknowledgement_batches: [AcknowledgementBatch], 0+;
    }
    AcknowledgementBatch {
        first_offset:      int64,  0+;
        last_offset:       int64,  0+;
        acknowledge_types: [int8], 0+;
    }
}

message! {
    /// Answers `ShareAcknowledgeRequest`: a result per partition.
    share_acknowledge_response: ShareAcknowledgeResponse, versions 1-2, flexible 0+ {
        throttle_time_ms:            int32,                           0+;
        error_code:                  error_code,                      0+;
        error_message:               string = None,                   0+ nullable 0+;
        acquisition_lock_timeout_ms: int32,                           2+, ignorable;
        responses:                   [ShareAcknowledgeTopicResponse], 0+;
        node_endpoints:              [NodeEndpoint],                  0+;
    }
    ShareAcknowledgeTopicResponse {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition_index: int32,            0+;
        error_code:      error_code,       0+;
        error_message:   string = None,    0+ nullable 0+;
        current_leader:  LeaderIdAndEpoch, 0+;
    }
    LeaderIdAndEpoch {
        leader_id:    int32, 0+;
        leader_epoch: int32, 0+;
    }
    NodeEndpoint {
        node_id: int32,         0+;
        host:    string,        0+;
        port:    int32,         0+;
        rack:    string = None, 0+ nullable 0+;
    }
}

message! {
    /// Asks for the start offsets of share groups (KIP-932).
    describe_share_group_offsets_request: DescribeShareGroupOffsetsRequest, versions 0-1, flexible 0+ {
        groups: [DescribeShareGroupOffsetsRequestGroup], 0+;
    }
    DescribeShareGroupOffsetsRequestGroup {
        group_id: string,                                  0+;
        topics:   [DescribeShareGroupOffsetsRequestTopic], 0+ nullable 0+;
    }
    DescribeShareGroupOffsetsRequestTopic {
        topic_name: string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `DescribeShareGroupOffsetsRequest`: start offsets; v1 adds the lag (KIP-1226).
    describe_share_group_offsets_response: DescribeShareGroupOffsetsResponse, versions 0-1, flexible 0+ {
        throttle_time_ms: int32,                                    0+;
        groups:           [DescribeShareGroupOffsetsResponseGroup], 0+;
    }
    DescribeShareGroupOffsetsResponseGroup {
        group_id:      string,                                   0+;
        topics:        [DescribeShareGroupOffsetsResponseTopic], 0+;
        error_code:    error_code,                               0+;
        error_message: string = None,                            0+ nullable 0+;
    }
    DescribeShareGroupOffsetsResponseTopic {
        topic_name: string,                                       0+;
        topic_id:   uuid,                                         0+;
        partitions: [DescribeShareGroupOffsetsResponsePartition], 0+;
    }
    DescribeShareGroupOffsetsResponsePartition {
        partition_index: int32,         0+;
        start_offset:    int64,         0+;
        leader_epoch:    int32,         0+;
        lag:             int64 = -1,    1+, ignorable;
        error_code:      error_code,    0+;
        error_message:   string = None, 0+ nullable 0+;
    }
}

message! {
    /// Moves the start offsets of an empty share group (KIP-932).
    alter_share_group_offsets_request: AlterShareGroupOffsetsRequest, versions 0, flexible 0+ {
        group_id: string,                               0+;
        topics:   [AlterShareGroupOffsetsRequestTopic], 0+;
    }
    AlterShareGroupOffsetsRequestTopic {
        topic_name: string,                                   0+;
        partitions: [AlterShareGroupOffsetsRequestPartition], 0+;
    }
    AlterShareGroupOffsetsRequestPartition {
        partition_index: int32, 0+;
        start_offset:    int64, 0+;
    }
}

message! {
    /// Answers `AlterShareGroupOffsetsRequest`: a result per partition.
    alter_share_group_offsets_response: AlterShareGroupOffsetsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                                 0+;
        error_code:       error_code,                            0+;
        error_message:    string = None,                         0+ nullable 0+;
        responses:        [AlterShareGroupOffsetsResponseTopic], 0+;
    }
    AlterShareGroupOffsetsResponseTopic {
        topic_name: string,                                    0+;
        topic_id:   uuid,                                      0+;
        partitions: [AlterShareGroupOffsetsResponsePartition], 0+;
    }
    AlterShareGroupOffsetsResponsePartition {
        partition_index: int32,         0+;
        error_code:      error_code,    0+;
        error_message:   string = None, 0+ nullable 0+;
    }
}

message! {
    /// Deletes the offsets of topics of an empty share group (KIP-932).
    delete_share_group_offsets_request: DeleteShareGroupOffsetsRequest, versions 0, flexible 0+ {
        group_id: string,                                0+;
        topics:   [DeleteShareGroupOffsetsRequestTopic], 0+;
    }
    DeleteShareGroupOffsetsRequestTopic {
        topic_name: string, 0+;
    }
}

message! {
    /// Answers `DeleteShareGroupOffsetsRequest`: a result per topic.
    delete_share_group_offsets_response: DeleteShareGroupOffsetsResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,                                  0+;
        error_code:       error_code,                             0+;
        error_message:    string = None,                          0+ nullable 0+;
        responses:        [DeleteShareGroupOffsetsResponseTopic], 0+;
    }
    DeleteShareGroupOffsetsResponseTopic {
        topic_name:    string,        0+;
        topic_id:      uuid,          0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
    }
}
