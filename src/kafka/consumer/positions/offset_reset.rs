//! Where to start reading: what the application may say, and what the policy says when there is no committed offset or it is out of range.

use std::str::FromStr;

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
    /// Nowhere: [`poll`](crate::kafka::Consumer::poll) fails until the application seeks.
    None,
}

impl OffsetReset {
    /// What `auto.offset.reset` takes.
    pub(crate) const KIND: Kind<OffsetReset> = Kind::any("earliest, latest or none");

    /// The timestamp that ListOffsets knows the place by.
    pub(crate) fn timestamp(self) -> Option<i64> {
        match self {
            Self::Earliest => Some(EARLIEST_TIMESTAMP),
            Self::Latest => Some(LATEST_TIMESTAMP),
            Self::None => None,
        }
    }
}

/// Reads `earliest`, `latest` or `none`.
impl FromStr for OffsetReset {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            "none" => Ok(Self::None),
            _ => Err(Self::KIND.refusal("auto.offset.reset", text)),
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
    /// The topic was deleted and re-created: the new one is read from its beginning.
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
