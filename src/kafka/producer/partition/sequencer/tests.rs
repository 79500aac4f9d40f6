//! Each test is a way in which a well-known client lost, doubled or reordered records; the last ones run thousands of random histories
//! against a model of a broker's log.

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

/// KAFKA-12152, Dekaf #3342: after an epoch bump, idle partitions kept their old sequences. Here epoch and sequence are the partition's
/// own, so that neither can change without the other.
#[test]
fn a_new_epoch_starts_at_sequence_zero() {
    let mut sequencer = confirmed_leader();
    let batch = send(&mut sequencer, 1).remove(0);
    assert_eq!(sequence_of(&batch), (0, 10));
    fail(
        &mut sequencer,
        batch,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    );
    let batch = next(&mut sequencer, LEADER, 99).unwrap();
    assert_eq!((batch.content, sequence_of(&batch)), (1, (1, 0)));
    sequencer.written(batch, LEADER);
    assert_eq!(
        sequence_of(&next(&mut sequencer, LEADER, 2).unwrap()),
        (1, 10)
    );
}

/// librdkafka #4953: a sequence error on one partition bumped the shared epoch and doubled another partition's batches.
#[test]
fn recovery_of_one_partition_leaves_the_others_alone() {
    let (mut broken, mut healthy) = (confirmed_leader(), confirmed_leader());
    let in_flight = send(&mut healthy, 3);
    let batch = send(&mut broken, 1).remove(0);
    fail(&mut broken, batch, ErrorCode::UNKNOWN_PRODUCER_ID);
    assert_eq!(sequence_of(&next(&mut broken, LEADER, 9).unwrap()), (1, 0));
    for batch in in_flight {
        lose(&mut healthy, batch);
    }
    for sequence in [10, 20, 30] {
        let batch = next(&mut healthy, LEADER, 9).unwrap();
        assert_eq!(sequence_of(&batch), (0, sequence));
        healthy.written(batch, LEADER);
    }
}

/// What was in flight behind the refused batch keeps its place behind it under the new epoch.
#[test]
fn epoch_bump_keeps_order_after_unknown_producer_id() {
    let mut sequencer = confirmed_leader();
    for batch in send(&mut sequencer, 4) {
        // No new epoch before the last of them is resolved.
        assert_eq!(sequencer.producer_id.unwrap().epoch, 0);
        fail(&mut sequencer, batch, ErrorCode::UNKNOWN_PRODUCER_ID);
    }
    for expected in 1..=4 {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!(
            (batch.content, sequence_of(&batch)),
            (expected, (1, 10 * (expected as i32 - 1)))
        );
        sequencer.written(batch, LEADER);
    }
    assert!(sequencer.given_up().is_empty());
}

/// librdkafka #3584, confluent-kafka-go #830: an out-of-order sequence at the head of line killed the whole producer.
#[test]
fn an_out_of_order_sequence_at_the_head_is_recovered_from() {
    let mut sequencer = confirmed_leader();
    for round in 1..=50i16 {
        let batch = next(&mut sequencer, LEADER, 1).unwrap();
        fail(
            &mut sequencer,
            batch,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        );
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!(sequence_of(&batch), (round, 0));
        sequencer.written(batch, LEADER);
    }
    assert!(sequencer.given_up().is_empty());
}

#[test]
fn an_out_of_order_sequence_behind_a_failed_batch_is_no_reason_for_a_new_epoch() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 3).into_iter();
    lose(&mut sequencer, in_flight.next().unwrap());
    for batch in in_flight {
        fail(
            &mut sequencer,
            batch,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        );
    }
    for sequence in [10, 20, 30] {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!(sequence_of(&batch), (0, sequence));
        sequencer.written(batch, LEADER);
    }
}

