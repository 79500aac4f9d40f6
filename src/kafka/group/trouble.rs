//! What has been going wrong between a member and its coordinator, for how long, and whether the application must hear of it.
//!
//! In: requests that are sent, what becomes of them, the time. Out: when to try again, and an error once one is due: when nothing has gone well for the request timeout, be it that requests fail or that they are not answered; sooner when the
//! coordinator has repeated a refusal that only a person can lift. Either is given once per such time, so that no poll is a hot loop.

use std::time::Duration;

use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::kafka::{Error, ErrorKind};

/// How often in a row a refusal must come before it is believed: one bad answer is no verdict.
const CONFIRMED: u32 = 2;

/// A member's failures since its last success.
#[derive(Debug)]
pub(crate) struct Trouble {
    patience: Duration,
    /// The request that waits for its answer, and since when nothing was heard.
    waiting: Option<Waiting>,
    /// When the coordinator was last heard of.
    heard_at: Option<Instant>,
    /// When the first request was sent that nothing good came of.
    since: Option<Instant>,
    last: Option<Failure>,
    attempts: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    api: ApiKey,
    silent_since: Instant,
    /// The coordinator has been heard of since it was asked: it lets the request wait on purpose.
    is_held: bool,
}

#[derive(Debug)]
struct Failure {
    /// When it is tried again: until then it goes on.
    again_at: Instant,
    error: Error,
    /// How often in a row it was this one.
    times: u32,
    told: bool,
}

impl Trouble {
    /// None yet. What lasts for `patience` must be told.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            waiting: None,
            heard_at: None,
            since: None,
            last: None,
            attempts: 0,
        }
    }

    /// A request is sent; nothing was heard since `silent_since`.
    pub fn asked(&mut self, api: ApiKey, silent_since: Instant, now: Instant) {
        let busy_until = self
            .last
            .as_ref()
            .map(|last| last.again_at)
            .max(self.heard_at);
        if busy_until.is_some_and(|until| now > until + self.patience / 2) {
            // What was not tried has not been failing.
            self.since = None;
        }
        self.waiting = Some(Waiting {
            api,
            silent_since,
            is_held: false,
        });
    }

    /// The coordinator is there, and the request that waits is not forgotten.
    pub fn alive(&mut self, now: Instant) {
        self.heard_at = Some(now);
        if let Some(waiting) = &mut self.waiting {
            waiting.silent_since = now;
            waiting.is_held = true;
        }
    }

    /// The answer came: whether it helps shows later.
    pub fn answered(&mut self, now: Instant) {
        self.heard_at = Some(now);
        self.waiting = None;
    }

    /// All is well.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.patience);
    }

    /// What was asked failed. Returns when to try again: after what `pause` says for so many failures in a row.
    pub fn failed(
        &mut self,
        error: Error,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Instant {
        let waiting = self.waiting.take();
        let asked = waiting.map_or(now, |waiting| waiting.silent_since);
        self.since.get_or_insert(asked);
        self.attempts = self.attempts.saturating_add(1);
        let before = self.last.take().filter(|last| is_same(&last.error, &error));
        let (times, told) = before.map_or((0, false), |last| (last.times, last.told));
        let again_at = now + pause(self.attempts);
        self.last = Some(Failure {
            again_at,
            error,
            times: times.saturating_add(1),
            told,
        });
        again_at
    }

    /// The error that is due, if one is.
    pub fn report(&mut self, now: Instant) -> Option<Error> {
        if let Some(last) = &mut self.last
            && !last.told
            && last.times >= CONFIRMED
            && needs_somebody(&last.error)
        {
            last.told = true;
            self.since = Some(now);
            return Some(last.error.clone());
        }
        let silent_from = self.waiting.map(|waiting| waiting.silent_since);
        let silent = silent_from.is_some_and(|from| now >= from + self.patience);
        let failing_until = match (self.waiting, &self.last) {
            (Some(Waiting { is_held: false, .. }), _) => Some(now),
            (_, Some(last)) => Some(now.min(last.again_at)),
            (_, None) => None,
        };
        let failing = self
            .since
            .zip(failing_until)
            .is_some_and(|(since, until)| until >= since + self.patience);
        if !silent && !failing {
            return None;
        }
        self.since = Some(now);
        if let Some(waiting) = &mut self.waiting {
            waiting.silent_since = now;
        }
        match (&self.last, self.waiting) {
            (Some(last), _) if needs_somebody(&last.error) => Some(last.error.clone()),
            (Some(last), _) => Some(last.error.clone().tried_on()),
            (None, Some(waiting)) => Some(silence(waiting.api)),
            (None, None) => None,
        }
    }
}

fn is_same(one: &Error, other: &Error) -> bool {
    one.kind() == other.kind()
        && one.server_error() == other.server_error()
        && one.api_key() == other.api_key()
}

