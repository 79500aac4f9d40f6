//! LZ4's frame format around `lz4_flex`'s blocks.
//!
//! Written: blocks of 64 KiB, independent (Kafka's Java client refuses linked ones), no checksums but the header's, since
//! a batch has a CRC of its own. Read: any frame, also linked blocks, checksums, skippable frames before it. What follows the
//! frame is left alone, as by Java's client.
//! Blocks are decoded straight into the output, where linked blocks find their history too.

use std::fmt;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress_into, decompress_into_with_dict,
    get_maximum_output_size,
};
use twox_hash::XxHash32;

use super::{Buffer, Codec, CompressionError};

const MAGIC: u32 = 0x184D_2204;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const WRITTEN_BLOCK: usize = 64 << 10;
/// How far back a linked block reaches.
const WINDOW: usize = 64 << 10;
/// No block grows by more than this (one byte of length stands for 255 of content).
const MAX_EXPANSION: usize = 255;
const UNCOMPRESSED: u32 = 1 << 31;

const VERSION: u8 = 0b0100_0000;
const VERSION_MASK: u8 = 0b1100_0000;
const INDEPENDENT: u8 = 0b0010_0000;
const BLOCK_CHECKSUM: u8 = 0b0001_0000;
const CONTENT_SIZE: u8 = 0b0000_1000;
const CONTENT_CHECKSUM: u8 = 0b0000_0100;
const DICTIONARY: u8 = 0b0000_0001;
/// The block-size byte for 64 KiB.
const BLOCKS_OF_64_KIB: u8 = 4 << 4;

pub(super) struct Encoder {
    table: CompressTable,
    /// Where a block is compressed to before its length is known.
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            table: CompressTable::large(),
            block: vec![0; get_maximum_output_size(WRITTEN_BLOCK)],
        }
    }

    pub(super) fn compress(
        &mut self,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), CompressionError> {
        let descriptor = [VERSION | INDEPENDENT, BLOCKS_OF_64_KIB];
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&descriptor);
        out.push(header_checksum(&descriptor));
        for block in raw.chunks(WRITTEN_BLOCK) {
            let len = compress_into_with_table(block, &mut self.block, &mut self.table).map_err(
                |error| CompressionError::Failed {
                    codec: Codec::Lz4,
                    reason: error.to_string(),
                },
            )?;
            let (header, data) = match self.block.get(..len) {
                Some(compressed) if len < block.len() => (len as u32, compressed),
                _ => (block.len() as u32 | UNCOMPRESSED, block),
            };
            out.extend_from_slice(&header.to_le_bytes());
            out.extend_from_slice(data);
        }
        out.extend_from_slice(&[0; 4]);
        Ok(())
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Decodes the frame in `data`.
pub(super) fn decompress(
    data: &[u8],
    limit: usize,
    out: &mut Buffer,
) -> Result<(), CompressionError> {
    Reader {
        data,
        at: 0,
        limit,
        left: limit,
        check_header: true,
    }
    .read(out)
}

/// Decodes the frame of magic-0 message sets, whose header checksum Kafka's old clients computed wrongly.
pub(crate) fn decompress_unchecked_header(
    data: &[u8],
    limit: usize,
    out: &mut Buffer,
) -> Result<(), CompressionError> {
    Reader {
        data,
        at: 0,
        limit,
        left: limit,
        check_header: false,
    }
    .read(out)
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

struct Reader<'a> {
    data: &'a [u8],
    at: usize,
    limit: usize,
    /// Bytes of output still allowed.
    left: usize,
    check_header: bool,
}

struct FrameHeader {
    flags: u8,
    block_max: usize,
    content_size: Option<u64>,
}

impl<'a> Reader<'a> {
    fn read(mut self, out: &mut Buffer) -> Result<(), CompressionError> {
        if self.data.is_empty() {
            return Err(self.corrupt("no frame"));
        }
        loop {
            match self.u32()? {
                MAGIC => return self.frame(out),
                magic if magic & !0xF == SKIPPABLE_MAGIC => {
                    let size = self.u32()? as usize;
                    self.take(size)?;
                }
                _ => return Err(self.corrupt("not the magic number of a frame")),
            }
        }
    }