/// KAFKA-14034, franz-go 1.20.7 #1217: a batch of unknown outcome was taken as "not written" and sent again under a new sequence, or
/// cancelled, and what followed was deduplicated away.
#[test]
fn a_batch_of_unknown_fate_is_repeated_as_it_was_or_reported_as_unknown_never_renumbered() {
    for code in [
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
    ] {
        let mut sequencer = confirmed_leader();
        let batch = send(&mut sequencer, 1).remove(0);
        fail(&mut sequencer, batch, code);
        let again = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!(sequence_of(&again), (0, 10));
        // The broker has forgotten us: whether the first attempt was written can no longer be found out.
        fail(&mut sequencer, again, ErrorCode::UNKNOWN_PRODUCER_ID);
        let lost = sequencer.given_up();
        assert_eq!(lost.len(), 1);
        assert_eq!(lost[0].1.outcome(), WriteOutcome::Unknown);
        // What follows is under an epoch of its own, so that it cannot be taken for the lost one.
        assert_eq!(
            sequence_of(&next(&mut sequencer, LEADER, 2).unwrap()),
            (1, 0)
        );
    }
}

/// KAFKA-14034: UNKNOWN_SERVER_ERROR was taken as "not written". The broker settles it when the batch comes again.
#[test]
fn an_unknown_server_error_is_settled_by_sending_the_batch_again_as_it_was() {
    let mut sequencer = confirmed_leader();
    for batch in send(&mut sequencer, 3) {
        fail(&mut sequencer, batch, ErrorCode::UNKNOWN_SERVER_ERROR);
    }
    assert!(sequencer.given_up().is_empty());
    for expected in [(1, (0, 10)), (2, (0, 20)), (3, (0, 30))] {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!((batch.content, sequence_of(&batch)), expected);
        sequencer.written(batch, LEADER);
    }
}

/// One whose time is over before that leaves a hole, and what follows goes on under an epoch of its own.
#[test]
fn after_a_batch_of_unknown_fate_the_following_ones_get_an_epoch_of_their_own() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 3).into_iter();
    let mut first = in_flight.next().unwrap();
    first.deadline = Instant::now();
    fail(&mut sequencer, first, ErrorCode::UNKNOWN_SERVER_ERROR);
    let lost = sequencer.given_up();
    assert_eq!(
        (lost.len(), lost[0].1.outcome()),
        (1, WriteOutcome::Unknown)
    );
    // Nothing moves before the others in flight are resolved.
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    for batch in in_flight {
        fail(
            &mut sequencer,
            batch,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
        );
    }
    for expected in [(2, (1, 0)), (3, (1, 10))] {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!((batch.content, sequence_of(&batch)), expected);
        sequencer.written(batch, LEADER);
    }
}

/// Refused records held up their partition for a backoff each, though nothing was to be repeated; and what was in flight behind them,
/// refused for the hole in the sequences, did so once more.
#[test]
fn a_final_refusal_does_not_pause_the_partition() {
    for code in ErrorCode::all() {
        let promise = outcome::Promise {
            is_idempotent: false,
            ..IDEMPOTENT
        };
        let outcome = outcome::of_code(code, promise);
        if !matches!(outcome, ProduceOutcome::Fail(_) | ProduceOutcome::TooLarge) {
            continue;
        }
        let mut sequencer = confirmed_leader();
        let mut in_flight = send(&mut sequencer, 3).into_iter();
        let (now, pause) = (Instant::now(), Duration::from_secs(9));
        let error = Error::server(code, None);
        sequencer.failed(in_flight.next().unwrap(), outcome, error, now, pause);
        for batch in in_flight {
            let error = Error::server(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, None);
            sequencer.failed(batch, ProduceOutcome::OutOfSequence, error, now, pause);
        }
        assert_eq!(
            sequencer.send_decision(now, LEADER),
            SendDecision::Retry,
            "{}",
            code.name()
        );
        assert_eq!(sequencer.given_up().len(), 1);
    }
}

