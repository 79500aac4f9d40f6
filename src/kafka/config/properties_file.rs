//! Files of properties, in the syntax of Java's `.properties`, as Kafka's own tools and kcat take them. In: a path or a text. Out: names and
//! values, in order, each with its line.

use std::fmt;
use std::iter::Peekable;
use std::path::Path;
use std::str::Chars;

use zeroize::{Zeroize, Zeroizing};

use super::{Secret, read_bounded};
use crate::kafka::model::names::quoted;
use crate::kafka::{Error, ErrorKind, Result};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// The settings of a file of properties.
///
/// The syntax is that of Java's `Properties.load`: a line `name=value`, `name:value` or `name value`; comments begin with `#` or `!`; a line that ends
/// with a backslash goes on in the next; `\t`, `\n`, `\r`, `\f`, `\uXXXX` and a backslash before any other letter are escapes. Spaces after
/// a value belong to it. Text is UTF-8; a file that is none is read as Latin-1, as Java reads all.
#[derive(Clone)]
pub struct PropertiesFile {
    /// How errors call it.
    name: String,
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    line: usize,
    name: String,
    value: Secret,
}

impl PropertiesFile {
    /// Reads the file at `path`. Blocks.
    ///
    /// Fails with [`ErrorKind::Config`] when it cannot be read, or a line is none, and names the file and the line.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = read_bounded(path, LONGEST).map_err(|error| {
            let message = format!("the file of properties {} cannot be read", quoted(&name));
            Error::new(ErrorKind::Config, message).because(error)
        })?;
        let bytes = bytes.ok_or_else(|| {
            let message = format!("{name}: it is longer than the {LONGEST} bytes that are read");
            Error::new(ErrorKind::Config, message)
        })?;
        let text = match std::str::from_utf8(&bytes) {
            Ok(text) => Zeroizing::new(text.to_string()),
            Err(_) => Zeroizing::new(bytes.iter().map(|byte| char::from(*byte)).collect()),
        };
        Self::parse(name, &text)
    }

    /// Reads `text`; `name` is what errors call it.
    pub fn parse(name: impl Into<String>, text: &str) -> Result<Self> {
        let name = name.into();
        let mut entries = Vec::new();
        for (line, logical) in logical_lines(text) {
            let entry = entry(line, &logical).ok_or_else(|| {
                let message = format!("{name}:{line}: \\u needs four hexadecimal digits after it");
                Error::new(ErrorKind::Config, message)
            })?;
            entries.push(entry);
        }
        Ok(Self { name, entries })
    }

    /// Hands each name and value to `set`, in the order of the file. An error of it gets the file and the line in front, and ends it.
    pub fn each(&self, mut set: impl FnMut(&str, &str) -> Result<()>) -> Result<()> {
        for Entry { line, name, value } in &self.entries {
            let place = format!("{}:{line}", self.name);
            if !is_name(name) {
                // A key that was pasted in several lines looks like this.
                let message = format!(
                    "{place}: this is the name of no option, and is not shown: where a value goes on, the line before must end with a backslash"
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
            set(name, value.reveal()).map_err(|error| error.prefixed(&place))?;
        }
        Ok(())
    }
}

/// Shows names, never values.
impl fmt::Debug for PropertiesFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.entries.iter().map(|entry| &entry.name);
        let names: Vec<_> = names.filter(|name| is_name(name)).collect();
        f.debug_struct("PropertiesFile")
            .field("name", &self.name)
            .field("names", &names)
            .finish()
    }
}

/// Whether it looks like the name of an option: what does not may be a secret that slipped from its place.
fn is_name(text: &str) -> bool {
    let is_letter = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"._-".contains(&it);
    let is_long = text.len() > 24 && !text.contains('.');
    !is_long && text.len() <= 100 && text.bytes().all(is_letter)
}

/// The lines that say something, each joined with those that it goes on in, by the number of the first.
fn logical_lines(text: &str) -> Vec<(usize, Zeroizing<String>)> {
    let mut lines: Vec<(usize, Zeroizing<String>)> = Vec::new();
    let mut goes_on = false;
    // Whatever ends a line: \n, \r\n, and \r alone.
    let natural = text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r')
    });
    for (index, natural) in natural.enumerate() {
        let line = natural.trim_start_matches([' ', '\t', '\x0c']);
        if !goes_on && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.len() - line.trim_end_matches('\\').len();
        let ends_open = backslashes % 2 == 1;
        let part = if ends_open {
            &line[..line.len() - 1]
        } else {
            line
        };
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, begun)) => push(begun, part),
            None => lines.push((index + 1, Zeroizing::new(part.to_string()))),
        }
        goes_on = ends_open;
    }
    lines
}

/// Appends without leaving a copy behind where the text moves to.
fn push(text: &mut Zeroizing<String>, more: &str) {
    if text.capacity() - text.len() < more.len() {
        let mut longer = String::with_capacity((text.len() + more.len()) * 2);
        longer.push_str(text);
        std::mem::swap(&mut **text, &mut longer);
        longer.zeroize();
    }
    text.push_str(more);
}

