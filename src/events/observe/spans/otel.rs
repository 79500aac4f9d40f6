//! Spans through OpenTelemetry's API.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Link, Span, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _,
    TracerProvider,
};
use opentelemetry::{
    Context as Ambient, ContextGuard, InstrumentationScope, KeyValue, StringValue,
};

use super::roots::Roots;
use super::{Sent, TRACEPARENT, TRACESTATE, trace_context};
use crate::events::cloudevents;
use crate::events::{ConsumerConfig, Context, HandlerError, ProducerConfig, RawRecord};
use crate::kafka::observe::metrics::attribute;
use crate::kafka::runtime::Random;
use crate::kafka::{Delivery, Error, RecordMetadata, Result, WriteOutcome};

const ID: &str = "messaging.message.id";
const KEY: &str = "messaging.kafka.message.key";
const OFFSET: &str = "messaging.kafka.offset";
const LEN: &str = "messaging.message.body.size";
const BATCH: &str = "messaging.batch.message_count";
const ATTEMPT: &str = "pat_events.attempt";
const TRANSACTIONAL_ID: &str = "pat_events.transactional_id";
const OUTCOME: &str = "pat_events.transaction.outcome";

/// Where spans go: a tracer of OpenTelemetry's. Cheap to clone.
///
/// Producers of events have a span for each event that they send (`send {topic}`), until it is acknowledged, or that they encode for an
/// outbox (`create {topic}`), and put its context into the record's headers `traceparent` and `tracestate`. Consumers have one for each call of a handler (`process {topic}`), a child of the span
/// that sent the event, with a link to the call before where it is a repetition, also across a retry topic; and one for each dead letter that they send, a child of the
/// last call. What handlers start themselves are children of their call. A transaction of events has one (`transaction`), from its begin until it is committed
/// or aborted, which says what became of it (`pat_events.transaction.outcome`: `committed`, `aborted` or `unknown`); the events that are sent in it are
/// its children. The tracer's sampler decides which of them are recorded.
///
/// ```
/// use pat_events::events::ProducerConfig;
/// use pat_events::events::observe::Tracer;
///
/// let mut config = ProducerConfig::new("kafka-1:9092", "emails");
/// // The global one, or the application's own: Tracer::new(&provider).
/// config.tracer = Some(Tracer::global().parent_based());
/// ```
#[derive(Clone)]
pub struct Tracer {
    tracer: Arc<BoxedTracer>,
    is_parent_based: bool,
    /// Which of the traces that begin here are sampled; `None`: the sampler says it.
    roots: Option<Arc<Roots>>,
}

impl Tracer {
    /// A tracer of `provider`, such as the SDK's.
    pub fn new<P>(provider: &P) -> Self
    where
        P: TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        let tracer = provider.tracer_with_scope(scope());
        Self::of(BoxedTracer::new(Box::new(tracer)))
    }

    /// A tracer of the provider that is the global one now.
    pub fn global() -> Self {
        Self::of(opentelemetry::global::tracer_with_scope(scope()))
    }

    /// The same, whose sampler never samples a span with a parent that is not sampled: so does the SDK's default, and each whose name begins
    /// with `parentbased` in `OTEL_TRACES_SAMPLER`. It need not be asked about those then, which are most of them where one event in a hundred is
    /// traced; they are of the trace all the same. Under another sampler spans would be missing. Default: it is asked about each span.
    #[must_use]
    pub fn parent_based(self) -> Self {
        Self {
            is_parent_based: true,
            ..self
        }
    }

    /// The same, for one trace in many: of those that begin with an event that is sent, or with one that is handled and says of none, `ratio` (0.0
    /// to 1.0; 0.01 is one in a hundred) are sampled. It is decided by the trace's id, as the SDK's `TraceIdRatioBased` does, before a span is built,
    /// which is most of what a span costs that nobody sees. The sampler is asked about those that are left, and has to sample them: the SDK's
    /// default does. [Parent-based](Self::parent_based), too.
    #[must_use]
    pub fn ratio_based(self, ratio: f64) -> Self {
        let roots = Roots::new(ratio, &mut Random::from_system());
        Self {
            is_parent_based: true,
            roots: Some(Arc::new(roots)),
            ..self
        }
    }

    fn of(tracer: BoxedTracer) -> Self {
        Self {
            tracer: Arc::new(tracer),
            is_parent_based: false,
            roots: None,
        }
    }

    fn build(&self, builder: SpanBuilder, parent: &Ambient) -> BoxedSpan {
        self.tracer.build_with_context(builder, parent)
    }

    /// What stands for a span without a parent, where that is known not to be sampled.
    fn unsampled_root(&self) -> Option<SpanContext> {
        self.roots.as_ref()?.unsampled()
    }

    /// Whether a span with this parent is known not to be sampled.
    fn leaves_out(&self, parent: &SpanContext) -> bool {
        self.is_parent_based && parent.is_valid() && !parent.is_sampled()
    }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("pat-events")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tracer")
    }
}

