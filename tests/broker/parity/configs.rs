//! Configurations: described with their types and sources, altered, refused, and what follows from them; the quorum.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::compression::Compression;
use protocol::messages::alter_configs_request;
use protocol::messages::describe_configs_request::DescribeConfigsResource;
use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, DescribeQuorumRequest,
    IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};

use super::Session;
use crate::raw::keyed;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Where brokers are set up differently: Kafka keeps records for a week, the embedded broker by size alone, and what Kafka's properties say though it is the
/// default.
const DIFFERENT: [&str; 4] = [
    "file.delete.delay.ms",
    "min.insync.replicas",
    "retention.bytes",
    "retention.ms",
];

pub async fn run(session: &mut Session) {
    session
        .topic("configured", 1, &[("retention.ms", "777")])
        .await;
    topics_described(session).await;
    groups_described(session).await;
    refused_descriptions(session).await;
    altered(session).await;
    refused_alterations(session).await;
    listed(session).await;
    quorum(session).await;
}

async fn describe(
    session: &mut Session,
    (kind, name): (i8, &str),
    keys: Option<&[&str]>,
) -> Vec<DescribeConfigsResourceResult> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: name.to_owned(),
            configuration_keys: keys.map(|keys| keys.iter().map(ToString::to_string).collect()),
            ..Default::default()
        }],
        include_synonyms: true,
        include_documentation: true,
        ..Default::default()
    };
    let mut answer = session.ask(4, &request).await;
    let result = answer.results.remove(0);
    let mut configs = result.configs;
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    if configs.is_empty() {
        session.say(
            &format!("no configurations of {kind}"),
            (result.error_code, result.error_message),
        );
    }
    configs
}

fn told(it: &DescribeConfigsResourceResult) -> String {
    let synonyms = it.synonyms.iter();
    let synonyms: Vec<_> = synonyms
        .map(|it| {
            let value = it.value.as_deref().unwrap_or("none");
            format!("{}={value} from {}", it.name, it.source)
        })
        .collect();
    let value = it.value.as_deref().unwrap_or("none");
    let flags = (it.read_only, it.is_sensitive, it.documentation.is_some());
    format!(
        "{value} of type {} from {} {flags:?} {synonyms:?}",
        it.config_type, it.config_source
    )
}

async fn topics_described(session: &mut Session) {
    let name = session.name("configured");
    let configs = describe(session, (TOPIC, &name), None).await;
    for config in configs.iter().filter(|it| !DIFFERENT.contains(&&*it.name)) {
        session.say(&format!("topic {}", config.name), told(config));
    }
    let keys = ["segment.bytes", "no.such.name", "cleanup.policy"];
    let configs = describe(session, (TOPIC, &name), Some(&keys)).await;
    let names: Vec<_> = configs.iter().map(|it| &it.name).collect();
    session.say("those asked for", names);
    let configs = describe(session, (TOPIC, &name), Some(&["retention.ms"])).await;
    session.say(
        "the topic's own",
        (configs[0].value.clone(), configs[0].config_source),
    );
}

/// Those that the embedded broker has.
const OF_GROUPS: [&str; 8] = [
    "consumer.heartbeat.interval.ms",
    "consumer.session.timeout.ms",
    "share.auto.offset.reset",
    "share.delivery.count.limit",
    "share.heartbeat.interval.ms",
    "share.partition.max.record.locks",
    "share.record.lock.duration.ms",
    "share.session.timeout.ms",
];

async fn groups_described(session: &mut Session) {
    let name = session.name("configured");
    let configs = describe(session, (GROUP, &name), Some(&OF_GROUPS)).await;
    for config in configs {
        let synonyms = config.synonyms.iter();
        let synonyms: Vec<_> = synonyms.map(|it| (it.name.clone(), it.source)).collect();
        let said = (config.config_type, config.config_source, synonyms);
        session.say(&format!("group {}", config.name), said);
    }
}