/// The same where a batch is given up for want of further attempts or of time.
#[test]
fn a_batch_that_is_given_up_does_not_pause_the_partition() {
    let error = || Error::server(ErrorCode::NOT_ENOUGH_REPLICAS, None);
    let (now, pause) = (Instant::now(), Duration::from_secs(9));
    let retry = ProduceOutcome::Retry(WriteOutcome::NotWritten);
    let mut sequencer = PartitionSequencer::new(Rules {
        retries: 0,
        ..rules(Discipline::OneByOne)
    });
    let batch = next(&mut sequencer, LEADER, 0).unwrap();
    sequencer.failed(batch, retry, error(), now, pause);
    assert_eq!(sequencer.send_decision(now, LEADER), SendDecision::New);
    let mut sequencer = confirmed_leader();
    let mut batch = next(&mut sequencer, LEADER, 0).unwrap();
    batch.deadline = now;
    sequencer.failed(batch, retry, error(), now, pause);
    assert_eq!(sequencer.send_decision(now, LEADER), SendDecision::New);
}

/// KIP-467: what is left when a broker refused some records of a batch keeps its place, and the numbering goes on without a hole.
#[test]
fn what_is_left_of_a_batch_goes_out_in_its_place_under_new_sequences() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 3).into_iter();
    assert_eq!(
        sequencer.records_removed(in_flight.next().unwrap(), 7),
        None
    );
    // Nothing moves before the others in flight are resolved.
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    let second = in_flight.next().unwrap();
    assert_eq!(sequencer.records_removed(second, 0), Some(2));
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    );
    for expected in [(1, 7, (0, 10)), (3, 10, (0, 17))] {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        assert_eq!((batch.content, batch.count, sequence_of(&batch)), expected);
        sequencer.written(batch, LEADER);
    }
}

#[test]
fn the_search_for_refused_records_ends_where_nothing_is_ever_taken() {
    let mut sequencer = confirmed_leader();
    let mut batch = send(&mut sequencer, 1).remove(0);
    let mut refusals = 0;
    while sequencer.may_search(&batch) {
        refusals += 1;
        assert!(refusals < 1_000);
    }
    assert!(refusals >= 40, "too few to find one among a million");
    // The next batch, and one of which something was taken, are looked through.
    batch.order.0 += 1;
    assert!(sequencer.may_search(&batch));
    batch.count = 1;
    assert!(!sequencer.may_search(&batch));
}

/// librdkafka #4438: the sequence went on after a batch that was only possibly written.
#[test]
fn the_next_sequence_follows_the_last_batch_whose_fate_is_known() {
    let mut sequencer = confirmed_leader();
    let in_flight = send(&mut sequencer, 3);
    let mut in_flight = in_flight.into_iter();
    sequencer.written(in_flight.next().unwrap(), LEADER);
    // Certainly not written, never to be repeated: its sequences are free again.
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::INVALID_RECORD,
    );
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    );
    assert_eq!(
        sequencer.given_up()[0].1.outcome(),
        WriteOutcome::NotWritten
    );
    let batch = next(&mut sequencer, LEADER, 99).unwrap();
    assert_eq!((batch.content, sequence_of(&batch)), (3, (0, 20)));
}

#[test]
fn a_batch_given_up_at_its_deadline_says_whether_it_may_have_been_written() {
    for (sent, outcome) in [
        (true, WriteOutcome::Unknown),
        (false, WriteOutcome::NotWritten),
    ] {
        let mut sequencer = confirmed_leader();
        let batch = sequencer.start(LEADER, 10, Instant::now() + Duration::from_millis(1), 1);
        if sent {
            lose(&mut sequencer, batch);
        } else {
            fail(&mut sequencer, batch, ErrorCode::NOT_ENOUGH_REPLICAS);
        }
        sequencer.expire(Instant::now() + Duration::from_millis(2), None);
        let lost = sequencer.given_up();
        assert_eq!(
            (lost[0].1.kind(), lost[0].1.outcome()),
            (ErrorKind::Timeout, outcome)
        );
        // Under the old epoch only if the broker certainly stands where we think.
        let expected = if sent { (1, 0) } else { (0, 10) };
        assert_eq!(
            sequence_of(&next(&mut sequencer, LEADER, 2).unwrap()),
            expected
        );
    }
}

