//! What is done after a failure. A plain decision: in: of what class it is, how often the record has failed, the time, a random number. Out:
//! the pause before the next attempt, or that there is none.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{CircuitPolicy, Classify, FailureClass};
use crate::events::observe::Last;
use crate::events::{Context, HandlerError};
use crate::kafka::config::values::Kind;
use crate::kafka::{Backoff, Error, Random};

/// Called with a record that is skipped, and why.
pub type OnSkipped = dyn Fn(&Context<'_>, &HandlerError) + Send + Sync;

/// What becomes of a record that is not retried (any more): its failure is [poison](FailureClass::Poison), or the bounds of the
/// [`RetryPolicy`] are reached.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// The consumer stops, and says why. The record is not committed: it is handled again after the next start. The default, as nothing
    /// else loses nothing by itself. `on.failure=stop`.
    #[default]
    Stop,
    /// The record is skipped: counted, told to the client's observer, passed to this function, and committed as if it had been handled.
    /// `on.failure=skip`, without a function.
    Skip(Arc<OnSkipped>),
    /// The record is written to a dead-letter topic ([`ConsumerConfig::dead_letter_topic`](crate::events::ConsumerConfig::dead_letter_topic)),
    /// its bytes and headers untouched, with [headers](crate::events::dead_letter) behind them that say where it stood and why it failed. It
    /// counts as finished when all in-sync replicas have it, never sooner: while the topic fails, that is told to the client's observer and
    /// tried again with pauses, and only the record's key waits. It may be there twice if a member dies before it has committed. One that is
    /// too large for the topic is what [`OnTooLarge`] says.
    /// `on.failure=dead-letter`.
    DeadLetter,
}

impl OnFailure {
    pub(crate) const KIND: Kind<Self> = Kind::any("stop, skip or dead-letter");

    /// [`OnFailure::Skip`], with `tell` to log what is skipped. A panic in it stops the consumer.
    pub fn skip(tell: impl Fn(&Context<'_>, &HandlerError) + Send + Sync + 'static) -> Self {
        Self::Skip(Arc::new(tell))
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "Stop",
            Self::Skip(_) => "Skip",
            Self::DeadLetter => "DeadLetter",
        })
    }
}

impl FromStr for OnFailure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "stop" => Ok(Self::Stop),
            "skip" => Ok(Self::skip(|_, _| {})),
            "dead-letter" => Ok(Self::DeadLetter),
            _ => Err(Self::KIND.refusal("on.failure", text)),
        }
    }
}

/// What becomes of a well-formed event whose type is not in the set. (A record that is no event at all, and one that cannot be decoded, go to
/// `handle_undecodable`, and without it follow [`OnFailure`].)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnUnknown {
    /// It goes to `handle_unknown`, which unless it is implemented skips it: a consumer of some types of a topic is the normal case, and a new
    /// type must not stop those that do not know it yet. Either way it is counted
    /// ([`ConsumerMetrics::unknown`](crate::events::ConsumerMetrics::unknown)). The default. `on.unknown=handle`.
    #[default]
    Handle,
    /// It is skipped, whatever the handler implements. `on.unknown=skip`.
    Skip,
    /// It is a poison failure: [`OnFailure`] decides. `on.unknown=fail`.
    Fail,
}

impl OnUnknown {
    pub(crate) const KIND: Kind<Self> = Kind::any("handle, skip or fail");
}

impl FromStr for OnUnknown {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "handle" => Ok(Self::Handle),
            "skip" => Ok(Self::Skip),
            "fail" => Ok(Self::Fail),
            _ => Err(Self::KIND.refusal("on.unknown", text)),
        }
    }
}

/// What becomes of a dead letter that is larger than its topic takes (`max.message.bytes`): to try it again helps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnTooLarge {
    /// It is written without the record's value, and without its own headers if it is still too large then; [headers](crate::events::dead_letter)
    /// say what is left out and where the record stands, so that a replay finds it there for as long as its topic keeps it. This is told to the
    /// client's observer and counted. One that is too large all the same stops the consumer. The default. `dead.letter.too.large=leave-out`.
    #[default]
    LeaveOut,
    /// The consumer stops, and says which record it is. It is not committed. `dead.letter.too.large=stop`.
    Stop,
}

