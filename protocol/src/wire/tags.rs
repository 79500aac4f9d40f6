//! Tagged fields (KIP-482): optional fields at the end of every structure of a flexible version.
//!
//! Fields with a tag that the tables do not know are kept as they came, and written back in their place.

use bytes::Bytes;

use super::encoder::uvarint_size;
use super::{DecodeError, Decoder, EncodeError, Encoder};

/// Fields with unknown tags, in ascending order of their tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaggedFields(Vec<(u32, Bytes)>);

impl TaggedFields {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tag and bytes, in ascending order of the tags.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Bytes)> {
        self.0.iter().map(|(tag, bytes)| (*tag, bytes))
    }

    /// Sets the field of this tag.
    pub fn insert(&mut self, tag: u32, bytes: Bytes) {
        match self.0.binary_search_by_key(&tag, |field| field.0) {
            Ok(at) => self.0[at].1 = bytes,
            Err(at) => self.0.insert(at, (tag, bytes)),
        }
    }

    /// Bytes that the unknown fields take, without the count before them.
    pub(crate) fn size(&self) -> usize {
        self.0
            .iter()
            .map(|(tag, bytes)| field_size(*tag, bytes.len()))
            .sum()
    }
}

/// Bytes that a tagged field takes: tag, length, content.
#[inline(never)]
pub(crate) fn field_size(tag: u32, content: usize) -> usize {
    uvarint_size(tag) + uvarint_size(content as u32) + content
}

/// Writes the tagged section of a structure: known fields in ascending order, the unknown ones in between.
pub(crate) struct TagWriter<'a> {
    unknown: &'a [(u32, Bytes)],
}

impl<'a> TagWriter<'a> {
    /// Writes how many fields follow: `known` ones and the unknown ones.
    #[inline]
    pub(crate) fn new(out: &mut Encoder, known: usize, unknown: &'a TaggedFields) -> Self {
        out.put_uvarint((known + unknown.len()) as u32);
        Self {
            unknown: &unknown.0,
        }
    }

    /// Writes the tag and length of a known field; its content follows.
    #[inline(never)]
    pub(crate) fn start(
        &mut self,
        out: &mut Encoder,
        tag: u32,
        content: usize,
        version: i16,
    ) -> Result<(), EncodeError> {
        let before = self.unknown.partition_point(|field| field.0 < tag);
        let (first, rest) = self.unknown.split_at(before);
        write_all(out, first);
        self.unknown = rest;
        if rest.first().is_some_and(|field| field.0 == tag) {
            return Err(EncodeError::new(
                version,
                "an unknown tagged field has the tag of this one",
            ));
        }
        out.put_uvarint(tag);
        out.put_uvarint(content as u32);
        Ok(())
    }

    /// Writes the unknown fields after the last known one.
    #[inline]
    pub(crate) fn finish(self, out: &mut Encoder) {
        write_all(out, self.unknown);
    }
}

fn write_all(out: &mut Encoder, fields: &[(u32, Bytes)]) {
    for (tag, bytes) in fields {
        out.put_uvarint(*tag);
        out.put_uvarint(bytes.len() as u32);
        out.put_bytes(bytes);
    }
}

/// Reads the tagged section of a structure: checks the order of the tags and the length of each field.
pub(crate) struct TagReader {
    left: u32,
    next: u32,
    end: usize,
}

impl TagReader {
    /// Reads how many fields follow.
    #[inline]
    pub(crate) fn new(input: &mut Decoder) -> Result<Self, DecodeError> {
        let left = input.get_uvarint()?;
        if left as usize > input.remaining() {
            return Err(input.malformed("a number of tagged fields within the remaining bytes"));
        }
        Ok(Self {
            left,
            next: 0,
            end: input.position(),
        })
    }

    /// The tag of the next field, whose content the decoder is at; `None` after the last one.
    #[inline]
    pub(crate) fn next(&mut self, input: &mut Decoder) -> Result<Option<u32>, DecodeError> {
        if self.left == 0 {
            self.check_end(input).map(|()| None)
        } else {
            self.read_tag(input).map(Some)
        }
    }

    #[inline(never)]
    fn read_tag(&mut self, input: &mut Decoder) -> Result<u32, DecodeError> {
        self.check_end(input)?;
        let tag = input.get_uvarint()?;
        if tag < self.next || tag == u32::MAX {
            return Err(input.malformed("tags in ascending order"));
        }
        let length = input.get_uvarint()? as usize;
        if length > input.remaining() {
            return Err(input.malformed("a tagged field within the remaining bytes"));
        }
        (self.left, self.next, self.end) = (self.left - 1, tag + 1, input.position() + length);
        Ok(tag)
    }

    /// Keeps the field that the decoder is at.
    #[inline(never)]
    pub(crate) fn keep(
        &self,
        input: &mut Decoder,
        tag: u32,
        unknown: &mut TaggedFields,
    ) -> Result<(), DecodeError> {
        let content = input.take(self.end - input.position())?;
        unknown.0.push((tag, content));
        Ok(())
    }

    #[inline]
    fn check_end(&self, input: &Decoder) -> Result<(), DecodeError> {
        if input.position() == self.end {
            Ok(())
        } else {
            Err(input.malformed("a tagged field of the length it declares"))
        }
    }
}
