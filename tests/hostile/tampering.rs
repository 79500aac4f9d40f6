//! The tamperings: what can be wrong with an answer, as a table that is drawn from the tables of the messages.
//!
//! In: an API and the version that is spoken. Out: every tampering about its answers.

use std::fmt;

use protocol::api::Api;
use protocol::schema::FieldType;
use protocol::{ApiKey, ErrorCode};

use crate::value::{self, Place};

/// How often a tampering is applied, and about how many of the things in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Once,
    Thrice,
    ForEver,
    /// For ever, but only about the first element of each array: the first partition of the first topic.
    ForEverFirst,
}

impl Times {
    pub fn count(self) -> u64 {
        match self {
            Times::Once => 1,
            Times::Thrice => 3,
            Times::ForEver | Times::ForEverFirst => u64::MAX,
        }
    }

    pub fn is_for_ever(self) -> bool {
        self.count() == u64::MAX
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Times::Once => "once",
            Times::Thrice => "thrice",
            Times::ForEver => "for-ever",
            Times::ForEverFirst => "for-ever-first",
        })
    }
}

/// What is done to one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    Null,
    Lowest,
    MinusOne,
    Zero,
    Highest,
    /// One more than the truth: of another partition, offset, epoch, broker.
    Next,
    /// What the same field said in the first answer that had it.
    Earlier,
    Empty,
    /// As long as the type can be.
    Long,
    /// Another name.
    Other,
    /// Text that would forge lines of a log.
    Control,
    /// A bit is another one, somewhere.
    Garbled,
    /// The second half is not there.
    Half,
    Doubled,
    WithoutFirst,
    Backwards,
    /// A length of what is not there.
    Claimed,
    /// An element, or a structure, that nobody asked for.
    Made,
}

/// What is done to the frame of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameTampering {
    /// The connection ends before this field, in the middle of the frame.
    CutBefore(String),
    /// The frame is whole, but the message in it ends before this field.
    ShortBefore(String),
    /// The connection ends after so many bytes of the frame.
    CutAfter(usize),
    /// The connection ends one byte before the frame does.
    CutAtEnd,
    /// Some bytes of the message are others; which ones, by this seed.
    Garbled(u64),
    /// One byte at a time.
    Slow,
    /// One byte at a time, and from the middle on nothing more.
    SlowThenSilent,
    Silent,
    /// The correlation id is off by so much.
    Correlation(i32),
    /// The same answer a second time.
    Twice,
    /// The answer to the request before.
    Swapped,
    /// The connection ends and the request is not applied.
    CloseBefore,
    /// The request is applied, and the connection ends.
    CloseAfter,
    /// The frame announces this length.
    Length(i32),
    /// Bytes after the message's end, within the frame.
    Spare,
    Http,
}

/// What is done to the batches of a Fetch answer; their checksums fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchCorruption {
    BaseOffset(i64),
    /// Offsets that come before those asked for.
    Older,
    Length(i32),
    LeaderEpoch(i32),
    Magic(i8),
    Crc,
    Attributes(i16),
    LastOffsetDelta(i32),
    BaseTimestamp(i64),
    MaxTimestamp(i64),
    ProducerId(i64),
    BaseSequence(i32),
    Count(i32),
    /// A batch without records, as compaction leaves them.
    WithoutRecords,
}

/// What is done to the share that a member is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentCorruption {
    OtherTopic,
    Partition(i32),
    PartitionTwice,
    Nothing,
    Garbled,
    Version(i16),
}

/// What is done to what the leader reads that the members want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionCorruption {
    OtherTopic,
    Nothing,
    Garbled,
    Version(i16),
}

#[derive(Clone, Debug)]
pub enum What {
    Code(Place, ErrorCode),
    Field(Place, Mutation),
    Frame(FrameTampering),
    Batch(BatchCorruption),
    Assignment(AssignmentCorruption),
    Subscription(SubscriptionCorruption),
    /// A whole answer that was given before.
    Replayed,
    /// A tagged field that nobody knows, which is no tampering.
    UnknownTag,
}

/// A tampering of a certain API, applied so many times.
#[derive(Clone, Debug)]
pub struct Tampering {
    pub api: ApiKey,
    pub what: What,
    pub times: Times,
}