/// Not those of all brokers and of subscriptions to metrics, which the embedded broker has none of.
async fn refused_descriptions(session: &mut Session) {
    let none = session.name("none");
    for (kind, name) in [
        (TOPIC, none.as_str()),
        (TOPIC, ""),
        (TOPIC, "a b"),
        (BROKER, "99"),
        (BROKER, "one"),
        (8, ""),
        (8, "99"),
        (16, ""),
        (GROUP, ""),
    ] {
        describe(session, (kind, name), None).await;
    }
}

type Changes<'a> = &'a [(&'a str, i8, Option<&'a str>)];

fn resource(kind: i8, name: &str, changes: Changes<'_>) -> AlterConfigsResource {
    let configs = changes
        .iter()
        .map(|(name, config_operation, value)| AlterableConfig {
            name: (*name).to_owned(),
            config_operation: *config_operation,
            value: value.map(str::to_owned),
            ..Default::default()
        });
    AlterConfigsResource {
        resource_type: kind,
        resource_name: name.to_owned(),
        configs: configs.collect(),
        ..Default::default()
    }
}

async fn alter(session: &mut Session, what: &str, of: (i8, &str), changes: Changes<'_>) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource(of.0, of.1, changes)],
        ..Default::default()
    };
    let answer = session.ask(1, &request).await;
    let run = session.run.clone();
    let answers = answer.responses.into_iter();
    let answers: Vec<_> = answers
        .map(|it| {
            (
                it.error_code,
                it.error_message.map(|it| it.replace(&run, "")),
            )
        })
        .collect();
    session.say(&format!("altered, {what}"), answers);
}

/// As its source, any.
const ANY: i8 = -1;

