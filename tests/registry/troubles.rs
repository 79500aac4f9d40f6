//! What a registry does that it should not, and what becomes of events meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::broker::Broker;
use pat_events::events::codec::{
    Codec, CodecError, Confluent, IdPlace, Payload, Prepared, Protobuf, RegistryConfig,
    SubjectNameStrategy,
};
use pat_events::events::email::{EmailDeleted, EmailProcessed};
use pat_events::events::{
    ConsumerConfig, Context, EventConsumer, EventProducer, HandlerError, ProducerConfig,
    RawHeaders, event_set,
};
use pat_events::kafka::{ErrorKind, OffsetReset};

use crate::stand_in::{Mood, StandIn, counted};

pub fn trials() -> Vec<Trial> {
    trials![
        a_thousand_events_at_once_ask_once_and_those_after_them_never,
        what_may_pass_is_said_to_and_passes,
        without_leave_nothing_is_registered_and_a_refusal_is_not_asked_for_again,
        ids_that_mean_something_else_after_a_restart_are_noticed,
        ids_go_into_a_header_where_that_is_asked_for,
        another_server_is_asked_when_one_is_gone_and_credentials_are_sent_and_not_shown,
        contexts_stand_before_subjects,
        events_wait_for_a_registry_that_is_down_and_none_is_lost,
    ]
}

event_set! {
    pub enum Deletions, producer SendDeletion, handler HandleDeletion, codec Confluent<Protobuf> {
        EmailDeleted;
    }
}

pub fn config(url: &str) -> RegistryConfig {
    let mut config = RegistryConfig::new(url);
    config.auto_register = true;
    config.subject_name_strategy = SubjectNameStrategy::Record;
    config.retry_backoff = Duration::from_millis(10);
    config.max_retries = 1;
    config.timeout = Duration::from_secs(5);
    config
}

fn codec(config: RegistryConfig) -> Confluent<Protobuf> {
    Confluent::new(Protobuf, config).expect("complete")
}

pub fn deleted() -> EmailDeleted {
    EmailDeleted {
        email_id: "e-1".into(),
        tenant_id: "t-1".into(),
        ..Default::default()
    }
}

/// The event as it goes out: header and data.
async fn encoded(
    codec: &Confluent<Protobuf>,
    event: &EmailDeleted,
) -> Result<(Option<Vec<u8>>, Vec<u8>), CodecError> {
    let prepared = codec.prepare("emails", event).await?;
    let mut out = vec![0; prepared.encoded_len()];
    codec.write(event, &prepared, &mut out);
    Ok((prepared.header().map(|(_, value)| value.to_vec()), out))
}

async fn a_thousand_events_at_once_ask_once_and_those_after_them_never() {
    let registry = StandIn::start().await;
    registry.set(Mood::Slow(Duration::from_millis(50)));
    let codec = codec(config(&registry.url()));
    let all = (0..1_000).map(|_| {
        let codec = codec.clone();
        tokio::spawn(async move { encoded(&codec, &deleted()).await })
    });
    for encoded in all.collect::<Vec<_>>() {
        encoded.await.expect("no panic").expect("encoded");
    }
    let requests = counted(&registry.requests());
    // The files that it imports are registered and found, then its own.
    assert!(requests.values().all(|count| *count == 1), "{requests:?}");
    assert_eq!(
        requests["POST /subjects/api.events.v1.EmailDeleted/versions"], 1,
        "{requests:?}"
    );
    let (_, data) = encoded(&codec, &deleted()).await.expect("known");
    assert_eq!(counted(&registry.requests()), requests);
    // And the reader once for its id.
    let reader = self::codec(config(&registry.url()));
    let before = registry.requests().len();
    let all = (0..1_000).map(|_| {
        let (reader, data) = (reader.clone(), data.clone());
        tokio::spawn(
            async move { Codec::<EmailDeleted>::decode(&reader, &Payload::new(&data)).await },
        )
    });
    for decoded in all.collect::<Vec<_>>() {
        assert_eq!(decoded.await.expect("no panic"), Ok(deleted()));
    }
    assert_eq!(registry.requests().len() - before, 1);
}