/// Name and value; `None` when an escape is none.
fn entry(line: usize, text: &str) -> Option<Entry> {
    let mut letters = text.chars().peekable();
    let is_space = |letter: &char| matches!(letter, ' ' | '\t' | '\x0c');
    let name = unescaped(&mut letters, text.len(), |letter| {
        is_space(&letter) || letter == '=' || letter == ':'
    })?;
    while letters.next_if(is_space).is_some() {}
    if letters
        .next_if(|letter| matches!(letter, '=' | ':'))
        .is_some()
    {
        while letters.next_if(is_space).is_some() {}
    }
    let value = unescaped(&mut letters, text.len(), |_| false)?;
    Some(Entry {
        line,
        name,
        value: Secret::new(value),
    })
}

/// What stands up to the letter that `ends` it, escapes resolved; it takes at most `most` bytes.
fn unescaped(
    letters: &mut Peekable<Chars<'_>>,
    most: usize,
    ends: impl Fn(char) -> bool,
) -> Option<String> {
    // Room from the start: a text that moves would leave copies of a secret behind.
    let mut text = String::with_capacity(most);
    // The first half of a pair that stands for one letter, as Java writes those beyond 16 bits.
    let mut high: Option<u16> = None;
    while let Some(letter) = letters.next_if(|letter| !ends(*letter)) {
        let letter = match letter {
            '\\' => match letters.next() {
                None => break,
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some('u') => {
                    let mut unit = 0;
                    for _ in 0..4 {
                        unit = unit << 4 | letters.next()?.to_digit(16)?;
                    }
                    let unit = u16::try_from(unit).ok()?;
                    let units = high.take().into_iter().chain([unit]);
                    match char::decode_utf16(units).next()? {
                        Ok(letter) => letter,
                        Err(_) if (0xd800..0xdc00).contains(&unit) => {
                            high = Some(unit);
                            continue;
                        }
                        Err(_) => char::REPLACEMENT_CHARACTER,
                    }
                }
                Some(letter) => letter,
            },
            letter => letter,
        };
        text.push(letter);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{ClientConfig, ProducerConfig};

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let file = PropertiesFile::parse("f", text).expect("a file");
        let entries = file.entries.into_iter();
        entries
            .map(|it| (it.line, it.name, it.value.reveal().to_string()))
            .collect()
    }

    /// What `java.util.Properties` makes of the same text.
    #[test]
    fn the_syntax_is_javas() {
        let text = "# a comment \\\n! another\n\n  \t\na=1\n b : 2\nc 3\nd\ne==5\nf= 6 \\\n   # no comment\\\\\ng\\=\\:\\ h=\\u00e4\\t\\q\\\\\\\n\
                    \n\\ud83d\\ude00=x\r\nlast = \\\r\n  end";
        let expected = [
            (5, "a", "1"),
            (6, "b", "2"),
            (7, "c", "3"),
            (8, "d", ""),
            (9, "e", "=5"),
            (10, "f", "6 # no comment\\"),
            (12, "g=: h", "\u{e4}\tq\\"),
            (14, "\u{1f600}", "x"),
            (15, "last", "end"),
        ];
        let expected =
            expected.map(|(line, name, value)| (line, name.to_string(), value.to_string()));
        assert_eq!(pairs(text), expected);
        assert_eq!(pairs("a=b\\"), [(1, "a".to_string(), "b".to_string())]);
        assert_eq!(pairs("a=1\r b=2\r").len(), 2);
    }

    #[test]
    fn an_error_names_file_and_line_and_shows_no_secret() {
        for (text, expected) in [
            (
                "\nclient.idd=x",
                "f:2: there is no option \"client.idd\"; did you mean client.id?",
            ),
            (
                "request.timeout.ms=soon",
                "f:1: request.timeout.ms = \"soon\" is not allowed: ",
            ),
            ("a=\\u12x4", "f:1: \\u needs four"),
            (
                "sasl.jaas.config=hunter2",
                "f:1: sasl.jaas.config = [hidden] is not allowed",
            ),
            (
                "ssl.keystore.key=-----BEGIN PRIVATE KEY-----\nMhunter2",
                "f:2: this is",
            ),
            (
                "ssl.key.location=-----BEGIN PRIVATE KEY-----\\nMhunter2",
                "f:1: ssl.key.location = [hidden] is not",
            ),
            (
                "client.id=a\nMhunter2+/=",
                "f:2: this is the name of no option, and is not shown",
            ),
        ] {
            let file = PropertiesFile::parse("f", text);
            let set = |file: PropertiesFile| {
                let mut config = ClientConfig::default();
                file.each(|name, value| config.set(name, value))?;
                Ok(format!("{file:?} {config:?}"))
            };
            let shown = match file.and_then(set) {
                Ok(shown) => shown,
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with(expected), "{error}");
                    error
                }
            };
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_file_for_all_clients_serves_each() {
        let path =
            std::env::temp_dir().join(format!("pat-events-{}.properties", std::process::id()));
        std::fs::write(&path, b"linger.ms=7\ngroup.id=g\nsasl.username=J\xf6rg\n")
            .expect("written");
        let config = ProducerConfig::from_properties_file(&path);
        std::fs::remove_file(&path).expect("removed");
        let config = config.expect("a producer's");
        assert_eq!(config.linger.as_millis(), 7);
        let sasl = &config.client.security.sasl;
        assert_eq!(sasl.login.username.as_deref(), Some("J\u{f6}rg"));
        let error = ProducerConfig::from_properties_file(&path).expect_err("it is gone");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
