//! A real registry. One process serves all of these tests: each has subjects of its own.

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::broker::Broker;
use pat_events::events::codec::{
    AnyFormat, AvroSchema, Codec, CodecError, Confluent, DataFormat, HasAvroSchema, HasJsonSchema,
    NewSchema, Payload, Prepared, RegistryConfig, SchemaKind, SchemaRegistry, SchemaVersion,
    SubjectNameStrategy,
};
use pat_events::events::email::{
    EmailReceived, EmailValidated, EventMeta, TenantEvent, TenantSuspended, tenant_event,
};
use pat_events::events::prost_types::Timestamp;
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig, event_set,
};
use pat_events::kafka::OffsetReset;
use tokio::sync::mpsc;

use crate::real::on_registry;

pub fn trials() -> Vec<Trial> {
    vec![
        on_registry(
            "events_in_every_encoding_are_registered_and_read_by_one_consumer",
            events_in_every_encoding_are_registered_and_read_by_one_consumer,
        ),
        on_registry(
            "schemas_are_registered_found_and_refused",
            schemas_are_registered_found_and_refused,
        ),
        on_registry(
            "incompatible_schemas_are_refused_in_every_encoding",
            incompatible_schemas_are_refused_in_every_encoding,
        ),
        on_registry(
            "what_an_older_schema_wrote_is_read_by_its_schema_from_the_registry",
            what_an_older_schema_wrote_is_read_by_its_schema_from_the_registry,
        ),
    ]
}

event_set! {
    pub enum Events, producer SendEvents, handler HandleEvents, codec Confluent<AnyFormat> {
        EmailReceived;
        TenantEvent;
    }
}

pub fn registering(url: &str) -> RegistryConfig {
    let mut config = RegistryConfig::new(url);
    config.auto_register = true;
    config.subject_name_strategy = SubjectNameStrategy::TopicRecord;
    config.timeout = Duration::from_secs(60);
    config
}

