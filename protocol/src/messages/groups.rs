//! Coordinators and classic groups.

message! {
    /// Finds the coordinator of groups (0), transactional ids (1) or share partitions (2, KIP-932); several keys
    /// from v4 (KIP-699).
    find_coordinator_request: FindCoordinatorRequest, versions 0-6, flexible 3+ {
        key:              string,   0-3;
        key_type:         int8,     1+;
        coordinator_keys: [string], 4+;
    }
}

impl FindCoordinatorRequest {
    /// The first version that asks for several keys at once.
    pub const SEVERAL_KEYS_FROM: i16 = 4;
}

message! {
    /// Answers `FindCoordinatorRequest`: a broker per key.
    find_coordinator_response: FindCoordinatorResponse, versions 0-6, flexible 3+ {
        throttle_time_ms: int32,         1+, ignorable;
        error_code:       error_code,    0-3;
        error_message:    string,        1-3 nullable 1-3, ignorable;
        node_id:          int32,         0-3;
        host:             string,        0-3;
        port:             int32,         0-3;
        coordinators:     [Coordinator], 4+;
    }
    Coordinator {
        key:           string,     4+;
        node_id:       int32,      4+;
        host:          string,     4+;
        port:          int32,      4+;
        error_code:    error_code, 4+;
        error_message: string,     4+ nullable 4+, ignorable;
    }
}

message! {
    /// Joins a classic group. Static members from v5 (KIP-345), a reason from v8 (KIP-800).
    join_group_request: JoinGroupRequest, versions 0-9, flexible 6+ {
        group_id:             string,                     0+;
        session_timeout_ms:   int32,                      0+;
        rebalance_timeout_ms: int32 = -1,                 1+, ignorable;
        member_id:            string,                     0+;
        group_instance_id:    string = None,              5+ nullable 5+;
        protocol_type:        string,                     0+;
        protocols:            [JoinGroupRequestProtocol], 0+;
        reason:               string = None,              8+ nullable 8+, ignorable;
    }
    JoinGroupRequestProtocol {
        name:     string, 0+;
        metadata: bytes,  0+;
    }
}

message! {
    /// Answers `JoinGroupRequest`: the generation; the leader also gets all members and their metadata.
    join_group_response: JoinGroupResponse, versions 0-9, flexible 6+ {
        throttle_time_ms: int32,                     2+, ignorable;
        error_code:       error_code,                0+;
        generation_id:    int32 = -1,                0+;
        protocol_type:    string = None,             7+ nullable 7+, ignorable;
        protocol_name:    string,                    0+ nullable 7+;
        leader:           string,                    0+;
        skip_assignment:  bool,                      9+;
        member_id:        string,                    0+;
        members:          [JoinGroupResponseMember], 0+;
    }
    JoinGroupResponseMember {
        member_id:         string,        0+;
        group_instance_id: string = None, 5+ nullable 5+, ignorable;
        metadata:          bytes,         0+;
    }
}

message! {
    /// Hands the assignment of the leader to the coordinator, and waits for one's own. Protocol names from v5
    /// (KIP-559).
    sync_group_request: SyncGroupRequest, versions 0-5, flexible 4+ {
        group_id:          string,                       0+;
        generation_id:     int32,                        0+;
        member_id:         string,                       0+;
        group_instance_id: string = None,                3+ nullable 3+;
        protocol_type:     string = None,                5+ nullable 5+, ignorable;
        protocol_name:     string = None,                5+ nullable 5+, ignorable;
        assignments:       [SyncGroupRequestAssignment], 0+;
    }
    SyncGroupRequestAssignment {
        member_id:  string, 0+;
        assignment: bytes,  0+;
    }
}

message! {
    /// Answers `SyncGroupRequest`: the assignment of the member.
    sync_group_response: SyncGroupResponse, versions 0-5, flexible 4+ {
        throttle_time_ms: int32,         1+, ignorable;
        error_code:       error_code,    0+;
        protocol_type:    string = None, 5+ nullable 5+, ignorable;
        protocol_name:    string = None, 5+ nullable 5+, ignorable;
        assignment:       bytes,         0+;
    }
}

