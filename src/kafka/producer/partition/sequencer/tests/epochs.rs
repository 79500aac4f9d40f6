//! New epochs and producer ids, and what is repeated under old ones.

use super::*;

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
fn sequences_wrap_around_to_zero_as_brokers_expect() {
    assert_eq!(advance(i32::MAX, 1), 0);
    assert_eq!(advance(i32::MAX - 2, 10), 7);
    assert_eq!(advance(0, 5), 5);
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
