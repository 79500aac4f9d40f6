//! What each encoding has for a schema, and how it reads what another schema wrote.

use super::RegistryError;
use super::schema::{RegisteredSchema, SchemaKind};
#[cfg(all(feature = "avro", feature = "json"))]
use crate::events::codec::{AnyFormat, DataFormat};
#[cfg(feature = "avro")]
use crate::events::codec::{Avro, AvroSchema, HasAvroSchema};
use crate::events::codec::{Codec, CodecError, Payload, Protobuf};
#[cfg(feature = "json")]
use crate::events::codec::{HasJsonSchema, Json};

/// The `.proto` file of a message.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProtobufSchema {
    /// The file.
    pub file: &'static ProtobufFile,
    /// Where in it the message stands: the index among the messages of the file, then among those within it, and so on.
    pub indexes: &'static [u32],
    /// Its full name: `shop.v1.OrderPlaced`.
    pub name: &'static str,
}

impl ProtobufSchema {
    /// The message called `name`, at this place of `file`.
    pub const fn new(
        file: &'static ProtobufFile,
        indexes: &'static [u32],
        name: &'static str,
    ) -> Self {
        Self {
            file,
            indexes,
            name,
        }
    }
}

/// A `.proto` file, and those that it imports.
#[derive(Clone, Copy, Debug)]
pub struct ProtobufFile {
    /// Its path, as others import it: `shop/v1/order.proto`. It is also the subject that it is registered under when others import it.
    pub path: &'static str,
    /// Its text.
    pub text: &'static str,
    /// What it imports, Protobuf's own files left out.
    pub imports: &'static [&'static ProtobufFile],
}

/// A schema that others name, under the subject that is its name there.
pub(super) trait Import: Sync + 'static {
    const KIND: SchemaKind;

    fn name(&self) -> Result<&str, RegistryError>;

    fn text(&self) -> &str;

    /// What it names in turn.
    fn imports(&self) -> &'static [&'static Self];
}

impl Import for ProtobufFile {
    const KIND: SchemaKind = SchemaKind::Protobuf;

    fn name(&self) -> Result<&str, RegistryError> {
        Ok(self.path)
    }

    fn text(&self) -> &str {
        self.text
    }

    fn imports(&self) -> &'static [&'static Self] {
        self.imports
    }
}

#[cfg(feature = "avro")]
impl Import for AvroSchema {
    const KIND: SchemaKind = SchemaKind::Avro;

    fn name(&self) -> Result<&str, RegistryError> {
        let name = AvroSchema::name(self);
        name.map_err(|error| RegistryError::permanent(error.to_string()))
    }

    fn text(&self) -> &str {
        AvroSchema::text(self)
    }

    fn imports(&self) -> &'static [&'static Self] {
        self.references()
    }
}

/// What the schema of an event names, which is registered before it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Imports {
    None,
    Protobuf(&'static [&'static ProtobufFile]),
    #[cfg(feature = "avro")]
    Avro(&'static [&'static AvroSchema]),
}

/// A message whose `.proto` file can be registered.
pub trait HasProtobufSchema {
    /// The file, and where in it the message stands.
    fn protobuf_schema() -> ProtobufSchema;
}

/// A codec that knows the schemas of its events. Implemented by the codecs of this module's parent.
pub trait Described<E>: Codec<E> {
    /// What the event's schema is written in.
    fn kind(&self) -> SchemaKind;

    /// The schema, its imports aside.
    fn text(&self) -> Result<&'static str, CodecError>;

    /// The full name of its record or message.
    fn name(&self) -> Result<&'static str, CodecError>;

    /// The `.proto` file, of codecs that write or read Protobuf.
    fn protobuf(&self) -> Option<ProtobufSchema> {
        None
    }

    /// What the schema names.
    #[doc(hidden)]
    fn imports(&self) -> Imports {
        Imports::None
    }

    /// How to read what `written` wrote, with the texts of what it names, each before those that name it. Found once, and used for many.
    #[doc(hidden)]
    fn reading(
        &self,
        written: &RegisteredSchema,
        references: &[&str],
    ) -> Result<Reading, CodecError>;

    /// Reads an event.
    #[doc(hidden)]
    fn read(
        &self,
        reading: &Reading,
        payload: &Payload<'_>,
    ) -> impl Future<Output = Result<E, CodecError>> + Send;
}

/// How what a schema wrote is read.
#[doc(hidden)]
#[derive(Debug)]
#[non_exhaustive]
pub enum Reading {
    /// As without a registry: fields carry their own names or numbers.
    Plain(SchemaKind),
    #[cfg(feature = "avro")]
    Avro(crate::events::codec::AvroReading),
}

fn other_kind(written: &RegisteredSchema, expected: SchemaKind) -> Result<(), CodecError> {
    match written.kind == expected {
        true => Ok(()),
        false => Err(CodecError::malformed(format!(
            "the data was written by a schema in {}, and the event is read in {expected}",
            written.kind
        ))),
    }
}