impl fmt::Display for Tampering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.api)?;
        match &self.what {
            What::Code(place, code) => write!(f, "{}={}", place.name, code_name(*code))?,
            What::Field(place, mutate) => write!(f, "{}:{mutate:?}", place.name)?,
            What::Frame(tampering) => write!(f, "frame:{tampering:?}")?,
            What::Batch(tampering) => write!(f, "batch:{tampering:?}")?,
            What::Assignment(tampering) => write!(f, "assignment:{tampering:?}")?,
            What::Subscription(tampering) => write!(f, "subscription:{tampering:?}")?,
            What::Replayed => f.write_str("replayed")?,
            What::UnknownTag => f.write_str("unknown-tag")?,
        }
        write!(f, "/{}", self.times)
    }
}

fn code_name(code: ErrorCode) -> String {
    match code.name() {
        "UNKNOWN_ERROR_CODE" => format!("{}", code.0),
        name => name.to_owned(),
    }
}

/// Error codes that no Kafka has.
const UNHEARD_OF: [ErrorCode; 2] = [ErrorCode(9_999), ErrorCode(i16::MIN)];

/// every tampering about the answers of `api` in this version.
pub fn tamperings(api: ApiKey, version: i16) -> Vec<Tampering> {
    let schema = Api::of(api).expect("an API of the tables").response.schema;
    let places = value::places(schema, version);
    let mut tamperings = Vec::new();
    let mut add = |what: What, times: &[Times]| {
        tamperings.extend(times.iter().map(|times| Tampering {
            api,
            what: what.clone(),
            times: *times,
        }));
    };
    const FEW: [Times; 2] = [Times::Once, Times::ForEver];
    for place in &places {
        let one_of_many: &[Times] = match place.in_array {
            true => &[Times::Once, Times::ForEver, Times::ForEverFirst],
            false => &FEW,
        };
        for mutate in mutations(place, version) {
            add(What::Field(place.clone(), *mutate), one_of_many);
        }
        if matches!(place.field.ty, FieldType::ErrorCode) {
            let times: &[Times] = match place.in_array {
                true => &[
                    Times::Once,
                    Times::Thrice,
                    Times::ForEver,
                    Times::ForEverFirst,
                ],
                false => &[Times::Once, Times::Thrice, Times::ForEver],
            };
            let codes = ErrorCode::all().filter(|code| !code.is_ok());
            for code in codes.chain(UNHEARD_OF) {
                add(What::Code(place.clone(), code), times);
            }
        }
        if place.field.tag.is_none() {
            let name = || place.name.clone();
            add(What::Frame(FrameTampering::CutBefore(name())), &FEW);
            add(What::Frame(FrameTampering::ShortBefore(name())), &FEW);
        }
    }
    let frames = [
        FrameTampering::CutAfter(0),
        FrameTampering::CutAfter(2),
        FrameTampering::CutAfter(4),
        FrameTampering::CutAfter(8),
        FrameTampering::CutAtEnd,
        FrameTampering::Slow,
        FrameTampering::SlowThenSilent,
        FrameTampering::Silent,
        FrameTampering::Correlation(1),
        FrameTampering::Correlation(-1),
        FrameTampering::Correlation(i32::MIN),
        FrameTampering::Twice,
        FrameTampering::Swapped,
        FrameTampering::CloseBefore,
        FrameTampering::CloseAfter,
        FrameTampering::Length(i32::MAX),
        FrameTampering::Length(-1),
        FrameTampering::Length(i32::MIN),
        FrameTampering::Length(0),
        FrameTampering::Length(3),
        FrameTampering::Spare,
        FrameTampering::Http,
    ];
    let garbled = (0..8).map(FrameTampering::Garbled);
    for tampering in frames.into_iter().chain(garbled) {
        add(
            What::Frame(tampering),
            &[Times::Once, Times::Thrice, Times::ForEver],
        );
    }
    add(What::Replayed, &FEW);
    if version >= schema.first_flexible {
        add(What::UnknownTag, &FEW);
    }
    if api == ApiKey::FETCH {
        for tampering in BATCH_CORRUPTIONS {
            add(
                What::Batch(*tampering),
                &[Times::Once, Times::ForEver, Times::ForEverFirst],
            );
        }
    }
    if api == ApiKey::SYNC_GROUP {
        for tampering in [
            AssignmentCorruption::OtherTopic,
            AssignmentCorruption::Partition(99),
            AssignmentCorruption::Partition(-1),
            AssignmentCorruption::Partition(i32::MAX),
            AssignmentCorruption::PartitionTwice,
            AssignmentCorruption::Nothing,
            AssignmentCorruption::Garbled,
            AssignmentCorruption::Version(99),
            AssignmentCorruption::Version(-1),
        ] {
            add(What::Assignment(tampering), &FEW);
        }
    }
    if api == ApiKey::JOIN_GROUP {
        for tampering in [
            SubscriptionCorruption::OtherTopic,
            SubscriptionCorruption::Nothing,
            SubscriptionCorruption::Garbled,
            SubscriptionCorruption::Version(99),
            SubscriptionCorruption::Version(-1),
        ] {
            add(What::Subscription(tampering), &FEW);
        }
    }
    tamperings
}

