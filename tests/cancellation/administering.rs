//! What the admin client promises when its calls are dropped: a topic is created or deleted, or it is not, and the next call works.

use pat_events::broker::Broker;
use pat_events::kafka::{Admin, ErrorCode, ErrorKind, NewTopic, Result};

use crate::at_every_poll;
use crate::consumers::{config, one_broker};

const UNKNOWN_TOPIC_OR_PARTITION: ErrorKind = ErrorKind::UnknownTopicOrPartition;
/// TOPIC_ALREADY_EXISTS
const EXISTS: ErrorKind = ErrorKind::Server(ErrorCode::TOPIC_ALREADY_EXISTS);

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
