//! One share group's view of one partition: what is available, who holds what, and where the log is done with.
//!
//! In: what the log has, acknowledgements, the time. Out: which offsets a member has acquired, and whether acknowledgements are taken.
//!
//! ```text
//!   beyond the end ──acquire──> Acquired ──accept, reject, gap──> done with
//!                                 │  ▲
//!         release, lock timed out │  │ acquire
//!                                 ▼  │
//!                               Available ──delivered as often as it may be──> done with
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::ErrorCode;
use tokio::time::Instant;

/// What acknowledgements say of an offset.
const RELEASE: i8 = 2;
const RENEW: i8 = 4;

/// A record that was acquired once, and is not done with.
#[derive(Clone, Debug, PartialEq)]
struct InFlight {
    /// Who holds it, and until when; available where nobody does.
    holder: Option<(String, Instant)>,
    delivery_count: i16,
}

/// One group's view of one partition.
#[derive(Clone, Debug)]
pub(crate) struct SharePartition {
    /// The first offset that was never acquired.
    end: i64,
    /// Of those before the end, the ones that are not done with.
    records: BTreeMap<i64, InFlight>,
    leader_epoch: i32,
}

/// Offsets that a member has acquired, and how often they have been delivered with that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Acquired {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) delivery_count: i16,
}

/// How much a member wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    /// Not one more than that, where otherwise the last batch may be more.
    pub(crate) strictly: bool,
    pub(crate) locks: i64,
    pub(crate) lock_for: Duration,
}

/// A run of acknowledgements: of all its offsets in one way, or each in its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged<'a> {
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) types: &'a [i8],
}

/// Where there is something to acquire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    At(i64),
    /// So much is in flight that nothing more may be.
    Full,
}

impl SharePartition {
    /// A view that begins at `start`.
    pub(crate) fn new(start: i64, leader_epoch: i32) -> Self {
        Self {
            end: start,
            records: BTreeMap::new(),
            leader_epoch,
        }
    }

    /// Everything before this is done with.
    pub(crate) fn start(&self) -> i64 {
        let first = self.records.first_key_value();
        first.map_or(self.end, |(offset, _)| *offset)
    }

    /// The log begins and ends there, under a leader of this epoch: a new one knows of no locks. Members look at the log before they come here, one
    /// later than the other: under one leader it only grows, and an end that was seen earlier takes away nothing of what was acquired beyond it.
    pub(crate) fn led(
        &mut self,
        (log_start, log_end, leader_epoch): (i64, i64, i32),
        delivery_limit: i16,
    ) {
        if leader_epoch < self.leader_epoch {
            return;
        }
        if leader_epoch > self.leader_epoch {
            self.leader_epoch = leader_epoch;
            self.give_back_all(delivery_limit, |_| true);
            // Of a log that was cut off, what is beyond its end will be other records.
            self.records.split_off(&log_end.max(0));
            self.end = self.end.min(log_end);
        }
        self.records = self.records.split_off(&log_start);
        self.end = self.end.max(log_start);
    }

    /// Where to look for records to acquire.
    pub(crate) fn next(&self, locks: i64) -> Found {
        let mut records = self.records.iter();
        if let Some((offset, _)) = records.find(|(_, record)| record.holder.is_none()) {
            return Found::At(*offset);
        }
        match self.end.saturating_sub(self.start()) < locks {
            true => Found::At(self.end),
            false => Found::Full,
        }
    }

    /// The member acquires what is available of these batches, each from its first to its last offset, in order.
    pub(crate) fn acquire(
        &mut self,
        member: &str,
        batches: &[(i64, i64)],
        limits: Limits,
        now: Instant,
    ) -> Vec<Acquired> {
        let holder = (member.to_owned(), now + limits.lock_for);
        let (mut acquired, mut count) = (Vec::<Acquired>::new(), 0);
        for (first, last) in batches {
            if count >= limits.records {
                break;
            }
            let begins = acquired.len();
            for offset in (*first).max(self.start())..=*last {
                if limits.strictly && count >= limits.records {
                    break;
                }
                let delivery_count = if offset >= self.end {
                    if self.end.saturating_sub(self.start()) >= limits.locks {
                        break;
                    }
                    let new = InFlight {
                        holder: Some(holder.clone()),
                        delivery_count: 1,
                    };
                    self.records.insert(offset, new);
                    self.end = offset + 1;
                    1
                } else {
                    let known = self.records.get_mut(&offset);
                    let Some(record) = known.filter(|record| record.holder.is_none()) else {
                        continue;
                    };
                    record.holder = Some(holder.clone());
                    record.delivery_count = record.delivery_count.saturating_add(1);
                    record.delivery_count
                };
                count += 1;
                match acquired[begins..].last_mut() {
                    Some(run) if run.last + 1 == offset && run.delivery_count == delivery_count => {
                        run.last = offset;
                    }
                    _ => acquired.push(Acquired {
                        first: offset,
                        last: offset,
                        delivery_count,
                    }),
                }
            }
        }
        acquired
    }

