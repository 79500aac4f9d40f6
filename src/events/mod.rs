//! Typed events on top of the client: a prost message in, a prost message out, CloudEvents around it on the wire.
//!
//! An [event set](event_set) is declared once and gives an enum, the producer's methods and the handler's trait. [`email`] is one; the
//! example at [`event_set!`] declares another.
//!
//! | file | what lives there |
//! | --- | --- |
//! | [`mod@event`] | what makes a prost message an event, and events a set |
//! | `set` | [`event_set!`], the one declaration |
//! | [`email`] | the eight events about emails (`proto/`), and their set |
//! | [`cloudevents`] | the CloudEvents headers: written, and read from anything |
//! | [`record`] | a record as it came, for handlers |
//! | `consumer` | from records to handlers, and from finished handlers to commits |
//! | `producer` | from events to records |
//! | [`handler`] | what a handler sees and answers |

pub mod cloudevents;
mod consumer;
pub mod email;
pub mod event;
pub mod handler;
mod producer;
pub mod record;
mod set;

pub use crate::event_set;
pub use cloudevents::CloudEvent;
pub use consumer::{
    ConsumerConfig, ConsumerError, ConsumerMetrics, EventConsumer, OnFailure, Tell,
};
pub use event::{AnyEvent, Arrival, Dispatch, Dispatched, Event, EventSet};
pub use handler::{Context, HandlerError, Undecodable};
pub use producer::{Attributes, EventProducer, ProducerConfig};
pub use record::{RawHeaders, RawRecord};

/// The Protobuf implementation that events are made with: its traits and its version are part of this interface.
pub use prost;
/// The well-known types of Protobuf, such as `Timestamp`.
pub use prost_types;

/// What [`event_set!`] needs at the place where it is used. Not for other uses.
#[doc(hidden)]
pub mod private {
    pub use pastey::paste;
}
