//! What has been failing between a member and its coordinator, for how long, and whether the application must be reported.
//!
//! In: requests that are sent, what becomes of them, the time. Out: when to retry, and an error once one is due: when nothing has succeeded
//! for the request timeout, be it that requests fail or that they are not answered; sooner when the coordinator has repeated a refusal that
//! only a person can lift. Either is reported once per such time, so that no poll is a hot loop.

use std::time::Duration;

use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::kafka::{Error, ErrorKind};

/// How often in a row a refusal must come before it is reported: one bad response proves nothing.
const CONFIRMED: u32 = 2;

/// A member's failures since its last success.
#[derive(Debug)]
pub(crate) struct FailureTracker {
    /// How long failures may last before they are reported: the request timeout.
    timeout: Duration,
    /// The request that awaits its response, and since when nothing was heard.
    waiting: Option<Waiting>,
    /// When the coordinator was last heard of.
    heard_at: Option<Instant>,
    /// When the first request was sent that did not succeed.
    since: Option<Instant>,
    last: Option<Failure>,
    attempts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    api: ApiKey,
    silent_since: Instant,
    /// The coordinator has been heard of since the request was sent: it holds the request on purpose.
    is_held: bool,
}

#[derive(Debug)]
struct Failure {
    /// When it is retried: until then it counts as failing.
    again_at: Instant,
    error: Error,
    /// How often in a row it was this one.
    times: u32,
    reported: bool,
}

impl FailureTracker {
    /// None yet. What lasts for `timeout` is reported.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            waiting: None,
            heard_at: None,
            since: None,
            last: None,
            attempts: 0,
        }
    }

    /// A request is sent; nothing was heard since `silent_since`.
    pub fn sent(&mut self, api: ApiKey, silent_since: Instant, now: Instant) {
        let busy_until = self
            .last
            .as_ref()
            .map(|last| last.again_at)
            .max(self.heard_at);
        if busy_until.is_some_and(|until| now > until + self.timeout / 2) {
            // Nothing was tried for a while: nothing has been failing.
            self.since = None;
        }
        self.waiting = Some(Waiting {
            api,
            silent_since,
            is_held: false,
        });
    }

    /// The coordinator responds elsewhere: it holds the request that awaits its response.
    pub fn coordinator_alive(&mut self, now: Instant) {
        self.heard_at = Some(now);
        if let Some(waiting) = &mut self.waiting {
            waiting.silent_since = now;
            waiting.is_held = true;
        }
    }

    /// A response came: whether it was a success shows later.
    pub fn response_received(&mut self, now: Instant) {
        self.heard_at = Some(now);
        self.waiting = None;
    }

    /// The member has what it wanted: earlier failures are over.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.timeout);
    }

    /// A request failed. Returns when to retry: after what `pause` returns for so many failures in a row.
    pub fn failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Instant {
        let waiting = self.waiting.take();
        let sent = waiting.map_or(now, |waiting| waiting.silent_since);
        self.since.get_or_insert(sent);
        self.attempts = self.attempts.saturating_add(1);
        let before = self.last.take().filter(|last| is_same(&last.error, &error));
        let (times, reported) = before.map_or((0, false), |last| (last.times, last.reported));
        let again_at = now + pause(self.attempts);
        self.last = Some(Failure {
            again_at,
            error,
            times: times.saturating_add(1),
            reported,
        });
        again_at
    }

    /// The error that is due, if one is.
    pub fn report(&mut self, now: Instant) -> Option<Error> {
        if let Some(last) = &mut self.last
            && !last.reported
            && last.times >= CONFIRMED
            && needs_a_person(&last.error)
        {
            last.reported = true;
            self.since = Some(now);
            return Some(last.error.clone());
        }
        let silent_from = self.waiting.map(|waiting| waiting.silent_since);
        let silent = silent_from.is_some_and(|from| now >= from + self.timeout);
        let failing_until = match (self.waiting, &self.last) {
            (Some(Waiting { is_held: false, .. }), _) => Some(now),
            (_, Some(last)) => Some(now.min(last.again_at)),
            (_, None) => None,
        };
        let failing = self
            .since
            .zip(failing_until)
            .is_some_and(|(since, until)| until >= since + self.timeout);
        if !silent && !failing {
            return None;
        }
        self.since = Some(now);
        if let Some(waiting) = &mut self.waiting {
            waiting.silent_since = now;
        }
        match (&self.last, self.waiting) {
            (Some(last), _) if needs_a_person(&last.error) => Some(last.error.clone()),
            (Some(last), _) => Some(last.error.clone().tried_on()),
            (None, Some(waiting)) => Some(no_response(waiting.api)),
            (None, None) => None,
        }
    }
}

fn is_same(one: &Error, other: &Error) -> bool {
    one.kind() == other.kind()
        && one.server_error() == other.server_error()
        && one.api_key() == other.api_key()
}

