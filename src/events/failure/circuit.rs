//! The circuit breaker: when nearly everything fails, nothing more is begun for a while, then a few records as probes. Sans-IO: takes the time,
//! and how many records were handled so far, as arguments; nothing is to be told it while it is closed and all goes well.

use std::time::Duration;

use tokio::time::Instant;

/// When a consumer stops taking in records because their handlers fail, and for how long.
///
/// Transient failures count, time limits that passed among them; poison does not, as a pause helps nothing against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitPolicy {
    /// `circuit.failure.percent`: it opens when so many of a hundred calls of handlers fail; 0: never. Default 90.
    pub failure_percent: usize,
    /// `circuit.failures`: and at least so many have failed. Default 50.
    pub failures: usize,
    /// `circuit.window.ms`: both counted over a time between half of this and this. Default 10 s.
    pub window: Duration,
    /// `circuit.pause.ms`: how long it stays open before five records are tried. One that fails opens it again; five that do not close it.
    /// Default 5 s.
    pub pause: Duration,
}

impl Default for CircuitPolicy {
    fn default() -> Self {
        Self {
            failure_percent: 90,
            failures: 50,
            window: Duration::from_secs(10),
            pause: Duration::from_secs(5),
        }
    }
}

/// Whether a consumer takes in records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// It does: handlers do their work.
    #[default]
    Closed,
    /// It does not, for a while: nearly all handlers failed.
    Open,
    /// It tries a few records.
    HalfOpen,
}

/// How many records are tried.
const PROBES: u32 = 5;

#[derive(Debug)]
pub(crate) struct Circuit {
    policy: CircuitPolicy,
    state: State,
    /// The half windows before now, the newest last: when each began, and how many were handled before.
    began: [(Instant, u64); 2],
    /// Failures in each of them.
    failures: [usize; 2],
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// Probes that may begin, and that went well. What was begun and is not heard of by then is tried again.
    HalfOpen {
        left: u32,
        well: u32,
        until: Instant,
    },
}

/// Whether a record may be begun while the circuit is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Free,
    /// One.
    Probe,
    /// None before then, or before the state changes.
    Wait(Instant),
}

impl Circuit {
    pub(crate) fn new(policy: CircuitPolicy, now: Instant) -> Self {
        Self {
            policy,
            state: State::Closed,
            began: [(now, 0); 2],
            failures: [0; 2],
        }
    }

