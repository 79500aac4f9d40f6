//! The operations of the Admin API, each with something good and something bad in one call: on Kafka, and on the embedded broker what it
//! answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::admin::{
    AlterConfig, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource, CreateTopicsOptions,
    DescribeConfigsOptions, GroupFilter, GroupKind, GroupState, MemberToRemove, NewPartitions,
    OffsetSpec,
};
use pat_events::kafka::{
    ErrorCode, ErrorKind, NewTopic, OffsetAndMetadata, Record, Result, ShareConsumer,
    ShareConsumerConfig, TopicPartition,
};

use crate::fleet::{Fleet, Target, block_on};
use crate::support::kafka::Kafka;

const POLL: Duration = Duration::from_millis(200);

/// A case for a broker.
type CaseOf = fn(Target) -> Case;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(fleet.on_both(
        "admin_lists_and_describes_groups_of_every_kind",
        groups_are_listed_and_described,
    ));
    trials.extend(fleet.on_both("admin_finds_offsets_by_place", offsets_are_found_by_place));
    let on_kafka: [(&str, CaseOf); 5] = [
        (
            "admin_validates_topics_and_says_what_they_would_be",
            |target| Box::pin(topics_are_validated(target)),
        ),
        ("admin_adds_partitions", |target| {
            Box::pin(partitions_are_added(target))
        }),
        ("admin_describes_and_alters_configs", |target| {
            Box::pin(configs_are_described_and_altered(target))
        }),
        (
            "admin_lists_alters_and_deletes_what_groups_committed",
            |target| Box::pin(group_offsets_are_altered(target)),
        ),
        (
            "admin_lists_alters_and_deletes_where_share_groups_go_on",
            |target| Box::pin(share_group_offsets_are_altered(target)),
        ),
    ];
    for (name, case) in on_kafka {
        let trial = fleet.on_one(name, move |_, kafka: &Kafka| {
            let bootstrap = kafka.bootstrap();
            block_on(case(Target { bootstrap }));
        });
        trials.push(trial);
    }
    trials
}

