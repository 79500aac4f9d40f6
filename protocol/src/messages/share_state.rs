//! The state of share groups, kept by the share coordinator (KIP-932).

message! {
    /// Starts the state of share partitions (KIP-932).
    initialize_share_group_state_request: InitializeShareGroupStateRequest, versions 0, flexible 0+ {
        group_id: string,                0+;
        topics:   [InitializeStateData], 0+;
    }
    InitializeStateData {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition:    int32, 0+;
        state_epoch:  int32, 0+;
        start_offset: int64, 0+;
    }
}

message! {
    /// Answers `InitializeShareGroupStateRequest`: a result per partition.
    initialize_share_group_state_response: InitializeShareGroupStateResponse, versions 0, flexible 0+ {
        results: [InitializeStateResult], 0+;
    }
    InitializeStateResult {
        topic_id:   uuid,              0+;
        partitions: [PartitionResult], 0+;
    }
    PartitionResult {
        partition:     int32,         0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
    }
}

message! {
    /// Reads the state of share partitions (KIP-932).
    read_share_group_state_request: ReadShareGroupStateRequest, versions 0, flexible 0+ {
        group_id: string,          0+;
        topics:   [ReadStateData], 0+;
    }
    ReadStateData {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition:    int32, 0+;
        leader_epoch: int32, 0+;
    }
}

message! {
    /// Answers `ReadShareGroupStateRequest`: batches with their delivery state and count.
    read_share_group_state_response: ReadShareGroupStateResponse, versions 0, flexible 0+ {
        results: [ReadStateResult], 0+;
    }
    ReadStateResult {
        topic_id:   uuid,              0+;
        partitions: [PartitionResult], 0+;
    }
    PartitionResult {
        partition:     int32,         0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
        state_epoch:   int32,         0+;
        start_offset:  int64,         0+;
        state_batches: [StateBatch],  0+;
    }
    StateBatch {
        first_offset:   int64, 0+;
        last_offset:    int64, 0+;
        delivery_state: int8,  0+;
        delivery_count: int16, 0+;
    }
}

message! {
    /// Writes the state of share partitions (KIP-932).
    write_share_group_state_request: WriteShareGroupStateRequest, versions 0-1, flexible 0+ {
        group_id: string,           0+;
        topics:   [WriteStateData], 0+;
    }
    WriteStateData {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition:               int32,        0+;
        state_epoch:             int32,        0+;
        leader_epoch:            int32,        0+;
        start_offset:            int64,        0+;
        delivery_complete_count: int32 = -1,   1+, ignorable;
        state_batches:           [StateBatch], 0+;
    }
    StateBatch {
        first_offset:   int64, 0+;
        last_offset:    int64, 0+;
        delivery_state: int8,  0+;
        delivery_count: int16, 0+;
    }
}

message! {
    /// Answers `WriteShareGroupStateRequest`: a result per partition.
    write_share_group_state_response: WriteShareGroupStateResponse, versions 0-1, flexible 0+ {
        results: [WriteStateResult], 0+;
    }
    WriteStateResult {
        topic_id:   uuid,              0+;
        partitions: [PartitionResult], 0+;
    }
    PartitionResult {
        partition:     int32,         0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
    }
}

message! {
    /// Deletes the state of share partitions (KIP-932).
    delete_share_group_state_request: DeleteShareGroupStateRequest, versions 0, flexible 0+ {
        group_id: string,            0+;
        topics:   [DeleteStateData], 0+;
    }
    DeleteStateData {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition: int32, 0+;
    }
}

message! {
    /// Answers `DeleteShareGroupStateRequest`: a result per partition.
    delete_share_group_state_response: DeleteShareGroupStateResponse, versions 0, flexible 0+ {
        results: [DeleteStateResult], 0+;
    }
    DeleteStateResult {
        topic_id:   uuid,              0+;
        partitions: [PartitionResult], 0+;
    }
    PartitionResult {
        partition:     int32,         0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
    }
}

message! {
    /// Reads start offsets and epochs of share partitions, without batches (KIP-932).
    read_share_group_state_summary_request: ReadShareGroupStateSummaryRequest, versions 0-1, flexible 0+ {
        group_id: string,                 0+;
        topics:   [ReadStateSummaryData], 0+;
    }
    ReadStateSummaryData {
        topic_id:   uuid,            0+;
        partitions: [PartitionData], 0+;
    }
    PartitionData {
        partition:    int32, 0+;
        leader_epoch: int32, 0+;
    }
}

message! {
    /// Answers `ReadShareGroupStateSummaryRequest`: a summary per partition; v1 adds the count of delivered records
    /// (KIP-1226).
    read_share_group_state_summary_response: ReadShareGroupStateSummaryResponse, versions 0-1, flexible 0+ {
        results: [ReadStateSummaryResult], 0+;
    }
    ReadStateSummaryResult {
        topic_id:   uuid,              0+;
        partitions: [PartitionResult], 0+;
    }
    PartitionResult {
        partition:               int32,         0+;
        error_code:              error_code,    0+;
        error_message:           string = None, 0+ nullable 0+;
        state_epoch:             int32,         0+;
        leader_epoch:            int32,         0+;
        start_offset:            int64,         0+;
        delivery_complete_count: int32 = -1,    1+, ignorable;
    }
}
