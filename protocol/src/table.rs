//! The language of the message tables: one row per field, said once.
//!
//! ```text
//! message! {
//!     /// What the message is for, and the KIPs that shaped it.
//!     fetch_request: FetchRequest, versions 4-18, flexible 12+ {
//!         cluster_id: string = None,    12+ nullable 12+ tag 0, ignorable;
//!         max_bytes:  int32 = i32::MAX, 3+, ignorable;
//!         topics:     [FetchTopic],     0+;
//!     }
//!     FetchTopic { … }
//! }
//! ```
//!
//! A row is `name: type [= default], versions [nullable versions] [tag n] [, ignorable];`
//!
//! - *type*: `bool int8 int16 uint16 int32 uint32 int64 float64 string bytes records uuid`, `error_code` (an int16), the
//!   name of a structure of the same table, or one of these in brackets for an array of it;
//! - *default*: zero, false, empty and "a structure of defaults" go without saying, also for a field that can be null;
//! - *versions*: `3+` or `3-7`, from the first to the last one that has the field, also where those lie outside of the
//!   versions of the message;
//! - *nullable*: the versions in which it can be null; its Rust type is then an `Option`;
//! - *tag n*: a tagged field of flexible versions (KIP-482);
//! - *ignorable*: a value that a version cannot carry is left out; without it that is an [`EncodeError`].
//!
//! One expansion gives a module with the structures (with the defaults), their sizes, encoding and decoding, and the
//! [schema](crate::schema) that everything else reads.
//!
//! [`EncodeError`]: crate::EncodeError

/// What the expansions use.
pub(crate) mod prelude {
    pub(crate) use crate::schema::{FieldSchema, FieldType, StructSchema, VersionRange};
    pub(crate) use crate::wire::field::{Context, Field, Structure};
    pub(crate) use crate::wire::tags::{TagReader, TagWriter, TaggedFields, field_size};
    pub(crate) use crate::wire::{DecodeError, Decoder, EncodeError, Encoder};
    pub(crate) use crate::{ErrorCode, Message};
}

/// The marks that a row can end with; they combine.
#[allow(non_upper_case_globals)]
pub(crate) mod marks {
    /// May be left out in versions that lack it.
    pub(crate) const ignorable: u8 = 1;
    /// Has no compact form, even in flexible versions.
    pub(crate) const never_compact: u8 = 2;
}

