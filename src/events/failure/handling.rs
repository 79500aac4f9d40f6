//! What a consumer does about failures, with all that it takes to decide and to tell of it: the policy, the time, random numbers, the observer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::TokenBucket;
use super::circuit::{Circuit, Gate};
use super::policy::{FailurePolicy, Failures, Next};
use super::{
    CircuitState, DeadLetter, Envelope, FailureClass, LeftOut, OnFailure, OnTooLarge, ToRetry,
};
use crate::events::observe::Last;
use crate::events::{Context, HandlerError, RawRecord};
use crate::kafka::observe::{AfterFailure, ClientEvent, Intake, Watch, tell};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Backoff, ClientConfig, Clock, Error, Random, TopicId, TopicPartition};

/// The first and the longest pause between attempts to write a dead letter.
const DEAD_LETTER_PAUSES: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(30));

/// The most that the budget of retries puts off what goes to a retry topic.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// Shared by the workers of a consumer.
#[derive(Debug)]
pub(crate) struct FailureHandling {
    pub policy: FailurePolicy,
    group: String,
    watch: Watch,
    clock: Clock,
    /// Whether the circuit is not closed: then each record needs a [gate](FailureHandling::gate) to be open.
    restricted: AtomicBool,
    limits: Mutex<Limits>,
}

#[derive(Debug)]
struct Limits {
    random: Random,
    retries: TokenBucket,
    dead_letters: TokenBucket,
    circuit: Circuit,
    opened: u64,
}

/// What becomes of a record after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its handler is called again, then.
    Again(Instant),
    /// It is over: skipped.
    Skipped,
    /// It is written to a retry topic.
    Retry(Box<ToRetry>),
    /// It is written to the dead-letter topic, with this.
    Dead(Box<DeadLetter>),
    /// The consumer stops because of it.
    Stop,
}

/// Whether a record that failed may go to a retry topic, and where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// In how many retry topics it has waited because it failed.
    pub stage: u8,
    /// The topic that its offset is of, if that is known.
    pub topic_id: Option<TopicId>,
    /// Whether one more event may be under way.
    pub is_there: bool,
}

impl FailureHandling {
    pub(crate) fn new(policy: FailurePolicy, group: &str, client: &ClientConfig) -> Self {
        let limits = Limits {
            random: client.random("handlers' failures"),
            retries: TokenBucket::new(policy.retry.budget_per_second, policy.retry.budget_percent),
            dead_letters: TokenBucket::new(policy.dead_letters_per_second, 0),
            circuit: Circuit::new(policy.circuit, Instant::now()),
            opened: 0,
        };
        Self {
            policy,
            group: group.to_string(),
            watch: client.observer.clone(),
            clock: client.clock,
            restricted: AtomicBool::new(false),
            limits: Mutex::new(limits),
        }
    }

