//! Bytes as numbers and texts one after the other, as kcat unpacks them. In: letters such as `>iqs`, and bytes. Out: values.

use std::str::FromStr;

use serde_json::{Value, json};

/// What stands in the bytes, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack(Vec<Part>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Number {
        bytes: usize,
        is_signed: bool,
        is_little: bool,
    },
    /// An ASCII letter.
    Letter,
    /// All that is left, as text.
    Rest,
    /// Nothing may be left.
    End,
}

impl FromStr for Pack {
    type Err = String;

    fn from_str(text: &str) -> Result<Pack, String> {
        let mut parts = Vec::new();
        let mut is_little = false;
        for letter in text.chars() {
            let number = |bytes, is_signed| Part::Number {
                bytes,
                is_signed,
                is_little,
            };
            parts.push(match letter {
                '<' | '>' => {
                    is_little = letter == '<';
                    continue;
                }
                ' ' => continue,
                'b' => number(1, true),
                'B' => number(1, false),
                'h' => number(2, true),
                'H' => number(2, false),
                'i' => number(4, true),
                'I' => number(4, false),
                'q' => number(8, true),
                'Q' => number(8, false),
                'c' => Part::Letter,
                's' => Part::Rest,
                '$' => Part::End,
                _ => return Err(format!(
                    "{text:?}: there is no {letter:?}: there are < > (byte order), b B (8 bits), h H (16), i I (32), q Q (64), c (a letter), s (all that is left, as text), $ (nothing is left)"
                )),
            });
        }
        if parts.is_empty() {
            return Err("it is empty: write letters such as >iqs".to_owned());
        }
        let early = parts
            .iter()
            .rev()
            .skip(1)
            .any(|part| matches!(part, Part::End));
        match early {
            true => Err(format!("{text:?}: $ stands at the end or not at all")),
            false => Ok(Pack(parts)),
        }
    }
}

impl Pack {
    /// The values in `bytes`. Fails when they end too early, or go on where they may not.
    pub fn unpack(&self, bytes: &[u8]) -> Result<Vec<Value>, String> {
        let mut left = bytes;
        let mut values = Vec::new();
        for part in &self.0 {
            let at = bytes.len() - left.len();
            values.push(match part {
                Part::Number {
                    bytes: count,
                    is_signed,
                    is_little,
                } => {
                    let (number, rest) = left.split_at_checked(*count).ok_or_else(|| {
                        format!(
                            "it ends after {} bytes: {count} more were to come at {at}",
                            bytes.len()
                        )
                    })?;
                    left = rest;
                    number_of(number, *is_signed, *is_little)
                }
                Part::Letter => {
                    let (letter, rest) = left
                        .split_first()
                        .ok_or_else(|| format!("it ends before the letter at {at}"))?;
                    left = rest;
                    json!(String::from_utf8_lossy(&[*letter]))
                }
                Part::Rest => json!(String::from_utf8_lossy(std::mem::take(&mut left))),
                Part::End if left.is_empty() => continue,
                Part::End => return Err(format!("{} bytes are left over", left.len())),
            });
        }
        Ok(values)
    }
}

fn number_of(bytes: &[u8], is_signed: bool, is_little: bool) -> Value {
    let mut wide = [0; 8];
    for (place, byte) in bytes.iter().enumerate() {
        // The least significant byte first.
        let place = if is_little {
            place
        } else {
            bytes.len() - 1 - place
        };
        wide[place] = *byte;
    }
    let number = u64::from_le_bytes(wide);
    match is_signed {
        false => json!(number),
        true => {
            let unused = 64 - 8 * bytes.len() as u32;
            json!(((number << unused) as i64) >> unused)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(pack: &str, bytes: &[u8]) -> Result<Vec<Value>, String> {
        pack.parse::<Pack>().expect(pack).unpack(bytes)
    }

    #[test]
    fn numbers_and_texts_stand_one_after_the_other() {
        let bytes = [0xff, 0xfe, 0, 0, 1, 0, b'x', b'r', b'e', b's', b't'];
        assert_eq!(
            unpack("bBHHcs", &bytes),
            Ok(vec![
                json!(-1),
                json!(254),
                json!(0),
                json!(256),
                json!("x"),
                json!("rest")
            ])
        );
        assert_eq!(unpack("<h >h", &bytes), Ok(vec![json!(-257), json!(0)]));
        assert_eq!(unpack("q", &(-7i64).to_be_bytes()), Ok(vec![json!(-7)]));
        assert_eq!(
            unpack("Q$", &u64::MAX.to_be_bytes()),
            Ok(vec![json!(u64::MAX)])
        );
        assert_eq!(unpack("<i", &(-2i32).to_le_bytes()), Ok(vec![json!(-2)]));
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        assert!(unpack("i", &[1, 2]).is_err_and(|error| error.contains("ends after 2 bytes")));
        assert!(unpack("b$", &[1, 2]).is_err_and(|error| error.contains("1 bytes are left over")));
        assert!(unpack("c", &[]).is_err());
    }

    #[test]
    fn a_letter_that_is_none_is_refused_with_those_that_there_are() {
        for wrong in ["", "x", "$i", "<"] {
            assert!(wrong.parse::<Pack>().is_err(), "{wrong}");
        }
        assert!("ix".parse::<Pack>().expect_err("x").contains("q Q (64)"));
    }
}
