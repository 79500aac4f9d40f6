//! AddOffsetsToTxn, TxnOffsetCommit, and OffsetFetch that wants what is stable.

use protocol::ErrorCode;
use protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use protocol::messages::{
    AddOffsetsToTxnRequest, ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest,
    TxnOffsetCommitRequest,
};

use super::Session;
use super::producer::Producer;
use crate::parity::groups::{RANGE, join, sync};

pub async fn run(session: &mut Session) {
    flows(session).await;
    refusals(session).await;
    overtaken(session).await;
    classic_members(session).await;
    members(session).await;
}

fn commit(
    session: &Session,
    producer: &Producer,
    group: &str,
    offset: i64,
) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition {
        committed_offset: offset,
        committed_metadata: Some("m".into()),
        ..Default::default()
    };
    TxnOffsetCommitRequest {
        transactional_id: producer.transactional_id.clone(),
        group_id: session.name(group),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: session.name("txn"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn committed(
    session: &mut Session,
    version: i16,
    request: &TxnOffsetCommitRequest,
) -> Vec<ErrorCode> {
    let response = session.ask(version, request).await;
    let topics = response.topics.iter();
    let mut errors: Vec<_> = topics
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|it| (topic.name.clone(), it.partition_index, it.error_code))
        })
        .collect();
    errors.sort_unstable_by_key(|(name, index, _)| (name.clone(), *index));
    errors.into_iter().map(|(_, _, error)| error).collect()
}

async fn add(session: &mut Session, version: i16, producer: &Producer, group: &str) -> ErrorCode {
    let request = AddOffsetsToTxnRequest {
        transactional_id: producer.transactional_id.clone(),
        producer_id: producer.id,
        producer_epoch: producer.epoch,
        group_id: session.name(group),
        ..Default::default()
    };
    session.ask(version, &request).await.error_code
}

/// What is committed for two partitions: as it is, stable, and all that is stable.
async fn fetched(session: &mut Session, group: &str) -> Vec<Vec<(i32, i64, ErrorCode)>> {
    let asked = OffsetFetchRequestTopics {
        name: session.name("txn"),
        partition_indexes: vec![0, 1],
        ..Default::default()
    };
    let mut answers = Vec::new();
    for (topics, require_stable) in [
        (Some(vec![asked.clone()]), false),
        (Some(vec![asked]), true),
        (None, true),
    ] {
        let group = OffsetFetchRequestGroup {
            group_id: session.name(group),
            topics,
            ..Default::default()
        };
        let request = OffsetFetchRequest {
            groups: vec![group],
            require_stable,
            ..Default::default()
        };
        let response = session.ask(9, &request).await;
        let topics = response.groups[0].topics.iter();
        let partitions = topics.flat_map(|topic| &topic.partitions);
        let told = partitions.map(|it| (it.partition_index, it.committed_offset, it.error_code));
        answers.push(told.collect());
    }
    answers
}

async fn flows(session: &mut Session) {
    let mut producer = Producer::begun(session, "offsets").await;
    for (index, version) in (0..=5).enumerate() {
        let offset = 10 * (index as i64 + 1);
        let request = commit(session, &producer, "txn-flows", offset);
        let first = committed(session, version, &request).await;
        session.say(&format!("commit v{version} without adding"), first);
        let added = add(session, version.min(4), &producer, "txn-flows").await;
        let second = committed(session, version, &request).await;
        session.say(&format!("commit v{version}"), (added, second));
        let before = fetched(session, "txn-flows").await;
        session.say("committed before the end", before);
        let ended = producer.end(session, if version < 5 { 4 } else { 5 }, index % 3 != 1);
        let ended = ended.await.0;
        session.say("end", ended);
        let after = fetched(session, "txn-flows").await;
        session.say("committed after the end", after);
    }
    producer.epoch -= 1;
    for version in [0, 1, 2, 3, 4] {
        let late = add(session, version, &producer, "txn-flows").await;
        session.say(&format!("add offsets v{version} in an old epoch"), late);
    }
    for version in [0, 3, 4, 5] {
        let request = commit(session, &producer, "txn-flows", 99);
        let late = committed(session, version, &request).await;
        session.say(&format!("commit v{version} in an old epoch"), late);
    }
}

