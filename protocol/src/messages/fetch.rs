//! Reading records.

message! {
    /// Reads record batches. Sessions from v7 (KIP-227), leader epochs from v9 (KIP-320), closest replica from v11
    /// (KIP-392), topic ids from v13 (KIP-516).
    fetch_request: FetchRequest, versions 4-18, flexible 12+ {
        cluster_id:            string = None,    12+ nullable 12+ tag 0, ignorable;
        replica_id:            int32 = -1,       0-14;
        replica_state:         ReplicaState,     15+ tag 1;
        max_wait_ms:           int32,            0+;
        min_bytes:             int32,            0+;
        max_bytes:             int32 = i32::MAX, 3+, ignorable;
        isolation_level:       int8,             4+, ignorable;
        session_id:            int32,            7+, ignorable;
        session_epoch:         int32 = -1,       7+, ignorable;
        topics:                [FetchTopic],     0+;
        forgotten_topics_data: [ForgottenTopic], 7+;
        rack_id:               string,           11+, ignorable;
    }
    ReplicaState {
        replica_id:    int32 = -1, 15+;
        replica_epoch: int64 = -1, 15+;
    }
    FetchTopic {
        topic:      string,           0-12, ignorable;
        topic_id:   uuid,             13+, ignorable;
        partitions: [FetchPartition], 0+;
    }
    FetchPartition {
        partition:            int32,            0+;
        current_leader_epoch: int32 = -1,       9+, ignorable;
        fetch_offset:         int64,            0+;
        last_fetched_epoch:   int32 = -1,       12+;
        log_start_offset:     int64 = -1,       5+, ignorable;
        partition_max_bytes:  int32,            0+;
        replica_directory_id: uuid,             17+ tag 0, ignorable;
        high_watermark:       int64 = i64::MAX, 18+ tag 1, ignorable;
    }
    ForgottenTopic {
        topic:      string,  7-12, ignorable;
        topic_id:   uuid,    13+, ignorable;
        partitions: [int32], 7+;
    }
}

impl FetchRequest {
    /// The first version with sessions (KIP-227).
    pub const SESSIONS_FROM: i16 = 7;
    /// The first version that says which epoch the last record was of.
    pub const LAST_EPOCH_FROM: i16 = 12;
    /// The first version that names topics by id (KIP-516).
    pub const TOPIC_IDS_FROM: i16 = 13;
    /// The first version whose responses name the leader that a partition has now (KIP-951).
    pub const LEADER_HINTS_FROM: i16 = 16;
}

message! {
    /// Answers `FetchRequest`: the batches; v12 detects divergence (KIP-595), v16 names new leaders and their
    /// endpoints (KIP-951).
    fetch_response: FetchResponse, versions 4-18, flexible 12+ {
        throttle_time_ms: int32,                    1+, ignorable;
        error_code:       error_code,               7+, ignorable;
        session_id:       int32,                    7+;
        responses:        [FetchableTopicResponse], 0+;
        node_endpoints:   [NodeEndpoint],           16+ tag 0;
    }
    FetchableTopicResponse {
        topic:      string,          0-12, ignorable;
        topic_id:   uuid,            13+, ignorable;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition_index:        int32,                0+;
        error_code:             error_code,           0+;
        high_watermark:         int64,                0+;
        last_stable_offset:     int64 = -1,           4+, ignorable;
        log_start_offset:       int64 = -1,           5+, ignorable;
        diverging_epoch:        EpochEndOffset,       12+ tag 0;
        current_leader:         LeaderIdAndEpoch,     12+ tag 1;
        snapshot_id:            SnapshotId,           12+ tag 2;
        aborted_transactions:   [AbortedTransaction], 4+ nullable 4+, ignorable;
        preferred_read_replica: int32 = -1,           11+;
        records:                records,              0+ nullable 0+;
    }
    EpochEndOffset {
        epoch:      int32 = -1, 12+;
        end_offset: int64 = -1, 12+;
    }
    LeaderIdAndEpoch {
        leader_id:    int32 = -1, 12+;
        leader_epoch: int32 = -1, 12+;
    }
    SnapshotId {
        end_offset: int64 = -1, 0+;
        epoch:      int32 = -1, 0+;
    }
    AbortedTransaction {
        producer_id:  int64, 4+;
        first_offset: int64, 4+;
    }
    NodeEndpoint {
        node_id: int32,         16+;
        host:    string,        16+;
        port:    int32,         16+;
        rack:    string = None, 16+ nullable 16+;
    }
}