async fn what_may_pass_is_said_to_and_passes() {
    let registry = StandIn::start().await;
    let mut config = config(&registry.url());
    config.read_timeout = Duration::from_millis(100);
    let codec = codec(config);
    let moods = [
        Mood::Down(503),
        Mood::Slow(Duration::from_secs(2)),
        Mood::Wrong("<html>Welcome</html>".to_string()),
        Mood::Wrong("{}".to_string()),
        Mood::Wrong(r#"{"id": "seven"}"#.to_string()),
        Mood::Wrong("x".repeat(2 << 20)),
    ];
    for mood in moods {
        registry.set(mood.clone());
        let error = encoded(&codec, &deleted()).await.expect_err("not encoded");
        assert!(error.may_pass(), "{mood:?}: {error}");
        assert!(
            error.to_string().contains(&registry.url()) || error.to_string().contains("/subjects/"),
            "{error}"
        );
    }
    registry.set(Mood::Well);
    encoded(&codec, &deleted())
        .await
        .expect("nothing of it was kept");
}

async fn without_leave_nothing_is_registered_and_a_refusal_is_not_asked_for_again() {
    let registry = StandIn::start().await;
    let mut config = config(&registry.url());
    config.auto_register = false;
    let codec = codec(config);
    for _ in 0..100 {
        let error = encoded(&codec, &deleted()).await.expect_err("not there");
        assert!(!error.may_pass(), "{error}");
        assert!(error.to_string().contains("404"), "{error}");
    }
    assert_eq!(registry.requests().len(), 1);
    assert!(
        registry
            .requests()
            .iter()
            .all(|it| !it.contains("/versions"))
    );
}

async fn ids_that_mean_something_else_after_a_restart_are_noticed() {
    let registry = StandIn::start().await;
    let writer = codec(config(&registry.url()));
    let (_, data) = encoded(&writer, &deleted()).await.expect("encoded");
    // Another file got the id: what was written as one message must not be read as another.
    let reader = codec(config(&registry.url()));
    let error = Codec::<EmailProcessed>::decode(&reader, &Payload::new(&data))
        .await
        .expect_err("another message");
    assert!(!error.may_pass());
    let text = error.to_string();
    assert!(
        text.contains("api.events.v1.EmailDeleted")
            && text.contains("api.events.v1.EmailProcessed"),
        "{text}"
    );
    registry.forget(1_000);
    let fresh = codec(config(&registry.url()));
    let error = Codec::<EmailDeleted>::decode(&fresh, &Payload::new(&data))
        .await
        .expect_err("nobody knows the id");
    assert!(error.to_string().contains("404"), "{error}");
    // Who knew it goes on.
    let read = Codec::<EmailDeleted>::decode(&writer, &Payload::new(&data)).await;
    assert!(read.is_err() || read == Ok(deleted()));
}

async fn ids_go_into_a_header_where_that_is_asked_for() {
    let registry = StandIn::start().await;
    let mut config = config(&registry.url());
    config.id_place = IdPlace::Header;
    let codec = codec(config);
    let (header, data) = encoded(&codec, &deleted()).await.expect("encoded");
    let header = header.expect("a header");
    assert_eq!((header[0], header.len() >= 18), (1, true));
    let headers = [("__value_schema_id", Some(&header[..]))];
    let mut payload = Payload::new(&data);
    payload.headers = RawHeaders::new(&headers);
    assert_eq!(codec.decode(&payload).await, Ok(deleted()));
    // Without the registry it is what it always was.
    assert_eq!(
        Codec::<EmailDeleted>::decode(&Protobuf, &Payload::new(&data)).await,
        Ok(deleted())
    );
}

async fn another_server_is_asked_when_one_is_gone_and_credentials_are_sent_and_not_shown() {
    let registry = StandIn::start().await;
    let gone = StandIn::start().await.url();
    let mut config = config(&format!("{gone},{}", registry.url()));
    config.max_retries = 0;
    config
        .set("basic.auth.user.info", "alice:hunter2")
        .expect("allowed");
    let codec = codec(config.clone());
    encoded(&codec, &deleted()).await.expect("by the other");
    let requests = registry.requests();
    assert!(
        requests
            .iter()
            .all(|it| it.contains("authorization: Basic YWxpY2U6aHVudGVyMg==")),
        "{requests:?}"
    );
    assert!(!format!("{codec:?}").contains("hunter2"));
    config.set("bearer.auth.token", "t0ken").expect("allowed");
    encoded(&self::codec(config), &deleted())
        .await
        .expect("by a token");
    assert!(
        registry
            .requests()
            .last()
            .is_some_and(|it| it.contains("authorization: Bearer t0ken"))
    );
}

async fn contexts_stand_before_subjects() {
    let registry = StandIn::start().await;
    let mut config = config(&registry.url());
    config.context = Some("staging".into());
    let (_, data) = encoded(&codec(config.clone()), &deleted())
        .await
        .expect("encoded");
    let _ = Codec::<EmailDeleted>::decode(&codec(config), &Payload::new(&data)).await;
    let requests = registry.requests();
    let asked = |path: &str| requests.iter().any(|it| it.contains(path));
    assert!(
        asked("POST /subjects/%3A.staging%3Aapi.events.v1.EmailDeleted/versions"),
        "{requests:?}"
    );
    assert!(asked("?subject=%3A.staging%3A"), "{requests:?}");
}

/// Counts what it handled.
struct Counting(Arc<AtomicUsize>);

impl HandleDeletion for Counting {
    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        _: EmailDeleted,
    ) -> Result<(), HandlerError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

async fn events_wait_for_a_registry_that_is_down_and_none_is_lost() {
    let registry = StandIn::start().await;
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("emails", 3).expect("a new topic");
    let brokers = broker.bootstrap_servers();
    let producer = EventProducer::with_codec(
        ProducerConfig::new(&brokers, "emails"),
        codec(config(&registry.url())),
    );
    let producer = producer.await.expect("connected");
    registry.set(Mood::Down(503));
    let error = producer
        .send_email_deleted(&deleted())
        .await
        .expect_err("no schema");
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    registry.set(Mood::Well);
    for number in 0..100 {
        let event = EmailDeleted {
            email_id: format!("e-{number}"),
            ..deleted()
        };
        producer.send_email_deleted(&event).await.expect("sent");
    }
    registry.set(Mood::Down(503));
    let before = registry.requests().len();
    let mut config_of = ConsumerConfig::new(&brokers, "emails", "readers");
    config_of.auto_offset_reset = OffsetReset::Earliest;
    config_of.retry.retries = 1_000;
    config_of.retry.backoff = Duration::from_millis(20);
    config_of.retry.backoff_max = Duration::from_millis(200);
    let consumer =
        EventConsumer::<Deletions>::with_codec(config_of, codec(config(&registry.url())))
            .expect("complete");
    let handled = Arc::new(AtomicUsize::new(0));
    consumer
        .start(Counting(handled.clone()))
        .await
        .expect("started");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(handled.load(Ordering::Relaxed), 0);
    // A hundred events on a hundred keys wait for one schema: they ask together, twice each time, never each for itself.
    let (down, paths) = (registry.requests().len() - before, "GET /schemas/ids/");
    assert!(
        (1..150).contains(&down),
        "{down} requests while it was down"
    );
    registry.set(Mood::Well);
    let well = registry.requests().len();
    let all = async {
        while handled.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("all of them");
    consumer.close().await.expect("stopped well");
    assert_eq!(handled.load(Ordering::Relaxed), 100);
    let asked = registry.requests().split_off(well);
    assert!(asked.iter().all(|it| it.starts_with(paths)), "{asked:?}");
    assert!(asked.len() <= 2, "{asked:?}");
}