async fn refusals(session: &mut Session) {
    let mut producer = Producer::begun(session, "offset-refusals").await;
    let good = commit(session, &producer, "txn-refusals", 5);
    let with_topic = |name: String, indexes: &[i32], metadata: usize| {
        let partition = |index: &i32| TxnOffsetCommitRequestPartition {
            partition_index: *index,
            committed_offset: 5,
            committed_metadata: Some("m".repeat(metadata)),
            ..Default::default()
        };
        vec![TxnOffsetCommitRequestTopic {
            name,
            partitions: indexes.iter().map(partition).collect(),
            ..Default::default()
        }]
    };
    let (txn, nowhere) = (session.name("txn"), session.name("nowhere"));
    let cases = [
        ("of an unknown topic", with_topic(nowhere, &[0], 1)),
        ("of unknown partitions", with_topic(txn.clone(), &[0, 9], 1)),
        ("with much metadata", with_topic(txn, &[0], 5_000)),
    ];
    for (what, topics) in cases {
        let request = TxnOffsetCommitRequest {
            topics,
            ..good.clone()
        };
        let answer = committed(session, 5, &request).await;
        session.say(&format!("commit {what}"), answer);
    }
    let cases = [
        (
            "for an empty group",
            TxnOffsetCommitRequest {
                group_id: String::new(),
                ..good.clone()
            },
        ),
        (
            "in a generation of an unknown group",
            TxnOffsetCommitRequest {
                group_id: session.name("txn-unknown"),
                generation_id_or_member_epoch: 3,
                member_id: "m".into(),
                ..good.clone()
            },
        ),
        (
            "for a group without members, as a member",
            TxnOffsetCommitRequest {
                member_id: "m".into(),
                ..good.clone()
            },
        ),
        (
            "of an unknown transactional id",
            TxnOffsetCommitRequest {
                transactional_id: session.name("nobody"),
                producer_id: producer.id + 1_000_000,
                ..good.clone()
            },
        ),
        (
            "of another producer",
            TxnOffsetCommitRequest {
                producer_id: producer.id + 1_000_000,
                ..good.clone()
            },
        ),
        (
            "in an epoch to come",
            TxnOffsetCommitRequest {
                producer_epoch: 5,
                group_id: session.name("txn-other"),
                ..good.clone()
            },
        ),
    ];
    for (what, request) in cases {
        // Older ones want the group's partition of the offsets' topic to be in the transaction, and it may be by chance: names are new each time.
        let by_chance = what == "in a generation of an unknown group";
        for version in if by_chance { 5..=5 } else { 3..=5 } {
            let answer = committed(session, version, &request).await;
            session.say(&format!("commit v{version} {what}"), answer);
        }
    }
    let ended = producer.end(session, 5, true).await;
    session.say("end", ended);
}

/// A group that commits by itself, and two producers that do it for it.
async fn overtaken(session: &mut Session) {
    let mut first = Producer::begun(session, "overtaken-1").await;
    let mut second = Producer::begun(session, "overtaken-2").await;
    let request = commit(session, &first, "txn-overtaken", 10);
    let one = committed(session, 5, &request).await;
    let request = commit(session, &second, "txn-overtaken", 20);
    let two = committed(session, 5, &request).await;
    session.say("two transactions commit", (one, two));
    second.end(session, 5, true).await;
    let seen = fetched(session, "txn-overtaken").await;
    session.say("after the end of the second", seen);
    first.end(session, 5, true).await;
    let seen = fetched(session, "txn-overtaken").await;
    session.say("after the end of the first", seen);
    let request = commit(session, &first, "txn-overtaken", 30);
    let one = committed(session, 5, &request).await;
    let partition = OffsetCommitRequestPartition {
        committed_offset: 40,
        ..Default::default()
    };
    let plain = OffsetCommitRequest {
        group_id: session.name("txn-overtaken"),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: session.name("txn"),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = session.ask(9, &plain).await;
    let two = response.topics[0].partitions[0].error_code;
    let seen = fetched(session, "txn-overtaken").await;
    session.say("the group commits beside a transaction", (one, two, seen));
    first.end(session, 5, true).await;
    let seen = fetched(session, "txn-overtaken").await;
    session.say("after its end", seen);
}

async fn classic_members(session: &mut Session) {
    let group = session.name("txn-classic");
    let asked = session.ask(5, &join(group.clone(), "", RANGE)).await;
    let me = asked.member_id;
    session.ask(5, &join(group.clone(), &me, RANGE)).await;
    let mut producer = Producer::begun(session, "classic-members").await;
    for stage in ["before the sync", "after the sync"] {
        for (what, generation, member_id) in [
            ("its member", 1, me.clone()),
            ("an old generation", 0, me.clone()),
            ("a generation to come", 2, me.clone()),
            ("another member", 1, "other".to_owned()),
            ("a member without a generation", -1, me.clone()),
            ("nobody", -1, String::new()),
        ] {
            let request = TxnOffsetCommitRequest {
                generation_id_or_member_epoch: generation,
                member_id,
                ..commit(session, &producer, "txn-classic", 5)
            };
            let answer = committed(session, 5, &request).await;
            session.say(&format!("commit by {what} {stage}"), answer);
        }
        session
            .ask(5, &sync(group.clone(), 1, &me, &[(&me, "all")]))
            .await;
    }
    let ended = producer.end(session, 5, true).await.0;
    session.say("end", ended);
}

async fn members(session: &mut Session) {
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: session.name("txn-members"),
        member_id: "m1".into(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![session.name("txn")]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let epoch = session.ask(1, &beat).await.member_epoch;
    let mut producer = Producer::begun(session, "members").await;
    for (what, member_epoch, member_id) in [
        ("its member", epoch, "m1"),
        ("an old epoch", epoch - 1, "m1"),
        ("an epoch to come", epoch + 1, "m1"),
        ("another member", epoch, "m2"),
        ("nobody", -1, ""),
    ] {
        for version in [3, 5] {
            let request = TxnOffsetCommitRequest {
                generation_id_or_member_epoch: member_epoch,
                member_id: member_id.into(),
                ..commit(session, &producer, "txn-members", 5)
            };
            let answer = committed(session, version, &request).await;
            session.say(
                &format!("commit v{version} by {what} of a consumer group"),
                answer,
            );
        }
    }
    let ended = producer.end(session, 5, true).await.0;
    session.say("end", ended);
}