message! {
    /// Keeps a member of a classic group alive.
    heartbeat_request: HeartbeatRequest, versions 0-4, flexible 4+ {
        group_id:          string,        0+;
        generation_id:     int32,         0+;
        member_id:         string,        0+;
        group_instance_id: string = None, 3+ nullable 3+;
    }
}

message! {
    /// Answers `HeartbeatRequest`: whether the group is rebalancing or the member is fenced.
    heartbeat_response: HeartbeatResponse, versions 0-4, flexible 4+ {
        throttle_time_ms: int32,      1+, ignorable;
        error_code:       error_code, 0+;
    }
}

message! {
    /// Takes members out of a classic group, several from v3 (KIP-345).
    leave_group_request: LeaveGroupRequest, versions 0-5, flexible 4+ {
        group_id:  string,           0+;
        member_id: string,           0-2;
        members:   [MemberIdentity], 3+;
    }
    MemberIdentity {
        member_id:         string,        3+;
        group_instance_id: string = None, 3+ nullable 3+;
        reason:            string = None, 5+ nullable 5+, ignorable;
    }
}

impl LeaveGroupRequest {
    /// The first version that names several members.
    pub const MEMBERS_FROM: i16 = 3;
}

message! {
    /// Answers `LeaveGroupRequest`: a result per member.
    leave_group_response: LeaveGroupResponse, versions 0-5, flexible 4+ {
        throttle_time_ms: int32,            1+, ignorable;
        error_code:       error_code,       0+;
        members:          [MemberResponse], 3+;
    }
    MemberResponse {
        member_id:         string,     3+;
        group_instance_id: string,     3+ nullable 3+;
        error_code:        error_code, 3+;
    }
}

message! {
    /// Describes classic groups; v6 tells unknown groups apart (KIP-1043).
    describe_groups_request: DescribeGroupsRequest, versions 0-6, flexible 5+ {
        groups:                        [string], 0+;
        include_authorized_operations: bool,     3+;
    }
}

message! {
    /// Answers `DescribeGroupsRequest`: state, protocol and members.
    describe_groups_response: DescribeGroupsResponse, versions 0-6, flexible 5+ {
        throttle_time_ms: int32,            1+, ignorable;
        groups:           [DescribedGroup], 0+;
    }
    DescribedGroup {
        error_code:            error_code,             0+;
        error_message:         string = None,          6+ nullable 6+;
        group_id:              string,                 0+;
        group_state:           string,                 0+;
        protocol_type:         string,                 0+;
        protocol_data:         string,                 0+;
        members:               [DescribedGroupMember], 0+;
        authorized_operations: int32 = i32::MIN,       3+;
    }
    DescribedGroupMember {
        member_id:         string,        0+;
        group_instance_id: string = None, 4+ nullable 4+, ignorable;
        client_id:         string,        0+;
        client_host:       string,        0+;
        member_metadata:   bytes,         0+;
        member_assignment: bytes,         0+;
    }
}

message! {
    /// Lists groups by state (KIP-518) and type (KIP-848).
    list_groups_request: ListGroupsRequest, versions 0-5, flexible 3+ {
        states_filter: [string], 4+;
        types_filter:  [string], 5+;
    }
}

message! {
    /// Answers `ListGroupsRequest`: groups, their types and states.
    list_groups_response: ListGroupsResponse, versions 0-5, flexible 3+ {
        throttle_time_ms: int32,         1+, ignorable;
        error_code:       error_code,    0+;
        groups:           [ListedGroup], 0+;
    }
    ListedGroup {
        group_id:      string, 0+;
        protocol_type: string, 0+;
        group_state:   string, 4+, ignorable;
        group_type:    string, 5+, ignorable;
    }
}

message! {
    /// Deletes empty groups (KIP-229).
    delete_groups_request: DeleteGroupsRequest, versions 0-3, flexible 2+ {
        groups_names: [string], 0+;
    }
}

message! {
    /// Answers `DeleteGroupsRequest`: a result per group.
    delete_groups_response: DeleteGroupsResponse, versions 0-3, flexible 2+ {
        throttle_time_ms: int32,                  0+;
        results:          [DeletableGroupResult], 0+;
    }
    DeletableGroupResult {
        group_id:      string,        0+;
        error_code:    error_code,    0+;
        error_message: string = None, 3+ nullable 3+, ignorable;
    }
}
