//! Zstandard, behind a seam of two types: pure Rust by default, the C library with feature `zstd-c`.
//!
//! Decoding takes the fast one-shot path whenever the frames' own headers bound the output below the limit
//! (a bound, not a promise: it counts what each block can become at most), and a stream cut off at the limit otherwise.
//! Both give the same verdict on the same bytes; only a stream needs a window, so the bound on windows is held before either.

use super::{Buffer, Codec, CompressionError};

#[cfg(feature = "zstd-c")]
use self::c as backend;
#[cfg(not(feature = "zstd-c"))]
use self::rust as backend;

pub(super) use self::backend::Encoder;

/// Kafka's default level.
const DEFAULT_LEVEL: i32 = 3;
/// The most one block decodes to (RFC 8878).
const MAX_BLOCK: u64 = 128 << 10;
/// The largest window that decoders of streams accept unless told otherwise, Kafka's Java client among them.
const MAX_WINDOW: u64 = 128 << 20;
const MAGIC: u32 = 0xFD2F_B528;
/// Magic numbers of frames to skip, less their low four bits.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;

#[derive(Debug, Default)]
pub(super) struct Decoder {
    backend: backend::Decoder,
}

impl Decoder {
    pub(super) fn decompress(
        &mut self,
        data: &[u8],
        limit: usize,
        out: &mut Buffer,
    ) -> Result<(), CompressionError> {
        let headers = Headers::of(data);
        if headers.declared > limit as u64 {
            return Err(too_large(limit));
        }
        if headers.window > MAX_WINDOW {
            return Err(corrupt(format_args!(
                "a frame needs a window of {} bytes, more than the {MAX_WINDOW} that any reader has to have",
                headers.window
            )));
        }
        // Headers that make no sense bound nothing, whatever the limit.
        let bounded = headers.at_most < u64::MAX && headers.at_most <= limit as u64;
        if out.is_empty() && bounded {
            return self.backend.decompress_whole(data, out);
        }
        self.backend.decompress_stream(data, limit, out)
    }
}

fn too_large(limit: usize) -> CompressionError {
    CompressionError::TooLarge {
        codec: Codec::Zstd,
        limit,
    }
}

fn corrupt(reason: impl ToString) -> CompressionError {
    CompressionError::Corrupt {
        codec: Codec::Zstd,
        at: 0,
        reason: reason.to_string(),
    }
}

/// What the headers of frames and blocks say.
struct Headers {
    /// Sum of the sizes that frames declare.
    declared: u64,
    /// What the blocks can decode to at most; the maximum when the headers make no sense.
    at_most: u64,
    /// The largest window of a frame: how far back its blocks may reach.
    window: u64,
}

impl Headers {
    /// Walks the headers alone: a few bytes for each 128 KiB of content.
    fn of(mut data: &[u8]) -> Headers {
        let mut headers = Headers {
            declared: 0,
            at_most: 0,
            window: 0,
        };
        while !data.is_empty() {
            let Some(rest) = headers.add_frame(data) else {
                headers.at_most = u64::MAX;
                break;
            };
            data = rest;
        }
        headers
    }

    fn add_frame<'a>(&mut self, data: &'a [u8]) -> Option<&'a [u8]> {
        let magic = u32::from_le_bytes(*data.first_chunk()?);
        if magic & !0xF == SKIPPABLE_MAGIC {
            let size = u32::from_le_bytes(*data.get(4..)?.first_chunk()?);
            return data.get(8..)?.get(usize::try_from(size).ok()?..);
        }
        if magic != MAGIC {
            return None;
        }
        let descriptor = *data.get(4)?;
        let single_segment = descriptor & 0x20 != 0;
        let dictionary_len = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size_at = 5 + usize::from(!single_segment) + dictionary_len;
        let (size_len, declared) = content_size(data.get(size_at..)?, descriptor)?;
        let window = match declared {
            Some(declared) if single_segment => declared,
            _ => window_size(*data.get(5)?),
        };
        self.window = self.window.max(window);
        let blocks = data.get(size_at + size_len..)?;
        let (at_most, rest) = blocks_bound(blocks)?;
        self.declared = self.declared.saturating_add(declared.unwrap_or(0));
        self.at_most = self
            .at_most
            .saturating_add(declared.map_or(at_most, |declared| declared.min(at_most)));
        let checksum_len = if descriptor & 4 != 0 { 4 } else { 0 };
        rest.get(checksum_len..)
    }
}

