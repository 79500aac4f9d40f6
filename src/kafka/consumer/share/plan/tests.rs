use protocol::Uuid;

use super::super::acquired::Acquired;
use super::super::ledger::{ACCEPT, RENEW};
use super::*;
use crate::kafka::ErrorKind;
use crate::kafka::consumer::fetch::memory::Fetched;
use crate::kafka::runtime::Budget;

const BATCHES: AcquireMode = AcquireMode::BatchOptimized;
const LIMIT: AcquireMode = AcquireMode::RecordLimit;

fn id(index: i32) -> IdPartition {
    (Uuid::from_u128(1), index)
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("queue", index)
}

/// Each of these brokers leads the partition of its number.
fn led_by(nodes: impl IntoIterator<Item = i32>) -> Work {
    let mut work = Work::default();
    for node in nodes {
        let led = Partitions::from([(id(node), partition(node))]);
        work.leaders.insert(node, Arc::new(led));
        work.begin(node);
    }
    work
}

/// A record of the partition of this number, acquired at `node`, is acknowledged.
fn acknowledge(work: &mut Work, node: i32, index: i32, kind: i8, now: Instant) {
    let place = (node, id(index));
    let expires = now + Duration::from_secs(30);
    work.ledger.hand_out(place, &partition(index), 0, expires);
    assert!(work.ledger.acknowledge(place, 0, kind));
    work.ledger.flush(None);
}

#[test]
fn a_broker_is_asked_once_for_each_poll_that_finds_nothing() {
    let now = Instant::now();
    let mut work = led_by([1, 2]);
    assert_eq!(work.plan(1, false, BATCHES, now), Plan::Wait(None));
    work.set_hungry(true, BATCHES);
    work.set_hungry(false, BATCHES);
    for node in [1, 2] {
        assert_eq!(work.plan(node, false, BATCHES, now), Plan::Fetch);
        work.fetch_began(node, BATCHES);
        assert_eq!(work.plan(node, true, BATCHES, now), Plan::Wait(None));
    }
    work.set_hungry(true, BATCHES);
    assert_eq!(
        work.plan(1, true, BATCHES, now),
        Plan::Wait(None),
        "one is under way"
    );
    work.fetch_over(1);
    work.set_hungry(true, BATCHES);
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Fetch);
    work.set_sated();
    assert_eq!(
        work.plan(1, true, BATCHES, now),
        Plan::Wait(None),
        "a poll has some"
    );
    assert_eq!(
        work.plan(3, true, BATCHES, now),
        Plan::Close,
        "it leads nothing"
    );
}

#[test]
fn under_a_limit_one_broker_at_a_time_is_asked_and_all_in_turn() {
    let now = Instant::now();
    let mut work = led_by([1, 2, 3]);
    let mut asked = Vec::new();
    for _ in 0..6 {
        work.set_hungry(true, LIMIT);
        let due = [1, 2, 3]
            .into_iter()
            .filter(|node| work.plan(*node, true, LIMIT, now) == Plan::Fetch);
        let due: Vec<i32> = due.collect();
        assert_eq!(due.len(), 1, "{due:?}");
        work.fetch_began(due[0], LIMIT);
        work.set_hungry(true, LIMIT);
        for node in [1, 2, 3] {
            assert_eq!(work.plan(node, true, LIMIT, now), Plan::Wait(None));
        }
        work.fetch_over(due[0]);
        asked.extend(due);
    }
    assert_eq!(asked, [1, 2, 3, 1, 2, 3]);
    let error = Error::new(ErrorKind::Disconnected, "gone");
    let (patience, pause) = (Duration::from_secs(9), Duration::from_secs(1));
    work.failed(1, error, now, patience, |_| pause);
    work.set_hungry(true, LIMIT);
    assert_eq!(
        work.plan(1, true, LIMIT, now),
        Plan::Wait(Some(now + pause))
    );
    assert_eq!(
        work.plan(2, true, LIMIT, now),
        Plan::Fetch,
        "no turn of one that fails"
    );
}

#[test]
fn acknowledgements_go_along_with_a_fetch_and_alone_where_they_cannot() {
    let now = Instant::now();
    let mut work = led_by([1]);
    acknowledge(&mut work, 1, 1, ACCEPT, now);
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Acknowledge);
    assert_eq!(work.plan(1, false, BATCHES, now), Plan::GiveUp);
    work.set_hungry(true, BATCHES);
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Fetch);
    assert_eq!(
        work.plan(1, false, BATCHES, now),
        Plan::Fetch,
        "it opens the session"
    );
    acknowledge(&mut work, 1, 5, ACCEPT, now);
    assert_eq!(
        work.plan(1, true, BATCHES, now),
        Plan::Acknowledge,
        "of one not fetched"
    );
    work.ledger.send(1);
    work.ledger.answered((1, id(1)), &Ok(()));
    work.ledger.answered((1, id(5)), &Ok(()));
    acknowledge(&mut work, 1, 1, RENEW, now);
    assert_eq!(
        work.plan(1, true, BATCHES, now),
        Plan::Acknowledge,
        "no fetch renews"
    );
}