/// Whether a retry cannot succeed before a person has changed something: the configuration, a permission, the group.
fn needs_a_person(error: &Error) -> bool {
    match error.server_error() {
        Some(code) => matches!(
            code,
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL
                | ErrorCode::INVALID_GROUP_ID
                | ErrorCode::INVALID_SESSION_TIMEOUT
                | ErrorCode::GROUP_MAX_SIZE_REACHED
                | ErrorCode::UNRELEASED_INSTANCE_ID
                | ErrorCode::UNSUPPORTED_ASSIGNOR
                | ErrorCode::INVALID_REGULAR_EXPRESSION
                | ErrorCode::GROUP_AUTHORIZATION_FAILED
                | ErrorCode::TOPIC_AUTHORIZATION_FAILED
                | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        ),
        None => {
            error.is_fatal()
                || matches!(
                    error.kind(),
                    ErrorKind::Config | ErrorKind::UnsupportedVersion
                )
        }
    }
}

fn no_response(api: ApiKey) -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the group's coordinator was not found, or has not answered, within request.timeout.ms: the member goes on trying",
    )
    .api(api)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);
    const PAUSE: Duration = Duration::from_millis(100);

    fn gone() -> Error {
        Error::new(ErrorKind::Disconnected, "gone")
    }

    #[tokio::test]
    async fn what_lasts_is_reported_once_per_patience_and_counted() {
        let start = Instant::now();
        let mut failures = FailureTracker::new(TIMEOUT);
        let mut reported = Vec::new();
        for second in 0..95 {
            let now = start + Duration::from_secs(second);
            failures.sent(ApiKey::JOIN_GROUP, now, now);
            let again_at = failures.failed(gone(), now, |attempts| {
                assert_eq!(u64::from(attempts), second + 1);
                PAUSE
            });
            assert_eq!(again_at, now + PAUSE);
            if let Some(error) = failures.report(now) {
                assert!(error.is_retriable() && !error.is_fatal(), "{error}");
                reported.push(second);
            }
        }
        assert_eq!(reported, [30, 60, 90]);
        failures.succeeded();
        failures.failed(gone(), start, |attempts| {
            assert_eq!(attempts, 1);
            PAUSE
        });
    }

    #[tokio::test]
    async fn silence_is_reported_like_failure_unless_the_coordinator_is_heard_of() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut failures = FailureTracker::new(TIMEOUT);
        failures.sent(ApiKey::SYNC_GROUP, start, start);
        assert!(failures.report(at(29)).is_none());
        let error = failures.report(at(30)).expect("silent for the patience");
        assert!(error.to_string().contains("SyncGroup"), "{error}");
        assert!(failures.report(at(31)).is_none());
        failures.coordinator_alive(at(40));
        assert!(failures.report(at(69)).is_none());
        assert!(failures.report(at(70)).is_some());
    }

    #[tokio::test]
    async fn a_request_that_is_held_on_purpose_does_not_add_to_what_failed_before() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut failures = FailureTracker::new(TIMEOUT);
        failures.failed(gone(), start, |_| PAUSE);
        for second in (1..100).step_by(10) {
            match second {
                1 => failures.sent(ApiKey::JOIN_GROUP, at(1), at(1)),
                _ => failures.coordinator_alive(at(second)),
            }
            assert!(failures.report(at(second)).is_none());
        }
        failures.response_received(at(100));
        failures.sent(ApiKey::SYNC_GROUP, at(100), at(100));
        failures.failed(gone(), at(100), |_| PAUSE);
        assert!(failures.report(at(100)).is_some(), "nothing but failures");
    }

    #[tokio::test]
    async fn the_pause_before_the_next_attempt_counts_however_long_it_is() {
        let start = Instant::now();
        let mut failures = FailureTracker::new(Duration::from_secs(1));
        failures.sent(ApiKey::JOIN_GROUP, start, start);
        let again_at = failures.failed(gone(), start, |_| Duration::from_secs(3));
        failures.sent(ApiKey::JOIN_GROUP, again_at, again_at);
        assert!(
            failures
                .report(start + Duration::from_millis(999))
                .is_none()
        );
        assert!(failures.report(start + Duration::from_secs(1)).is_some());
    }

    #[tokio::test]
    async fn what_nobody_tried_has_not_been_failing() {
        let start = Instant::now();
        let later = start + Duration::from_secs(100);
        let mut failures = FailureTracker::new(TIMEOUT);
        failures.failed(gone(), start, |_| PAUSE);
        assert!(failures.report(later).is_none());
        failures.sent(ApiKey::JOIN_GROUP, later, later);
        assert!(failures.report(later).is_none());
    }

    #[tokio::test]
    async fn a_refusal_that_somebody_must_lift_is_reported_when_it_is_repeated() {
        let now = Instant::now();
        let mut failures = FailureTracker::new(TIMEOUT);
        let refusal = || Error::server(ErrorCode::INVALID_SESSION_TIMEOUT, None);
        failures.failed(refusal(), now, |_| PAUSE);
        assert!(failures.report(now).is_none(), "one bad answer");
        failures.failed(refusal(), now, |_| PAUSE);
        let error = failures.report(now).expect("repeated");
        assert!(!error.is_fatal() && !error.is_retriable());
        failures.failed(refusal(), now, |_| PAUSE);
        assert!(failures.report(now).is_none(), "reported already");
    }
}
