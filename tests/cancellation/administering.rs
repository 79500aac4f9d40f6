//! What the admin client promises when its calls are dropped: a topic is created or deleted, or it is not, and the next call works.

use std::collections::BTreeMap;

use pat_events::broker::Broker;
use pat_events::kafka::admin::{
    AclBinding, AclBindingFilter, AclOperation, AclResource, AlterConfig, AlterScramCredential,
    ConfigResource, DescribeConfigsOptions, ElectionType, NewPartitions, QuotaEntity, QuotaFilter,
    Replica, ScramMechanism, ScramUpsertion,
};
use pat_events::kafka::{Admin, Client, ErrorCode, ErrorKind, NewTopic, Result, TopicPartition};

use crate::at_every_poll;
use crate::consumers::{config, one_broker};

const UNKNOWN_TOPIC_OR_PARTITION: ErrorKind = ErrorKind::UnknownTopicOrPartition;
/// TOPIC_ALREADY_EXISTS
const EXISTS: ErrorKind = ErrorKind::Server(ErrorCode::TOPIC_ALREADY_EXISTS);

/// There are as many already.
const INVALID_PARTITIONS: ErrorKind = ErrorKind::Server(ErrorCode::INVALID_PARTITIONS);

async fn admin(broker: &Broker) -> Admin {
    Admin::connect(config(broker).client)
        .await
        .expect("the broker answers")
}

/// A call that is dropped and made again.
fn dropping(
    name: &str,
    call: impl AsyncFn(&Admin) -> Result<()> + Copy,
    may_be: &[ErrorKind],
    topics: &[&str],
) {
    at_every_poll(name, |cut| async move {
        let broker = one_broker(1);
        let admin = admin(&broker).await;
        let done = cut.of(call(&admin)).await;
        if let Err(error) = call(&admin).await {
            assert!(may_be.contains(&error.kind()), "{name}, {cut}: {error}");
        }
        assert_eq!(broker.topics(), topics, "{name}, {cut}");
        done.is_some()
    });
}

#[test]
fn dropped_calls_can_be_made_again() {
    dropping(
        "create_topic",
        async |admin: &Admin| admin.create_topic(&NewTopic::new("new", 1)).await,
        &[EXISTS],
        &["new", "t"],
    );
    dropping(
        "delete_topics",
        async |admin: &Admin| admin.delete_topics(&["t"]).await?.into_values().collect(),
        &[UNKNOWN_TOPIC_OR_PARTITION],
        &[],
    );
    dropping(
        "list_topics",
        async |admin: &Admin| admin.list_topics().await.map(drop),
        &[],
        &["t"],
    );
    dropping(
        "describe_topics",
        async |admin: &Admin| admin.describe_topics(&["t"]).await.map(drop),
        &[],
        &["t"],
    );
    dropping(
        "describe_cluster",
        async |admin: &Admin| admin.describe_cluster().await.map(drop),
        &[],
        &["t"],
    );
    dropping(
        "api_versions",
        async |admin: &Admin| admin.api_versions(1).await.map(drop),
        &[],
        &["t"],
    );
}

/// What is asked once more says the same as when nobody was dropped.
#[test]
fn dropped_questions_and_alterations_can_be_made_again() {
    let at = || TopicPartition::new("t", 0);
    dropping(
        "create_partitions",
        async |admin: &Admin| {
            let more = BTreeMap::from([("t", NewPartitions::total(2))]);
            let added = admin.create_partitions(&more, false).await?;
            added.into_values().collect()
        },
        &[INVALID_PARTITIONS],
        &["t"],
    );
    dropping(
        "delete_groups",
        async |admin: &Admin| admin.delete_groups(&["g"]).await.map(drop),
        &[],
        &["t"],
    );
    dropping(
        "alter_client_quotas",
        async |admin: &Admin| {
            let rate = BTreeMap::from([("producer_byte_rate".to_owned(), Some(1_000.0))]);
            let quotas = BTreeMap::from([(QuotaEntity::user("alice"), rate)]);
            let altered = admin.alter_client_quotas(&quotas, false).await?;
            altered.into_values().collect::<Result<()>>()?;
            let described = admin
                .describe_client_quotas(&QuotaFilter::default())
                .await?;
            assert_eq!(described.len(), 1);
            Ok(())
        },
        &[],
        &["t"],
    );
    dropping(
        "alter_user_scram_credentials",
        async |admin: &Admin| {
            let upsertion = ScramUpsertion::new(ScramMechanism::Sha256, "secret");
            let users = BTreeMap::from([("alice", AlterScramCredential::Upsert(upsertion))]);
            let altered = admin.alter_user_scram_credentials(&users).await?;
            altered.into_values().collect::<Result<()>>()?;
            let described = admin.describe_user_scram_credentials(&["alice"]).await?;
            assert!(described["alice"].is_ok());
            Ok(())
        },
        &[],
        &["t"],
    );
    dropping(
        "acls",
        async |admin: &Admin| {
            let topic = AclResource::topic("t");
            let rule = AclBinding::allow("User:alice", AclOperation::Read, topic);
            let filter = AclBindingFilter::exactly(&rule);
            admin.create_acls(&[rule]).await?;
            admin.delete_acls(std::slice::from_ref(&filter)).await?;
            admin.describe_acls(&filter).await.map(drop)
        },
        &[ErrorKind::Server(ErrorCode::SECURITY_DISABLED)],
        &["t"],
    );
    dropping(
        "transactions",
        async |admin: &Admin| {
            admin.fence_producers(&["id", "other"]).await?;
            admin.list_transactions(&Default::default()).await?;
            admin.describe_transactions(&["id"]).await?;
            admin.describe_producers(&[at()], None).await.map(drop)
        },
        &[],
        &["t"],
    );
    dropping(
        "the cluster",
        async |admin: &Admin| {
            admin.describe_cluster_with(&Default::default()).await?;
            admin.describe_features(None).await?;
            admin.describe_log_dirs(&[1]).await?;
            admin
                .describe_replica_log_dirs(&[Replica::new(at(), 1)])
                .await?;
            admin.list_partition_reassignments(None).await?;
            let first = [at()];
            let elected = admin.elect_leaders(ElectionType::Preferred, Some(&first));
            elected.await.map(drop)
        },
        &[],
        &["t"],
    );
}

