//! Consumer groups whose assignment is made by the broker (KIP-848).

message! {
    /// Joins, keeps up with and leaves a consumer group (KIP-848); subscription by RE2J pattern from v1.
    consumer_group_heartbeat_request: ConsumerGroupHeartbeatRequest, versions 0-1, flexible 0+ {
        group_id:               string,                   0+;
        member_id:              string,                   0+;
        member_epoch:           int32,                    0+;
        instance_id:            string = None,            0+ nullable 0+;
        rack_id:                string = None,            0+ nullable 0+;
        rebalance_timeout_ms:   int32 = -1,               0+;
        subscribed_topic_names: [string] = None,          0+ nullable 0+;
        subscribed_topic_regex: string = None,            1+ nullable 1+;
        server_assignor:        string = None,            0+ nullable 0+;
        topic_partitions:       [TopicPartitions] = None, 0+ nullable 0+;
    }
    TopicPartitions {
        topic_id:   uuid,    0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Answers `ConsumerGroupHeartbeatRequest`: the member epoch, and the assignment when it changed.
    consumer_group_heartbeat_response: ConsumerGroupHeartbeatResponse, versions 0-1, flexible 0+ {
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
    /// Describes consumer groups (KIP-848).
    consumer_group_describe_request: ConsumerGroupDescribeRequest, versions 0-1, flexible 0+ {
        group_ids:                     [string], 0+;
        include_authorized_operations: bool,     0+;
    }
}

message! {
    /// Answers `ConsumerGroupDescribeRequest`: state, members, current and target assignments; v1 adds member types
    /// (KIP-1099).
    consumer_group_describe_response: ConsumerGroupDescribeResponse, versions 0-1, flexible 0+ {
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
        instance_id:            string = None, 0+ nullable 0+;
        rack_id:                string = None, 0+ nullable 0+;
        member_epoch:           int32,         0+;
        client_id:              string,        0+;
        client_host:            string,        0+;
        subscribed_topic_names: [string],      0+;
        subscribed_topic_regex: string = None, 0+ nullable 0+;
        assignment:             Assignment,    0+;
        target_assignment:      Assignment,    0+;
        member_type:            int8 = -1,     1+, ignorable;
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
