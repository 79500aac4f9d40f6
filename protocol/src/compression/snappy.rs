//! Snappy in the framing of xerial's Java library; unframed Snappy is read too, as some clients write it.
//!
//! Framing: a header of 16 bytes (`82 "SNAPPY" 00`, version, oldest compatible version), then blocks of a 4-byte big-endian
//! length and raw Snappy.

use std::fmt;

use super::{Buffer, Codec, CompressionError};

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const WRITTEN_BLOCK: usize = 32 << 10;
/// The densest element of the format: three bytes that copy 64.
const MAX_EXPANSION: usize = 22;

pub(super) struct Encoder {
    encoder: snap::raw::Encoder,
    /// Where a block is compressed to before its length is known.
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            encoder: snap::raw::Encoder::new(),
            block: vec![0; snap::raw::max_compress_len(WRITTEN_BLOCK)],
        }
    }

    pub(super) fn compress(
        &mut self,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        out.extend_from_slice(&HEADER);
        for block in raw.chunks(WRITTEN_BLOCK) {
            let len = self
                .encoder
                .compress(block, &mut self.block)
                .map_err(|error| CompressionError::Failed {
                    codec: Codec::Snappy,
                    reason: error.to_string(),
                })?;
            out.extend_from_slice(&(len as u32).to_be_bytes());
            out.extend_from_slice(&self.block[..len]);
        }
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

pub(super) struct Decoder {
    decoder: snap::raw::Decoder,
}

impl Decoder {
    pub(super) fn new() -> Decoder {
        Decoder {
            decoder: snap::raw::Decoder::new(),
        }
    }

    pub(super) fn decompress(
        &mut self,
        data: &[u8],
        limit: usize,
        out: &mut Buffer,
    ) -> Result<(), CompressionError> {
        if !data.starts_with(&MAGIC) {
            self.block(data, 0, limit, limit, out)?;
            return Ok(());
        }
        let mut at = 0;
        let mut left = limit;
        while at < data.len() {
            // Streams that were joined have a header in the middle, too.
            if data[at..].starts_with(&MAGIC) {
                at += HEADER.len();
                continue;
            }
            // What is too short for a block's length ends the stream, as in xerial's library.
            let Some(len) = data[at..].first_chunk() else {
                break;
            };
            let len = u32::from_be_bytes(*len) as usize;
            at += 4;
            let block = data
                .get(at..)
                .and_then(|rest| rest.get(..len))
                .ok_or_else(|| corrupt(at, "truncated"))?;
            left -= self.block(block, at, left, limit, out)?;
            at += len;
        }
        if at > data.len() {
            return Err(corrupt(data.len(), "truncated"));
        }
        Ok(())
    }

    /// Decodes raw Snappy onto the end of the output, returning how much it was: no more than `left`.
    fn block(
        &mut self,
        block: &[u8],
        at: usize,
        left: usize,
        limit: usize,
        out: &mut Buffer,
    ) -> Result<usize, CompressionError> {
        let len = snap::raw::decompress_len(block).map_err(|error| corrupt(at, error))?;
        if len > block.len().saturating_mul(MAX_EXPANSION) {
            return Err(corrupt(at, "claims to be longer than it can be"));
        }
        if len > left {
            return Err(CompressionError::TooLarge {
                codec: Codec::Snappy,
                limit,
            });
        }
        let written = self
            .decoder
            .decompress(block, out.room(len))
            .map_err(|error| corrupt(at, error))?;
        out.advance(written);
        Ok(written)
    }
}

#[cold]
fn corrupt(at: usize, reason: impl ToString) -> CompressionError {
    CompressionError::Corrupt {
        codec: Codec::Snappy,
        at,
        reason: reason.to_string(),
    }
}
