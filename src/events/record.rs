//! A record as it came: where it stood and what it holds, borrowed. In: what the consumer fetched. Out: what handlers look at.

use std::borrow::Cow;

use crate::kafka::consumer::Headers;

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
    Named(&'a [(&'a str, Option<&'a [u8]>)]),
    Raw(&'a [(&'a [u8], Option<&'a [u8]>)]),
    OfRecord(Headers<'a>),
}

impl<'a> RawHeaders<'a> {
    /// The headers in `headers`.
    pub fn new(headers: &'a [(&'a str, Option<&'a [u8]>)]) -> Self {
        Self(Form::Named(headers))
    }

    /// The same, by names as they were written.
    pub(crate) fn of_raw(headers: &'a [(&'a [u8], Option<&'a [u8]>)]) -> Self {
        Self(Form::Raw(headers))
    }

    /// The headers of a record that was fetched.
    pub(crate) fn of_record(headers: Headers<'a>) -> Self {
        Self(Form::OfRecord(headers))
    }

    /// All headers, in their order. A name is borrowed, unless it is no UTF-8 and had to be mended with replacement characters.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Option<&'a [u8]>)> + use<'a> {
        self.raw()
            .map(|(name, value)| (String::from_utf8_lossy(name), value))
    }

    /// All headers, in their order, with their names as they were written: nobody holds those who write them to UTF-8.
    pub fn raw(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (named, raw, headers) = match self.0 {
            Form::Named(named) => (named, &[][..], Headers::default()),
            Form::Raw(raw) => (&[][..], raw, Headers::default()),
            Form::OfRecord(headers) => (&[][..], &[][..], headers),
        };
        let named = named.iter().map(|(name, value)| (name.as_bytes(), *value));
        named.chain(raw.iter().copied()).chain(headers.raw())
    }

    /// As [`raw`](Self::raw), each value with the text that it is, if it is one.
    pub(crate) fn texts(
        &self,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>, Option<&'a str>)> + use<'a> {
        // Where all of it is text, the lengths' bytes included, what stands between two letters of it is, too, and need not be looked at again.
        let (bytes, all) = match self.0 {
            Form::OfRecord(headers) => {
                let (_, bytes) = headers.encoded();
                (bytes, std::str::from_utf8(bytes).ok())
            }
            Form::Named(_) | Form::Raw(_) => (&[][..], None),
        };
        self.raw().map(move |(name, value)| {
            let text = value.and_then(|value| match all {
                Some(all) => {
                    let begin = value.as_ptr() as usize - bytes.as_ptr() as usize;
                    all.get(begin..begin + value.len())
                }
                None => std::str::from_utf8(value).ok(),
            });
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

/// Headers as they stand in a record.
#[cfg(test)]
pub(crate) fn encoded<'h>(
    headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
) -> (u32, Vec<u8>) {
    use protocol::records::varint;
    let (mut count, mut out) = (0, Vec::new());
    for (name, value) in headers {
        count += 1;
        varint::put(&mut out, name.len() as i64);
        out.extend_from_slice(name);
        varint::put(&mut out, value.map_or(-1, |value| value.len() as i64));
        out.extend_from_slice(value.unwrap_or_default());
    }
    (count, out)
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
        fn headers_come_back_in_their_order_in_every_form(
            headers in prop_oneof![headers(any::<u8>().boxed()), headers((b'a'..=b'z').boxed())]
        ) {
            let raw: Vec<_> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            let (count, bytes) = encoded(raw.iter().copied());
            let mended: Vec<_> = headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
            let expected: Vec<_> = raw
                .iter()
                .map(|(name, value)| (*name, *value, value.and_then(|value| std::str::from_utf8(value).ok())))
                .collect();
            for form in [RawHeaders::of_raw(&raw), RawHeaders::of_record(Headers::of_encoded(count, &bytes))] {
                prop_assert_eq!(&form.raw().collect::<Vec<_>>(), &raw);
                prop_assert_eq!(&form.iter().map(|(name, _)| name).collect::<Vec<_>>(), &mended);
                prop_assert_eq!(&form.texts().collect::<Vec<_>>(), &expected);
            }
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
