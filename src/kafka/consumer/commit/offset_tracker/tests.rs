//! What is committed, whatever is finished when, over restarts.

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
