//! Which records of a partition are finished, and what may therefore be committed. Sans-IO.
//!
//! In: offsets as they arrive, in the order of the log, one by one or a batch at a time, and as they are finished, in any order. Out: the
//! offset to commit, which never passes an unfinished record, and the commit's metadata, which names the records beyond it that are finished,
//! so that a restart does not repeat them (see `commit_metadata`).
//!
//! Records that arrive together are a run.

mod run;

use std::collections::VecDeque;
use std::ops::Range;

pub(crate) use run::Arrival;
use run::Run;

/// The state of one partition's records between fetch and commit. Its size is bounded by that of the runs with unfinished records: between
/// two of them, everything is finished or was never there.
#[derive(Debug, Default)]
pub(crate) struct OffsetTracker {
    /// What has arrived, ascending: runs that are not finished, and among them finished ones that have not been swept out yet.
    runs: VecDeque<Run>,
    /// How many of `runs` are finished.
    unswept: usize,
    /// How many records are not finished.
    in_flight: usize,
    /// The offset after the last one that arrived, or the position before the first; `None` while that is not known.
    next: Option<i64>,
    /// Finished before a restart and not met again so far: ascending, apart from each other, none empty.
    remembered: VecDeque<Range<i64>>,
    /// Where each leader's records begin, ascending: the epochs that commits go with (KIP-320).
    epochs: VecDeque<(i64, i32)>,
    /// Whether there is something to commit that [`OffsetTracker::take_commit`] has not returned yet.
    changed: bool,
}

/// What to commit for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The first offset that is not finished.
    pub offset: i64,
    /// The epoch of the leader that appended the record before it, if that is known.
    pub leader_epoch: Option<i32>,
    /// What is finished beyond it: ascending, apart from each other.
    pub finished: Vec<Range<i64>>,
}

/// Fewer finished runs than these are not worth a sweep.
const SWEEP_FROM: usize = 64;
/// How many records that arrive one by one make a run.
const LONGEST_RUN: usize = 4_096;

impl OffsetTracker {
    /// The tracker of a partition whose group has committed `committed`, and finished what is in `finished` beyond it.
    pub(crate) fn resume(
        committed: i64,
        leader_epoch: Option<i32>,
        finished: Vec<Range<i64>>,
    ) -> Self {
        Self {
            epochs: leader_epoch
                .map(|epoch| (committed - 1, epoch))
                .into_iter()
                .collect(),
            next: Some(committed),
            remembered: finished.into(),
            ..Self::default()
        }
    }

    /// Everything before `position` has arrived, or was never there. For a partition without a commit, the first position is something
    /// to commit: without it, a restart under `latest` would pass over what arrived in the meantime.
    pub(crate) fn advance(&mut self, position: i64) {
        if self.next.is_none_or(|next| next < position) {
            self.next = Some(position);
            self.changed |= self.in_flight == 0;
        }
    }

    /// Whether `offset` lies before what has arrived: the position was moved back, and nothing known here is about the records to come.
    pub(crate) fn is_past(&self, offset: i64) -> bool {
        self.next.is_some_and(|next| offset < next)
    }

    /// A record arrives, not before [any other](OffsetTracker::is_past); there may be holes. `false`: it was finished before a restart.
    pub(crate) fn arrive(&mut self, offset: i64, leader_epoch: Option<i32>) -> bool {
        let hole_from = self.met(offset, leader_epoch);
        // What a broker calls an offset may be any number.
        self.next = Some(offset.saturating_add(1));
        let finished = (self.remembered.front()).is_some_and(|range| range.contains(&offset));
        // No offset follows the last one there is: it has no run.
        if finished || offset == i64::MAX {
            self.changed = true;
            return false;
        }
        self.in_flight += 1;
        let goes_on = |run: &&mut Run| {
            run.left > 0 && run.len() < LONGEST_RUN && hole_from == Some(run.end())
        };
        match self.runs.back_mut().filter(goes_on) {
            Some(run) => run.push(offset),
            None => {
                let record = Arrival::Dense(offset..offset.saturating_add(1));
                self.runs
                    .push_back(Run::new(hole_from.unwrap_or(offset), record));
            }
        }
        true
    }

