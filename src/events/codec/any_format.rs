//! Protobuf, Avro or JSON, chosen when the program runs.

use std::str::FromStr;
use std::sync::Arc;

use super::{Avro, Codec, CodecError, Format, Json, Payload, Protobuf};

/// How a producer writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataFormat {
    /// Protobuf.
    #[default]
    Protobuf,
    /// Avro.
    Avro,
    /// JSON.
    Json,
}

/// Reads `protobuf`, `avro` or `json`, in letters of either case.
impl FromStr for DataFormat {
    type Err = CodecError;

    fn from_str(text: &str) -> Result<Self, CodecError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "protobuf" => Ok(Self::Protobuf),
            "avro" => Ok(Self::Avro),
            "json" => Ok(Self::Json),
            _ => Err(CodecError::malformed(
                "a format of events is protobuf, avro or json",
            )),
        }
    }
}

/// The codec of all three formats: a producer writes the one that it was created with, a consumer reads whichever comes, by its
/// `content-type`; without one it is taken for the one it was created with.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyFormat(DataFormat);

impl AnyFormat {
    /// Writes `format`.
    pub fn new(format: DataFormat) -> Self {
        Self(format)
    }

    /// What it writes.
    pub fn format(&self) -> DataFormat {
        self.0
    }

    /// What data of this type is in.
    fn of(&self, content_type: Option<&str>) -> DataFormat {
        match content_type {
            Some(it) if Protobuf.accepts(it) => DataFormat::Protobuf,
            Some(it) if Avro.accepts(it) => DataFormat::Avro,
            Some(it) if Json.accepts(it) => DataFormat::Json,
            _ => self.0,
        }
    }
}

/// An event on its way: encoded already, or a message of Protobuf with its length, which is written straight into the batch.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyPrepared {
    /// The length of the message.
    Protobuf(usize),
    /// The bytes.
    Encoded(Vec<u8>),
}

impl super::Prepared for AnyPrepared {
    fn encoded_len(&self) -> usize {
        match self {
            Self::Protobuf(len) => *len,
            Self::Encoded(bytes) => bytes.len(),
        }
    }
}

impl Format for AnyFormat {
    type Prepared = AnyPrepared;

    fn content_type(&self) -> &'static str {
        match self.0 {
            DataFormat::Protobuf => Protobuf.content_type(),
            DataFormat::Avro => Avro.content_type(),
            DataFormat::Json => Json.content_type(),
        }
    }

    fn accepts(&self, content_type: &str) -> bool {
        Protobuf.accepts(content_type) || Avro.accepts(content_type) || Json.accepts(content_type)
    }

    async fn event_type(&self, payload: &Payload<'_>) -> Result<Option<Arc<str>>, CodecError> {
        Protobuf.event_type(payload).await
    }
}

impl<E: Sync> Codec<E> for AnyFormat
where
    Protobuf: Codec<E, Prepared = usize>,
    Avro: Codec<E, Prepared = Vec<u8>>,
    Json: Codec<E, Prepared = Vec<u8>>,
{
    async fn prepare(&self, topic: &str, event: &E) -> Result<AnyPrepared, CodecError> {
        Ok(match self.0 {
            DataFormat::Protobuf => AnyPrepared::Protobuf(Protobuf.prepare(topic, event).await?),
            DataFormat::Avro => AnyPrepared::Encoded(Avro.prepare(topic, event).await?),
            DataFormat::Json => AnyPrepared::Encoded(Json.prepare(topic, event).await?),
        })
    }

    fn write(&self, event: &E, prepared: &AnyPrepared, out: &mut [u8]) {
        match prepared {
            AnyPrepared::Protobuf(len) => Protobuf.write(event, len, out),
            AnyPrepared::Encoded(bytes) => out.copy_from_slice(bytes),
        }
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<E, CodecError> {
        match self.of(payload.content_type) {
            DataFormat::Protobuf => Protobuf.decode(payload).await,
            DataFormat::Avro => Avro.decode(payload).await,
            DataFormat::Json => Json.decode(payload).await,
        }
    }
}
