//! Records made by a template. In: `{"n":{{n}},"at":"{{now}}"}`. Out: its text for each record.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::times;

/// A text with places that are filled in for each record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// How many records there were, with this one.
    Number,
    /// The line of the input.
    Line,
    /// The time, as RFC 3339 has it.
    Now,
    NowMs,
    Uuid,
    /// A whole number from the first to the second.
    Random(i64, i64),
}

const KNOWN: &str = "{{n}}, {{line}}, {{now}}, {{now_ms}}, {{uuid}}, {{random 1 100}}";

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after
                .split_once("}}")
                .ok_or_else(|| format!("a {{{{ has no }}}} after it; there are {KNOWN}"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(piece(name.trim())?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }
}

fn piece(name: &str) -> Result<Piece, String> {
    let unknown = || format!("there is no {{{{{name}}}}}: there are {KNOWN}");
    let mut words = name.split_whitespace();
    let piece = match words.next().ok_or_else(unknown)? {
        "n" => Piece::Number,
        "line" => Piece::Line,
        "now" => Piece::Now,
        "now_ms" => Piece::NowMs,
        "uuid" => Piece::Uuid,
        "random" => {
            let mut bound = || words.next().and_then(|it| it.parse::<i64>().ok());
            let (first, last) = bound().zip(bound()).ok_or_else(unknown)?;
            if first > last {
                return Err(unknown());
            }
            Piece::Random(first, last)
        }
        _ => return Err(unknown()),
    };
    match words.next() {
        None => Ok(piece),
        Some(_) => Err(unknown()),
    }
}

impl Template {
    /// Whether it has a place for the input.
    pub fn has_line(&self) -> bool {
        self.0.contains(&Piece::Line)
    }

    /// The text of the record of this number, of this line of the input.
    pub fn fill(&self, number: u64, line: &[u8]) -> Vec<u8> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Line => filled.extend(line),
                piece => filled.extend(piece.text(number).into_bytes()),
            }
        }
        filled
    }
}

impl Piece {
    fn text(&self, number: u64) -> String {
        let now_ms = || {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
        };
        match self {
            Piece::Text(text) => text.clone(),
            Piece::Number => number.to_string(),
            Piece::Line => String::new(),
            Piece::Now => {
                let ms = now_ms();
                let seconds = times::show(ms);
                let seconds = seconds.trim_end_matches('Z');
                format!("{seconds}.{:03}Z", ms.rem_euclid(1_000))
            }
            Piece::NowMs => now_ms().to_string(),
            Piece::Uuid => uuid(random(), random()),
            Piece::Random(first, last) => {
                let span = (i128::from(*last) - i128::from(*first) + 1) as u128;
                let chosen = u128::from(random()) % span;
                (i128::from(*first) + chosen as i128).to_string()
            }
        }
    }
}

/// A number that nobody can foretell.
fn random() -> u64 {
    RandomState::new().hash_one(SystemTime::now())
}

/// A UUID of these bits, marked as random (version 4).
fn uuid(high: u64, low: u64) -> String {
    let mut hex = String::new();
    let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    for (place, byte) in bytes.into_iter().enumerate() {
        let byte = match place {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        if [4, 6, 8, 10].contains(&place) {
            hex.push('-');
        }
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> String {
        let template: Template = template.parse().expect(template);
        String::from_utf8(template.fill(7, b"input")).expect("text")
    }

    #[test]
    fn places_are_filled_in_and_text_stays() {
        assert_eq!(filled(r#"{"a":{"n":{{n}}}}"#), r#"{"a":{"n":7}}"#);
        assert_eq!(filled("<{{ line }}>"), "<input>");
        assert_eq!(filled("plain"), "plain");
        assert_eq!(filled("{{random 5 5}}"), "5");
        let number: i64 = filled("{{random -3 3}}").parse().expect("a number");
        assert!((-3..=3).contains(&number));
        assert_eq!(filled("{{now}}").len(), "2026-11-26T13:00:00.000Z".len());
        let text = filled("{{uuid}}");
        assert!(text.len() == 36 && &text[14..15] == "4", "{text}");
        assert_ne!(text, filled("{{uuid}}"));
    }

    #[test]
    fn a_place_that_is_none_is_refused_with_those_that_there_are() {
        for wrong in [
            "{{x}}",
            "{{n",
            "{{}}",
            "{{random 1}}",
            "{{random 2 1}}",
            "{{n n}}",
        ] {
            let error = wrong.parse::<Template>().expect_err(wrong);
            assert!(error.contains("{{now_ms}}"), "{error}");
        }
    }
}
