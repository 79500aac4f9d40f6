//! Offsets: of logs, of leader epochs, and committed by groups.

message! {
    /// Looks up offsets by timestamp, or the earliest, latest, largest-timestamp (KIP-734) and tiered ones
    /// (KIP-405, KIP-1005, KIP-1023).
    list_offsets_request: ListOffsetsRequest, versions 1-11, flexible 6+ {
        replica_id:      int32,              0+;
        isolation_level: int8,               2+;
        topics:          [ListOffsetsTopic], 0+;
        timeout_ms:      int32,              10+, ignorable;
    }
    ListOffsetsTopic {
        name:       string,                 0+;
        partitions: [ListOffsetsPartition], 0+;
    }
    ListOffsetsPartition {
        partition_index:      int32,      0+;
        current_leader_epoch: int32 = -1, 4+, ignorable;
        timestamp:            int64,      0+;
    }
}

message! {
    /// Answers `ListOffsetsRequest`: an offset and its timestamp per partition.
    list_offsets_response: ListOffsetsResponse, versions 1-11, flexible 6+ {
        throttle_time_ms: int32,                      2+, ignorable;
        topics:           [ListOffsetsTopicResponse], 0+;
    }
    ListOffsetsTopicResponse {
        name:       string,                         0+;
        partitions: [ListOffsetsPartitionResponse], 0+;
    }
    ListOffsetsPartitionResponse {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
        timestamp:       int64 = -1, 1+;
        offset:          int64 = -1, 1+;
        leader_epoch:    int32 = -1, 4+;
    }
}

message! {
    /// Asks where a leader epoch ended, to detect truncation (KIP-320).
    offset_for_leader_epoch_request: OffsetForLeaderEpochRequest, versions 2-4, flexible 4+ {
        replica_id: int32 = -2,             3+, ignorable;
        topics:     [OffsetForLeaderTopic], 0+;
    }
    OffsetForLeaderTopic {
        topic:      string,                     0+;
        partitions: [OffsetForLeaderPartition], 0+;
    }
    OffsetForLeaderPartition {
        partition:            int32,      0+;
        current_leader_epoch: int32 = -1, 2+, ignorable;
        leader_epoch:         int32,      0+;
    }
}

message! {
    /// Answers `OffsetForLeaderEpochRequest`: the end offset of the epoch.
    offset_for_leader_epoch_response: OffsetForLeaderEpochResponse, versions 2-4, flexible 4+ {
        throttle_time_ms: int32,                        2+, ignorable;
        topics:           [OffsetForLeaderTopicResult], 0+;
    }
    OffsetForLeaderTopicResult {
        topic:      string,           0+;
        partitions: [EpochEndOffset], 0+;
    }
    EpochEndOffset {
        error_code:   error_code, 0+;
        partition:    int32,      0+;
        leader_epoch: int32 = -1, 1+, ignorable;
        end_offset:   int64 = -1, 0+;
    }
}

message! {
    /// Commits offsets of a group, with generation or member epoch (KIP-848); topic ids from v10.
    offset_commit_request: OffsetCommitRequest, versions 2-10, flexible 8+ {
        group_id:                      string,                     0+;
        generation_id_or_member_epoch: int32 = -1,                 1+, ignorable;
        member_id:                     string,                     1+, ignorable;
        group_instance_id:             string = None,              7+ nullable 7+;
        retention_time_ms:             int64 = -1,                 2-4, ignorable;
        topics:                        [OffsetCommitRequestTopic], 0+;
    }
    OffsetCommitRequestTopic {
        name:       string,                         0-9, ignorable;
        topic_id:   uuid,                           10+, ignorable;
        partitions: [OffsetCommitRequestPartition], 0+;
    }
    OffsetCommitRequestPartition {
        partition_index:        int32,      0+;
        committed_offset:       int64,      0+;
        committed_leader_epoch: int32 = -1, 6+, ignorable;
        committed_metadata:     string,     0+ nullable 0+;
    }
}

impl OffsetCommitRequest {
    /// The first version that names topics by id.
    pub const TOPIC_IDS_FROM: i16 = 10;
}

message! {
    /// Answers `OffsetCommitRequest`: a result per partition.
    offset_commit_response: OffsetCommitResponse, versions 2-10, flexible 8+ {
        throttle_time_ms: int32,                       3+, ignorable;
        topics:           [OffsetCommitResponseTopic], 0+;
    }
    OffsetCommitResponseTopic {
        name:       string,                          0-9, ignorable;
        topic_id:   uuid,                            10+, ignorable;
        partitions: [OffsetCommitResponsePartition], 0+;
    }
    OffsetCommitResponsePartition {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
    }
}

