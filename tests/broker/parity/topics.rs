//! Metadata, CreateTopics, DeleteTopics, ApiVersions.

use protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use protocol::messages::delete_topics_request::DeleteTopicState;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use protocol::{ApiKey, Uuid};

use super::Session;

/// The APIs whose offered versions are compared.
const APIS: [ApiKey; 37] = [
    ApiKey::PRODUCE,
    ApiKey::FETCH,
    ApiKey::LIST_OFFSETS,
    ApiKey::METADATA,
    ApiKey::OFFSET_COMMIT,
    ApiKey::OFFSET_FETCH,
    ApiKey::FIND_COORDINATOR,
    ApiKey::JOIN_GROUP,
    ApiKey::HEARTBEAT,
    ApiKey::LEAVE_GROUP,
    ApiKey::SYNC_GROUP,
    ApiKey::API_VERSIONS,
    ApiKey::CREATE_TOPICS,
    ApiKey::DELETE_TOPICS,
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::SASL_HANDSHAKE,
    ApiKey::SASL_AUTHENTICATE,
    ApiKey::DESCRIBE_ACLS,
    ApiKey::CREATE_ACLS,
    ApiKey::DELETE_ACLS,
    ApiKey::ADD_PARTITIONS_TO_TXN,
    ApiKey::ADD_OFFSETS_TO_TXN,
    ApiKey::END_TXN,
    ApiKey::WRITE_TXN_MARKERS,
    ApiKey::TXN_OFFSET_COMMIT,
    ApiKey::DESCRIBE_PRODUCERS,
    ApiKey::DESCRIBE_TRANSACTIONS,
    ApiKey::LIST_TRANSACTIONS,
    ApiKey::DESCRIBE_LOG_DIRS,
    ApiKey::CREATE_PARTITIONS,
    ApiKey::DELETE_GROUPS,
    ApiKey::ELECT_LEADERS,
    ApiKey::LIST_PARTITION_REASSIGNMENTS,
    ApiKey::OFFSET_DELETE,
    ApiKey::DESCRIBE_CLIENT_QUOTAS,
    ApiKey::ALTER_CLIENT_QUOTAS,
    ApiKey::DESCRIBE_CLUSTER,
];

pub async fn run(session: &mut Session) {
    versions(session).await;
    metadata(session).await;
    create(session).await;
    settings(session).await;
    delete(session).await;
}

async fn versions(session: &mut Session) {
    let named = |name: &str, version: &str| ApiVersionsRequest {
        client_software_name: name.into(),
        client_software_version: version.into(),
        ..Default::default()
    };
    for version in [0, 3, 4, 5] {
        let response = session.ask(version, &named("raw", "1.0")).await;
        let ours = response
            .api_keys
            .iter()
            .filter(|api| APIS.contains(&ApiKey(api.api_key)));
        let mut ranges: Vec<_> = ours
            .map(|api| (api.api_key, api.min_version, api.max_version))
            .collect();
        ranges.sort_unstable();
        session.say(
            &format!("api versions v{version}"),
            (response.error_code, ranges),
        );
        let mut supported = response.supported_features.iter();
        let supported = supported.find(|feature| feature.name == "transaction.version");
        let mut finalized = response.finalized_features.iter();
        let finalized = finalized.find(|feature| feature.name == "transaction.version");
        session.say(
            "transaction.version",
            (
                supported.map(|it| (it.min_version, it.max_version)),
                finalized.map(|it| (it.min_version_level, it.max_version_level)),
            ),
        );
    }
    for (name, version) in [
        ("", "1"),
        ("raw", ""),
        ("-raw", "1"),
        ("raw", "1_0"),
        ("a.b-c", "1.0-x"),
    ] {
        let response = session.ask(3, &named(name, version)).await;
        session.say(
            &format!("api versions of {name:?} {version:?}"),
            response.error_code,
        );
    }
    for (cluster_id, node_id) in [(None, 9), (Some("other"), 1), (Some("other"), -1)] {
        let request = ApiVersionsRequest {
            cluster_id: cluster_id.map(Into::into),
            node_id,
            ..named("raw", "1")
        };
        let response = session.ask(5, &request).await;
        session.say(
            &format!("api versions for {cluster_id:?} {node_id}"),
            response.error_code,
        );
    }
    // ApiVersions version 99 with an empty client id and no body that anybody could read.
    session
        .raw
        .send_bytes(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 7, 0, 0, 0])
        .await
        .expect("sent");
    let frame = session.raw.receive_frame().await.expect("an answer");
    session.say("api versions v99", frame);
    for (what, api, version) in [
        ("an unknown API", 999i16, 0i16),
        ("metadata v99", 3, 99),
        ("produce v2", 0, 2),
    ] {
        let [api, version] = [api.to_be_bytes(), version.to_be_bytes()];
        let frame = [&[0, 0, 0, 10][..], &api, &version, &[0, 0, 0, 7, 0, 0]].concat();
        session.reconnect().await;
        session.raw.send_bytes(&frame).await.expect("sent");
        let closed = session.raw.receive_frame().await.is_err();
        session.say(&format!("{what} closes the connection"), closed);
    }
    for (what, prefix) in [
        ("a negative length", [255u8, 255, 255, 255]),
        ("an absurd length", [127, 0, 0, 0]),
    ] {
        session.reconnect().await;
        session.raw.send_bytes(&prefix).await.expect("sent");
        let closed = session.raw.receive_frame().await.is_err();
        session.say(&format!("{what} closes the connection"), closed);
    }
    session.reconnect().await;
    let tail = session
        .raw
        .send_bytes(&[0, 0, 0, 12, 0, 12, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9])
        .await;
    let closed = tail.is_err() || session.raw.receive_frame().await.is_err();
    session.say("a truncated heartbeat closes the connection", closed);
    session.reconnect().await;
}

