//! Batches of which nobody knows whether they were written, and those that are given up.

use super::*;

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
            is_transactional: false,
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
