//! What batches are decompressed with, and the memory that they are decompressed into: kept from batch to batch, because it is warm, and shared
//! by all that a client reads with, so that many who read now and then do not keep a set each. In: nothing. Out: a decompressor, for a while.

use protocol::compression::{BufferPool, Decompressor};

use super::Mutex;

/// How many are kept while nobody uses them.
const MAX_SPARE: usize = 4;

/// The most memory that is kept while nothing is in it.
const MAX_KEPT_BYTES: usize = 8 << 20;

/// Decompressors that are not in use, and what they decompress into.
#[derive(Debug)]
pub(crate) struct Decompressors {
    spare: Mutex<Vec<Decompressor>>,
    buffers: BufferPool,
}

impl Default for Decompressors {
    fn default() -> Self {
        Self {
            spare: Mutex::default(),
            buffers: BufferPool::new(MAX_KEPT_BYTES),
        }
    }
}

impl Decompressors {
    /// Does something with one that nobody else uses.
    pub fn with<R>(&self, act: impl FnOnce(&mut Decompressor) -> R) -> R {
        let spare = self.spare.lock().pop();
        let mut one = spare.unwrap_or_else(|| Decompressor::with_pool(self.buffers.clone()));
        let done = act(&mut one);
        let mut spare = self.spare.lock();
        if spare.len() < MAX_SPARE {
            spare.push(one);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::compression::{Codec, Compressor};

    #[test]
    fn what_was_decompressed_leaves_its_memory_to_whoever_is_next_within_bounds() {
        let decompressors = Decompressors::default();
        let mut compressed = Vec::new();
        Compressor::new(Codec::Zstd.into())
            .compress(&vec![7; 1 << 20], &mut compressed)
            .expect("compressed");
        let decompress = || {
            decompressors.with(|one| {
                let mut buffer = one.pool().take();
                one.decompress(Codec::Zstd, &compressed, 1 << 20, &mut buffer)
                    .expect("decompressed");
                one.pool().share(buffer)
            })
        };
        let both = (decompress(), decompress());
        assert_eq!(decompressors.spare.lock().len(), 1, "one after the other");
        assert_eq!(decompressors.buffers.free_bytes(), 0);
        drop(both);
        assert!(decompressors.buffers.free_bytes() >= 2 << 20);
        assert!(decompressors.buffers.free_bytes() <= MAX_KEPT_BYTES);
    }
}
