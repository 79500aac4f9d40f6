use std::time::Duration;

use proptest::prelude::*;
use protocol::Uuid;
use tokio::time::Instant;

use super::*;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Error, ErrorKind};

const NODE: i32 = 1;

fn place(index: i32) -> Place {
    (NODE, (Uuid::from_u128(7), index))
}

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new("queue", index)
}

fn holding(offsets: impl IntoIterator<Item = i64>) -> (Ledger, Instant) {
    let (mut ledger, expires) = (Ledger::default(), Instant::now() + Duration::from_secs(60));
    for offset in offsets {
        ledger.hand_out(place(0), &partition(0), offset, expires);
    }
    (ledger, expires)
}

fn run(first: i64, last: i64, kind: i8) -> Run {
    Run { first, last, kind }
}

#[test]
fn what_is_decided_goes_out_in_runs_and_only_once() {
    let (mut ledger, _) = holding(0..10);
    for offset in 0..4 {
        assert!(ledger.acknowledge(place(0), offset, ACCEPT));
    }
    assert!(!ledger.acknowledge(place(0), 3, RELEASE), "it was decided");
    assert!(!ledger.acknowledge(place(0), 99, ACCEPT), "nobody holds it");
    assert!(
        !ledger.acknowledge(place(1), 5, ACCEPT),
        "nobody holds it there"
    );
    assert!(ledger.acknowledge(place(0), 4, REJECT));
    ledger.pass(place(0), &partition(0), [run(10, 12, GAP)]);
    assert!(
        !ledger.has_to_send(NODE),
        "nothing before a poll or a commit"
    );
    ledger.flush(None);
    let sent = ledger.send(NODE);
    let expected = [run(0, 3, ACCEPT), run(4, 4, REJECT), run(10, 12, GAP)];
    assert_eq!((sent.len(), &*sent[0].runs), (1, &expected[..]));
    assert!(!ledger.has_to_send(NODE) && ledger.send(NODE).is_empty());
    ledger.answered(place(0), &Ok(()));
    ledger.acknowledge_all(RELEASE);
    ledger.flush(None);
    assert_eq!(ledger.send(NODE)[0].runs, [run(5, 9, RELEASE)]);
    ledger.answered(place(0), &Ok(()));
    assert!(!ledger.has_any(NODE), "all of it is over");
}

#[test]
fn what_is_renewed_is_held_on_and_a_later_decision_replaces_it() {
    let (mut ledger, _) = holding([5]);
    assert!(ledger.acknowledge(place(0), 5, RENEW));
    ledger.flush(None);
    assert!(ledger.goes_alone(NODE, |_| true), "no fetch renews");
    assert_eq!(ledger.send(NODE)[0].runs, [run(5, 5, RENEW)]);
    ledger.answered(place(0), &Ok(()));
    assert!(ledger.acknowledge(place(0), 5, RENEW));
    ledger.flush(None);
    assert!(ledger.acknowledge(place(0), 5, ACCEPT));
    ledger.flush(None);
    assert_eq!(ledger.send(NODE)[0].runs, [run(5, 5, ACCEPT)]);
}

#[test]
fn records_whose_locks_are_over_are_forgotten() {
    let (mut ledger, expires) = holding([1]);
    ledger.expire(expires - Duration::from_millis(1));
    assert!(ledger.has_any(NODE));
    ledger.expire(expires);
    assert!(!ledger.has_any(NODE) && !ledger.acknowledge(place(0), 1, ACCEPT));
}

/// However often: a handler may be at work for longer than any lock.
#[test]
fn what_is_locked_anew_is_held_for_longer() {
    let (mut ledger, expires) = holding(0..2);
    for nth in 1..10 {
        let later = expires + Duration::from_secs(60) * nth;
        ledger.keep(place(0), 1, later);
        ledger.keep(place(0), 1, expires);
        ledger.keep(place(0), 7, later);
        ledger.expire(later - Duration::from_millis(1));
        assert!(ledger.acknowledge(place(0), 1, RENEW));
        assert!(!ledger.acknowledge(place(0), 0, RENEW), "it timed out");
        assert!(!ledger.acknowledge(place(0), 7, RENEW), "nobody held it");
    }
    assert!(ledger.acknowledge(place(0), 1, ACCEPT));
}

#[tokio::test]
async fn a_ticket_waits_for_what_is_sent_and_what_is_under_way_and_the_error_counts() {
    let tasks = Tasks::new().expect("in a runtime");
    let (mut ledger, expires) = holding([1]);
    ledger.acknowledge_all(ACCEPT);
    ledger.flush(None);
    ledger.send(NODE);
    ledger.hand_out(place(0), &partition(0), 2, expires);
    ledger.hand_out(place(1), &partition(1), 2, expires);
    ledger.acknowledge_all(ACCEPT);
    let (ticket, pending) = Ticket::new(&tasks);
    ledger.flush(Some(&ticket));
    ticket.complete();
    let mut pending = std::pin::pin!(pending);
    ledger.answered(place(0), &Err(Error::new(ErrorKind::Timeout, "late")));
    assert!(futures_now(pending.as_mut()).is_none(), "more is awaited");
    assert_eq!(ledger.send(NODE).len(), 2);
    ledger.answered(place(0), &Ok(()));
    ledger.answered(place(1), &Ok(()));
    let results = pending.await.expect("nothing was closed");
    assert!(results[&partition(0)].is_err() && results[&partition(1)].is_ok());
    let (ticket, pending) = Ticket::new(&tasks);
    ledger.flush(Some(&ticket));
    ticket.complete();
    assert!(pending.await.expect("at once").is_empty());
}

/// What a future is, if it is ready.
fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

proptest! {
    #[test]
    fn each_record_is_sent_as_it_was_decided_last_and_none_without(
        decisions in prop::collection::vec((0..20i64, 1..=4i8), 0..60)
    ) {
        let (mut ledger, _) = holding(0..20);
        let mut expected = BTreeMap::new();
        for (offset, kind) in decisions {
            let is_open = !matches!(expected.get(&offset), Some(kind) if *kind != RENEW);
            prop_assert_eq!(ledger.acknowledge(place(0), offset, kind), is_open);
            if is_open {
                expected.insert(offset, kind);
            }
        }
        ledger.flush(None);
        let sent = ledger.send(NODE);
        let runs = sent.iter().flat_map(|sent| &sent.runs);
        let named: Vec<(i64, i8)> = runs.flat_map(|run| (run.first..=run.last).map(|it| (it, run.kind))).collect();
        prop_assert_eq!(named, expected.into_iter().collect::<Vec<_>>());
    }
}