    /// Takes acknowledgements of what the member holds: all of them, or none.
    pub(crate) fn acknowledge(
        &mut self,
        member: &str,
        runs: &[Acknowledged<'_>],
        delivery_limit: i16,
        locked_until: Instant,
    ) -> Result<(), ErrorCode> {
        let mut next = 0;
        for run in runs {
            let len = usize::try_from(run.last.saturating_sub(run.first).saturating_add(1));
            let fits = run.types.len() == 1 || len.is_ok_and(|len| len == run.types.len());
            let is_known = run.types.iter().all(|kind| (0..=RENEW).contains(kind));
            if run.first < next || run.last < run.first || !fits || !is_known {
                return Err(ErrorCode::INVALID_REQUEST);
            }
            next = run.last.saturating_add(1);
            self.check_held(member, run)?;
        }
        for run in runs {
            let offsets: Vec<i64> = self
                .records
                .range(run.first..=run.last)
                .map(|(offset, _)| *offset)
                .collect();
            for offset in offsets {
                let index = usize::try_from(offset - run.first).unwrap_or_default();
                let kind = run.types.get(index).or(run.types.first()).copied();
                match kind.unwrap_or_default() {
                    RELEASE => self.give_back(offset, delivery_limit),
                    RENEW => {
                        if let Some(record) = self.records.get_mut(&offset) {
                            record.holder = Some((member.to_owned(), locked_until));
                        }
                    }
                    _ => drop(self.records.remove(&offset)),
                }
            }
        }
        Ok(())
    }

    /// Fails unless the member holds each of these offsets. Those before the start are done with, and nobody minds.
    fn check_held(&self, member: &str, run: &Acknowledged<'_>) -> Result<(), ErrorCode> {
        let first = run.first.max(self.start());
        if first > run.last {
            return Ok(());
        }
        let mut next = first;
        for (offset, record) in self.records.range(first..=run.last) {
            let is_held = record
                .holder
                .as_ref()
                .is_some_and(|(holder, _)| holder == member);
            if *offset != next || !is_held {
                return Err(ErrorCode::INVALID_RECORD_STATE);
            }
            next += 1;
        }
        match next > run.last {
            true => Ok(()),
            false => Err(ErrorCode::INVALID_RECORD_STATE),
        }
    }

    /// The record is available, unless it has been delivered as often as it may be.
    fn give_back(&mut self, offset: i64, delivery_limit: i16) {
        let Some(record) = self.records.get_mut(&offset) else {
            return;
        };
        record.holder = None;
        if record.delivery_count >= delivery_limit {
            self.records.remove(&offset);
        }
    }

    /// What the member holds is available.
    pub(crate) fn release(&mut self, member: &str, delivery_limit: i16) {
        self.give_back_all(delivery_limit, |(holder, _)| holder == member);
    }

    /// What was held for too long is available. Whether anything was.
    pub(crate) fn expire(&mut self, now: Instant, delivery_limit: i16) -> bool {
        self.give_back_all(delivery_limit, |(_, until)| *until <= now)
    }

    fn give_back_all(
        &mut self,
        delivery_limit: i16,
        which: impl Fn(&(String, Instant)) -> bool,
    ) -> bool {
        let records = self.records.iter();
        let held = records.filter(|(_, record)| record.holder.as_ref().is_some_and(&which));
        let offsets: Vec<i64> = held.map(|(offset, _)| *offset).collect();
        for offset in &offsets {
            self.give_back(*offset, delivery_limit);
        }
        !offsets.is_empty()
    }

    /// When a lock times out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let held = self
            .records
            .values()
            .filter_map(|record| record.holder.as_ref());
        held.map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests;
