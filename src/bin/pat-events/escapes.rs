//! Escapes in texts of the command line, as kcat has them. In: `\t`. Out: the byte that it stands for.

/// What stands for what.
const LETTERS: [(char, u8); 6] = [
    ('n', b'\n'),
    ('r', b'\r'),
    ('t', b'\t'),
    ('0', 0),
    ('e', 0x1b),
    ('\\', b'\\'),
];

/// The bytes that a text with escapes says.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => bytes.push(escape(&mut characters)?),
            other => bytes.extend(other.to_string().as_bytes()),
        }
    }
    Ok(bytes)
}

/// A delimiter: at least one byte.
pub fn delimiter(text: &str) -> Result<Delimiter, String> {
    match unescape(text)? {
        bytes if bytes.is_empty() => Err("a delimiter has at least one character".to_owned()),
        bytes => Ok(Delimiter(bytes)),
    }
}

/// What stands between key and value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delimiter(pub Vec<u8>);

/// The byte that the characters after a `\` stand for.
pub fn escape(characters: &mut std::str::Chars<'_>) -> Result<u8, String> {
    let letter = characters
        .next()
        .ok_or_else(|| r"it ends in a \; write \\ for the sign itself".to_owned())?;
    if letter == 'x' {
        let ahead = characters.as_str();
        let digits = ahead
            .bytes()
            .take(2)
            .take_while(u8::is_ascii_hexdigit)
            .count();
        let (digits, rest) = ahead.split_at(digits);
        let byte = u8::from_str_radix(digits, 16);
        let shown: String = ahead.chars().take(2).collect();
        let byte = byte.map_err(|_| format!(r"\x{shown} is no byte in hex, such as \x1f"))?;
        *characters = rest.chars();
        return Ok(byte);
    }
    let found = LETTERS.iter().find(|(known, _)| *known == letter);
    found
        .map(|(_, byte)| *byte)
        .ok_or_else(|| format!(r"there is no \{letter}: there are \n \r \t \0 \e \\ \xHH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_stands_for_its_byte_and_text_for_itself() {
        for (text, bytes) in [
            (r"\n\r\t\0\e\\", &b"\n\r\t\0\x1b\\"[..]),
            (r"\x1f\xFF\x41B", b"\x1f\xffAB"),
            (r"\x9", b"\x09"),
            (r"\xaz", b"\x0az"),
            ("::", b"::"),
            ("é", "é".as_bytes()),
            (r"a\tb", b"a\tb"),
        ] {
            assert_eq!(unescape(text).as_deref(), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_escape_is_an_error_that_says_which_there_are() {
        assert!(unescape(r"\q").is_err_and(|error| error.contains(r"\xHH")));
        assert!(unescape(r"\").is_err_and(|error| error.contains(r"write \\")));
        assert!(unescape(r"\xzz").is_err_and(|error| error.contains(r"\xzz is no byte")));
        assert!(unescape(r"\xé").is_err());
        assert!(delimiter("").is_err());
        assert_eq!(delimiter(r"\t"), Ok(Delimiter(b"\t".to_vec())));
    }
}