pub fn received() -> EmailReceived {
    EmailReceived {
        email_id: "e-1".into(),
        tenant_id: "t-1".into(),
        subject: "Minutes".into(),
        size_bytes: 48_213,
        meta: Some(EventMeta {
            event_id: "ev-1".into(),
            occurred_at: Some(Timestamp {
                seconds: 1_795_463_192,
                nanos: 17_000_000,
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub fn suspended() -> TenantEvent {
    TenantEvent {
        tenant_id: "t-1".into(),
        change: Some(tenant_event::Change::Suspended(TenantSuspended {
            detail: "unpaid".into(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// Passes on what it handles.
struct Passing(mpsc::Sender<Events>);

impl HandleEvents for Passing {
    async fn handle_email_received(
        &self,
        _: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        Ok(self.0.send(event.into()).await?)
    }

    async fn handle_tenant_event(
        &self,
        _: &Context<'_>,
        event: TenantEvent,
    ) -> Result<(), HandlerError> {
        Ok(self.0.send(event.into()).await?)
    }
}

async fn events_in_every_encoding_are_registered_and_read_by_one_consumer(url: String) {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("mixed", 1).expect("a new topic");
    let brokers = broker.bootstrap_servers();
    for format in [DataFormat::Protobuf, DataFormat::Avro, DataFormat::Json] {
        let mut config = registering(&url);
        // One subject for each encoding: a subject has schemas of one kind.
        config.subject_name_strategy = SubjectNameStrategy::TopicRecord;
        config.context = None;
        let codec = Confluent::new(AnyFormat::new(format), config).expect("complete");
        let topic = format!("events-{format:?}").to_lowercase();
        broker.create_topic(&topic, 1).expect("a new topic");
        let producer = EventProducer::with_codec(ProducerConfig::new(&brokers, &topic), codec)
            .await
            .expect("connected");
        producer
            .send_email_received(&received())
            .await
            .expect("sent");
        producer
            .send_tenant_event(&suspended())
            .await
            .expect("sent");
    }
    let mut config = ConsumerConfig::new(
        &brokers,
        "events-protobuf,events-avro,events-json",
        "readers",
    );
    config.auto_offset_reset = OffsetReset::Earliest;
    // It does not matter which it would write.
    let codec = Confluent::new(AnyFormat::default(), RegistryConfig::new(&url)).expect("complete");
    let consumer = EventConsumer::<Events>::with_codec(config, codec).expect("complete");
    let (events, mut handled) = mpsc::channel(10);
    consumer.start(Passing(events)).await.expect("started");
    let mut counts = (0, 0);
    for _ in 0..6 {
        let event = tokio::time::timeout(Duration::from_secs(60), handled.recv())
            .await
            .expect("in time");
        let Some(event) = event else {
            panic!("the consumer ended: {:?}", consumer.wait().await);
        };
        match event {
            Events::EmailReceived(event) => {
                assert_eq!(event, received());
                counts.0 += 1;
            }
            Events::TenantEvent(event) => {
                assert_eq!(event, suspended());
                counts.1 += 1;
            }
        }
    }
    assert_eq!(counts, (3, 3));
    consumer.close().await.expect("stopped well");
}

async fn encoded<F, E>(codec: &F, topic: &str, event: &E) -> Result<Vec<u8>, CodecError>
where
    F: Codec<E>,
{
    let prepared = codec.prepare(topic, event).await?;
    let mut out = vec![0; prepared.encoded_len()];
    codec.write(event, &prepared, &mut out);
    Ok(out)
}

async fn schemas_are_registered_found_and_refused(url: String) {
    let registry = SchemaRegistry::new(registering(&url)).expect("complete");
    let subject = "questions-value";
    let avro = NewSchema::new(SchemaKind::Avro, EmailReceived::avro_schema().text());
    let missing = registry
        .look_up(subject, &avro)
        .await
        .expect_err("nothing there yet");
    assert!(missing.is_not_found(), "{missing}");
    let registered = registry.register(subject, &avro).await.expect("registered");
    let again = registry
        .register(subject, &avro)
        .await
        .expect("nothing changes");
    assert_eq!(registered.id, again.id);
    let found = registry.look_up(subject, &avro).await.expect("there");
    assert_eq!((found.id, found.version), (registered.id, Some(1)));
    let by_id = registry
        .schema_by_id(registered.id.expect("an id"))
        .await
        .expect("there");
    // Laid out otherwise, it is the same schema.
    assert_eq!(by_id.kind, SchemaKind::Avro);
    assert_eq!(
        AvroSchema::of(by_id.text).name(),
        Ok("api.events.v1.EmailReceived")
    );
    let latest = registry
        .version(subject, SchemaVersion::Latest)
        .await
        .expect("there");
    assert_eq!(latest.version, Some(1));
    assert!(
        registry
            .subjects()
            .await
            .expect("a list")
            .iter()
            .any(|it| it == subject)
    );
    assert_eq!(registry.versions(subject).await.expect("a list"), [1]);
    registry
        .set_compatibility_level(Some(subject), "BACKWARD")
        .await
        .expect("set");
    assert_eq!(
        registry
            .compatibility_level(Some(subject))
            .await
            .expect("set"),
        "BACKWARD"
    );
    let other = NewSchema::new(
        SchemaKind::Avro,
        r#"{"type": "record", "name": "EmailReceived", "namespace": "api.events.v1", "fields": [{"name": "x", "type": "int"}]}"#,
    );
    let verdict = registry
        .compatibility(subject, SchemaVersion::Latest, &other)
        .await
        .expect("a verdict");
    assert!(!verdict.is_compatible);
    let refused = registry
        .register(subject, &other)
        .await
        .expect_err("incompatible");
    assert_eq!(refused.status(), Some(409), "{refused}");
    assert!(!refused.may_pass());
    let json = NewSchema::new(SchemaKind::Json, EmailValidated::json_schema());
    registry
        .register("questions-json-value", &json)
        .await
        .expect("registered");
}

async fn incompatible_schemas_are_refused_in_every_encoding(url: String) {
    let registry = SchemaRegistry::new(registering(&url)).expect("complete");
    let others = [
        (
            DataFormat::Protobuf,
            SchemaKind::Protobuf,
            r#"syntax = "proto3"; package api.events.v1; message EmailReceived { int32 email_id = 1; }"#,
        ),
        (
            DataFormat::Avro,
            SchemaKind::Avro,
            r#"{"type": "record", "name": "EmailReceived", "namespace": "api.events.v1", "fields": [{"name": "email_id", "type": "int"}]}"#,
        ),
        (
            DataFormat::Json,
            SchemaKind::Json,
            r#"{"$schema": "http://json-schema.org/draft-07/schema#", "title": "api.events.v1.EmailReceived", "type": "object",
                "properties": {"email_id": {"type": "integer"}}}"#,
        ),
    ];
    for (format, kind, other) in others {
        let topic = format!("refused-{format:?}").to_lowercase();
        let subject = format!("{topic}-api.events.v1.EmailReceived");
        let other = NewSchema::new(kind, other);
        registry
            .register(&subject, &other)
            .await
            .expect("the first");
        let set = registry.set_compatibility_level(Some(&subject), "BACKWARD");
        set.await.expect("set");
        let codec = Confluent::new(AnyFormat::new(format), registering(&url)).expect("complete");
        let refused = encoded(&codec, &topic, &received()).await;
        let refused = refused.expect_err("incompatible");
        assert!(!refused.may_pass(), "{refused}");
        assert!(refused.to_string().contains("409"), "{refused}");
        // Nothing of it was registered.
        assert_eq!(registry.versions(&subject).await.expect("a list"), [1]);
    }
}

async fn what_an_older_schema_wrote_is_read_by_its_schema_from_the_registry(url: String) {
    #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Old {
        subject: String,
        email_id: String,
        left: i32,
    }
    impl HasAvroSchema for Old {
        fn avro_schema() -> &'static AvroSchema {
            static SCHEMA: AvroSchema = AvroSchema::new(
                r#"{"type": "record", "name": "EmailReceived", "namespace": "api.events.v1", "fields": [
                    {"name": "subject", "type": "string"}, {"name": "email_id", "type": "string"}, {"name": "left", "type": "int"}]}"#,
            );
            &SCHEMA
        }
    }
    impl pat_events::events::Event for Old {
        const TYPE: &'static str = "api.events.v1.EmailReceived";
        fn key(&self) -> Option<&[u8]> {
            None
        }
    }
    use pat_events::events::codec::Avro;
    let codec = Confluent::new(Avro, registering(&url)).expect("complete");
    let old = Old {
        subject: "s".into(),
        email_id: "e".into(),
        left: 7,
    };
    let data = encoded(&codec, "older", &old).await.expect("registered");
    let read: EmailReceived = codec.decode(&Payload::new(&data)).await.expect("resolved");
    let expected = EmailReceived {
        subject: "s".into(),
        email_id: "e".into(),
        ..Default::default()
    };
    assert_eq!(read, expected);
    assert_eq!(data[0], 0);
    let _: Arc<str> = pat_events::events::codec::Format::event_type(&codec, &Payload::new(&data))
        .await
        .expect("asked")
        .expect("the schema's name");
}
