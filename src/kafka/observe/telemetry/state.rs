//! When a client asks what the broker wants to know, and when it sends that: pure. In: the broker's answers, the time. Out: what to do next.

use std::time::Duration;

use protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use crate::kafka::{Codec, Random};

/// Where the broker names no interval, or one that is none.
const INTERVAL: Duration = Duration::from_secs(300);
/// The least time between two requests, however often the broker says that they were wrong.
const LEAST: Duration = Duration::from_secs(1);

/// What the broker wants of this client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Subscription {
    pub id: i32,
    pub interval: Duration,
    pub codec: Codec,
    pub is_delta: bool,
    pub max_bytes: usize,
    wanted: Vec<String>,
}

impl Subscription {
    /// Whether it is about the metric of this name.
    pub fn wants(&self, name: &str) -> bool {
        let mut prefixes = self.wanted.iter();
        prefixes.any(|prefix| prefix == "*" || name.starts_with(&**prefix))
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// To ask what is wanted, then.
    Subscribe(Instant),
    /// To send it, then.
    Push(Instant),
    /// Nothing any more.
    End,
}

#[derive(Debug)]
pub(crate) struct State {
    /// Zero until the broker has given one.
    pub instance: Uuid,
    pub subscription: Option<Subscription>,
    next: Next,
}

impl State {
    pub fn new(now: Instant) -> Self {
        Self {
            instance: Uuid::ZERO,
            subscription: None,
            next: Next::Subscribe(now),
        }
    }

    pub fn next(&self) -> Next {
        self.next
    }

    /// A broker has given the client an id: the first one stays, whoever asks at the same time.
    pub fn given(&mut self, instance: Uuid) {
        if self.instance.is_zero() {
            self.instance = instance;
        }
    }

    /// The broker says what it wants.
    pub fn subscribed(
        &mut self,
        response: GetTelemetrySubscriptionsResponse,
        now: Instant,
        random: &mut Random,
    ) {
        if response.error_code != ErrorCode::NONE {
            return self.refused(response.error_code, now);
        }
        self.given(response.client_instance_id);
        let interval = match u64::try_from(response.push_interval_ms) {
            Ok(millis @ 1..) => Duration::from_millis(millis).max(LEAST),
            _ => INTERVAL,
        };
        if response.requested_metrics.is_empty() {
            self.subscription = None;
            self.next = Next::Subscribe(now + interval);
            return;
        }
        let mut accepted = response.accepted_compression_types.iter();
        let of_number = |number: &i8| Codec::ALL.get(usize::try_from(*number).ok()?).copied();
        let codec = accepted.find_map(of_number);
        self.subscription = Some(Subscription {
            id: response.subscription_id,
            interval,
            codec: codec.unwrap_or(Codec::None),
            is_delta: response.delta_temporality,
            max_bytes: usize::try_from(response.telemetry_max_bytes).unwrap_or(0),
            wanted: response.requested_metrics,
        });
        // Many clients that start together do not push together.
        self.next = Next::Push(now + interval.mul_f64(0.5 + random.fraction()));
    }

    /// What was pushed was taken, or was not.
    pub fn pushed(&mut self, code: ErrorCode, now: Instant) {
        match &self.subscription {
            Some(subscription) if code == ErrorCode::NONE => {
                self.next = Next::Push(now + subscription.interval);
            }
            _ => self.refused(code, now),
        }
    }

    /// No answer came.
    pub fn failed(&mut self, now: Instant) {
        self.next = Next::Subscribe(now + self.interval());
    }

    fn interval(&self) -> Duration {
        let known = self.subscription.as_ref();
        known.map_or(INTERVAL, |subscription| subscription.interval)
    }

    fn refused(&mut self, code: ErrorCode, now: Instant) {
        self.next = match code {
            ErrorCode::UNKNOWN_SUBSCRIPTION_ID | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE => {
                Next::Subscribe(now + LEAST)
            }
            ErrorCode::TELEMETRY_TOO_LARGE | ErrorCode::THROTTLING_QUOTA_EXCEEDED => {
                Next::Subscribe(now + self.interval())
            }
            // It would be the same the next time.
            _ => Next::End,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(metrics: &[&str]) -> GetTelemetrySubscriptionsResponse {
        GetTelemetrySubscriptionsResponse {
            client_instance_id: Uuid([7; 16]),
            subscription_id: 3,
            accepted_compression_types: vec![99, 4, 1],
            push_interval_ms: 10_000,
            telemetry_max_bytes: 1_000,
            delta_temporality: true,
            requested_metrics: metrics.iter().map(ToString::to_string).collect(),
            ..Default::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_wanted_is_pushed_in_the_interval_and_compressed_as_the_broker_likes_best() {
        let (now, mut random) = (Instant::now(), Random::seeded(1));
        let mut state = State::new(now);
        assert_eq!(state.next(), Next::Subscribe(now));
        state.subscribed(
            wants(&["org.apache.kafka.producer.", "x"]),
            now,
            &mut random,
        );
        let seconds = |count| now + Duration::from_secs(count);
        let Next::Push(at) = state.next() else {
            panic!("{state:?}")
        };
        assert!(seconds(5) <= at && at <= seconds(15));
        let subscription = state.subscription.clone().expect("subscribed");
        assert_eq!(
            (subscription.codec, subscription.max_bytes),
            (Codec::Zstd, 1_000)
        );
        assert!(subscription.wants("org.apache.kafka.producer.connection.creation.total"));
        assert!(!subscription.wants("org.apache.kafka.consumer.connection.creation.total"));
        state.pushed(ErrorCode::NONE, now);
        assert_eq!(state.next(), Next::Push(seconds(10)));
        state.subscribed(wants(&[]), now, &mut random);
        assert_eq!(state.next(), Next::Subscribe(seconds(10)));
        assert_eq!((state.subscription, state.instance), (None, Uuid([7; 16])));
    }

    #[tokio::test(start_paused = true)]
    async fn errors_lead_to_what_they_say() {
        let (now, mut random) = (Instant::now(), Random::seeded(1));
        let soon = Next::Subscribe(now + LEAST);
        let later = Next::Subscribe(now + Duration::from_secs(10));
        for (code, expected) in [
            (ErrorCode::UNKNOWN_SUBSCRIPTION_ID, soon),
            (ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, soon),
            (ErrorCode::TELEMETRY_TOO_LARGE, later),
            (ErrorCode::THROTTLING_QUOTA_EXCEEDED, later),
            (ErrorCode::INVALID_RECORD, Next::End),
            (ErrorCode::UNKNOWN_SERVER_ERROR, Next::End),
        ] {
            let mut state = State::new(now);
            state.subscribed(wants(&["*"]), now, &mut random);
            state.pushed(code, now);
            assert_eq!(state.next(), expected, "{code}");
        }
        let mut state = State::new(now);
        state.failed(now);
        assert_eq!(state.next(), Next::Subscribe(now + INTERVAL));
    }
}
