//! What clients tell a Kafka that asks them (KIP-714): a broker with a plugin that keeps it, and one without.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::wire::messages::IncrementalAlterConfigsRequest;
use pat_events::kafka::wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use pat_events::kafka::{
    Client, ClientConfig, ErrorCode, Producer, ProducerConfig, Record, Target,
};
use tokio::time::{sleep, timeout};

use crate::fleet::{Fleet, block_on};
use crate::support::java::folder;
use crate::support::kafka::{Kafka, Secured};

/// Kafka's number for subscriptions, among the kinds of what has a configuration.
const CLIENT_METRICS: i8 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![fleet.on_one(
        "clients_tell_what_they_measure_where_it_is_asked_for",
        |jdk, kafka| {
            let without = kafka.bootstrap();
            block_on(nothing_is_told(&without, false));
            let kept = folder().join(format!("telemetry-{}", std::process::id()));
            std::fs::create_dir_all(&kept).expect("a folder");
            let jdk = jdk.with_compiled("KeepTelemetry").expect("it compiles");
            let secured = Secured {
                properties: format!(
                    "metric.reporters=KeepTelemetry\nkeep.telemetry.folder={}\n",
                    kept.display()
                ),
                ..Secured::default()
            };
            let asking = Kafka::start_secured(Arc::new(jdk), 1, secured).expect("it starts");
            block_on(async {
                nothing_is_told(&asking.bootstrap(), true).await;
                everything_is_told(&asking.bootstrap(), &kept).await;
            });
            std::fs::remove_dir_all(&kept).expect("removed");
        },
    )]
}

async fn producer(bootstrap: &str, id: &str) -> (Client, Producer) {
    let mut config = ClientConfig::new(bootstrap);
    config.client_id = id.to_string();
    let client = Client::connect(config).await.expect("connected");
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    for _ in 0..10 {
        let record = Record::new("telemetry").value(b"x");
        producer.send(record).await.expect("written");
    }
    (client, producer)
}

async fn create_topic(client: &Client) {
    let topic = pat_events::kafka::NewTopic::new("telemetry", 3);
    // It may be there from the run before.
    let _ = client.admin().create_topic(&topic).await;
}

/// Whether the client has asked what is wanted of it, and has pushed.
fn asked(client: &Client) -> [bool; 2] {
    let brokers = client.broker_metrics();
    ["GetTelemetrySubscriptions", "PushTelemetry"].map(|api| {
        let mut asked = brokers.values();
        asked.any(|broker| broker.latency_by_api.contains_key(api))
    })
}

/// Where there is no plugin nothing is even asked; where there is one and nobody wants anything, that is all.
async fn nothing_is_told(bootstrap: &str, has_plugin: bool) {
    let client = Client::connect(ClientConfig::new(bootstrap)).await;
    create_topic(&client.expect("connected")).await;
    let (client, producer) = producer(bootstrap, "unasked").await;
    let waiting = async {
        while asked(&client)[0] != has_plugin {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it asks");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(asked(&client), [has_plugin, false]);
    producer.close(PATIENCE).await.expect("written");
}

async fn everything_is_told(bootstrap: &str, kept: &Path) {
    let admin = Client::connect(ClientConfig::new(bootstrap))
        .await
        .expect("connected");
    let set = |name: &str, value: &str| AlterableConfig {
        name: name.to_string(),
        value: Some(value.to_string()),
        ..Default::default()
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: CLIENT_METRICS,
            resource_name: "everything".to_string(),
            configs: vec![set("metrics", "*"), set("interval.ms", "500")],
            ..Default::default()
        }],
        ..Default::default()
    };
    let altered = admin
        .request(Target::Any, &request)
        .await
        .expect("answered");
    let codes = altered.responses.iter().map(|response| response.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::NONE]);
    // Until the broker has heard of it.
    let telling = async {
        loop {
            let (client, producer) = producer(bootstrap, "asked").await;
            for _ in 0..100 {
                sleep(Duration::from_millis(20)).await;
                if files(kept)
                    .iter()
                    .filter(|(name, _)| !name.contains("-last"))
                    .count()
                    >= 2
                {
                    drop((client, producer));
                    return;
                }
            }
        }
    };
    timeout(PATIENCE, telling).await.expect("it is told twice");
    let last = async {
        while !files(kept).iter().any(|(name, _)| name.contains("-last")) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, last)
        .await
        .expect("it is told a last time");
    let all: String = files(kept).into_iter().map(|(_, text)| text).collect();
    for name in [
        "org.apache.kafka.producer.connection.creation.total",
        "org.apache.kafka.producer.node.request.latency.avg",
        "org.apache.kafka.producer.record.queue.time.max",
        "messaging.client.sent.messages",
        "pat_events.broker.request.duration",
    ] {
        assert!(
            all.contains(&format!("name: \"{name}\"")),
            "{name} in {all}"
        );
    }
    assert!(all.contains("AGGREGATION_TEMPORALITY_DELTA"), "{all}");
}

/// What the plugin keeps: names, and what Kafka's own classes read of it.
fn files(kept: &Path) -> Vec<(String, String)> {
    let files = std::fs::read_dir(kept).expect("a folder");
    let files = files.map(|file| file.expect("a file").path());
    let whole = files.filter(|path| path.extension().is_some_and(|it| it == "txt"));
    let read = |path: std::path::PathBuf| {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (name, std::fs::read_to_string(&path).expect("text"))
    };
    whole.map(read).collect()
}
