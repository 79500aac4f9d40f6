//! Traces of events, from who sends one to who finds its dead letter, received over OTLP from the SDK's own exporter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Context as Ambient;
use opentelemetry::trace::{FutureExt, Span as _, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use pat_events::broker::Broker;
use pat_events::events::codec::Protobuf;
use pat_events::events::observe::Tracer;
use pat_events::events::{
    Attributes, Context, DeadLetters, EventOutputs, EventTransform, ExactlyOnceConfig,
    HandlerError, MemoryOutbox, ProducerConfig, ReplayOptions, RetryPolicy, RetryTopics,
    TransactionalEventProducer, dead_letter, exactly_once,
};
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ConsumerConfig, ErrorKind, OffsetReset, StartOffset,
    TopicPartition,
};

use crate::conventions::check_span_attributes;
use crate::otlp::{Receiver, attribute};
use crate::shop::{self, OrderEvents, OrderHandler, OrderPlaced, OrderProducer, Shop, until};

/// What is handled while a span is the current one is part of it.
#[derive(Clone, Default)]
struct Traced {
    shop: Shop,
    /// The ids of the current trace, at each call.
    traces: Arc<Mutex<Vec<String>>>,
}

impl OrderHandler for Traced {
    async fn handle_order_placed(
        &self,
        context: &Context<'_>,
        event: OrderPlaced,
    ) -> Result<(), HandlerError> {
        // Across a wait, too.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let current = Ambient::current().span().span_context().trace_id();
        self.traces
            .lock()
            .expect("no panic")
            .push(current.to_string());
        self.shop.handle_order_placed(context, event).await
    }
}

/// Takes whatever comes.
struct Finder(Shop);