/// Waits until the broker says so of the topic.
async fn becomes(session: &mut Session, name: &str, value: &str, source: i8) {
    let topic = session.name("configured");
    loop {
        let configs = describe(session, (TOPIC, &topic), Some(&[name])).await;
        let config = &configs[0];
        let is_from_there = source == ANY || config.config_source == source;
        if config.value.as_deref() == Some(value) && is_from_there {
            return session.say(&format!("{name} is"), (value, source));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Produces so many records; again for a while where it is not told what it should be: what is described is not in force at the same moment.
async fn produced(session: &mut Session, what: &str, records: usize, wanted: ErrorCode) {
    let batch = || keyed(&vec![(1_000, None); records], Compression::NONE);
    for _ in 0..100 {
        let produced = session.produce(9, "configured", 0, batch()).await;
        if produced.is_ok_and(|it| it.0 == wanted) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let produced = session.produce(9, "configured", 0, batch()).await;
    session.say(what, produced.map(|it| it.0));
}

async fn altered(session: &mut Session) {
    let topic = session.name("configured");
    let of = (TOPIC, topic.as_str());
    let policy = "cleanup.policy";
    alter(
        session,
        "a list added to",
        of,
        &[(policy, APPEND, Some("compact"))],
    )
    .await;
    becomes(session, policy, "delete,compact", 1).await;
    produced(
        session,
        "without a key where keys are compacted",
        1,
        ErrorCode::INVALID_RECORD,
    )
    .await;
    alter(
        session,
        "a list taken from",
        of,
        &[(policy, SUBTRACT, Some("compact"))],
    )
    .await;
    becomes(session, policy, "delete", 1).await;
    alter(session, "back", of, &[(policy, DELETE, None)]).await;
    becomes(session, policy, "delete", 5).await;
    produced(session, "without a key where none are", 1, ErrorCode::NONE).await;
    let max = "max.message.bytes";
    alter(session, "a size", of, &[(max, SET, Some("70"))]).await;
    becomes(session, max, "70", 1).await;
    produced(session, "larger than that", 5, ErrorCode::MESSAGE_TOO_LARGE).await;
    alter(
        session,
        "several",
        of,
        &[(max, DELETE, None), ("min.insync.replicas", SET, Some("2"))],
    )
    .await;
    becomes(session, "min.insync.replicas", "2", 1).await;
    // No more are needed than there are.
    produced(session, "with too few replicas", 1, ErrorCode::NONE).await;
    // What the older request does not name goes.
    let request = AlterConfigsRequest {
        resources: vec![alter_configs_request::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.clone(),
            configs: vec![alter_configs_request::AlterableConfig {
                name: "segment.ms".to_owned(),
                value: Some("99".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let answer = session.ask(2, &request).await;
    session.say("replaced", answer.responses[0].error_code);
    becomes(session, "segment.ms", "99", 1).await;
    becomes(session, "min.insync.replicas", "1", ANY).await;
    produced(session, "with enough", 1, ErrorCode::NONE).await;
}

async fn refused_alterations(session: &mut Session) {
    let (topic, none) = (session.name("configured"), session.name("none"));
    let of = (TOPIC, topic.as_str());
    let set = |name, value| (name, SET, Some(value));
    for (what, of, changes) in [
        ("an unknown name", of, &[set("no.such.name", "1")][..]),
        ("no number", of, &[set("retention.ms", "soon")]),
        (
            "no small number",
            of,
            &[set("segment.bytes", "9223372036854775807")],
        ),
        ("too small", of, &[set("retention.ms", "-2")]),
        ("too large", of, &[set("compression.lz4.level", "18")]),
        ("no flag", of, &[set("preallocate", "yes")]),
        ("no share", of, &[set("min.cleanable.dirty.ratio", "1.5")]),
        (
            "none of several",
            of,
            &[set("message.timestamp.type", "Never")],
        ),
        (
            "no list of them",
            of,
            &[set("cleanup.policy", "delete,none")],
        ),
        (
            "a level that is none",
            of,
            &[set("compression.gzip.level", "0")],
        ),
        (
            "no replicas",
            of,
            &[set("leader.replication.throttled.replicas", "1")],
        ),
        (
            "two that conflict",
            of,
            &[
                set("min.compaction.lag.ms", "9"),
                set("max.compaction.lag.ms", "8"),
            ],
        ),
        ("tiers", of, &[set("remote.storage.enable", "true")]),
        (
            "one of two",
            of,
            &[set("segment.ms", "5"), set("flush.ms", "-5")],
        ),
        ("nothing", of, &[]),
        (
            "one twice",
            of,
            &[set("segment.ms", "5"), set("segment.ms", "6")],
        ),
        ("no value", of, &[("segment.ms", SET, None)]),
        ("no list", of, &[("segment.ms", APPEND, Some("5"))]),
        (
            "taken from none",
            of,
            &[("segment.ms", SUBTRACT, Some("5"))],
        ),
        (
            "an unknown name deleted",
            of,
            &[("no.such.name", DELETE, None)],
        ),
        ("of no topic", (TOPIC, &none), &[set("segment.ms", "5")]),
        (
            "of no topic, wrong",
            (TOPIC, &none),
            &[set("segment.ms", "x")],
        ),
        ("of all topics", (TOPIC, ""), &[set("segment.ms", "5")]),
        (
            "of a name that is none",
            (TOPIC, "a b"),
            &[set("segment.ms", "5")],
        ),
        ("of a broker", (BROKER, "1"), &[set("num.partitions", "5")]),
        (
            "of all brokers",
            (BROKER, ""),
            &[set("num.partitions", "5")],
        ),
        (
            "of another broker",
            (BROKER, "99"),
            &[set("num.partitions", "5")],
        ),
        (
            "of no broker",
            (BROKER, "one"),
            &[set("num.partitions", "5")],
        ),
        ("of a logger", (8, "1"), &[set("no.such.logger", "INFO")]),
        ("of what is none", (3, "x"), &[set("a", "5")]),
        (
            "of no group",
            (GROUP, ""),
            &[set("share.delivery.count.limit", "5")],
        ),
        ("of a group", (GROUP, &none), &[set("no.such.name", "5")]),
        (
            "of a group, wrong",
            (GROUP, &none),
            &[set("share.delivery.count.limit", "x")],
        ),
    ] {
        alter(session, what, of, changes).await;
    }
    let segment = [set("segment.ms", "55")];
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            resource(TOPIC, &topic, &segment),
            resource(TOPIC, &none, &segment),
            resource(TOPIC, &topic, &segment),
        ],
        ..Default::default()
    };
    let answer = session.ask(1, &request).await;
    let mut codes: Vec<_> = (answer.responses.iter())
        .map(|it| {
            (
                it.resource_name == topic,
                it.error_code,
                it.error_message.clone(),
            )
        })
        .collect();
    codes.iter_mut().for_each(|it| {
        it.2 = it.2.take().map(|text| text.replace(&session.run, ""));
    });
    session.say("altered, one resource twice", codes);
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource(TOPIC, &topic, &segment)],
        validate_only: true,
        ..Default::default()
    };
    let answer = session.ask(1, &request).await;
    session.say("altered, only checked", answer.responses[0].error_code);
    becomes(session, "segment.ms", "99", 1).await;
}

async fn listed(session: &mut Session) {
    let group = session.name("configured");
    let of = (GROUP, group.as_str());
    alter(
        session,
        "of a group, as it should be",
        of,
        &[("share.delivery.count.limit", SET, Some("6"))],
    )
    .await;
    let names = loop {
        let request = ListConfigResourcesRequest {
            resource_types: vec![TOPIC, BROKER, GROUP],
            ..Default::default()
        };
        let answer = session.ask(1, &request).await;
        let own = answer.config_resources.iter();
        let mut own: Vec<_> = own
            .filter(|it| it.resource_name == group || it.resource_type == BROKER)
            .map(|it| (it.resource_type, it.resource_name.replace(&session.run, "")))
            .collect();
        own.sort();
        if own.iter().any(|it| it.0 == GROUP) {
            break own;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    session.say("resources listed", names);
    for (version, resource_types) in [
        (0, vec![]),
        (1, vec![]),
        (1, vec![8]),
        (1, vec![3]),
        (1, vec![16]),
    ] {
        let request = ListConfigResourcesRequest {
            resource_types: resource_types.clone(),
            ..Default::default()
        };
        let answer = session.ask(version, &request).await;
        let mut kinds: Vec<_> = answer
            .config_resources
            .iter()
            .map(|it| it.resource_type)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        session.say(
            &format!("resources of {resource_types:?} in v{version}"),
            (answer.error_code, kinds),
        );
    }
    alter(
        session,
        "of a group, back",
        of,
        &[("share.delivery.count.limit", DELETE, None)],
    )
    .await;
}

async fn quorum(session: &mut Session) {
    for (topic, partitions) in [
        ("__cluster_metadata", &[0][..]),
        ("__cluster_metadata", &[1]),
        ("__cluster_metadata", &[0, 1]),
        ("other", &[0]),
    ] {
        let partitions = partitions.iter().map(|partition_index| PartitionData {
            partition_index: *partition_index,
            ..Default::default()
        });
        let request = DescribeQuorumRequest {
            topics: vec![TopicData {
                topic_name: topic.to_owned(),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        for version in 0..=2 {
            let answer = session.ask(version, &request).await;
            let partitions = answer.topics.iter().flat_map(|it| &it.partitions);
            let partitions: Vec<_> = partitions
                .map(|it| {
                    let voters: Vec<_> = (it.current_voters.iter())
                        .map(|voter| {
                            let seen = voter.last_fetch_timestamp > 0;
                            let caught_up = voter.last_caught_up_timestamp > 0;
                            let has_all = voter.log_end_offset >= it.high_watermark;
                            (voter.replica_id, seen, caught_up, has_all)
                        })
                        .collect();
                    let leads = (it.leader_id, it.leader_epoch > 0, it.high_watermark > 0);
                    (
                        it.partition_index,
                        it.error_code,
                        leads,
                        voters,
                        it.observers.len(),
                    )
                })
                .collect();
            session.say(
                &format!("the quorum of {topic} in v{version}"),
                (answer.error_code, partitions),
            );
        }
    }
}
