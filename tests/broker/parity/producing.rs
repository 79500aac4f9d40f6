//! Produce: what is refused, and how; sequences of idempotent producers; InitProducerId.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use protocol::Uuid;
use protocol::compression::{Codec, Compression};
use protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use protocol::messages::{InitProducerIdRequest, ListOffsetsRequest, ProduceRequest};
use protocol::records::SealOptions;

use super::{Session, outcome, produce_request};
use crate::raw::{batch, batch_of, edited, keyed, sequenced};

const ATTRIBUTES_AT: usize = 21;

pub async fn run(session: &mut Session) {
    addresses(session).await;
    refusals(session).await;
    sequences(session).await;
    producer_ids(session).await;
    keys_of_compacted_topics(session).await;
    timestamps(session).await;
    append_times(session).await;
}

async fn addresses(session: &mut Session) {
    let id = session.topic("addresses", 2, &[]).await;
    let ok = session.produce(9, "addresses", 0, batch(3)).await;
    session.say("produce", ok);
    let again = session.produce(3, "addresses", 0, batch(2)).await;
    session.say("produce v3", again);
    for version in [3, 9, 12] {
        let unknown = session.produce(version, "nowhere", 0, batch(1)).await;
        session.say("produce to an unknown topic", unknown);
        let beyond = session.produce(version, "addresses", 2, batch(1)).await;
        session.say("produce to an unknown partition", beyond);
        let negative = session.produce(version, "addresses", -1, batch(1)).await;
        session.say("produce to a negative partition", negative);
    }
    for (what, topic_id, index) in [
        ("known", id, 0),
        ("unknown", Uuid::from_u128(77 << 64), 0),
        ("known", id, 9),
    ] {
        let partition_data = vec![PartitionProduceData {
            index,
            records: Some(batch(1)),
            ..Default::default()
        }];
        let topic_data = vec![TopicProduceData {
            topic_id,
            partition_data,
            ..Default::default()
        }];
        let request = ProduceRequest {
            acks: 1,
            timeout_ms: 1000,
            topic_data,
            ..Default::default()
        };
        let response = session.ask(13, &request).await;
        session.say(
            &format!("produce by a {what} id to partition {index}"),
            outcome(&response),
        );
    }
    for acks in [2, -2] {
        let name = session.name("addresses");
        let response = session
            .ask(9, &produce_request(name, 0, acks, Some(batch(1))))
            .await;
        session.say(&format!("produce with acks {acks}"), outcome(&response));
    }
    let name = session.name("nowhere");
    session
        .raw
        .send(9, &produce_request(name, 0, 0, Some(batch(1))))
        .await
        .expect("sent");
    let closed = session.raw.receive_frame().await.is_err();
    session.say("a failure with acks 0 closes the connection", closed);
    session.reconnect().await;
    let unsupported = session
        .raw
        .call(
            9,
            &ProduceRequest {
                acks: -1,
                ..Default::default()
            },
        )
        .await;
    session.say(
        "produce nothing",
        unsupported
            .map(|response| response.responses.len())
            .map_err(|error| error.kind()),
    );
}