/// What a Window_Descriptor says: a power of two, and eighths of it.
fn window_size(descriptor: u8) -> u64 {
    let base = 1u64 << (10 + (descriptor >> 3));
    base + base / 8 * u64::from(descriptor & 7)
}

/// Length of the Frame_Content_Size field, and what it says.
fn content_size(field: &[u8], descriptor: u8) -> Option<(usize, Option<u64>)> {
    Some(match descriptor >> 6 {
        0 if descriptor & 0x20 == 0 => (0, None),
        0 => (1, Some(u64::from(*field.first()?))),
        1 => (
            2,
            Some(u64::from(u16::from_le_bytes(*field.first_chunk()?)) + 256),
        ),
        2 => (
            4,
            Some(u64::from(u32::from_le_bytes(*field.first_chunk()?))),
        ),
        _ => (8, Some(u64::from_le_bytes(*field.first_chunk()?))),
    })
}

/// The most that the blocks of a frame decode to, and what follows the last of them.
fn blocks_bound(mut data: &[u8]) -> Option<(u64, &[u8])> {
    let mut at_most = 0u64;
    loop {
        let [b0, b1, b2] = *data.first_chunk()?;
        let header = u32::from_le_bytes([b0, b1, b2, 0]);
        let size = header >> 3;
        let (stored, decoded) = match (header >> 1) & 3 {
            0 => (size, u64::from(size)),
            1 => (1, u64::from(size)),
            2 => (size, MAX_BLOCK),
            _ => return None,
        };
        at_most += decoded.min(MAX_BLOCK);
        data = data.get(3..)?.get(usize::try_from(stored).ok()?..)?;
        if header & 1 != 0 {
            return Some((at_most, data));
        }
    }
}

/// `rust-zstd`.
#[cfg(not(feature = "zstd-c"))]
mod rust {
    use std::fmt;

    use rust_zstd::{CompressOptions, Compressor, Decompressor};

    use super::{Buffer, CompressionError, DEFAULT_LEVEL, corrupt, too_large};

    const STREAM_CHUNK: usize = 64 << 10;

    pub(crate) struct Encoder {
        context: Compressor,
    }

    impl Encoder {
        pub(crate) fn new(level: Option<i32>) -> Encoder {
            let level = level.unwrap_or(DEFAULT_LEVEL);
            Encoder {
                context: Compressor::new(CompressOptions {
                    level,
                    ..Default::default()
                }),
            }
        }

        pub(crate) fn compress(
            &mut self,
            raw: &[u8],
            out: &mut Vec<u8>,
        ) -> Result<(), CompressionError> {
            self.context.compress(raw, out);
            Ok(())
        }
    }

    impl fmt::Debug for Encoder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Encoder").finish_non_exhaustive()
        }
    }

    pub(crate) struct Decoder {
        context: Decompressor,
    }

    impl Default for Decoder {
        fn default() -> Decoder {
            Decoder {
                context: Decompressor::new(),
            }
        }
    }

    impl Decoder {
        /// Decodes into an empty buffer. The caller has bounded the output.
        pub(super) fn decompress_whole(
            &mut self,
            data: &[u8],
            out: &mut Buffer,
        ) -> Result<(), CompressionError> {
            out.with_vec(|vec| self.context.decompress_into(data, vec))
                .map_err(corrupt)
        }

        /// Decodes piece by piece until the end or the limit, with a context of its own: one that has streamed keeps its window.
        pub(super) fn decompress_stream(
            &mut self,
            data: &[u8],
            limit: usize,
            out: &mut Buffer,
        ) -> Result<(), CompressionError> {
            let mut context = Decompressor::new();
            let mut at = 0;
            let mut left = limit;
            loop {
                // One byte more than is left shows that there is too much.
                let room = out.room(STREAM_CHUNK.min(left.saturating_add(1)));
                let mut written = 0;
                context
                    .decompress_stream(data, &mut at, room, &mut written)
                    .map_err(corrupt)?;
                left = left.checked_sub(written).ok_or_else(|| too_large(limit))?;
                out.advance(written);
                if written == 0 && at == data.len() {
                    return context.finish().map_err(corrupt);
                }
            }
        }
    }

    impl fmt::Debug for Decoder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Decoder").finish_non_exhaustive()
        }
    }
}

