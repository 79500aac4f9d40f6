//! Each test is a way in which a well-known client lost, doubled or reordered records; `any_order` plays thousands of random histories
//! against a model of a broker's log.

mod any_order;
mod epochs;
mod unknown_fate;

use proptest::prelude::*;
use protocol::ErrorCode;

use super::*;
use crate::kafka::producer::sender::outcome;

const LEADER: Leader = Leader { node: 1, epoch: 0 };
const NEXT_LEADER: Leader = Leader { node: 2, epoch: 1 };
const NONE: Duration = Duration::ZERO;
const IDEMPOTENT: outcome::Promise = outcome::Promise {
    waits_for_replicas: true,
    is_idempotent: true,
    is_transactional: false,
};

fn rules(discipline: Discipline) -> Rules {
    Rules {
        discipline,
        max_in_flight: 5,
        retries: u32::MAX,
    }
}

fn producer_id(producer_id: i64, epoch: i16) -> ProducerIdAndEpoch {
    ProducerIdAndEpoch {
        id: producer_id,
        epoch,
    }
}

/// An idempotent sequencer with producer id 7; contents are numbers.
fn sequencer() -> PartitionSequencer<u32> {
    let mut sequencer = PartitionSequencer::new(rules(Discipline::Sequences));
    assert!(sequencer.adopt(producer_id(7, 0)));
    sequencer
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// What a sender would do next.
fn next(
    sequencer: &mut PartitionSequencer<u32>,
    leader: Leader,
    content: u32,
) -> Option<Sequenced<u32>> {
    match sequencer.send_decision(Instant::now(), leader) {
        SendDecision::Retry => sequencer.retry(leader),
        SendDecision::New => Some(sequencer.start(leader, 10, later(), content)),
        SendDecision::Wait | SendDecision::Until(_) => None,
    }
}

fn fail(sequencer: &mut PartitionSequencer<u32>, batch: Sequenced<u32>, code: ErrorCode) {
    let error = Error::server(code, None);
    sequencer.failed(
        batch,
        outcome::of_code(code, IDEMPOTENT),
        error,
        Instant::now(),
        NONE,
    );
}

fn lose(sequencer: &mut PartitionSequencer<u32>, batch: Sequenced<u32>) {
    let error = Error::new(ErrorKind::Disconnected, "the connection ended");
    sequencer.failed(
        batch,
        outcome::of_error(&error),
        error,
        Instant::now(),
        NONE,
    );
}

fn sequence_of<T>(batch: &Sequenced<T>) -> (i16, i32) {
    let sequence = batch.sequence.expect("an idempotent batch has a sequence");
    (sequence.producer_id.epoch, sequence.base_sequence)
}

/// A sequencer that has had a success, and so may have several batches in flight.
fn confirmed_leader() -> PartitionSequencer<u32> {
    let mut sequencer = sequencer();
    let first = next(&mut sequencer, LEADER, 0).unwrap();
    sequencer.written(first, LEADER);
    sequencer
}

fn send(sequencer: &mut PartitionSequencer<u32>, count: u32) -> Vec<Sequenced<u32>> {
    (1..=count)
        .map(|content| next(sequencer, LEADER, content).unwrap())
        .collect()
}

/// franz-go #223: two requests in flight to a fresh leader landed out of order, since a broker accepts any first sequence.
#[test]
fn one_batch_is_in_flight_until_a_leader_has_acknowledged_one() {
    let mut sequencer = sequencer();
    let first = next(&mut sequencer, LEADER, 0).unwrap();
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    sequencer.written(first, LEADER);
    let in_flight = send(&mut sequencer, 5);
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    for batch in in_flight {
        sequencer.written(batch, LEADER);
    }
    // The partition moves: the new leader has acknowledged nothing yet.
    assert!(next(&mut sequencer, NEXT_LEADER, 6).is_some());
    assert_eq!(
        sequencer.send_decision(Instant::now(), NEXT_LEADER),
        SendDecision::Wait
    );
}

#[test]
fn nothing_goes_to_a_new_leader_while_anything_is_in_flight_to_the_old_one() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 2).into_iter();
    assert_eq!(
        sequencer.send_decision(Instant::now(), NEXT_LEADER),
        SendDecision::Wait
    );
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    );
    assert_eq!(
        sequencer.send_decision(Instant::now(), NEXT_LEADER),
        SendDecision::Wait
    );
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    );
    // In order, under their old sequences, one at a time.
    for expected in [(1, 10), (2, 20)] {
        let batch = next(&mut sequencer, NEXT_LEADER, 99).unwrap();
        assert_eq!(
            (batch.content, batch.sequence.unwrap().base_sequence),
            expected
        );
        assert_eq!(
            sequencer.send_decision(Instant::now(), NEXT_LEADER),
            SendDecision::Wait
        );
        sequencer.written(batch, NEXT_LEADER);
    }
}

