//! One record, borrowed from the bytes it stands in: no allocation, no reference count.

use std::borrow::Cow;

use super::varint;

/// A record. Key and value are slices of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970, or `-1` when it has none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: HeadersView<'a>,
}

/// The headers of a record, decoded as they are iterated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadersView<'a> {
    count: u32,
    bytes: &'a [u8],
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// Its key, UTF-8 from every client that keeps to the protocol.
    pub key: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}

impl<'a> HeaderView<'a> {
    /// The key as text, with replacement characters where it is not UTF-8, as Kafka's Java client reads it.
    pub fn key_text(&self) -> Cow<'a, str> {
        // The check alone is several times as fast as looking for what to replace.
        match std::str::from_utf8(self.key) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.key),
        }
    }
}

impl<'a> HeadersView<'a> {
    /// Takes all the headers of a record; `None` unless `bytes` hold exactly `count` of them.
    pub(super) fn check(count: u32, bytes: &'a [u8]) -> Option<HeadersView<'a>> {
        let mut rest = bytes;
        for _ in 0..count {
            take_header(&mut rest)?;
        }
        rest.is_empty().then_some(HeadersView { count, bytes })
    }

    /// The headers that [`encoded`](Self::encoded) gave out. Of other bytes as many as there are.
    pub fn of_encoded(count: u32, bytes: &'a [u8]) -> HeadersView<'a> {
        HeadersView { count, bytes }
    }

    /// How many there are, and the bytes that they stand in, as in their record.
    pub fn encoded(&self) -> (u32, &'a [u8]) {
        (self.count, self.bytes)
    }

    /// The first `most` of them.
    pub fn first(&self, most: usize) -> HeadersView<'a> {
        let mut headers = self.iter();
        headers.by_ref().take(most).for_each(drop);
        let len = self.bytes.len() - headers.rest.len();
        HeadersView {
            count: self.count - headers.remaining,
            bytes: &self.bytes[..len],
        }
    }

    /// Number of headers.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers in order; a key may occur several times.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter {
            remaining: self.count,
            rest: self.bytes,
        }
    }

    /// The last header of that key, the one that counts as Java's `lastHeader` has it.
    pub fn get(&self, key: &str) -> Option<HeaderView<'a>> {
        self.iter()
            .filter(|header| header.key == key.as_bytes())
            .last()
    }
}

impl<'a> IntoIterator for HeadersView<'a> {
    type Item = HeaderView<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Iterates over the headers of a record.
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    remaining: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = HeaderView<'a>;

    #[inline]
    fn next(&mut self) -> Option<HeaderView<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        take_header(&mut self.rest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining as usize, Some(self.remaining as usize))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

#[inline(always)]
fn take_header<'a>(rest: &mut &'a [u8]) -> Option<HeaderView<'a>> {
    let key = take_bytes(rest)??;
    let value = take_bytes(rest)?;
    Some(HeaderView { key, value })
}

/// Takes a nullable byte string: a length, `-1` for null, and that many bytes.
#[inline(always)]
pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = varint::take(rest)?;
    if len < 0 {
        return (len == -1).then_some(None);
    }
    let (bytes, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(Some(bytes))
}
