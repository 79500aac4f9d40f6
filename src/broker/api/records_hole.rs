//! Records in a Fetch response without copying them.
//!
//! A response holds one `Bytes` for each partition's records, but a log has many batches. So the response is encoded with a *hole*: bytes of
//! the right length that nobody reads and that the encoder keeps as a segment of its own. [`RecordsHoles::fill`] then puts the
//! batches in its place.

use bytes::{Bytes, BytesMut};
use protocol::wire::encoder::SEGMENT_BYTES;

use crate::broker::log::LogSlice;

/// The holes of one response, in order.
#[derive(Debug)]
pub(super) struct RecordsHoles {
    hole: Bytes,
    slices: Vec<LogSlice>,
}

impl RecordsHoles {
    /// `hole` is where placeholders are cut from.
    pub(super) fn new(hole: Bytes) -> Self {
        Self {
            hole,
            slices: Vec::new(),
        }
    }

    /// What to put into the response for these records: a hole, or when they are few, they themselves.
    pub(super) fn place(&mut self, slice: LogSlice) -> Bytes {
        if slice.len <= SEGMENT_BYTES || slice.len > self.hole.len() {
            return slice.to_bytes();
        }
        let hole = self.hole.slice(..slice.len);
        self.slices.push(slice);
        hole
    }

    /// Replaces the holes in an encoded response.
    pub(super) fn fill(self, frame: Vec<Bytes>) -> Vec<Bytes> {
        let mut slices = self.slices.into_iter();
        let mut filled = Vec::with_capacity(frame.len());
        let mut scratch = BytesMut::new();
        for segment in frame {
            let is_hole = segment.as_ptr() == self.hole.as_ptr();
            let Some(slice) = is_hole.then(|| slices.next()).flatten() else {
                filled.push(segment);
                continue;
            };
            slice.write(SEGMENT_BYTES, &mut scratch, &mut filled);
            if !scratch.is_empty() {
                filled.push(scratch.split().freeze());
            }
        }
        filled
    }
}
