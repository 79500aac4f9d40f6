//! The codecs of record batches: bytes in, fewer bytes out, and back, bounded.
//!
//! - [`codec`]: which codec, at which level ([`Codec`], [`Compression`]).
//! - [`compressor`]: [`Compressor`], the reusable state of one codec.
//! - [`decompressor`]: [`Decompressor`], all codecs, under a limit of output bytes.
//! - [`buffer`]: [`Buffer`] and [`BufferPool`], the memory decompressed bytes live in.
//! - `gzip`, `snappy`, `lz4`, `zstd`: one format each.

pub mod buffer;
pub mod codec;
pub mod compressor;
pub mod decompressor;
mod gzip;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;
mod zstd;

pub use buffer::{Buffer, BufferPool};
pub use codec::{Codec, Compression, InvalidCompression};
pub use compressor::Compressor;
pub use decompressor::{CompressionError, Decompressor};
pub(crate) use gzip::crc32;
pub(crate) use lz4::decompress_unchecked_header as lz4_unchecked_header;