/// The end of the session would give it to others, and a poll to the application.
#[test]
fn a_session_goes_on_while_what_was_acquired_in_it_waits_to_be_polled() {
    let now = Instant::now();
    let mut work = led_by([1]);
    let one = Acquired {
        first: 0,
        last: 0,
        delivery_count: 1,
    };
    let reservation = Budget::new(1 << 20, None).reserve(0);
    work.buffers.push_back(AcquiredReader::new(
        (1, id(1)),
        partition(1),
        [one].into(),
        bytes::Bytes::new(),
        now + Duration::from_secs(30),
        Arc::new(Fetched::in_frame(reservation, None)),
    ));
    work.leaders.clear();
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Wait(None));
    work.buffers.clear();
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Close);
}

#[test]
fn a_session_ends_when_nothing_is_led_or_held_there_and_when_the_member_leaves() {
    let now = Instant::now();
    let mut work = led_by([1]);
    acknowledge(&mut work, 1, 1, RENEW, now);
    work.leaders.clear();
    work.ledger.send(1);
    work.ledger.answered((1, id(1)), &Ok(()));
    assert_eq!(
        work.plan(1, true, BATCHES, now),
        Plan::Wait(None),
        "a record is held"
    );
    assert!(work.ledger.acknowledge((1, id(1)), 0, ACCEPT));
    work.ledger.flush(None);
    work.is_leaving = true;
    assert_eq!(work.plan(1, false, BATCHES, now), Plan::GiveUp);
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Close);
    work.ledger.give_up(1, &Ok(()));
    assert_eq!(work.plan(1, false, BATCHES, now), Plan::Retire);
    work.is_leaving = false;
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Close);
    assert_eq!(work.plan(1, false, BATCHES, now), Plan::Retire);
}

#[test]
fn what_goes_on_failing_is_told_once_in_a_while_and_what_needs_a_person_soon() {
    let start = Instant::now();
    let (patience, pause) = (Duration::from_secs(10), Duration::from_secs(1));
    let mut told = 0;
    let mut work = led_by([1]);
    for second in 0..25 {
        let (error, now) = (
            Error::new(ErrorKind::Disconnected, "gone"),
            start + pause * second,
        );
        work.failed(1, error, now, patience, |_| pause);
        told += usize::from(work.next_error().is_some());
    }
    assert_eq!(told, 2);
    let mut work = led_by([1]);
    for attempt in 1..4 {
        let error = Error::new(ErrorKind::UnsupportedVersion, "old");
        work.failed(1, error, start, patience, |_| pause);
        assert_eq!(work.next_error().is_some(), attempt == 2);
    }
}

#[test]
fn what_a_broker_says_of_a_partition_again_and_again_is_told_once_in_a_while() {
    let start = Instant::now();
    let patience = Duration::from_secs(30);
    let at = |second| start + Duration::from_secs(second);
    let lie = || Error::new(ErrorKind::Protocol, "acquired what cannot be");
    let mut work = led_by([1, 2]);
    let about = (1, Some(id(1)));
    work.refused(about, lie(), at(0), patience);
    // The records stay locked: there is nothing to say meanwhile.
    work.accepted((1, id(1)), false);
    work.succeeded(1);
    assert!(work.next_error().is_none());
    work.refused(about, lie(), at(30), patience);
    let told = work.next_error().expect("it goes on");
    assert_eq!(told.kind(), ErrorKind::Protocol);
    work.refused(about, lie(), at(31), patience);
    assert!(work.next_error().is_none(), "it was told just now");
    work.accepted((1, id(1)), true);
    work.refused(about, lie(), at(70), patience);
    assert!(work.next_error().is_none(), "something was read in between");
    work.refused(about, lie(), at(200), patience);
    assert!(work.next_error().is_none(), "it was over");
    // One that is led elsewhere by now.
    work.leaders.remove(&1);
    work.refused((2, Some(id(2))), lie(), at(201), patience);
    assert_eq!(work.refusals.len(), 1);
}

#[test]
fn a_broker_whose_batches_cannot_be_read_is_left_alone_for_longer_each_time() {
    let now = Instant::now();
    let mut work = led_by([1]);
    work.set_hungry(true, BATCHES);
    let pause = |times| Duration::from_secs(u64::from(times));
    for times in 1..=3 {
        work.was_read(1, now, Some(pause));
        let until = now + Duration::from_secs(times);
        assert_eq!(work.plan(1, true, BATCHES, now), Plan::Wait(Some(until)));
        // What it answers meanwhile is no sign that they can be read.
        work.succeeded(1);
    }
    work.was_read(1, now, None::<fn(u32) -> Duration>);
    work.was_read(1, now, Some(pause));
    let until = now + Duration::from_secs(1);
    assert_eq!(work.plan(1, true, BATCHES, now), Plan::Wait(Some(until)));
}
