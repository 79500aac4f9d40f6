//! Groups of every kind: listed, described, what they have committed altered, and deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::admin::{GroupFilter, GroupKind, GroupState, MemberToRemove};
use pat_events::kafka::{
    ErrorCode, ErrorKind, OffsetAndMetadata, Record, ShareConsumer, ShareConsumerConfig,
};

use super::{POLL, at, code};
use crate::fleet::Target;

pub(super) async fn groups_are_listed_and_described(target: Target) {
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

pub(super) async fn group_offsets_are_altered(target: Target) {
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

pub(super) async fn share_group_offsets_are_altered(target: Target) {
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
