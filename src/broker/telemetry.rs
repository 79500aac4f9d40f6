//! What the cluster wants to know of its clients, and what they told (KIP-714). In: pushes, `now`. Out: whether they are taken.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use protocol::compression::{Buffer, Codec, Decompressor};
use protocol::messages::PushTelemetryRequest;
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

/// Kafka's `telemetry.max.bytes`.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Kafka's default interval.
const INTERVAL: Duration = Duration::from_secs(300);
/// As many pushes are kept; of more, the newest.
const KEPT: usize = 1_000;

/// What a client told, for assertions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PushedTelemetry {
    /// The client's id.
    pub client_id: String,
    /// The id that the broker gave it.
    pub client_instance_id: [u8; 16],
    /// It is the last that it tells.
    pub terminating: bool,
    /// The codec that it came in.
    pub codec: Codec,
    /// `MetricsData` of OTLP, decompressed.
    pub metrics: Bytes,
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) id: i32,
    pub(crate) metrics: Vec<String>,
    pub(crate) interval: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Telemetry {
    wanted: Wanted,
    pushed: Vec<PushedTelemetry>,
    /// When each client has pushed last.
    last: BTreeMap<[u8; 16], Instant>,
}

impl Telemetry {
    /// Wants the metrics whose names begin like this, in this interval.
    pub(crate) fn want(&mut self, metrics: &[&str], interval: Duration) {
        self.wanted = Wanted {
            id: self.wanted.id.wrapping_add(1),
            metrics: metrics.iter().map(ToString::to_string).collect(),
            interval,
        };
        self.last.clear();
    }

    pub(crate) fn wanted(&self) -> Wanted {
        match self.wanted.metrics.is_empty() {
            true => Wanted {
                interval: INTERVAL,
                ..self.wanted.clone()
            },
            false => self.wanted.clone(),
        }
    }

    pub(crate) fn pushed(&self) -> Vec<PushedTelemetry> {
        self.pushed.clone()
    }

    pub(crate) fn take(
        &mut self,
        request: &PushTelemetryRequest,
        client_id: &str,
        now: Instant,
    ) -> Result<(), ErrorCode> {
        if request.client_instance_id == Uuid::ZERO {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        let client_instance_id = request.client_instance_id.0;
        let last = self.last.get(&client_instance_id);
        // A little sooner is no offence: clocks differ.
        let is_early = last.is_some_and(|last| now < *last + self.wanted.interval / 2);
        if is_early && !request.terminating {
            return Err(ErrorCode::THROTTLING_QUOTA_EXCEEDED);
        }
        if request.subscription_id != self.wanted.id {
            return Err(ErrorCode::UNKNOWN_SUBSCRIPTION_ID);
        }
        let codec = usize::try_from(request.compression_type).ok();
        let codec = codec.and_then(|number| Codec::ALL.get(number)).copied();
        let codec = codec.ok_or(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE)?;
        if request.metrics.len() > MAX_BYTES {
            return Err(ErrorCode::TELEMETRY_TOO_LARGE);
        }
        let metrics = decompressed(codec, &request.metrics).ok_or(ErrorCode::INVALID_RECORD)?;
        self.last.insert(client_instance_id, now);
        self.pushed.push(PushedTelemetry {
            client_id: client_id.to_string(),
            client_instance_id,
            terminating: request.terminating,
            codec,
            metrics,
        });
        let surplus = self.pushed.len().saturating_sub(KEPT);
        self.pushed.drain(..surplus);
        Ok(())
    }
}

fn decompressed(codec: Codec, bytes: &Bytes) -> Option<Bytes> {
    let mut out = Buffer::default();
    let decompressed = Decompressor::new().decompress(codec, bytes, 8 * MAX_BYTES, &mut out);
    decompressed.ok()?;
    Some(Bytes::copy_from_slice(out.as_slice()))
}
