//! What a codec sees of a record.

use crate::events::RawHeaders;

/// The encoded event, and what may say how it is encoded. Borrowed from the record.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Payload<'a> {
    /// The record's value.
    pub data: &'a [u8],
    /// The `content-type` that came with it, parameters included; `None` when there is none.
    pub content_type: Option<&'a str>,
    /// The topic that it was read from; empty where it came from none.
    pub topic: &'a str,
    /// All headers of the record.
    pub headers: RawHeaders<'a>,
}

impl<'a> Payload<'a> {
    /// `data` alone, from no record: without headers, of the codec's own content type.
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            content_type: None,
            topic: "",
            headers: RawHeaders::new(&[]),
        }
    }
}
