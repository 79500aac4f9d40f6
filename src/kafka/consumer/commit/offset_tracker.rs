//! Which records of a partition are finished, and what may therefore be committed. Sans-IO.
//!
//! In: offsets as they arrive, in the order of the log, one by one or a batch at a time, and as they are finished, in any order. Out: the
//! offset to commit, which never passes an unfinished record, and the commit's metadata, which names the records beyond it that are finished,
//! so that a restart does not repeat them (see `commit_metadata`).
//!
//! Records that arrive together are a run. As long as they are finished in their order, a run is a counter; the first that is finished out of
//! turn costs a bit for each.

use std::collections::VecDeque;
use std::ops::Range;

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

/// Records that arrive together.
#[derive(Clone, Debug)]
pub(crate) enum Arrival {
    /// At each of these offsets.
    Dense(Range<i64>),
    /// At these offsets, ascending.
    Sparse(Vec<i64>),
}

/// Fewer finished runs than these are not worth a sweep.
const SWEEP_FROM: usize = 64;
/// How many records that arrive one by one make a run.
const LONGEST_RUN: usize = 4_096;

/// Records that arrived together.
#[derive(Debug)]
struct Run {
    /// Between this offset and the first record nothing was ever there.
    hole_from: i64,
    records: Arrival,
    /// So many of the first are finished.
    done: usize,
    /// Which of those beyond are: a bit for each, as far as any is.
    beyond: Vec<u64>,
    /// How many are not.
    left: usize,
}

impl Run {
    fn new(hole_from: i64, records: Arrival) -> Self {
        let mut run = Self {
            hole_from,
            records,
            done: 0,
            beyond: Vec::new(),
            left: 0,
        };
        run.left = run.len();
        run
    }

    fn len(&self) -> usize {
        match &self.records {
            Arrival::Dense(offsets) => offsets.end.abs_diff(offsets.start) as usize,
            Arrival::Sparse(offsets) => offsets.len(),
        }
    }

    fn offset(&self, index: usize) -> i64 {
        match &self.records {
            Arrival::Dense(offsets) => offsets.start.saturating_add(index as i64),
            Arrival::Sparse(offsets) => offsets.get(index).copied().unwrap_or(i64::MAX),
        }
    }

    /// The offset after the last record.
    fn end(&self) -> i64 {
        match &self.records {
            Arrival::Dense(offsets) => offsets.end,
            Arrival::Sparse(offsets) => offsets.last().map_or(0, |last| last.saturating_add(1)),
        }
    }

    fn index_of(&self, offset: i64) -> Option<usize> {
        match &self.records {
            Arrival::Dense(offsets) => offsets
                .contains(&offset)
                .then(|| offset.abs_diff(offsets.start) as usize),
            Arrival::Sparse(offsets) => offsets.binary_search(&offset).ok(),
        }
    }

    /// One more record, behind a hole if it does not follow the last.
    fn push(&mut self, offset: i64) {
        match &mut self.records {
            Arrival::Dense(offsets) if offsets.end == offset => {
                offsets.end = offset.saturating_add(1);
            }
            Arrival::Dense(offsets) => {
                let offsets = offsets.clone().chain([offset]).collect();
                self.records = Arrival::Sparse(offsets);
            }
            Arrival::Sparse(offsets) => offsets.push(offset),
        }
        self.left += 1;
    }

    fn is_finished(&self, index: usize) -> bool {
        index < self.done
            || (self.beyond.get(index / 64)).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// Whether the record was not finished before.
    fn finish(&mut self, index: usize) -> bool {
        if index == self.done {
            self.done += 1;
            while !self.beyond.is_empty() && self.is_finished(self.done) {
                self.done += 1;
            }
        } else if self.is_finished(index) {
            return false;
        } else {
            let word = index / 64;
            if self.beyond.len() <= word {
                self.beyond.resize(word + 1, 0);
            }
            self.beyond[word] |= 1 << (index % 64);
        }
        self.left -= 1;
        true
    }

    /// Finishes those between two indices; how many were not before.
    fn finish_range(&mut self, indices: Range<usize>) -> usize {
        if self.beyond.is_empty() && indices.start <= self.done {
            let count = indices.end.saturating_sub(self.done);
            self.done += count;
            self.left -= count;
            return count;
        }
        indices.filter(|index| self.finish(*index)).count()
    }

    /// Each stretch of unfinished records, from its first to behind its last.
    fn unfinished(&self, mut each: impl FnMut(Range<i64>)) {
        let len = self.len();
        let marked = (self.beyond.len() * 64).min(len);
        let mut start = None;
        for index in self.done..marked {
            if !self.is_finished(index) {
                start.get_or_insert(index);
            } else if let Some(start) = start.take() {
                each(self.offset(start)..self.offset(index - 1).saturating_add(1));
            }
        }
        let unmarked = marked.max(self.done);
        if let Some(start) = start.or((unmarked < len).then_some(unmarked)) {
            each(self.offset(start)..self.end());
        }
    }
}

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