#[test]
fn a_repeated_batch_goes_before_all_later_ones_whatever_the_order_of_failures() {
    let mut sequencer = confirmed_leader();
    let in_flight = send(&mut sequencer, 4);
    for batch in in_flight.into_iter().rev() {
        lose(&mut sequencer, batch);
    }
    for expected in 1..=4 {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!(
            (batch.content, sequence_of(&batch)),
            (expected, (0, 10 * expected as i32))
        );
        sequencer.written(batch, LEADER);
    }
}

/// KAFKA-13794: the wrong in-flight batch was removed after two batches compared equal.
#[test]
fn batches_have_identity_even_if_they_look_alike() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = (0..3)
        .map(|_| next(&mut sequencer, LEADER, 5).unwrap())
        .collect::<Vec<_>>();
    let last = in_flight.pop().unwrap();
    let first = in_flight.remove(0);
    lose(&mut sequencer, last);
    lose(&mut sequencer, first);
    // The second is still in flight and still accounted for.
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    sequencer.written(in_flight.pop().unwrap(), LEADER);
    assert_eq!(
        sequence_of(&next(&mut sequencer, LEADER, 9).unwrap()),
        (0, 10)
    );
}

/// Dekaf #1696: 2% of the records came out of order on a healthy broker (idempotence off, several in flight, a retry).
#[test]
fn without_idempotence_one_batch_is_in_flight_while_it_may_have_to_be_repeated() {
    let mut sequencer = PartitionSequencer::new(rules(Discipline::OneByOne));
    for content in 0..1_000 {
        let mut batch = next(&mut sequencer, LEADER, content).unwrap();
        assert_eq!(
            sequencer.send_decision(Instant::now(), LEADER),
            SendDecision::Wait
        );
        if content % 50 == 0 {
            fail(&mut sequencer, batch, ErrorCode::NOT_ENOUGH_REPLICAS);
            batch = next(&mut sequencer, LEADER, 99_999).unwrap();
        }
        assert_eq!(batch.content, content);
        assert_eq!(batch.sequence, None);
        sequencer.written(batch, LEADER);
    }
}

#[test]
fn a_backoff_holds_the_partition_until_it_is_over_or_the_leader_changes() {
    let mut sequencer = confirmed_leader();
    let batch = send(&mut sequencer, 1).remove(0);
    let now = Instant::now();
    let error = Error::server(ErrorCode::NOT_LEADER_OR_FOLLOWER, None);
    let pause = Duration::from_secs(9);
    sequencer.failed(
        batch,
        ProduceOutcome::Retry(WriteOutcome::NotWritten),
        error,
        now,
        pause,
    );
    assert_eq!(
        sequencer.send_decision(now, LEADER),
        SendDecision::Until(now + pause)
    );
    sequencer.leader_changed();
    assert_eq!(
        sequencer.send_decision(now, NEXT_LEADER),
        SendDecision::Retry
    );
}

/// One replica's log as a broker keeps it: the checks of `ProducerStateManager`, and the batches that passed them.
#[derive(Default)]
struct Log {
    batches: Vec<u32>,
    /// Producer id and epoch, the next sequence, and the last five batches.
    state: Option<(ProducerIdAndEpoch, i32, Vec<i32>)>,
}

impl Log {
    fn append(&mut self, batch: &Sequenced<u32>) -> ErrorCode {
        let sequence = batch.sequence.expect("numbered");
        let (producer_id, sequence) = (sequence.producer_id, sequence.base_sequence);
        match &mut self.state {
            Some((known, next, last)) if *known == producer_id => {
                if last.contains(&sequence) {
                    return ErrorCode::DUPLICATE_SEQUENCE_NUMBER;
                }
                if sequence != *next {
                    return ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
                }
                *next = advance(sequence, batch.count);
                last.push(sequence);
                if last.len() > 5 {
                    last.remove(0);
                }
            }
            Some((known, ..)) if known.id == producer_id.id && known.epoch > producer_id.epoch => {
                return ErrorCode::INVALID_PRODUCER_EPOCH;
            }
            Some((known, ..)) if known.id == producer_id.id && sequence != 0 => {
                return ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER;
            }
            // A broker that knows nothing of the producer accepts any first sequence.
            _ => self.state = Some((producer_id, advance(sequence, batch.count), vec![sequence])),
        }
        self.batches.push(batch.content);
        ErrorCode::NONE
    }
}
