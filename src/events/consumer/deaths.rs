//! How often a process has died over the records of a partition. Sans-IO.
//!
//! In: what the last commit of the partition says of whoever made it, records that are begun and ended, what is committed. Out: which records are
//! handled alone, which not at all any more, and what the next commit says.
//!
//! Every commit says that its partition is open, but for the last before the partition goes to another member or the consumer stops. So who takes a
//! partition over that is open knows that there was no end to speak of: the process died, or its session was lost. That happens, and counts
//! only while nothing is gained: the number of such starts in a row is forgotten as soon as the first record is finished that was not before. A record
//! that kills its process is not finished. From the second such start on records are handled alone: one at a time, of all partitions of
//! a consumer for which that holds, and each only when a commit says so. What was handled alone when the next start comes to it has the death on its
//! account, and is given up when it has as many as it may have.
//!
//! A crawl must not go on for ever because of a machine that is switched off every hour: after [`MOST_ALONE`] records, or [`LONGEST_ALONE`], records are handled
//! freely again, but for those that have a death on their account.

use std::time::Duration;

use tokio::time::Instant;

/// From so many starts in a row on, of such as follow no end, records are handled alone.
const SUSPICIOUS: u32 = 2;
/// How many records of a partition are handled alone, at the most, but for those with deaths on their account.
const MOST_ALONE: u32 = 10_000;
/// For how long records of a partition are, likewise.
const LONGEST_ALONE: Duration = Duration::from_secs(300);
/// How many records have deaths on their account, at the most. One at a time is handled alone: more are there only where their order changes.
const MOST_SUSPECTS: usize = 8;

/// What is known of one partition, from its assignment to its release.
#[derive(Debug)]
pub(super) struct Deaths {
    /// How many a record may have on its account; 0: nothing is counted.
    limit: u32,
    /// How many starts in a row, this one included, followed no end, while no record was finished that was not before.
    starts: u32,
    /// The first offset that was not finished when this start began.
    from: i64,
    begun: Instant,
    /// How many records were handled alone since then.
    alone: u32,
    suspects: Vec<Suspect>,
}

/// A record that was handled alone when there was no end, or is now.
#[derive(Debug)]
struct Suspect {
    offset: i64,
    /// This one included, while it is being handled.
    deaths: u32,
    is_begun: bool,
}

impl Deaths {
    /// A record may have `limit` deaths on its account; 0 counts none. What was committed is `from`, and beside it `note`, as [`note`](Self::note)
    /// made it; nothing where there was no commit.
    pub(super) fn new(limit: u32, from: i64, note: &[u64], now: Instant) -> Self {
        let mut deaths = Self {
            limit,
            starts: 0,
            from,
            begun: now,
            alone: 0,
            suspects: Vec::new(),
        };
        let (Some((first, suspects)), 1..) = (note.split_first(), limit) else {
            return deaths;
        };
        if first & 1 == 1 {
            let before = u32::try_from(first >> 1).unwrap_or(u32::MAX);
            deaths.starts = before.saturating_add(1);
        }
        let (suspects, _) = suspects.as_chunks::<2>();
        for [at, count] in suspects.iter().take(MOST_SUSPECTS) {
            let offset = from.checked_add_unsigned(*at);
            if let (Some(offset), Ok(count @ 1..)) = (offset, u32::try_from(*count)) {
                suspect(&mut deaths.suspects, offset).deaths = count;
            }
        }
        deaths
    }

    /// Whether anything is counted.
    pub(super) fn counts(&self) -> bool {
        self.limit > 0
    }

    /// How many starts in a row followed no end, where that is suspicious.
    pub(super) fn suspicious(&self) -> Option<u32> {
        (self.starts >= SUSPICIOUS).then_some(self.starts)
    }

    /// Whether any record may have to be handled alone.
    pub(super) fn is_watchful(&self) -> bool {
        self.starts >= SUSPICIOUS || !self.suspects.is_empty()
    }

    /// Whether the record at `offset` is to be handled alone.
    pub(super) fn is_alone(&self, offset: i64, now: Instant) -> bool {
        self.is_crawling(now) || self.suspects.iter().any(|it| it.offset == offset)
    }

