//! Topics validated, partitions added, offsets found by place, records deleted.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use pat_events::kafka::admin::{ConfigSource, CreateTopicsOptions, NewPartitions, OffsetSpec};
use pat_events::kafka::{ErrorCode, ErrorKind, NewTopic, Record};

use super::{POLL, at, code};
use crate::fleet::Target;

pub(super) async fn topics_are_validated(target: Target) {
    let admin = target.admin().await;
    let topics = [
        NewTopic::new("admin-valid", 2).config("retention.ms", "1000"),
        NewTopic::new("admin-invalid", 2).config("retention.ms", "soon"),
        NewTopic::with_replicas("admin-placed", vec![vec![1], vec![1]]),
    ];
    let options = CreateTopicsOptions::validate_only();
    let validated = admin.create_topics_with(&topics, &options).await;
    let validated = validated.expect("answered");
    assert!(validated["admin-valid"].is_ok() && validated["admin-placed"].is_ok());
    let invalid = ErrorCode::INVALID_CONFIG;
    assert_eq!(code(&validated["admin-invalid"]), Some(invalid));
    let listed = admin.list_topics().await.expect("listed");
    assert!(!listed.contains_key("admin-valid"));
    let created = admin.create_topics_with(&topics, &Default::default()).await;
    let created = created.expect("answered");
    assert_eq!(code(&created["admin-invalid"]), Some(invalid));
    let valid = created["admin-valid"].as_ref().expect("created");
    assert!(valid.id.is_some());
    assert_eq!(
        (valid.partitions, valid.replication_factor),
        (Some(2), Some(1))
    );
    let retention = &valid.configs.as_ref().expect("configs")["retention.ms"];
    assert_eq!(retention.value.as_deref(), Some("1000"));
    assert_eq!(retention.source, ConfigSource::Topic);
    let placed = created["admin-placed"].as_ref().expect("created");
    assert_eq!(placed.partitions, Some(2));
}

pub(super) async fn partitions_are_added(target: Target) {
    let topic = target.topic("admin-partitions").await;
    let admin = target.admin().await;
    let new = BTreeMap::from([
        (&*topic, NewPartitions::total(5)),
        ("admin-no-such-topic", NewPartitions::total(2)),
    ]);
    for validate_only in [true, false] {
        let added = admin.create_partitions(&new, validate_only).await;
        let added = added.expect("answered");
        assert!(added[&topic].is_ok(), "{added:?}");
        let unknown = added["admin-no-such-topic"].as_ref().expect_err("unknown");
        assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    }
    loop {
        let described = admin.describe_topics(&[&topic]).await.expect("described");
        let topic = described[&topic].as_ref().expect("described");
        match topic.partitions.len() {
            5 => break,
            partitions => assert_eq!(partitions, 3),
        }
        tokio::time::sleep(POLL).await;
    }
    let fewer = BTreeMap::from([(&*topic, NewPartitions::total(4))]);
    let fewer = admin.create_partitions(&fewer, false).await;
    let fewer = fewer.expect("answered");
    assert_eq!(code(&fewer[&topic]), Some(ErrorCode::INVALID_PARTITIONS));
}

pub(super) async fn offsets_are_found_by_place(target: Target) {
    let topic = target.topic("admin-offsets").await;
    let admin = target.admin().await;
    let producer = target.producer(&[]).await;
    // Not so old that brokers delete it meanwhile.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let first_ms = now.as_millis() as i64 - 10_000;
    for i in 0..10 {
        let record = Record::new(&topic).partition(0).value(b"x");
        let sent = producer.send(record.timestamp_ms(first_ms + i)).await;
        sent.expect("sent");
    }
    let listed = BTreeMap::from([
        (at(&topic, 0), OffsetSpec::Latest),
        (at(&topic, 1), OffsetSpec::Earliest),
        (at(&topic, 2), OffsetSpec::Timestamp(0)),
        (at(&topic, 3), OffsetSpec::Latest),
        (at("admin-no-such-topic", 0), OffsetSpec::Latest),
    ]);
    let listed = admin.list_offsets(&listed, &Default::default()).await;
    let listed = listed.expect("answered");
    let offset = |partition| {
        let listed = listed[&at(&topic, partition)].as_ref();
        listed.expect("an answer").offset
    };
    assert_eq!((offset(0), offset(1), offset(2)), (Some(10), Some(0), None));
    for unknown in [at(&topic, 3), at("admin-no-such-topic", 0)] {
        let error = listed[&unknown].as_ref().expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition, "{error}");
    }
    for (spec, expected) in [
        (OffsetSpec::Timestamp(first_ms + 4), Some(4)),
        (OffsetSpec::MaxTimestamp, Some(9)),
        (OffsetSpec::EarliestLocal, Some(0)),
    ] {
        let listed = BTreeMap::from([(at(&topic, 0), spec)]);
        let listed = admin.list_offsets(&listed, &Default::default()).await;
        let listed = &listed.expect("answered")[&at(&topic, 0)];
        let listed = listed.as_ref().expect("an offset");
        assert_eq!(listed.offset, expected, "{spec:?}");
    }
    let before = BTreeMap::from([(at(&topic, 0), 5), (at(&topic, 1), 1), (at(&topic, 3), 0)]);
    let deleted = admin.delete_records(&before).await.expect("answered");
    assert_eq!(deleted[&at(&topic, 0)].as_ref().ok(), Some(&5));
    let beyond = deleted[&at(&topic, 1)].as_ref().expect_err("beyond");
    assert_eq!(beyond.kind(), ErrorKind::OffsetOutOfRange);
    let unknown = deleted[&at(&topic, 3)].as_ref().expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
}
