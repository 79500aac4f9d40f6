//! The seam between an event and its bytes, with a codec that is not ours: JSON through serde, in front of it the id of a schema, which a
//! registry knows and which takes a while to be asked for.

use std::collections::BTreeMap;

use pat_events::events::codec::{Codec, CodecError, Format, Payload};
use pat_events::events::{Event, event_set};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::*;

/// A registry of schemas: an id for each type of events.
#[derive(Debug, Default)]
struct Registry {
    ids: Mutex<BTreeMap<&'static str, u32>>,
    is_away: AtomicBool,
    requests: AtomicUsize,
}

impl Registry {
    async fn id_of(&self, event_type: &'static str) -> Result<u32, CodecError> {
        sleep(Duration::from_millis(1)).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.is_away.load(Ordering::Relaxed) {
            return Err(CodecError::unavailable("the registry does not respond"));
        }
        let mut ids = self.ids.lock().expect("lock");
        let next = ids.len() as u32;
        Ok(*ids.entry(event_type).or_insert(next))
    }
}

/// JSON behind a zero byte and the four bytes of a schema's id, as registries frame it.
#[derive(Clone, Debug, Default)]
struct Json(Arc<Registry>);

/// The id of the schema, and the length of it all.
struct Framed {
    id: u32,
    len: usize,
}

impl pat_events::events::codec::Prepared for Framed {
    fn encoded_len(&self) -> usize {
        self.len
    }
}

const FRAME: usize = 5;

impl Format for Json {
    type Prepared = Framed;

    fn content_type(&self) -> &'static str {
        "application/json"
    }
}

impl<E: Event + Serialize + DeserializeOwned> Codec<E> for Json {
    async fn prepare(&self, _: &str, event: &E) -> Result<Framed, CodecError> {
        let id = self.0.id_of(E::TYPE).await?;
        // Counts, and keeps nothing.
        let mut counted = Counted(FRAME);
        serde_json::to_writer(&mut counted, event).map_err(CodecError::malformed)?;
        Ok(Framed { id, len: counted.0 })
    }