/// Dekaf #3341: epoch 32767 looped for ever.
#[test]
fn an_exhausted_epoch_gets_a_new_producer_id() {
    let mut sequencer = PartitionSequencer::new(rules(Discipline::Sequences));
    sequencer.adopt(producer_id(7, i16::MAX));
    let batch = next(&mut sequencer, LEADER, 1).unwrap();
    fail(
        &mut sequencer,
        batch,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    );
    assert_eq!(
        sequencer.send_decision(Instant::now(), LEADER),
        SendDecision::Wait
    );
    // The same id again is no help.
    assert!(!sequencer.adopt(producer_id(7, 0)));
    assert!(sequencer.adopt(producer_id(8, 0)));
    let batch = next(&mut sequencer, LEADER, 99).unwrap();
    assert_eq!(
        (batch.content, batch.sequence.unwrap().producer_id),
        (1, producer_id(8, 0))
    );
}

#[test]
fn a_fenced_producer_id_is_given_up() {
    let mut sequencer = confirmed_leader();
    let batch = send(&mut sequencer, 1).remove(0);
    fail(&mut sequencer, batch, ErrorCode::INVALID_PRODUCER_EPOCH);
    assert!(sequencer.wants_producer_id() && !sequencer.adopt(producer_id(7, 0)));
    assert!(sequencer.adopt(producer_id(8, 0)));
    let batch = next(&mut sequencer, LEADER, 99).unwrap();
    assert_eq!((batch.content, sequence_of(&batch)), (1, (0, 0)));
}

/// librdkafka 1.9.0: a topic briefly missing from metadata dropped its sequences, and the reused ones were taken for duplicates. A sequencer is
/// told of new leaders and of new topics, and of nothing else that metadata says.
#[test]
fn sequences_outlive_changes_of_leader_and_die_with_the_topic_id() {
    let mut sequencer = confirmed_leader();
    sequencer.leader_changed();
    let batch = next(&mut sequencer, NEXT_LEADER, 1).unwrap();
    assert_eq!(sequence_of(&batch), (0, 10));
    sequencer.topic_recreated();
    // Not before what is in flight is resolved.
    assert_eq!(
        sequencer.send_decision(Instant::now(), NEXT_LEADER),
        SendDecision::Wait
    );
    fail(&mut sequencer, batch, ErrorCode::UNKNOWN_TOPIC_ID);
    let batch = next(&mut sequencer, NEXT_LEADER, 99).unwrap();
    assert_eq!((batch.content, sequence_of(&batch)), (1, (1, 0)));
}

#[test]
fn the_parts_of_a_batch_that_was_too_large_keep_its_place_and_its_sequences() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 2).into_iter();
    sequencer.split(in_flight.next().unwrap(), 4, 100);
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
    );
    let mut order = Vec::new();
    for _ in 0..5 {
        let batch = next(&mut sequencer, LEADER, 99).unwrap();
        order.push((batch.content, sequence_of(&batch).1, batch.count));
        if order.len() == 2 {
            // The rest is too large as well.
            sequencer.split(batch, 1, 102);
        } else {
            sequencer.written(batch, LEADER);
        }
    }
    let expected = [
        (100, 10, 4),
        (1, 14, 6),
        (102, 14, 1),
        (1, 15, 5),
        (2, 20, 10),
    ];
    assert_eq!(order, expected);
}

