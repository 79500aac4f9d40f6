//! An admin that speaks with the controllers themselves (KIP-919).

use std::collections::BTreeMap;

use pat_events::kafka::admin::{
    AlterConfig, ConfigResource, DescribeConfigsOptions, QuotaEntity, QuotaFilter,
};
use pat_events::kafka::{
    Admin, Client, ClientConfig, ConsumerConfig, ErrorCode, ErrorKind, ProducerConfig, Result,
};

use super::{POLL, at, code};
use crate::fleet::Target;
use crate::support::kafka::Kafka;

pub(super) async fn controllers_are_asked_themselves(kafka: &Kafka) {
    let target = Target {
        bootstrap: kafka.bootstrap(),
    };
    let topic = target.topic("admin-controllers").await;
    let controllers = kafka.bootstrap_controllers();
    let config = |servers: &str| {
        let config = ClientConfig::from_properties([("bootstrap.controllers", servers)]);
        config.expect("good properties")
    };
    let client = Client::connect(config(&controllers)).await;
    let client = client.expect("connected");
    let admin = client.admin();

    let cluster = admin.describe_cluster().await.expect("described");
    let of_brokers = target.admin().await.describe_cluster().await;
    let of_brokers = of_brokers.expect("described");
    assert_eq!(cluster.cluster_id, of_brokers.cluster_id);
    let addresses = cluster.brokers.iter().map(|it| it.address.to_string());
    assert_eq!(addresses.collect::<Vec<_>>().join(","), controllers);
    let with_options = admin.describe_cluster_with(&Default::default()).await;
    assert_eq!(with_options.expect("described").brokers, cluster.brokers);
    let quorum = admin.describe_metadata_quorum().await.expect("described");
    assert_eq!(quorum.leader, cluster.controller);
    assert_eq!(quorum.voters.len(), kafka.len());
    let features = admin.describe_features(None).await.expect("described");
    assert!(features.finalized["metadata.version"].max > 0);

    let (good, broker) = (ConfigResource::topic(&*topic), ConfigResource::broker(1));
    let set = |name: &str, value: &str| vec![(name.to_owned(), AlterConfig::Set(value.to_owned()))];
    let alterations = BTreeMap::from([
        (good.clone(), set("retention.ms", "12345")),
        (broker.clone(), set("log.cleaner.threads", "2")),
        (
            ConfigResource::topic("admin-no-topic"),
            set("retention.ms", "1"),
        ),
    ]);
    let altered = admin.incremental_alter_configs(&alterations, false).await;
    let altered = altered.expect("answered");
    assert!(
        altered[&good].is_ok() && altered[&broker].is_ok(),
        "{altered:?}"
    );
    let unknown = &altered[&ConfigResource::topic("admin-no-topic")];
    let error = unknown.as_ref().expect_err("no topic");
    assert_eq!(error.kind(), ErrorKind::UnknownTopicOrPartition);
    let brokers = target.admin().await;
    let (resources, options) = ([good, broker.clone()], DescribeConfigsOptions::default());
    loop {
        let described = brokers.describe_configs(&resources, &options).await;
        let described = described.expect("answered");
        let value = |at: usize, name: &str| {
            let configs = described[&resources[at]].as_ref().expect("described");
            configs[name].value.clone()
        };
        let values = [value(0, "retention.ms"), value(1, "log.cleaner.threads")];
        if values.map(Option::unwrap_or_default) == ["12345", "2"] {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let back = vec![("log.cleaner.threads".to_owned(), AlterConfig::Delete)];
    let back = BTreeMap::from([(broker.clone(), back)]);
    let back = admin.incremental_alter_configs(&back, false).await;
    assert!(back.expect("answered")[&broker].is_ok());
    let rate = BTreeMap::from([("producer_byte_rate".to_owned(), Some(1_024.0))]);
    let quotas = BTreeMap::from([(QuotaEntity::user("controlled"), rate)]);
    let set = admin.alter_client_quotas(&quotas, false).await;
    assert!(set.expect("answered").values().all(Result::is_ok));
    loop {
        let quotas = brokers
            .describe_client_quotas(&QuotaFilter::default())
            .await;
        let quotas = quotas.expect("described");
        if quotas.contains_key(&QuotaEntity::user("controlled")) {
            break;
        }
        tokio::time::sleep(POLL).await;
    }

    what_needs_brokers_is_refused(&client, &admin).await;
    // Who was told of brokers is told so.
    let mistaken = Client::connect(config(&kafka.bootstrap())).await;
    let error = mistaken.expect_err("brokers");
    println!("brokers in place of controllers: {error}");
    assert!(
        error.to_string().contains("MISMATCHED_ENDPOINT_TYPE"),
        "{error}"
    );
}

async fn what_needs_brokers_is_refused(client: &Client, admin: &Admin) {
    fn refused<T: std::fmt::Debug>(result: Result<T>, kind: ErrorKind) {
        let error = result.expect_err("needs brokers");
        println!("{error}");
        assert_eq!(error.kind(), kind, "{error}");
    }
    let unsupported = ErrorKind::UnsupportedVersion;
    refused(admin.list_topics().await, unsupported);
    refused(admin.describe_classic_groups(&["g"]).await, unsupported);
    let ends = BTreeMap::from([(at("t", 0), 0)]);
    refused(admin.delete_records(&ends).await, unsupported);
    refused(
        client.producer(ProducerConfig::default()),
        ErrorKind::Config,
    );
    let consumer = ConsumerConfig::default();
    refused(client.consumer(consumer), ErrorKind::Config);
    let unknown = admin.unregister_broker(99).await;
    assert_eq!(code(&unknown), Some(ErrorCode::BROKER_ID_NOT_REGISTERED));
}
