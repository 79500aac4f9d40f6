//! Typed events on top of the client: messages in, messages out, as CloudEvents.
//!
//! | to | take |
//! | --- | --- |
//! | declare what events there are | [`event_set!`] |
//! | send events | [`EventProducer`] |
//! | handle events, one key in order, keys at once | [`EventConsumer`] |
//! | handle events as jobs, in no order | [`EventQueue`] |
//! | handle several events in one call | [`BatchHandler`] |
//! | say what becomes of failures | [`OnFailure`], [`RetryTopics`] |
//! | look at dead letters, and bring them back | [`DeadLetters`] |
//! | read, handle and write, each exactly once | [`exactly_once()`] |
//! | write events along with a database | [`Outbox`] |
//! | encode in Avro, JSON, or by a schema registry | [`codec`] |
//! | test what sends and handles | [`testing`] |
//!
//! A set of events is declared once and expands to an enum, a trait with the
//! producer's methods and a trait for handlers. From end to end, on an embedded
//! broker (with a Kafka, its address instead):
//!
//! ```
//! # #[cfg(not(feature = "broker"))]
//! # fn main() {}
//! # #[cfg(feature = "broker")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use pat_events::events::{ConsumerConfig, Context, EventConsumer};
//! use pat_events::events::{EventProducer, HandlerError, ProducerConfig};
//! use pat_events::events::{event_set, prost};
//! use pat_events::kafka::OffsetReset;
//! use tokio::sync::mpsc;
//!
//! #[derive(Clone, PartialEq, prost::Message)]
//! #[prost(prost_path = "prost")] // not with a dependency of your own on prost
//! pub struct OrderPlaced {
//!     #[prost(string, tag = "1")]
//!     pub order_id: String,
//! }
//!
//! event_set! {
//!     /// The life of an order.
//!     pub enum OrderEvents, producer OrderProducer, handler OrderHandler {
//!         OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
//!     }
//! }
//!
//! struct Shop(mpsc::Sender<String>);
//!
//! impl OrderHandler for Shop {
//!     async fn handle_order_placed(
//!         &self,
//!         _: &Context<'_>,
//!         event: OrderPlaced,
//!     ) -> Result<(), HandlerError> {
//!         Ok(self.0.send(event.order_id).await?)
//!     }
//! }
//!
//! let broker = pat_events::broker::Broker::builder();
//! let broker = broker.start_tcp("127.0.0.1:0").await?;
//! broker.create_topic("orders", 3)?;
//! let brokers = broker.bootstrap_servers();
//!
//! let config = ProducerConfig::new(&brokers, "orders");
//! let producer = EventProducer::connect(config).await?;
//! let order = OrderPlaced { order_id: "o-1".into() };
//! producer.send_order_placed(&order).await?; // acknowledged
//!
//! let mut config = ConsumerConfig::new(&brokers, "orders", "shop");
//! config.auto_offset_reset = OffsetReset::Earliest;
//! let consumer = EventConsumer::<OrderEvents>::new(config)?;
//! let (orders, mut placed) = mpsc::channel(10);
//! consumer.start(Shop(orders)).await?;
//! assert_eq!(placed.recv().await.as_deref(), Some("o-1"));
//! consumer.stop().await?; // handled, committed, left the group
//! assert_eq!(consumer.metrics().handled, 1);
//! # Ok(())
//! # }
//! ```
//!
//! [`email`] is a set that is ready: eight events about emails. The
//! [tutorial] builds a service around one, step by step.

// | file | what lives there |
// | --- | --- |
// | `event` | what makes a message an event, and events a set |
// | `codec` | how an event becomes bytes, and bytes an event: Protobuf, or another codec that the set names |
// | `set` | `event_set!`, the one declaration |
// | `schema` (feature `schema`) | what a change of a schema breaks |
// | `email` | the eight events about emails (`proto/`), and their set |
// | `cloudevents` | the CloudEvents headers: written, and read from anything |
// | `record` | a record as it came, for handlers |
// | `batch` | handlers of several events at once |
// | `consumer` | from records to handlers, and from finished handlers to commits |
// | `outbox` | events that wait in a store of the application's |
// | `process` | events in transactions: a producer, and the loop that reads, handles and writes each exactly once |
// | `producer` | from events to records |
// | `handler` | what a handler sees and returns |
// | `observe` | what an operator sees of typed events |
// | `failure` | what becomes of a record whose handler fails |
// | `tenants` | whose events are handled, how much each tenant may take, and where theirs go |
// | `signals` (feature `signals`) | the process is asked to end |
// | `testing` | a broker, a producer and a delivery for users' tests |
// | `tutorial` | a service from nothing to its graceful end |
// | `cancellation` | how handlers hear that they are to come to an end |

mod batch;
mod cancellation;
pub mod cloudevents;
pub mod codec;
mod consumer;
pub mod email;
mod event;
mod failure;
mod handler;
pub mod observe;
mod outbox;
mod process;
mod producer;
mod record;
#[cfg(feature = "schema")]
pub mod schema;
mod set;
#[cfg(feature = "signals")]
mod signals;
mod tenants;
pub mod testing;
pub mod tutorial;

