//! What is awaited of metadata: asked for with pauses, and told when it does not come. In: what is missing now, the time. Out: when to ask, and when to
//! say so.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

/// What is missing, since when, and what was done about it.
#[derive(Debug)]
pub(crate) struct Awaited<K> {
    missing: BTreeSet<K>,
    since: Option<Instant>,
    asked: u32,
    ask_at: Option<Instant>,
    told: Option<Instant>,
}

impl<K> Default for Awaited<K> {
    fn default() -> Self {
        Self {
            missing: BTreeSet::new(),
            since: None,
            asked: 0,
            ask_at: None,
            told: None,
        }
    }
}

impl<K: Ord + Clone> Awaited<K> {
    /// This is missing now. `pause` says how long to wait before it is asked for the next time, after so many times.
    pub fn update(
        &mut self,
        missing: &BTreeSet<K>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        if missing.is_empty() {
            return self.forget();
        }
        if self.missing != *missing {
            self.missing.clone_from(missing);
        }
        self.since.get_or_insert(now);
        if self.ask_at.is_none() {
            self.ask_at = Some(match self.asked {
                0 => now,
                asked => now + pause(asked),
            });
        }
    }

    /// Nothing is awaited.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// When to ask for it.
    pub fn ask_at(&self) -> Option<Instant> {
        self.ask_at
    }

    /// What to ask for now; once for each time.
    pub fn ask(&mut self, now: Instant) -> Option<&BTreeSet<K>> {
        self.ask_at.take_if(|at| *at <= now)?;
        self.asked = self.asked.saturating_add(1);
        Some(&self.missing)
    }

    /// When something has been missing for `patience`, or for as long since that was told.
    pub fn due_at(&self, patience: Duration) -> Option<Instant> {
        let since = self.told.or(self.since)?;
        Some(since + patience)
    }

    /// One of what is missing, if that is to be told now; once in `patience`.
    pub fn overdue(&mut self, now: Instant, patience: Duration) -> Option<&K> {
        self.due_at(patience).filter(|at| *at <= now)?;
        self.told = Some(now);
        self.missing.first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_with_pauses_and_told_once_in_a_while() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut awaited = Awaited::default();
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for at in 0..25 {
            let now = start + second * at;
            awaited.update(&BTreeSet::from([1, 2]), now, |times| second * times.min(4));
            asked.extend(awaited.ask(now).map(|missing| (at, missing.len())));
            told.extend(awaited.overdue(now, second * 10).map(|one| (at, *one)));
        }
        assert_eq!(told, [(10, 1), (20, 1)]);
        let at: Vec<u32> = asked.iter().map(|(at, _)| *at).collect();
        // Each pause begins with what is heard next.
        assert_eq!(at, [0, 2, 5, 9, 14, 19, 24]);
        let now = start + second * 30;
        awaited.update(&BTreeSet::new(), now, |_| second);
        assert_eq!((awaited.ask_at(), awaited.due_at(second)), (None, None));
        awaited.update(&BTreeSet::from([3]), now, |_| second);
        assert_eq!(awaited.ask_at(), Some(now), "another time, at once");
        assert_eq!(awaited.overdue(now, second), None);
    }
}
