//! Metrics that clients send to brokers (KIP-714).

message! {
    /// Asks which metrics the broker wants (KIP-714).
    get_telemetry_subscriptions_request: GetTelemetrySubscriptionsRequest, versions 0, flexible 0+ {
        client_instance_id: uuid, 0+;
    }
}

message! {
    /// Answers `GetTelemetrySubscriptionsRequest`: metric names, interval and compression.
    get_telemetry_subscriptions_response: GetTelemetrySubscriptionsResponse, versions 0, flexible 0+ {
        throttle_time_ms:           int32,      0+;
        error_code:                 error_code, 0+;
        client_instance_id:         uuid,       0+;
        subscription_id:            int32,      0+;
        accepted_compression_types: [int8],     0+;
        push_interval_ms:           int32,      0+;
        telemetry_max_bytes:        int32,      0+;
        delta_temporality:          bool,       0+;
        requested_metrics:          [string],   0+;
    }
}

message! {
    /// Sends metrics in OTLP (KIP-714).
    push_telemetry_request: PushTelemetryRequest, versions 0, flexible 0+ {
        client_instance_id: uuid,  0+;
        subscription_id:    int32, 0+;
        terminating:        bool,  0+;
        compression_type:   int8,  0+;
        metrics:            bytes, 0+;
    }
}

message! {
    /// Answers `PushTelemetryRequest`: whether they were taken.
    push_telemetry_response: PushTelemetryResponse, versions 0, flexible 0+ {
        throttle_time_ms: int32,      0+;
        error_code:       error_code, 0+;
    }
}
