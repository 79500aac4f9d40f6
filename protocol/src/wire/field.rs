//! How each Kafka type is measured, written and read.
//!
//! Strings, byte strings and arrays have two forms: the plain one with a fixed-width length, and the compact one of
//! flexible versions with a varint of the length plus one (KIP-482).

use bytes::Bytes;

use super::encoder::uvarint_size;
use super::{DecodeError, Decoder, EncodeError, Encoder, Uuid};
use crate::ErrorCode;
use crate::schema::{FieldType, StructSchema};

/// What a field needs to know about the message that it is part of.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// The version of the message.
    pub version: i16,
    /// Whether that version has compact lengths and tagged fields.
    pub flexible: bool,
}

/// A value that can be in a message.
pub trait Field: Sized {
    /// Its type in the schema.
    const TYPE: FieldType;
    /// Bytes that [`Field::encode`] writes.
    fn size(&self, context: Context) -> usize;
    /// Appends the value.
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError>;
    /// Reads a value.
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError>;
}

/// A value that can be null. Unless said otherwise, null is a length of -1 and the rest is as in [`Field`].
pub trait Nullable: Field {
    /// Bytes that null takes.
    fn null_size(context: Context) -> usize;
    /// Appends null.
    fn encode_null(out: &mut Encoder, context: Context);
    /// Bytes that a value takes where null is possible.
    fn some_size(&self, context: Context) -> usize {
        self.size(context)
    }
    /// Appends a value where null is possible.
    fn encode_some(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        self.encode(out, context)
    }
    /// Reads a value or null.
    fn decode_nullable(input: &mut Decoder, context: Context) -> Result<Option<Self>, DecodeError>;
}

/// A structure of the tables: a message or a part of one.
pub trait Structure: Sized + Default {
    /// Its fields.
    const SCHEMA: &'static StructSchema;
    /// Bytes that [`Structure::encode_fields`] writes.
    fn fields_size(&self, context: Context) -> usize;
    /// Appends the fields of this version.
    fn encode_fields(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError>;
    /// Its field `throttle_time_ms`; 0 where it has none.
    fn throttle_time_ms(&self) -> i32;
    /// Sets it, where there is one.
    fn set_throttle_time_ms(&mut self, millis: i32);
    /// Sets its field `error_code`; says whether it has one.
    fn set_error_code(&mut self, error: ErrorCode) -> bool;
    /// Reads the fields of this version; the others have their defaults.
    fn decode_fields(input: &mut Decoder, context: Context) -> Result<Self, DecodeError>;
}

macro_rules! fixed_width {
    ($($ty:ty, $kind:ident, $width:literal, $put:ident, $get:ident;)*) => { $(
        impl Field for $ty {
            const TYPE: FieldType = FieldType::$kind;
            #[inline]
            fn size(&self, _: Context) -> usize {
                $width
            }
            #[inline]
            fn encode(&self, out: &mut Encoder, _: Context) -> Result<(), EncodeError> {
                out.$put(*self);
                Ok(())
            }
            #[inline]
            fn decode(input: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
                input.$get()
            }
        }
    )* };
}

fixed_width! {
    i8,  Int8,    1, put_i8,  get_i8;
    i16, Int16,   2, put_i16, get_i16;
    u16, Uint16,  2, put_u16, get_u16;
    i32, Int32,   4, put_i32, get_i32;
    u32, Uint32,  4, put_u32, get_u32;
    i64, Int64,   8, put_i64, get_i64;
    f64, Float64, 8, put_f64, get_f64;
}

impl Field for bool {
    const TYPE: FieldType = FieldType::Bool;
    #[inline]
    fn size(&self, _: Context) -> usize {
        1
    }
    #[inline]
    fn encode(&self, out: &mut Encoder, _: Context) -> Result<(), EncodeError> {
        out.put_i8(i8::from(*self));
        Ok(())
    }
    /// Any byte but zero is true, as in Java.
    #[inline]
    fn decode(input: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
        Ok(input.get_i8()? != 0)
    }
}

impl Field for ErrorCode {
    const TYPE: FieldType = FieldType::ErrorCode;
    #[inline]
    fn size(&self, _: Context) -> usize {
        2
    }
    #[inline]
    fn encode(&self, out: &mut Encoder, _: Context) -> Result<(), EncodeError> {
        out.put_i16(self.0);
        Ok(())
    }
    #[inline]
    fn decode(input: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
        input.get_i16().map(ErrorCode)
    }
}

impl Field for Uuid {
    const TYPE: FieldType = FieldType::Uuid;
    #[inline]
    fn size(&self, _: Context) -> usize {
        16
    }
    #[inline]
    fn encode(&self, out: &mut Encoder, _: Context) -> Result<(), EncodeError> {
        out.put_slice(&self.0);
        Ok(())
    }
    #[inline]
    fn decode(input: &mut Decoder, _: Context) -> Result<Self, DecodeError> {
        input.get_uuid()
    }
}

impl Field for String {
    const TYPE: FieldType = FieldType::String;
    fn size(&self, context: Context) -> usize {
        let prefix = if context.flexible {
            uvarint_size(self.len() as u32 + 1)
        } else {
            2
        };
        prefix + self.len()
    }
    #[inline(never)]
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        let Ok(length) = i16::try_from(self.len()) else {
            return Err(EncodeError::new(
                context.version,
                "a string of more than 32767 bytes",
            ));
        };
        if context.flexible {
            out.put_uvarint(length as u32 + 1);
        } else {
            out.put_i16(length);
        }
        out.put_slice(self.as_bytes());
        Ok(())
    }
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
        not_null(input.position(), Self::decode_nullable(input, context))
    }
}

