//! Idempotent producers and transactions.

message! {
    /// Asks for a producer id and epoch (KIP-98), or bumps the epoch (KIP-360); v6 keeps a prepared transaction
    /// (KIP-939).
    init_producer_id_request: InitProducerIdRequest, versions 0-6, flexible 2+ {
        transactional_id:       string,     0+ nullable 0+;
        transaction_timeout_ms: int32,      0+;
        producer_id:            int64 = -1, 3+;
        producer_epoch:         int16 = -1, 3+;
        enable2_pc:             bool,       6+;
        keep_prepared_txn:      bool,       6+;
    }
}

impl InitProducerIdRequest {
    /// The first version by which a producer raises its own epoch (KIP-360).
    pub const OWN_EPOCH_FROM: i16 = 3;
    /// The first version with two-phase commit (KIP-939).
    pub const TWO_PHASE_FROM: i16 = 6;
}

message! {
    /// Answers `InitProducerIdRequest`: producer id and epoch; v6 names the ongoing transaction (KIP-939).
    init_producer_id_response: InitProducerIdResponse, versions 0-6, flexible 2+ {
        throttle_time_ms:           int32,      0+, ignorable;
        error_code:                 error_code, 0+;
        producer_id:                int64 = -1, 0+;
        producer_epoch:             int16,      0+;
        ongoing_txn_producer_id:    int64 = -1, 6+;
        ongoing_txn_producer_epoch: int16 = -1, 6+;
    }
}

message! {
    /// Adds partitions to a transaction (KIP-98); from v4 for brokers, in batches (KIP-890).
    add_partitions_to_txn_request: AddPartitionsToTxnRequest, versions 0-5, flexible 3+ {
        transactions:                  [AddPartitionsToTxnTransaction], 4+;
        v3_and_below_transactional_id: string,                          0-3;
        v3_and_below_producer_id:      int64,                           0-3;
        v3_and_below_producer_epoch:   int16,                           0-3;
        v3_and_below_topics:           [AddPartitionsToTxnTopic],       0-3;
    }
    AddPartitionsToTxnTransaction {
        transactional_id: string,                    4+;
        producer_id:      int64,                     4+;
        producer_epoch:   int16,                     4+;
        verify_only:      bool,                      4+;
        topics:           [AddPartitionsToTxnTopic], 4+;
    }
    AddPartitionsToTxnTopic {
        name:       string,  0+;
        partitions: [int32], 0+;
    }
}

impl AddPartitionsToTxnRequest {
    /// The last version that is for clients.
    pub const LAST_OF_CLIENTS: i16 = 3;
}

message! {
    /// Answers `AddPartitionsToTxnRequest`: a result per partition.
    add_partitions_to_txn_response: AddPartitionsToTxnResponse, versions 0-5, flexible 3+ {
        throttle_time_ms:              int32,                           0+;
        error_code:                    error_code,                      4+, ignorable;
        results_by_transaction:        [AddPartitionsToTxnResult],      4+;
        results_by_topic_v3_and_below: [AddPartitionsToTxnTopicResult], 0-3;
    }
    AddPartitionsToTxnResult {
        transactional_id: string,                          4+;
        topic_results:    [AddPartitionsToTxnTopicResult], 4+;
    }
    AddPartitionsToTxnTopicResult {
        name:                 string,                              0+;
        results_by_partition: [AddPartitionsToTxnPartitionResult], 0+;
    }
    AddPartitionsToTxnPartitionResult {
        partition_index:      int32, 0+;
        partition_error_code: int16, 0+;
    }
}

message! {
    /// Adds the offsets partition of a group to a transaction (KIP-98).
    add_offsets_to_txn_request: AddOffsetsToTxnRequest, versions 0-4, flexible 3+ {
        transactional_id: string, 0+;
        producer_id:      int64,  0+;
        producer_epoch:   int16,  0+;
        group_id:         string, 0+;
    }
}

message! {
    /// Answers `AddOffsetsToTxnRequest`: whether it was added.
    add_offsets_to_txn_response: AddOffsetsToTxnResponse, versions 0-4, flexible 3+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
    }
}

message! {
    /// Commits offsets of a group within a transaction (KIP-98, KIP-447); topic ids from v6 (KIP-1319).
    txn_offset_commit_request: TxnOffsetCommitRequest, versions 0-6, flexible 3+ {
        transactional_id:              string,                        0+;
        group_id:                      string,                        0+;
        producer_id:                   int64,                         0+;
        producer_epoch:                int16,                         0+;
        generation_id_or_member_epoch: int32 = -1,                    3+;
        member_id:                     string,                        3+;
        group_instance_id:             string = None,                 3+ nullable 3+;
        topics:                        [TxnOffsetCommitRequestTopic], 0+;
    }
    TxnOffsetCommitRequestTopic {
        name:       string,                            0-5, ignorable;
        topic_id:   uuid,                              6+, ignorable;
        partitions: [TxnOffsetCommitRequestPartition], 0+;
    }
    TxnOffsetCommitRequestPartition {
        partition_index:        int32,      0+;
        committed_offset:       int64,      0+;
        committed_leader_epoch: int32 = -1, 2+, ignorable;
        committed_metadata:     string,     0+ nullable 0+;
    }
}

impl TxnOffsetCommitRequest {
    /// The first version that adds the group's offsets to the transaction (KIP-890).
    pub const ADDS_OFFSETS_FROM: i16 = 5;
    /// The first version that names topics by id (KIP-1319).
    pub const TOPIC_IDS_FROM: i16 = 6;
    /// The first version that says who of the group commits (KIP-447).
    pub const MEMBER_FROM: i16 = 3;
}