    /// The handler of the record in `context`, in `partition`, has failed with `error`, as often before as `failures` says: notes it there,
    /// tells of it, and returns what becomes of the record. In all, so many records were `handled`; `room` is there where there are retry topics.
    pub(crate) fn failed(
        &self,
        partition: &TopicPartition,
        context: &Context<'_>,
        error: &HandlerError,
        failures: &mut Option<Box<Failures>>,
        handled: u64,
        room: Option<Room>,
    ) -> Fate {
        let now = Instant::now();
        let failures = failures.get_or_insert_with(|| self.no_failures());
        failures.count = failures.count.saturating_add(1);
        let class = self.policy.class(error);
        if class == FailureClass::Transient {
            self.change_circuit(|circuit| circuit.failed(now, handled));
        }
        let (next, delay) = {
            let limits = &mut *self.limits.lock();
            let next = match (self.policy).next(class, failures, now, &mut limits.random) {
                // After each of its retry topics it has one attempt.
                Next::Again(_) if room.is_some_and(|room| room.stage > 0) => Next::GiveUp,
                next => next,
            };
            let is_over = next == Next::GiveUp && class == FailureClass::Transient;
            let delay = room.filter(|_| is_over).and_then(|room| {
                let delay = self.policy.retry_delays.get(usize::from(room.stage))?;
                Some((room, *delay))
            });
            match (next, delay) {
                (Next::Again(pause), _) => {
                    let pause = pause.max(limits.retries.take(now, handled));
                    (Next::Again(pause), None)
                }
                // What there is no room for goes on where it is.
                (_, Some((room, _))) if !room.is_there => {
                    let pause = self.policy.retry.backoff_max;
                    let pause = pause.max(limits.retries.take(now, handled));
                    (Next::Again(pause), None)
                }
                (next, Some((room, delay))) => {
                    let wait = limits.retries.take(now, handled).min(LONGEST_WAIT);
                    (next, Some((room, delay + wait)))
                }
                (next, None) => (next, None),
            }
        };
        let letter = || DeadLetter {
            class,
            error_type: error.type_name().to_string(),
            message: error.to_string(),
            attempts: failures.count,
            first_failure_ms: failures.first_ms,
            last_failure_ms: self.clock.now_ms(),
            ..self.letter_of(context.record())
        };
        let (fate, then) = match (next, delay, &self.policy.on_failure) {
            (Next::Again(pause), ..) => (Fate::Again(now + pause), AfterFailure::Retried(pause)),
            (Next::GiveUp, Some((room, delay)), _) => {
                let envelope = Envelope {
                    letter: letter(),
                    not_before_ms: self.in_ms(delay),
                    stage: room.stage + 1,
                    topic_id: room.topic_id,
                    traceparent: None,
                    own_headers: 0,
                };
                let to = Box::new(ToRetry {
                    level: room.stage + 1,
                    has_failed: true,
                    envelope,
                });
                (Fate::Retry(to), AfterFailure::SentToRetryTopic(delay))
            }
            // What tells of a failure is the application's too, and may panic as well: then the record is not given up.
            (Next::GiveUp, None, OnFailure::Skip(skipped))
                if catch_unwind(AssertUnwindSafe(|| skipped(context, error))).is_ok() =>
            {
                (Fate::Skipped, AfterFailure::Skipped)
            }
            (Next::GiveUp, None, OnFailure::DeadLetter) => {
                (Fate::Dead(Box::new(letter())), AfterFailure::DeadLettered)
            }
            _ => (Fate::Stop, AfterFailure::Stopped),
        };
        self.tell(partition, context, (class, error), failures.count, then);
        fate
    }

    fn no_failures(&self) -> Box<Failures> {
        Box::new(Failures {
            count: 0,
            first: Instant::now(),
            first_ms: self.clock.now_ms(),
            last: Last::default(),
        })
    }

    /// So many processes have died over a record: all but the last are noted here, that one fails as others do.
    pub(crate) fn died(&self, failures: &mut Option<Box<Failures>>, deaths: u32) {
        let failures = failures.get_or_insert_with(|| self.no_failures());
        failures.count = failures.count.saturating_add(deaths.saturating_sub(1));
    }

    /// What a letter of `record` says of where it stands.
    fn letter_of(&self, record: RawRecord<'_>) -> DeadLetter {
        DeadLetter {
            topic: record.topic.to_string(),
            partition: record.partition,
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            group: self.group.clone(),
            ..DeadLetter::default()
        }
    }

    /// What is written to the retry topic of `level`, of a record that is behind another of its key there, and has waited in `stage` of them because
    /// it failed itself.
    pub(crate) fn behind(
        &self,
        record: RawRecord<'_>,
        failures: Option<&Failures>,
        topic_id: Option<TopicId>,
        level: u8,
        stage: u8,
    ) -> Box<ToRetry> {
        let mut letter = self.letter_of(record);
        if let Some(failures) = failures {
            letter.attempts = failures.count;
            letter.first_failure_ms = failures.first_ms;
        }
        letter.message = "it waits for an event of its key".to_string();
        let delay = self.policy.retry_delays.get(usize::from(level.max(1)) - 1);
        let envelope = Envelope {
            letter,
            not_before_ms: self.in_ms(delay.copied().unwrap_or_default()),
            stage,
            topic_id,
            traceparent: failures.and_then(|failures| failures.last.traceparent()),
            own_headers: 0,
        };
        Box::new(ToRetry {
            level,
            has_failed: false,
            envelope,
        })
    }

    /// The time of day after `delay`.
    fn in_ms(&self, delay: Duration) -> i64 {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.clock.now_ms().saturating_add(delay_ms)
    }

    /// How long a record is to be waited for that is due then, and was read from the retry topic of `level`.
    pub(crate) fn due_in(&self, level: u8, not_before_ms: i64) -> Duration {
        let ms = not_before_ms.saturating_sub(self.clock.now_ms());
        let ms = u64::try_from(ms).unwrap_or(0);
        let delay = self.policy.retry_delays.get(usize::from(level.max(1)) - 1);
        // Another member's clock may be wrong by any time.
        Duration::from_millis(ms).min(delay.copied().unwrap_or_default() + LONGEST_WAIT)
    }

