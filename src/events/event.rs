//! What makes a message an event, and several of them an event set. [`event_set!`](crate::event_set) implements all of it; the
//! traits are public for those who need to write one by hand.

use std::future::Future;

use super::codec::{Codec, CodecError, Format, Payload};
use super::{Context, HandlerError};

/// A message that can travel as an event. It knows its type and its key; how it is encoded is the business of its set's
/// [codec](super::codec).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "a message that says neither its type nor its key",
    note = "say how it travels in the row of its event set (`{Self}: type = \"shop.v1.OrderPlaced\", key = order_id;`), or implement `Event` for it"
)]
pub trait Event: Send + Sync + 'static {
    /// The event's name on the wire (`ce_type`), by convention the full name of the message: `api.events.v1.EmailReceived`. It is what
    /// readers know the event by: it never changes.
    const TYPE: &'static str;

    /// What the event is about: the key of its record. Events with equal keys go to the same partition, and are handled in the order
    /// in which they were sent. `None` spreads the events over all partitions, in no order.
    fn key(&self) -> Option<&[u8]>;

    /// The `ce_subject` of the event; `None`, the default, sends none.
    fn subject(&self) -> Option<&str> {
        None
    }

    /// Whose event it is (`ce_tenantid`): consumers that have many events to handle take turns between tenants. `None`, the default, sends
    /// none.
    fn tenant_id(&self) -> Option<&str> {
        None
    }

    /// The event's own id, which becomes its `ce_id`, so that both say the same. `None`, the default, lets the producer create one.
    fn id(&self) -> Option<&str> {
        None
    }

    /// Whether the event may be sent, asked before it is encoded: for limits that its type alone does not keep. Default: it may.
    fn check(&self) -> Result<(), CodecError> {
        Ok(())
    }

    /// Calls `tell` with the name of each deprecated field that is set, no more than once for each in the life of the process. Default: there
    /// are none.
    fn deprecated_fields(&self, tell: &mut dyn FnMut(&'static str)) {
        let _ = tell;
    }
}

/// A field that can be the id of an event.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` cannot be the id of an event",
    label = "no id",
    note = "an id is a `String` or an `Option` of one; for any other implement `Event` by hand, or `EventId` for a type of your own"
)]
pub trait EventId {
    /// The id; `None` when there is none, as for an empty one.
    fn as_id(&self) -> Option<&str>;
}

impl EventId for String {
    fn as_id(&self) -> Option<&str> {
        (!self.is_empty()).then_some(self)
    }
}

impl<I: EventId> EventId for Option<I> {
    fn as_id(&self) -> Option<&str> {
        self.as_ref()?.as_id()
    }
}

/// A field that can be the key of an event.
#[diagnostic::on_unimplemented(
    message = "a field of type `{Self}` cannot be the key of an event",
    label = "no key",
    note = "a key is a `String`, bytes (`Vec<u8>`, `Bytes`), or an `Option` of these; `key = _` is none; for any other implement `Event` by hand, or `EventKey` for a type of your own"
)]
pub trait EventKey {
    /// The key's bytes; `None` when there is no key, as for an empty one.
    fn as_key(&self) -> Option<&[u8]>;
}

/// For each type that is bytes.
macro_rules! keys {
    ($($Key:ty),*) => {
        $(impl EventKey for $Key {
            fn as_key(&self) -> Option<&[u8]> {
                let bytes: &[u8] = self.as_ref();
                (!bytes.is_empty()).then_some(bytes)
            }
        })*
    };
}

keys!(String, Vec<u8>, bytes::Bytes);

impl<K: EventKey> EventKey for Option<K> {
    fn as_key(&self) -> Option<&[u8]> {
        self.as_ref()?.as_key()
    }
}

impl<K: EventKey> EventKey for Box<K> {
    fn as_key(&self) -> Option<&[u8]> {
        K::as_key(self)
    }
}

