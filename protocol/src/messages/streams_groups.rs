//! Groups of Kafka Streams (KIP-1071).

message! {
    /// Joins, keeps up with and leaves a streams group, with its topology and tasks (KIP-1071).
    streams_group_heartbeat_request: StreamsGroupHeartbeatRequest, versions 0-1, flexible 0+ {
        group_id:                   string,              0+;
        member_id:                  string,              0+;
        member_epoch:               int32,               0+;
        endpoint_information_epoch: int32,               0+;
        instance_id:                string = None,       0+ nullable 0+;
        rack_id:                    string = None,       0+ nullable 0+;
        rebalance_timeout_ms:       int32 = -1,          0+;
        topology:                   Topology = None,     0+ nullable 0+;
        active_tasks:               [TaskIds] = None,    0+ nullable 0+;
        standby_tasks:              [TaskIds] = None,    0+ nullable 0+;
        warmup_tasks:               [TaskIds] = None,    0+ nullable 0+;
        process_id:                 string = None,       0+ nullable 0+;
        user_endpoint:              Endpoint = None,     0+ nullable 0+;
        client_tags:                [KeyValue] = None,   0+ nullable 0+;
        task_offsets:               [TaskOffset] = None, 0+ nullable 0+;
        task_end_offsets:           [TaskOffset] = None, 0+ nullable 0+;
        shutdown_application:       bool,                0+;
    }
    Topology {
        epoch:         int32,         0+;
        subtopologies: [Subtopology], 0+;
    }
    Subtopology {
        subtopology_id:            string,             0+;
        source_topics:             [string],           0+;
        source_topic_regex:        [string],           0+;
        state_changelog_topics:    [TopicInfo],        0+;
        repartition_sink_topics:   [string],           0+;
        repartition_source_topics: [TopicInfo],        0+;
        copartition_groups:        [CopartitionGroup], 0+;
    }
    TopicInfo {
        name:               string,     0+;
        partitions:         int32,      0+;
        replication_factor: int16,      0+;
        topic_configs:      [KeyValue], 0+;
    }
    KeyValue {
        key:   string, 0+;
        value: string, 0+;
    }
    CopartitionGroup {
        source_topics:             [int16], 0+;
        source_topic_regex:        [int16], 0+;
        repartition_source_topics: [int16], 0+;
    }
    TaskIds {
        subtopology_id: string,  0+;
        partitions:     [int32], 0+;
    }
    Endpoint {
        host: string, 0+;
        port: uint16, 0+;
    }
    TaskOffset {
        subtopology_id: string, 0+;
        partition:      int32,  0+;
        offset:         int64,  0+;
    }
}

message! {
    /// Answers `StreamsGroupHeartbeatRequest`: the member epoch, tasks, and endpoints of other members.
    streams_group_heartbeat_response: StreamsGroupHeartbeatResponse, versions 0-1, flexible 0+ {
        throttle_time_ms:               int32,                         0+;
        error_code:                     error_code,                    0+;
        error_message:                  string = None,                 0+ nullable 0+;
        member_id:                      string,                        0+;
        member_epoch:                   int32,                         0+;
        heartbeat_interval_ms:          int32,                         0+;
        acceptable_recovery_lag_legacy: int32,                         0-0;
        task_offset_interval_ms:        int32,                         0+;
        acceptable_recovery_lag:        int64 = -1,                    1+, ignorable;
        status:                         [Status],                      0+ nullable 0+;
        active_tasks:                   [TaskIds] = None,              0+ nullable 0+;
        standby_tasks:                  [TaskIds] = None,              0+ nullable 0+;
        warmup_tasks:                   [TaskIds] = None,              0+ nullable 0+;
        topology_description_required:  bool,                          1+;
        endpoint_information_epoch:     int32,                         0+;
        partitions_by_user_endpoint:    [EndpointToPartitions] = None, 0+ nullable 0+;
    }
    Status {
        status_code:   int8,   0+;
        status_detail: string, 0+;
    }
    TaskIds {
        subtopology_id: string,  0+;
        partitions:     [int32], 0+;
    }
    EndpointToPartitions {
        user_endpoint:      Endpoint,         0+;
        active_partitions:  [TopicPartition], 0+;
        standby_partitions: [TopicPartition], 0+;
    }
    Endpoint {
        host: string, 0+;
        port: uint16, 0+;
    }
    TopicPartition {
        topic:      string,  0+;
        partitions: [int32], 0+;
    }
}

message! {
    /// Describes streams groups (KIP-1071); v1 adds the topology description (KIP-1331).
    streams_group_describe_request: StreamsGroupDescribeRequest, versions 0-1, flexible 0+ {
        group_ids:                     [string], 0+;
        include_authorized_operations: bool,     0+;
        include_topology_description:  bool,     1+;
    }
}

