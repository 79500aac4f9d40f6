//! How far a run has come, and what is told of it while it runs: on a terminal a bar, elsewhere a line a second, with rates and lag.
//! In: counts, now and then. Out: what is shown, and for how long nothing was handled.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};

use super::LOOK_EVERY;
use crate::Outcome;
use crate::notes::note;
use crate::table::grouped;

/// Events that may be on their way at once when no rate is given. The embedded broker keeps more than these.
pub const MOST_UNDER_WAY: u64 = 100_000;
/// How long nothing may come in before what is missing counts as lost.
pub const QUIET: Duration = Duration::from_secs(30);
/// How often rates are told, on a terminal and elsewhere.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const AS_LINES: Duration = Duration::from_secs(1);

/// How many events were handled, and when the last of them was; and who tells it.
#[derive(Debug)]
pub struct Progress {
    pub handled: u64,
    pub at: Instant,
    teller: Teller,
}

/// What the handler has seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub handled: u64,
    /// Of the newest event, in microseconds.
    pub lag_us: u64,
}

#[derive(Debug)]
enum Told {
    Nothing,
    Lines,
    Bar(ProgressBar),
}

/// What was seen last, and what is told.
#[derive(Debug)]
struct Teller {
    told: Told,
    events: u64,
    phase: String,
    /// When the phase began.
    begun: Look,
    last: Look,
}

/// What a run came to at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    pub at: Instant,
    pub sent: u64,
    pub seen: Seen,
}

impl Look {
    /// So many milliseconds from now.
    #[cfg(test)]
    pub fn made_up(ms: u64, sent: u64, handled: u64, lag_us: u64) -> Self {
        Self {
            at: Instant::now() + Duration::from_millis(ms),
            sent,
            seen: Seen { handled, lag_us },
        }
    }

    /// What is told of this look after another, beside the bar: rates and lag.
    pub fn after(&self, before: &Look) -> String {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-9);
        let per_s =
            |now: u64, before: u64| grouped((now.saturating_sub(before) as f64 / seconds) as u64);
        format!(
            "sent {}/s, handled {}/s, lag {:.1} ms",
            per_s(self.sent, before.sent),
            per_s(self.seen.handled, before.seen.handled),
            self.seen.lag_us as f64 / 1e3
        )
    }
}

impl Progress {
    /// Of a run of so many events, which may be told of.
    pub fn new(events: u64, is_told: bool) -> Progress {
        let told = match (is_told, stderr().is_terminal()) {
            (false, _) => Told::Nothing,
            (true, false) => Told::Lines,
            (true, true) => {
                let style = ProgressStyle::with_template(
                    "{prefix:<14} {wide_bar} {human_pos}/{human_len}  {msg}  {elapsed}",
                );
                let bar = ProgressBar::new(events);
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                Told::Bar(bar)
            }
        };
        let now = Instant::now();
        let last = Look {
            at: now,
            sent: 0,
            seen: Seen::default(),
        };
        Progress {
            handled: 0,
            at: now,
            teller: Teller {
                told,
                events,
                phase: String::new(),
                begun: last,
                last,
            },
        }
    }

    /// What is told from now on is of this phase.
    pub fn begin(&mut self, phase: &str) {
        let teller = &mut self.teller;
        teller.phase = phase.to_owned();
        teller.last.at = Instant::now();
        teller.begun = teller.last;
        if let Told::Bar(bar) = &teller.told {
            bar.set_prefix(phase.to_owned());
        }
    }

    fn note(&mut self, handled: u64, now: Instant) {
        if handled > self.handled {
            (self.handled, self.at) = (handled, now);
        }
    }

    /// Tells how far it is, if it is time for that.
    pub fn tell(&mut self, sent: u64, seen: Seen) {
        let every = match self.teller.told {
            Told::Nothing => return,
            Told::Lines => AS_LINES,
            Told::Bar(_) => ON_TERMINAL,
        };
        let at = Instant::now();
        if at - self.teller.last.at >= every {
            let before = self.teller.last;
            self.teller.tell(Look { at, sent, seen }, &before);
        }
    }