    /// Records arrive together, none of them [finished before](OffsetTracker::finished_from), and `next` is the position after them.
    pub(crate) fn arrive_together(
        &mut self,
        records: Arrival,
        next: i64,
        leader_epoch: Option<i32>,
    ) {
        let mut run = Run::new(0, records);
        if run.left > 0 {
            let first = run.offset(0);
            run.hole_from = self.met(first, leader_epoch).unwrap_or(first);
            self.in_flight += run.left;
            self.runs.push_back(run);
        }
        self.advance(next);
    }

    /// What is known of what comes before `offset`, which is the next to arrive, was met. Returns what was the next to arrive so far.
    fn met(&mut self, offset: i64, leader_epoch: Option<i32>) -> Option<i64> {
        if let Some(epoch) = leader_epoch
            && self.epochs.back().is_none_or(|(_, last)| *last != epoch)
        {
            self.epochs.push_back((offset, epoch));
        }
        let is_over = |range: &Range<i64>| range.end <= offset;
        while self.remembered.front().is_some_and(is_over) {
            self.remembered.pop_front();
        }
        self.next
    }

    /// Which of `offsets`, which have not arrived yet, were finished before a restart.
    pub(crate) fn finished_before(&self, offsets: Range<i64>) -> Vec<Range<i64>> {
        self.remembered
            .iter()
            .filter(|range| range.start < offsets.end && offsets.start < range.end)
            .cloned()
            .collect()
    }

    /// What was finished before a restart of what begins at `offset`: the first stretch of it.
    pub(crate) fn finished_from(&self, offset: i64) -> Option<Range<i64>> {
        let mut remembered = self.remembered.iter();
        remembered.find(|range| range.end > offset).cloned()
    }

    /// How many offsets there are from the first that is not finished on, as far as records have arrived.
    pub(crate) fn span(&self) -> u64 {
        self.until(self.next)
    }

    /// As [`span`](Self::span), as far as anything is known: of what was finished before a restart as well.
    pub(crate) fn reach(&self) -> u64 {
        let remembered = self.remembered.back().map(|range| range.end);
        self.until(self.next.max(remembered))
    }

    fn until(&self, end: Option<i64>) -> u64 {
        let first = self.first_unfinished().or(self.next);
        let span = first.zip(end).map(|(first, end)| end.saturating_sub(first));
        span.map_or(0, |span| span.max(0) as u64)
    }

    /// The first record in flight that is not finished.
    pub(crate) fn first_unfinished(&self) -> Option<i64> {
        self.runs.front().map(|run| run.offset(run.done))
    }

    /// How many records that have arrived are not finished.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many records of a log that ends at `end` are not finished, where the first one is at `position` if none has arrived yet. `None`
    /// while neither that nor any record is known.
    pub(crate) fn lag(&self, end: Option<i64>, position: Option<i64>) -> Option<u64> {
        let in_flight = self.in_flight as u64;
        let (Some(end), Some(next)) = (end, self.next.or(position)) else {
            return (in_flight > 0).then_some(in_flight);
        };
        let to_come = end.saturating_sub(next).max(0) as u64;
        let remembered: u64 = self
            .remembered
            .iter()
            .map(|range| {
                range
                    .end
                    .min(end)
                    .saturating_sub(range.start.max(next))
                    .max(0) as u64
            })
            .sum();
        Some(in_flight + to_come.saturating_sub(remembered))
    }

    /// A record that arrived is finished. `false` for an offset that is not in flight: nothing changes.
    #[inline]
    pub(crate) fn finish(&mut self, offset: i64) -> bool {
        let at = self.run_of(offset);
        let Some(run) = self.runs.get_mut(at) else {
            return false;
        };
        let finished = (run.index_of(offset)).is_some_and(|index| run.finish(index));
        if finished {
            let over = run.left == 0;
            self.finished(1, usize::from(over));
        }
        finished
    }

