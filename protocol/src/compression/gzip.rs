//! gzip (RFC 1952) around raw deflate, whose state can be kept from batch to batch where that of a gzip stream cannot.

use std::fmt;

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::{Buffer, Codec, CompressionError};

/// Deflate, no flags, no time, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
/// What Java's `-1` stands for.
const DEFAULT_LEVEL: u32 = 6;
const TRAILER_LEN: usize = 8;
/// What is shorter than a header and a trailer is no member.
const SHORTEST_MEMBER: usize = HEADER.len() + TRAILER_LEN + 1;
const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

pub(super) struct Encoder {
    deflate: Compress,
}

impl Encoder {
    pub(super) fn new(level: Option<i32>) -> Encoder {
        let level = level.and_then(|level| u32::try_from(level).ok());
        let level = flate2::Compression::new(level.unwrap_or(DEFAULT_LEVEL));
        Encoder {
            deflate: Compress::new(level, false),
        }
    }

    pub(super) fn compress(
        &mut self,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        out.extend_from_slice(&HEADER);
        self.deflate.reset();
        loop {
            // Most batches fit at the first go.
            out.reserve(raw.len() / 2 + 256);
            let read = self.deflate.total_in() as usize;
            let status = self
                .deflate
                .compress_vec(&raw[read..], out, FlushCompress::Finish)
                .map_err(|error| CompressionError::Failed {
                    codec: Codec::Gzip,
                    reason: error.to_string(),
                })?;
            if status == Status::StreamEnd {
                break;
            }
        }
        let crc = crc32(raw);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// The CRC-32 of gzip, which is also that of Kafka's magic 0 and 1.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

pub(super) struct Decoder {
    inflate: Decompress,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder {
            inflate: Decompress::new(false),
        }
    }
}

impl Decoder {
    /// Decodes all members of `data`. What follows the last and is no member is left alone, as in Java's `GZIPInputStream`.
    pub(super) fn decompress(
        &mut self,
        data: &[u8],
        limit: usize,
        out: &mut Buffer,
    ) -> Result<(), CompressionError> {
        let mut at = 0;
        let mut left = limit;
        loop {
            at += header_len(&data[at..]).ok_or_else(|| corrupt(at, "no gzip header"))?;
            let start = out.len();
            at = self.member(data, at, left, limit, out)?;
            let content = &out.as_slice()[start..];
            let trailer: &[u8; TRAILER_LEN] = data[at..]
                .first_chunk()
                .ok_or_else(|| corrupt(at, "truncated"))?;
            let expected = u64::from(crc32(content)) | (content.len() as u64) << 32;
            if u64::from_le_bytes(*trailer) != expected {
                return Err(corrupt(at, "the checksum or length does not match"));
            }
            at += TRAILER_LEN;
            left -= content.len();
            let rest = &data[at..];
            if rest.len() < SHORTEST_MEMBER || header_len(rest).is_none() {
                return Ok(());
            }
        }
    }

    /// Inflates what starts at `data[at..]` and returns where it ends.
    fn member(
        &mut self,
        data: &[u8],
        start: usize,
        mut left: usize,
        limit: usize,
        out: &mut Buffer,
    ) -> Result<usize, CompressionError> {
        self.inflate.reset(false);
        loop {
            let at = start + self.inflate.total_in() as usize;
            let before = self.inflate.total_out();
            // One byte more than is left shows that there is too much.
            let room = (data.len() * 2 + 1024).min(left.saturating_add(1));
            let status = self
                .inflate
                .decompress(&data[at..], out.room(room), FlushDecompress::None)
                .map_err(|error| corrupt(at, error))?;
            let written = (self.inflate.total_out() - before) as usize;
            left = left
                .checked_sub(written)
                .ok_or(CompressionError::TooLarge {
                    codec: Codec::Gzip,
                    limit,
                })?;
            out.advance(written);
            let read_to = start + self.inflate.total_in() as usize;
            if status == Status::StreamEnd {
                return Ok(read_to);
            }
            if written == 0 && read_to == at {
                return Err(corrupt(at, "truncated"));
            }
        }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// Length of the header that `data` starts with.
fn header_len(data: &[u8]) -> Option<usize> {
    let &[0x1F, 0x8B, 8, flags, ..] = data.first_chunk::<10>()? else {
        return None;
    };
    let mut at = HEADER.len();
    if flags & FLAG_EXTRA != 0 {
        let len = u16::from_le_bytes(*data.get(at..)?.first_chunk()?);
        at += 2 + usize::from(len);
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            at += data.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & FLAG_HEADER_CRC != 0 {
        at += 2;
    }
    (at <= data.len()).then_some(at)
}

#[cold]
fn corrupt(at: usize, reason: impl ToString) -> CompressionError {
    CompressionError::Corrupt {
        codec: Codec::Gzip,
        at,
        reason: reason.to_string(),
    }
}
