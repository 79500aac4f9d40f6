//! GetTelemetrySubscriptions and PushTelemetry: clients tell what they measure (KIP-714). Offered where somebody wants to know.

use protocol::ErrorCode;
use protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use protocol::messages::push_telemetry_response::PushTelemetryResponse;
use protocol::messages::{GetTelemetrySubscriptionsRequest, PushTelemetryRequest};
use tokio::time::Instant;

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::telemetry::MAX_BYTES;

impl Api for GetTelemetrySubscriptionsRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<GetTelemetrySubscriptionsResponse> {
        let telemetry = lock(&context.cluster.telemetry);
        let client_instance_id = match self.client_instance_id.is_zero() {
            true => lock(&context.cluster.random).uuid(),
            false => self.client_instance_id,
        };
        let wanted = telemetry.wanted();
        Reply::Message(GetTelemetrySubscriptionsResponse {
            client_instance_id,
            subscription_id: wanted.id,
            // As Kafka prefers them.
            accepted_compression_types: vec![4, 3, 1, 2],
            push_interval_ms: i32::try_from(wanted.interval.as_millis()).unwrap_or(i32::MAX),
            telemetry_max_bytes: MAX_BYTES as i32,
            delta_temporality: true,
            requested_metrics: wanted.metrics.clone(),
            ..Default::default()
        })
    }
}

impl Api for PushTelemetryRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<PushTelemetryResponse> {
        let mut telemetry = lock(&context.cluster.telemetry);
        let taken = telemetry.take(&self, context.client_id, Instant::now());
        Reply::Message(PushTelemetryResponse {
            error_code: taken.err().unwrap_or(ErrorCode::NONE),
            ..Default::default()
        })
    }
}
