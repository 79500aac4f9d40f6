//! The open batch of a producer: records are encoded straight into the buffer that will go to the wire.
//!
//! The buffer keeps room for the header at its front, which [`seal`](BatchBuilder::seal) fills in. Appending allocates nothing but
//! what the buffer has to grow by.

use super::header::HEADER_LEN;
use super::sealed::{SealOptions, SealedBatch, seal};
use super::varint::{self, short};
use crate::compression::Compressor;

/// The most that a record adds to its key, value and headers: length, attributes, timestamp and offset deltas, and the
/// lengths of key and value and the number of headers.
const RECORD_OVERHEAD: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
/// The most that a header adds to its key and value.
const HEADER_OVERHEAD: usize = 5 + 5;
/// A batch's length is an int32, which counts all but the first 12 bytes.
const MAX_BATCH: usize = i32::MAX as usize;

/// A batch that takes records.
#[derive(Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records.
    pub(super) buffer: Vec<u8>,
    /// Bytes of `buffer` that are whole records: an `encode` that panics leaves a piece of one behind them.
    len: usize,
    count: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

/// A record does not fit: a batch cannot grow beyond 2 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record batch would grow beyond 2 GiB")]
pub struct BatchFull;

impl BatchBuilder {
    /// An empty batch in `buffer`, whose content is dropped and whose memory is used.
    pub fn new(mut buffer: Vec<u8>) -> BatchBuilder {
        buffer.clear();
        buffer.extend_from_slice(&[0; HEADER_LEN]);
        BatchBuilder {
            buffer,
            len: HEADER_LEN,
            count: 0,
            base_timestamp: 0,
            max_timestamp: 0,
        }
    }

    /// Appends a record and returns its index in the batch.
    ///
    /// `timestamp_ms` counts milliseconds since 1970. `headers` are pairs of key and value, gone over twice.
    ///
    /// # Errors
    /// [`BatchFull`] when the batch cannot take the record; it is then as before.
    #[inline]
    pub fn append<'h, H>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<u32, BatchFull>
    where
        H: IntoIterator<Item = (&'h str, Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        let headers = headers.into_iter();
        let headers = headers.map(|(key, value)| (key.as_bytes(), value));
        self.append_raw(timestamp_ms, key, value, headers)
    }

    /// As [`append`](Self::append), with the keys of headers as they are: the protocol says that they are UTF-8, and nobody holds
    /// clients to it.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn append_raw<'h, H>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) -> Result<u32, BatchFull>
    where
        H: IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        self.put(
            timestamp_ms,
            key,
            value.map(<[u8]>::len),
            headers.into_iter(),
            |buffer| {
                if let Some(value) = value {
                    buffer.extend_from_slice(value);
                }
            },
        )
    }

    /// Appends a record whose value is written by `encode` straight into the batch, and returns the record's index. The keys of `headers`
    /// are as in [`append_raw`](Self::append_raw).
    ///
    /// `encode` gets exactly `value_len` bytes, all zero, and fills them: what it leaves stays zero. Should it panic, the batch is as before.
    ///
    /// # Errors
    /// [`BatchFull`] when the batch cannot take the record; it is then as before, and `encode` was not called.
    #[inline]
    pub fn append_with<'h, H>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value_len: usize,
        headers: H,
        encode: impl FnOnce(&mut [u8]),
    ) -> Result<u32, BatchFull>
    where
        H: IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        self.put(
            timestamp_ms,
            key,
            Some(value_len),
            headers.into_iter(),
            |buffer| {
                let start = buffer.len();
                buffer.resize(start + value_len, 0);
                encode(&mut buffer[start..]);
            },
        )
    }

    #[inline(always)]
    fn put<'h, H>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value_len: Option<usize>,
        headers: H,
        write_value: impl FnOnce(&mut Vec<u8>),
    ) -> Result<u32, BatchFull>
    where
        H: Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
    {
        let index = self.count;
        if index == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        }
        let (header_count, headers_len) = measure(headers.clone());
        let front = Front {
            timestamp_delta: timestamp_ms.wrapping_sub(self.base_timestamp),
            index: i64::from(index),
            key_len: key.map_or(-1, |key| key.len() as i64),
            after_key: key.map_or(0, <[u8]>::len)
                + len_of_bytes(value_len)
                + varint::len_of_len(header_count)
                + headers_len,
        };
        // No sum can overflow: all of this is in memory.
        if self.len + RECORD_OVERHEAD + front.after_key > MAX_BATCH {
            return Err(BatchFull);
        }
        let out = &mut self.buffer;
        out.truncate(self.len);
        out.reserve(RECORD_OVERHEAD + front.after_key);
        front.put(out);
        put_content(out, key.unwrap_or_default());
        varint::put(out, value_len.map_or(-1, |len| len as i64));
        write_value(out);
        if header_count == 0 {
            out.push(0);
        } else {
            varint::put(out, header_count as i64);
            for (key, value) in headers {
                put_bytes(out, Some(key));
                put_bytes(out, value);
            }
        }
        self.len = out.len();
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.count = index + 1;
        Ok(index)
    }

    /// Number of bytes that the batch takes uncompressed, its header included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the batch has no records.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Makes room for `additional` more bytes, and no more than that, so that a caller who bounds memory knows what it takes.
    pub fn reserve(&mut self, additional: usize) {
        self.buffer.reserve_exact(additional);
    }

    /// Moves the records to `buffer`, whose content is dropped, and returns the one that they were in.
    pub fn move_to(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        buffer.extend_from_slice(&self.buffer[..self.len]);
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Gives back the memory that no record takes.
    pub fn shrink(&mut self) {
        self.buffer.truncate(self.len);
        self.buffer.shrink_to_fit();
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The largest timestamp so far, in milliseconds since 1970; 0 in an empty batch.
    pub fn max_timestamp(&self) -> i64 {
        self.max_timestamp
    }

    /// The most bytes that a record adds to a batch: exact but for a few bytes of its variable-length integers.
    #[inline]
    pub fn record_size<'h>(
        key_len: usize,
        value_len: usize,
        headers: impl IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> usize {
        let headers = headers
            .into_iter()
            .map(|(key, value)| HEADER_OVERHEAD + key.len() + value.map_or(0, <[u8]>::len));
        RECORD_OVERHEAD + key_len + value_len + headers.sum::<usize>()
    }

    /// Closes the batch: compresses the records, fills in the header and computes the CRC, once.
    ///
    /// A compressed batch is written to the compressor's spare buffer, and the builder's buffer becomes the next spare. Should
    /// the codec fail, the records go out uncompressed, which every reader understands, rather than be lost.
    pub fn seal(mut self, options: &SealOptions, compressor: &mut Compressor) -> SealedBatch {
        self.buffer.truncate(self.len);
        seal(
            self.buffer,
            self.count,
            self.base_timestamp,
            self.max_timestamp,
            options,
            compressor,
        )
    }

    /// Gives up the batch and returns its buffer, for a batch that is dropped rather than sent.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.buffer.truncate(self.len);
        self.buffer
    }
}

