//! Where to start reading: what the application may say, and what the policy says when there is no committed offset or it is out of range.

use std::str::FromStr;
use std::time::Duration;

use crate::kafka::config::values::Kind;
use crate::kafka::{Error, Result, TopicId, TopicPartition};

/// ListOffsets' name for the end of the log.
pub(crate) const LATEST_TIMESTAMP: i64 = -1;
/// ListOffsets' name for its beginning.
pub(crate) const EARLIEST_TIMESTAMP: i64 = -2;

/// `auto.offset.reset`: where to go when there is no committed offset, or when the offset to read is not in the log any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OffsetReset {
    /// To the first record that the log still has.
    Earliest,
    /// To the end: only what is written from now on.
    #[default]
    Latest,
    /// To the first record that is younger than this (KIP-1106), or to the end: `by_duration:PT1H`. Counted back from when the offset is looked up.
    ByDuration(Duration),
    /// To the first record of this time (milliseconds since 1970) or a later one, or to the end: `timestamp:1700000000000`. Java has no such reset.
    Timestamp(i64),
    /// Nowhere: [`poll`](crate::kafka::Consumer::poll) fails until the application seeks.
    None,
}

impl OffsetReset {
    /// What `auto.offset.reset` takes.
    pub(crate) const KIND: Kind<OffsetReset> = Kind::any(
        "earliest, latest, none, by_duration:PT1H (any duration of ISO 8601) or timestamp:1700000000000 (milliseconds since 1970)",
    );

    /// The timestamp that ListOffsets knows the place by, where it is `now_ms`.
    pub(crate) fn timestamp(self, now_ms: i64) -> Option<i64> {
        match self {
            Self::ByDuration(ago) => {
                let ago = i64::try_from(ago.as_millis()).unwrap_or(i64::MAX);
                Some(now_ms.saturating_sub(ago).max(0))
            }
            Self::Timestamp(timestamp_ms) => Some(timestamp_ms.max(0)),
            Self::Earliest => Some(EARLIEST_TIMESTAMP),
            Self::Latest => Some(LATEST_TIMESTAMP),
            Self::None => None,
        }
    }
}

/// Reads a duration by ISO 8601 as Java does, without a sign: `P2DT3H4M5.5S`, no longer than 100 years.
fn duration(text: &str) -> Option<Duration> {
    const LONGEST: f64 = 100.0 * 366.0 * 86_400.0;
    let text = text.to_ascii_uppercase();
    let (days, time) = match text.strip_prefix('P')?.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (text.strip_prefix('P')?, ""),
    };
    let mut seconds = 0.0;
    let mut parts = 0;
    for (mut rest, units) in [
        (days, &[('D', 86_400.0)][..]),
        (time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)]),
    ] {
        for (unit, each) in units {
            let Some((number, after)) = rest.split_once(*unit) else {
                continue;
            };
            let fraction = |c: char| c == '.' && *unit == 'S';
            let is_number = number.starts_with(|c: char| c.is_ascii_digit())
                && number.chars().all(|c| c.is_ascii_digit() || fraction(c));
            let number = Some(number).filter(|_| is_number)?;
            seconds += number.parse::<f64>().ok()? * each;
            rest = after;
            parts += 1;
        }
        if !rest.is_empty() {
            return None;
        }
    }
    (parts > 0 && seconds <= LONGEST).then(|| Duration::from_secs_f64(seconds))
}

/// Reads `earliest`, `latest`, `none`, `by_duration:PT1H` or `timestamp:1700000000000`.
impl FromStr for OffsetReset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let at = || {
            let at = text.strip_prefix("timestamp:")?.parse().ok();
            at.filter(|at| *at >= 0).map(Self::Timestamp)
        };
        let ago = || duration(text.strip_prefix("by_duration:")?).map(Self::ByDuration);
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::None),
            _ => (ago().or_else(at)).ok_or_else(|| Self::KIND.refusal("auto.offset.reset", text)),
        }
    }
}