/// What a producer needs to know of an event: every [`Event`] has it, and so has the enum of an event set.
pub trait AnyEvent: Send + Sync {
    /// As [`Event::TYPE`].
    fn event_type(&self) -> &'static str;
    /// As [`Event::key`].
    fn key(&self) -> Option<&[u8]>;
    /// As [`Event::subject`].
    fn subject(&self) -> Option<&str>;
    /// As [`Event::tenant_id`].
    fn tenant_id(&self) -> Option<&str>;
    /// As [`Event::id`].
    fn id(&self) -> Option<&str>;
    /// As [`Event::check`].
    fn check(&self) -> Result<(), CodecError>;
    /// As [`Event::deprecated_fields`].
    fn deprecated_fields(&self, tell: &mut dyn FnMut(&'static str));
}

impl<E: Event> AnyEvent for E {
    fn event_type(&self) -> &'static str {
        E::TYPE
    }

    fn key(&self) -> Option<&[u8]> {
        Event::key(self)
    }

    fn subject(&self) -> Option<&str> {
        Event::subject(self)
    }

    fn tenant_id(&self) -> Option<&str> {
        Event::tenant_id(self)
    }

    fn id(&self) -> Option<&str> {
        Event::id(self)
    }

    fn check(&self) -> Result<(), CodecError> {
        Event::check(self)
    }

    fn deprecated_fields(&self, tell: &mut dyn FnMut(&'static str)) {
        Event::deprecated_fields(self, tell);
    }
}

/// An event that is encoded by `F`: every [`Event`] that `F` is a [`Codec`] for, and the enum of an event set of that codec.
pub trait Encode<F: Format>: AnyEvent {
    /// As [`Codec::prepare`].
    fn prepare(
        &self,
        codec: &F,
        topic: &str,
    ) -> impl Future<Output = Result<F::Prepared, CodecError>> + Send;

    /// As [`Codec::write`].
    fn write(&self, codec: &F, prepared: &F::Prepared, out: &mut [u8]);
}

impl<E: Event, F: Codec<E>> Encode<F> for E {
    fn prepare(
        &self,
        codec: &F,
        topic: &str,
    ) -> impl Future<Output = Result<F::Prepared, CodecError>> + Send {
        codec.prepare(topic, self)
    }

    fn write(&self, codec: &F, prepared: &F::Prepared, out: &mut [u8]) {
        codec.write(self, prepared, out);
    }
}

/// The enum of several kinds of events.
pub trait EventSet: AnyEvent + Sized + 'static {
    /// How its events are encoded.
    type Codec: Format;

    /// The [`Event::TYPE`] of each event, in the order of the declaration.
    const TYPES: &'static [&'static str];

    /// Decodes the event that is called `event_type` on the wire; `None` when the set has no such event.
    fn decode(
        codec: &Self::Codec,
        event_type: &str,
        payload: &Payload<'_>,
    ) -> impl Future<Output = Option<Result<Self, CodecError>>> + Send;
}

/// An event set whose events `H` handles. Implemented by [`event_set!`](crate::event_set) for every implementation of the set's handler
/// trait.
pub trait Dispatch<H>: EventSet {
    /// Decodes the event that `context` holds and hands it to the method of `handler` that is for it.
    ///
    /// Not cancel safe: dropping the future drops the handler in its work.
    fn dispatch(
        handler: &H,
        codec: &Self::Codec,
        context: &Context<'_>,
    ) -> impl Future<Output = Dispatched> + Send;
}

/// What became of one record.
#[derive(Debug)]
#[non_exhaustive]
pub struct Dispatched {
    /// What the record turned out to be.
    pub kind: RecordKind,
    /// What the handler returned.
    pub result: Result<(), HandlerError>,
}

impl Dispatched {
    /// A record that turned out to be `kind`, and what its handler returned.
    pub fn new(kind: RecordKind, result: Result<(), HandlerError>) -> Self {
        Self { kind, result }
    }
}

/// What a record turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordKind {
    /// An event of the set: its index in [`EventSet::TYPES`].
    Event(usize),
    /// An event whose type is not in the set.
    Unknown,
    /// No event at all, or an event of the set that could not be decoded.
    Undecodable,
}