    fn is_crawling(&self, now: Instant) -> bool {
        let is_over = self.alone >= MOST_ALONE || now - self.begun >= LONGEST_ALONE;
        self.starts >= SUSPICIOUS && !is_over
    }

    /// A record is about to be handled alone, as the next commit says. An error: it is not to be, because it has so many deaths on its account.
    pub(super) fn begin(&mut self, offset: i64) -> Result<(), u32> {
        let known = self.suspects.iter().find(|it| it.offset == offset);
        match known.map(|it| it.deaths) {
            Some(deaths) if deaths >= self.limit => return Err(deaths),
            None if self.suspects.len() >= MOST_SUSPECTS => {
                // The ones that are the most suspicious stay.
                self.suspects.sort_by_key(|it| std::cmp::Reverse(it.deaths));
                self.suspects.truncate(MOST_SUSPECTS - 1);
            }
            _ => {}
        }
        let suspect = suspect(&mut self.suspects, offset);
        suspect.deaths = suspect.deaths.saturating_add(1);
        suspect.is_begun = true;
        Ok(())
    }

    /// The handler of a record has come to an end, whatever end it was: nobody has died over it.
    pub(super) fn end(&mut self, offset: i64) {
        let known = self.suspects.len();
        self.suspects
            .retain(|it| it.offset != offset || !it.is_begun);
        if self.suspects.len() < known {
            self.alone = self.alone.saturating_add(1);
        }
    }

    /// What is to be committed beside `committed`, the first offset that is not finished; nothing where nothing is to be known again. `is_last`: the
    /// partition goes, or the consumer stops.
    pub(super) fn note(&mut self, committed: i64, is_last: bool, now: Instant) -> Vec<u64> {
        if self.limit == 0 {
            return Vec::new();
        }
        let is_gain = committed > self.from && !self.is_crawling(now);
        if is_gain {
            self.starts = 0;
        }
        self.suspects.retain(|it| it.offset >= committed);
        let mut note = match is_last {
            true => vec![0],
            false => vec![u64::from(self.starts) << 1 | 1],
        };
        for it in &self.suspects {
            let is_spared = u32::from(is_last && it.is_begun);
            if it.deaths > is_spared {
                note.push(it.offset.abs_diff(committed));
                note.push(u64::from(it.deaths - is_spared));
            }
        }
        match note[..] {
            [0] => Vec::new(),
            _ => note,
        }
    }
}