async fn metadata(session: &mut Session) {
    let id = session.topic("described", 2, &[]).await;
    let described = session.name("described");
    let named = |name: &str| MetadataRequestTopic {
        name: Some(name.into()),
        ..Default::default()
    };
    let by_id = |topic_id| MetadataRequestTopic {
        name: None,
        topic_id,
        ..Default::default()
    };
    let cases = [
        ("known", 12, vec![named(&described)], false),
        ("known v1", 1, vec![named(&described)], false),
        ("unknown", 12, vec![named("nowhere")], false),
        ("unknown v1", 4, vec![named("nowhere")], false),
        ("badly named", 12, vec![named("no where")], true),
        (
            "badly named, not to be created",
            12,
            vec![named("no where")],
            false,
        ),
        ("without a name", 12, vec![named("")], true),
        ("by a known id", 12, vec![by_id(id)], false),
        (
            "by an unknown id",
            12,
            vec![by_id(Uuid::from_u128(98 << 64))],
            false,
        ),
        ("none", 12, vec![], false),
        (
            "twice",
            12,
            vec![named(&described), named(&described)],
            false,
        ),
    ];
    for (what, version, topics, allow_auto_topic_creation) in cases {
        let request = MetadataRequest {
            topics: Some(topics),
            allow_auto_topic_creation: allow_auto_topic_creation || version < 4,
            include_topic_authorized_operations: version >= 8,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let topics = response.topics.iter().map(|topic| {
            let partitions: Vec<_> = topic
                .partitions
                .iter()
                .map(|partition| {
                    (
                        partition.error_code,
                        partition.partition_index,
                        partition.leader_epoch,
                    )
                })
                .collect();
            let name = topic
                .name
                .as_deref()
                .map(|name| name.replace(&session.run, ""));
            (
                topic.error_code,
                name,
                topic.topic_id.is_zero(),
                topic.topic_authorized_operations,
                partitions,
            )
        });
        let mut topics: Vec<_> = topics.collect();
        topics
            .iter_mut()
            .for_each(|topic| topic.4.sort_unstable_by_key(|partition| partition.1));
        session.say(
            &format!("metadata {what}"),
            (response.error_code, topics, response.brokers.len()),
        );
    }
    let request = MetadataRequest {
        topics: Some(vec![]),
        include_cluster_authorized_operations: true,
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let response = session.ask(8, &request).await;
    session.say("cluster operations", response.cluster_authorized_operations);
    let born = session.name("born");
    let request = MetadataRequest {
        topics: Some(vec![named(&born)]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    let response = session.ask(12, &request).await;
    session.say(
        "metadata creates",
        (
            response.topics[0].error_code,
            response.topics[0].partitions.len(),
        ),
    );
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let response = session.ask(12, &request).await;
    session.say(
        "metadata created",
        (
            response.topics[0].error_code,
            response.topics[0].partitions.len(),
        ),
    );
}

async fn create(session: &mut Session) {
    let described = session.name("described");
    let (dotted, underscored) = (session.name("a.b"), session.name("a_b"));
    let topic = |name: &str, num_partitions, replication_factor| CreatableTopic {
        name: name.into(),
        num_partitions,
        replication_factor,
        ..Default::default()
    };
    let with_config = |name: &str, key: &str, value: Option<&str>| CreatableTopic {
        configs: vec![CreatableTopicConfig {
            name: key.into(),
            value: value.map(Into::into),
            ..Default::default()
        }],
        ..topic(name, 1, 1)
    };
    let assigned =
        |name: &str, partitions, replicas, assignments: &[(i32, Vec<i32>)]| CreatableTopic {
            assignments: assignments
                .iter()
                .map(|(partition_index, broker_ids)| CreatableReplicaAssignment {
                    partition_index: *partition_index,
                    broker_ids: broker_ids.clone(),
                    ..Default::default()
                })
                .collect(),
            ..topic(name, partitions, replicas)
        };
    let fresh = |number: usize| session.name(&format!("fresh{number}"));
    let cases = vec![
        ("new", topic(&fresh(1), 3, 1)),
        ("with defaults", topic(&fresh(2), -1, -1)),
        ("already there", topic(&described, 1, 1)),
        ("badly named", topic("no where", 1, 1)),
        ("unnamed", topic("", 1, 1)),
        ("dot", topic(".", 1, 1)),
        ("no partitions", topic(&fresh(3), 0, 1)),
        ("negative partitions", topic(&fresh(3), -2, 1)),
        ("no replicas", topic(&fresh(3), 1, 0)),
        ("negative replicas", topic(&fresh(3), 1, -2)),
        ("too many replicas", topic(&fresh(3), 1, 2)),
        (
            "an unknown config",
            with_config(&fresh(3), "no.such.config", Some("1")),
        ),
        (
            "a bad value",
            with_config(&fresh(3), "retention.bytes", Some("many")),
        ),
        (
            "a value too small",
            with_config(&fresh(3), "min.insync.replicas", Some("0")),
        ),
        ("a null value", with_config(&fresh(3), "retention.ms", None)),
        (
            "a config",
            with_config(&fresh(4), "retention.ms", Some("1000")),
        ),
        (
            "assigned",
            assigned(&fresh(5), -1, -1, &[(0, vec![1]), (1, vec![1])]),
        ),
        (
            "assigned and counted",
            assigned(&fresh(6), 2, -1, &[(0, vec![1]), (1, vec![1])]),
        ),
        (
            "assigned and replicated",
            assigned(&fresh(6), -1, 1, &[(0, vec![1])]),
        ),
        (
            "assigned with a gap",
            assigned(&fresh(6), -1, -1, &[(0, vec![1]), (2, vec![1])]),
        ),
        (
            "assigned to an unknown node",
            assigned(&fresh(6), -1, -1, &[(0, vec![9])]),
        ),
        (
            "assigned to nobody",
            assigned(&fresh(6), -1, -1, &[(0, vec![])]),
        ),
        (
            "assigned twice to a node",
            assigned(&fresh(6), -1, -1, &[(0, vec![1, 1])]),
        ),
        (
            "assigned a partition twice",
            assigned(&fresh(6), -1, -1, &[(0, vec![1]), (0, vec![1])]),
        ),
        ("dotted", topic(&dotted, 1, 1)),
        ("colliding", topic(&underscored, 1, 1)),
    ];
    for (what, topic) in cases {
        let request = CreateTopicsRequest {
            topics: vec![topic],
            ..Default::default()
        };
        let response = session.ask(7, &request).await;
        let result = &response.topics[0];
        let answer = (
            result.error_code,
            result.topic_id.is_zero(),
            result.num_partitions,
            result.replication_factor,
        );
        session.say(&format!("create {what}"), answer);
    }
    let twice = vec![
        topic(&session.name("twin"), 1, 1),
        topic(&session.name("twin"), 1, 1),
    ];
    let response = session
        .ask(
            7,
            &CreateTopicsRequest {
                topics: twice,
                ..Default::default()
            },
        )
        .await;
    let errors: Vec<_> = response
        .topics
        .iter()
        .map(|topic| topic.error_code)
        .collect();
    session.say("create twins", errors);
    for version in [2, 5, 7] {
        let topics = vec![topic(&session.name("imagined"), 4, 1)];
        let request = CreateTopicsRequest {
            topics,
            validate_only: true,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let result = &response.topics[0];
        session.say(
            &format!("validate v{version}"),
            (
                result.error_code,
                result.topic_id.is_zero(),
                result.num_partitions,
            ),
        );
    }
}

async fn delete(session: &mut Session) {
    let id = session.topic("doomed", 1, &[]).await;
    let doomed = session.name("doomed");
    let named = |name: &str| DeleteTopicState {
        name: Some(name.into()),
        ..Default::default()
    };
    let by_id = |topic_id| DeleteTopicState {
        name: None,
        topic_id,
        ..Default::default()
    };
    let cases = [
        ("unknown", vec![named("nowhere")]),
        ("by an unknown id", vec![by_id(Uuid::from_u128(97 << 64))]),
        (
            "by name and id",
            vec![DeleteTopicState {
                topic_id: id,
                ..named(&doomed)
            }],
        ),
        ("by nothing", vec![by_id(Uuid::ZERO)]),
        ("by a known id", vec![by_id(id)]),
        ("again", vec![by_id(id)]),
    ];
    for (what, topics) in cases {
        let request = DeleteTopicsRequest {
            topics,
            timeout_ms: 5000,
            ..Default::default()
        };
        let response = session.ask(6, &request).await;
        let results = response.responses.iter().map(|result| {
            let name = result
                .name
                .as_deref()
                .map(|name| name.replace(&session.run, ""));
            (result.error_code, name, result.topic_id.is_zero())
        });
        let results: Vec<_> = results.collect();
        session.say(&format!("delete {what}"), results);
    }
    let request = DeleteTopicsRequest {
        topic_names: vec!["nowhere".into()],
        timeout_ms: 5000,
        ..Default::default()
    };
    let response = session.ask(1, &request).await;
    session.say("delete unknown v1", response.responses[0].error_code);
}

/// What each setting takes. Left out is what Kafka keeps to and the embedded broker refuses: another codec than the producer's.
async fn settings(session: &mut Session) {
    let number = &[
        "-3",
        "-2",
        "-1",
        "0",
        "1",
        "+7",
        " 8 ",
        "1048576",
        "3000000000",
        "1.5",
        "soon",
        "",
    ];
    let flag = &["true", "FALSE", "yes", "1", ""];
    let replicas = &["*", "0:1,1:1", "0:1,", "0", "a:b", ""];
    let numbers = [
        "compression.gzip.level",
        "compression.lz4.level",
        "compression.zstd.level",
        "delete.retention.ms",
        "file.delete.delay.ms",
        "flush.messages",
        "flush.ms",
        "index.interval.bytes",
        "max.compaction.lag.ms",
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "min.cleanable.dirty.ratio",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "retention.bytes",
        "retention.ms",
        "segment.bytes",
        "segment.index.bytes",
        "segment.jitter.ms",
        "segment.ms",
    ];
    let flags = [
        "preallocate",
        "remote.storage.enable",
        "unclean.leader.election.enable",
    ];
    let others: [(&str, &[&str]); 5] = [
        (
            "cleanup.policy",
            &[
                "compact",
                "delete",
                "compact, delete",
                "delete,compact",
                "nonsense",
                "compact,nonsense",
                "Compact",
                "",
            ],
        ),
        ("compression.type", &["producer", "Producer", "brotli", ""]),
        (
            "message.timestamp.type",
            &[
                "CreateTime",
                "LogAppendTime",
                "logappendtime",
                "NoTimestampType",
                "",
            ],
        ),
        ("leader.replication.throttled.replicas", replicas),
        ("follower.replication.throttled.replicas", replicas),
    ];
    let numbers = numbers.map(|name| (name, &number[..]));
    let flags = flags.map(|name| (name, &flag[..]));
    for (name, values) in numbers.into_iter().chain(flags).chain(others) {
        for value in values {
            let answer = validate(session, &[(name, value)]).await;
            session.say(&format!("create with {name}={value:?}"), answer);
        }
    }
    for configs in [
        [
            ("min.compaction.lag.ms", "9"),
            ("max.compaction.lag.ms", "8"),
        ],
        [("retention.ms", "10"), ("retention.ms", "soon")],
        [("retention.ms", "soon"), ("retention.ms", "10")],
    ] {
        let answer = validate(session, &configs).await;
        session.say(&format!("create with {configs:?}"), answer);
    }
}

async fn validate(session: &mut Session, configs: &[(&str, &str)]) -> protocol::ErrorCode {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
        ..Default::default()
    });
    let topic = CreatableTopic {
        name: session.name("set"),
        num_partitions: 1,
        replication_factor: 1,
        configs: configs.collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        validate_only: true,
        ..Default::default()
    };
    session.ask(7, &request).await.topics[0].error_code
}