async fn refusals(session: &mut Session) {
    session.topic("refusals", 1, &[]).await;
    session
        .topic("small", 1, &[("max.message.bytes", "200")])
        .await;
    let good = batch(3);
    let two = Bytes::from([good.clone(), batch(1)].concat());
    let mut corrupt = good.to_vec();
    corrupt[70] ^= 1;
    let control = SealOptions {
        control: true,
        ..Default::default()
    };
    let transactional = SealOptions {
        producer_id: 900,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..Default::default()
    };
    let cases = [
        ("no records", Bytes::new()),
        ("two batches", two),
        ("a wrong CRC", Bytes::from(corrupt)),
        ("half a header", good.slice(..30)),
        ("a batch cut off", good.slice(..good.len() - 5)),
        (
            "bytes after the batch",
            Bytes::from([&good[..], &[0; 5]].concat()),
        ),
        ("magic 1", edited(&good, 16, &[1])),
        ("magic 3", edited(&good, 16, &[3])),
        ("a base offset", edited(&good, 0, &5i64.to_be_bytes())),
        ("a leader epoch", edited(&good, 12, &7i32.to_be_bytes())),
        (
            "a negative length",
            edited(&good, 8, &(-1i32).to_be_bytes()),
        ),
        (
            "an unknown codec",
            edited(&good, ATTRIBUTES_AT, &7i16.to_be_bytes()),
        ),
        ("too few records", edited(&good, 57, &2i32.to_be_bytes())),
        ("too many records", edited(&good, 57, &4i32.to_be_bytes())),
        (
            "no record",
            edited(
                &edited(&good, 57, &0i32.to_be_bytes()),
                23,
                &(-1i32).to_be_bytes(),
            ),
        ),
        (
            "control records",
            batch_of(&[1], 10, control, Compression::NONE),
        ),
        (
            "a transaction never begun",
            batch_of(&[1], 10, transactional, Compression::NONE),
        ),
        ("a producer id without a sequence", sequenced(901, 0, -1, 1)),
        ("a producer id without an epoch", sequenced(901, -1, 0, 1)),
        ("a sequence without a producer id", sequenced(-1, -1, 5, 1)),
    ];
    for (what, records) in cases {
        let refused = session.produce(9, "refusals", 0, records).await;
        session.say(&format!("produce {what}"), refused);
    }
    for codec in Codec::ALL {
        for version in [3, 6, 7, 9] {
            let records = batch_of(
                &[1, 2],
                10,
                SealOptions::default(),
                Compression::from(codec),
            );
            let answer = session.produce(version, "refusals", 0, records).await;
            session.say(
                &format!("produce {} v{version}", codec.name()),
                answer.map(|answer| answer.0),
            );
        }
    }
    let large = session.produce(9, "small", 0, batch(20)).await;
    session.say("produce more than max.message.bytes", large);
    let small = session.produce(9, "small", 0, batch(2)).await;
    session.say("produce less than max.message.bytes", small);
}

async fn sequences(session: &mut Session) {
    session.topic("sequences", 1, &[]).await;
    let steps = [
        ("first batch anywhere", 1000, 0, 7, 3),
        ("next", 1000, 0, 10, 2),
        ("duplicate of the first", 1000, 0, 7, 3),
        ("gap", 1000, 0, 13, 1),
        ("overlap", 1000, 0, 11, 2),
        ("going back", 1000, 0, 0, 1),
        ("third", 1000, 0, 12, 1),
        ("fourth", 1000, 0, 13, 1),
        ("fifth", 1000, 0, 14, 1),
        ("sixth", 1000, 0, 15, 1),
        ("duplicate of the first, forgotten", 1000, 0, 7, 3),
        ("duplicate of the second, remembered", 1000, 0, 10, 2),
        ("same start, other length", 1000, 0, 15, 2),
        ("new epoch, not from 0", 1000, 1, 16, 1),
        ("new epoch from 0", 1000, 1, 0, 2),
        ("old epoch", 1000, 0, 16, 1),
        ("duplicate of the old epoch", 1000, 0, 15, 1),
        ("duplicate of the new epoch", 1000, 1, 0, 2),
        ("epoch skipped", 1000, 5, 0, 1),
        (
            "another producer at the end of sequences",
            1001,
            0,
            i32::MAX,
            1,
        ),
        ("its sequence wraps", 1001, 0, 0, 1),
        (
            "one more producer, wrapping within a batch",
            1002,
            0,
            i32::MAX - 1,
            4,
        ),
        ("its next", 1002, 0, 2, 1),
        ("its duplicate", 1002, 0, i32::MAX - 1, 4),
    ];
    for (what, producer_id, epoch, sequence, records) in steps {
        let answer = session
            .produce(
                9,
                "sequences",
                0,
                sequenced(producer_id, epoch, sequence, records),
            )
            .await;
        session.say(what, answer);
    }
}