message! {
    /// Answers `StreamsGroupDescribeRequest`: state, topology, members and tasks.
    streams_group_describe_response: StreamsGroupDescribeResponse, versions 0-1, flexible 0+ {
        throttle_time_ms: int32,            0+;
        groups:           [DescribedGroup], 0+;
    }
    DescribedGroup {
        error_code:                  error_code,                 0+;
        error_message:               string = None,              0+ nullable 0+;
        group_id:                    string,                     0+;
        group_state:                 string,                     0+;
        group_epoch:                 int32,                      0+;
        assignment_epoch:            int32,                      0+;
        topology:                    Topology = None,            0+ nullable 0+;
        members:                     [Member],                   0+;
        authorized_operations:       int32 = i32::MIN,           0+;
        topology_description:        TopologyDescription = None, 1+ nullable 1+;
        topology_description_status: int8,                       1+;
        assignor_name:               string = None,              1+ nullable 1+, ignorable;
    }
    Topology {
        epoch:         int32,                0+;
        subtopologies: [Subtopology] = None, 0+ nullable 0+;
    }
    Subtopology {
        subtopology_id:            string,      0+;
        source_topics:             [string],    0+;
        repartition_sink_topics:   [string],    0+;
        state_changelog_topics:    [TopicInfo], 0+;
        repartition_source_topics: [TopicInfo], 0+;
    }
    TopicInfo {
        name:               string,     0+;
        partitions:         int32,      0+;
        replication_factor: int16,      0+;
        topic_configs:      [KeyValue], 0+;
    }
    KeyValue {
        key:   string, 0+;
        value: string, 0+;
    }
    Member {
        member_id:         string,          0+;
        member_epoch:      int32,           0+;
        instance_id:       string = None,   0+ nullable 0+;
        rack_id:           string = None,   0+ nullable 0+;
        client_id:         string,          0+;
        client_host:       string,          0+;
        topology_epoch:    int32,           0+;
        process_id:        string,          0+;
        user_endpoint:     Endpoint = None, 0+ nullable 0+;
        client_tags:       [KeyValue],      0+;
        task_offsets:      [TaskOffset],    0+;
        task_end_offsets:  [TaskOffset],    0+;
        assignment:        Assignment,      0+;
        target_assignment: Assignment,      0+;
        is_classic:        bool,            0+;
    }
    Endpoint {
        host: string, 0+;
        port: uint16, 0+;
    }
    TaskOffset {
        subtopology_id: string, 0+;
        partition:      int32,  0+;
        offset:         int64,  0+;
    }
    Assignment {
        active_tasks:  [TaskIds], 0+;
        standby_tasks: [TaskIds], 0+;
        warmup_tasks:  [TaskIds], 0+;
    }
    TaskIds {
        subtopology_id: string,  0+;
        partitions:     [int32], 0+;
    }
    TopologyDescription {
        subtopologies: [TopologyDescriptionSubtopology], 1+;
        global_stores: [TopologyDescriptionGlobalStore], 1+;
    }
    TopologyDescriptionSubtopology {
        subtopology_id: string,                    1+;
        nodes:          [TopologyDescriptionNode], 1+;
    }
    TopologyDescriptionNode {
        name:          string,        1+;
        node_type:     int8,          1+;
        source_topics: [string],      1+;
        sink_topic:    string = None, 1+ nullable 1+;
        stores:        [string],      1+;
        successors:    [string],      1+;
    }
    TopologyDescriptionGlobalStore {
        source:    TopologyDescriptionNode, 1+;
        processor: TopologyDescriptionNode, 1+;
    }
}

message! {
    /// Sends a description of the topology for people to read (KIP-1331).
    streams_group_topology_description_update_request: StreamsGroupTopologyDescriptionUpdateRequest, versions 0, flexible 0+ {
        group_id:             string,              0+;
        member_id:            string,              0+;
        topology_epoch:       int32,               0+;
        topology_description: TopologyDescription, 0+;
    }
    TopologyDescription {
        subtopologies: [TopologyDescriptionSubtopology], 0+;
        global_stores: [TopologyDescriptionGlobalStore], 0+;
    }
    TopologyDescriptionSubtopology {
        subtopology_id: string,                    0+;
        nodes:          [TopologyDescriptionNode], 0+;
    }
    TopologyDescriptionNode {
        name:          string,        0+;
        node_type:     int8,          0+;
        source_topics: [string],      0+;
        sink_topic:    string = None, 0+ nullable 0+;
        stores:        [string],      0+;
        successors:    [string],      0+;
    }
    TopologyDescriptionGlobalStore {
        source:    TopologyDescriptionNode, 0+;
        processor: TopologyDescriptionNode, 0+;
    }
}

message! {
    /// Answers `StreamsGroupTopologyDescriptionUpdateRequest`: whether it was taken.
    streams_group_topology_description_update_response: StreamsGroupTopologyDescriptionUpdateResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,         0+;
        error_code:       error_code,    0+;
        error_message:    string = None, 0+ nullable 0+;
    }
}