type Case = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn code<T>(result: &Result<T>) -> Option<ErrorCode> {
    result.as_ref().err()?.server_error()
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

async fn groups_are_listed_and_described(target: Target) {
    let topic = target.topic("admin-groups").await;
    let admin = target.admin().await;
    let (mut members, kinds) = (Vec::new(), ["classic", "consumer"]);
    for kind in kinds {
        let group = format!("admin-{kind}");
        let properties = [("group.id", &*group), ("group.protocol", kind)];
        let mut consumer = target.consumer(&properties).await;
        consumer.subscribe(&[&*topic]).await.expect("subscribed");
        while consumer.assignment().len() < 3 {
            consumer.poll(POLL).await.expect("polled");
        }
        members.push(consumer);
    }
    let listed = admin.list_groups(&GroupFilter::default()).await;
    let listed = listed.expect("listed");
    assert!(listed.failures.is_empty(), "{listed:?}");
    for (group, kind) in [
        ("admin-classic", GroupKind::Classic),
        ("admin-consumer", GroupKind::Consumer),
    ] {
        let group = &listed.groups[group];
        assert_eq!(group.kind.as_ref(), Some(&kind));
        assert_eq!(group.protocol_type, "consumer");
    }
    let classic = GroupFilter::default().kinds([GroupKind::Classic]);
    let classic = admin.list_groups(&classic).await.expect("listed").groups;
    assert!(classic.contains_key("admin-classic") && !classic.contains_key("admin-consumer"));
    let empty = GroupFilter::default().states([GroupState::Empty]);
    let empty = admin.list_groups(&empty).await.expect("listed").groups;
    assert!(!empty.contains_key("admin-classic"));

    let ids = ["admin-classic", "admin-consumer", "admin-no-such-group"];
    let described = admin.describe_consumer_groups(&ids).await;
    let described = described.expect("described");
    for (id, kind) in [
        ("admin-classic", GroupKind::Classic),
        ("admin-consumer", GroupKind::Consumer),
    ] {
        let group = described[id].as_ref().expect("described");
        assert_eq!((&group.kind, &group.state), (&kind, &GroupState::Stable));
        let [member] = &*group.members else {
            panic!("one member: {group:?}");
        };
        assert_eq!(member.assignment.len(), 3, "{group:?}");
        assert_eq!(&*member.assignment[0].topic, topic);
    }
    assert_eq!(
        code(&described["admin-no-such-group"]),
        Some(ErrorCode::GROUP_ID_NOT_FOUND)
    );

    let of_classic = described["admin-classic"].as_ref().expect("described");
    let member = MemberToRemove::Member(of_classic.members[0].id.clone());
    let nobody = MemberToRemove::Instance("nobody".to_owned());
    let removed = [member.clone(), nobody.clone()];
    let removed = admin.remove_members_from_group("admin-classic", &removed, Some("a test"));
    let removed = removed.await.expect("answered");
    assert!(removed[&member].is_ok(), "{removed:?}");
    assert_eq!(code(&removed[&nobody]), Some(ErrorCode::UNKNOWN_MEMBER_ID));
    for member in members {
        member.close().await.expect("closed");
    }
}

async fn offsets_are_found_by_place(target: Target) {
    let topic = target.topic("admin-offsets").await;
    let admin = target.admin().await;
    let producer = target.producer(&[]).await;
    for i in 0..10 {
        let record = Record::new(&topic).partition(0).value(b"x");
        let sent = producer
            .send(record.timestamp_ms(1_700_000_000_000 + i))
            .await;
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
        (OffsetSpec::Timestamp(1_700_000_000_004), Some(4)),
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

async fn topics_are_validated(target: Target) {
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

async fn partitions_are_added(target: Target) {
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

async fn configs_are_described_and_altered(target: Target) {
    let topic = target.topic("admin-configs").await;
    let admin = target.admin().await;
    let (good, broker) = (ConfigResource::topic(&*topic), ConfigResource::broker(1));
    let bad = ConfigResource::topic("admin-no-such-topic");
    let group = ConfigResource::group("admin-configs");
    let metrics = ConfigResource::client_metrics("admin-metrics");
    let logger = ConfigResource::broker_logger(1);
    let set = |name: &str, value: &str| (name.to_owned(), AlterConfig::Set(value.to_owned()));
    let alterations = BTreeMap::from([
        (
            good.clone(),
            vec![
                set("retention.ms", "12345"),
                (
                    "cleanup.policy".to_owned(),
                    AlterConfig::Append("compact".to_owned()),
                ),
            ],
        ),
        (bad.clone(), vec![set("retention.ms", "1")]),
        (broker.clone(), vec![set("log.cleaner.threads", "2")]),
        (
            group.clone(),
            vec![set("consumer.session.timeout.ms", "50000")],
        ),
        (metrics.clone(), vec![set("interval.ms", "60000")]),
    ]);
    let altered = admin.incremental_alter_configs(&alterations, false).await;
    let altered = altered.expect("answered");
    for resource in [&good, &broker, &group, &metrics] {
        assert!(altered[resource].is_ok(), "{altered:?}");
    }
    let unknown = altered[&bad].as_ref().expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    let wrong = BTreeMap::from([(good.clone(), vec![set("retention.ms", "soon")])]);
    let wrong = admin.incremental_alter_configs(&wrong, true).await;
    let wrong = wrong.expect("answered");
    assert_eq!(code(&wrong[&good]), Some(ErrorCode::INVALID_CONFIG));

    let resources = [&good, &bad, &broker, &group, &metrics, &logger].map(Clone::clone);
    let options = DescribeConfigsOptions::default();
    let options = options.include_synonyms().include_documentation();
    loop {
        let described = admin.describe_configs(&resources, &options).await;
        let described = described.expect("answered");
        let unknown = described[&bad].as_ref().expect_err("unknown");
        assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
        let value = |resource, name: &str| {
            let configs = described[resource].as_ref().expect("described");
            configs.get(name).and_then(|it| it.value.clone())
        };
        assert!(!described[&logger].as_ref().expect("loggers").is_empty());
        let seen = value(&good, "retention.ms").as_deref() == Some("12345")
            && value(&broker, "log.cleaner.threads").as_deref() == Some("2")
            && value(&group, "consumer.session.timeout.ms").as_deref() == Some("50000")
            && value(&metrics, "interval.ms").as_deref() == Some("60000");
        if seen {
            let configs = described[&good].as_ref().expect("described");
            let retention = &configs["retention.ms"];
            assert_eq!(retention.source, ConfigSource::Topic);
            assert_eq!(retention.kind, ConfigKind::Long);
            assert!(retention.documentation.is_some(), "{retention:?}");
            assert!(!retention.synonyms.is_empty(), "{retention:?}");
            let policy = value(&good, "cleanup.policy").expect("a value");
            assert!(
                policy.contains("delete") && policy.contains("compact"),
                "{policy}"
            );
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let kinds = [ConfigResourceKind::ClientMetrics, ConfigResourceKind::Group];
    let listed = admin.list_config_resources(&kinds).await.expect("listed");
    assert!(
        listed.contains(&metrics) && listed.contains(&group),
        "{listed:?}"
    );
    assert!(!listed.contains(&good), "{listed:?}");
    let delete = |name: &str| vec![(name.to_owned(), AlterConfig::Delete)];
    let back = BTreeMap::from([
        (broker, delete("log.cleaner.threads")),
        (metrics, delete("interval.ms")),
    ]);
    let back = admin.incremental_alter_configs(&back, false).await;
    assert!(back.expect("answered").values().all(Result::is_ok));
}

async fn group_offsets_are_altered(target: Target) {
    let topic = target.topic("admin-committed").await;
    let admin = target.admin().await;
    let mut offset = OffsetAndMetadata::new(7);
    offset.metadata = "a note".to_owned();
    let offsets = BTreeMap::from([
        (at(&topic, 0), offset.clone()),
        (at(&topic, 1), OffsetAndMetadata::new(3)),
        (at(&topic, 99), offset),
    ]);
    for group in ["admin-one", "admin-other"] {
        let altered = admin.alter_group_offsets(group, &offsets).await;
        let altered = altered.expect("answered");
        assert!(altered[&at(&topic, 0)].is_ok() && altered[&at(&topic, 1)].is_ok());
        let unknown = altered[&at(&topic, 99)].as_ref().expect_err("unknown");
        assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    }
    let groups = BTreeMap::from([
        ("admin-one", None),
        ("admin-other", Some(vec![at(&topic, 1), at(&topic, 2)])),
        ("admin-no-such-group", None),
    ]);
    let listed = admin.list_group_offsets(&groups, &Default::default()).await;
    let listed = listed.expect("answered");
    let one = listed["admin-one"].as_ref().expect("listed");
    let first = one[&at(&topic, 0)].as_ref().expect("committed");
    assert_eq!(
        (one.len(), first.offset, &*first.metadata),
        (2, 7, "a note")
    );
    let other = listed["admin-other"].as_ref().expect("listed");
    let second = other[&at(&topic, 1)].as_ref().expect("committed");
    assert_eq!((other.len(), second.offset), (1, 3));
    let none = listed["admin-no-such-group"].as_ref().expect("nothing");
    assert!(none.is_empty());

    let partitions = [at(&topic, 0), at(&topic, 99)];
    let deleted = admin.delete_group_offsets("admin-one", &partitions).await;
    let deleted = deleted.expect("answered");
    assert!(deleted[&at(&topic, 0)].is_ok(), "{deleted:?}");
    let listed = admin.list_group_offsets(&groups, &Default::default()).await;
    let listed = listed.expect("answered");
    let one = listed["admin-one"].as_ref().expect("listed");
    assert_eq!(one.keys().collect::<Vec<_>>(), [&at(&topic, 1)]);

    let ids = ["admin-one", "admin-other", "admin-no-such-group"];
    let deleted = admin.delete_groups(&ids).await.expect("answered");
    assert!(deleted["admin-one"].is_ok() && deleted["admin-other"].is_ok());
    assert_eq!(
        code(&deleted["admin-no-such-group"]),
        Some(ErrorCode::GROUP_ID_NOT_FOUND)
    );
}

async fn share_group_offsets_are_altered(target: Target) {
    let topic = target.topic("admin-shared").await;
    let admin = target.admin().await;
    let producer = target.producer(&[]).await;
    for _ in 0..5 {
        let record = Record::new(&topic).partition(0).value(b"x");
        producer.send(record).await.expect("sent");
    }
    let group = "admin-share";
    let config = ShareConsumerConfig::from_properties([
        ("bootstrap.servers", target.bootstrap.as_str()),
        ("group.id", group),
    ]);
    let consumer = ShareConsumer::connect(config.expect("good properties")).await;
    let mut consumer = consumer.expect("connected");
    consumer.subscribe(&[&*topic]).await.expect("subscribed");
    let ids = [group, "admin-no-such-group"];
    loop {
        consumer.poll(POLL).await.expect("polled");
        let described = admin.describe_share_groups(&ids).await.expect("answered");
        let missing = code(&described["admin-no-such-group"]);
        assert_eq!(missing, Some(ErrorCode::GROUP_ID_NOT_FOUND));
        if let Ok(group) = &described[group]
            && group.members.iter().any(|it| it.assignment.len() == 3)
        {
            assert_eq!(group.state, GroupState::Stable);
            break;
        }
    }
    let offsets = BTreeMap::from([(at(&topic, 0), 2), (at(&topic, 99), 2)]);
    let altered = admin.alter_share_group_offsets(group, &offsets).await;
    match altered {
        Ok(altered) => assert_eq!(
            code(&altered[&at(&topic, 0)]),
            Some(ErrorCode::NON_EMPTY_GROUP)
        ),
        Err(error) => panic!("{error}"),
    }
    let closed = consumer.close(Duration::from_secs(5)).await;
    closed.expect("closed");
    let altered = loop {
        let altered = admin.alter_share_group_offsets(group, &offsets).await;
        let altered = altered.expect("answered");
        if code(&altered[&at(&topic, 0)]) != Some(ErrorCode::NON_EMPTY_GROUP) {
            break altered;
        }
    };
    assert!(altered[&at(&topic, 0)].is_ok(), "{altered:?}");
    assert!(altered[&at(&topic, 99)].is_err(), "{altered:?}");
    let groups = BTreeMap::from([(group, None), ("admin-no-such-group", None)]);
    let listed = admin.list_share_group_offsets(&groups).await;
    let listed = listed.expect("answered");
    let offsets = listed[group].as_ref().expect("listed");
    let first = offsets[&at(&topic, 0)].as_ref().expect("begun");
    assert_eq!(first.start_offset, 2);
    let unknown = listed["admin-no-such-group"].as_ref().expect("listed");
    assert!(unknown.is_empty(), "{listed:?}");
    let topics = [&*topic, "admin-no-such-topic"];
    let deleted = admin.delete_share_group_offsets(group, &topics).await;
    let deleted = deleted.expect("answered");
    assert!(deleted[&topic].is_ok(), "{deleted:?}");
    assert!(deleted["admin-no-such-topic"].is_err(), "{deleted:?}");
}