impl Nullable for String {
    fn null_size(context: Context) -> usize {
        if context.flexible { 1 } else { 2 }
    }
    fn encode_null(out: &mut Encoder, context: Context) {
        if context.flexible {
            out.put_uvarint(0)
        } else {
            out.put_i16(-1)
        }
    }
    #[inline(never)]
    fn decode_nullable(input: &mut Decoder, context: Context) -> Result<Option<Self>, DecodeError> {
        match input.get_string_length(context.flexible)? {
            Some(length) => Ok(Some(input.take_str(length)?.to_owned())),
            None => Ok(None),
        }
    }
}

impl Field for Bytes {
    const TYPE: FieldType = FieldType::Bytes;
    fn size(&self, context: Context) -> usize {
        length_size(self.len(), context) + self.len()
    }
    #[inline(never)]
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        put_length(self.len(), out, context)?;
        out.put_bytes(self);
        Ok(())
    }
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
        not_null(input.position(), Self::decode_nullable(input, context))
    }
}

impl Nullable for Bytes {
    fn null_size(context: Context) -> usize {
        null_length_size(context)
    }
    fn encode_null(out: &mut Encoder, context: Context) {
        put_null_length(out, context);
    }
    #[inline(never)]
    fn decode_nullable(input: &mut Decoder, context: Context) -> Result<Option<Self>, DecodeError> {
        match input.get_length(context.flexible)? {
            Some(length) => input.take(length).map(Some),
            None => Ok(None),
        }
    }
}

impl<T: Field> Field for Vec<T> {
    const TYPE: FieldType = FieldType::Array(&T::TYPE);
    fn size(&self, context: Context) -> usize {
        length_size(self.len(), context)
            + self
                .iter()
                .map(|element| element.size(context))
                .sum::<usize>()
    }
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        put_length(self.len(), out, context)?;
        self.iter()
            .try_for_each(|element| element.encode(out, context))
    }
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
        not_null(input.position(), Self::decode_nullable(input, context))
    }
}

impl<T: Field> Nullable for Vec<T> {
    fn null_size(context: Context) -> usize {
        null_length_size(context)
    }
    fn encode_null(out: &mut Encoder, context: Context) {
        put_null_length(out, context);
    }
    /// Reserves no more memory than there are bytes left; a longer array grows as its elements really come.
    fn decode_nullable(input: &mut Decoder, context: Context) -> Result<Option<Self>, DecodeError> {
        let Some(length) = input.get_length(context.flexible)? else {
            return Ok(None);
        };
        let mut elements =
            Vec::with_capacity(length.min(input.remaining() / size_of::<T>().max(1)));
        for _ in 0..length {
            elements.push(T::decode(input, context)?);
        }
        Ok(Some(elements))
    }
}

impl<T: Structure> Field for T {
    const TYPE: FieldType = FieldType::Struct(T::SCHEMA);
    #[inline]
    fn size(&self, context: Context) -> usize {
        self.fields_size(context)
    }
    #[inline]
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        self.encode_fields(out, context)
    }
    #[inline]
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
        T::decode_fields(input, context)
    }
}

/// Where a structure can be null, a byte before it says so: -1 for null, 1 otherwise.
impl<T: Structure> Nullable for T {
    fn null_size(_: Context) -> usize {
        1
    }
    fn encode_null(out: &mut Encoder, _: Context) {
        out.put_i8(-1);
    }
    fn some_size(&self, context: Context) -> usize {
        1 + self.fields_size(context)
    }
    fn encode_some(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        out.put_i8(1);
        self.encode_fields(out, context)
    }
    fn decode_nullable(input: &mut Decoder, context: Context) -> Result<Option<Self>, DecodeError> {
        if input.get_i8()? < 0 {
            Ok(None)
        } else {
            T::decode_fields(input, context).map(Some)
        }
    }
}

impl<T: Nullable> Field for Option<T> {
    const TYPE: FieldType = T::TYPE;
    fn size(&self, context: Context) -> usize {
        match self {
            Some(value) => value.some_size(context),
            None => T::null_size(context),
        }
    }
    fn encode(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
        match self {
            Some(value) => value.encode_some(out, context),
            None => {
                T::encode_null(out, context);
                Ok(())
            }
        }
    }
    #[inline]
    fn decode(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
        T::decode_nullable(input, context)
    }
}

fn length_size(length: usize, context: Context) -> usize {
    if context.flexible {
        uvarint_size(length as u32 + 1)
    } else {
        4
    }
}

fn null_length_size(context: Context) -> usize {
    if context.flexible { 1 } else { 4 }
}

#[inline]
fn put_length(length: usize, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
    let Ok(length) = i32::try_from(length) else {
        return Err(EncodeError::new(
            context.version,
            "more than 2147483647 bytes or elements",
        ));
    };
    if context.flexible {
        out.put_uvarint(length as u32 + 1);
    } else {
        out.put_i32(length);
    }
    Ok(())
}

fn put_null_length(out: &mut Encoder, context: Context) {
    if context.flexible {
        out.put_uvarint(0)
    } else {
        out.put_i32(-1)
    }
}

#[inline]
fn not_null<T>(start: usize, value: Result<Option<T>, DecodeError>) -> Result<T, DecodeError> {
    value?.ok_or_else(|| DecodeError::new(start, "a value that is not null"))
}
