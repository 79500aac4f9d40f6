//! Access control lists.

message! {
    /// Creates access rules (KIP-140, prefixes KIP-290).
    create_acls_request: CreateAclsRequest, versions 1-3, flexible 2+ {
        creations: [AclCreation], 0+;
    }
    AclCreation {
        resource_type:         int8,     0+;
        resource_name:         string,   0+;
        resource_pattern_type: int8 = 3, 1+;
        principal:             string,   0+;
        host:                  string,   0+;
        operation:             int8,     0+;
        permission_type:       int8,     0+;
    }
}

message! {
    /// Answers `CreateAclsRequest`: a result per rule.
    create_acls_response: CreateAclsResponse, versions 1-3, flexible 2+ {
        throttle_time_ms: int32,               0+;
        results:          [AclCreationResult], 0+;
    }
    AclCreationResult {
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
    }
}

message! {
    /// Lists the access rules that a filter matches (KIP-140).
    describe_acls_request: DescribeAclsRequest, versions 1-3, flexible 2+ {
        resource_type_filter: int8,     0+;
        resource_name_filter: string,   0+ nullable 0+;
        pattern_type_filter:  int8 = 3, 1+;
        principal_filter:     string,   0+ nullable 0+;
        host_filter:          string,   0+ nullable 0+;
        operation:            int8,     0+;
        permission_type:      int8,     0+;
    }
}

message! {
    /// Answers `DescribeAclsRequest`: rules by resource.
    describe_acls_response: DescribeAclsResponse, versions 1-3, flexible 2+ {
        throttle_time_ms: int32,                  0+;
        error_code:       error_code,             0+;
        error_message:    string,                 0+ nullable 0+;
        resources:        [DescribeAclsResource], 0+;
    }
    DescribeAclsResource {
        resource_type: int8,             0+;
        resource_name: string,           0+;
        pattern_type:  int8 = 3,         1+;
        acls:          [AclDescription], 0+;
    }
    AclDescription {
        principal:       string, 0+;
        host:            string, 0+;
        operation:       int8,   0+;
        permission_type: int8,   0+;
    }
}

message! {
    /// Deletes the access rules that filters match (KIP-140).
    delete_acls_request: DeleteAclsRequest, versions 1-3, flexible 2+ {
        filters: [DeleteAclsFilter], 0+;
    }
    DeleteAclsFilter {
        resource_type_filter: int8,     0+;
        resource_name_filter: string,   0+ nullable 0+;
        pattern_type_filter:  int8 = 3, 1+;
        principal_filter:     string,   0+ nullable 0+;
        host_filter:          string,   0+ nullable 0+;
        operation:            int8,     0+;
        permission_type:      int8,     0+;
    }
}

message! {
    /// Answers `DeleteAclsRequest`: the deleted rules per filter.
    delete_acls_response: DeleteAclsResponse, versions 1-3, flexible 2+ {
        throttle_time_ms: int32,                    0+;
        filter_results:   [DeleteAclsFilterResult], 0+;
    }
    DeleteAclsFilterResult {
        error_code:    error_code,              0+;
        error_message: string,                  0+ nullable 0+;
        matching_acls: [DeleteAclsMatchingAcl], 0+;
    }
    DeleteAclsMatchingAcl {
        error_code:      error_code, 0+;
        error_message:   string,     0+ nullable 0+;
        resource_type:   int8,       0+;
        resource_name:   string,     0+;
        pattern_type:    int8 = 3,   1+;
        principal:       string,     0+;
        host:            string,     0+;
        operation:       int8,       0+;
        permission_type: int8,       0+;
    }
}