async fn producer_ids(session: &mut Session) {
    let cases = [
        ("a new producer", None, 4, -1, -1),
        ("a new producer v0", None, 0, -1, -1),
        ("an id without an epoch", None, 4, 5, -1),
        ("an epoch without an id", None, 4, -1, 5),
        (
            "an id and an epoch, no transactional id",
            None,
            4,
            77_777,
            5,
        ),
        ("an empty transactional id", Some(""), 4, -1, -1),
    ];
    for (what, transactional_id, version, producer_id, producer_epoch) in cases {
        let request = InitProducerIdRequest {
            transactional_id: transactional_id.map(Into::into),
            transaction_timeout_ms: 1000,
            producer_id,
            producer_epoch,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let known = (
            response.error_code,
            response.producer_id >= 0,
            response.producer_epoch,
            response.producer_id == 5,
        );
        session.say(&format!("init {what}"), known);
    }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("a time of these days")
}

/// Produces and says all that is answered: how long ago the append time lies, and which records are to blame, included.
async fn refused_records(
    session: &mut Session,
    what: &str,
    version: i16,
    topic: &str,
    records: Bytes,
) {
    let name = session.name(topic);
    let request = produce_request(name, 0, -1, Some(records));
    let response = session.ask(version, &request).await;
    let partition = &response.responses[0].partition_responses[0];
    let blamed: Vec<_> = partition
        .record_errors
        .iter()
        .map(|error| (error.batch_index, error.batch_index_error_message.is_some()))
        .collect();
    let answer = (
        outcome(&response),
        partition.log_append_time_ms >= 0,
        blamed,
        partition.error_message.is_some(),
    );
    session.say(&format!("{what} v{version}"), answer);
}

async fn keys_of_compacted_topics(session: &mut Session) {
    let compacted = [("cleanup.policy", "compact")];
    session.topic("compacted", 1, &compacted).await;
    let both = [
        ("cleanup.policy", "compact,delete"),
        ("max.message.bytes", "500"),
    ];
    session.topic("compacted-deleted", 1, &both).await;
    let (now, key) = (now_ms(), Some("k"));
    let cases: [(&str, &[_]); 6] = [
        ("a key", &[(now, key)]),
        ("an empty key", &[(now, Some(""))]),
        ("no key", &[(now, None)]),
        (
            "a record without a key between others",
            &[(now, key), (now, None), (now, key)],
        ),
        (
            "five records without keys",
            &[
                (now, None),
                (now, key),
                (now, None),
                (now, None),
                (now, None),
                (now, None),
            ],
        ),
        (
            "no key, and a time far ahead",
            &[(now + 2 * HOUR_MS, key), (now + 2 * HOUR_MS, None)],
        ),
    ];
    for (what, records) in cases {
        for (codec, version) in [
            (Codec::None, 9),
            (Codec::None, 7),
            (Codec::Zstd, 9),
            (Codec::Gzip, 8),
        ] {
            let what = format!("produce {what}, {}, to a compacted topic,", codec.name());
            let batch = keyed(records, Compression::from(codec));
            refused_records(session, &what, version, "compacted", batch).await;
        }
        let what = format!("produce {what} to a topic that is compacted and deleted");
        let batch = keyed(records, Compression::NONE);
        refused_records(session, &what, 9, "compacted-deleted", batch).await;
    }
    let large = keyed(&[(now, None); 100], Compression::NONE);
    let what = "produce many records without keys, too large together,";
    refused_records(session, what, 9, "compacted-deleted", large).await;
}

async fn timestamps(session: &mut Session) {
    let narrow = [
        ("message.timestamp.before.max.ms", "600000"),
        ("message.timestamp.after.max.ms", "600000"),
    ];
    session.topic("narrow", 1, &narrow).await;
    session.topic("any-time", 1, &[]).await;
    let now = now_ms();
    let cases: [(&str, &[i64]); 9] = [
        ("now", &[now]),
        (
            "5 minutes ago and ahead",
            &[now - 5 * MINUTE_MS, now + 5 * MINUTE_MS],
        ),
        ("30 minutes ahead", &[now, now + 30 * MINUTE_MS]),
        (
            "2 hours ahead",
            &[now + 2 * HOUR_MS, now, now + 2 * HOUR_MS],
        ),
        ("30 minutes ago", &[now, now - 30 * MINUTE_MS, now]),
        ("1970", &[0]),
        ("no time", &[-1]),
        ("the end of time", &[i64::MAX]),
        ("ago and ahead", &[now - 2 * HOUR_MS, now + 2 * HOUR_MS]),
    ];
    for (what, times) in cases {
        let records: Vec<_> = times.iter().map(|time| (*time, Some("k"))).collect();
        for topic in ["narrow", "any-time"] {
            for codec in [Codec::None, Codec::Lz4] {
                let what = format!("produce {what}, {}, to {topic}", codec.name());
                let batch = keyed(&records, Compression::from(codec));
                refused_records(session, &what, 9, topic, batch).await;
            }
        }
    }
    let claimed = edited(&batch(2), ATTRIBUTES_AT, &8i16.to_be_bytes());
    let what = "produce a batch that says that it has its append time";
    refused_records(session, what, 9, "any-time", claimed).await;
    session
        .topic("segments", 1, &[("segment.bytes", "1048576")])
        .await;
    let large = batch_of(&[now], 2_000_000, SealOptions::default(), Compression::NONE);
    let what = "produce more than segment.bytes";
    refused_records(session, what, 9, "segments", large).await;
}

async fn append_times(session: &mut Session) {
    let configs = [
        ("message.timestamp.type", "LogAppendTime"),
        ("message.timestamp.after.max.ms", "1000"),
    ];
    session.topic("append-time", 1, &configs).await;
    for (what, time) in [
        ("now", now_ms()),
        ("1970", 0),
        ("far ahead", 4_000_000_000_000),
    ] {
        for codec in [Codec::None, Codec::Snappy] {
            let what = format!(
                "produce {what}, {}, to a topic with append times",
                codec.name()
            );
            let batch = keyed(&[(time, Some("k")), (time, None)], Compression::from(codec));
            refused_records(session, &what, 9, "append-time", batch).await;
        }
    }
    let name = session.name("append-time");
    let mut appended = Vec::new();
    for records in [
        sequenced(77, 0, 0, 2),
        sequenced(77, 0, 2, 1),
        sequenced(77, 0, 0, 2),
    ] {
        let request = produce_request(name.clone(), 0, -1, Some(records));
        let response = session.ask(9, &request).await;
        let partition = &response.responses[0].partition_responses[0];
        appended.push((partition.base_offset, partition.log_append_time_ms));
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let same = appended[0] == appended[2] && appended[0].1 < appended[1].1;
    session.say("a duplicate has the append time of the first", same);
    for (what, time) in [
        ("the beginning", 0),
        ("a minute from now", now_ms() + MINUTE_MS),
    ] {
        let asked = ListOffsetsPartition {
            timestamp: time,
            ..Default::default()
        };
        let topics = vec![ListOffsetsTopic {
            name: name.clone(),
            partitions: vec![asked],
            ..Default::default()
        }];
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics,
            ..Default::default()
        };
        let response = session.ask(7, &request).await;
        let found = &response.topics[0].partitions[0];
        let is_recent = (found.timestamp - now_ms()).abs() < 10 * MINUTE_MS;
        session.say(
            &format!("append times since {what}"),
            (found.error_code, found.offset, is_recent),
        );
    }
}