#[test]
fn sequences_wrap_around_to_zero_as_brokers_expect() {
    assert_eq!(advance(i32::MAX, 1), 0);
    assert_eq!(advance(i32::MAX - 2, 10), 7);
    assert_eq!(advance(0, 5), 5);
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

/// What happens to the oldest request in flight.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Applied, but the answer is lost, and with it everything behind on the connection.
    AnswerLost,
    /// Never arrives, and nothing behind it does.
    RequestLost,
    Refused(ErrorCode),
    /// Applied, and then an ambiguous error.
    Ambiguous(ErrorCode),
    /// Refused for some of its records; so many are left.
    Thinned(u32),
    /// The broker forgets the producer, as after a truncation.
    Forgotten,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Refused(ErrorCode::NOT_ENOUGH_REPLICAS)),
        1 => Just(Fate::Refused(ErrorCode::INVALID_RECORD)),
        1 => (0..10u32).prop_map(Fate::Thinned),
        1 => Just(Fate::Refused(ErrorCode::UNKNOWN_SERVER_ERROR)),
        1 => Just(Fate::Ambiguous(ErrorCode::REQUEST_TIMED_OUT)),
        1 => Just(Fate::Ambiguous(ErrorCode::UNKNOWN_SERVER_ERROR)),
        1 => Just(Fate::Ambiguous(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        1 => Just(Fate::Forgotten),
    ]
}

/// What the application was told of each batch.
#[derive(Default)]
struct Told {
    written: Vec<u32>,
    failed: Vec<(u32, WriteOutcome)>,
}