    fn frame(&mut self, out: &mut Buffer) -> Result<(), CompressionError> {
        let header = self.frame_header()?;
        if header
            .content_size
            .is_some_and(|size| size > self.left as u64)
        {
            return Err(self.too_large());
        }
        let start = out.len();
        loop {
            let size = self.u32()?;
            if size == 0 {
                break;
            }
            let data = self.take((size & !UNCOMPRESSED) as usize)?;
            if header.flags & BLOCK_CHECKSUM != 0 && self.u32()? != XxHash32::oneshot(0, data) {
                return Err(self.corrupt("the checksum of a block does not match"));
            }
            self.block(size & UNCOMPRESSED != 0, data, &header, start, out)?;
        }
        let content = &out.as_slice()[start..];
        if header.flags & CONTENT_CHECKSUM != 0 && self.u32()? != XxHash32::oneshot(0, content) {
            return Err(self.corrupt("the checksum of the content does not match"));
        }
        if header
            .content_size
            .is_some_and(|size| size != content.len() as u64)
        {
            return Err(self.corrupt("the content is not as long as the header says"));
        }
        Ok(())
    }

    fn frame_header(&mut self) -> Result<FrameHeader, CompressionError> {
        let start = self.at;
        let &[flags, sizes] = self.array::<2>()?;
        if flags & VERSION_MASK != VERSION || flags & 0b10 != 0 {
            return Err(self.corrupt("unknown version or flags"));
        }
        if flags & DICTIONARY != 0 {
            return Err(self.corrupt("needs a dictionary"));
        }
        let block_max = match sizes >> 4 {
            size @ 4..=7 if sizes & 0x0F == 0 => 1 << (8 + 2 * u32::from(size)),
            _ => return Err(self.corrupt("unknown block size")),
        };
        let content_size = match flags & CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(*self.array()?)),
        };
        let descriptor = &self.data[start..self.at];
        let &[checksum] = self.array::<1>()?;
        if self.check_header && checksum != header_checksum(descriptor) {
            return Err(self.corrupt("the checksum of the frame header does not match"));
        }
        Ok(FrameHeader {
            flags,
            block_max,
            content_size,
        })
    }

    /// Decodes one block onto the end of the output; its frame's content starts at `frame_start`.
    fn block(
        &mut self,
        uncompressed: bool,
        data: &[u8],
        header: &FrameHeader,
        frame_start: usize,
        out: &mut Buffer,
    ) -> Result<(), CompressionError> {
        if data.len() > header.block_max {
            return Err(self.corrupt("a block is larger than the frame allows"));
        }
        if uncompressed {
            self.left = match self.left.checked_sub(data.len()) {
                Some(left) => left,
                None => return Err(self.too_large()),
            };
            out.extend_from_slice(data);
            return Ok(());
        }
        let full = header.block_max.min(data.len() * MAX_EXPANSION);
        let room_len = full.min(self.left);
        let (content, room) = out.split(room_len);
        let history = &content[frame_start.max(content.len().saturating_sub(WINDOW))..];
        let result = if header.flags & INDEPENDENT != 0 || history.is_empty() {
            decompress_into(data, room)
        } else {
            decompress_into_with_dict(data, room, history)
        };
        match result {
            Ok(len) if len <= room_len => {
                out.advance(len);
                self.left -= len;
                Ok(())
            }
            // Only the limit made the room smaller than the block may be.
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room_len < full => {
                Err(self.too_large())
            }
            Ok(_) => Err(self.corrupt("a block is larger than the frame allows")),
            Err(error) => Err(self.corrupt(error)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], CompressionError> {
        let data: &'a [u8] = self.data;
        match data[self.at..].first_chunk() {
            Some(array) => {
                self.at += N;
                Ok(array)
            }
            None => Err(self.corrupt("truncated")),
        }
    }

    fn u32(&mut self) -> Result<u32, CompressionError> {
        Ok(u32::from_le_bytes(*self.array()?))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], CompressionError> {
        let data: &'a [u8] = self.data;
        match data[self.at..].split_at_checked(len) {
            Some((taken, _)) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.corrupt("truncated")),
        }
    }

    fn too_large(&self) -> CompressionError {
        CompressionError::TooLarge {
            codec: Codec::Lz4,
            limit: self.limit,
        }
    }

    #[cold]
    fn corrupt(&self, reason: impl ToString) -> CompressionError {
        CompressionError::Corrupt {
            codec: Codec::Lz4,
            at: self.at,
            reason: reason.to_string(),
        }
    }
}
