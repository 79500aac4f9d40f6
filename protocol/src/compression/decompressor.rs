//! Every codec's reusable state: compressed records in, raw records out, never more than a limit.

use std::fmt;

use super::{Buffer, BufferPool, Codec, gzip, lz4, snappy, zstd};

/// Unused memory that a [`Decompressor`]'s own pool keeps.
const POOL_BYTES: usize = 8 << 20;

/// Decompresses batches of any codec, one after another.
pub struct Decompressor {
    gzip: Option<gzip::Decoder>,
    snappy: snappy::Decoder,
    zstd: Option<zstd::Decoder>,
    pool: BufferPool,
}

impl Decompressor {
    /// A decompressor with a pool of its own, which keeps up to 8 MiB of unused memory.
    pub fn new() -> Decompressor {
        Decompressor::with_pool(BufferPool::new(POOL_BYTES))
    }

    /// A decompressor whose decoded batches take their memory from `pool` and return it there.
    pub fn with_pool(pool: BufferPool) -> Decompressor {
        Decompressor {
            gzip: None,
            snappy: snappy::Decoder::new(),
            zstd: None,
            pool,
        }
    }

    /// The pool of the memory that decoded batches live in.
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// Appends the decompressed form of `data` to `out`, no more than `limit` bytes of it.
    ///
    /// Memory grows with what was really decoded, never by a length that `data` claims: at most three times `limit` while the output
    /// grows, twice `limit` more for a zstd stream that says nothing of its size, and 512 KiB for the codecs' own state.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] when there is more than `limit`, [`CompressionError::Corrupt`] when `data` is
    /// not what the codec writes. What `out` then holds after its old content is unspecified.
    pub fn decompress(
        &mut self,
        codec: Codec,
        data: &[u8],
        limit: usize,
        out: &mut Buffer,
    ) -> Result<(), CompressionError> {
        match codec {
            Codec::None if data.len() > limit => Err(CompressionError::TooLarge { codec, limit }),
            Codec::None => {
                out.extend_from_slice(data);
                Ok(())
            }
            Codec::Gzip => self
                .gzip
                .get_or_insert_default()
                .decompress(data, limit, out),
            Codec::Snappy => self.snappy.decompress(data, limit, out),
            Codec::Lz4 => lz4::decompress(data, limit, out),
            Codec::Zstd => self
                .zstd
                .get_or_insert_default()
                .decompress(data, limit, out),
        }
    }
}

impl Default for Decompressor {
    fn default() -> Decompressor {
        Decompressor::new()
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

/// Why bytes could not be compressed or decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The attributes of a batch name a codec that does not exist.
    #[error("codec {number} is none that Kafka knows (0 to 4)")]
    UnknownCodec {
        /// The number in the attributes.
        number: u8,
    },
    /// There is more content than was allowed.
    #[error("{codec} data decompresses to more than the limit of {limit} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("corrupt {codec} data at byte {at}: {reason}")]
    Corrupt {
        /// The codec.
        codec: Codec,
        /// Where in the compressed data, as far as the codec tells.
        at: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The codec gave up on compressing.
    #[error("{codec} failed to compress: {reason}")]
    Failed {
        /// The codec.
        codec: Codec,
        /// What it said.
        reason: String,
    },
}
