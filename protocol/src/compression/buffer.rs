//! The memory that decompressed bytes live in: initialised once, then used again.
//!
//! Decoders of LZ4 and Snappy write into initialised slices. Clearing a megabyte before each batch costs more
//! than parsing it, so a [`Buffer`] keeps what was initialised before, and a [`BufferPool`] keeps buffers
//! whose last reader is gone.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How many times larger than its content a shared buffer may be.
const MAX_SPARE: usize = 4;

/// Content of fewer bytes than these is not told from more.
const WORTH_COPYING: usize = 64 << 10;

/// Bytes that grow at the end and keep their memory, initialised, when cleared.
#[derive(Clone, Default)]
pub struct Buffer {
    /// Initialised memory; only `..filled` is content.
    memory: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// An empty buffer without memory.
    pub const fn new() -> Buffer {
        Buffer {
            memory: Vec::new(),
            filled: 0,
        }
    }

    /// Number of bytes of content.
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether there is no content.
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Bytes of memory held, content or not.
    pub fn capacity(&self) -> usize {
        self.memory.capacity()
    }

    /// Drops the content and keeps the memory.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// The content.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[..self.filled]
    }

    /// Appends `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        if self.filled == self.memory.len() {
            self.memory.extend_from_slice(bytes);
        } else {
            self.room(bytes.len()).copy_from_slice(bytes);
        }
        self.filled += bytes.len();
    }

    /// The next `len` bytes after the content, initialised with anything; [`advance`](Self::advance) keeps them.
    pub(super) fn room(&mut self, len: usize) -> &mut [u8] {
        let (_, room) = self.split(len);
        room
    }

    /// The content, and the next `len` bytes after it.
    pub(super) fn split(&mut self, len: usize) -> (&[u8], &mut [u8]) {
        let end = self.filled + len;
        if self.memory.len() < end {
            self.memory.resize(end, 0);
        }
        let (content, rest) = self.memory.split_at_mut(self.filled);
        (content, &mut rest[..len])
    }

    /// Makes the first `len` bytes that [`room`](Self::room) gave part of the content.
    pub(super) fn advance(&mut self, len: usize) {
        debug_assert!(self.filled + len <= self.memory.len());
        self.filled += len;
    }

    /// Lets `write` fill a vector with the content, for decoders that append to a `Vec`.
    /// The vector arrives with the content alone.
    pub(super) fn with_vec<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.memory.truncate(self.filled);
        let result = write(&mut self.memory);
        self.filled = self.memory.len();
        result
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("len", &self.filled)
            .field("capacity", &self.memory.capacity())
            .finish()
    }
}

/// Buffers to be used again. Cheap to clone: clones share the buffers.
///
/// [`share`](BufferPool::share) turns a filled buffer into [`Bytes`]; when the last clone of those is dropped, wherever that
/// happens, the memory comes back here.
#[derive(Clone, Debug)]
pub struct BufferPool {
    free: Arc<Mutex<Free>>,
}

#[derive(Debug)]
struct Free {
    buffers: Vec<Buffer>,
    /// Sum of the buffers' capacities.
    bytes: usize,
    max_bytes: usize,
}

impl BufferPool {
    /// A pool that keeps at most `max_bytes` bytes of unused memory.
    pub fn new(max_bytes: usize) -> BufferPool {
        BufferPool {
            free: Arc::new(Mutex::new(Free {
                buffers: Vec::new(),
                bytes: 0,
                max_bytes,
            })),
        }
    }

    /// An empty buffer, with memory used before when there is some.
    pub fn take(&self) -> Buffer {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = free.buffers.pop().unwrap_or_default();
        free.bytes -= buffer.capacity();
        buffer
    }

    /// Gives a buffer back for the next [`take`](Self::take); one too many is freed.
    pub fn give(&self, mut buffer: Buffer) {
        buffer.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = free.bytes + buffer.capacity();
        if buffer.capacity() > 0 && bytes <= free.max_bytes {
            free.bytes = bytes;
            free.buffers.push(buffer);
        }
    }

    /// The buffer's content as shared bytes, whose memory returns to this pool with their last clone.
    ///
    /// A buffer that is much too large for its content goes back at once: a few bytes that are held for long must not hold megabytes.
    pub fn share(&self, buffer: Buffer) -> Bytes {
        let (bytes, _) = self.share_sized(buffer);
        bytes
    }

    /// As [`share`](Self::share), and how much memory they hold.
    pub(crate) fn share_sized(&self, mut buffer: Buffer) -> (Bytes, usize) {
        if buffer.capacity() / MAX_SPARE > buffer.len().max(WORTH_COPYING) {
            let mut fitting = Buffer::new();
            fitting.extend_from_slice(buffer.as_slice());
            self.give(std::mem::replace(&mut buffer, fitting));
        }
        let memory = buffer.capacity();
        let bytes = Bytes::from_owner(Pooled {
            buffer,
            pool: self.clone(),
        });
        (bytes, memory)
    }

    /// Bytes of unused memory the pool holds now.
    pub fn free_bytes(&self) -> usize {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.bytes
    }
}

/// A buffer on loan from its pool.
struct Pooled {
    buffer: Buffer,
    pool: BufferPool,
}

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_slice()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_returns_to_the_pool_with_the_last_clone() {
        let pool = BufferPool::new(1 << 20);
        let mut buffer = pool.take();
        buffer.extend_from_slice(&[7; 1000]);
        let bytes = pool.share(buffer);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((pool.free_bytes(), &slice[..]), (0, &[7u8; 10][..]));
        drop(slice);
        assert!(pool.free_bytes() >= 1000);
        let again = pool.take();
        assert_eq!((again.len(), pool.free_bytes()), (0, 0));
        assert!(again.capacity() >= 1000);
    }

    #[test]
    fn a_few_bytes_do_not_hold_a_large_buffer() {
        let pool = BufferPool::new(8 << 20);
        let mut large = pool.take();
        large.extend_from_slice(&[1; 4 << 20]);
        pool.give(large);
        let mut buffer = pool.take();
        buffer.extend_from_slice(b"few");
        let bytes = pool.share(buffer);
        assert_eq!(&bytes[..], b"few");
        assert!(pool.free_bytes() >= 4 << 20, "the large one is free again");
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_bound() {
        let pool = BufferPool::new(1500);
        let buffers: Vec<Buffer> = (0..3)
            .map(|_| {
                let mut buffer = Buffer::new();
                buffer.extend_from_slice(&[0; 1000]);
                buffer
            })
            .collect();
        for buffer in buffers {
            pool.give(buffer);
        }
        assert_eq!(pool.free_bytes(), 1000);
    }

    #[test]
    fn content_survives_growing_by_room_by_slice_and_by_vec() {
        let mut buffer = Buffer::new();
        buffer.room(4).copy_from_slice(b"abcd");
        buffer.advance(2);
        buffer.extend_from_slice(b"xyz");
        buffer.with_vec(|vec| vec.push(b'!'));
        assert_eq!(buffer.as_slice(), b"abxyz!");
    }
}