/// A message and the structures in it, in a module of their own.
macro_rules! message {
    (
        $(#[$doc:meta])*
        $module:ident: $Message:ident,
        versions $min:literal $(- $max:literal)?,
        flexible $($flexible:literal +)? $(never)? { $($rows:tt)* }
        $($Structure:ident { $($part:tt)* })*
    ) => {
        pub use $module::$Message;

        #[doc = concat!("[`", stringify!($Message), "`] and the structures in it.")]
        pub mod $module {
            #[allow(unused_imports)]
            use $crate::table::{marks, prelude::*};

            structure! { $(#[$doc])* $Message { $($rows)* } }
            $(structure! { #[doc = concat!("A part of [`", stringify!($Message), "`].")] $Structure { $($part)* } })*

            impl Message for $Message {
                const NAME: &'static str = stringify!($Message);
                const VERSIONS: VersionRange = VersionRange::new($min, first!($($max,)? $min));
                const FIRST_FLEXIBLE: i16 = first!($($flexible,)? i16::MAX);
            }
        }
    };
}

/// A structure: the rows become fields, and a line each in what is done with fields.
macro_rules! structure {
    (
        $(#[$doc:meta])* $Name:ident {
            $(
                $field:ident : $ty:tt $(= $default:expr)?,
                $from:literal $(+)? $(- $to:literal)?
                $(nullable $null_from:literal $(+)? $(- $null_to:literal)?)?
                $(tag $tag:literal)?
                $(, $mark:ident)*;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $(
                #[doc = concat!("Kafka's `", stringify!($ty), "`, from version ", $from $(, " to ", $to)?, ".")]
                pub $field: rust_type!($ty $($null_from)?),
            )*
            /// Tagged fields that the tables do not know, as they came.
            pub unknown_tagged_fields: TaggedFields,
        }

        impl Default for $Name {
            fn default() -> Self {
                Self {
                    $($field: default!($ty, [$($default)?] $($null_from)?),)*
                    unknown_tagged_fields: TaggedFields::default(),
                }
            }
        }

        #[allow(unused_variables, unused_mut)]
        impl Structure for $Name {
            const SCHEMA: &'static StructSchema = &StructSchema {
                name: stringify!($Name),
                fields: &[$(
                    FieldSchema {
                        ident: stringify!($field),
                        ty: schema_type!($ty),
                        versions: span!($from $(- $to)?),
                        nullable: first!($(span!($null_from $(- $null_to)?),)? VersionRange::NONE),
                        default: first!($(Some(stringify!($default)),)? None),
                        tag: first!($(Some($tag),)? None),
                        ignorable: marked!(ignorable in $($mark)*),
                        compact: !marked!(never_compact in $($mark)*),
                    },
                )*],
            };

            fn fields_size(&self, context: Context) -> usize {
                let mut size = 0;
                let mut tagged = self.unknown_tagged_fields.len();
                $(
                    if present!(self, context, $field: $ty, $from $(- $to)?, [$($default)?] [$($null_from)?] [$($tag)?]) {
                        let content = Field::size(&self.$field, form!(context $($mark)*));
                        size += first!($({ tagged += 1; field_size($tag, content) },)? content);
                    }
                )*
                if context.flexible {
                    size += $crate::wire::encoder::uvarint_size(tagged as u32) + self.unknown_tagged_fields.size();
                }
                size
            }

            fn throttle_time_ms(&self) -> i32 {
                let none = 0;
                $(let none = throttle_time!(self, none, $field);)*
                none
            }

            fn set_throttle_time_ms(&mut self, millis: i32) {
                $(if set!(self, throttle_time_ms, $field, millis) {
                    return;
                })*
            }

            fn set_error_code(&mut self, error: ErrorCode) -> bool {
                $(if set!(self, error_code, $field, error) {
                    return true;
                })*
                false
            }

            fn encode_fields(&self, out: &mut Encoder, context: Context) -> Result<(), EncodeError> {
                $(
                    if span!($from $(- $to)?).contains(context.version) {
                        $(
                            let nullable = span!($null_from $(- $null_to)?).contains(context.version);
                            if !nullable && self.$field.is_none() {
                                return Err(EncodeError::new(context.version, "null").at(stringify!($field)));
                            }
                        )?
                        if untagged!($($tag)?) {
                            Field::encode(&self.$field, out, form!(context $($mark)*))
                                .map_err(|error| error.at(stringify!($field)))?;
                        }
                    } else if !marked!(ignorable in $($mark)*)
                        && self.$field != default!($ty, [$($default)?] $($null_from)?)
                    {
                        return Err(EncodeError::new(context.version, "not in this version").at(stringify!($field)));
                    }
                )*
                if context.flexible {
                    let mut known = 0;
                    $(if_tagged!([$($tag)?] _tag => {
                        if present!(self, context, $field: $ty, $from $(- $to)?, [$($default)?] [$($null_from)?] [$($tag)?]) {
                            known += 1;
                        }
                    });)*
                    let mut tags = TagWriter::new(out, known, &self.unknown_tagged_fields);
                    $(if_tagged!([$($tag)?] tag => {
                        if present!(self, context, $field: $ty, $from $(- $to)?, [$($default)?] [$($null_from)?] [$($tag)?]) {
                            let content = Field::size(&self.$field, context);
                            tags.start(out, tag, content, context.version)
                                .and_then(|()| Field::encode(&self.$field, out, context))
                                .map_err(|error| error.at(stringify!($field)))?;
                        }
                    });)*
                    tags.finish(out);
                } else if !self.unknown_tagged_fields.is_empty() {
                    return Err(EncodeError::new(context.version, "no tagged fields in this version"));
                }
                Ok(())
            }

            fn decode_fields(input: &mut Decoder, context: Context) -> Result<Self, DecodeError> {
                $(
                    let mut $field = if untagged!($($tag)?) && span!($from $(- $to)?).contains(context.version) {
                        decode!(input, form!(context $($mark)*), $($null_from $(- $null_to)?)?)
                            .map_err(|error| error.at(stringify!($field)))?
                    } else {
                        default!($ty, [$($default)?] $($null_from)?)
                    };
                )*
                let mut unknown_tagged_fields = TaggedFields::default();
                if context.flexible {
                    let mut tags = TagReader::new(input)?;
                    while let Some(tag) = tags.next(input)? {
                        $(if_tagged!([$($tag)?] known => {
                            if tag == known && span!($from $(- $to)?).contains(context.version) {
                                $field = decode!(input, context, $($null_from $(- $null_to)?)?)
                                    .map_err(|error| error.at(stringify!($field)))?;
                                continue;
                            }
                        });)*
                        tags.keep(input, tag, &mut unknown_tagged_fields)?;
                    }
                }
                Ok(Self { $($field,)* unknown_tagged_fields })
            }
        }
    };
}

/// The Rust type of a row; with a third argument it can be null.
macro_rules! rust_type {
    ($ty:tt $nullable:literal) => { Option<rust_type!($ty)> };
    ([$ty:ident]) => { Vec<rust_type!($ty)> };
    (bool) => { bool };
    (int8) => { i8 };
    (int16) => { i16 };
    (uint16) => { u16 };
    (int32) => { i32 };
    (uint32) => { u32 };
    (int64) => { i64 };
    (float64) => { f64 };
    (string) => { String };
    (bytes) => { bytes::Bytes };
    (records) => { bytes::Bytes };
    (uuid) => { $crate::Uuid };
    (error_code) => { $crate::ErrorCode };
    ($Structure:ident) => { $Structure };
}

/// The type of a row as the schema says it.
macro_rules! schema_type {
    (records) => {
        FieldType::Records
    };
    ($ty:tt) => {
        <rust_type!($ty) as Field>::TYPE
    };
}

/// The default of a row. Records that can be null are null by default, other things are empty.
macro_rules! default {
    ($ty:tt, [$default:expr] $($nullable:literal)?) => {
        $default
    };
    (records, [] $nullable:literal) => {
        None
    };
    ($ty:tt, [] $nullable:literal) => {
        Some(<rust_type!($ty) as Default>::default())
    };
    ($ty:tt, []) => {
        <rust_type!($ty) as Default>::default()
    };
}

/// A range of versions as a row writes it.
macro_rules! span {
    ($from:literal) => {
        VersionRange::new($from, i16::MAX)
    };
    ($from:literal - $to:literal) => {
        VersionRange::new($from, $to)
    };
}

/// The first of its arguments: what a row says, or else what goes without saying.
macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

/// Whether a row ends with this mark.
macro_rules! marked {
    ($wanted:ident in $($mark:ident)*) => { (0 $(| marks::$mark)*) & marks::$wanted != 0 };
}

/// The value of the row `throttle_time_ms`; of any other row what was known before.
macro_rules! throttle_time {
    ($self:ident, $before:ident, throttle_time_ms) => {
        $self.throttle_time_ms
    };
    ($self:ident, $before:ident, $other:ident) => {
        $before
    };
}

/// Sets the row that is meant, and is true; for any other row it is false.
macro_rules! set {
    ($self:ident, throttle_time_ms, throttle_time_ms, $value:ident) => {{
        $self.throttle_time_ms = $value;
        true
    }};
    ($self:ident, error_code, error_code, $value:ident) => {{
        $self.error_code = $value;
        true
    }};
    ($self:ident, $meant:ident, $other:ident, $value:ident) => {
        false
    };
}

/// Whether a row has no tag.
macro_rules! untagged {
    () => {
        true
    };
    ($tag:literal) => {
        false
    };
}

/// What is done with tagged rows only, with the tag under the name given.
macro_rules! if_tagged {
    ([] $name:ident => $body:block) => {};
    ([$tag:literal] $name:ident => $body:block) => {{
        let $name: u32 = $tag;
        $body
    }};
}

/// The context that a row is written in.
macro_rules! form {
    ($context:ident never_compact) => {
        Context {
            flexible: false,
            ..$context
        }
    };
    ($context:ident $($mark:ident)*) => {
        $context
    };
}

/// Whether a field is written in this version: a tagged one only with a value that is not the default.
macro_rules! present {
    ($self:ident, $context:ident, $field:ident: $ty:tt, $from:literal $(- $to:literal)?, $default:tt $nullable:tt []) => {
        span!($from $(- $to)?).contains($context.version)
    };
    (
        $self:ident, $context:ident, $field:ident: $ty:tt, $from:literal $(- $to:literal)?,
        $default:tt [$($nullable:literal)?] [$tag:literal]
    ) => {
        $context.flexible
            && span!($from $(- $to)?).contains($context.version)
            && $self.$field != default!($ty, $default $($nullable)?)
    };
}

/// Reads a field, and refuses null in versions that do not have it.
macro_rules! decode {
    ($input:ident, $context:expr,) => { Field::decode($input, $context) };
    ($input:ident, $context:expr, $null_from:literal $(- $null_to:literal)?) => {{
        let start = $input.position();
        match Field::decode($input, $context) {
            Ok(None) if !span!($null_from $(- $null_to)?).contains($context.version) => {
                Err(DecodeError::new(start, "a value that is not null in this version"))
            }
            decoded => decoded,
        }
    }};
}