/// Plays `outcomes`, then heals everything and demands progress.
fn play(fates: &[Fate], widths: &[usize]) -> (Log, Told, u32) {
    let (mut sequencer, mut log, mut told) = (sequencer(), Log::default(), Told::default());
    let (mut wire, mut accepted) = (VecDeque::<Sequenced<u32>>::new(), 0);
    let mut ids = 8;
    let healed = std::iter::repeat_n(&Fate::Answered, 200);
    for (turn, fate) in fates.iter().chain(healed).enumerate() {
        let healing = turn >= fates.len();
        for _ in 0..widths[turn % widths.len()] {
            if sequencer.wants_producer_id() && !sequencer.adopt(producer_id(ids, 0)) {
                ids += 1;
            }
            let fresh = sequencer.send_decision(Instant::now(), LEADER) == SendDecision::New;
            if !(fresh && healing)
                && let Some(batch) = next(&mut sequencer, LEADER, accepted)
            {
                accepted += u32::from(fresh);
                wire.push_back(batch);
            }
        }
        let Some(batch) = wire.pop_front() else {
            continue;
        };
        let finish = |sequencer: &mut PartitionSequencer<u32>,
                      told: &mut Told,
                      batch: Sequenced<u32>,
                      code| {
            match outcome::of_code(code, IDEMPOTENT) {
                ProduceOutcome::Written => told.written.push(sequencer.written(batch, LEADER)),
                _ => fail(sequencer, batch, code),
            }
        };
        match *fate {
            Fate::Answered => {
                let code = log.append(&batch);
                finish(&mut sequencer, &mut told, batch, code);
            }
            Fate::Thinned(left) if sequencer.may_renumber(&batch) => {
                if let Some(content) = sequencer.records_removed(batch, left) {
                    told.failed.push((content, WriteOutcome::NotWritten));
                }
            }
            Fate::Thinned(_) => {
                finish(&mut sequencer, &mut told, batch, ErrorCode::INVALID_RECORD);
            }
            Fate::Refused(code) => finish(&mut sequencer, &mut told, batch, code),
            Fate::Ambiguous(code) => {
                let found = log.append(&batch);
                let code = if found == ErrorCode::NONE {
                    code
                } else {
                    found
                };
                finish(&mut sequencer, &mut told, batch, code);
            }
            Fate::AnswerLost | Fate::RequestLost => {
                let mut arrives = matches!(fate, Fate::AnswerLost);
                for batch in std::iter::once(batch).chain(wire.drain(..)) {
                    if arrives {
                        log.append(&batch);
                    }
                    // How far the rest got is drawn from the turn.
                    arrives &= turn % 3 == 0;
                    lose(&mut sequencer, batch);
                }
            }
            Fate::Forgotten => {
                log.state = None;
                wire.push_front(batch);
            }
        }
        for (batch, error) in sequencer.given_up() {
            told.failed.push((batch.content, error.outcome()));
        }
    }
    assert!(wire.is_empty() && sequencer.retry.is_empty(), "stuck");
    (log, told, accepted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing acknowledged is lost, nothing is doubled, nothing is reordered, what is reported as not written is not in the log, and
    /// every batch is reported once. (Once a broker has forgotten a producer it can no longer recognise repeats: see the next test.)
    #[test]
    fn no_history_loses_doubles_or_reorders(
        fates in prop::collection::vec(fate(), 1..60),
        widths in prop::collection::vec(0usize..4, 1..7),
    ) {
        let fates: Vec<_> = fates.into_iter().filter(|fate| !matches!(fate, Fate::Forgotten)).collect();
        let (log, told, accepted) = play(&fates, &widths);
        for pair in log.batches.windows(2) {
            prop_assert!(pair[0] < pair[1], "doubled or reordered: {:?}", log.batches);
        }
        for batch in &told.written {
            prop_assert!(log.batches.contains(batch), "lost {batch}");
        }
        for (batch, outcome) in &told.failed {
            let there = log.batches.contains(batch);
            prop_assert!(!(there && *outcome == WriteOutcome::NotWritten), "{batch} is there after all");
        }
        let mut reported: Vec<u32> = told.written.iter().copied().chain(told.failed.iter().map(|failed| failed.0)).collect();
        reported.sort_unstable();
        prop_assert_eq!(reported, (0..accepted).collect::<Vec<_>>());
    }

    /// Even when brokers forget: whatever is in the log is there in order of first arrival, nothing acknowledged is lost, and the producer
    /// goes on.
    #[test]
    fn a_broker_that_forgets_the_producer_stops_nothing(
        fates in prop::collection::vec(fate(), 1..60),
        widths in prop::collection::vec(0usize..4, 1..7),
    ) {
        let (log, told, accepted) = play(&fates, &widths);
        for batch in &told.written {
            prop_assert!(log.batches.contains(batch), "lost {batch}");
        }
        prop_assert_eq!(told.written.len() + told.failed.len(), accepted as usize);
    }
}

/// A topic was re-created, and its log had taken a batch before metadata told of it: numbered like that one, the next batch was taken for
/// its repetition, acknowledged, and lost. So it was when brokers were of different minds, and the id went to and fro.
#[test]
fn nothing_for_a_topic_recreated_is_taken_for_what_its_log_already_has() {
    let (mut sequencer, mut log) = (sequencer(), Log::default());
    for content in 0..4 {
        let batch = next(&mut sequencer, LEADER, content).unwrap();
        assert_eq!(log.append(&batch), ErrorCode::NONE);
        sequencer.written(batch, LEADER);
        sequencer.topic_recreated();
    }
    assert_eq!(log.batches, [0, 1, 2, 3]);
}

#[test]
fn a_fenced_producer_id_is_given_up_though_the_topic_is_recreated() {
    let mut sequencer = confirmed_leader();
    let mut in_flight = send(&mut sequencer, 2).into_iter();
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::INVALID_PRODUCER_EPOCH,
    );
    sequencer.topic_recreated();
    fail(
        &mut sequencer,
        in_flight.next().unwrap(),
        ErrorCode::INVALID_PRODUCER_EPOCH,
    );
    assert!(sequencer.wants_producer_id() && !sequencer.adopt(producer_id(7, 0)));
    assert!(sequencer.adopt(producer_id(8, 0)));
    let batch = next(&mut sequencer, LEADER, 99).unwrap();
    assert_eq!((batch.content, sequence_of(&batch)), (1, (0, 0)));
}
