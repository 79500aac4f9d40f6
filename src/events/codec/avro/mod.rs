//! Avro: the binary encoding of types that serde knows and that have a schema. What the writer's schema has otherwise than the reader's is
//! resolved by Avro's rules, once for each pair of schemas.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `schema` | schemas, from JSON |
//! | `json` | a datum as JSON, and defaults of fields, become bytes |
//! | `plan` | schema resolution: how to read what another schema wrote |
//! | `encode` | a value becomes bytes |
//! | `decode` | bytes become a value |
//! | `primitive` | numbers and texts |
//! | `decimal` | amounts of money |

mod decimal;
mod decode;
mod encode;
mod json;
mod plan;
mod primitive;
mod schema;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, CodecError, Format, Payload, is_media_type};

pub use decimal::Decimal;
pub use schema::AvroSchema;

use plan::Plan;
use schema::Schema;

/// A type that has a schema of Avro.
///
/// ```
/// use pat_events::events::codec::{Avro, AvroSchema, HasAvroSchema};
/// use pat_events::events::event_set;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
/// pub struct OrderPlaced {
///     pub order_id: String,
///     pub voucher: Option<String>,
/// }
///
/// impl HasAvroSchema for OrderPlaced {
///     fn avro_schema() -> &'static AvroSchema {
///         static SCHEMA: AvroSchema = AvroSchema::new(
///             r#"{"type": "record", "name": "OrderPlaced",
///                 "namespace": "shop.v1", "fields": [
///                 {"name": "order_id", "type": "string"},
///                 {"name": "voucher", "type": ["null", "string"], "default": null}
///             ]}"#,
///         );
///         &SCHEMA
///     }
/// }
///
/// event_set! {
///     pub enum OrderEvents, producer OrderProducer, handler OrderHandler, codec Avro {
///         OrderPlaced: type = "shop.v1.OrderPlaced", key = order_id;
///     }
/// }
/// ```
///
/// What serde has is written as the schema says: numbers as `int`, `long`, `float` or `double`, as far as they fit; texts as `string` or `enum`;
/// bytes (`serde_bytes`) as `bytes` or `fixed`; options and enums with values as unions, a variant by the name of its record, or else by its
/// place; a struct as a record, by the names of its fields, in any order.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no schema of Avro",
    label = "an event without a schema",
    note = "implement `HasAvroSchema` for it"
)]
pub trait HasAvroSchema {
    /// The schema of the type.
    fn avro_schema() -> &'static AvroSchema;
}

/// The codec of Avro. The data is the binary encoding of one datum and nothing else, written by the type's own schema, and read by it; where
/// writers have other schemas, they come from a registry.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avro;

impl Format for Avro {
    /// The encoded event.
    type Prepared = Vec<u8>;

    fn content_type(&self) -> &'static str {
        "application/avro"
    }

    fn accepts(&self, content_type: &str) -> bool {
        [
            "application/avro",
            "avro/binary",
            "application/vnd.apache.avro",
        ]
        .iter()
        .any(|name| is_media_type(content_type, name))
    }
}

impl<E: HasAvroSchema + Serialize + DeserializeOwned + Send + Sync> Codec<E> for Avro {
    async fn prepare(&self, _: &str, event: &E) -> Result<Vec<u8>, CodecError> {
        E::avro_schema()
            .encode(event)
            .map_err(CodecError::malformed)
    }

    fn write(&self, _: &E, prepared: &Vec<u8>, out: &mut [u8]) {
        out.copy_from_slice(prepared);
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<E, CodecError> {
        E::avro_schema()
            .decode(payload.data)
            .map_err(CodecError::malformed)
    }
}

impl AvroSchema {
    /// The bytes of `value`. Fails where it is not what the schema says.
    pub fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<Vec<u8>, AvroError> {
        // Most events fit: growing twice costs more than what is too much.
        let mut out = Vec::with_capacity(512);
        encode::encode(&self.parsed()?.schema, value, &mut out)?;
        Ok(out)
    }

    /// The bytes of the datum that this JSON describes. Fails where it is not what the schema says, with the place of what is not:
    /// `lines[2].sku: 7 is no string`.
    ///
    /// A field that is not given has its default, and a name that the record does not have is an error. The value of a union may stand by itself,
    /// or as Avro's own JSON has it, with its branch: `{"string": "x"}`, `{"shop.v1.Card": {…}}`. Bytes are a text with a character for each, as in
    /// Avro's JSON, or `{"hex": "ff00"}`; decimals (of up to 38 digits) are numbers or texts, `"12.50"`; `"NaN"`, `"Infinity"` and `"-Infinity"` are texts.
    ///
    /// ```
    /// use pat_events::events::codec::AvroSchema;
    ///
    /// let schema = AvroSchema::new(
    ///     r#"{"type": "record", "name": "Order", "fields": [
    ///         {"name": "id", "type": "string"},
    ///         {"name": "voucher", "type": ["null", "string"], "default": null}
    ///     ]}"#,
    /// );
    /// let data = schema.encode_json(br#"{"id": "o-1", "voucher": "v-7"}"#)?;
    /// assert_eq!(data, b"\x06o-1\x02\x06v-7");
    /// let error = schema.encode_json(br#"{"id": 7}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "id: 7 is no string");
    /// # Ok::<(), pat_events::events::codec::AvroError>(())
    /// ```
    pub fn encode_json(&self, json: &[u8]) -> Result<Vec<u8>, AvroError> {
        let value = serde_json::from_slice(json)
            .map_err(|error| AvroError::new(format!("it is no JSON: {error}")))?;
        let schema = &self.parsed()?.schema;
        let mut out = Vec::new();
        let written = json::write(schema, json::By::Data, schema.root, &value, &mut out);
        written.map_err(|wrong| AvroError::new(wrong.to_string()))?;
        Ok(out)
    }

    /// The value that `data` holds, written by this same schema.
    pub fn decode<T: DeserializeOwned>(&self, data: &[u8]) -> Result<T, AvroError> {
        decode::decode(&self.parsed()?.plan, data)
    }

    /// How to read what was written by `writer`, a schema in JSON that may name what `references` define, each before those that name it. Fails
    /// where it cannot be, with what stands in the way.
    pub fn reading(&self, writer: &str, references: &[&str]) -> Result<AvroReading, AvroError> {
        let writer = Schema::parse(writer, references)?;
        Ok(AvroReading(Plan::new(&writer, &self.parsed()?.schema)?))
    }
}

/// How to read what was written by another schema: found once for a pair of schemas, used for each event.
#[derive(Debug)]
pub struct AvroReading(Plan);

impl AvroReading {
    /// The value that `data` holds, for a type whose schema it was found for.
    pub fn decode<T: DeserializeOwned>(&self, data: &[u8]) -> Result<T, AvroError> {
        decode::decode(&self.0, data)
    }
}

/// Why something cannot be written by a schema, or read, or is none. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct AvroError(Arc<str>);

impl AvroError {
    pub(super) fn new(message: impl Into<Arc<str>>) -> Self {
        Self(message.into())
    }

    fn cut_off() -> Self {
        Self::new("the data ends too early")
    }
}

impl fmt::Display for AvroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AvroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AvroError").field(&self.0).finish()
    }
}

impl Error for AvroError {}

#[cfg(test)]
mod tests;
