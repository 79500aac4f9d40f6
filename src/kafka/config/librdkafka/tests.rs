//! What librdkafka's users bring along, key by key.

mod field;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::table::{Fate, TABLE, find};
use super::*;
use crate::kafka::consumer::CommitSource;
use crate::kafka::{
    Acks, ClientConfig, ConsumerConfig, GroupProtocol, IsolationLevel, OffsetReset, Partitioner,
    ProducerConfig,
};

fn producer(pairs: &[(&str, &str)]) -> Result<(ProducerConfig, Vec<KeyNote>)> {
    ProducerConfig::from_librdkafka(pairs.iter().copied())
}

fn consumer(pairs: &[(&str, &str)]) -> Result<(ConsumerConfig, Vec<KeyNote>)> {
    ConsumerConfig::from_librdkafka(pairs.iter().copied())
}

#[test]
fn no_key_is_in_the_table_twice_for_one_role() {
    for row in TABLE {
        for name in row.names {
            let rows = TABLE.iter().filter(|other| other.names.contains(name));
            let same_role = rows.filter(|other| other.role == row.role).count();
            assert_eq!(same_role, 1, "{name}");
        }
    }
}

#[test]
fn what_is_not_given_is_as_librdkafka_has_it() {
    let (config, notes) = producer(&[]).unwrap();
    assert!(notes.is_empty());
    assert_eq!(config.acks, Acks::All);
    assert_eq!(config.idempotence, Some(false));
    assert!(matches!(config.partitioner, Partitioner::ConsistentRandom));
    assert_eq!(config.compression.to_string(), "none");
    assert_eq!(config.linger, Duration::from_millis(5));
    assert_eq!(config.batch_bytes, 1_000_000);
    assert_eq!(config.batch_records, Some(10_000));
    assert_eq!(config.buffer_bytes, 1 << 30);
    assert_eq!(config.max_request_bytes, 1_000_000);
    assert_eq!(config.max_in_flight, 256);
    assert_eq!(config.delivery_timeout, Duration::from_secs(300));
    assert_eq!(config.retries, i32::MAX as u32);
    assert!(config.client.allow_auto_create_topics);
    assert_eq!(config.client.client_id, "rdkafka");
    assert_eq!(config.client.request_timeout, Duration::from_secs(60));
    assert_eq!(config.client.reconnect_backoff_max, Duration::from_secs(10));

    let (config, _) = consumer(&[("group.id", "g")]).unwrap();
    assert!(config.enable_auto_commit);
    assert_eq!(config.auto_commit_interval, Duration::from_secs(5));
    assert_eq!(config.session_timeout, Duration::from_secs(45));
    assert_eq!(config.heartbeat_interval, Duration::from_secs(3));
    assert_eq!(config.isolation_level, IsolationLevel::ReadCommitted);
    assert_eq!(config.auto_offset_reset, OffsetReset::Latest);
    assert_eq!(config.buffer_bytes, 64 << 20);
    assert!(!config.client.allow_auto_create_topics);
    // Off in librdkafka; here it costs next to nothing.
    assert!(config.check_crcs);
    // Without a group there is nothing to commit.
    assert!(!consumer(&[]).unwrap().0.enable_auto_commit);

    let (config, _) = ClientConfig::from_librdkafka([("group.id", "g")]).unwrap();
    assert_eq!(config.client_id, "rdkafka");
}

#[test]
fn under_the_consumer_protocol_session_and_heartbeats_are_left_to_the_brokers() {
    let given = [
        ("group.id", "g"),
        ("group.protocol", "consumer"),
        ("group.remote.assignor", "range"),
    ];
    let (config, _) = consumer(&given).unwrap();
    assert_eq!(config.group_protocol, GroupProtocol::Consumer);
    assert_eq!(config.group_remote_assignor.as_deref(), Some("range"));
    let given = [&given[..], &[("session.timeout.ms", "6000")]].concat();
    let error = consumer(&given).unwrap_err().to_string();
    assert!(error.contains("session.timeout.ms"), "{error}");
}

#[test]
fn values_are_read_as_librdkafka_reads_them() {
    for (place, expected) in [
        ("smallest", OffsetReset::Earliest),
        ("Beginning", OffsetReset::Earliest),
        ("largest", OffsetReset::Latest),
        ("end", OffsetReset::Latest),
        ("error", OffsetReset::None),
        ("none", OffsetReset::None),
    ] {
        let (config, _) = consumer(&[("auto.offset.reset", place)]).unwrap();
        assert_eq!(config.auto_offset_reset, expected, "{place}");
    }
    let (config, _) = producer(&[
        ("metadata.broker.list", "a, b:9093,PLAINTEXT://c,[::1]"),
        ("compression.codec", "ZSTD"),
        ("compression.level", "7"),
        ("queue.buffering.max.ms", "0.5"),
        ("queue.buffering.max.kbytes", "16777216"),
        ("message.timeout.ms", "0"),
        ("connections.max.idle.ms", "0"),
        ("enable.idempotence", "1"),
        ("partitioner", "murmur2_random"),
    ])
    .unwrap();
    assert_eq!(
        config.client.bootstrap_servers,
        ["a:9092", "b:9093", "c:9092", "[::1]:9092"]
    );
    assert_eq!(config.compression.to_string(), "zstd:7");
    assert_eq!(config.linger, Duration::from_millis(1));
    assert_eq!(config.buffer_bytes, u32::MAX as usize);
    let longest = Duration::from_millis(i32::MAX as u64);
    assert_eq!(config.delivery_timeout, longest);
    assert_eq!(config.client.connections_max_idle, longest);
    assert_eq!((config.idempotence, config.max_in_flight), (Some(true), 5));
    assert!(matches!(config.partitioner, Partitioner::Default));
}

