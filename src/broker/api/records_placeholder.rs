//! Records in a Fetch response without copying them.
//!
//! A response holds one `Bytes` for each partition's records, but a log has many batches. So the response is encoded with a *placeholder*: bytes of
//! the right length that nobody reads and that the encoder keeps as a segment of its own. [`RecordsPlaceholders::fill`] then puts the
//! batches in its place.

use bytes::{Bytes, BytesMut};
use protocol::wire::encoder::SEGMENT_BYTES;

use crate::broker::storage::LogSlice;

/// The placeholders of one response, in order.
#[derive(Debug)]
pub(super) struct RecordsPlaceholders {
    placeholder: Bytes,
    slices: Vec<LogSlice>,
}

impl RecordsPlaceholders {
    /// `placeholder` is where placeholders are cut from.
    pub(super) fn new(placeholder: Bytes) -> Self {
        Self {
            placeholder,
            slices: Vec::new(),
        }
    }

    /// What to put into the response for these records: a placeholder, or when they are few, they themselves.
    pub(super) fn place(&mut self, slice: LogSlice) -> Bytes {
        if slice.len <= SEGMENT_BYTES || slice.len > self.placeholder.len() {
            return slice.to_bytes();
        }
        let placeholder = self.placeholder.slice(..slice.len);
        self.slices.push(slice);
        placeholder
    }

    /// Replaces the placeholders in an encoded response.
    pub(super) fn fill(self, frame: Vec<Bytes>) -> Vec<Bytes> {
        let mut slices = self.slices.into_iter();
        let mut filled = Vec::with_capacity(frame.len());
        let mut scratch = BytesMut::new();
        for segment in frame {
            let is_placeholder = segment.as_ptr() == self.placeholder.as_ptr();
            let Some(slice) = is_placeholder.then(|| slices.next()).flatten() else {
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