/// A record up to the length of its key.
struct Front {
    timestamp_delta: i64,
    index: i64,
    key_len: i64,
    /// Bytes of the record after this.
    after_key: usize,
}

impl Front {
    #[inline(always)]
    fn put(&self, out: &mut Vec<u8>) {
        let after_key = self.after_key as i64;
        // 8,000 and the few bytes of the front stay below the two bytes' 8,191, and so does half of that for a key.
        if !short::fits([self.timestamp_delta, self.index]) || after_key > 8000 || self.key_len > 63
        {
            return self.put_long(out);
        }
        let body = short::Writer::default()
            .put(0) // attributes
            .put(self.timestamp_delta)
            .put(self.index)
            .put(self.key_len);
        body.prepend(body.len() as i64 + after_key).finish(out);
    }

    #[inline(never)]
    fn put_long(&self, out: &mut Vec<u8>) {
        let numbers = [0, self.timestamp_delta, self.index, self.key_len];
        let len: usize = numbers.into_iter().map(varint::len).sum();
        varint::put(out, (len + self.after_key) as i64);
        for number in numbers {
            varint::put(out, number);
        }
    }
}

/// Number of headers, and the bytes they take.
#[inline]
fn measure<'h>(headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>) -> (usize, usize) {
    headers.fold((0, 0), |(count, len), (key, value)| {
        let header_len = len_of_bytes(Some(key.len())) + len_of_bytes(value.map(<[u8]>::len));
        (count + 1, len + header_len)
    })
}

/// Bytes that a nullable byte string of this length takes, its length included.
#[inline]
pub(super) fn len_of_bytes(len: Option<usize>) -> usize {
    len.map_or(1, |len| varint::len_of_len(len) + len)
}

#[inline(always)]
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put(out, bytes.len() as i64);
            put_content(out, bytes);
        }
        None => out.push(1), // -1
    }
}

/// Appends `bytes`. Keys and headers are mostly a few bytes, where two overlapping stores beat a call to `memcpy`.
#[inline(always)]
fn put_content(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        8..=16 => put_overlapping::<8>(out, bytes),
        17..=32 => put_overlapping::<16>(out, bytes),
        33..=64 => put_overlapping::<32>(out, bytes),
        _ => out.extend_from_slice(bytes),
    }
}

/// Appends `bytes`, which are N to 2N: the first N, and over their end the last N.
#[inline(always)]
fn put_overlapping<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    match (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        (Some(first), Some(last)) => {
            let len = out.len() + bytes.len();
            out.extend_from_slice(first);
            out.truncate(len - N);
            out.extend_from_slice(last);
        }
        _ => out.extend_from_slice(bytes),
    }
}