/// The spans of a producer or a consumer of events, if it has a tracer.
#[derive(Clone, Debug)]
pub(crate) struct Spans(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    tracer: Tracer,
    /// Of a consumer.
    group: Option<StringValue>,
    /// What all spans of one topic have in common, of the topics that are known before.
    topics: Vec<Template>,
}

/// What all spans of one operation on one topic have in common.
#[derive(Clone, Debug)]
struct Template {
    topic: String,
    name: String,
    attributes: Vec<KeyValue>,
}

impl Template {
    fn new(operation: &'static str, topic: &str, group: Option<&StringValue>) -> Self {
        let name: Arc<str> = topic.into();
        let mut attributes = vec![
            KeyValue::new(attribute::SYSTEM, "kafka"),
            KeyValue::new(attribute::OPERATION, operation),
            KeyValue::new(attribute::OPERATION_TYPE, operation),
            KeyValue::new(attribute::TOPIC, name),
        ];
        attributes.extend(group.map(|group| KeyValue::new(attribute::GROUP, group.clone())));
        Self {
            topic: topic.to_string(),
            name: format!("{operation} {topic}"),
            attributes,
        }
    }

    fn builder(&self, kind: SpanKind, links: Vec<Link>) -> SpanBuilder {
        SpanBuilder {
            span_kind: Some(kind),
            attributes: Some(self.attributes.clone()),
            links: (!links.is_empty()).then_some(links),
            ..SpanBuilder::from_name(self.name.clone())
        }
    }
}

const CREATE: &str = "create";
const SEND: &str = "send";
const PROCESS: &str = "process";
/// The conventions have no name for it.
const TRANSACTION: &str = "transaction";

impl Spans {
    pub fn of_producer(config: &ProducerConfig) -> Self {
        Self(config.tracer.clone().map(|tracer| {
            Arc::new(Inner {
                tracer,
                group: None,
                topics: vec![Template::new(SEND, &config.topic, None)],
            })
        }))
    }

    pub fn of_consumer(config: &ConsumerConfig) -> Self {
        Self(config.tracer.clone().map(|tracer| {
            let group = StringValue::from(Arc::<str>::from(&*config.group_id));
            let topics = config.topics.iter();
            let topics = topics.map(|topic| Template::new(PROCESS, topic, Some(&group)));
            Arc::new(Inner {
                tracer,
                topics: topics.collect(),
                group: Some(group),
            })
        }))
    }

