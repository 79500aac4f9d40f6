//! What a handler sees of a record ([`Context`]) and what it returns when it fails ([`HandlerError`]).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::cancellation::Cancellation;
use super::cloudevents::{self, CloudEvent, CloudEventError};
use super::codec::{Codec, CodecError, Format, Payload};
use super::failure::{FailureClass, OnUnknown};
use super::{EventSet, RawRecord};

/// The record that a handler is called for: where it stood, the CloudEvents attributes that came with it, and which attempt this is.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    record: RawRecord<'a>,
    cloud_event: Result<CloudEvent<'a>, CloudEventError>,
    attempt: u32,
    on_unknown: OnUnknown,
    /// Of the consumer, and of the partition.
    cancellations: Option<[&'a Cancellation; 2]>,
}

impl<'a> Context<'a> {
    /// Reads the CloudEvents attributes of `record`, which is handled for the first time and never cancelled: for tests of handlers.
    pub fn new(record: RawRecord<'a>) -> Self {
        Self {
            record,
            cloud_event: CloudEvent::parse_raw(record.headers),
            attempt: 1,
            on_unknown: OnUnknown::default(),
            cancellations: None,
        }
    }

    /// As [`new`](Self::new), for a call of the consumer.
    pub(crate) fn of_call(
        record: RawRecord<'a>,
        attempt: u32,
        on_unknown: OnUnknown,
        cancellations: [&'a Cancellation; 2],
    ) -> Self {
        Self {
            attempt,
            on_unknown,
            cancellations: Some(cancellations),
            ..Self::new(record)
        }
    }

    /// As [`new`](Self::new), for the attempt of this number.
    pub(crate) fn of_attempt(record: RawRecord<'a>, attempt: u32) -> Self {
        Self {
            attempt,
            ..Self::new(record)
        }
    }

    /// Which attempt this is: 1 when the record is handled for the first time since its partition came to this consumer, or, where it was in
    /// [retry topics](crate::events::RetryTopics), for the first time before that.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the handler is to come to an end soon, as [`cancelled`](Self::cancelled) says.
    pub fn is_cancelled(&self) -> bool {
        (self.cancellations).is_some_and(|both| both.iter().any(|one| one.is_cancelled()))
    }

    /// Ready when the handler is to come to an end soon: the consumer stops, or the partition goes to another member. A handler that may take
    /// long can wait for it beside its work, and return an error: the record is then handled again, by whoever has its partition next. It is
    /// not needed: one that goes on is waited for until `shutdown.timeout.ms` (in a rebalance until a quarter of `max.poll.interval.ms`, if
    /// that is longer); at the end of the consumer it is then dropped. Never ready in a [context of its own](Self::new). Cancel safe.
    pub async fn cancelled(&self) {
        match self.cancellations {
            Some(both) => Cancellation::either(both).await,
            None => std::future::pending().await,
        }
    }

    /// What becomes of an event whose type is not in the set, where that is not up to the handler.
    #[doc(hidden)]
    pub fn without_handler(&self, event_type: &str) -> Option<Result<(), HandlerError>> {
        match self.on_unknown {
            OnUnknown::Handle => None,
            OnUnknown::Skip => Some(Ok(())),
            OnUnknown::Fail => Some(Err(HandlerError::poison(UnknownType(
                event_type.to_string(),
            )))),
        }
    }

    /// The record as it came.
    pub fn record(&self) -> RawRecord<'a> {
        self.record
    }