/// Whether repeating what failed cannot help before a person has changed something: the configuration, a permission, the group.
fn needs_somebody(error: &Error) -> bool {
    match error.server_error() {
        Some(code) => matches!(
            ErrorCode(code.0),
            ErrorCode::INCONSISTENT_GROUP_PROTOCOL
                | ErrorCode::INVALID_GROUP_ID
                | ErrorCode::INVALID_SESSION_TIMEOUT
                | ErrorCode::GROUP_MAX_SIZE_REACHED
                | ErrorCode::GROUP_AUTHORIZATION_FAILED
                | ErrorCode::TOPIC_AUTHORIZATION_FAILED
                | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        ),
        None => error.is_fatal() || error.kind() == ErrorKind::Config,
    }
}

fn silence(api: ApiKey) -> Error {
    Error::new(
        ErrorKind::Timeout,
        "the group's coordinator was not found, or has not answered, within request.timeout.ms: the member goes on trying",
    )
    .api(api)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const PAUSE: Duration = Duration::from_millis(100);

    fn gone() -> Error {
        Error::new(ErrorKind::Disconnected, "gone")
    }

    #[tokio::test]
    async fn what_lasts_is_told_once_per_patience_and_counted() {
        let start = Instant::now();
        let mut trouble = Trouble::new(PATIENCE);
        let mut told = Vec::new();
        for second in 0..95 {
            let now = start + Duration::from_secs(second);
            trouble.asked(ApiKey::JOIN_GROUP, now, now);
            let again_at = trouble.failed(gone(), now, |attempts| {
                assert_eq!(u64::from(attempts), second + 1);
                PAUSE
            });
            assert_eq!(again_at, now + PAUSE);
            if let Some(error) = trouble.report(now) {
                assert!(error.is_retriable() && !error.is_fatal(), "{error}");
                told.push(second);
            }
        }
        assert_eq!(told, [30, 60, 90]);
        trouble.succeeded();
        trouble.failed(gone(), start, |attempts| {
            assert_eq!(attempts, 1);
            PAUSE
        });
    }

    #[tokio::test]
    async fn silence_is_told_like_failure_unless_the_coordinator_is_heard_of() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut trouble = Trouble::new(PATIENCE);
        trouble.asked(ApiKey::SYNC_GROUP, start, start);
        assert!(trouble.report(at(29)).is_none());
        let error = trouble.report(at(30)).expect("silent for the patience");
        assert!(error.to_string().contains("SyncGroup"), "{error}");
        assert!(trouble.report(at(31)).is_none());
        trouble.alive(at(40));
        assert!(trouble.report(at(69)).is_none());
        assert!(trouble.report(at(70)).is_some());
    }

    #[tokio::test]
    async fn a_request_that_is_held_on_purpose_does_not_add_to_what_failed_before() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut trouble = Trouble::new(PATIENCE);
        trouble.failed(gone(), start, |_| PAUSE);
        for second in (1..100).step_by(10) {
            match second {
                1 => trouble.asked(ApiKey::JOIN_GROUP, at(1), at(1)),
                _ => trouble.alive(at(second)),
            }
            assert!(trouble.report(at(second)).is_none());
        }
        trouble.answered(at(100));
        trouble.asked(ApiKey::SYNC_GROUP, at(100), at(100));
        trouble.failed(gone(), at(100), |_| PAUSE);
        assert!(trouble.report(at(100)).is_some(), "nothing but failures");
    }

    #[tokio::test]
    async fn the_pause_before_the_next_attempt_counts_however_long_it_is() {
        let start = Instant::now();
        let mut trouble = Trouble::new(Duration::from_secs(1));
        trouble.asked(ApiKey::JOIN_GROUP, start, start);
        let again_at = trouble.failed(gone(), start, |_| Duration::from_secs(3));
        trouble.asked(ApiKey::JOIN_GROUP, again_at, again_at);
        assert!(trouble.report(start + Duration::from_millis(999)).is_none());
        assert!(trouble.report(start + Duration::from_secs(1)).is_some());
    }

    #[tokio::test]
    async fn what_nobody_tried_has_not_been_failing() {
        let start = Instant::now();
        let later = start + Duration::from_secs(100);
        let mut trouble = Trouble::new(PATIENCE);
        trouble.failed(gone(), start, |_| PAUSE);
        assert!(trouble.report(later).is_none());
        trouble.asked(ApiKey::JOIN_GROUP, later, later);
        assert!(trouble.report(later).is_none());
    }

    #[tokio::test]
    async fn a_refusal_that_somebody_must_lift_is_told_when_it_is_repeated() {
        let now = Instant::now();
        let mut trouble = Trouble::new(PATIENCE);
        let refusal = || Error::server(ErrorCode::INVALID_SESSION_TIMEOUT, None);
        trouble.failed(refusal(), now, |_| PAUSE);
        assert!(trouble.report(now).is_none(), "one bad answer");
        trouble.failed(refusal(), now, |_| PAUSE);
        let error = trouble.report(now).expect("repeated");
        assert!(!error.is_fatal() && !error.is_retriable());
        trouble.failed(refusal(), now, |_| PAUSE);
        assert!(trouble.report(now).is_none(), "told already");
    }
}
