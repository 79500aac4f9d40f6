//! Transactions from their first record to what readers see, in both flows.

use protocol::ErrorCode;
use protocol::messages::AddPartitionsToTxnRequest;
use protocol::messages::EndTxnRequest;
use protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};

use super::producer::{Producer, fetched, listed, record_time};
use super::{Session, produce_plain};

pub async fn run(session: &mut Session) {
    older(session).await;
    newer(session).await;
    sequences(session).await;
    verification(session).await;
}

async fn readers(session: &mut Session, partition: i32) {
    for isolation_level in [0, 1] {
        let seen = fetched(session, partition, isolation_level).await;
        let mut listed_at = Vec::new();
        // The first record after the last of these is a marker.
        let time = record_time();
        for (what, timestamp) in [
            ("end", -1),
            ("start", -2),
            ("newest", -3),
            ("any", 0),
            ("second", time + 1),
            ("marker", time + 2),
        ] {
            let (error, offset) = listed(session, partition, isolation_level, timestamp).await;
            listed_at.push((what, error == ErrorCode::NONE, offset));
        }
        session.say(
            &format!("isolation {isolation_level} sees"),
            (seen, listed_at),
        );
    }
}

async fn older(session: &mut Session) {
    let mut producer = Producer::begun(session, "older").await;
    for version in [9, 10, 11] {
        let refused = producer.produce(session, version, 0).await;
        session.say(&format!("produce v{version} without adding"), refused);
    }
    for (committed, version) in [(true, 4), (false, 4), (true, 0)] {
        let empty = producer.end(session, version, committed).await;
        session.say(&format!("end v{version} of nothing, {committed}"), empty);
    }
    for version in 0..=3 {
        let added = producer.add(session, version, &[0, 9], true).await;
        session.say(&format!("add v{version} with unknown ones"), added);
    }
    for (version, committed) in [(0, true), (3, false), (3, true)] {
        let added = producer.add(session, version, &[0], false).await;
        session.say(&format!("add v{version}"), added);
        let again = producer.add(session, version, &[0], false).await;
        session.say("add again", again);
        let state = producer.settle(session).await;
        session.say("state", state);
        let written = producer.produce(session, 11, 0).await;
        session.say("produce v11", written);
        let other = producer.produce(session, 11, 1).await;
        session.say("produce v11 to another partition", other);
        readers(session, 0).await;
        let ended = producer.end(session, 4, committed).await;
        session.say(&format!("end v4 {committed}"), ended);
        for other in [committed, !committed] {
            let again = producer.end(session, 4, other).await;
            session.say(&format!("end v4 again {other}"), again);
        }
        let late = producer.produce(session, 11, 0).await.0;
        session.say("produce v11 after the end", late);
        readers(session, 0).await;
    }
    let nobody = EndTxnRequest {
        transactional_id: session.name("nobody"),
        producer_id: 1,
        ..Default::default()
    };
    for version in [4, 5] {
        let answer = session.ask(version, &nobody).await.error_code;
        session.say(&format!("end v{version} of an unknown id"), answer);
        let empty = EndTxnRequest {
            transactional_id: String::new(),
            ..nobody.clone()
        };
        let answer = session.ask(version, &empty).await.error_code;
        session.say(&format!("end v{version} of an empty id"), answer);
    }
    let id = producer.id;
    producer.id += 1_000_000;
    let answer = (
        producer.add(session, 3, &[0], false).await,
        producer.end(session, 4, true).await,
        producer.end(session, 5, true).await,
        producer.produce(session, 11, 0).await,
        producer.produce(session, 12, 0).await,
    );
    session.say("with another producer's id", answer);
    producer.id = id;
    producer.epoch += 1;
    let answer = (
        producer.add(session, 3, &[0], false).await,
        producer.end(session, 4, true).await,
        producer.end(session, 5, true).await,
        producer.produce(session, 11, 0).await.0,
        producer.produce(session, 12, 0).await.0,
    );
    session.say("in an epoch to come", answer);
}

