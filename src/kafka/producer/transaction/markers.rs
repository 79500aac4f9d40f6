//! How long a coordinator is left alone after the end of a transaction. Pure: time comes in as an argument.
//!
//! A coordinator answers EndTxn when it has decided, and writes the markers after that: for a moment it takes nothing of the next transaction
//! (CONCURRENT_TRANSACTIONS). What comes in that moment is refused, or, where writing adds partitions (KIP-890), waits at its broker for
//! `add.partitions.to.txn.retry.backoff.ms`: 20 ms, many times what it takes to come a little later. How long the moment is, is learnt: the pause gets
//! longer each time that it was too short, and shorter, much more slowly, each time that it was not. It begins with none.

use tokio::time::{Duration, Instant};

/// What is added to a pause that was too short.
const STEP: Duration = Duration::from_micros(500);
/// A pause that was not too short is shorter by this part of it the next time.
const SLOWLY: u32 = 128;
/// A shorter one is none: timers are no more exact.
const SHORTEST: Duration = Duration::from_micros(100);
/// Where markers take longer than this, the pause would cost as much as it saves.
const LONGEST: Duration = Duration::from_millis(10);
/// What took so much longer than it can take was made to wait: by 20 ms, unless the operator says otherwise.
const MADE_TO_WAIT: Duration = Duration::from_millis(18);

/// The pause between the end of a transaction and the first that coordinators hear of the next.
#[derive(Debug, Default)]
pub(super) struct MarkerPause {
    length: Duration,
    /// When the coordinator said that the last transaction was over.
    ended: Option<Instant>,
    /// What the first request of a transaction takes where nothing is in its way, as far as that is known.
    least: Option<Duration>,
    /// One was not made to wait since there is a pause.
    helps: bool,
}

impl MarkerPause {
    /// The coordinator has said that a transaction is over.
    pub fn ended(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Until when the next transaction is kept from it.
    pub fn until(&self) -> Option<Instant> {
        let ended = self.ended.filter(|_| !self.length.is_zero());
        ended.map(|ended| ended + self.length)
    }

    /// The first request that writes in a transaction was sent then, and answered after `took`.
    pub fn wrote(&mut self, sent: Instant, took: Duration) {
        let least = self.least.unwrap_or_default();
        if took < least + MADE_TO_WAIT {
            self.least = Some(self.least.map_or(took, |least| least.min(took)));
            self.was_long_enough();
        } else if self.length == LONGEST && !self.helps {
            // So long does it take.
            self.least = Some(took);
            self.length = Duration::ZERO;
        } else {
            self.was_too_short(sent);
        }
    }

    /// What was sent then came too early.
    pub fn was_too_short(&mut self, sent: Instant) {
        let after = self
            .ended
            .map(|ended| sent.saturating_duration_since(ended));
        // Later than that it is another matter. And markers are written as records are: it takes as long, at least.
        let is_early = after.is_some_and(|after| after <= 2 * LONGEST);
        if is_early && self.least.is_none_or(|least| least < LONGEST) {
            self.helps &= !self.length.is_zero();
            self.length = (self.length + STEP).min(LONGEST);
        }
    }

    /// What began the transaction was taken at once.
    pub fn was_long_enough(&mut self) {
        self.helps = true;
        self.length -= self.length / SLOWLY;
        if self.length < SHORTEST {
            self.length = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Random;

    const BACKOFF: Duration = Duration::from_millis(20);

    /// A broker whose coordinator writes markers for a time that `markers` says. How long the first request of each of so many transactions took, from the
    /// end of the one before, on average.
    fn average(
        pause: &mut MarkerPause,
        transactions: u32,
        mut markers: impl FnMut() -> Duration,
        mut request: impl FnMut() -> Duration,
    ) -> Duration {
        let began = Instant::now();
        let mut now = began;
        for _ in 0..transactions {
            pause.ended(now);
            let done = now + markers();
            let sent = pause.until().map_or(now, |until| until.max(now));
            let mut taken = sent;
            while taken < done {
                taken += BACKOFF;
            }
            now = taken + request();
            pause.wrote(sent, now - sent);
        }
        (now - began) / transactions
    }

    fn ms(milliseconds: f64) -> Duration {
        Duration::from_secs_f64(milliseconds / 1e3)
    }

    #[test]
    fn it_is_as_long_as_the_markers_take_and_not_much_longer() {
        let mut random = Random::seeded(7);
        for markers in [0.3, 1.0, 2.5, 6.0] {
            let mut pause = MarkerPause::default();
            let mut jittered = || random.jittered(ms(markers));
            average(&mut pause, 50, &mut jittered, || ms(1.0));
            let average = average(&mut pause, 2_000, jittered, || ms(1.0));
            assert!(average > ms(markers), "{markers}: {average:?}");
            assert!(average < ms(markers * 1.5 + 2.5), "{markers}: {average:?}");
        }
    }

    #[test]
    fn there_is_none_where_nothing_comes_too_early() {
        let mut pause = MarkerPause::default();
        let none = average(&mut pause, 500, || Duration::ZERO, || ms(1.0));
        assert_eq!((none, pause.until()), (ms(1.0), None));
        // It is forgotten when the markers are written faster.
        average(&mut pause, 50, || ms(4.0), || ms(1.0));
        assert!(pause.until().is_some());
        average(&mut pause, 2_000, || Duration::ZERO, || ms(1.0));
        assert_eq!(pause.until(), None);
    }

    /// Whatever takes long all the time is no wait, and where markers take longer than a pause may be, they are not waited for either.
    #[test]
    fn a_slow_broker_is_not_made_slower() {
        let mut random = Random::seeded(7);
        for (markers, request) in [
            (0.0, 14.0),
            (0.0, 40.0),
            (35.0, 30.0),
            (70.0, 50.0),
            (35.0, 1.0),
        ] {
            let mut pause = MarkerPause::default();
            average(
                &mut pause,
                100,
                || ms(markers),
                || random.jittered(ms(request)),
            );
            let on = average(
                &mut pause,
                1_000,
                || ms(markers),
                || random.jittered(ms(request)),
            );
            let waits = (markers / 20.0f64).ceil() * 20.0;
            let what = format!("{markers} {request}: {on:?}, {pause:?}");
            assert!(on < ms(waits + request * 1.05), "{what}");
            assert_eq!(pause.until(), None, "{what}");
        }
    }

    #[test]
    fn it_is_never_longer_than_the_longest() {
        let mut pause = MarkerPause::default();
        let now = Instant::now();
        pause.was_too_short(now);
        assert_eq!(pause.until(), None, "nothing has ended");
        pause.ended(now);
        pause.was_too_short(now + Duration::from_secs(1));
        assert_eq!(pause.until(), None, "that was something else");
        for _ in 0..1_000 {
            pause.was_too_short(now);
        }
        assert_eq!(pause.until(), Some(now + LONGEST));
    }
}
