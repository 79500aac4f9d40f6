//! Where reading starts and stops, as kcat spells it. In: `beginning`, `end`, `stored`, `1234`, `-10`, `s@-1h`, `e@2026-11-26T13:00:00Z`. Out: a [`Range`].

use std::str::FromStr;

use crate::times;

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

/// One of the two ends of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Start(Start),
    /// Before the first record of this time (milliseconds since 1970) or later.
    Stop(i64),
}

/// What is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub start: Option<Start>,
    /// Milliseconds since 1970.
    pub stop_ms: Option<i64>,
}

impl Range {
    /// What several places say. Fails where two say the same.
    pub fn of(places: &[Place]) -> Result<Range, String> {
        let mut range = Range::default();
        for place in places {
            let is_second = match place {
                Place::Start(start) => range.start.replace(*start).is_some(),
                Place::Stop(ms) => range.stop_ms.replace(*ms).is_some(),
            };
            if is_second {
                return Err(
                    "-o says twice where to start, or where to stop: s@TIME starts, e@TIME stops"
                        .to_owned(),
                );
            }
        }
        match range {
            Range {
                start: Some(Start::Time(start)),
                stop_ms: Some(stop),
            } if start > stop => {
                Err("-o: reading would stop (e@) before it starts (s@)".to_owned())
            }
            range => Ok(range),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if let Some(time) = text.strip_prefix("e@") {
            return times::read(time).map(Place::Stop);
        }
        text.parse().map(Place::Start)
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Start, String> {
        let allowed = || {
            format!(
                "{text:?} is none of: beginning, end, stored, an offset, -N (the last N), s@TIME (from this time on), e@TIME (up to it)"
            )
        };
        match text {
            "beginning" | "earliest" => return Ok(Start::Beginning),
            "end" | "latest" => return Ok(Start::End),
            "stored" => return Ok(Start::Stored),
            _ => {}
        }
        if let Some(time) = text.strip_prefix("s@") {
            return times::read(time).map(Start::Time);
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
        assert_eq!("s@1970-01-01T00:00:01Z".parse(), Ok(Start::Time(1_000)));
        assert_eq!("e@7".parse(), Ok(Place::Stop(7)));
        assert!(
            "begining"
                .parse::<Start>()
                .expect_err("misspelt")
                .contains("none of: beginning")
        );
        assert!(
            "s@soon"
                .parse::<Start>()
                .expect_err("no time")
                .contains("1h30m")
        );
    }

    #[test]
    fn a_range_has_one_start_and_one_end_in_this_order() {
        let range = |texts: &[&str]| {
            let places: Vec<Place> = texts.iter().map(|text| text.parse().expect(text)).collect();
            Range::of(&places)
        };
        let expected = Range {
            start: Some(Start::Time(5)),
            stop_ms: Some(7),
        };
        assert_eq!(range(&["s@5", "e@7"]), Ok(expected));
        assert_eq!(range(&[]), Ok(Range::default()));
        assert!(range(&["5", "s@5"]).is_err_and(|error| error.contains("twice")));
        assert!(range(&["s@7", "e@5"]).is_err_and(|error| error.contains("before it starts")));
    }
}