async fn newer(session: &mut Session) {
    let mut producer = Producer::begun(session, "newer").await;
    let nothing = producer.end(session, 5, true).await;
    session.say("end v5 of nothing true", nothing);
    let nothing = producer.end(session, 5, false).await;
    session.say("end v5 of nothing false", nothing);
    let nothing = producer.end(session, 5, false).await;
    session.say("end v5 of nothing false again", nothing);
    for committed in [true, false, true] {
        let written = producer.produce(session, 12, 1).await;
        session.say("produce v12", written);
        let beyond = producer.produce(session, 12, 9).await;
        session.say("produce v12 to an unknown partition", beyond);
        readers(session, 1).await;
        let before = producer.epoch;
        let ended = producer.end(session, 5, committed).await;
        session.say(&format!("end v5 {committed}"), ended);
        readers(session, 1).await;
        let after = producer.epoch;
        for (what, epoch, other) in [
            ("in the epoch before", before, committed),
            ("in the epoch before", before, !committed),
            ("in this epoch", after, true),
        ] {
            producer.epoch = epoch;
            let again = producer.end(session, 5, other).await;
            session.say(&format!("end v5 {other} again {what}"), again);
        }
        producer.epoch = before;
        let late = producer.produce(session, 12, 1).await.0;
        session.say("produce v12 in the epoch before", late);
        producer.epoch = after;
    }
    // An older client of the same id.
    let added = producer.add(session, 3, &[1], false).await;
    let ended = producer.end(session, 4, true).await;
    session.say("a transaction of the older flow", (added, ended));
}

async fn sequences(session: &mut Session) {
    let mut producer = Producer::begun(session, "sequences").await;
    producer.sequence = 7;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("a transaction that begins with sequence 7", answer);
    producer.sequence = 0;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("a transaction that begins with sequence 0", answer);
    producer.sequence = 5;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("a gap in a transaction", answer);
    producer.sequence = 0;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("the first batch again", answer);
    producer.sequence = 2;
    let plain = produce_plain(session, &producer, None).await;
    session.say("its batch outside of the transaction", plain);
    let plain = produce_plain(session, &producer, Some(&producer.transactional_id)).await;
    session.say("its batch outside, with the id", plain);
    let ended = producer.end(session, 5, true).await.0;
    session.say("its end", ended);
    producer.sequence = 2;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("the next begins with sequence 2", answer);
    producer.sequence = 0;
    let answer = producer.produce(session, 12, 1).await.0;
    session.say("the next begins with sequence 0", answer);
    producer.end(session, 5, false).await;
}

/// What brokers ask of coordinators.
async fn verification(session: &mut Session) {
    let mut producer = Producer::begun(session, "verification").await;
    producer.produce(session, 12, 1).await;
    let id = producer.id;
    let cases = [
        ("partitions", producer.transactional_id.clone(), id, 0),
        ("another epoch", producer.transactional_id.clone(), id, 1),
        (
            "another id",
            producer.transactional_id.clone(),
            id + 1_000_000,
            0,
        ),
        ("an unknown id", session.name("nobody"), id, 0),
        ("an empty id", String::new(), id, 0),
    ];
    for version in [4, 5] {
        for (what, transactional_id, producer_id, producer_epoch) in &cases {
            for verify_only in [true, false] {
                let topic = AddPartitionsToTxnTopic {
                    name: session.name("txn"),
                    partitions: match verify_only {
                        true => vec![1, 2],
                        false => vec![1],
                    },
                    ..Default::default()
                };
                let transaction = AddPartitionsToTxnTransaction {
                    transactional_id: transactional_id.clone(),
                    producer_id: *producer_id,
                    producer_epoch: *producer_epoch,
                    verify_only,
                    topics: vec![topic],
                    ..Default::default()
                };
                let request = AddPartitionsToTxnRequest {
                    transactions: vec![transaction],
                    ..Default::default()
                };
                let response = session.ask(version, &request).await;
                let results = response.results_by_transaction.iter();
                let topics = results.flat_map(|it| &it.topic_results);
                let mut errors: Vec<_> = topics
                    .flat_map(|topic| &topic.results_by_partition)
                    .map(|it| (it.partition_index, ErrorCode(it.partition_error_code)))
                    .collect();
                errors.sort_unstable_by_key(|(index, _)| *index);
                session.say(
                    &format!("brokers' v{version} of {what}, verify only {verify_only}"),
                    (response.error_code, errors),
                );
            }
        }
    }
    producer.end(session, 5, false).await;
}
