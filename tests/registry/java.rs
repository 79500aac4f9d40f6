//! Java beside us: Apicurio's serdes, in the form that Confluent's clients have, read what we write through the real registry, and we read what
//! they write.

use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::broker::Broker;
use pat_events::events::codec::{
    AnyFormat, Confluent, DataFormat, RegistryConfig, SubjectNameStrategy,
};
use pat_events::events::email::{
    DeletionReason, EmailDeleted, EmailReceived, FILE_DESCRIPTOR_SET, TenantEvent,
};
use pat_events::events::{
    AnyEvent, ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig,
    event_set,
};
use pat_events::kafka::OffsetReset;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::apicurio::{received, registering, suspended};
use crate::real::on_registry_with_java;
use crate::support::java::{Jdk, folder};

const JAVA_WITHIN: Duration = Duration::from_secs(240);

event_set! {
    pub enum Echoed, producer SendEchoed, handler HandleEchoed, codec Confluent<AnyFormat> {
        EmailReceived;
        EmailDeleted;
        TenantEvent;
    }
}

pub fn trials() -> Vec<Trial> {
    vec![on_registry_with_java(
        "java_reads_what_we_write_and_we_read_what_java_writes",
        java_reads_what_we_write_and_we_read_what_java_writes,
    )]
}

/// The name of a topic with events of one type, and the events.
fn topics() -> [(&'static str, Vec<Echoed>); 3] {
    let deleted = EmailDeleted {
        email_id: "e-1".into(),
        tenant_id: "t-1".into(),
        reason: DeletionReason::Retention.into(),
        ..Default::default()
    };
    let smallest = EmailReceived {
        email_id: "e-2".into(),
        ..Default::default()
    };
    [
        ("received", vec![received().into(), smallest.into()]),
        ("deleted", vec![deleted.into()]),
        ("tenant", vec![suspended().into()]),
    ]
}

/// Passes on what it handles, with the topic that it came from.
struct Passing(mpsc::Sender<(String, Echoed)>);

macro_rules! passes {
    ($($handle:ident: $Event:ty),*) => {
        impl HandleEchoed for Passing {
            $(async fn $handle(&self, context: &Context<'_>, event: $Event) -> Result<(), HandlerError> {
                Ok(self.0.send((context.topic().to_string(), event.into())).await?)
            })*
        }
    };
}

passes! {
    handle_email_received: EmailReceived, handle_email_deleted: EmailDeleted, handle_tenant_event: TenantEvent
}

async fn java_reads_what_we_write_and_we_read_what_java_writes(url: String, jdk: Jdk) {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await;
    let broker = broker.expect("a broker");
    let brokers = broker.bootstrap_servers();
    let descriptors = folder().join(format!("events-{}.binpb", std::process::id()));
    std::fs::write(&descriptors, FILE_DESCRIPTOR_SET).expect("written");
    let mut arguments = vec![
        brokers.clone(),
        url.replace("/apis/ccompat/v7", "/apis/registry/v2"),
        descriptors.to_string_lossy().into_owned(),
    ];
    let mut echoed = BTreeMap::new();
    let formats = [
        (DataFormat::Protobuf, "protobuf"),
        (DataFormat::Protobuf, "protobuf-named"),
        (DataFormat::Avro, "avro"),
        (DataFormat::Json, "json"),
    ];
    for (format, called) in formats {
        for (name, events) in topics() {
            let topic = format!("{called}-{name}");
            let back = format!("{topic}-back");
            broker.create_topic(&topic, 1).expect("a new topic");
            broker.create_topic(&back, 1).expect("a new topic");
            let codec = Confluent::new(AnyFormat::new(format), registering(&url));
            let config = ProducerConfig::new(&brokers, &topic);
            let producer = EventProducer::with_codec(config, codec.expect("complete")).await;
            let producer = producer.expect("connected");
            for event in &events {
                producer.send(event).await.expect("sent");
            }
            let (count, of) = (events.len(), events[0].event_type());
            let subject = SubjectNameStrategy::TopicRecord;
            assert_eq!(registering(&url).subject_name_strategy, subject);
            arguments.push(format!("{called}:{topic}:{back}:{count}:{topic}-{of}"));
            echoed.insert(back, events);
        }
    }
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        jdk.run("EchoEvents", &arguments, JAVA_WITHIN)
    };
    let printed = tokio::task::spawn_blocking(run).await.expect("no panic");
    let _ = std::fs::remove_file(&descriptors);
    let printed = printed.unwrap_or_else(|error| panic!("{error}"));
    for (_, called) in formats {
        for (name, field, expected) in [
            ("received", "email_id", "e-1"),
            ("received", "subject", "Minutes"),
            ("received", "email_id", "e-2"),
            ("deleted", "tenant_id", "t-1"),
            ("tenant", "tenant_id", "t-1"),
        ] {
            // As Protobuf's JSON has them.
            let field = match (called, field) {
                ("json", "email_id") => "emailId",
                ("json", "tenant_id") => "tenantId",
                _ => field,
            };
            let found = printed.lines().any(|line| {
                let (topic, json) = line.split_once('\t').unwrap_or_default();
                let json: Value = serde_json::from_str(json).unwrap_or_default();
                topic == format!("{called}-{name}") && json[field] == expected
            });
            assert!(found, "{called}-{name}: no {field} = {expected}: {printed}");
        }
    }

    let topics: Vec<&str> = echoed.keys().map(String::as_str).collect();
    let mut config = ConsumerConfig::new(&brokers, &topics.join(","), "readers");
    config.auto_offset_reset = OffsetReset::Earliest;
    let codec = Confluent::new(AnyFormat::default(), RegistryConfig::new(&url)).expect("complete");
    let consumer = EventConsumer::<Echoed>::with_codec(config, codec).expect("complete");
    let (events, mut handled) = mpsc::channel(100);
    consumer.start(Passing(events)).await.expect("started");
    let mut left: usize = echoed.values().map(Vec::len).sum();
    while left > 0 {
        let handled = tokio::time::timeout(Duration::from_secs(60), handled.recv()).await;
        let Ok(Some((topic, event))) = handled else {
            panic!("{left} events did not come: {:?}", consumer.metrics());
        };
        let expected = echoed.get_mut(&topic).expect("a topic of this test");
        let place = expected.iter().position(|it| *it == event);
        let place = place.unwrap_or_else(|| panic!("{topic}: {event:?}, not one of {expected:?}"));
        expected.remove(place);
        left -= 1;
    }
    consumer.close().await.expect("stopped well");
    broker.shutdown().await;
}
