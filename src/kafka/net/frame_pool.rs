//! Buffers of long frames, recycled. Fresh megabytes cost more in page faults than parsing what is in them, so a reader takes its buffer
//! from here, and whoever is done with a frame returns it. In: `Bytes` that nobody else holds. Out: empty buffers with room.

use std::sync::{Arc, MutexGuard};

use bytes::{Bytes, BytesMut};

use crate::kafka::runtime::Mutex;

/// The most buffers that are kept.
const MAX_BUFFERS: usize = 8;

/// The most bytes that are kept in all: huge responses must not stay in memory for ever.
const MAX_KEPT_BYTES: usize = 14 << 20;

/// How many times larger than its frame a buffer may be: a short frame that is held for long must not hold megabytes.
const MAX_SPARE: usize = 2;

/// The smallest buffer that is worth keeping.
const MIN_BUFFER_BYTES: usize = 16 << 10;

/// Recycled frame buffers, shared by the connections of a client. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct FramePool {
    buffers: Arc<Mutex<Vec<BytesMut>>>,
}

impl FramePool {
    /// Gives back a frame, or the last slice of one. What someone else still holds is left to them.
    pub fn recycle(&self, frame: Bytes) {
        if let Ok(buffer) = frame.try_into_mut() {
            self.give_buffer(buffer);
        }
    }

    /// Gives back a buffer.
    pub fn give_buffer(&self, mut buffer: BytesMut) {
        buffer.clear();
        // A slice knows of its allocation no more than its own end: ask for the front back.
        if !buffer.try_reclaim(MIN_BUFFER_BYTES) || buffer.capacity() > MAX_KEPT_BYTES {
            return;
        }
        let mut buffers = self.lock();
        buffers.push(buffer);
        // Those that no frame has fitted into for longest go first.
        let mut kept: usize = buffers.iter().map(BytesMut::capacity).sum();
        while buffers.len() > MAX_BUFFERS || kept > MAX_KEPT_BYTES {
            kept -= buffers.remove(0).capacity();
        }
    }

    /// How large a buffer of its own a frame of `len` bytes gets: by up to an eighth larger, so that the next frame of about that length fits
    /// into it as well.
    pub fn room_for(len: usize) -> usize {
        let step = (len / 16).next_power_of_two();
        len.next_multiple_of(step)
    }

    /// An empty buffer with room for `len` bytes if there is one, else a new one of at most `at_most` bytes.
    pub fn take(&self, len: usize, at_most: usize) -> BytesMut {
        let mut buffers = self.lock();
        // Of the smallest, the last one given back: its memory is warm.
        let fitting = { buffers.iter_mut().enumerate().rev() }
            .filter_map(|(index, buffer)| {
                let fits = buffer.try_reclaim(len) && buffer.capacity() / MAX_SPARE <= len;
                fits.then_some((index, buffer.capacity()))
            })
            .min_by_key(|(_, capacity)| *capacity);
        match fitting {
            Some((index, _)) => buffers.remove(index),
            None => {
                drop(buffers);
                BytesMut::with_capacity(Self::room_for(len).min(at_most))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.buffers.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_given_back_is_used_again() {
        let pool = FramePool::default();
        let mut buffer = pool.take(1 << 20, 1 << 20);
        buffer.resize(1 << 20, 7);
        let start = buffer.as_ptr();
        let frame = buffer.freeze();
        let records = frame.slice(100..);
        drop(frame);
        pool.recycle(records);
        let again = pool.take(1 << 20, 1 << 16);
        assert!(again.is_empty());
        assert!(again.capacity() >= 1 << 20);
        assert_eq!(again.as_ptr(), start);
    }

    #[test]
    fn a_frame_that_someone_still_reads_is_not_taken_from_them() {
        let pool = FramePool::default();
        let frame = Bytes::from(vec![1; 1 << 16]);
        let reader = frame.clone();
        pool.recycle(frame);
        let other = pool.take(1 << 16, 1 << 16);
        assert_ne!(other.as_ptr(), reader.as_ptr());
        assert!(reader.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn a_short_frame_does_not_get_a_huge_buffer() {
        let pool = FramePool::default();
        pool.recycle(Bytes::from(vec![0; 4 << 20]));
        assert!(pool.take(20_000, 1 << 20).capacity() < 1 << 20);
        assert!(pool.take(2 << 20, 1 << 10).capacity() >= 4 << 20);
    }

    #[test]
    fn a_frame_gets_the_smallest_buffer_that_it_fits_into() {
        let pool = FramePool::default();
        for len in [1 << 20, 600 << 10, 900 << 10, 1 << 20] {
            pool.recycle(Bytes::from(vec![0; len]));
        }
        let capacity = pool.take(600 << 10, 1 << 20).capacity();
        assert!(capacity < 900 << 10, "{capacity}");
        let capacity = pool.take(600 << 10, 1 << 20).capacity();
        assert!((900 << 10..1 << 20).contains(&capacity), "{capacity}");
    }

    #[test]
    fn buffers_that_nothing_fits_into_make_room_for_those_in_use() {
        let pool = FramePool::default();
        for _ in 0..MAX_BUFFERS {
            pool.recycle(Bytes::from(vec![0; 2 << 20]));
        }
        pool.recycle(Bytes::from(vec![0; 100 << 10]));
        let capacity = pool.take(100 << 10, 1 << 10).capacity();
        assert!(capacity >= 100 << 10, "{capacity}");
    }

    #[test]
    fn frames_of_about_the_same_length_share_a_buffer() {
        for len in [1, 7, 100_000, 12_600_000, 16 << 20, (16 << 20) + 1] {
            let room = FramePool::room_for(len);
            assert!(
                (len..=len + len.div_ceil(8)).contains(&room),
                "{len}: {room}"
            );
        }
        let pool = FramePool::default();
        pool.give_buffer(pool.take(12_590_000, usize::MAX));
        assert!(pool.take(12_610_000, 0).capacity() > 0);
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_bounded_buffers() {
        let pool = FramePool::default();
        pool.recycle(Bytes::from(vec![0; MAX_KEPT_BYTES + 1]));
        assert!(pool.lock().is_empty());
        pool.recycle(Bytes::from(vec![0; MAX_KEPT_BYTES]));
        pool.recycle(Bytes::from(vec![0; MAX_KEPT_BYTES + 1]));
        assert_eq!(
            pool.lock().len(),
            1,
            "it makes no other go that is not kept itself"
        );
        for _ in 0..2 * MAX_BUFFERS {
            pool.recycle(Bytes::from(vec![0; MIN_BUFFER_BYTES]));
        }
        assert_eq!(pool.lock().len(), MAX_BUFFERS);
    }
}
