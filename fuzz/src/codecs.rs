//! What the fuzz targets of codecs and batches share.

use crate::{CONTEXTS, bounded};
use protocol::compression::{Buffer, Codec, CompressionError, Compressor, Decompressor};

/// Bytes that decompressing may come to.
pub const LIMIT: usize = 4 << 20;

/// Memory while decompressing to at most `limit` bytes: the output, twice while it grows, and the window of a zstd stream.
pub fn most_memory(limit: usize) -> usize {
    5 * limit + CONTEXTS
}

/// Decompresses `data`, holds the result and the memory to the limit, and, when there is one, packs and unpacks it again.
pub fn decompress(codec: Codec, data: &[u8]) {
    let mut decompressor = Decompressor::new();
    let mut content = Buffer::new();
    let result = bounded(most_memory(LIMIT), || {
        decompressor.decompress(codec, data, LIMIT, &mut content)
    });
    if result.is_err() {
        return;
    }
    assert!(content.len() <= LIMIT);
    let exact = decompressor.decompress(codec, data, content.len(), &mut Buffer::new());
    assert_eq!(exact, Ok(()), "the limit may be reached");
    if let Some(limit) = content.len().checked_sub(1) {
        let less = decompressor.decompress(codec, data, limit, &mut Buffer::new());
        assert_eq!(less, Err(CompressionError::TooLarge { codec, limit }));
    }
    let mut packed = Vec::new();
    let mut back = Buffer::new();
    Compressor::new(codec.into())
        .compress(content.as_slice(), &mut packed)
        .expect("anything can be compressed");
    decompressor
        .decompress(codec, &packed, content.len(), &mut back)
        .expect("what was compressed can be decompressed");
    assert_eq!(back.as_slice(), content.as_slice());
}
