//! Configuration of topics, brokers, groups and client metrics.

message! {
    /// Reads configurations (KIP-133), with synonyms (KIP-226) and documentation (KIP-569).
    describe_configs_request: DescribeConfigsRequest, versions 1-4, flexible 4+ {
        resources:             [DescribeConfigsResource], 0+;
        include_synonyms:      bool,                      1+;
        include_documentation: bool,                      3+;
    }
    DescribeConfigsResource {
        resource_type:      int8,     0+;
        resource_name:      string,   0+;
        configuration_keys: [string], 0+ nullable 0+;
    }
}

message! {
    /// Answers `DescribeConfigsRequest`: values and where they come from.
    describe_configs_response: DescribeConfigsResponse, versions 1-4, flexible 4+ {
        throttle_time_ms: int32,                   0+;
        results:          [DescribeConfigsResult], 0+;
    }
    DescribeConfigsResult {
        error_code:    error_code,                      0+;
        error_message: string,                          0+ nullable 0+;
        resource_type: int8,                            0+;
        resource_name: string,                          0+;
        configs:       [DescribeConfigsResourceResult], 0+;
    }
    DescribeConfigsResourceResult {
        name:          string,                   0+;
        value:         string,                   0+ nullable 0+;
        read_only:     bool,                     0+;
        config_source: int8 = -1,                1+, ignorable;
        is_sensitive:  bool,                     0+;
        synonyms:      [DescribeConfigsSynonym], 1+, ignorable;
        config_type:   int8,                     3+, ignorable;
        documentation: string,                   3+ nullable 0+, ignorable;
    }
    DescribeConfigsSynonym {
        name:   string, 1+;
        value:  string, 1+ nullable 0+;
        source: int8,   1+;
    }
}

message! {
    /// Replaces configurations (KIP-133). Prefer `IncrementalAlterConfigsRequest`.
    alter_configs_request: AlterConfigsRequest, versions 0-2, flexible 2+ {
        resources:     [AlterConfigsResource], 0+;
        validate_only: bool,                   0+;
    }
    AlterConfigsResource {
        resource_type: int8,              0+;
        resource_name: string,            0+;
        configs:       [AlterableConfig], 0+;
    }
    AlterableConfig {
        name:  string, 0+;
        value: string, 0+ nullable 0+;
    }
}

message! {
    /// Answers `AlterConfigsRequest`: a result per resource.
    alter_configs_response: AlterConfigsResponse, versions 0-2, flexible 2+ {
        throttle_time_ms: int32,                          0+;
        responses:        [AlterConfigsResourceResponse], 0+;
    }
    AlterConfigsResourceResponse {
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
        resource_type: int8,       0+;
        resource_name: string,     0+;
    }
}

message! {
    /// Sets, deletes, appends to or subtracts from single configurations (KIP-339).
    incremental_alter_configs_request: IncrementalAlterConfigsRequest, versions 0-1, flexible 1+ {
        resources:     [AlterConfigsResource], 0+;
        validate_only: bool,                   0+;
    }
    AlterConfigsResource {
        resource_type: int8,              0+;
        resource_name: string,            0+;
        configs:       [AlterableConfig], 0+;
    }
    AlterableConfig {
        name:             string, 0+;
        config_operation: int8,   0+;
        value:            string, 0+ nullable 0+;
    }
}

message! {
    /// Answers `IncrementalAlterConfigsRequest`: a result per resource.
    incremental_alter_configs_response: IncrementalAlterConfigsResponse, versions 0-1, flexible 1+ {
        throttle_time_ms: int32,                          0+;
        responses:        [AlterConfigsResourceResponse], 0+;
    }
    AlterConfigsResourceResponse {
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
        resource_type: int8,       0+;
        resource_name: string,     0+;
    }
}

message! {
    /// Lists the resources that have configurations (KIP-1142); v0 lists client metrics only (KIP-714).
    list_config_resources_request: ListConfigResourcesRequest, versions 0-1, flexible 0+ {
        resource_types: [int8], 1+;
    }
}

message! {
    /// Answers `ListConfigResourcesRequest`: names and types.
    list_config_resources_response: ListConfigResourcesResponse, versions 0-1, flexible 0+ {
        throttle_time_ms: int32,            0+;
        error_code:       error_code,       0+;
        config_resources: [ConfigResource], 0+;
    }
    ConfigResource {
        resource_name: string,    0+;
        resource_type: int8 = 16, 1+, ignorable;
    }
}