fn suspect(suspects: &mut Vec<Suspect>, offset: i64) -> &mut Suspect {
    let at = suspects.iter().position(|it| it.offset == offset);
    let at = at.unwrap_or_else(|| {
        suspects.push(Suspect {
            offset,
            deaths: 0,
            is_begun: false,
        });
        suspects.len() - 1
    });
    &mut suspects[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the commits of one partition say, from start to start.
    struct Log {
        committed: i64,
        note: Vec<u64>,
        now: Instant,
    }

    impl Log {
        fn new() -> Self {
            Self {
                committed: 100,
                note: Vec::new(),
                now: Instant::now(),
            }
        }

        fn start(&self) -> Deaths {
            Deaths::new(3, self.committed, &self.note, self.now)
        }

        fn commit(&mut self, deaths: &mut Deaths, committed: i64) {
            self.committed = committed;
            self.note = deaths.note(committed, false, self.now);
        }

        fn close(&mut self, deaths: &mut Deaths) {
            self.note = deaths.note(self.committed, true, self.now);
        }

        /// Handles what there is from the first record on, and dies when `killer` is begun. Returns how the run ended.
        fn run(&mut self, killer: i64) -> Run {
            let mut deaths = self.start();
            self.commit(&mut deaths, self.committed);
            for offset in self.committed..killer + 5 {
                if deaths.is_alone(offset, self.now) {
                    match deaths.begin(offset) {
                        Err(deaths) => return Run::GivesUp(offset, deaths),
                        Ok(()) => self.commit(&mut deaths, offset),
                    }
                    if offset == killer {
                        return Run::Dies;
                    }
                    deaths.end(offset);
                } else if offset == killer {
                    // What was finished before it came to no commit.
                    return Run::Dies;
                }
            }
            Run::Ends
        }
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Run {
        Dies,
        Ends,
        GivesUp(i64, u32),
    }

    #[test]
    fn a_record_that_kills_each_process_is_given_up_and_no_other() {
        let mut log = Log::new();
        let runs: Vec<Run> = (0..6).map(|_| log.run(103)).collect();
        let dies = || Run::Dies;
        // Once unseen, once more before anybody may know, and then as often as it may.
        assert_eq!(runs[..5], [dies(), dies(), dies(), dies(), dies()]);
        assert_eq!(runs[5], Run::GivesUp(103, 3));
    }

    #[test]
    fn what_is_finished_after_a_start_makes_up_for_the_ends_that_were_none() {
        let mut log = Log::new();
        for _ in 0..100 {
            let mut deaths = log.start();
            assert_eq!(deaths.suspicious(), None);
            let next = log.committed + 1;
            log.commit(&mut deaths, next);
        }
    }

    #[test]
    fn an_end_makes_up_for_those_that_were_none_and_forgets_no_suspect() {
        let mut log = Log::new();
        (0..4).for_each(|_| assert_eq!(log.run(100), Run::Dies));
        let mut deaths = log.start();
        assert_eq!(deaths.suspicious(), Some(4));
        log.close(&mut deaths);
        let mut deaths = log.start();
        assert_eq!(deaths.suspicious(), None);
        assert!(deaths.is_alone(100, log.now) && !deaths.is_alone(101, log.now));
        assert_eq!(deaths.begin(100), Ok(()), "twice so far");
        log.close(&mut deaths);
        let mut deaths = log.start();
        assert_eq!(deaths.begin(100), Ok(()), "it was spared");
        log.commit(&mut deaths, 100);
        assert_eq!(log.start().begin(100), Err(3));
    }

    #[test]
    fn records_are_handled_alone_for_a_while_only() {
        let mut log = Log::new();
        (0..3).for_each(|_| assert_eq!(log.run(100), Run::Dies));
        let mut deaths = log.start();
        assert_eq!(deaths.begin(100), Ok(()));
        deaths.end(100);
        for offset in 101..100 + i64::from(MOST_ALONE) {
            assert!(deaths.is_alone(offset, log.now));
            assert_eq!(deaths.begin(offset), Ok(()));
            deaths.end(offset);
        }
        assert!(!deaths.is_alone(1 << 30, log.now));
        let next = 100 + i64::from(MOST_ALONE);
        log.commit(&mut deaths, next);
        assert_eq!(log.note, [1], "open, and nothing else");

        (0..3).for_each(|_| assert_eq!(log.run(next), Run::Dies));
        let deaths = log.start();
        log.now += LONGEST_ALONE;
        assert!(!deaths.is_alone(next + 1, log.now));
        assert!(deaths.is_alone(next, log.now), "it has a death");
    }

    #[test]
    fn notes_of_others_and_notes_that_are_odd_say_nothing() {
        let now = Instant::now();
        for note in [
            &[][..],
            &[0],
            &[1 << 62],
            &[0, 5],
            &[0, 5, 0],
            &[0, u64::MAX >> 1, 7],
        ] {
            let deaths = Deaths::new(3, i64::MAX - 10, note, now);
            assert!(!deaths.is_watchful(), "{note:?}");
        }
        let many: Vec<u64> = (0..100).map(|it| it + 1).collect();
        assert_eq!(Deaths::new(3, 0, &many, now).suspects.len(), MOST_SUSPECTS);
        let mut off = Deaths::new(0, 0, &[7, 0, 5], now);
        assert!(!off.is_watchful() && !off.counts());
        assert!(off.note(0, false, now).is_empty());
    }

    #[test]
    fn a_suspect_that_is_passed_is_one_no_more_and_there_are_never_many() {
        let mut log = Log::new();
        (0..3).for_each(|_| assert_eq!(log.run(100), Run::Dies));
        let mut deaths = log.start();
        for offset in 0..50 {
            assert_eq!(deaths.begin(200 + offset), Ok(()));
            assert!(deaths.suspects.len() <= MOST_SUSPECTS);
        }
        log.commit(&mut deaths, 300);
        assert_eq!(log.note.len(), 1);
    }
}