const BATCH_CORRUPTIONS: &[BatchCorruption] = &[
    BatchCorruption::BaseOffset(i64::MAX),
    BatchCorruption::BaseOffset(i64::MAX - 1),
    BatchCorruption::BaseOffset(i64::MIN),
    BatchCorruption::BaseOffset(-1),
    BatchCorruption::BaseOffset(1_000),
    BatchCorruption::Older,
    BatchCorruption::Length(0),
    BatchCorruption::Length(-1),
    BatchCorruption::Length(i32::MIN),
    BatchCorruption::Length(i32::MAX),
    BatchCorruption::LeaderEpoch(i32::MAX),
    BatchCorruption::LeaderEpoch(i32::MIN),
    BatchCorruption::Magic(-1),
    BatchCorruption::Magic(0),
    BatchCorruption::Magic(1),
    BatchCorruption::Magic(3),
    BatchCorruption::Crc,
    BatchCorruption::Attributes(7),
    BatchCorruption::Attributes(4),
    BatchCorruption::Attributes(0x20),
    BatchCorruption::Attributes(0x30),
    BatchCorruption::Attributes(0x10),
    BatchCorruption::Attributes(-1),
    BatchCorruption::LastOffsetDelta(i32::MAX),
    BatchCorruption::LastOffsetDelta(-1),
    BatchCorruption::LastOffsetDelta(i32::MIN),
    BatchCorruption::BaseTimestamp(i64::MAX),
    BatchCorruption::BaseTimestamp(i64::MIN),
    BatchCorruption::MaxTimestamp(i64::MIN),
    BatchCorruption::ProducerId(i64::MAX),
    BatchCorruption::ProducerId(i64::MIN),
    BatchCorruption::BaseSequence(i32::MAX),
    BatchCorruption::Count(i32::MAX),
    BatchCorruption::Count(-1),
    BatchCorruption::Count(i32::MIN),
    BatchCorruption::Count(0),
    BatchCorruption::WithoutRecords,
];

fn mutations(place: &Place, version: i16) -> &'static [Mutation] {
    let nullable = place.field.nullable.contains(version);
    match place.field.ty {
        // The table of codes is another.
        FieldType::ErrorCode => &[],
        FieldType::Bool => &[Mutation::Next],
        FieldType::Int8 | FieldType::Int16 | FieldType::Int32 | FieldType::Int64 => &[
            Mutation::Lowest,
            Mutation::MinusOne,
            Mutation::Zero,
            Mutation::Next,
            Mutation::Highest,
            Mutation::Earlier,
        ],
        FieldType::Uint16 | FieldType::Uint32 | FieldType::Float64 => {
            &[Mutation::Zero, Mutation::Next, Mutation::Highest]
        }
        FieldType::Uuid => &[Mutation::Zero, Mutation::Other],
        FieldType::String => &[
            Mutation::Null,
            Mutation::Empty,
            Mutation::Other,
            Mutation::Control,
            Mutation::Long,
            Mutation::Claimed,
        ],
        FieldType::Bytes | FieldType::Records => &[
            Mutation::Null,
            Mutation::Empty,
            Mutation::Garbled,
            Mutation::Half,
            Mutation::Earlier,
            Mutation::Long,
            Mutation::Claimed,
        ],
        FieldType::Array(_) => &[
            Mutation::Null,
            Mutation::Empty,
            Mutation::WithoutFirst,
            Mutation::Doubled,
            Mutation::Backwards,
            Mutation::Made,
            Mutation::Claimed,
        ],
        FieldType::Struct(_) if nullable => &[Mutation::Null, Mutation::Made],
        FieldType::Struct(_) => &[Mutation::Made],
    }
}