/// A position that the client moved by itself: not the application's seek, and no committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PositionReset {
    /// Whose position it is.
    pub partition: TopicPartition,
    /// The topic that it is in now.
    pub topic_id: Option<TopicId>,
    /// Why it was moved.
    pub cause: ResetCause,
    /// `auto.offset.reset`.
    pub policy: OffsetReset,
    /// The offset that would have been read next; `None` where there was none.
    pub from: Option<i64>,
    /// The offset that is read next.
    pub to: i64,
    /// How many offsets were passed over; `None` where it is not known. What they held is not read: it was deleted before it could be, or
    /// the policy says `latest`.
    pub passed_over: Option<u64>,
}

/// Why a position was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetCause {
    /// The group has no committed offset for it.
    NoCommittedOffset,
    /// As above, and the partition has appeared since the topic was subscribed to: it is read from its beginning, also under `latest`.
    NewPartition,
    /// The offset is not in the log: what was there was deleted, by its age, say, or the log lost its end.
    OutOfRange,
    /// The leader's log ends before what was read, or has another past than that (KIP-320).
    Truncated,
    /// The topic was deleted and re-created: the new one is read from where the group has committed in it already, or from its beginning.
    TopicRecreated,
}

/// How often positions were moved by the client itself, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResetCounts {
    /// How often.
    pub resets: u64,
    /// How many offsets were passed over, as far as that is known.
    pub passed_over: u64,
}

/// Where an assigned partition starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartOffset {
    /// At the group's committed offset; without one, where `auto_offset_reset` says.
    Committed,
    /// At the first record that the log still has.
    Earliest,
    /// At the end of the log.
    Latest,
    /// At this offset.
    Offset(i64),
    /// At the first record with this timestamp (milliseconds since 1970) or a later one; without one, at the end of the log.
    Timestamp(i64),
}

impl StartOffset {
    /// The timestamp that ListOffsets knows the place by; earliest for places that it does not look up.
    pub(crate) fn timestamp(self) -> i64 {
        match self {
            Self::Latest => LATEST_TIMESTAMP,
            Self::Timestamp(timestamp_ms) => timestamp_ms.max(0),
            Self::Earliest | Self::Committed | Self::Offset(_) => EARLIEST_TIMESTAMP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_read_as_java_reads_it() {
        let seconds = |text: &str| match format!("by_duration:{text}").parse() {
            Ok(OffsetReset::ByDuration(ago)) => Some(ago.as_secs_f64()),
            Ok(_) => None,
            Err(_) => None,
        };
        assert_eq!(seconds("PT1H"), Some(3_600.0));
        assert_eq!(seconds("P1D"), Some(86_400.0));
        assert_eq!(seconds("P2DT3H4M5.5S"), Some(2.0 * 86_400.0 + 11_045.5));
        assert_eq!(seconds("pt0s"), Some(0.0));
        for wrong in [
            "",
            "P",
            "PT",
            "1H",
            "PT1",
            "PTH",
            "P1H",
            "PT1M1H",
            "PT1.5H",
            "-PT1H",
            "PT-1H",
            "PT1H ",
            "P1W",
            "P999999999D",
        ] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
        let at = "timestamp:1700000000000"
            .parse::<OffsetReset>()
            .expect("a time");
        assert_eq!(at, OffsetReset::Timestamp(1_700_000_000_000));
        for wrong in ["timestamp:", "timestamp:-1", "by_duration", "newest"] {
            let error = wrong.parse::<OffsetReset>().expect_err(wrong).to_string();
            assert!(error.contains("by_duration:PT1H"), "{error}");
        }
    }

    #[test]
    fn a_duration_is_counted_back_from_now() {
        let hour = OffsetReset::ByDuration(Duration::from_secs(3_600));
        assert_eq!(hour.timestamp(5_000_000), Some(1_400_000));
        assert_eq!(hour.timestamp(5), Some(0));
        assert_eq!(OffsetReset::None.timestamp(5), None);
    }
}
