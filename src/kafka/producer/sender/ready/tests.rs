//! The list of ready partitions against a model that looks through all of them.

use super::*;
use crate::kafka::Random;

const LINGER: Duration = Duration::from_millis(5);
const ENOUGH: Enough = Enough {
    least: 1_000,
    most: 8_000,
};

fn ready(bytes: usize, since: Instant, urgent: bool) -> Readiness {
    Readiness::Ready {
        bytes,
        since: Some(since),
        urgent,
    }
}

fn list(partitions: usize) -> ReadyList<usize> {
    let mut list = ReadyList::new(ENOUGH);
    for partition in 0..partitions {
        assert_eq!(list.join(partition), partition);
    }
    list
}

fn drain(list: &mut ReadyList<usize>) -> Vec<usize> {
    let round = list.round();
    std::iter::from_fn(|| list.pop(round)).collect()
}

#[test]
fn the_longest_waiting_partition_is_drained_first_whatever_order_they_came_in() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut list = list(5);
    list.update(0, ready(10, at(3), false));
    list.update(1, ready(10, at(1), false));
    list.update(2, ready(10, at(2), true));
    list.update(3, Readiness::Nothing);
    let again = Readiness::Ready {
        bytes: 1,
        since: None,
        urgent: true,
    };
    list.update(4, again);
    assert_eq!(drain(&mut list), [4, 1, 2, 0]);
    assert_eq!(list.is_due(at(100), LINGER, true), Err(None));
}

#[test]
fn what_comes_in_during_a_round_waits_for_the_next() {
    let now = Instant::now();
    let mut list = list(2);
    list.update(0, ready(10, now, true));
    let round = list.round();
    assert_eq!(list.pop(round), Some(0));
    list.update(0, ready(10, now, true));
    list.update(1, ready(10, now, false));
    assert_eq!(list.pop(round), None);
    assert_eq!(drain(&mut list), [0, 1]);
}

#[test]
fn the_sender_is_woken_for_the_first_the_urgent_and_enough() {
    let now = Instant::now();
    let mut list = list(4);
    let later = now + LINGER;
    assert!(list.update(0, ready(100, now, false)).wake);
    assert!(!list.update(1, ready(100, later, false)).wake);
    assert!(list.update(2, ready(100, now, true)).wake);
    assert!(!list.update(2, ready(200, now, true)).wake);
    let enough = 3 * PARTITION_BYTES;
    let changed = list.update(1, ready(enough, later, false));
    assert!(changed.wake && changed.enough);
    // Those who enqueue are not stopped again for a few bytes more.
    let changed = list.update(1, ready(enough + 10, later, false));
    assert!(!changed.wake && !changed.enough);
    let changed = list.update(1, ready(enough + 10 + YIELD_BYTES, later, false));
    assert!(!changed.wake && changed.enough);
    // What had to wait for something else may be the oldest.
    let older = now - LINGER;
    assert!(list.update(3, ready(1, older, false)).wake);
}

#[test]
fn it_is_time_to_send_when_the_oldest_is_ripe_or_there_is_enough_or_nothing_is_under_way() {
    let now = Instant::now();
    let mut list = list(1_000);
    list.update(0, ready(600, now, false));
    assert_eq!(list.is_due(now, LINGER, false), Err(Some(now + LINGER)));
    assert_eq!(list.is_due(now, LINGER, true), Ok(()));
    assert_eq!(list.is_due(now + LINGER, LINGER, false), Ok(()));
    // Few bytes of many partitions are not enough: a batch costs as much as many records.
    for partition in 1..1_000 {
        list.update(partition, ready(7, now, false));
    }
    assert!(list.is_due(now, LINGER, false).is_err());
    list.update(0, ready(1_400, now, false));
    assert_eq!(list.is_due(now, LINGER, false), Ok(()));
}

#[test]
fn what_is_to_be_sent_later_becomes_urgent_at_its_moment() {
    let now = Instant::now();
    let moment = now + Duration::from_secs(1);
    let mut list = list(2);
    assert!(list.update(0, Readiness::NotBefore(moment)).wake);
    assert!(!list.update(0, Readiness::NotBefore(moment)).wake);
    assert_eq!(list.is_due(now, LINGER, true), Err(Some(moment)));
    assert_eq!(drain(&mut list), [0_usize; 0]);
    assert_eq!(list.is_due(moment, LINGER, false), Ok(()));
    assert_eq!(drain(&mut list), [0]);
}

/// Whatever happens in whatever order: exactly what the partitions said last is drained, and sums are right.
#[test]
fn nothing_is_forgotten_and_nothing_is_drained_twice() {
    for seed in 0..200 {
        let mut random = Random::seeded(seed);
        let start = Instant::now();
        let mut list = list(6);
        let mut said = vec![Readiness::Nothing; 6];
        for step in 0..200 {
            let now = start + Duration::from_millis(step);
            let slot = random.below(6);
            match random.below(8) {
                0 => {
                    list.leave(slot);
                    assert_eq!(list.join(slot), slot);
                    said[slot] = Readiness::Nothing;
                }
                1 => {
                    let round = list.round();
                    let popped = list.pop(round);
                    let expected = said
                        .iter()
                        .any(|said| matches!(said, Readiness::Ready { .. }));
                    assert_eq!(popped.is_some(), expected, "seed {seed}, step {step}");
                    if let Some(popped) = popped {
                        assert!(matches!(said[popped], Readiness::Ready { .. }));
                        said[popped] = Readiness::Nothing;
                    }
                }
                2 => {
                    let moment = now + Duration::from_millis(random.below(20) as u64);
                    said[slot] = Readiness::NotBefore(moment);
                    list.update(slot, said[slot]);
                }
                3 => {
                    said[slot] = Readiness::Nothing;
                    list.update(slot, said[slot]);
                }
                4 => {
                    let _ = list.is_due(now, LINGER, false);
                    for said in &mut said {
                        if matches!(said, Readiness::NotBefore(moment) if *moment <= now) {
                            *said = Readiness::Ready {
                                bytes: 1,
                                since: None,
                                urgent: true,
                            };
                        }
                    }
                }
                kind => {
                    said[slot] = ready(random.below(900), now, kind == 7);
                    list.update(slot, said[slot]);
                }
            }
            let bytes = said.iter().map(|said| match said {
                Readiness::Ready { bytes, .. } => *bytes,
                _ => 0,
            });
            assert_eq!(list.bytes, bytes.sum::<usize>(), "seed {seed}, step {step}");
        }
    }
}
