//! The primitives every message is made of.
//!
//! - [`encoder`]: values in, byte segments out.
//! - [`decoder`]: one received frame in, values out; strict, and never trusting a length before its bytes are there.
//! - [`error`]: what went wrong, in which message and field, at which byte.
//! - [`field`]: how each Kafka type is written, measured and read, in the plain and in the compact form (KIP-482).
//! - [`tags`]: tagged fields that this version of the tables does not know.
//! - [`uuid`]: topic ids and friends (KIP-516).

pub mod decoder;
pub mod encoder;
pub mod error;
pub mod field;
pub mod tags;
pub mod uuid;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::{DecodeError, EncodeError};
pub use tags::TaggedFields;
pub use uuid::Uuid;
