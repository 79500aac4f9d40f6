//! Configurations of topics, brokers, groups and client metrics: described, altered, listed.

use std::collections::BTreeMap;

use pat_events::kafka::admin::{
    AlterConfig, ConfigDescription, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource,
    DescribeConfigsOptions,
};
use pat_events::kafka::{Admin, ErrorCode, ErrorKind, Record};

use super::{POLL, code};
use crate::fleet::Target;

type Alterations = BTreeMap<ConfigResource, Vec<(String, AlterConfig)>>;

fn set(name: &str, value: &str) -> (String, AlterConfig) {
    (name.to_owned(), AlterConfig::Set(value.to_owned()))
}

fn delete(name: &str) -> (String, AlterConfig) {
    (name.to_owned(), AlterConfig::Delete)
}

async fn alter(admin: &Admin, alterations: &Alterations) {
    let altered = admin.incremental_alter_configs(alterations, false).await;
    let altered = altered.expect("answered");
    assert!(altered.values().all(Result::is_ok), "{altered:?}");
}

/// Waits until the resource is described with this value.
async fn described(
    admin: &Admin,
    resource: &ConfigResource,
    (name, value): (&str, &str),
) -> BTreeMap<String, ConfigDescription> {
    let options = DescribeConfigsOptions::default();
    let options = options.include_synonyms().include_documentation();
    loop {
        let all = admin
            .describe_configs(std::slice::from_ref(resource), &options)
            .await;
        let mut all = all.expect("answered");
        let configs = all.remove(resource).expect("answered").expect("described");
        if configs.get(name).and_then(|it| it.value.as_deref()) == Some(value) {
            return configs;
        }
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn configs_are_described_and_altered(target: Target) {
    let topic = target.topic("admin-configs").await;
    let admin = target.admin().await;
    let (good, group) = (
        ConfigResource::topic(&*topic),
        ConfigResource::group("admin-configs"),
    );
    let bad = ConfigResource::topic("admin-no-such-topic");
    let append = AlterConfig::Append("compact".to_owned());
    let alterations = BTreeMap::from([
        (
            good.clone(),
            vec![
                set("retention.ms", "12345"),
                ("cleanup.policy".to_owned(), append),
            ],
        ),
        (bad.clone(), vec![set("retention.ms", "1")]),
        (
            group.clone(),
            vec![set("consumer.session.timeout.ms", "50000")],
        ),
    ]);
    let altered = admin.incremental_alter_configs(&alterations, false).await;
    let altered = altered.expect("answered");
    assert!(
        altered[&good].is_ok() && altered[&group].is_ok(),
        "{altered:?}"
    );
    let unknown = altered[&bad].as_ref().expect_err("unknown");
    assert_eq!(unknown.kind(), ErrorKind::UnknownTopicOrPartition);
    let wrong = BTreeMap::from([
        (good.clone(), vec![set("retention.ms", "soon")]),
        (group.clone(), vec![set("no.such.name", "1")]),
    ]);
    let wrong = admin.incremental_alter_configs(&wrong, true).await;
    let wrong = wrong.expect("answered");
    for resource in [&good, &group] {
        assert_eq!(code(&wrong[resource]), Some(ErrorCode::INVALID_CONFIG));
    }

    let options = DescribeConfigsOptions::default();
    let unknown = admin
        .describe_configs(&[bad.clone(), good.clone()], &options)
        .await;
    let unknown = unknown.expect("answered");
    let error = unknown[&bad].as_ref().expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    assert!(unknown[&good].is_ok());
    let configs = described(&admin, &good, ("retention.ms", "12345")).await;
    let retention = &configs["retention.ms"];
    assert_eq!(retention.source, ConfigSource::Topic);
    assert_eq!(retention.kind, ConfigKind::Long);
    assert!(retention.documentation.is_some(), "{retention:?}");
    assert!(!retention.synonyms.is_empty(), "{retention:?}");
    assert!(!retention.is_read_only && !retention.is_sensitive);
    assert_eq!(configs["segment.bytes"].source, ConfigSource::Default);
    let policy = configs["cleanup.policy"].value.as_deref();
    assert_eq!(policy, Some("delete,compact"));
    let configs = described(&admin, &group, ("consumer.session.timeout.ms", "50000")).await;
    let timeout = &configs["consumer.session.timeout.ms"];
    assert_eq!(
        (timeout.source, timeout.kind),
        (ConfigSource::Group, ConfigKind::Int)
    );
    let listed = admin
        .list_config_resources(&[ConfigResourceKind::Group])
        .await;
    let listed = listed.expect("listed");
    assert!(
        listed.contains(&group) && !listed.contains(&good),
        "{listed:?}"
    );
    let all = admin.list_config_resources(&[]).await.expect("listed");
    assert!(all.contains(&good) && all.contains(&group), "{all:?}");
    let configs = described(&admin, &ConfigResource::broker(1), ("node.id", "1")).await;
    let id = &configs["node.id"];
    assert!(
        id.is_read_only && id.source == ConfigSource::StaticBroker,
        "{id:?}"
    );
    let own = BTreeMap::from([(ConfigResource::broker(1), vec![set("node.id", "2")])]);
    let own = admin
        .incremental_alter_configs(&own, false)
        .await
        .expect("answered");
    let refused = &own[&ConfigResource::broker(1)];
    assert_eq!(
        code(refused),
        Some(ErrorCode::INVALID_REQUEST),
        "{refused:?}"
    );
    what_is_altered_is_kept_to(&target, &admin, &good).await;
    alter(
        &admin,
        &BTreeMap::from([(group, vec![delete("consumer.session.timeout.ms")])]),
    )
    .await;
}

/// A topic that took a record takes it no more, and takes it again.
async fn what_is_altered_is_kept_to(target: &Target, admin: &Admin, topic: &ConfigResource) {
    let alter_topic = async |changes: Vec<(String, AlterConfig)>| {
        alter(admin, &BTreeMap::from([(topic.clone(), changes)])).await;
    };
    alter_topic(vec![
        delete("cleanup.policy"),
        set("max.message.bytes", "200"),
    ])
    .await;
    described(admin, topic, ("max.message.bytes", "200")).await;
    // Producers learn what brokers refuse: one that has not.
    let fresh = async || target.producer(&[]).await;
    let producer = fresh().await;
    let (small, large) = (vec![1; 50], vec![1; 500]);
    let new = || Record::new(&topic.name).partition(0);
    soon(async || fresh().await.send(new().value(&large)).await.is_err()).await;
    producer
        .send(new().value(&small))
        .await
        .expect("small enough");
    alter_topic(vec![delete("max.message.bytes")]).await;
    soon(async || fresh().await.send(new().value(&large)).await.is_ok()).await;
    let last = producer.send(new().value(&small)).await.expect("written");
    alter_topic(vec![set("message.timestamp.type", "LogAppendTime")]).await;
    described(admin, topic, ("message.timestamp.type", "LogAppendTime")).await;
    soon(async || {
        let old = new().value(&small).timestamp_ms(1_000);
        let written = producer.send(old).await.expect("written");
        assert!(written.offset > last.offset);
        written.timestamp_ms > 1_000
    })
    .await;
}

/// What is described is not in force at the same moment.
async fn soon(is_so: impl AsyncFn() -> bool) {
    for _ in 0..100 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(POLL / 4).await;
    }
    panic!("it does not come into force");
}

/// Kafka's brokers alter their own while they run, have loggers, and are told what they want to know of clients.
pub(super) async fn configs_of_kafka_alone(target: Target) {
    let admin = target.admin().await;
    let (broker, metrics) = (
        ConfigResource::broker(1),
        ConfigResource::client_metrics("admin-metrics"),
    );
    alter(
        &admin,
        &BTreeMap::from([
            (broker.clone(), vec![set("log.cleaner.threads", "2")]),
            (metrics.clone(), vec![set("interval.ms", "60000")]),
        ]),
    )
    .await;
    let configs = described(&admin, &broker, ("log.cleaner.threads", "2")).await;
    let threads = &configs["log.cleaner.threads"];
    assert_eq!(threads.source, ConfigSource::DynamicBroker);
    described(&admin, &metrics, ("interval.ms", "60000")).await;
    let logger = ConfigResource::broker_logger(1);
    let options = DescribeConfigsOptions::default();
    let loggers = admin
        .describe_configs(std::slice::from_ref(&logger), &options)
        .await;
    let loggers = loggers.expect("answered");
    assert!(!loggers[&logger].as_ref().expect("described").is_empty());
    let kinds = [ConfigResourceKind::ClientMetrics];
    let listed = admin.list_config_resources(&kinds).await.expect("listed");
    assert!(listed.contains(&metrics), "{listed:?}");
    alter(
        &admin,
        &BTreeMap::from([
            (broker, vec![delete("log.cleaner.threads")]),
            (metrics, vec![delete("interval.ms")]),
        ]),
    )
    .await;
}
