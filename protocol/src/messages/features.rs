//! What a broker speaks, and cluster-wide feature levels.

message! {
    /// Asks which APIs and versions a broker speaks (KIP-35), and says who asks (KIP-511); v5 checks that it is the
    /// node meant (KIP-1242).
    api_versions_request: ApiVersionsRequest, versions 0-5, flexible 3+ {
        client_software_name:    string,        3+, ignorable;
        client_software_version: string,        3+, ignorable;
        cluster_id:              string = None, 5+ nullable 5+, ignorable;
        node_id:                 int32 = -1,    5+, ignorable;
    }
}

message! {
    /// Answers `ApiVersionsRequest`: ranges of versions, and features (KIP-584). An unknown version is answered in
    /// v0 with UNSUPPORTED_VERSION (KIP-511).
    api_versions_response: ApiVersionsResponse, versions 0-5, flexible 3+ {
        error_code:               error_code,            0+;
        api_keys:                 [ApiVersion],          0+;
        throttle_time_ms:         int32,                 1+, ignorable;
        supported_features:       [SupportedFeatureKey], 3+ tag 0, ignorable;
        finalized_features_epoch: int64 = -1,            3+ tag 1, ignorable;
        finalized_features:       [FinalizedFeatureKey], 3+ tag 2, ignorable;
        zk_migration_ready:       bool,                  3+ tag 3, ignorable;
    }
    ApiVersion {
        api_key:     int16, 0+;
        min_version: int16, 0+;
        max_version: int16, 0+;
    }
    SupportedFeatureKey {
        name:        string, 3+;
        min_version: int16,  3+;
        max_version: int16,  3+;
    }
    FinalizedFeatureKey {
        name:              string, 3+;
        max_version_level: int16,  3+;
        min_version_level: int16,  3+;
    }
}

message! {
    /// Raises or lowers finalized feature levels (KIP-584, KIP-778).
    update_features_request: UpdateFeaturesRequest, versions 0-2, flexible 0+ {
        timeout_ms:      int32 = 60000,      0+;
        feature_updates: [FeatureUpdateKey], 0+;
        validate_only:   bool,               1+;
    }
    FeatureUpdateKey {
        feature:           string,   0+;
        max_version_level: int16,    0+;
        allow_downgrade:   bool,     0-0;
        upgrade_type:      int8 = 1, 1+;
    }
}

message! {
    /// Answers `UpdateFeaturesRequest`: a result for all, or per feature up to v1.
    update_features_response: UpdateFeaturesResponse, versions 0-2, flexible 0+ {
        throttle_time_ms: int32,                    0+;
        error_code:       error_code,               0+;
        error_message:    string,                   0+ nullable 0+;
        results:          [UpdatableFeatureResult], 0-1, ignorable;
    }
    UpdatableFeatureResult {
        feature:       string,     0+;
        error_code:    error_code, 0+;
        error_message: string,     0+ nullable 0+;
    }
}