impl OnTooLarge {
    pub(crate) const KIND: Kind<Self> = Kind::any("leave-out or stop");
}

impl FromStr for OnTooLarge {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "leave-out" => Ok(Self::LeaveOut),
            "stop" => Ok(Self::Stop),
            _ => Err(Self::KIND.refusal("dead.letter.too.large", text)),
        }
    }
}

/// How a record is retried whose handler fails with something [transient](FailureClass::Transient). Meanwhile the records behind it that
/// have its key wait, and no others, and no worker waits with them. It is not committed meanwhile: a restart, or the member that gets its
/// partition next, begins with the first attempt. Attempts that end the process (it aborts, or takes all memory) are counted apart from these, and over
/// restarts ([`handler_deaths`](crate::events::ConsumerConfig::handler_deaths)). Where there are
/// [retry topics](crate::events::RetryTopics) the record goes to the first of them after its attempts here, and is committed; there they are counted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// `handler.retries`: how often the handler is called again for a record, at the most. Default 10.
    pub retries: usize,
    /// `handler.retry.backoff.ms`: the first pause. Each is twice as long as the one before it, give or take a fifth. Default 100 ms.
    pub backoff: Duration,
    /// `handler.retry.backoff.max.ms`: the longest pause, a fifth aside. Default 10 s.
    pub backoff_max: Duration,
    /// `handler.retry.timeout.ms`: no attempt begins later than this after the first failure. Default 5 min.
    pub timeout: Duration,
    /// `retry.budget.per.second`: how many retries of all records together may begin in a second, up to ten seconds' of them at once, beside
    /// those that [successes](RetryPolicy::budget_percent) make room for. What is beyond waits for longer. Default 100.
    pub budget_per_second: usize,
    /// `retry.budget.percent`: how many retries more for each hundred records that were handled. Default 20.
    pub budget_percent: usize,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries: 10,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            timeout: Duration::from_secs(300),
            budget_per_second: 100,
            budget_percent: 20,
        }
    }
}

impl RetryPolicy {
    /// No record is retried.
    pub fn none() -> Self {
        Self::up_to(0)
    }

    /// The default with so many retries.
    pub fn up_to(retries: usize) -> Self {
        Self {
            retries,
            ..Self::default()
        }
    }

    /// With pauses from `first` to `longest`.
    pub fn backoff(self, first: Duration, longest: Duration) -> Self {
        Self {
            backoff: first,
            backoff_max: longest,
            ..self
        }
    }

    /// Until `timeout` after the first failure.
    pub fn within(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// How often a record has failed, and when.
#[derive(Clone, Debug)]
pub(crate) struct Failures {
    pub count: u32,
    pub first: Instant,
    /// In milliseconds since 1970.
    pub first_ms: i64,
    /// The span of the last call that failed.
    pub last: Last,
}

/// What is done after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The handler is called again after this time.
    Again(Duration),
    /// What [`OnFailure`] says.
    GiveUp,
    /// The consumer stops.
    Stop,
}

/// Everything that a consumer does about failures.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailurePolicy {
    pub retry: RetryPolicy,
    pub on_failure: OnFailure,
    pub on_unknown: OnUnknown,
    pub on_panic: FailureClass,
    pub classify: Classify,
    pub handler_timeout: Option<Duration>,
    pub circuit: CircuitPolicy,
    pub dead_letters_per_second: usize,
    pub on_too_large: OnTooLarge,
    /// How long an event waits in each retry topic.
    pub retry_delays: Vec<Duration>,
}

impl FailurePolicy {
    /// Of what class `error` is.
    pub(crate) fn class(&self, error: &HandlerError) -> FailureClass {
        error
            .class()
            .unwrap_or_else(|| self.classify.class(error.as_error()))
    }

