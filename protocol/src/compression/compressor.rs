//! One codec's reusable state: raw records in, compressed records out.

use super::{Codec, Compression, CompressionError, gzip, lz4, snappy, zstd};

/// Compresses batches one after another with the same codec and level.
///
/// Contexts are built on first use and kept, since building one costs as much as compressing a small batch.
#[derive(Debug)]
pub struct Compressor {
    compression: Compression,
    state: State,
    /// The output buffer of the next batch: sealing swaps it for the batch's raw buffer.
    pub(crate) spare: Vec<u8>,
}

#[derive(Debug)]
enum State {
    None,
    Gzip(gzip::Encoder),
    Snappy(Box<snappy::Encoder>),
    Lz4(lz4::Encoder),
    Zstd(zstd::Encoder),
}

impl Compressor {
    /// A compressor for `compression`.
    pub fn new(compression: Compression) -> Compressor {
        let level = compression.level();
        let state = match compression.codec() {
            Codec::None => State::None,
            Codec::Gzip => State::Gzip(gzip::Encoder::new(level)),
            Codec::Snappy => State::Snappy(Box::new(snappy::Encoder::new())),
            Codec::Lz4 => State::Lz4(lz4::Encoder::new()),
            Codec::Zstd => State::Zstd(zstd::Encoder::new(level)),
        };
        Compressor {
            compression,
            state,
            spare: Vec::new(),
        }
    }

    /// The codec and level given to [`new`](Self::new).
    pub const fn compression(&self) -> Compression {
        self.compression
    }

    /// Appends the compressed form of `raw` to `out`.
    ///
    /// # Errors
    /// [`CompressionError::Failed`] when the codec gives up, which no input is known to cause; what was appended
    /// until then is left in `out`.
    pub fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        match &mut self.state {
            State::None => out.extend_from_slice(raw),
            State::Gzip(encoder) => encoder.compress(raw, out)?,
            State::Snappy(encoder) => encoder.compress(raw, out)?,
            State::Lz4(encoder) => encoder.compress(raw, out)?,
            State::Zstd(encoder) => encoder.compress(raw, out)?,
        }
        Ok(())
    }
}
