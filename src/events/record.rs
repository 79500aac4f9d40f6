//! A record as it came: where it stood and what it holds, borrowed. In: what the consumer fetched. Out: what handlers look at.

use std::borrow::Cow;

/// A record as it came, untouched.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RawRecord<'a> {
    /// The topic that it was read from.
    pub topic: &'a str,
    /// The partition that it was read from.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Its timestamp in milliseconds since 1970: of its making or of its arrival, as the topic says; -1 when it has none.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, in their order.
    pub headers: RawHeaders<'a>,
}

impl<'a> RawRecord<'a> {
    /// A record that stood there, with nothing in it and no timestamp: for tests of handlers, which fill it.
    pub fn new(topic: &'a str, partition: i32, offset: i64) -> Self {
        Self {
            topic,
            partition,
            offset,
            timestamp_ms: -1,
            key: None,
            value: None,
            headers: RawHeaders::new(&[]),
        }
    }
}

/// The headers of a record, in their order; names may repeat.
#[derive(Clone, Copy, Debug)]
pub struct RawHeaders<'a>(Form<'a>);

#[derive(Clone, Copy, Debug)]
enum Form<'a> {
    Slice(&'a [(&'a str, Option<&'a [u8]>)]),
    Packed(&'a [u8]),
}

impl<'a> RawHeaders<'a> {
    /// The headers in `headers`.
    pub fn new(headers: &'a [(&'a str, Option<&'a [u8]>)]) -> Self {
        Self(Form::Slice(headers))
    }

    /// The headers that [`pack_header`] appended to `bytes`.
    pub(crate) fn packed(bytes: &'a [u8]) -> Self {
        Self(Form::Packed(bytes))
    }

    /// All headers, in their order. A name is borrowed, unless it is no UTF-8 and had to be mended with replacement characters.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> + use<'a> {
        self.raw()
            .map(|(name, value)| (String::from_utf8_lossy(name), value))
    }

    /// All headers, in their order, with their names as they were written: nobody holds those who write them to UTF-8.
    pub fn raw(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (slice, mut packed) = match self.0 {
            Form::Slice(slice) => (slice, &[][..]),
            Form::Packed(packed) => (&[][..], packed),
        };
        slice
            .iter()
            .map(|(name, value)| (name.as_bytes(), *value))
            .chain(std::iter::from_fn(move || unpack_header(&mut packed)))
    }

    /// As [`raw`](Self::raw), each value with the text that it is, if it is one.
    pub(crate) fn texts(
        &self,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Option<&'a str>)> + use<'a> {
        // Where all of it is text, the lengths' bytes included, what stands between two letters of it is, too, and need not be looked at again.
        let all = match self.0 {
            Form::Packed(packed) => std::str::from_utf8(packed).ok(),
            Form::Slice(_) => None,
        };
        let mut at = 0;
        self.raw().map(move |(name, value)| {
            let Some(all) = all else {
                let text = value.and_then(|value| std::str::from_utf8(value).ok());
                return (name, value, text);
            };
            let begin = at + 2 * size_of::<u32>() + name.len();
            at = begin + value.map_or(0, <[u8]>::len);
            let text = value.and_then(|_| all.get(begin..at));
            (name, value, text)
        })
    }

    /// The value of the first header called `name`; `None` when there is none or its value is null.
    pub(crate) fn first(&self, name: &str) -> Option<&'a [u8]> {
        let mut headers = self.raw();
        headers.find(|(key, _)| *key == name.as_bytes())?.1
    }

    /// The value of the last header called `name`; `None` when there is none or its value is null.
    pub fn last(&self, name: &str) -> Option<&'a [u8]> {
        self.raw()
            .filter(|(key, _)| *key == name.as_bytes())
            .last()
            .and_then(|(_, value)| value)
    }
}

/// Marks a null value where a length would stand.
const NULL: u32 = u32::MAX;

/// Appends a header in the form that [`RawHeaders::packed`] reads: lengths of name and value, name, value.
pub(crate) fn pack_header(out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>) {
    // Both lengths come out of a frame, which is shorter than 2 GiB.
    let value_len = value.map_or(NULL, |value| value.len() as u32);
    out.extend_from_slice(&(name.len() as u32).to_ne_bytes());
    out.extend_from_slice(&value_len.to_ne_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(value.unwrap_or_default());
}

fn unpack_header<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let name_len = u32::from_ne_bytes(*bytes.split_off(..4)?.first_chunk()?);
    let value_len = u32::from_ne_bytes(*bytes.split_off(..4)?.first_chunk()?);
    let name = bytes.split_off(..name_len as usize)?;
    let value = match value_len {
        NULL => None,
        len => Some(bytes.split_off(..len as usize)?),
    };
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Headers of such bytes.
    fn headers(bytes: BoxedStrategy<u8>) -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
        let name = prop::collection::vec(bytes.clone(), 0..9);
        let value = prop::option::weighted(0.9, prop::collection::vec(bytes, 0..150));
        prop::collection::vec((name, value), 0..9)
    }

    proptest! {
        #[test]
        fn packed_headers_come_back_in_their_order(
            headers in prop_oneof![headers(any::<u8>().boxed()), headers((b'a'..=b'z').boxed())]
        ) {
            let mut packed = Vec::new();
            for (name, value) in &headers {
                pack_header(&mut packed, name, value.as_deref());
            }
            let unpacked: Vec<_> = RawHeaders::packed(&packed)
                .raw()
                .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                .collect();
            let mended: Vec<_> = headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
            let names: Vec<_> = RawHeaders::packed(&packed).iter().map(|(name, _)| name).collect();
            let texts: Vec<_> = RawHeaders::packed(&packed)
                .texts()
                .map(|(name, value, text)| (name.to_vec(), value.map(<[u8]>::to_vec), text.map(str::to_string)))
                .collect();
            let expected: Vec<_> = headers
                .iter()
                .map(|(name, value)| {
                    let text = value.as_ref().and_then(|value| std::str::from_utf8(value).ok());
                    (name.clone(), value.clone(), text.map(str::to_string))
                })
                .collect();
            prop_assert_eq!(texts, expected);
            prop_assert_eq!(names, mended);
            prop_assert_eq!(unpacked, headers);
        }
    }

    #[test]
    fn the_last_of_several_headers_with_one_name_counts() {
        let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b"2"))];
        let headers = RawHeaders::new(&headers);
        assert_eq!(headers.last("a"), Some(&b"2"[..]));
        assert_eq!(headers.last("b"), None);
        assert_eq!(headers.last("c"), None);
    }
}
