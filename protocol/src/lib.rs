//! The Kafka wire protocol: bytes in, messages out, and back. No sockets, no clock, no runtime.

pub mod compression;
pub mod records;