#[test]
fn the_last_one_of_a_key_and_its_aliases_counts() {
    let (config, notes) = producer(&[("linger.ms", "1"), ("queue.buffering.max.ms", "2")]).unwrap();
    assert_eq!((config.linger, notes.len()), (Duration::from_millis(2), 2));
}

/// With `enable.auto.offset.store` off, only what the application stores is committed. Committing what was handed out would lose records.
#[test]
fn only_what_is_stored_is_committed_where_the_application_says_what_is_finished() {
    let stored = [("group.id", "g"), ("enable.auto.offset.store", "false")];
    let with_commit = [stored[0], stored[1], ("enable.auto.commit", "true")];
    for pairs in [&stored[..], &with_commit] {
        let (config, notes) = consumer(pairs).unwrap();
        assert!(config.enable_auto_commit);
        assert_eq!(config.commit_source, CommitSource::Stored);
        assert_eq!(
            notes[1].to_string(),
            "enable.auto.offset.store: translated to commit.source = \"stored\""
        );
    }
    let never = [("group.id", "g"), ("auto.commit.interval.ms", "0")];
    assert!(!consumer(&never).unwrap().0.enable_auto_commit);
}

#[test]
fn what_protects_is_refused_and_never_passed_over() {
    let security = |name: &&str| {
        [
            "ssl",
            "sasl",
            "security",
            "https",
            "enable.ss",
            "enable.sasl",
            "oauth",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    };
    let rows = TABLE.iter().filter(|row| row.names.iter().any(security));
    let mut refused = 0;
    for row in rows {
        for name in row.names {
            let secret = format!("{name}-hunter2");
            for result in [
                producer(&[(name, &secret)]).map(|(_, notes)| notes),
                consumer(&[(name, &secret)]).map(|(_, notes)| notes),
            ] {
                match (result, row.fate.reason()) {
                    (Err(error), reason) => {
                        let text = error.to_string();
                        assert_eq!(error.kind(), ErrorKind::Config);
                        assert!(text.starts_with(name), "{text}");
                        if let Some(reason) = reason {
                            assert!(text.contains(reason), "{text}");
                            assert!(!text.contains("hunter2"), "{text}");
                            refused += 1;
                        }
                    }
                    (Ok(notes), None) => {
                        let note = notes[0].to_string();
                        assert!(note.contains("translated to"), "{note}");
                        let hides = row.fate.property().is_some_and(is_secret::<ProducerConfig>);
                        assert_eq!(!note.contains("hunter2"), hides, "{note}");
                    }
                    (Ok(notes), Some(_)) => panic!("{name} was passed over: {notes:?}"),
                }
            }
        }
    }
    assert!(refused > 40, "{refused}");
    let (_, notes) = producer(&[("security.protocol", "PLAINTEXT")]).unwrap();
    let plaintext = r#"security.protocol: translated to security.protocol = "PLAINTEXT""#;
    assert_eq!(notes[0].to_string(), plaintext);
    assert!(producer(&[("bootstrap.servers", "SSL://a:9092")]).is_err());
    for (name, value) in [("queuing.strategy", "lifo"), ("acks", "2")] {
        assert!(producer(&[(name, value)]).is_err(), "{name}");
    }
    assert!(consumer(&[("offset.store.method", "file")]).is_err());
}

#[test]
fn a_name_in_the_wrong_place_is_told_where_it_belongs() {
    let told =
        |result: Result<(ProducerConfig, Vec<KeyNote>)>| result.expect_err("unknown").to_string();
    for (key, advice) in [
        (
            "max.request.size",
            "librdkafka has no key \"max.request.size\": it is Java's name for message.max.bytes",
        ),
        (
            "fetch.max.wait.ms",
            "librdkafka has no key \"fetch.max.wait.ms\": it is Java's name for fetch.wait.max.ms",
        ),
        (
            "max.block.ms",
            "librdkafka has no key \"max.block.ms\": it is an option of producers here; set it on what from_librdkafka returns",
        ),
        (
            "key.serializer",
            "librdkafka has no key \"key.serializer\": Java has it; here keys and values are bytes here; typed events know how they are written",
        ),
        (
            "linger.mss",
            "librdkafka has no key \"linger.mss\"; did you mean linger.ms?",
        ),
        ("retention.ms", "librdkafka has no key \"retention.ms\""),
    ] {
        assert_eq!(told(producer(&[(key, "1")])), advice);
    }
    for (name, advice) in [
        (
            "message.timeout.ms",
            "there is no option \"message.timeout.ms\": it is librdkafka's name for delivery.timeout.ms",
        ),
        (
            "fetch.wait.max.ms",
            "there is no option \"fetch.wait.max.ms\": it is librdkafka's name for fetch.max.wait.ms, which belongs to consumers",
        ),
        (
            "group.id",
            "there is no option \"group.id\": it belongs to consumers",
        ),
        (
            "socket.nagle.disable",
            "there is no option \"socket.nagle.disable\": librdkafka has it; here it is disabled",
        ),
        (
            "ssl.truststore.password",
            "there is no option \"ssl.truststore.password\": Java has it; here TLS and SASL do without it",
        ),
        (
            "lingr.ms",
            "there is no option \"lingr.ms\"; did you mean linger.ms?",
        ),
        ("retention.ms", "there is no option \"retention.ms\""),
    ] {
        let error = ProducerConfig::from_properties([(name, "1")]).expect_err(name);
        assert_eq!(error.to_string(), advice);
    }
    let (_, notes) = producer(&[("group.id", "g")]).unwrap();
    assert_eq!(
        notes[0].to_string(),
        "group.id: ignored: it belongs to consumers"
    );
}