    /// Tells what the phase came to.
    pub fn end_phase(&mut self, sent: u64, seen: Seen) {
        let at = Instant::now();
        let begun = self.teller.begun;
        self.teller.tell(Look { at, sent, seen }, &begun);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Told::Bar(bar) = &self.teller.told {
            bar.finish_and_clear();
        }
    }

    /// Whether none was handled for so long that what is missing counts as lost.
    fn is_over(&self, now: Instant) -> bool {
        now - self.at > QUIET
    }

    /// Waits until few enough of the events sent are under way. Fails when none is handled for long.
    pub async fn await_room(&mut self, sent: u64, seen: impl Fn() -> Seen) -> Outcome {
        loop {
            let now = seen();
            self.note(now.handled, Instant::now());
            self.tell(sent, now);
            if sent.saturating_sub(self.handled) <= MOST_UNDER_WAY {
                return Ok(());
            }
            if self.is_over(Instant::now()) {
                let quiet = QUIET.as_secs();
                return Err(format!("no event was handled within {quiet} s").into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until that many events are handled, or none is for long.
    pub async fn await_handled(&mut self, sent: u64, seen: impl Fn() -> Seen) {
        loop {
            let now = seen();
            self.note(now.handled, Instant::now());
            self.tell(sent, now);
            if self.handled >= sent || self.is_over(Instant::now()) {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

impl Teller {
    fn tell(&mut self, look: Look, before: &Look) {
        let (handled, told) = (look.seen.handled, look.after(before));
        match &self.told {
            Told::Nothing => {}
            Told::Lines => note(format!(
                "{}: {} of {} events handled, {told}",
                self.phase,
                grouped(handled),
                grouped(self.events)
            )),
            Told::Bar(bar) => {
                bar.set_position(handled);
                bar.set_message(told);
            }
        }
        self.last = look;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn seen(handled: u64) -> Seen {
        Seen { handled, lag_us: 0 }
    }

    #[tokio::test(start_paused = true)]
    async fn sending_goes_on_as_soon_as_there_is_room() {
        let handled = Cell::new(0);
        let one_more = || seen(handled.replace(handled.get() + 1));
        let mut progress = Progress::new(1, false);
        let room = progress.await_room(MOST_UNDER_WAY + 10, one_more).await;
        assert!(room.is_ok());
        assert_eq!(progress.handled, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn sending_ends_when_nothing_is_handled_for_long() {
        let start = Instant::now();
        let mut progress = Progress::new(1, false);
        let room = progress.await_room(MOST_UNDER_WAY + 2, || seen(1)).await;
        assert!(room.is_err());
        assert!((QUIET..QUIET * 2).contains(&start.elapsed()));
        // The quiet is not waited for again.
        progress.await_handled(MOST_UNDER_WAY + 2, || seen(1)).await;
        assert!(start.elapsed() < QUIET * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_events_are_waited_for_as_long_as_they_come() {
        let start = Instant::now();
        let one_a_second = || seen(start.elapsed().as_secs());
        let mut progress = Progress::new(1, false);
        progress.await_handled(100, one_a_second).await;
        assert_eq!(progress.handled, 100);
        assert_eq!((progress.at - start).as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn rates_are_of_the_time_since_the_look_before() {
        let look = Look::made_up;
        let told = look(700, 21_000, 12_500, 1_250).after(&look(200, 1_000, 500, 7));
        assert_eq!(told, "sent 40,000/s, handled 24,000/s, lag 1.2 ms");
        assert_eq!(
            look(700, 5, 5, 0).after(&look(200, 5, 5, 0)),
            "sent 0/s, handled 0/s, lag 0.0 ms"
        );
    }
}