impl OrderHandler for Finder {
    async fn handle_order_placed(
        &self,
        _: &Context<'_>,
        _: OrderPlaced,
    ) -> Result<(), HandlerError> {
        self.0.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The `traceparent` headers of the records of `topic`.
async fn traceparents(broker: &Broker, topic: &str) -> Vec<Vec<String>> {
    let parents = |headers: Headers| {
        let parents = headers
            .into_iter()
            .filter(|(name, _)| name == "traceparent");
        let text = |(_, value): (_, Vec<u8>)| String::from_utf8_lossy(&value).into_owned();
        parents.map(text).collect()
    };
    let all = headers(broker, topic).await;
    all.into_iter().map(parents).collect()
}

type Headers = Vec<(String, Vec<u8>)>;

/// The headers of what the first poll that returns any has of `topic`.
async fn headers(broker: &Broker, topic: &str) -> Vec<Headers> {
    let config = ConsumerConfig::new(&broker.bootstrap_servers(), "reader");
    let mut consumer = Consumer::connect(config).await.expect("connected");
    let all = (0..3).map(|number| (TopicPartition::new(topic, number), StartOffset::Earliest));
    consumer
        .assign(&all.collect::<Vec<_>>())
        .await
        .expect("assigned");
    let mut found = Vec::new();
    while found.is_empty() {
        let records = consumer.poll(Duration::from_secs(1)).await.expect("polled");
        for record in records.iter() {
            let headers = record.headers.iter();
            let headers = headers.map(|header| {
                let value = header.value.unwrap_or_default();
                (header.key.to_string(), value.to_vec())
            });
            found.push(headers.collect());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_sender_over_a_retry_and_a_dead_letter_to_who_finds_it() {
    let broker = shop::broker().await;
    let receiver = Receiver::start().await;
    let provider = SdkTracerProvider::builder().with_batch_exporter(receiver.span_exporter());
    let provider = provider.build();
    let tracer = Tracer::new(&provider);
    let producer = shop::producer(&broker, |config| config.tracer = Some(tracer.clone())).await;
    let consumer = shop::consumer(&broker, |config| config.tracer = Some(tracer.clone()));
    let finder = shop::consumer(&broker, |config| {
        config.tracer = Some(tracer.clone());
        config.topics = vec!["orders.dlq".to_string()];
        config.group_id = "finder".to_string();
    });
    let (handler, found) = (Traced::default(), Shop::default());
    consumer.start(handler.clone()).await.expect("started");
    finder.start(Finder(found.clone())).await.expect("started");

    let root = provider.tracer("app").start("checkout");
    let root = Ambient::new().with_span(root);
    // It fails once as if it could pass, and then for good.
    let order = OrderPlaced {
        failures: 1,
        is_poison: true,
        ..OrderPlaced::new("o-1")
    };
    let sending = producer.send_order_placed(&order);
    let written = opentelemetry::trace::FutureExt::with_context(sending, root.clone());
    let written = written.await.expect("written");
    found.attempts(1).await;
    root.span().end();
    consumer.stop().await.expect("stopped well");
    finder.stop().await.expect("stopped well");
    let flush = || provider.force_flush().is_ok() && receiver.spans().len() >= 6;
    until(flush).await;

    let trace = root.span().span_context().trace_id().to_string();
    assert_eq!(
        *handler.traces.lock().expect("no panic"),
        [&*trace, &*trace]
    );
    let spans = receiver.spans();
    spans
        .iter()
        .for_each(|span| check_span_attributes(&span.attributes));
    assert!(
        spans.iter().all(|span| hex(&span.trace_id) == trace),
        "{spans:#?}"
    );
    let find = |name: &str, attempt: Option<&str>| -> &Span {
        let mut found = spans.iter().filter(|span| {
            let nth = attribute(&span.attributes, "pat_events.attempt");
            span.name == name && (attempt.is_none() || nth.as_deref() == attempt)
        });
        let one = found
            .next()
            .unwrap_or_else(|| panic!("{name} {attempt:?} in {spans:#?}"));
        assert!(found.next().is_none(), "{name} {attempt:?} twice");
        one
    };
    let checkout = find("checkout", None);
    let send = find("send orders", None);
    let first = find("process orders", Some("1"));
    let second = find("process orders", Some("2"));
    let dead = find("send orders.dlq", None);
    let at_last = find("process orders.dlq", None);
    for (span, parent, kind, links) in [
        (send, checkout, SpanKind::Producer, vec![]),
        (first, send, SpanKind::Consumer, vec![send]),
        (second, send, SpanKind::Consumer, vec![send, first]),
        (dead, second, SpanKind::Producer, vec![]),
        (at_last, dead, SpanKind::Consumer, vec![dead]),
    ] {
        assert_eq!(hex(&span.parent_span_id), hex(&parent.span_id), "{span:#?}");
        assert_eq!(span.kind(), kind, "{span:#?}");
        let linked = span.links.iter().map(|link| hex(&link.span_id));
        let expected = links.iter().map(|span| hex(&span.span_id));
        assert!(linked.eq(expected), "{span:#?}");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
    }
    for (span, failed) in [(send, false), (first, true), (second, true), (dead, false)] {
        let code = span.status.as_ref().map(|status| status.code());
        assert_eq!(code == Some(StatusCode::Error), failed, "{span:#?}");
        assert_eq!(attribute(&span.attributes, "error.type").is_some(), failed);
    }
    let of = |span: &Span, names: &[&'static str]| -> BTreeMap<&'static str, String> {
        let named = names
            .iter()
            .filter_map(|name| Some((*name, attribute(&span.attributes, name)?)));
        named.collect()
    };
    let partition = written.partition.to_string();
    let offset = written.offset.expect("known").to_string();
    let common = [
        ("messaging.system", "kafka"),
        ("messaging.destination.name", "orders"),
        ("messaging.destination.partition.id", &partition),
        ("messaging.kafka.offset", &offset),
        ("messaging.kafka.message.key", "o-1"),
    ];
    for (span, operation) in [(send, "send"), (first, "process"), (second, "process")] {
        let mut expected = BTreeMap::from(common);
        expected.insert("messaging.operation.name", operation);
        expected.insert("messaging.operation.type", operation);
        let names: Vec<_> = expected.keys().copied().collect();
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(name, value)| (name, value.to_string()))
            .collect();
        assert_eq!(of(span, &names), expected);
        assert!(attribute(&span.attributes, "messaging.message.id").is_some());
    }
    assert_eq!(
        of(first, &["messaging.consumer.group.name"])
            .values()
            .collect::<Vec<_>>(),
        ["shop"]
    );
    // What the broker has: of the dead letter the sender's, untouched, and its own behind.
    let in_header = |span: &Span| format!("00-{trace}-{}-01", hex(&span.span_id));
    assert_eq!(traceparents(&broker, "orders").await, [[in_header(send)]]);
    let both = [in_header(send), in_header(dead)];
    assert_eq!(traceparents(&broker, "orders.dlq").await, [both]);
    // A replay brings the record back as it was: with one of them, in its place.
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()));
    let client = client.expect("a client");
    let before = headers(&broker, "orders").await;
    let letters = DeadLetters::on(&client, "orders.dlq");
    let replayed = letters.replay(&ReplayOptions::default()).await;
    assert_eq!(replayed.expect("replayed").replayed, 1);
    let mut after = headers(&broker, "orders").await;
    while after.len() < 2 {
        after = headers(&broker, "orders").await;
    }
    let counted = [(dead_letter::REPLAYS.to_string(), b"1".to_vec())];
    let expected = [&before[0][..], &counted].concat();
    assert_eq!(after, [before[0].clone(), expected]);
    provider.shutdown().expect("shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_after_a_retry_topic_is_of_the_same_trace_with_a_link_to_the_call_before() {
    let broker = shop::broker().await;
    let receiver = Receiver::start().await;
    let provider = SdkTracerProvider::builder().with_batch_exporter(receiver.span_exporter());
    let provider = provider.build();
    let tracer = Tracer::new(&provider);
    let topics = RetryTopics::after([Duration::from_millis(50)]);
    let client = Client::connect(ClientConfig::new(&broker.bootstrap_servers()));
    let client = client.await.expect("connected");
    let created = topics.create(&client, "orders", "shop").await;
    created.expect("created");
    let producer = shop::producer(&broker, |config| config.tracer = Some(tracer.clone())).await;
    let consumer = shop::consumer(&broker, |config| {
        config.tracer = Some(tracer.clone());
        config.retry = RetryPolicy::none();
        config.retry_topics = topics.clone();
    });
    let handler = Traced::default();
    consumer.start(handler.clone()).await.expect("started");
    let order = OrderPlaced {
        failures: 1,
        ..OrderPlaced::new("o-1")
    };
    producer.send_order_placed(&order).await.expect("written");
    handler.shop.attempts(2).await;
    consumer.stop().await.expect("stopped well");
    assert_eq!(consumer.metrics().sent_to_retry, 1);
    until(|| provider.force_flush().is_ok() && receiver.spans().len() >= 3).await;
    let spans = receiver.spans();
    let find = |name: &str, attempt: Option<&str>| -> &Span {
        let found = spans.iter().find(|span| {
            let nth = attribute(&span.attributes, "pat_events.attempt");
            span.name == name && nth.as_deref() == attempt
        });
        found.unwrap_or_else(|| panic!("{name} {attempt:?} in {spans:#?}"))
    };
    let send = find("send orders", None);
    let first = find("process orders", Some("1"));
    let second = find("process orders", Some("2"));
    assert_eq!(second.trace_id, send.trace_id);
    let linked: Vec<_> = second.links.iter().map(|link| &link.span_id).collect();
    assert_eq!(linked, [&send.span_id, &first.span_id], "{second:#?}");
    provider.shutdown().expect("shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_not_recorded_anywhere_and_what_the_application_says_is_left_alone()
{
    for tracer in [Tracer::new, |it: &SdkTracerProvider| {
        Tracer::new(it).parent_based()
    }] {
        follows_the_samplers(|never, _| tracer(never), tracer).await;
    }
    let none = |_: &_, always: &_| Tracer::new(always).ratio_based(0.0);
    follows_the_samplers(none, |it| Tracer::new(it).ratio_based(1.0)).await;
}

/// Neither span is recorded of what the sender does not sample; of what the application says that it is sampled, the handler's.
async fn follows_the_samplers(
    sender: impl Fn(&SdkTracerProvider, &SdkTracerProvider) -> Tracer,
    reader: impl Fn(&SdkTracerProvider) -> Tracer,
) {
    const CUSTOM: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let broker = shop::broker().await;
    let receiver = Receiver::start().await;
    let provider = |sampler: Sampler| {
        let exporter = receiver.span_exporter();
        let builder = SdkTracerProvider::builder().with_batch_exporter(exporter);
        builder
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .build()
    };
    let (never, always) = (provider(Sampler::AlwaysOff), provider(Sampler::AlwaysOn));
    let producer = shop::producer(&broker, |config| {
        config.tracer = Some(sender(&never, &always))
    })
    .await;
    let consumer = shop::consumer(&broker, |config| config.tracer = Some(reader(&always)));
    let handler = Shop::default();
    consumer.start(handler.clone()).await.expect("started");
    producer
        .send_order_placed(&OrderPlaced::new("o-1"))
        .await
        .expect("written");
    handler.attempts(1).await;
    let mut attributes = Attributes::default();
    attributes.traceparent = Some(CUSTOM);
    let custom = producer
        .enqueue_with(&OrderPlaced::new("o-2"), attributes)
        .await;
    custom.expect("accepted").await.expect("written");
    handler.attempts(2).await;
    consumer.stop().await.expect("stopped well");
    until(|| always.force_flush().is_ok() && !receiver.spans().is_empty()).await;
    never.force_flush().expect("flushed");
    let spans = receiver.spans();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    assert_eq!(spans[0].name, "process orders");
    assert_eq!(
        (hex(&spans[0].trace_id), hex(&spans[0].parent_span_id)),
        (CUSTOM[3..35].to_string(), CUSTOM[36..52].to_string())
    );
    let mut parents = traceparents(&broker, "orders").await;
    while parents.len() < 2 {
        parents = traceparents(&broker, "orders").await;
    }
    parents.sort();
    assert_eq!(
        parents[0],
        Vec::<String>::new(),
        "the application's own is in its own header"
    );
    assert!(
        parents[1].len() == 1 && parents[1][0].ends_with("-00"),
        "{parents:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_from_an_outbox_belongs_to_the_trace_in_which_it_was_encoded() {
    let broker = shop::broker().await;
    let receiver = Receiver::start().await;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(receiver.span_exporter())
        .build();
    let tracer = Some(Tracer::new(&provider));
    let producer = shop::producer(&broker, |config| config.tracer = tracer.clone()).await;
    let consumer = shop::consumer(&broker, |config| config.tracer = tracer);
    let application = provider.tracer("shop");
    let (encoded, root) = {
        let span = application.start("place an order");
        let root = span.span_context().clone();
        let ambient = Ambient::current_with_span(span);
        let order = OrderPlaced::new("o-1");
        let encoding = producer.encode(&order).with_context(ambient);
        (encoding.await.expect("encoded"), root)
    };
    let outbox = MemoryOutbox::default();
    outbox.push(encoded);
    let handler = Shop::default();
    consumer.start(handler.clone()).await.expect("started");
    assert_eq!(producer.relay(&outbox, 10).await.expect("relayed"), 1);
    handler.attempts(1).await;
    consumer.stop().await.expect("stopped well");
    until(|| provider.force_flush().is_ok() && receiver.spans().len() >= 3).await;
    let spans = receiver.spans();
    let named = |name: &str| {
        let mut found = spans.iter().filter(|span| span.name == name);
        let span = found
            .next()
            .unwrap_or_else(|| panic!("no {name} in {spans:#?}"));
        assert!(found.next().is_none(), "{name} twice");
        check_span_attributes(&span.attributes);
        span
    };
    let (create, process) = (named("create orders"), named("process orders"));
    assert_eq!(create.kind(), SpanKind::Producer);
    assert_eq!(hex(&create.parent_span_id), root.span_id().to_string());
    assert_eq!(process.parent_span_id, create.span_id);
    assert_eq!(hex(&process.trace_id), root.trace_id().to_string());
}

/// Copies orders, and fails as they say.
struct Copying;

impl EventTransform<OrderEvents, Protobuf> for Copying {
    async fn transform(
        &mut self,
        context: &Context<'_>,
        event: OrderEvents,
        outputs: &mut EventOutputs<'_, Protobuf>,
    ) -> Result<(), HandlerError> {
        let OrderEvents::OrderPlaced(order) = event;
        if order.is_poison && context.record().topic == shop::TOPIC {
            return Err(HandlerError::fatal("nobody sells that"));
        }
        outputs.send(&order).await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_has_a_span_that_says_what_became_of_it() {
    let broker = shop::broker().await;
    broker.create_topic("copies", 3).expect("a new topic");
    let receiver = Receiver::start().await;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(receiver.span_exporter())
        .build();
    let tracer = Tracer::new(&provider);
    let mut config = ProducerConfig::new(&broker.bootstrap_servers(), shop::TOPIC);
    config.tracer = Some(tracer.clone());
    let producer = TransactionalEventProducer::connect(config, "till").await;
    let mut producer = producer.expect("connected");
    let root = Ambient::new().with_span(provider.tracer("app").start("checkout"));
    let buying = async {
        let transaction = producer.begin().await.expect("begun");
        for order in ["o-1", "o-2"] {
            let order = OrderPlaced::new(order);
            drop(transaction.enqueue(&order).await.expect("accepted"));
        }
        transaction.commit().await.expect("committed");
    };
    buying.with_context(root.clone()).await;
    let poison = OrderPlaced {
        is_poison: true,
        ..OrderPlaced::new("o-3")
    };
    let transaction = producer.begin().await.expect("begun");
    drop(transaction.enqueue(&poison).await.expect("accepted"));
    transaction.abort().await.expect("aborted");
    drop(producer.begin().await.expect("begun"));
    // One that cannot be committed: another producer has the id now.
    let transaction = producer.begin().await.expect("begun");
    drop(transaction.enqueue(&poison).await.expect("accepted"));
    let config = ProducerConfig::new(&broker.bootstrap_servers(), shop::TOPIC);
    let other = TransactionalEventProducer::connect(config, "till").await;
    let mut other = other.expect("connected");
    let error = transaction.commit().await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    root.span().end();

    // The loop commits what it copies, and ends at an order that cannot be.
    let mut config = ExactlyOnceConfig::new(
        &broker.bootstrap_servers(),
        &[shop::TOPIC],
        "copier",
        "copies",
        "copier-1",
    );
    config.kafka.consumer.auto_offset_reset = OffsetReset::Earliest;
    config.output.tracer = Some(tracer);
    let copying = tokio::spawn(async move {
        let never = std::future::pending();
        exactly_once::<OrderEvents, _, _>(config, Protobuf, &mut Copying, never).await
    });
    let copied = || provider.force_flush().is_ok() && outcomes(&receiver, "copier-1").len() == 1;
    until(copied).await;
    let transaction = other.begin().await.expect("begun");
    drop(transaction.enqueue(&poison).await.expect("accepted"));
    transaction.commit().await.expect("committed");
    let ended = copying.await.expect("no panic");
    ended.expect_err("nobody sells that");
    until(|| provider.force_flush().is_ok() && outcomes(&receiver, "copier-1").len() == 2).await;

    let expected = ["committed", "aborted", "aborted", "aborted"];
    assert_eq!(outcomes(&receiver, "till"), expected);
    assert_eq!(outcomes(&receiver, "copier-1"), ["committed", "aborted"]);
    let spans = receiver.spans();
    let of = |id: &str| transactions(&spans, id);
    let [first, _, _, fenced] = of("till")[..] else {
        panic!("{spans:#?}");
    };
    assert_eq!(first.kind(), SpanKind::Internal);
    let checkout = root.span().span_context().clone();
    assert_eq!(hex(&first.parent_span_id), checkout.span_id().to_string());
    let error = attribute(&fenced.attributes, "error.type");
    assert_eq!(error.as_deref(), Some("Fenced"));
    for (transaction, topic) in [(first, "orders"), (of("copier-1")[0], "copies")] {
        check_span_attributes(&transaction.attributes);
        let children = spans
            .iter()
            .filter(|it| it.parent_span_id == transaction.span_id);
        let names: Vec<_> = children.map(|it| it.name.clone()).collect();
        assert_eq!(
            names,
            [format!("create {topic}"), format!("create {topic}")]
        );
    }
}

/// The spans of the transactions of an id, in the order in which they began.
fn transactions<'a>(spans: &'a [Span], id: &str) -> Vec<&'a Span> {
    let name = "pat_events.transactional_id";
    let of_id = |span: &&Span| attribute(&span.attributes, name).as_deref() == Some(id);
    let mut found: Vec<_> = spans.iter().filter(of_id).collect();
    found.sort_by_key(|span| span.start_time_unix_nano);
    assert!(found.iter().all(|span| span.name == "transaction"));
    found
}

fn outcomes(receiver: &Receiver, id: &str) -> Vec<String> {
    let spans = receiver.spans();
    let outcome = |span: &&Span| attribute(&span.attributes, "pat_events.transaction.outcome");
    transactions(&spans, id)
        .iter()
        .map(|span| outcome(span).expect("an outcome"))
        .collect()
}