impl<E: HasProtobufSchema> Described<E> for Protobuf
where
    Protobuf: Codec<E>,
{
    fn kind(&self) -> SchemaKind {
        SchemaKind::Protobuf
    }

    fn text(&self) -> Result<&'static str, CodecError> {
        Ok(E::protobuf_schema().file.text)
    }

    fn name(&self) -> Result<&'static str, CodecError> {
        Ok(E::protobuf_schema().name)
    }

    fn protobuf(&self) -> Option<ProtobufSchema> {
        Some(E::protobuf_schema())
    }

    fn imports(&self) -> Imports {
        Imports::Protobuf(E::protobuf_schema().file.imports)
    }

    fn reading(&self, written: &RegisteredSchema, _: &[&str]) -> Result<Reading, CodecError> {
        other_kind(written, SchemaKind::Protobuf)?;
        Ok(Reading::Plain(SchemaKind::Protobuf))
    }

    async fn read(&self, _: &Reading, payload: &Payload<'_>) -> Result<E, CodecError> {
        self.decode(payload).await
    }
}

#[cfg(feature = "avro")]
impl<E: HasAvroSchema> Described<E> for Avro
where
    Avro: Codec<E>,
    E: serde::de::DeserializeOwned + Send + Sync,
{
    fn kind(&self) -> SchemaKind {
        SchemaKind::Avro
    }

    fn text(&self) -> Result<&'static str, CodecError> {
        Ok(E::avro_schema().text())
    }

    fn name(&self) -> Result<&'static str, CodecError> {
        E::avro_schema().name().map_err(CodecError::malformed)
    }

    fn imports(&self) -> Imports {
        Imports::Avro(E::avro_schema().references())
    }

    fn reading(
        &self,
        written: &RegisteredSchema,
        references: &[&str],
    ) -> Result<Reading, CodecError> {
        other_kind(written, SchemaKind::Avro)?;
        let reading = E::avro_schema().reading(&written.text, references);
        reading.map(Reading::Avro).map_err(CodecError::malformed)
    }

    async fn read(&self, reading: &Reading, payload: &Payload<'_>) -> Result<E, CodecError> {
        match reading {
            Reading::Avro(reading) => reading.decode(payload.data).map_err(CodecError::malformed),
            Reading::Plain(_) => self.decode(payload).await,
        }
    }
}

#[cfg(feature = "json")]
impl<E: crate::events::Event + HasJsonSchema> Described<E> for Json
where
    Json: Codec<E>,
{
    fn kind(&self) -> SchemaKind {
        SchemaKind::Json
    }

    fn text(&self) -> Result<&'static str, CodecError> {
        Ok(E::json_schema())
    }

    fn name(&self) -> Result<&'static str, CodecError> {
        Ok(E::TYPE)
    }

    fn reading(&self, written: &RegisteredSchema, _: &[&str]) -> Result<Reading, CodecError> {
        other_kind(written, SchemaKind::Json)?;
        Ok(Reading::Plain(SchemaKind::Json))
    }

    async fn read(&self, _: &Reading, payload: &Payload<'_>) -> Result<E, CodecError> {
        self.decode(payload).await
    }
}

/// By whichever schema it was written.
#[cfg(all(feature = "avro", feature = "json"))]
impl<E: Sync> Described<E> for AnyFormat
where
    AnyFormat: Codec<E>,
    Protobuf: Described<E>,
    Avro: Described<E>,
    Json: Described<E>,
{
    fn kind(&self) -> SchemaKind {
        match self.format() {
            DataFormat::Protobuf => SchemaKind::Protobuf,
            DataFormat::Avro => SchemaKind::Avro,
            DataFormat::Json => SchemaKind::Json,
        }
    }

    fn text(&self) -> Result<&'static str, CodecError> {
        match self.format() {
            DataFormat::Protobuf => Protobuf.text(),
            DataFormat::Avro => Avro.text(),
            DataFormat::Json => Json.text(),
        }
    }

    fn name(&self) -> Result<&'static str, CodecError> {
        match self.format() {
            DataFormat::Protobuf => Protobuf.name(),
            DataFormat::Avro => Avro.name(),
            DataFormat::Json => Json.name(),
        }
    }

    fn protobuf(&self) -> Option<ProtobufSchema> {
        Protobuf.protobuf()
    }

    fn imports(&self) -> Imports {
        match self.format() {
            DataFormat::Protobuf => Protobuf.imports(),
            DataFormat::Avro => Avro.imports(),
            DataFormat::Json => Json.imports(),
        }
    }

    fn reading(
        &self,
        written: &RegisteredSchema,
        references: &[&str],
    ) -> Result<Reading, CodecError> {
        match written.kind {
            SchemaKind::Protobuf => Protobuf.reading(written, references),
            SchemaKind::Avro => Avro.reading(written, references),
            SchemaKind::Json => Json.reading(written, references),
        }
    }

    async fn read(&self, reading: &Reading, payload: &Payload<'_>) -> Result<E, CodecError> {
        match reading {
            Reading::Plain(SchemaKind::Protobuf) => Protobuf.read(reading, payload).await,
            Reading::Plain(SchemaKind::Json) => Json.read(reading, payload).await,
            _ => Avro.read(reading, payload).await,
        }
    }
}
