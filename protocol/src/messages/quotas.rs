//! Client quotas (KIP-546).

message! {
    /// Lists client quotas that match a filter (KIP-546).
    describe_client_quotas_request: DescribeClientQuotasRequest, versions 0-1, flexible 1+ {
        components: [ComponentData], 0+;
        strict:     bool,            0+;
    }
    ComponentData {
        entity_type: string, 0+;
        match_type:  int8,   0+;
        r#match:     string, 0+ nullable 0+;
    }
}

message! {
    /// Answers `DescribeClientQuotasRequest`: quotas per entity.
    describe_client_quotas_response: DescribeClientQuotasResponse, versions 0-1, flexible 1+ {
        throttle_time_ms: int32,       0+;
        error_code:       error_code,  0+;
        error_message:    string,      0+ nullable 0+;
        entries:          [EntryData], 0+ nullable 0+;
    }
    EntryData {
        entity: [EntityData], 0+;
        values: [ValueData],  0+;
    }
    EntityData {
        entity_type: string, 0+;
        entity_name: string, 0+ nullable 0+;
    }
    ValueData {
        key:   string,  0+;
        value: float64, 0+;
    }
}

message! {
    /// Sets and removes client quotas (KIP-546).
    alter_client_quotas_request: AlterClientQuotasRequest, versions 0-1, flexible 1+ {
        entries:       [EntryData], 0+;
        validate_only: bool,        0+;
    }
    EntryData {
        entity: [EntityData], 0+;
        ops:    [OpData],     0+;
    }
    EntityData {
        entity_type: string, 0+;
        entity_name: string, 0+ nullable 0+;
    }
    OpData {
        key:    string,  0+;
        value:  float64, 0+;
        remove: bool,    0+;
    }
}

message! {
    /// Answers `AlterClientQuotasRequest`: a result per entity.
    alter_client_quotas_response: AlterClientQuotasResponse, versions 0-1, flexible 1+ {
        throttle_time_ms: int32,       0+;
        entries:          [EntryData], 0+;
    }
    EntryData {
        error_code:    error_code,   0+;
        error_message: string,       0+ nullable 0+;
        entity:        [EntityData], 0+;
    }
    EntityData {
        entity_type: string, 0+;
        entity_name: string, 0+ nullable 0+;
    }
}