/// The C library, for those who ask for it.
#[cfg(feature = "zstd-c")]
mod c {
    use std::fmt;
    use std::io::Read;

    use zstd::bulk::{Compressor, Decompressor};
    use zstd::zstd_safe::compress_bound;

    use super::super::Codec;
    use super::{Buffer, CompressionError, DEFAULT_LEVEL, Headers, corrupt, too_large};

    const STREAM_CHUNK: usize = 64 << 10;

    pub(crate) struct Encoder {
        level: i32,
        context: Option<Compressor<'static>>,
        scratch: Vec<u8>,
    }

    impl Encoder {
        pub(crate) fn new(level: Option<i32>) -> Encoder {
            Encoder {
                level: level.unwrap_or(DEFAULT_LEVEL),
                context: None,
                scratch: Vec::new(),
            }
        }

        pub(crate) fn compress(
            &mut self,
            raw: &[u8],
            out: &mut Vec<u8>,
        ) -> Result<(), CompressionError> {
            let failed = |reason: std::io::Error| CompressionError::Failed {
                codec: Codec::Zstd,
                reason: reason.to_string(),
            };
            let context = match &mut self.context {
                Some(context) => context,
                none => none.insert(Compressor::new(self.level).map_err(failed)?),
            };
            self.scratch.clear();
            self.scratch.reserve(compress_bound(raw.len()));
            context
                .compress_to_buffer(raw, &mut self.scratch)
                .map_err(failed)?;
            out.extend_from_slice(&self.scratch);
            Ok(())
        }
    }

    impl fmt::Debug for Encoder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Encoder").finish_non_exhaustive()
        }
    }

    #[derive(Default)]
    pub(crate) struct Decoder {
        context: Option<Decompressor<'static>>,
    }

    impl Decoder {
        /// Decodes into an empty buffer. The caller has bounded the output.
        pub(super) fn decompress_whole(
            &mut self,
            data: &[u8],
            out: &mut Buffer,
        ) -> Result<(), CompressionError> {
            let context = match &mut self.context {
                Some(context) => context,
                none => none.insert(Decompressor::new().map_err(corrupt)?),
            };
            let bound = Headers::of(data).at_most;
            out.with_vec(|vec| {
                vec.reserve(usize::try_from(bound).map_err(corrupt)?);
                context.decompress_to_buffer(data, vec).map_err(corrupt)
            })?;
            Ok(())
        }

        /// Decodes piece by piece until the end or the limit.
        pub(super) fn decompress_stream(
            &mut self,
            data: &[u8],
            limit: usize,
            out: &mut Buffer,
        ) -> Result<(), CompressionError> {
            let mut reader = zstd::stream::read::Decoder::with_buffer(data).map_err(corrupt)?;
            let mut left = limit;
            loop {
                let room = out.room(STREAM_CHUNK.min(left.saturating_add(1)));
                let written = reader.read(room).map_err(corrupt)?;
                left = left.checked_sub(written).ok_or_else(|| too_large(limit))?;
                out.advance(written);
                if written == 0 {
                    return Ok(());
                }
            }
        }
    }

    impl fmt::Debug for Decoder {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Decoder").finish_non_exhaustive()
        }
    }
}