#[doc(inline)]
pub use crate::event_set;
pub use batch::{Batch, BatchError, BatchHandler, BatchPolicy, EachBatch, each_batch};
#[doc(inline)]
pub use cloudevents::CloudEvent;
pub use consumer::{
    CommitPolicy, ConsumerConfig, ConsumerError, ConsumerMetrics, EventConsumer, EventQueue,
    OldestEvent, QueueConfig, QueueMetrics,
};
pub use event::{
    AnyEvent, Dispatch, Dispatched, Encode, Event, EventId, EventKey, EventSet, RecordKind,
};
pub use failure::dead_letter;
pub use failure::{
    CircuitPolicy, CircuitState, Classify, DEAD_LETTER_SUFFIX, DeadLetter, DeadLetterCounts,
    DeadLetterFilter, DeadLetters, FailureClass, LeftOut, OnFailure, OnSkipped, OnTooLarge,
    OnUnknown, PurgeUpTo, Purged, ReplayOptions, Replayed, RetryPolicy, RetryTopicName,
    RetryTopics,
};
pub use handler::{Context, Each, HandlerError, Undecodable, each};
pub use outbox::{MemoryOutbox, Outbox, OutboxEvent, RelayError};
pub use process::{
    EventOutputs, EventTransaction, EventTransform, ExactlyOnceConfig, TransactionalEventProducer,
    exactly_once,
};
pub use producer::{Attributes, EventProducer, ProducerConfig};
pub use record::{RawHeaders, RawRecord};
#[cfg(feature = "signals")]
pub use signals::shutdown_signal;
pub use tenants::{TenantFilter, TenantLimits, TenantMetrics, TenantRouting, Tenants};

/// The Protobuf implementation of the default codec: its traits and its version are part of this interface.
pub use prost;
/// The well-known types of Protobuf, such as `Timestamp`.
pub use prost_types;

/// What [`event_set!`] needs at the place where it is used. Not for other uses.
#[doc(hidden)]
pub mod private {
    pub use pastey::paste;

    /// A message that knows its own name.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` does not know its name",
        label = "a message without a name",
        note = "say what it is called on the wire (`type = \"shop.v1.OrderPlaced\"`), or let prost make it know its name (`enable_type_names` of prost-build)"
    )]
    pub trait Named {
        /// [`prost::Name::PACKAGE`].
        const PACKAGE: &'static str;
        /// [`prost::Name::NAME`].
        const NAME: &'static str;
    }

    #[diagnostic::do_not_recommend]
    impl<M: prost::Name> Named for M {
        const PACKAGE: &'static str = M::PACKAGE;
        const NAME: &'static str = M::NAME;
    }

    /// A field that says whose an event is.
    #[diagnostic::on_unimplemented(
        message = "a field of type `{Self}` cannot say whose an event is",
        label = "no tenant",
        note = "a tenant is a `String` or an `Option` of one; for any other implement `Event` by hand"
    )]
    pub trait Tenant {
        /// The tenant's id; an empty one is none.
        fn as_tenant(&self) -> Option<&str>;
    }

    impl Tenant for String {
        fn as_tenant(&self) -> Option<&str> {
            (!self.is_empty()).then_some(self)
        }
    }

    impl<T: Tenant> Tenant for Option<T> {
        fn as_tenant(&self) -> Option<&str> {
            self.as_ref()?.as_tenant()
        }
    }

    /// Whether a field holds anything.
    pub fn is_set<T: Default + PartialEq>(field: &T) -> bool {
        *field != T::default()
    }

    /// The length of the full name of a message.
    pub const fn full_name_len(package: &str, name: &str) -> usize {
        let dot = if package.is_empty() { 0 } else { 1 };
        package.len() + dot + name.len()
    }

    /// The full name of a message, which is `LEN` long: `shop.v1.OrderPlaced`.
    pub const fn full_name<const LEN: usize>(package: &str, name: &str) -> [u8; LEN] {
        let mut full = [b'.'; LEN];
        let (before, _) = full.split_at_mut(package.len());
        before.copy_from_slice(package.as_bytes());
        let (_, after) = full.split_at_mut(LEN - name.len());
        after.copy_from_slice(name.as_bytes());
        full
    }

    /// `bytes`, which are a text.
    pub const fn text(bytes: &[u8]) -> &str {
        match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(_) => "",
        }
    }

    /// Whether `of` is a type, and there once in `types`.
    pub const fn is_alone(types: &[&str], of: &str) -> bool {
        let (mut i, mut met) = (0, 0);
        while i < types.len() {
            if equal(types[i].as_bytes(), of.as_bytes()) {
                met += 1;
            }
            i += 1;
        }
        met == 1 && !of.is_empty()
    }

    /// The place of `of` in `types`.
    pub const fn index_of(types: &[&str], of: &str) -> usize {
        let mut i = 0;
        while i < types.len() && !equal(types[i].as_bytes(), of.as_bytes()) {
            i += 1;
        }
        i
    }

    const fn equal(one: &[u8], other: &[u8]) -> bool {
        if one.len() != other.len() {
            return false;
        }
        let mut i = 0;
        while i < one.len() {
            if one[i] != other[i] {
                return false;
            }
            i += 1;
        }
        true
    }
}
