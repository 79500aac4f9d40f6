//! What a handler sees of a record ([`Context`]) and what it returns when it fails ([`HandlerError`]).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use super::RawRecord;
use super::cloudevents::{self, CloudEvent, CloudEventError};
use super::codec::{Codec, CodecError, Format, Payload};

/// The record that a handler is called for: where it stood, and the CloudEvents attributes that came with it.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    record: RawRecord<'a>,
    cloud_event: Result<CloudEvent<'a>, CloudEventError>,
}

impl<'a> Context<'a> {
    /// Reads the CloudEvents attributes of `record`.
    pub fn new(record: RawRecord<'a>) -> Self {
        Self {
            record,
            cloud_event: CloudEvent::parse(record.headers.iter()),
        }
    }

    /// The record as it came.
    pub fn record(&self) -> RawRecord<'a> {
        self.record
    }

    /// The topic that the record was read from.
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
        codec.decode(&payload?).await.map_err(Undecodable::Value)
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

/// Why a record that claims to be an event of the set could not be read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Undecodable {
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
            Self::ContentType { .. } | Self::Tombstone => None,
        }
    }
}

/// Why a handler could not do its work. Made from any error by `?`, or from a sentence by [`HandlerError::new`].
pub struct HandlerError(Box<dyn Error + Send + Sync>);

impl HandlerError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into().into())
    }

    /// What the default `handle_unknown` of every handler returns.
    pub fn unknown(context: &Context<'_>) -> Self {
        match context.cloud_event.ok().and_then(|event| event.event_type) {
            Some(event_type) => Self::new(format!(
                "no event of the set is called {event_type:?}; implement handle_unknown to take such records"
            )),
            None => Self::new(
                "the record has no ce_type header; implement handle_unknown to take such records",
            ),
        }
    }

    /// What the default `handle_undecodable` of every handler returns.
    pub fn undecodable(error: &Undecodable) -> Self {
        Self::new(format!(
            "{error}; implement handle_undecodable to take such records"
        ))
    }

    /// The error within.
    pub fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }
}

// As with `anyhow::Error`: not an `Error` itself, so that `?` can make it from every error.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