    /// An event is about to be sent to `topic`.
    pub fn send<'a>(&self, topic: &str, event: impl FnOnce() -> Sent<'a>) -> Option<SendSpan> {
        let inner = self.0.as_ref()?;
        let event = event();
        if let Some(unsampled) = inner.unsampled(event.custom.is_none()) {
            return Some(unsampled);
        }
        let custom = event.custom.and_then(|(parent, state)| {
            trace_context::read(parent.as_bytes(), state.map(str::as_bytes))
        });
        let links = custom.map(Link::with_context);
        // Whose context is not in the message is not its producer, by the conventions.
        let kind = match event.custom {
            Some(_) => SpanKind::Client,
            None => SpanKind::Producer,
        };
        let template = inner.template(SEND, topic);
        let builder = template.builder(kind, links.into_iter().collect());
        let mut span = Ambient::map_current(|ambient| inner.tracer.build(builder, ambient));
        if span.is_recording() {
            about_message(
                |it| span.set_attribute(it),
                event.id,
                event.key,
                Some(event.len),
            );
        }
        Some(SendSpan::new(span, event.custom.is_none()))
    }

    /// An event is created, to be sent by somebody else later, or as part of a transaction: its span ends when this is dropped.
    pub fn create<'a>(
        &self,
        topic: &str,
        within: Option<&TransactionSpan>,
        event: impl FnOnce() -> Sent<'a>,
    ) -> Option<SendSpan> {
        let inner = self.0.as_ref()?;
        let _guard = within.and_then(TransactionSpan::enter);
        if let Some(unsampled) = inner.unsampled(true) {
            return Some(unsampled);
        }
        let Sent { id, key, len, .. } = event();
        let builder = Template::new(CREATE, topic, None).builder(SpanKind::Producer, Vec::new());
        let mut span = Ambient::map_current(|ambient| inner.tracer.build(builder, ambient));
        if span.is_recording() {
            about_message(|it| span.set_attribute(it), id, key, Some(len));
        }
        Some(SendSpan::new(span, true))
    }

    /// A transaction has begun.
    pub fn transaction(&self, id: &str) -> TransactionSpan {
        let Some(inner) = &self.0 else {
            return TransactionSpan::new(None);
        };
        let context = Ambient::map_current(|ambient| {
            let parent = ambient.span().span_context().clone();
            let unsampled = match parent.is_valid() {
                true => inner.tracer.leaves_out(&parent).then_some(parent),
                false => inner.tracer.unsampled_root(),
            };
            if let Some(unsampled) = unsampled {
                // Also for the events that are sent in it.
                return ambient.with_remote_span_context(unsampled);
            }
            let builder = SpanBuilder {
                span_kind: Some(SpanKind::Internal),
                attributes: Some(vec![
                    KeyValue::new(attribute::SYSTEM, "kafka"),
                    KeyValue::new(attribute::OPERATION, TRANSACTION),
                    KeyValue::new(TRANSACTIONAL_ID, id.to_string()),
                ]),
                ..SpanBuilder::from_name(TRANSACTION)
            };
            ambient.with_span(inner.tracer.build(builder, ambient))
        });
        TransactionSpan::new(Some(context))
    }

    /// A handler is about to be called; the call before, with the same record, was `last`.
    pub fn process(&self, context: &Context<'_>, last: Option<&Last>) -> ProcessSpan {
        let Some(inner) = &self.0 else {
            return ProcessSpan(None);
        };
        let record = context.record();
        let creation = creation_of(record);
        let unsampled = match &creation {
            Some(creation) => (inner.tracer.leaves_out(creation)).then(|| creation.clone()),
            None => inner.tracer.unsampled_root(),
        };
        if let Some(unsampled) = unsampled {
            // Also for what the handler sends and starts.
            return ProcessSpan(Some(Ambient::new().with_remote_span_context(unsampled)));
        }
        let last = last.and_then(|last| last.0.clone());
        let mut links = Vec::with_capacity(usize::from(last.is_some()) + 1);
        links.extend(
            creation
                .clone()
                .into_iter()
                .chain(last)
                .map(Link::with_context),
        );
        let template = inner.template(PROCESS, record.topic);
        let builder = template.builder(SpanKind::Consumer, links);
        let parent = match creation {
            Some(creation) => Ambient::new().with_remote_span_context(creation),
            None => Ambient::new(),
        };
        let span = inner.tracer.build(builder, &parent);
        let ambient = parent.with_span(span);
        let span = ambient.span();
        if span.is_recording() {
            let id = context.cloud_event().ok().and_then(|event| event.id);
            let len = record.value.map(<[u8]>::len);
            about_message(|it| span.set_attribute(it), id, record.key, len);
            span.set_attribute(partition(record.partition));
            span.set_attribute(KeyValue::new(OFFSET, record.offset));
            span.set_attribute(KeyValue::new(ATTEMPT, i64::from(context.attempt())));
        }
        ProcessSpan(Some(ambient))
    }

    /// A handler is about to be called with several records at once, each with the call before, if there was one.
    pub fn process_batch(&self, calls: &[(&Context<'_>, Option<&Last>)]) -> ProcessSpan {
        let (Some(inner), [first, _, ..]) = (&self.0, calls) else {
            let one = calls.first();
            return one.map_or(ProcessSpan(None), |(context, last)| {
                self.process(context, *last)
            });
        };
        let links = calls.iter().flat_map(|(context, last)| {
            [
                creation_of(context.record()),
                last.and_then(|last| last.0.clone()),
            ]
        });
        let links = links.flatten().map(Link::with_context).collect();
        let topic = first.0.topic();
        let mut template = inner.template(PROCESS, topic).into_owned();
        if calls.iter().any(|(context, _)| context.topic() != topic) {
            template.name = PROCESS.to_string();
            (template.attributes).retain(|attribute| attribute.key.as_str() != attribute::TOPIC);
        }
        // No one of them is the cause of it.
        let ambient = Ambient::new();
        let builder = template.builder(SpanKind::Consumer, links);
        let mut span = inner.tracer.build(builder, &ambient);
        span.set_attribute(KeyValue::new(BATCH, calls.len() as i64));
        ProcessSpan(Some(ambient.with_span(span)))
    }

    /// A dead letter of `record` is about to be sent to `topic`, after the call `last` of its handler.
    pub fn dead_letter(
        &self,
        topic: &str,
        record: RawRecord<'_>,
        last: Option<&Last>,
    ) -> Option<SendSpan> {
        let inner = self.0.as_ref()?;
        let parent = last.and_then(|last| last.0.clone());
        let parent = parent.or_else(|| creation_of(record));
        let parent = match parent {
            Some(parent) if inner.tracer.leaves_out(&parent) => {
                return Some(SendSpan::unsampled(&parent, true));
            }
            Some(parent) => Ambient::new().with_remote_span_context(parent),
            None => Ambient::new(),
        };
        let template = Template::new(SEND, topic, None);
        let builder = template.builder(SpanKind::Producer, Vec::new());
        let mut span = inner.tracer.build(builder, &parent);
        if span.is_recording() {
            let len = record.value.map(<[u8]>::len);
            about_message(|it| span.set_attribute(it), None, record.key, len);
        }
        Some(SendSpan::new(span, true))
    }
}

impl Inner {
    /// What stands for the span of a message that is sent now, where that is known not to be sampled.
    fn unsampled(&self, is_creation: bool) -> Option<SendSpan> {
        if !self.tracer.is_parent_based {
            return None;
        }
        Ambient::map_current(|ambient| {
            if !ambient.has_active_span() {
                let root = self.tracer.unsampled_root()?;
                return Some(SendSpan::unsampled(&root, is_creation));
            }
            let span = ambient.span();
            let parent = span.span_context();
            let is_unsampled = self.tracer.leaves_out(parent);
            is_unsampled.then(|| SendSpan::unsampled(parent, is_creation))
        })
    }

    fn template(&self, operation: &'static str, topic: &str) -> Cow<'_, Template> {
        let known = self.topics.iter().find(|it| it.topic == topic);
        known.map_or_else(
            || Cow::Owned(Template::new(operation, topic, self.group.as_ref())),
            Cow::Borrowed,
        )
    }
}

/// The span that a record was created in. Of several headers the last counts, as whoever forwards a record adds one.
fn creation_of(record: RawRecord<'_>) -> Option<SpanContext> {
    let (mut plain, mut event) = ((None, None), (None, None));
    for (name, value) in record.headers.raw() {
        match name {
            _ if name == TRACEPARENT.as_bytes() => plain = (value, None),
            _ if name == TRACESTATE.as_bytes() => plain.1 = value,
            _ if name == cloudevents::TRACEPARENT.as_bytes() => event.0 = value,
            _ if name == cloudevents::TRACESTATE.as_bytes() => event.1 = value,
            _ => {}
        }
    }
    let read = |(parent, state): (Option<&[u8]>, _)| trace_context::read(parent?, state);
    read(plain).or_else(|| read(event))
}

fn about_message(
    mut set: impl FnMut(KeyValue),
    id: Option<&str>,
    key: Option<&[u8]>,
    len: Option<usize>,
) {
    if let Some(id) = id {
        set(KeyValue::new(ID, id.to_string()));
    }
    if let Some(key) = key.and_then(|key| std::str::from_utf8(key).ok()) {
        set(KeyValue::new(KEY, key.to_string()));
    }
    match len {
        Some(len) => set(KeyValue::new(LEN, len as i64)),
        None => set(KeyValue::new("messaging.kafka.message.tombstone", true)),
    }
}

fn partition(number: i32) -> KeyValue {
    KeyValue::new(attribute::PARTITION, number.to_string())
}

/// The span of a message that is sent.
pub(crate) struct SendSpan {
    /// `None`: it is not sampled, and there is none.
    span: Option<BoxedSpan>,
    /// What goes into the message's headers, if anything.
    traceparent: Option<[u8; 55]>,
    tracestate: String,
}

impl SendSpan {
    fn new(span: BoxedSpan, is_creation: bool) -> Self {
        let unsampled = Self::unsampled(span.span_context(), is_creation);
        Self {
            span: Some(span),
            ..unsampled
        }
    }

    /// Without a span: the message says that it is of the trace of `context`.
    fn unsampled(context: &SpanContext, is_creation: bool) -> Self {
        let is_creation = is_creation && context.is_valid();
        let traceparent = is_creation.then(|| trace_context::traceparent(context));
        let tracestate = match is_creation {
            true => context.trace_state().header(),
            false => String::new(),
        };
        Self {
            span: None,
            traceparent,
            tracestate,
        }
    }

    /// What goes into the message's headers.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let parent = self.traceparent.iter();
        let parent = parent.map(|parent| (TRACEPARENT, &parent[..]));
        let state = (!self.tracestate.is_empty()).then_some(self.tracestate.as_bytes());
        parent.chain(state.map(|state| (TRACESTATE, state)))
    }

    /// The message was accepted for sending, or was not: the span ends when its fate is known.
    pub fn enqueued(mut self, result: &Result<Delivery>) {
        let Some(span) = self.span.as_mut().filter(|span| span.is_recording()) else {
            return;
        };
        match result {
            Ok(delivery) => {
                span.set_attribute(partition(delivery.partition()));
                let delivery = delivery.another();
                tokio::spawn(async move { self.sent(&delivery.await) });
            }
            Err(error) => failed(span, error),
        }
    }

    /// The message was sent, or could not be: the span ends.
    pub fn sent(mut self, result: &Result<RecordMetadata>) {
        let Some(span) = &mut self.span else {
            return;
        };
        match result {
            Ok(RecordMetadata {
                offset: Some(offset),
                ..
            }) => span.set_attribute(KeyValue::new(OFFSET, *offset)),
            Ok(_) => {}
            Err(error) => failed(span, error),
        }
    }
}

fn kind_of(error: &Error) -> String {
    format!("{:?}", error.kind())
}

fn failed(span: &mut BoxedSpan, error: &Error) {
    span.set_attribute(KeyValue::new(attribute::ERROR, kind_of(error)));
    span.set_status(Status::error(error.to_string()));
}

/// The span of a transaction, from its begin to its end. Dropped before that, it says that it is aborted, or, on its way to be committed, that
/// nobody knows.
pub(crate) struct TransactionSpan {
    ambient: Option<Ambient>,
    is_committing: bool,
}

impl TransactionSpan {
    fn new(ambient: Option<Ambient>) -> Self {
        Self {
            ambient,
            is_committing: false,
        }
    }

    fn enter(&self) -> Option<ContextGuard> {
        self.ambient
            .as_ref()
            .map(|ambient| ambient.clone().attach())
    }

    /// It is to be committed.
    pub fn committing(&mut self) {
        self.is_committing = true;
    }

    /// It was to be committed, or aborted.
    pub fn decided(mut self, result: &Result<()>) {
        let committed = match result {
            Ok(()) => Some(self.is_committing),
            Err(error) if error.outcome() == WriteOutcome::Unknown => None,
            Err(_) => Some(false),
        };
        self.close(committed, result.as_ref().err());
    }

    /// Whether it was committed; `None` where nobody can tell.
    pub fn ended(mut self, committed: Option<bool>) {
        self.close(committed, None);
    }

    fn close(&mut self, committed: Option<bool>, error: Option<&Error>) {
        let Some(ambient) = self.ambient.take() else {
            return;
        };
        let span = ambient.span();
        if span.is_recording() {
            let outcome = match committed {
                Some(true) => "committed",
                Some(false) => "aborted",
                None => "unknown",
            };
            span.set_attribute(KeyValue::new(OUTCOME, outcome));
            if let Some(error) = error {
                span.set_attribute(KeyValue::new(attribute::ERROR, kind_of(error)));
                span.set_status(Status::error(error.to_string()));
            }
        }
        // What the application has started in it may hold on to the context.
        span.end();
    }
}

impl Drop for TransactionSpan {
    fn drop(&mut self) {
        self.close((!self.is_committing).then_some(false), None);
    }
}

/// The span of a call of a handler. It ends when this is dropped.
pub(crate) struct ProcessSpan(Option<Ambient>);

impl ProcessSpan {
    /// As long as what this returns is held, the span is the current one.
    pub fn enter(&self) -> Option<ContextGuard> {
        self.0.as_ref().map(|ambient| ambient.clone().attach())
    }

    pub fn failed(&self, error: &HandlerError) {
        if let Some(ambient) = &self.0
            && ambient.span().is_recording()
        {
            let span = ambient.span();
            span.set_attribute(KeyValue::new(attribute::ERROR, error.type_name()));
            span.set_status(Status::error(error.to_string()));
        }
    }

    /// What the next attempt, or a dead letter, goes on from.
    pub fn last(&self) -> Last {
        let span = self.0.as_ref();
        Last(span.map(|ambient| ambient.span().span_context().clone()))
    }
}

impl Drop for ProcessSpan {
    fn drop(&mut self) {
        // What the handler has started, and left running, may hold on to the context.
        if let Some(ambient) = &self.0 {
            ambient.span().end();
        }
    }
}

/// The span of the last call of a handler for a record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last(Option<SpanContext>);

impl Last {
    /// The one that a `traceparent` names.
    pub fn of(traceparent: Option<&str>) -> Self {
        Self(traceparent.and_then(|span| trace_context::read(span.as_bytes(), None)))
    }

    /// It, for a record that waits elsewhere meanwhile; `None` where there is no span.
    pub fn traceparent(&self) -> Option<String> {
        let span = self.0.as_ref().filter(|span| span.is_valid())?;
        String::from_utf8(trace_context::traceparent(span).to_vec()).ok()
    }
}