    /// The topic that the record was read from. One that was in a retry topic meanwhile is as it was before, here and in all else.
    pub fn topic(&self) -> &'a str {
        self.record.topic
    }

    /// The partition that the record was read from.
    pub fn partition(&self) -> i32 {
        self.record.partition
    }

    /// The record's offset in its partition.
    pub fn offset(&self) -> i64 {
        self.record.offset
    }

    /// The record's key.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.record.key
    }

    /// The record's timestamp in milliseconds since 1970; -1 when it has none.
    pub fn timestamp_ms(&self) -> i64 {
        self.record.timestamp_ms
    }

    /// The CloudEvents attributes; an error says why the headers are none.
    pub fn cloud_event(&self) -> Result<CloudEvent<'a>, CloudEventError> {
        self.cloud_event
    }

    /// The CloudEvents attribute or extension called `name`, without its prefix: `traceparent`. `None` when it is missing or no UTF-8.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.record
            .headers
            .iter()
            .find(|(key, _)| key.strip_prefix(cloudevents::PREFIX) == Some(name))
            .and_then(|(_, value)| std::str::from_utf8(value?).ok())
    }

    /// The `ce_type` by which the event is known. `Ok(None)`: the record is no event.
    pub fn event_type(&self) -> Result<Option<&'a str>, Undecodable> {
        match self.cloud_event {
            Ok(event) => Ok(event.event_type),
            Err(error) => Err(Undecodable::Envelope(error)),
        }
    }

    /// As [`event_type`](Self::event_type); for a record without a `ce_type` what `codec` finds in it, such as the name of its schema.
    pub async fn event_type_by<F: Format>(
        &self,
        codec: &F,
    ) -> Result<Option<Cow<'a, str>>, Undecodable> {
        if let Some(event_type) = self.event_type()? {
            return Ok(Some(Cow::Borrowed(event_type)));
        }
        let Some(payload) = self.payload() else {
            return Ok(None);
        };
        match codec.event_type(&payload).await {
            Ok(found) => Ok(found.map(|event_type| Cow::Owned(event_type.to_string()))),
            Err(error) => Err(Undecodable::Value(error)),
        }
    }

    /// Decodes the record's value as an `E`.
    pub async fn decode<E, F: Codec<E>>(&self, codec: &F) -> Result<E, Undecodable> {
        let payload = self.payload_for(codec)?;
        codec.decode(&payload).await.map_err(Undecodable::Value)
    }

    /// Reads the record as an event of the set: its index in [`EventSet::TYPES`] and the event, or a type that the set does not have.
    pub(crate) async fn read<S: EventSet>(
        &self,
        codec: &S::Codec,
    ) -> Result<Result<(usize, S), String>, Undecodable> {
        let event_type = self.event_type_by(codec).await?;
        let event_type = event_type.ok_or(Undecodable::NoEvent)?;
        let Some(index) = S::TYPES.iter().position(|known| *known == event_type) else {
            return Ok(Err(event_type.into_owned()));
        };
        let payload = self.payload_for(codec)?;
        match S::decode(codec, &event_type, &payload).await {
            Some(event) => Ok(Ok((index, event.map_err(Undecodable::Value)?))),
            None => Ok(Err(event_type.into_owned())),
        }
    }

    /// The record's value, if `codec` can read what it is said to be.
    fn payload_for<F: Format>(&self, codec: &F) -> Result<Payload<'a>, Undecodable> {
        let payload = self.payload().ok_or(Undecodable::Tombstone);
        if let Ok(CloudEvent {
            content_type: Some(content_type),
            ..
        }) = self.cloud_event
            && !codec.accepts(content_type)
        {
            return Err(Undecodable::ContentType {
                expected: codec.content_type(),
            });
        }
        payload
    }

    /// The record's value, for a codec; `None` when it is null.
    fn payload(&self) -> Option<Payload<'a>> {
        Some(Payload {
            content_type: self.cloud_event.ok().and_then(|event| event.content_type),
            topic: self.record.topic,
            headers: self.record.headers,
            ..Payload::new(self.record.value?)
        })
    }
}

/// A handler of any event set, out of a closure that takes the set's enum.
///
/// What it needs beside the event it brings along: state, producers. For the record's place, its headers or its cancellation implement the
/// handler's trait of the set, whose methods get a [`Context`].
pub fn each<S, C, F>(closure: C) -> Each<C>
where
    C: Fn(S) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send,
{
    Each(closure)
}

/// See [`each`].
#[derive(Clone, Copy)]
pub struct Each<C>(#[doc(hidden)] pub C);

impl<C> fmt::Debug for Each<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Each").finish_non_exhaustive()
    }
}

/// Why a record could not be read as an event of the set.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Undecodable {
    /// The record is no event: it has no `ce_type`.
    NoEvent,
    /// The CloudEvents headers are malformed.
    Envelope(CloudEventError),
    /// The `content-type` is not one that the codec of the set decodes.
    ContentType {
        /// The one that it sends.
        expected: &'static str,
    },
    /// The value is null.
    Tombstone,
    /// The value is not what the type names, or the codec could not find out.
    Value(CodecError),
}

