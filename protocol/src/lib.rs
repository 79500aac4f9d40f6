//! The Kafka wire protocol: bytes in, messages out, and back. No sockets, no clock, no runtime.
//!
//! - [`messages`]: every API that a client, an admin tool or a broker-facing tool speaks, one row per field.
//! - [`frame`]: lengths and headers around them.
//! - [`api`]: API keys, and messages whose type is known only at run time.
//! - [`schema`]: the tables as data.
//! - [`wire`]: the primitives that messages are made of.
//! - [`json`]: any message for people to read.
//! - [`sample`]: random messages, for fuzzers and tests.
//! - [`records`]: what a `records` field holds: batches of records.
//! - [`compression`]: the codecs of record batches.

#[macro_use]
mod table;

pub mod api;
pub mod compression;
mod error_code;
pub mod frame;
pub mod json;
mod message;
pub mod messages;
pub mod records;
pub mod sample;
pub mod schema;
pub mod wire;

pub use api::ApiKey;
pub use error_code::ErrorCode;
pub use message::{Message, Request, Response};
pub use schema::{MessageSchema, VersionRange};
pub use wire::{DecodeError, Decoder, EncodeError, Encoder, TaggedFields, Uuid};
