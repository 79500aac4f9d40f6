//! Where reading starts, as kcat spells it. In: `beginning`, `end`, `stored`, `1234`, `-10`, `s@1700000000000`. Out: a [`Start`].

use std::str::FromStr;

/// Where to start in each partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    Beginning,
    End,
    /// At the group's committed offset.
    Stored,
    At(i64),
    /// That many records before the end.
    BeforeEnd(i64),
    /// At the first record of this time (milliseconds since 1970) or later.
    Time(i64),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        let allowed = || {
            format!(
                "{text:?} is none of: beginning, end, stored, an offset, -N (the last N), s@MS (from this time on)"
            )
        };
        match text {
            "beginning" | "earliest" => return Ok(Start::Beginning),
            "end" | "latest" => return Ok(Start::End),
            "stored" => return Ok(Start::Stored),
            _ => {}
        }
        if let Some(time) = text.strip_prefix("s@") {
            return time.parse().map(Start::Time).map_err(|_| allowed());
        }
        match text.parse::<i64>() {
            Ok(offset) if offset >= 0 => Ok(Start::At(offset)),
            Ok(before) if before > i64::MIN => Ok(Start::BeforeEnd(-before)),
            _ => Err(allowed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_spelt_as_in_kcat() {
        assert_eq!("beginning".parse(), Ok(Start::Beginning));
        assert_eq!("7".parse(), Ok(Start::At(7)));
        assert_eq!("-7".parse(), Ok(Start::BeforeEnd(7)));
        assert_eq!("s@7".parse(), Ok(Start::Time(7)));
        assert!(
            "begining"
                .parse::<Start>()
                .expect_err("misspelt")
                .contains("none of: beginning")
        );
    }
}
