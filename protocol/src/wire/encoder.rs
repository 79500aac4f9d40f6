//! Values in, byte segments out.
//!
//! Small things are gathered in one buffer; a [`Bytes`] longer than [`SEGMENT_BYTES`] (a batch of records, in practice)
//! becomes a segment of its own, so that a frame is written vectored and records are never copied on their way out.

use bytes::{BufMut, Bytes, BytesMut};

/// Byte strings longer than this are kept as segments of their own instead of being copied.
pub const SEGMENT_BYTES: usize = 4096;
/// What short byte strings are copied to, where they are many: a buffer that grew to hold them all would be copied again and again.
const CHUNK_BYTES: usize = 64 << 10;

/// Gathers the bytes of one frame.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
    segments: Vec<Bytes>,
    segment_bytes: usize,
}

impl Encoder {
    /// An encoder with an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder whose buffer holds `bytes` bytes before it grows.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.segment_bytes + self.buffer.len()
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame, in order. Segments are never empty.
    pub fn finish(mut self) -> Vec<Bytes> {
        self.close_segment();
        self.segments
    }

    /// The frame as one piece; copies when there are several segments.
    pub fn into_bytes(self) -> Bytes {
        let mut segments = self.finish();
        if segments.len() <= 1 {
            return segments.pop().unwrap_or_default();
        }
        segments.concat().into()
    }

    /// Writes raw bytes by copying.
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// Writes raw bytes, without copying when they are long.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() <= SEGMENT_BYTES {
            if self.buffer.capacity() - self.buffer.len() < bytes.len() {
                self.close_segment();
                self.buffer.reserve(CHUNK_BYTES);
            }
            return self.buffer.put_slice(bytes);
        }
        self.close_segment();
        self.segment_bytes += bytes.len();
        self.segments.push(bytes.clone());
    }

    /// Writes one byte.
    #[inline]
    pub fn put_i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Writes two bytes, big-endian.
    #[inline]
    pub fn put_i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Writes two bytes, big-endian.
    #[inline]
    pub fn put_u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Writes four bytes, big-endian.
    #[inline]
    pub fn put_i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Writes four bytes, big-endian.
    #[inline]
    pub fn put_u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// Writes eight bytes, big-endian.
    #[inline]
    pub fn put_i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Writes eight bytes, big-endian IEEE 754.
    #[inline]
    pub fn put_f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Writes an unsigned varint: seven bits a byte, least significant first.
    #[inline]
    pub fn put_uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    #[inline(never)]
    fn close_segment(&mut self) {
        if !self.buffer.is_empty() {
            self.segment_bytes += self.buffer.len();
            self.segments.push(self.buffer.split().freeze());
        }
    }
}

/// Bytes that [`Encoder::put_uvarint`] takes for `value`: 1 to 5.
#[inline]
pub fn uvarint_size(value: u32) -> usize {
    ((38 - (value | 1).leading_zeros()) / 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uvarint_size_is_what_is_written() {
        for shift in 0..32 {
            for value in [1u32 << shift, (1u32 << shift) - 1, u32::MAX >> shift] {
                let mut out = Encoder::new();
                out.put_uvarint(value);
                assert_eq!(out.len(), uvarint_size(value), "{value}");
            }
        }
    }

    #[test]
    fn long_bytes_become_segments_without_copying() {
        let records = Bytes::from(vec![7; SEGMENT_BYTES + 1]);
        let mut out = Encoder::new();
        out.put_i32(1);
        out.put_bytes(&records);
        out.put_i8(2);
        assert_eq!(out.len(), 4 + records.len() + 1);
        let segments = out.finish();
        assert_eq!(segments.len(), 3);
        assert_eq!(segments[1].as_ptr(), records.as_ptr());
    }

    #[test]
    fn many_short_bytes_fill_chunks_that_never_move() {
        let records = Bytes::from(vec![7; SEGMENT_BYTES - 1]);
        let mut out = Encoder::new();
        for number in 0..100 {
            out.put_i32(number);
            out.put_bytes(&records);
        }
        assert_eq!(out.len(), 100 * (4 + records.len()));
        let segments = out.finish();
        assert!(
            segments.iter().all(|segment| segment.len() <= CHUNK_BYTES),
            "a chunk grew, and what was in it was copied"
        );
        let frame = segments.concat();
        let numbers = frame.chunks(4 + records.len()).map(|part| part[3]);
        assert!(numbers.eq(0..100));
    }
}
