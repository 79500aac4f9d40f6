//! Making and changing topics, partitions and their records.

message! {
    /// Creates topics; -1 takes the broker's defaults from v4 (KIP-464).
    create_topics_request: CreateTopicsRequest, versions 2-7, flexible 5+ {
        topics:        [CreatableTopic], 0+;
        timeout_ms:    int32 = 60000,    0+;
        validate_only: bool,             1+;
    }
    CreatableTopic {
        name:               string,                       0+;
        num_partitions:     int32,                        0+;
        replication_factor: int16,                        0+;
        assignments:        [CreatableReplicaAssignment], 0+;
        configs:            [CreatableTopicConfig],       0+;
    }
    CreatableReplicaAssignment {
        partition_index: int32,   0+;
        broker_ids:      [int32], 0+;
    }
    CreatableTopicConfig {
        name:  string, 0+;
        value: string, 0+ nullable 0+;
    }
}

impl CreateTopicsRequest {
    /// The first version in which brokers have defaults for what is left out (KIP-464).
    pub const DEFAULTS_FROM: i16 = 4;
}

message! {
    /// Answers `CreateTopicsRequest`: a result per topic; v5 adds its configuration (KIP-525), v7 its id (KIP-516).
    create_topics_response: CreateTopicsResponse, versions 2-7, flexible 5+ {
        throttle_time_ms: int32,                  2+, ignorable;
        topics:           [CreatableTopicResult], 0+;
    }
    CreatableTopicResult {
        name:                    string,                  0+;
        topic_id:                uuid,                    7+, ignorable;
        error_code:              error_code,              0+;
        error_message:           string,                  1+ nullable 0+, ignorable;
        topic_config_error_code: int16,                   5+ tag 0, ignorable;
        num_partitions:          int32 = -1,              5+, ignorable;
        replication_factor:      int16 = -1,              5+, ignorable;
        configs:                 [CreatableTopicConfigs], 5+ nullable 5+, ignorable;
    }
    CreatableTopicConfigs {
        name:          string,    5+;
        value:         string,    5+ nullable 5+;
        read_only:     bool,      5+;
        config_source: int8 = -1, 5+, ignorable;
        is_sensitive:  bool,      5+;
    }
}

message! {
    /// Deletes topics by name, or by id from v6 (KIP-516).
    delete_topics_request: DeleteTopicsRequest, versions 1-6, flexible 4+ {
        topics:      [DeleteTopicState], 6+;
        topic_names: [string],           0-5, ignorable;
        timeout_ms:  int32,              0+;
    }
    DeleteTopicState {
        name:     string = None, 6+ nullable 6+;
        topic_id: uuid,          6+;
    }
}

message! {
    /// Answers `DeleteTopicsRequest`: a result per topic.
    delete_topics_response: DeleteTopicsResponse, versions 1-6, flexible 4+ {
        throttle_time_ms: int32,                  1+, ignorable;
        responses:        [DeletableTopicResult], 0+;
    }
    DeletableTopicResult {
        name:          string,        0+ nullable 6+;
        topic_id:      uuid,          6+, ignorable;
        error_code:    error_code,    0+;
        error_message: string = None, 5+ nullable 5+, ignorable;
    }
}

message! {
    /// Adds partitions to topics (KIP-195).
    create_partitions_request: CreatePartitionsRequest, versions 0-3, flexible 2+ {
        topics:        [CreatePartitionsTopic], 0+;
        timeout_ms:    int32,                   0+;
        validate_only: bool,                    0+;
    }
    CreatePartitionsTopic {
        name:        string,                       0+;
        count:       int32,                        0+;
        assignments: [CreatePartitionsAssignment], 0+ nullable 0+;
    }
    CreatePartitionsAssignment {
        broker_ids: [int32], 0+;
    }
}

message! {
    /// Answers `CreatePartitionsRequest`: a result per topic.
    create_partitions_response: CreatePartitionsResponse, versions 0-3, flexible 2+ {
        throttle_time_ms: int32,                         0+;
        results:          [CreatePartitionsTopicResult], 0+;
    }
    CreatePartitionsTopicResult {
        name:          string,        0+;
        error_code:    error_code,    0+;
        error_message: string = None, 0+ nullable 0+;
    }
}

message! {
    /// Deletes records before an offset (KIP-107).
    delete_records_request: DeleteRecordsRequest, versions 0-2, flexible 2+ {
        topics:     [DeleteRecordsTopic], 0+;
        timeout_ms: int32,                0+;
    }
    DeleteRecordsTopic {
        name:       string,                   0+;
        partitions: [DeleteRecordsPartition], 0+;
    }
    DeleteRecordsPartition {
        partition_index: int32, 0+;
        offset:          int64, 0+;
    }
}

message! {
    /// Answers `DeleteRecordsRequest`: the new low watermark per partition.
    delete_records_response: DeleteRecordsResponse, versions 0-2, flexible 2+ {
        throttle_time_ms: int32,                      0+;
        topics:           [DeleteRecordsTopicResult], 0+;
    }
    DeleteRecordsTopicResult {
        name:       string,                         0+;
        partitions: [DeleteRecordsPartitionResult], 0+;
    }
    DeleteRecordsPartitionResult {
        partition_index: int32,      0+;
        low_watermark:   int64,      0+;
        error_code:      error_code, 0+;
    }
}
