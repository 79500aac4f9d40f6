//! Configurations of topics, brokers, groups and client metrics: described, altered, listed.

use std::collections::BTreeMap;

use pat_events::kafka::admin::{
    AlterConfig, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource,
    DescribeConfigsOptions,
};
use pat_events::kafka::{ErrorCode, ErrorKind};

use super::{POLL, code};
use crate::fleet::Target;

pub(super) async fn configs_are_described_and_altered(target: Target) {
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