/// What is set is set, whoever was dropped meanwhile; what brokers do not offer is said each time.
#[test]
fn dropped_calls_about_configurations_groups_and_the_quorum_can_be_made_again() {
    dropping(
        "incremental_alter_configs",
        async |admin: &Admin| {
            let (topic, group) = (ConfigResource::topic("t"), ConfigResource::group("g"));
            let set = |name: &str, value: &str| {
                vec![(name.to_owned(), AlterConfig::Set(value.to_owned()))]
            };
            let alterations = BTreeMap::from([
                (topic.clone(), set("max.message.bytes", "5000")),
                (group.clone(), set("share.delivery.count.limit", "6")),
            ]);
            let altered = admin.incremental_alter_configs(&alterations, false).await?;
            altered.into_values().collect::<Result<()>>()?;
            let options = DescribeConfigsOptions::default();
            let resources = [topic, group, ConfigResource::broker(1)];
            let described = admin.describe_configs(&resources, &options).await?;
            let value = |resource: &ConfigResource, name: &str| {
                let configs = described[resource].as_ref().expect("described");
                configs[name].value.clone()
            };
            let values = [
                value(&resources[0], "max.message.bytes"),
                value(&resources[1], "share.delivery.count.limit"),
                value(&resources[2], "node.id"),
            ];
            assert_eq!(values.map(Option::unwrap_or_default), ["5000", "6", "1"]);
            let listed = admin.list_config_resources(&[]).await?;
            assert!(listed.contains(&resources[1]), "{listed:?}");
            Ok(())
        },
        &[],
        &["t"],
    );
    dropping(
        "describe_metadata_quorum",
        async |admin: &Admin| {
            let quorum = admin.describe_metadata_quorum().await?;
            assert_eq!(quorum.leader, Some(1));
            Ok(())
        },
        &[],
        &["t"],
    );
    dropping(
        "describe_streams_groups",
        async |admin: &Admin| admin.describe_streams_groups(&["g"]).await.map(drop),
        &[ErrorKind::UnsupportedVersion],
        &["t"],
    );
}

/// Whoever asks first gets the id, and everybody the same.
#[test]
fn a_client_has_one_instance_id_however_often_it_was_asked_for() {
    at_every_poll("client_instance_id", |cut| async move {
        let broker = Broker::builder().client_telemetry().start_in_memory();
        let broker = broker.expect("started");
        let client = Client::lazy(config(&broker).client).expect("good configuration");
        let done = cut.of(client.client_instance_id()).await;
        let id = client.client_instance_id().await.expect("an id");
        assert_eq!(id.len(), 22, "{cut}");
        assert_eq!(client.client_instance_id().await.expect("the same"), id);
        if let Some(done) = &done {
            assert_eq!(done.as_ref().expect("an id"), &id, "{cut}");
        }
        done.is_some()
    });
}

#[test]
fn after_a_dropped_connect_the_next_one_works() {
    at_every_poll("Admin::connect", |cut| async move {
        let broker = one_broker(1);
        let done = cut.of(Admin::connect(config(&broker).client)).await;
        assert_eq!(
            admin(&broker)
                .await
                .list_topics()
                .await
                .expect("topics")
                .len(),
            1,
            "{cut}"
        );
        done.is_some()
    });
}