    /// All that arrived at these offsets is finished. Returns how many records were not before.
    pub(crate) fn finish_all(&mut self, offsets: Range<i64>) -> usize {
        let (mut count, mut over) = (0, 0);
        let from = self.run_of(offsets.start);
        for run in self.runs.range_mut(from..) {
            if run.offset(0) >= offsets.end {
                break;
            }
            let index = |offset: i64| match &run.records {
                Arrival::Dense(all) => {
                    offset.clamp(all.start, all.end).abs_diff(all.start) as usize
                }
                Arrival::Sparse(all) => all.partition_point(|it| *it < offset),
            };
            let indices = index(offsets.start)..index(offsets.end);
            let finished = run.finish_range(indices);
            over += usize::from(finished > 0 && run.left == 0);
            count += finished;
        }
        if count > 0 {
            self.finished(count, over);
        }
        count
    }

    /// Where the run is that ends behind `offset`.
    fn run_of(&self, offset: i64) -> usize {
        match self.runs.front() {
            Some(first) if first.end() > offset => 0,
            _ => self.runs.partition_point(|run| run.end() <= offset),
        }
    }

    /// So many records were finished, and by them so many runs.
    fn finished(&mut self, count: usize, runs: usize) {
        self.changed = true;
        self.in_flight -= count;
        if runs == 0 {
            return;
        }
        self.unswept += runs;
        while self.runs.front().is_some_and(|run| run.left == 0) {
            self.runs.pop_front();
            self.unswept -= 1;
        }
        if self.unswept > SWEEP_FROM.max(self.runs.len() / 2) {
            self.runs.retain(|run| run.left > 0);
            self.unswept = 0;
        }
    }

    /// What to commit, if that has changed since the last call. Hand it back to [`OffsetTracker::commit_failed`] if it could not be.
    pub(crate) fn take_commit(&mut self) -> Option<Commit> {
        match std::mem::take(&mut self.changed) {
            true => self.commit(),
            false => None,
        }
    }

    /// What to commit, changed or not; `None` while nothing is known.
    pub(crate) fn commit(&mut self) -> Option<Commit> {
        let (offset, finished) = self.finished_beyond(self.next?);
        while self.epochs.get(1).is_some_and(|(begin, _)| *begin < offset) {
            self.epochs.pop_front();
        }
        let epoch = self.epochs.front().filter(|(begin, _)| *begin < offset);
        Some(Commit {
            offset,
            leader_epoch: epoch.map(|(_, epoch)| *epoch),
            finished,
        })
    }

    /// What was taken last could not be committed: it is returned again.
    pub(crate) fn commit_failed(&mut self) {
        self.changed = true;
    }

    /// How many stretches of finished records there may be beyond the first unfinished one, at most, whatever is finished next.
    pub(crate) fn most_stretches(&self) -> usize {
        self.in_flight + self.remembered.len()
    }

    /// The first offset that is not finished, and what is finished beyond it: ascending, apart from each other.
    fn finished_beyond(&self, next: i64) -> (i64, Vec<Range<i64>>) {
        let mut finished: Vec<Range<i64>> = Vec::new();
        let mut note = |range: Range<i64>| match finished.last_mut() {
            _ if range.is_empty() => {}
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => finished.push(range),
        };
        let (mut first, mut behind) = (None, i64::MAX);
        for run in &self.runs {
            let (start, hole_from) = (run.offset(0), run.hole_from);
            run.unfinished(|stretch| {
                first.get_or_insert(stretch.start);
                // A hole is as unfinished as what is on both sides of it.
                let is_hole = stretch.start == start && hole_from <= behind;
                if !is_hole {
                    note(behind..stretch.start);
                }
                behind = stretch.end;
            });
        }
        note(behind..next);
        let mut offset = first.unwrap_or(next);
        for range in &self.remembered {
            if first.is_none() && range.start <= offset {
                offset = offset.max(range.end);
            } else {
                note(range.start.max(next)..range.end);
            }
        }
        (offset, finished)
    }
}

#[cfg(test)]
mod tests;
