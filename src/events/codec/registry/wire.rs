//! Ids in front of the data (magic 0, four bytes of id, and for Protobuf the message's place in its file), or in a header (magic 1, sixteen
//! bytes of GUID, and the same place).

use protocol::records::varint;

use super::schema::Guid;
use crate::events::RawHeaders;

/// Where ids by header are.
pub(super) const HEADER: &str = "__value_schema_id";
const BY_ID: u8 = 0;
const BY_GUID: u8 = 1;
/// How deep a message can stand in others: more is no place of one.
const DEEPEST: usize = 32;

/// Which schema something was written by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SchemaKey {
    Id(u32),
    Guid(Guid),
}

/// Which schema the data was written by, and what comes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Framed<'a> {
    pub key: SchemaKey,
    /// What stands in the header after the key; `None` when the key stands in front of the data.
    header: Option<&'a [u8]>,
    data: &'a [u8],
}

impl<'a> Framed<'a> {
    /// Where in its file the message stands, encoded, and the data: once it is known whether the schema is one of Protobuf, for only there
    /// something stands between. `None`: it is cut off.
    pub fn split(self, is_protobuf: bool) -> Option<(&'a [u8], &'a [u8])> {
        let mut data = self.data;
        match (is_protobuf, self.header) {
            (false, _) => Some((&[], data)),
            (true, Some([])) => Some((&[0], data)),
            (true, Some(mut header)) => Some((place(&mut header)?, data)),
            (true, None) => Some((place(&mut data)?, data)),
        }
    }

    /// The name of a message, without its package, and the data: as Apicurio's serializers of Protobuf write it where Confluent's have the
    /// message's place (a message with the name as its field 1, behind its length). `None`: it is written otherwise.
    pub fn split_named(self) -> Option<(&'a str, &'a [u8])> {
        const FIELD_1: u8 = 0x0A;
        let mut data = self.data;
        let len = *data.split_off_first()?;
        let mut named = data.split_off(..usize::from(len))?;
        let is_name = self.header.is_none()
            && len < 0x80
            && named.split_off_first() == Some(&FIELD_1)
            && named.split_off_first().map(|len| usize::from(*len)) == Some(named.len());
        let name = std::str::from_utf8(named).ok().filter(|_| is_name)?;
        Some((name, data))
    }
}

/// The frame of data, in front of it or in a header. `None`: there is none, or it is cut off.
pub(super) fn framed<'a>(headers: RawHeaders<'a>, data: &'a [u8]) -> Option<Framed<'a>> {
    if let Some(mut header) = headers.last(HEADER) {
        let key = key(&mut header)?;
        return Some(Framed {
            key,
            header: Some(header),
            data,
        });
    }
    prefixed(data)
}

/// The frame in front of data.
pub(super) fn prefixed(mut data: &[u8]) -> Option<Framed<'_>> {
    let key = key(&mut data).filter(|key| matches!(key, SchemaKey::Id(_)))?;
    let header = None;
    Some(Framed { key, header, data })
}

fn key(bytes: &mut &[u8]) -> Option<SchemaKey> {
    match *bytes.split_off_first()? {
        BY_ID => Some(SchemaKey::Id(u32::from_be_bytes(
            *bytes.split_off(..4)?.first_chunk()?,
        ))),
        BY_GUID => Some(SchemaKey::Guid(Guid(
            *bytes.split_off(..16)?.first_chunk()?,
        ))),
        _ => None,
    }
}

/// Zig-zag varints: their number, and each; a single 0 for the first message of the file.
fn place<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *bytes;
    let count = index(bytes)?;
    if count as usize > DEEPEST {
        return None;
    }
    for _ in 0..count {
        index(bytes)?;
    }
    Some(&all[..all.len() - bytes.len()])
}

/// What [`Framed::place`] says.
pub(super) fn indexes(mut place: &[u8]) -> Option<Vec<u32>> {
    match index(&mut place)? {
        0 => Some(vec![0]),
        count => (0..count).map(|_| index(&mut place)).collect(),
    }
}

/// A number that is none below zero, of five bytes at the most.
fn index(bytes: &mut &[u8]) -> Option<u32> {
    let before = bytes.len();
    let number = varint::take(bytes)?;
    let is_short = before - bytes.len() <= 5;
    u32::try_from(number).ok().filter(|_| is_short)
}

/// What goes in front of the data.
pub(super) fn prefix(id: u32, indexes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![BY_ID];
    bytes.extend_from_slice(&id.to_be_bytes());
    write_indexes(indexes, &mut bytes);
    bytes
}