    /// Whether something was finished before a restart of what is still to arrive.
    pub(crate) fn knows_what_comes(&self) -> bool {
        let last = self.remembered.back();
        last.is_some_and(|range| self.next.is_none_or(|next| next < range.end))
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn commit(offset: i64) -> Option<Commit> {
        Some(Commit {
            offset,
            leader_epoch: None,
            finished: Vec::new(),
        })
    }

    #[test]
    fn a_commit_never_passes_an_unfinished_record() {
        let mut tracker = OffsetTracker::default();
        assert_eq!(tracker.take_commit(), None);
        assert!((10..14).all(|offset| tracker.arrive(offset, None)));
        tracker.finish(11);
        tracker.finish(13);
        assert_eq!(tracker.take_commit().map(|commit| commit.offset), Some(10));
        tracker.finish(10);
        assert_eq!(tracker.take_commit().map(|commit| commit.offset), Some(12));
        tracker.finish(12);
        assert_eq!(tracker.take_commit(), commit(14));
        assert_eq!(tracker.take_commit(), None);
    }

    #[test]
    fn a_restart_repeats_nothing_that_was_finished_beyond_the_gap() {
        let mut tracker = OffsetTracker::default();
        (0..6).for_each(|offset| assert!(tracker.arrive(offset, None)));
        for offset in [1, 2, 4] {
            tracker.finish(offset);
        }
        let commit = tracker.take_commit().expect("something was finished");
        assert_eq!(commit.offset, 0);
        let mut tracker = OffsetTracker::resume(commit.offset, None, commit.finished.clone());
        let again: Vec<i64> = (0..8)
            .filter(|offset| tracker.arrive(*offset, None))
            .collect();
        assert_eq!(again, [0, 3, 5, 6, 7]);
    }

    #[test]
    fn what_was_remembered_survives_a_second_restart_before_it_is_met_again() {
        let mut tracker = OffsetTracker::default();
        (0..10).for_each(|offset| assert!(tracker.arrive(offset, None)));
        for offset in [2, 3, 8] {
            tracker.finish(offset);
        }
        let first = tracker.take_commit().expect("something was finished");
        let mut tracker = OffsetTracker::resume(first.offset, None, first.finished);
        assert!(tracker.arrive(0, None));
        assert!(tracker.arrive(1, None));
        for offset in [0, 1] {
            tracker.finish(offset);
        }
        let second = tracker.take_commit().expect("something was finished");
        assert_eq!(second.offset, 4, "2 and 3 are finished: the next is 4");
        let mut tracker = OffsetTracker::resume(second.offset, None, second.finished);
        let again: Vec<i64> = (4..10)
            .filter(|offset| tracker.arrive(*offset, None))
            .collect();
        assert_eq!(again, [4, 5, 6, 7, 9]);
    }

    #[test]
    fn holes_in_the_log_hold_nothing_up() {
        let mut tracker = OffsetTracker::default();
        for offset in [5, 9, 20] {
            assert!(tracker.arrive(offset, None));
        }
        for offset in [5, 9] {
            tracker.finish(offset);
        }
        assert_eq!(tracker.take_commit(), commit(20));
        tracker.finish(20);
        assert_eq!(tracker.take_commit(), commit(21));
    }

    #[test]
    fn a_first_position_is_committed_before_any_record() {
        let mut tracker = OffsetTracker::default();
        assert_eq!(tracker.take_commit(), None);
        tracker.advance(7);
        assert_eq!(tracker.take_commit(), commit(7));
        assert_eq!(
            OffsetTracker::resume(7, None, Vec::new()).take_commit(),
            None
        );
    }

    #[test]
    fn what_holds_no_records_is_passed_once_all_before_it_is_finished() {
        let mut tracker = OffsetTracker::default();
        tracker.arrive(0, None);
        tracker.advance(5);
        assert_eq!(tracker.take_commit(), None);
        tracker.finish(0);
        assert_eq!(tracker.take_commit(), commit(5));
        tracker.advance(4);
        assert_eq!(tracker.take_commit(), None);
        assert!(tracker.is_past(4) && !tracker.is_past(5));
    }

    #[test]
    fn a_commit_that_failed_is_returned_again() {
        let mut tracker = OffsetTracker::default();
        tracker.arrive(0, None);
        tracker.finish(0);
        assert_eq!(tracker.take_commit(), commit(1));
        tracker.commit_failed();
        assert_eq!(tracker.take_commit(), commit(1));
    }

    #[test]
    fn offsets_that_are_not_in_flight_are_passed_over() {
        let mut tracker = OffsetTracker::default();
        tracker.arrive(3, None);
        tracker.finish(2);
        tracker.finish(4);
        assert_eq!(tracker.take_commit(), None);
        tracker.finish(3);
        tracker.finish(3);
        assert_eq!(tracker.take_commit(), commit(4));
    }

    #[test]
    fn one_slow_record_does_not_make_the_tracker_grow() {
        let mut tracker = OffsetTracker::default();
        tracker.arrive(0, None);
        for offset in 1..200_000 {
            tracker.arrive(offset, None);
            tracker.finish(offset);
        }
        assert!(tracker.runs.len() <= SWEEP_FROM + 2);
        let commit = tracker.take_commit().expect("much was finished");
        assert_eq!(commit.offset, 0);
        let mut tracker = OffsetTracker::resume(0, None, commit.finished.clone());
        let again = (0..200_001).filter(|offset| tracker.arrive(*offset, None));
        assert_eq!(again.collect::<Vec<_>>(), [0, 200_000]);
    }

    #[test]
    fn a_commit_goes_with_the_epoch_of_the_record_before_it() {
        let epoch =
            |tracker: &mut OffsetTracker| tracker.take_commit().map(|commit| commit.leader_epoch);
        let mut tracker = OffsetTracker::resume(10, Some(3), Vec::new());
        tracker.arrive(10, Some(3));
        tracker.arrive(11, Some(5));
        tracker.arrive(12, Some(6));
        tracker.finish(11);
        assert_eq!(epoch(&mut tracker), Some(Some(3)), "up to 10, exclusive");
        tracker.finish(10);
        assert_eq!(epoch(&mut tracker), Some(Some(5)), "up to 12, exclusive");
        tracker.finish(12);
        assert_eq!(epoch(&mut tracker), Some(Some(6)));
        assert_eq!(tracker.epochs.len(), 1);
        let mut tracker = OffsetTracker::default();
        tracker.arrive(0, Some(1));
        tracker.commit_failed();
        assert_eq!(
            epoch(&mut tracker),
            Some(None),
            "nothing stands before the first record"
        );
    }

    proptest! {
        /// Lives of a consumer, one after the other: each handles some of what arrives and is then cut off after its last commit.
        #[test]
        fn across_restarts_everything_is_finished_and_nothing_twice(
            log in prop::collection::btree_set(0i64..300, 1..80),
            lives in prop::collection::vec((0usize..80, prop::collection::vec(any::<prop::sample::Index>(), 0..60)), 0..6),
        ) {
            let mut finished = BTreeSet::new();
            let mut committed: Option<Commit> = None;
            let last = (log.len(), vec![]);
            let total = lives.len();
            for (life, (arriving, finishing)) in lives.iter().chain([&last]).enumerate() {
                let mut tracker = committed
                    .as_ref()
                    .map_or_else(OffsetTracker::default, |commit| OffsetTracker::resume(commit.offset, None, commit.finished.clone()));
                let from = committed.as_ref().map_or(0, |commit| commit.offset);
                let mut in_flight: Vec<i64> =
                    log.range(from..).take(*arriving).copied().filter(|offset| tracker.arrive(*offset, None)).collect();
                for offset in &in_flight {
                    prop_assert!(!finished.contains(offset), "{offset} is handled twice");
                }
                let picks = finishing.iter().map(Some).chain((life == total).then_some([None; 80]).into_iter().flatten());
                for pick in picks {
                    if in_flight.is_empty() {
                        break;
                    }
                    let at = pick.map_or(0, |pick| pick.index(in_flight.len()));
                    let offset = in_flight.swap_remove(at);
                    tracker.finish(offset);
                    finished.insert(offset);
                }
                if let Some(commit) = tracker.take_commit() {
                    let first_unfinished = log.iter().find(|offset| !finished.contains(offset));
                    prop_assert!(first_unfinished.is_none_or(|first| commit.offset <= *first));
                    prop_assert!(commit.offset >= from);
                    committed = Some(commit);
                }
            }
            prop_assert_eq!(finished, log);
        }
    }
}