impl Undecodable {
    /// Whether it may go well the next time, as when a registry of schemas does not respond.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Value(error) if error.may_pass())
    }
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEvent => f.write_str("the record is no event: it has no ce_type header"),
            Self::Envelope(error) => error.fmt(f),
            Self::ContentType { expected } => write!(f, "the content-type is not {expected}"),
            Self::Tombstone => f.write_str("the value is null"),
            Self::Value(error) => error.fmt(f),
        }
    }
}

impl Error for Undecodable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Their own text is ours.
            Self::Envelope(error) => error.source(),
            Self::Value(error) => error.source(),
            Self::NoEvent | Self::ContentType { .. } | Self::Tombstone => None,
        }
    }
}

/// Why a handler could not do its work. Made from any error by `?`, or from a sentence by [`HandlerError::new`]; of what
/// [class](FailureClass) it is, it may say itself. Else the consumer's [`Classify`](super::Classify) does, and without one it is transient.
///
/// ```
/// use pat_events::events::{FailureClass, HandlerError};
///
/// let error = HandlerError::poison("the subject is no number");
/// assert_eq!(error.class(), Some(FailureClass::Poison));
/// let error = HandlerError::fatal(std::io::Error::other("the index is corrupt"));
/// assert_eq!(error.class(), Some(FailureClass::Fatal));
/// assert_eq!(error.type_name(), "std::io::error::Error");
/// ```
pub struct HandlerError(Box<Inner>);

struct Inner {
    error: Box<dyn Error + Send + Sync>,
    class: Option<FailureClass>,
    type_name: &'static str,
}

impl HandlerError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self::of(message.into(), None)
    }

    /// An error that may go away: the record is [retried](super::RetryPolicy).
    pub fn transient<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        Self::of(error, Some(FailureClass::Transient))
    }

    /// An error that comes each time with this record: [`OnFailure`](super::OnFailure) decides, at once.
    pub fn poison<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        Self::of(error, Some(FailureClass::Poison))
    }

    /// An error that no record can be handled with: the consumer stops.
    pub fn fatal<E: Into<Box<dyn Error + Send + Sync>>>(error: E) -> Self {
        Self::of(error, Some(FailureClass::Fatal))
    }

    pub(crate) fn of<E: Into<Box<dyn Error + Send + Sync>>>(
        error: E,
        class: Option<FailureClass>,
    ) -> Self {
        Self(Box::new(Inner {
            error: error.into(),
            class,
            type_name: std::any::type_name::<E>(),
        }))
    }

    /// What the default `handle_undecodable` of every handler returns.
    pub fn undecodable(error: Undecodable) -> Self {
        let class = match error.may_pass() {
            true => FailureClass::Transient,
            false => FailureClass::Poison,
        };
        Self::of(error, Some(class))
    }

    /// The error within.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.error.as_ref()
    }

    /// The class that the error says it is of.
    pub fn class(&self) -> Option<FailureClass> {
        self.0.class
    }

    /// The type that it was made from, as Rust calls it: for people to read, it may change with the compiler.
    pub fn type_name(&self) -> &'static str {
        self.0.type_name
    }
}

// As with `anyhow::Error`: not an `Error` itself, so that `?` can make it from every error.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self::of(error, None)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

/// The event's type, by this name, is not in the set.
#[derive(Debug)]
struct UnknownType(String);

impl fmt::Display for UnknownType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no event of the set is called {:?}, and on.unknown = fail makes that a failure",
            self.0
        )
    }
}

impl Error for UnknownType {}

/// The handler panicked, with this message.
#[derive(Debug)]
pub(crate) struct Panicked(pub String);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler panicked: {}", self.0)
    }
}

impl Error for Panicked {}

/// Nobody knows what the handler did: so many processes ended, or lost their place in the group, while it was at work on this one record alone.
#[derive(Debug)]
pub(crate) struct KilledProcesses(pub u32);

impl fmt::Display for KilledProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} processes died, or lost their place in the group, while this record alone was with its handler: it is not handled any more \
             (handler.deaths)",
            self.0
        )
    }
}

impl Error for KilledProcesses {}

/// The handler took longer than it may.
#[derive(Debug)]
pub(crate) struct TimedOut(pub Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the handler was dropped after handler.timeout.ms = {}",
            self.0.as_millis()
        )
    }
}

impl Error for TimedOut {}