    pub(crate) fn state(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen { .. } => CircuitState::HalfOpen,
        }
    }

    /// A handler has failed, where so many records were `handled` in all.
    pub(crate) fn failed(&mut self, now: Instant, handled: u64) {
        if let State::HalfOpen { .. } = self.state {
            self.open(now, handled);
        }
        if !matches!(self.state, State::Closed) || self.policy.failure_percent == 0 {
            return;
        }
        if now.duration_since(self.began[1].0) > self.policy.window / 2 {
            let is_recent = now.duration_since(self.began[1].0) <= self.policy.window;
            self.began = [
                if is_recent {
                    self.began[1]
                } else {
                    (now, handled)
                },
                (now, handled),
            ];
            self.failures = [if is_recent { self.failures[1] } else { 0 }, 0];
        }
        self.failures[1] += 1;
        let failures: usize = self.failures.iter().sum();
        let calls = failures as u64 + handled.saturating_sub(self.began[0].1);
        let share = failures as u64 * 100 >= calls * self.policy.failure_percent as u64;
        if failures >= self.policy.failures && share {
            self.open(now, handled);
        }
    }

    fn open(&mut self, now: Instant, handled: u64) {
        self.state = State::Open {
            until: now + self.policy.pause,
        };
        self.began = [(now, handled); 2];
        self.failures = [0; 2];
    }

    /// Whether a record may be begun; one that is begun as a probe is [told](Circuit::begun).
    pub(crate) fn gate(&mut self, now: Instant) -> Gate {
        let until = now + self.policy.pause;
        match self.state {
            State::Closed => return Gate::Free,
            State::Open { until } | State::HalfOpen { left: 0, until, .. } if now < until => {
                return Gate::Wait(until);
            }
            State::HalfOpen { left: 1.., .. } => {}
            State::Open { .. } | State::HalfOpen { .. } => {
                self.state = State::HalfOpen {
                    left: PROBES,
                    well: 0,
                    until,
                };
            }
        }
        Gate::Probe
    }

    /// A probe has begun.
    pub(crate) fn begun(&mut self) {
        if let State::HalfOpen { left, .. } = &mut self.state {
            *left = left.saturating_sub(1);
        }
    }

    /// One that was begun came to nothing: another may begin in its place.
    pub(crate) fn unbegun(&mut self) {
        if let State::HalfOpen { left, .. } = &mut self.state {
            *left = (*left + 1).min(PROBES);
        }
    }

    /// A probe went well, where so many records were `handled` in all.
    pub(crate) fn succeeded(&mut self, now: Instant, handled: u64) {
        if let State::HalfOpen { well, .. } = &mut self.state {
            *well += 1;
            if *well >= PROBES {
                self.state = State::Closed;
                self.began = [(now, handled); 2];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit(now: Instant) -> Circuit {
        Circuit::new(CircuitPolicy::default(), now)
    }

    #[test]
    fn it_opens_when_nearly_all_fail_and_not_before() {
        let now = Instant::now();
        let mut few = circuit(now);
        (0..49).for_each(|_| few.failed(now, 0));
        assert_eq!(few.state(), CircuitState::Closed);
        few.failed(now, 0);
        assert_eq!(few.state(), CircuitState::Open);
        let mut half = circuit(now);
        (0..5_000).for_each(|handled| half.failed(now, handled));
        assert_eq!(half.state(), CircuitState::Closed, "as many go well");
        let mut slow = circuit(now);
        for failure in 0..1_000 {
            slow.failed(now + Duration::from_millis(500 * failure), 0);
        }
        assert_eq!(slow.state(), CircuitState::Closed, "twenty in a window");
    }

    #[test]
    fn after_a_pause_a_few_are_tried_and_close_or_open_it() {
        let now = Instant::now();
        let mut circuit = circuit(now);
        (0..50).for_each(|_| circuit.failed(now, 0));
        let until = now + Duration::from_secs(5);
        assert_eq!(circuit.gate(now), Gate::Wait(until));
        for _ in 0..PROBES {
            assert_eq!(circuit.gate(until), Gate::Probe);
            circuit.begun();
        }
        let again = until + Duration::from_secs(5);
        assert_eq!(circuit.gate(until), Gate::Wait(again));
        circuit.succeeded(until, 1);
        circuit.failed(until, 1);
        assert_eq!(circuit.state(), CircuitState::Open);
        assert_eq!(circuit.gate(until), Gate::Wait(again));
        assert_eq!(circuit.gate(again), Gate::Probe);
        circuit.begun();
        // What was begun and never heard of holds up nothing for ever.
        (0..PROBES - 1).for_each(|_| circuit.begun());
        let later = again + Duration::from_secs(5);
        assert_eq!(circuit.gate(again), Gate::Wait(later));
        assert_eq!(circuit.gate(later), Gate::Probe);
        (0..PROBES).for_each(|handled| circuit.succeeded(later, u64::from(handled)));
        assert_eq!(circuit.state(), CircuitState::Closed);
        assert_eq!(circuit.gate(later), Gate::Free);
    }

    #[test]
    fn it_never_opens_where_that_is_said() {
        let now = Instant::now();
        let policy = CircuitPolicy {
            failure_percent: 0,
            ..CircuitPolicy::default()
        };
        let mut circuit = Circuit::new(policy, now);
        (0..1_000).for_each(|_| circuit.failed(now, 0));
        assert_eq!(circuit.state(), CircuitState::Closed);
    }
}
