//! Producing records.

message! {
    /// Appends record batches to partitions. Topics by id from v13 (KIP-516); v12 adds partitions to the
    /// transaction implicitly (KIP-890).
    produce_request: ProduceRequest, versions 3-13, flexible 9+ {
        transactional_id: string = None,      3+ nullable 3+;
        acks:             int16,              0+;
        timeout_ms:       int32,              0+;
        topic_data:       [TopicProduceData], 0+;
    }
    TopicProduceData {
        name:           string,                 0-12, ignorable;
        topic_id:       uuid,                   13+, ignorable;
        partition_data: [PartitionProduceData], 0+;
    }
    PartitionProduceData {
        index:   int32,   0+;
        records: records, 0+ nullable 0+;
    }
}

impl ProduceRequest {
    /// The first version that may carry zstd (KIP-110).
    pub const ZSTD_FROM: i16 = 7;
    /// The first version whose responses name the leader that a partition has now (KIP-951).
    pub const LEADER_HINTS_FROM: i16 = 10;
    /// The first version that adds the partitions to the transaction (KIP-890).
    pub const ADDS_PARTITIONS_FROM: i16 = 12;
    /// The first version that names topics by id (KIP-516).
    pub const TOPIC_IDS_FROM: i16 = 13;
}

message! {
    /// Answers `ProduceRequest`: the offset each batch got; v8 names rejected records (KIP-467), v10 the new leader
    /// (KIP-951).
    produce_response: ProduceResponse, versions 3-13, flexible 9+ {
        responses:        [TopicProduceResponse], 0+;
        throttle_time_ms: int32,                  1+, ignorable;
        node_endpoints:   [NodeEndpoint],         10+ tag 0;
    }
    TopicProduceResponse {
        name:                string,                     0-12, ignorable;
        topic_id:            uuid,                       13+, ignorable;
        partition_responses: [PartitionProduceResponse], 0+;
    }
    PartitionProduceResponse {
        index:              int32,                       0+;
        error_code:         error_code,                  0+;
        base_offset:        int64,                       0+;
        log_append_time_ms: int64 = -1,                  2+, ignorable;
        log_start_offset:   int64 = -1,                  5+, ignorable;
        record_errors:      [BatchIndexAndErrorMessage], 8+, ignorable;
        error_message:      string = None,               8+ nullable 8+, ignorable;
        current_leader:     LeaderIdAndEpoch,            10+ tag 0;
    }
    BatchIndexAndErrorMessage {
        batch_index:               int32,         8+;
        batch_index_error_message: string = None, 8+ nullable 8+;
    }
    LeaderIdAndEpoch {
        leader_id:    int32 = -1, 10+;
        leader_epoch: int32 = -1, 10+;
    }
    NodeEndpoint {
        node_id: int32,         10+;
        host:    string,        10+;
        port:    int32,         10+;
        rack:    string = None, 10+ nullable 10+;
    }
}