message! {
    /// Answers `TxnOffsetCommitRequest`: a result per partition.
    txn_offset_commit_response: TxnOffsetCommitResponse, versions 0-6, flexible 3+ {
        throttle_time_ms: int32,                          0+;
        topics:           [TxnOffsetCommitResponseTopic], 0+;
    }
    TxnOffsetCommitResponseTopic {
        name:       string,                             0-5, ignorable;
        topic_id:   uuid,                               6+, ignorable;
        partitions: [TxnOffsetCommitResponsePartition], 0+;
    }
    TxnOffsetCommitResponsePartition {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
    }
}

message! {
    /// Commits or aborts a transaction (KIP-98).
    end_txn_request: EndTxnRequest, versions 0-5, flexible 3+ {
        transactional_id: string, 0+;
        producer_id:      int64,  0+;
        producer_epoch:   int16,  0+;
        committed:        bool,   0+;
    }
}

impl EndTxnRequest {
    /// The first version whose answer has the epoch of the next transaction (KIP-890).
    pub const NEXT_EPOCH_FROM: i16 = 5;
}

message! {
    /// Answers `EndTxnRequest`: whether it was; v5 gives the next epoch (KIP-890).
    end_txn_response: EndTxnResponse, versions 0-5, flexible 3+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
        producer_id:      int64 = -1, 5+, ignorable;
        producer_epoch:   int16 = -1, 5+, ignorable;
    }
}

message! {
    /// Writes the markers that end transactions; sent by coordinators and by admin tools (KIP-664).
    write_txn_markers_request: WriteTxnMarkersRequest, versions 1-2, flexible 1+ {
        markers: [WritableTxnMarker], 0+;
    }
    WritableTxnMarker {
        producer_id:         int64,                    0+;
        producer_epoch:      int16,                    0+;
        transaction_result:  bool,                     0+;
        topics:              [WritableTxnMarkerTopic], 0+;
        coordinator_epoch:   int32,                    0+;
        transaction_version: int8,                     2+, ignorable;
    }
    WritableTxnMarkerTopic {
        name:              string,  0+;
        partition_indexes: [int32], 0+;
    }
}

message! {
    /// Answers `WriteTxnMarkersRequest`: a result per marker and partition.
    write_txn_markers_response: WriteTxnMarkersResponse, versions 1-2, flexible 1+ {
        markers: [WritableTxnMarkerResult], 0+;
    }
    WritableTxnMarkerResult {
        producer_id: int64,                          0+;
        topics:      [WritableTxnMarkerTopicResult], 0+;
    }
    WritableTxnMarkerTopicResult {
        name:       string,                             0+;
        partitions: [WritableTxnMarkerPartitionResult], 0+;
    }
    WritableTxnMarkerPartitionResult {
        partition_index: int32,      0+;
        error_code:      error_code, 0+;
    }
}

message! {
    /// Describes the producers active on partitions (KIP-664).
    describe_producers_request: DescribeProducersRequest, versions 0, flexible 0+ {
        topics: [TopicRequest], 0+;
    }
    TopicRequest {
        name:              string,  0+;
        partition_indexes: [int32], 0+;
    }
}

message! {
    /// Answers `DescribeProducersRequest`: producer ids, epochs, sequences and open transactions.
    describe_producers_response: DescribeProducersResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,           0+;
        topics:           [TopicResponse], 0+;
    }
    TopicResponse {
        name:       string,              0+;
        partitions: [PartitionResponse], 0+;
    }
    PartitionResponse {
        partition_index:  int32,           0+;
        error_code:       error_code,      0+;
        error_message:    string = None,   0+ nullable 0+;
        active_producers: [ProducerState], 0+;
    }
    ProducerState {
        producer_id:              int64,      0+;
        producer_epoch:           int32,      0+;
        last_sequence:            int32 = -1, 0+;
        last_timestamp:           int64 = -1, 0+;
        coordinator_epoch:        int32,      0+;
        current_txn_start_offset: int64 = -1, 0+;
    }
}

message! {
    /// Describes transactions (KIP-664).
    describe_transactions_request: DescribeTransactionsRequest, versions 0, flexible 0+ {
        transactional_ids: [string], 0+;
    }
}

message! {
    /// Answers `DescribeTransactionsRequest`: state, producer and partitions.
    describe_transactions_response: DescribeTransactionsResponse, versions 0, flexible 0+ {
        throttle_time_ms:   int32,              0+;
        transaction_states: [TransactionState], 0+;
    }
    TransactionState {
        error_code:                error_code,  0+;
        transactional_id:          string,      0+;
        transaction_state:         string,      0+;
        transaction_timeout_ms:    int32,       0+;
        transaction_start_time_ms: int64,       0+;
        producer_id:               int64,       0+;
        producer_epoch:            int16,       0+;
        topics:                    [TopicData], 0+;
    }
    TopicData {
        topic:      string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Lists transactions by state, producer, age (KIP-994) or pattern (KIP-1152).
    list_transactions_request: ListTransactionsRequest, versions 0-2, flexible 0+ {
        state_filters:            [string],      0+;
        producer_id_filters:      [int64],       0+;
        duration_filter:          int64 = -1,    1+;
        transactional_id_pattern: string = None, 2+ nullable 2+;
    }
}

message! {
    /// Answers `ListTransactionsRequest`: transactions of this coordinator.
    list_transactions_response: ListTransactionsResponse, versions 0-2, flexible 0+ {
        throttle_time_ms:      int32,              0+;
        error_code:            error_code,         0+;
        unknown_state_filters: [string],           0+;
        transaction_states:    [TransactionState], 0+;
    }
    TransactionState {
        transactional_id:  string, 0+;
        producer_id:       int64,  0+;
        transaction_state: string, 0+;
    }
}