/// What goes into the header.
pub(super) fn header(guid: Guid, indexes: &[u32]) -> Vec<u8> {
    let mut bytes = vec![BY_GUID];
    bytes.extend_from_slice(&guid.0);
    write_indexes(indexes, &mut bytes);
    bytes
}

fn write_indexes(indexes: &[u32], out: &mut Vec<u8>) {
    match indexes {
        [] => {}
        [0] => out.push(0),
        _ => {
            for number in [indexes.len() as u32].iter().chain(indexes) {
                varint::put(out, i64::from(*number));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_message_of_a_file_is_a_single_zero() {
        assert_eq!(prefix(7, &[0]), [0, 0, 0, 0, 7, 0]);
        assert_eq!(prefix(7, &[1]), [0, 0, 0, 0, 7, 2, 2]);
        assert_eq!(prefix(7, &[2, 1]), [0, 0, 0, 0, 7, 4, 4, 2]);
        assert_eq!(prefix(0x0102_0304, &[]), [0, 1, 2, 3, 4]);
        let none = RawHeaders::new(&[]);
        let read = framed(none, &[0, 0, 0, 0, 7, 0, 42]).expect("framed");
        assert_eq!(read.key, SchemaKey::Id(7));
        assert_eq!(read.split(true), Some((&[0][..], &[42][..])));
        assert_eq!(read.split(false), Some((&[][..], &[0, 42][..])));
        assert_eq!(indexes(&[0]), Some(vec![0]));
        for not_framed in [&[][..], &[0, 0, 0, 0], &[2, 0, 0, 0, 7], &[1, 0, 0, 0, 7]] {
            assert_eq!(framed(none, not_framed), None, "{not_framed:?}");
        }
        // Cut off, and as many indexes as there are numbers.
        for place in [&[0x80][..], &[0xfe, 0xff, 0xff, 0xff, 0x0f], &[4, 0], &[1]] {
            let bytes = [&[0, 0, 0, 0, 7][..], place].concat();
            assert_eq!(framed(none, &bytes).expect("framed").split(true), None);
        }
    }

    #[test]
    fn a_message_may_be_named_as_apicurio_does_it() {
        let none = RawHeaders::new(&[]);
        let named = |bytes: &'static [u8]| framed(none, bytes).expect("framed").split_named();
        assert_eq!(
            named(b"\0\0\0\0\x07\x05\x0a\x03Sentdata"),
            Some(("Sen", &b"tdata"[..]))
        );
        assert_eq!(
            named(b"\0\0\0\0\x07\x06\x0a\x04Sent"),
            Some(("Sent", &b""[..]))
        );
        for other in [
            &b"\0\0\0\0\x07"[..],
            b"\0\0\0\0\x07\0data",
            b"\0\0\0\0\x07\x06\x0a\x03Sent",
            b"\0\0\0\0\x07\x06\x12\x04Sent",
            b"\0\0\0\0\x07\x07\x0a\x04Sent",
            b"\0\0\0\0\x07\x04\x0a\x02\xff\xff",
        ] {
            assert_eq!(named(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_framed_is_found(id: u32, guid: [u8; 16], indexes in prop::collection::vec(0..1_000_u32, 1..5), data: Vec<u8>) {
            let found = |read: Framed<'_>| {
                let (place, data) = read.split(true).expect("whole");
                (read.key, super::indexes(place), data.to_vec())
            };
            let bytes = [prefix(id, &indexes), data.clone()].concat();
            let read = framed(RawHeaders::new(&[]), &bytes).expect("framed");
            prop_assert_eq!(found(read), (SchemaKey::Id(id), Some(indexes.clone()), data.clone()));
            let value = header(Guid(guid), &indexes);
            let headers = [(HEADER, Some(&value[..]))];
            let read = framed(RawHeaders::new(&headers), &data).expect("framed");
            prop_assert_eq!(found(read), (SchemaKey::Guid(Guid(guid)), Some(indexes), data));
        }

        #[test]
        fn any_bytes_are_framed_or_not(data: Vec<u8>, header: Vec<u8>) {
            let headers = [(HEADER, Some(&header[..]))];
            for read in [framed(RawHeaders::new(&headers), &data), framed(RawHeaders::new(&[]), &data)] {
                let _ = read.and_then(|read| read.split(true));
                let _ = read.and_then(|read| read.split_named());
            }
        }
    }
}