    /// What is done about a record that has failed so often, the last time now, with an error of `class`.
    pub(crate) fn next(
        &self,
        class: FailureClass,
        failures: &Failures,
        now: Instant,
        random: &mut Random,
    ) -> Next {
        match class {
            FailureClass::Fatal => return Next::Stop,
            FailureClass::Poison => return Next::GiveUp,
            FailureClass::Transient => {}
        }
        let RetryPolicy {
            retries,
            backoff,
            backoff_max,
            timeout,
            ..
        } = self.retry;
        if failures.count as usize > retries {
            return Next::GiveUp;
        }
        let pause = Backoff::pause(backoff, backoff_max, failures.count, random);
        match now.duration_since(failures.first) + pause > timeout {
            true => Next::GiveUp,
            false => Next::Again(pause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(retry: RetryPolicy) -> FailurePolicy {
        FailurePolicy {
            retry,
            ..FailurePolicy::default()
        }
    }

    /// The pauses, in milliseconds, of a record that fails with `class` whenever it is handled.
    fn pauses(policy: &FailurePolicy, class: FailureClass) -> (Vec<u128>, Next) {
        let mut random = Random::seeded(5);
        let first = Instant::now();
        let mut now = first;
        let mut pauses = Vec::new();
        for count in 1.. {
            let failures = Failures {
                count,
                first,
                first_ms: 0,
                last: Last::default(),
            };
            match policy.next(class, &failures, now, &mut random) {
                Next::Again(pause) => {
                    pauses.push(pause.as_millis());
                    now += pause;
                }
                end => return (pauses, end),
            }
        }
        unreachable!("the retries are bounded")
    }

    #[test]
    fn pauses_double_up_to_the_longest_give_or_take_a_fifth_and_end_with_the_retries() {
        let ms = Duration::from_millis;
        let policy = policy(RetryPolicy::up_to(5).backoff(ms(100), ms(500)));
        let (pauses, end) = pauses(&policy, FailureClass::Transient);
        assert_eq!((pauses.len(), end), (5, Next::GiveUp));
        for (pause, expected) in pauses.iter().zip([100, 200, 400, 500, 500]) {
            assert!(pause.abs_diff(expected) * 5 <= expected, "{pauses:?}");
        }
    }

    #[test]
    fn no_attempt_begins_after_the_time_for_retries_is_over() {
        let ms = Duration::from_millis;
        let retry = RetryPolicy::up_to(1_000).backoff(ms(100), ms(100));
        let (pauses, end) = pauses(&policy(retry.within(ms(1_000))), FailureClass::Transient);
        assert_eq!(end, Next::GiveUp);
        assert!((8..=12).contains(&pauses.len()), "{pauses:?}");
        assert!(pauses.iter().sum::<u128>() <= 1_000, "{pauses:?}");
    }

    #[test]
    fn poison_is_not_retried_and_what_is_fatal_stops() {
        let policy = policy(RetryPolicy::default());
        assert_eq!(
            pauses(&policy, FailureClass::Poison),
            (vec![], Next::GiveUp)
        );
        assert_eq!(pauses(&policy, FailureClass::Fatal), (vec![], Next::Stop));
    }

    #[test]
    fn the_longest_settings_do_not_overflow() {
        let longest = Duration::from_secs(u64::MAX / 4);
        let policy = policy(RetryPolicy::up_to(usize::MAX).backoff(longest, longest));
        let failures = Failures {
            count: u32::MAX,
            first: Instant::now(),
            first_ms: 0,
            last: Last::default(),
        };
        let next = policy.next(
            FailureClass::Transient,
            &failures,
            Instant::now(),
            &mut Random::seeded(1),
        );
        assert_eq!(next, Next::GiveUp);
    }

    #[test]
    fn what_an_error_says_of_itself_goes_before_the_applications_rule_and_that_before_the_default()
    {
        let policy = FailurePolicy {
            classify: Classify::by(|error| {
                error.is::<fmt::Error>().then_some(FailureClass::Poison)
            }),
            ..FailurePolicy::default()
        };
        let class = |error: HandlerError| policy.class(&error);
        assert_eq!(class(fmt::Error.into()), FailureClass::Poison);
        assert_eq!(class(HandlerError::fatal(fmt::Error)), FailureClass::Fatal);
        assert_eq!(class(HandlerError::new("else")), FailureClass::Transient);
        assert_eq!(class(HandlerError::poison("odd")), FailureClass::Poison);
    }
}
