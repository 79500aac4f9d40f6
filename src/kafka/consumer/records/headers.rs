//! The headers of a record.

use std::borrow::Cow;
use std::fmt;

use protocol::records as wire;

/// The headers of a record, in order. A key may occur several times.
#[derive(Clone, Copy, Default)]
pub struct Headers<'a>(wire::HeadersView<'a>);

impl<'a> Headers<'a> {
    pub(super) fn new(headers: wire::HeadersView<'a>) -> Self {
        Self(headers)
    }

    /// The headers that [`encoded`](Self::encoded) gave out.
    pub(crate) fn of_encoded(count: u32, bytes: &'a [u8]) -> Self {
        Self(wire::HeadersView::of_encoded(count, bytes))
    }

    /// How many there are, and the bytes that they stand in: for keeping them, without a look at each.
    pub(crate) fn encoded(&self) -> (u32, &'a [u8]) {
        self.0.encoded()
    }

    /// The first `most` of them.
    pub(crate) fn first(&self, most: usize) -> Self {
        Self(self.0.first(most))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = HeaderView<'a>> + use<'a> {
        self.0.iter().map(|header| HeaderView {
            key: header.key_text(),
            key_bytes: header.key,
            value: header.value,
        })
    }

    /// All of them, in order, with their keys as they were written: nobody looks whether those are text, which costs as much as all else that is
    /// done with a header.
    pub fn raw(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.0.iter().map(|header| (header.key, header.value))
    }

    /// Their values, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.iter().filter_map(|header| header.value)
    }

    /// The value of the last header with this key, which is the one that counts; `Some(None)` when that is null.
    pub fn get(&self, key: &str) -> Option<Option<&'a [u8]>> {
        self.0.get(key).map(|header| header.value)
    }
}

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|header| {
                (
                    header.key,
                    header.value.map(|value| value.escape_ascii().to_string()),
                )
            }))
            .finish()
    }
}

/// One header of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeaderView<'a> {
    /// Its key. Borrowed, unless it was no UTF-8 and had to be mended with replacement characters.
    pub key: Cow<'a, str>,
    /// Its key as it was written.
    pub key_bytes: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
}