message! {
    /// Reads committed offsets, of several groups from v8 (KIP-709); topic ids from v10. Null topics means all.
    offset_fetch_request: OffsetFetchRequest, versions 1-10, flexible 6+ {
        group_id:       string,                    0-7;
        topics:         [OffsetFetchRequestTopic], 0-7 nullable 2-7;
        groups:         [OffsetFetchRequestGroup], 8+;
        require_stable: bool,                      7+;
    }
    OffsetFetchRequestTopic {
        name:              string,  0-7;
        partition_indexes: [int32], 0-7;
    }
    OffsetFetchRequestGroup {
        group_id:     string,                     8+;
        member_id:    string = None,              9+ nullable 9+, ignorable;
        member_epoch: int32 = -1,                 9+, ignorable;
        topics:       [OffsetFetchRequestTopics], 8+ nullable 8+;
    }
    OffsetFetchRequestTopics {
        name:              string,  8-9, ignorable;
        topic_id:          uuid,    10+, ignorable;
        partition_indexes: [int32], 8+;
    }
}

impl OffsetFetchRequest {
    /// The first version with an error of the whole response.
    pub const ERROR_FROM: i16 = 2;
    /// The first version that can wait for transactions that are about to commit offsets (KIP-447).
    pub const STABLE_FROM: i16 = 7;
    /// The first version that asks for several groups at once.
    pub const GROUPS_FROM: i16 = 8;
    /// The first version that names topics by id.
    pub const TOPIC_IDS_FROM: i16 = 10;
}

message! {
    /// Answers `OffsetFetchRequest`: offset, leader epoch and metadata per partition.
    offset_fetch_response: OffsetFetchResponse, versions 1-10, flexible 6+ {
        throttle_time_ms: int32,                      3+, ignorable;
        topics:           [OffsetFetchResponseTopic], 0-7;
        error_code:       error_code,                 2-7, ignorable;
        groups:           [OffsetFetchResponseGroup], 8+;
    }
    OffsetFetchResponseTopic {
        name:       string,                         0-7;
        partitions: [OffsetFetchResponsePartition], 0-7;
    }
    OffsetFetchResponsePartition {
        partition_index:        int32,      0-7;
        committed_offset:       int64,      0-7;
        committed_leader_epoch: int32 = -1, 5-7, ignorable;
        metadata:               string,     0-7 nullable 0-7;
        error_code:             error_code, 0-7;
    }
    OffsetFetchResponseGroup {
        group_id:   string,                      8+;
        topics:     [OffsetFetchResponseTopics], 8+;
        error_code: error_code,                  8+;
    }
    OffsetFetchResponseTopics {
        name:       string,                          8-9, ignorable;
        topic_id:   uuid,                            10+, ignorable;
        partitions: [OffsetFetchResponsePartitions], 8+;
    }
    OffsetFetchResponsePartitions {
        partition_index:        int32,      8+;
        committed_offset:       int64,      8+;
        committed_leader_epoch: int32 = -1, 8+, ignorable;
        metadata:               string,     8+ nullable 8+;
        error_code:             error_code, 8+;
    }
}

message! {
    /// Deletes committed offsets of topics that a group no longer subscribes to (KIP-496).
    offset_delete_request: OffsetDeleteRequest, versions 0, flexible never {
        group_id: string,                     0+;
        topics:   [OffsetDeleteRequestTopic], 0+;
    }
    OffsetDeleteRequestTopic {
        name:       string,                         0+;
        partitions: [OffsetDeleteRequestPartition], 0+;
    }
    OffsetDeleteRequestPartition {
        partition_index: int32, 0+;
    }
}

message! {
    /// Answers `OffsetDeleteRequest`: a result per partition.
    offset_delete_response: OffsetDeleteResponse, versions 0, flexible never {
        error_code:       error_code,                  0+;
        throttle_time_ms: int32,                       0+, ignorable;
        topics:           [OffsetDeleteResponseTopic], 0+;
    }
    OffsetDeleteResponseTopic {
        name:       string,                          0+;
        partitions: [OffsetDeleteResponsePartition], 0+;
    }
    OffsetDeleteResponsePartition {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
    }
}