    /// What is known of the failures of a record that was read from a retry topic.
    pub(crate) fn failures_before(&self, envelope: &Envelope) -> Option<Box<Failures>> {
        let letter = &envelope.letter;
        let failures = || Failures {
            count: letter.attempts,
            first: Instant::now(),
            first_ms: letter.first_failure_ms,
            last: Last::of(envelope.traceparent.as_deref()),
        };
        (letter.attempts > 0).then(|| Box::new(failures()))
    }

    /// Whether a record of a retry topic is one of this group.
    pub(crate) fn is_ours(&self, letter: &DeadLetter) -> bool {
        letter.group == self.group
    }

    /// A record of `partition` could not be written (`what`), so often in a row: tells of it, and returns the pause before the next attempt.
    pub(crate) fn write_failed(
        &self,
        what: &'static str,
        partition: &TopicPartition,
        error: &Error,
        failures: u32,
    ) -> Duration {
        tell(&self.watch, || ClientEvent::Retry {
            what,
            partition: Some(partition),
            others: 0,
            error,
            failures,
        });
        let (first, longest) = DEAD_LETTER_PAUSES;
        Backoff::pause(first, longest, failures, &mut self.limits.lock().random)
    }

    /// The dead letter of `record` is too large for its topic: leaves something out of it, and tells of it. `false`: the consumer has to stop.
    pub(crate) fn dead_letter_too_large(
        &self,
        partition: &TopicPartition,
        record: RawRecord<'_>,
        letter: &mut DeadLetter,
        error: &Error,
    ) -> bool {
        let (OnTooLarge::LeaveOut, Some(left_out)) =
            (self.policy.on_too_large, letter.left_out.more())
        else {
            return false;
        };
        letter.left_out = left_out;
        letter.value_bytes = record.value.map_or(0, <[u8]>::len);
        tell(&self.watch, || ClientEvent::DeadLetterTooLarge {
            group: &self.group,
            partition,
            offset: record.offset,
            without: match left_out {
                LeftOut::ValueAndHeaders => "its value and headers",
                _ => "its value",
            },
            error,
        });
        true
    }

    /// How long a dead letter waits before it is written.
    pub(crate) fn dead_letter_wait(&self) -> Duration {
        self.limits.lock().dead_letters.take(Instant::now(), 0)
    }

    /// Whether records may not be begun as they come.
    pub(crate) fn is_restricted(&self) -> bool {
        self.restricted.load(Ordering::Relaxed)
    }

    /// Whether a record may be begun now.
    pub(crate) fn gate(&self) -> Gate {
        let mut gate = Gate::Free;
        self.change_circuit(|circuit| gate = circuit.gate(Instant::now()));
        gate
    }

    /// What was begun as a probe was not handled: another may be.
    pub(crate) fn probe_unused(&self) {
        self.change_circuit(Circuit::unbegun);
    }

    /// A record was begun as a probe.
    pub(crate) fn probe_begun(&self) {
        self.change_circuit(Circuit::begun);
    }

    /// A record that was begun as a probe went well, where so many were `handled` in all.
    pub(crate) fn probe_succeeded(&self, handled: u64) {
        self.change_circuit(|circuit| circuit.succeeded(Instant::now(), handled));
    }

    /// Whether records are taken in, and how often they were not.
    pub(crate) fn circuit(&self) -> (CircuitState, u64) {
        let limits = self.limits.lock();
        (limits.circuit.state(), limits.opened)
    }

    fn change_circuit(&self, change: impl FnOnce(&mut Circuit)) {
        let mut limits = self.limits.lock();
        let before = limits.circuit.state();
        change(&mut limits.circuit);
        let now = limits.circuit.state();
        if before == now {
            return;
        }
        limits.opened += u64::from(now == CircuitState::Open);
        let is_closed = now == CircuitState::Closed;
        self.restricted.store(!is_closed, Ordering::Relaxed);
        drop(limits);
        tell(&self.watch, || ClientEvent::IntakeChanged {
            group: &self.group,
            intake: match now {
                CircuitState::Closed => Intake::Resumed,
                CircuitState::Open => Intake::Paused(self.policy.circuit.pause),
                CircuitState::HalfOpen => Intake::Probing,
            },
        });
    }

    fn tell(
        &self,
        partition: &TopicPartition,
        context: &Context<'_>,
        (class, error): (FailureClass, &HandlerError),
        attempts: u32,
        then: AfterFailure,
    ) {
        tell(&self.watch, || ClientEvent::HandlerFailed {
            group: &self.group,
            partition,
            offset: context.offset(),
            attempts,
            error: format!("{error} ({class})").into(),
            then,
        });
    }
}
