//! Encodings of events: Protobuf, Avro, JSON, a schema registry, or your own.
//!
//! A set of events names its codec, which turns an event into bytes and back.
//!
//! A [`Format`] is what all events of a set have in common on the wire; a [`Codec<E>`] encodes and decodes one of them in it. Both steps may
//! wait, for what a codec must know before: the id of a schema, or the schema of an id, from a registry. [`Protobuf`] is the default and
//! waits for nothing. Another one is a type with three methods:
//!
//! ```
//! use pat_events::events::codec::{Codec, CodecError, Format, Payload};
//! use pat_events::events::event_set;
//!
//! /// Somebody joined the club.
//! #[derive(Clone, Debug, PartialEq)]
//! pub struct Joined {
//!     pub name: String,
//! }
//!
//! /// The name, and nothing else.
//! #[derive(Default)]
//! pub struct Text;
//!
//! impl Format for Text {
//!     type Prepared = usize; // the length is all there is to know before
//!
//!     fn content_type(&self) -> &'static str {
//!         "text/plain"
//!     }
//! }
//!
//! impl Codec<Joined> for Text {
//!     async fn prepare(
//!         &self,
//!         _topic: &str,
//!         event: &Joined,
//!     ) -> Result<usize, CodecError> {
//!         Ok(event.name.len())
//!     }
//!
//!     fn write(&self, event: &Joined, _: &usize, out: &mut [u8]) {
//!         out.copy_from_slice(event.name.as_bytes());
//!     }
//!
//!     async fn decode(&self, payload: &Payload<'_>) -> Result<Joined, CodecError> {
//!         let name = String::from_utf8(payload.data.to_vec());
//!         let name = name.map_err(CodecError::malformed)?;
//!         Ok(Joined { name })
//!     }
//! }
//!
//! event_set! {
//!     pub enum ClubEvents, producer ClubProducer, handler ClubHandler, codec Text {
//!         Joined: type = "club.v1.Joined", key = name;
//!     }
//! }
//! ```
//!
//! [`EventProducer::with_codec`](super::EventProducer::with_codec) takes the codec; a consumer creates it by its default, or takes it likewise
//! ([`EventConsumer::with_codec`](super::EventConsumer::with_codec)).

// | file | what lives there |
// | --- | --- |
// | `protobuf` | prost messages |
// | `avro` | types of serde with a schema, and prost messages (feature `avro`) |
// | `json` | types of serde, and prost messages (feature `json`) |
// | `any_format` | Protobuf, Avro or JSON, chosen when the program runs (features `avro` and `json`) |
// | `message` | Protobuf's messages as serde sees them, for both of these |
// | `registry` | schemas from a registry (feature `registry`) |
// | `payload` | what a codec sees of a record |
// | `error` | why bytes are no event, or an event cannot be encoded |

#[cfg(all(feature = "avro", feature = "json"))]
mod any_format;
#[cfg(feature = "avro")]
mod avro;
mod error;
#[cfg(feature = "json")]
mod json;
#[cfg(any(feature = "avro", feature = "json"))]
pub(crate) mod message;
mod payload;
mod protobuf;
#[cfg(feature = "registry")]
mod registry;

#[cfg(all(fuzzing, feature = "registry"))]
pub use registry::fuzzing;

use std::future::Future;
use std::sync::Arc;

#[cfg(all(feature = "avro", feature = "json"))]
pub use any_format::{AnyFormat, AnyPrepared, DataFormat};
#[cfg(feature = "avro")]
pub use avro::{Avro, AvroError, AvroReading, AvroSchema, Decimal, HasAvroSchema};
pub use error::CodecError;
#[cfg(feature = "json")]
pub use json::{HasJsonSchema, Json};
pub use payload::Payload;
pub use protobuf::Protobuf;
#[cfg(feature = "registry")]
pub use registry::{
    Compatibility, Confluent, CredentialsSource, Described, Framed, Guid, HasProtobufSchema,
    IdPlace, NewSchema, ProtobufFile, ProtobufSchema, RegisteredSchema, RegistryConfig,
    RegistryError, SchemaKind, SchemaReference, SchemaRegistry, SchemaVersion, SubjectNameStrategy,
};

/// How deep schemas may name each other.
#[cfg(any(feature = "avro", feature = "registry"))]
const DEEPEST_REFERENCES: usize = 32;

/// What all events of one encoding have in common: an instance is shared by everything that a producer sends, or a consumer reads.
pub trait Format: Send + Sync + 'static {
    /// What is found out about an event before it is written into a batch: its length at least, and whatever else it took to know it, such
    /// as the id of its schema, or its bytes.
    type Prepared: Prepared;

    /// The media type of the data, which is sent as `content-type`.
    fn content_type(&self) -> &'static str;

    /// Whether data of this media type can be decoded. Default: exactly what is sent, parameters aside. Data that names no type is decoded.
    fn accepts(&self, content_type: &str) -> bool {
        is_media_type(content_type, self.content_type())
    }

    /// The [type](super::Event::TYPE) of the event in a record that has no `ce_type`, such as one that somebody else wrote: where the data, or
    /// the schema that it names, says so. It may wait. Default: nothing says so, and the record is no event.
    fn event_type(
        &self,
        payload: &Payload<'_>,
    ) -> impl Future<Output = Result<Option<Arc<str>>, CodecError>> + Send {
        let _ = payload;
        std::future::ready(Ok(None))
    }
}

/// See [`Format::Prepared`].
pub trait Prepared: Send {
    /// The length of the encoded event, in bytes.
    fn encoded_len(&self) -> usize;

    /// A header that goes with the data, such as one with the id of its schema: its name and its value. Default: none.
    fn header(&self) -> Option<(&'static str, &[u8])> {
        None
    }
}

/// For codecs that encode the event before.
impl Prepared for Vec<u8> {
    fn encoded_len(&self) -> usize {
        self.len()
    }
}

/// For codecs that need no more than the length.
impl Prepared for usize {
    fn encoded_len(&self) -> usize {
        *self
    }
}

/// Encodes events of type `E`, and decodes them.
#[diagnostic::on_unimplemented(
    message = "the codec `{Self}` cannot encode and decode `{E}`",
    label = "an event that the codec of its set does not know",
    note = "`Protobuf` takes every `prost::Message`; for another encoding name a codec in the event set: `handler OrderHandler, codec Json {{ … }}`"
)]
pub trait Codec<E>: Format {
    /// The step before an event of `topic` is accepted: it may wait. Nothing is sent when it fails, or when the future is dropped.
    fn prepare(
        &self,
        topic: &str,
        event: &E,
    ) -> impl Future<Output = Result<Self::Prepared, CodecError>> + Send;

    /// Writes the event into `out`, which is exactly [`encoded_len`](Prepared::encoded_len) bytes long, all zero. It is called under a lock
    /// of the partition, and should do nothing else.
    fn write(&self, event: &E, prepared: &Self::Prepared, out: &mut [u8]);

    /// Decodes an event. It may wait, and only its key waits with it.
    fn decode(&self, payload: &Payload<'_>) -> impl Future<Output = Result<E, CodecError>> + Send;
}

/// Whether `content_type` is the media type `name`, whatever its parameters.
pub(crate) fn is_media_type(content_type: &str, name: &str) -> bool {
    if content_type == name {
        return true;
    }
    let content_type = content_type.trim_start();
    match content_type.split_at_checked(name.len()) {
        Some((first, rest)) => {
            let rest = rest.trim_start();
            first.eq_ignore_ascii_case(name) && (rest.is_empty() || rest.starts_with(';'))
        }
        None => false,
    }
}