    fn write(&self, event: &E, prepared: &Framed, out: &mut [u8]) {
        let (frame, json) = out.split_at_mut(FRAME);
        frame[1..].copy_from_slice(&prepared.id.to_be_bytes());
        serde_json::to_writer(json, event).expect("as long as before");
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<E, CodecError> {
        let ([0, id @ ..], json) = payload
            .data
            .split_first_chunk::<FRAME>()
            .ok_or_else(|| CodecError::malformed("no frame of a registry"))?
        else {
            return Err(CodecError::malformed("an unknown frame"));
        };
        if *id != self.0.id_of(E::TYPE).await?.to_be_bytes() {
            return Err(CodecError::malformed("the schema is of another type"));
        }
        serde_json::from_slice(json).map_err(CodecError::malformed)
    }
}

struct Counted(usize);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

// No prost anywhere in them.

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Placed {
    order: String,
    shop: Option<String>,
    cents: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shipped {
    order: String,
}

event_set! {
    enum Orders, producer SendOrders, handler HandleOrders, codec Json {
        Placed: type = "shop.v1.Placed", key = order, tenant = shop;
        Shipped: type = "shop.v1.Shipped", key = order;
    }
}

/// Notes each event, as text, with its tenant and its trace.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Vec<String>>>);

impl Shop {
    fn note(
        &self,
        context: &Context<'_>,
        event: &impl std::fmt::Debug,
    ) -> Result<(), HandlerError> {
        let cloud_event = context.cloud_event()?;
        assert_eq!(cloud_event.content_type, Some("application/json"));
        self.0.lock().expect("lock").push(format!(
            "{event:?} {:?} {:?}",
            cloud_event.tenant_id, cloud_event.traceparent
        ));
        Ok(())
    }

    async fn until(&self, count: usize) -> Vec<String> {
        let noted = async {
            while self.0.lock().expect("lock").len() < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, noted).await.expect("all are handled");
        self.0.lock().expect("lock").clone()
    }
}

impl HandleOrders for Shop {
    async fn handle_placed(
        &self,
        context: &Context<'_>,
        event: Placed,
    ) -> Result<(), HandlerError> {
        self.note(context, &event)
    }

    async fn handle_shipped(
        &self,
        context: &Context<'_>,
        event: Shipped,
    ) -> Result<(), HandlerError> {
        self.note(context, &event)
    }

    async fn handle_undecodable(
        &self,
        _: &Context<'_>,
        _: RawRecord<'_>,
        error: Undecodable,
    ) -> Result<(), HandlerError> {
        self.0.lock().expect("lock").push(error.to_string());
        Ok(())
    }
}

async fn json_producer(broker: &Broker, codec: Json) -> EventProducer<Json> {
    let config = ProducerConfig::new(&broker.bootstrap_servers(), TOPIC);
    EventProducer::with_codec(config, codec)
        .await
        .expect("the broker answers")
}

fn json_consumer(broker: &Broker, codec: Json) -> EventConsumer<Orders> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = Duration::from_secs(45);
    EventConsumer::with_codec(config, codec).expect("a good configuration")
}

fn placed() -> Placed {
    Placed {
        order: "o-1".into(),
        shop: Some("s-1".into()),
        cents: 999,
    }
}

fn shipped() -> Shipped {
    Shipped {
        order: "o-1".into(),
    }
}

#[tokio::test]
async fn events_travel_in_the_codec_that_their_set_names() {
    let broker = broker().await;
    let codec = Json::default();
    let producer = json_producer(&broker, codec.clone()).await;
    let mut traced = Attributes::default();
    traced.traceparent = Some("00-1-2-01");
    traced.tenant_id = Some("s-2");
    producer.send_placed(&placed()).await.expect("sent");
    producer.send_shipped(&shipped()).await.expect("sent");
    let sent = producer.enqueue_with(&placed(), traced).await;
    sent.expect("accepted").await.expect("sent");
    producer.send(&Orders::from(shipped())).await.expect("sent");
    let shop = Shop::default();
    let consumer = json_consumer(&broker, codec);
    consumer.start(shop.clone()).await.expect("started");
    assert_eq!(
        shop.until(4).await,
        [
            format!("{:?} {:?} None", placed(), Some("s-1")),
            format!("{:?} None None", shipped()),
            format!("{:?} {:?} {:?}", placed(), Some("s-2"), Some("00-1-2-01")),
            format!("{:?} None None", shipped()),
        ]
    );
    consumer.stop().await.expect("stopped well");
}

#[tokio::test]
async fn what_another_codec_wrote_is_undecodable_and_says_why() {
    let broker = broker().await;
    let codec = Json::default();
    let producer = Producer::connect(pat_events::kafka::ProducerConfig::new(
        &broker.bootstrap_servers(),
    ))
    .await
    .expect("connected");
    let json = [
        Header::new("ce_type", b"shop.v1.Placed"),
        Header::new("content-type", b"application/json; charset=utf-8"),
    ];
    let protobuf = [
        json[0],
        Header::new("content-type", b"application/protobuf"),
    ];
    let record = Record::new(TOPIC).partition(0);
    for record in [
        record.value(b"\0\0\0\0\0{}").headers(&protobuf),
        record.value(b"{}").headers(&json),
        record.value(b"\0\0\0\0\0{}").headers(&json),
    ] {
        producer.send(record).await.expect("sent");
    }
    let shop = Shop::default();
    let consumer = json_consumer(&broker, codec);
    consumer.start(shop.clone()).await.expect("started");
    let noted = shop.until(3).await;
    assert_eq!(
        noted[..2],
        [
            "the content-type is not application/json",
            "no frame of a registry"
        ]
    );
    assert!(noted[2].contains("missing field"), "{}", noted[2]);
    consumer.stop().await.expect("stopped well");
    assert_eq!(consumer.metrics().undecodable, 3);
}

#[tokio::test]
async fn a_registry_that_is_away_fails_a_send_and_takes_no_event_for_unreadable() {
    let broker = broker().await;
    let codec = Json::default();
    let producer = json_producer(&broker, codec.clone()).await;
    producer.send_placed(&placed()).await.expect("sent");
    codec.0.is_away.store(true, Ordering::Relaxed);
    let error = producer.send_placed(&placed()).await.expect_err("no id");
    assert!(error.is_retriable(), "{error}");
    assert!(
        error.to_string().contains("the registry does not respond"),
        "{error}"
    );
    let shop = Shop::default();
    let consumer = json_consumer(&broker, codec.clone());
    consumer.start(shop.clone()).await.expect("started");
    let error = timeout(PATIENCE, consumer.wait())
        .await
        .expect("ends by itself")
        .expect_err("no schema");
    assert!(
        matches!(&error, ConsumerError::Handler { offset: 0, .. }),
        "{error}"
    );
    assert!(
        shop.0.lock().expect("lock").is_empty(),
        "it is not given up"
    );
    codec.0.is_away.store(false, Ordering::Relaxed);
    consumer.start(shop.clone()).await.expect("started again");
    assert_eq!(shop.until(1).await.len(), 1);
    consumer.stop().await.expect("stopped well");
}
