//! Batches as they were read from a log: pieces to be written one after the other.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::directory::FileRead;

/// Bytes of a batch that are written afresh when it is served: base offset, length, leader epoch.
pub(super) const PATCHED_BYTES: usize = 16;

/// A run of batches as read for a fetch.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogSlice {
    pub(crate) len: usize,
    /// The offset after the last batch of which there is something.
    pub(crate) end_offset: i64,
    /// The first and last offset of each batch, where whole ones were asked for.
    pub(crate) bounds: Vec<(i64, i64)>,
    pieces: Vec<Piece>,
    /// Where it is, as long as it was not read.
    unread: Option<Box<FileRead>>,
}

#[derive(Clone, Debug)]
struct Piece {
    head: [u8; PATCHED_BYTES],
    tail: Bytes,
}

impl LogSlice {
    /// What is in files, and is still to be read by [`loaded`](Self::loaded).
    pub(super) fn unread(read: FileRead) -> Self {
        Self {
            unread: Some(Box::new(read)),
            ..Self::default()
        }
    }

    /// Reads what is in files, where that holds up nobody; what is in memory is there already. Must not be called with a lock held.
    pub(crate) async fn loaded(self) -> io::Result<Self> {
        let Some(read) = self.unread else {
            return Ok(self);
        };
        let done = tokio::task::spawn_blocking(move || read.load()).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Whether it is still to be read.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.is_some()
    }

    /// Adds what begins with `head` and goes on with `tail`, `len` bytes together: only the last may have less than its head. `end_offset` is the
    /// offset after its last batch.
    pub(super) fn push(
        &mut self,
        head: [u8; PATCHED_BYTES],
        tail: Bytes,
        len: usize,
        end_offset: i64,
    ) {
        self.len += len;
        self.end_offset = end_offset;
        self.pieces.push(Piece { head, tail });
    }

    /// Appends all pieces: tails of at least `min_segment` bytes by reference, smaller ones and heads copied.
    pub(crate) fn write(
        self,
        min_segment: usize,
        scratch: &mut BytesMut,
        segments: &mut Vec<Bytes>,
    ) {
        let mut remaining = self.len;
        for piece in self.pieces {
            scratch.put_slice(&piece.head[..remaining.min(PATCHED_BYTES)]);
            remaining = remaining.saturating_sub(PATCHED_BYTES);
            remaining -= piece.tail.len();
            if piece.tail.len() < min_segment {
                scratch.put_slice(&piece.tail);
            } else {
                segments.push(scratch.split().freeze());
                segments.push(piece.tail);
            }
        }
    }

    /// All pieces copied together.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.len);
        self.clone().write(usize::MAX, &mut out, &mut Vec::new());
        out.freeze()
    }
}
