//! The subject of a certificate as Java writes it (RFC 2253): `CN=alice,O=Example,C=DE`. In: DER, of a certificate that was found to be good.

/// Names of attributes; others are written by their number.
const KEYWORDS: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];
/// Letters that would end a value.
const SPECIAL: &str = ",=+<>#;\"\\";

const INTEGER: u8 = 0x02;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// The certificate's version, which the oldest do not have.
const VERSION: u8 = 0xa0;
/// UTF-8, printable, Teletex and ASCII strings.
const TEXTS: [u8; 4] = [0x0c, 0x13, 0x14, 0x16];

/// Whose certificate it is; nothing if it is none.
pub(crate) fn subject(certificate: &[u8]) -> Option<String> {
    let mut certificate = Der(certificate);
    let mut fields = Der(Der(certificate.take(SEQUENCE)?).take(SEQUENCE)?);
    let _ = fields.take(VERSION);
    fields.take(INTEGER)?;
    // Its algorithm, who has signed it, and from when to when it is good.
    (0..3).try_for_each(|_| fields.take(SEQUENCE).map(|_| ()))?;
    let mut name = Der(fields.take(SEQUENCE)?);
    let mut parts = Vec::new();
    while !name.0.is_empty() {
        let mut set = Der(name.take(SET)?);
        let mut attributes = Vec::new();
        while !set.0.is_empty() {
            attributes.push(attribute(set.take(SEQUENCE)?)?);
        }
        parts.push(attributes.join("+"));
    }
    // The last comes first.
    parts.reverse();
    Some(parts.join(","))
}

fn attribute(der: &[u8]) -> Option<String> {
    let mut der = Der(der);
    let id = object_id(der.take(OBJECT_ID)?);
    let whole = der.0;
    let (tag, value) = der.next()?;
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == id);
    let text = std::str::from_utf8(value).ok();
    Some(match (keyword, text) {
        (Some((_, keyword)), Some(text)) if TEXTS.contains(&tag) => {
            format!("{keyword}={}", escaped(text))
        }
        _ => {
            let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
            format!(
                "{}=#{hex}",
                keyword.map_or(id.as_str(), |(_, keyword)| keyword)
            )
        }
    })
}

fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut escaped = String::new();
    for (index, letter) in text.chars().enumerate() {
        let is_edge = letter == ' ' && (index == 0 || index == last);
        if SPECIAL.contains(letter) || is_edge {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn object_id(der: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for byte in der {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    // The first two are one.
    if let Some(first) = numbers.first_mut() {
        let root = (*first / 40).min(2);
        *first -= root * 40;
        numbers.insert(0, root);
    }
    let numbers: Vec<_> = numbers.iter().map(u64::to_string).collect();
    numbers.join(".")
}

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next value, if it is of this kind.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, value)| value)
    }

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let [tag, length, rest @ ..] = self.0 else {
            return None;
        };
        let (length, rest) = match *length {
            short @ ..0x80 => (usize::from(short), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                let significant = bytes.len() <= 4;
                let length = bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte));
                (significant.then_some(length)?, rest)
            }
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, value: &[u8]) -> Vec<u8> {
        match u8::try_from(value.len()) {
            Ok(length) if length < 0x80 => [&[tag, length], value].concat(),
            Ok(length) => [&[tag, 0x81, length], value].concat(),
            Err(_) => {
                let length = u16::try_from(value.len()).expect("short").to_be_bytes();
                [&[tag, 0x82], &length[..], value].concat()
            }
        }
    }

    fn attribute(id: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        der(SEQUENCE, &[der(OBJECT_ID, id), der(tag, value)].concat())
    }

    fn certificate(version: bool, name: &[Vec<u8>]) -> Vec<u8> {
        let version = match version {
            true => der(VERSION, &der(INTEGER, &[2])),
            false => Vec::new(),
        };
        let name: Vec<u8> = name.iter().flat_map(|part| der(SET, part)).collect();
        let fields = [
            version,
            der(INTEGER, &[1]),
            der(SEQUENCE, &[0; 200]),
            der(SEQUENCE, b"issuer"),
            der(SEQUENCE, b"from to"),
            der(SEQUENCE, &name),
            der(SEQUENCE, &[0; 300]),
        ];
        der(SEQUENCE, &der(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn names_are_written_as_java_does() {
        let common_name = |tag, value: &[u8]| attribute(&[0x55, 4, 3], tag, value);
        let organisation = attribute(&[0x55, 4, 10], 0x13, b"Example, Inc.");
        for version in [true, false] {
            let name = [
                organisation.clone(),
                common_name(0x0c, "\u{e4} b ".as_bytes()),
            ];
            let subject = subject(&certificate(version, &name));
            assert_eq!(subject.as_deref(), Some("CN=\u{e4} b\\ ,O=Example\\, Inc."));
        }
        let email = attribute(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], 0x16, b"a@b");
        let both = [common_name(0x0c, b"alice"), email].concat();
        let subject = subject(&certificate(true, &[both]));
        let expected = "CN=alice+1.2.840.113549.1.9.1=#1603614062";
        assert_eq!(subject.as_deref(), Some(expected));
    }

    #[test]
    fn what_is_cut_off_is_no_certificate() {
        let whole = certificate(true, &[attribute(&[0x55, 4, 3], 0x0c, b"alice")]);
        assert_eq!(subject(&whole).as_deref(), Some("CN=alice"));
        for end in 0..whole.len() {
            assert_eq!(subject(&whole[..end]), None, "{end}");
        }
        assert_eq!(subject(&[SEQUENCE, 0xff]), None);
    }
}
