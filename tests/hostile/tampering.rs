//! The tamperings: what can be wrong with an answer, as a table that is drawn from the tables of the messages.
//!
//! In: an API and the version that is spoken. Out: every tampering about its answers, and an honest answer mutated into one.

use std::fmt;

use bytes::{Bytes, BytesMut};
use protocol::api::Api;
use protocol::messages::consumer_protocol_assignment::TopicPartition;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::records::{BatchHeader, HEADER_LEN};
use protocol::schema::FieldType;
use protocol::{ApiKey, Decoder, Encoder, ErrorCode, Message};

use crate::value::{self, Place, Search, Structure, Value};

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

/// Does to a value what `bend` says; false when it was so already.
fn mutate(
    value: &mut Value,
    place: &Place,
    mutate: Mutation,
    version: i16,
    earlier: Option<&Value>,
) -> bool {
    let (lowest, highest) = value::limits(place.field.ty);
    let mutated = match (mutate, &*value) {
        (Mutation::Null, _) => Value::Null,
        (Mutation::Lowest, _) => Value::Integer(lowest),
        (Mutation::MinusOne, _) => Value::Integer(-1),
        (Mutation::Zero, Value::Uuid(_)) => Value::Uuid([0; 16]),
        (Mutation::Zero, _) => Value::Integer(0),
        (Mutation::Highest, _) => Value::Integer(highest),
        (Mutation::Next, Value::Integer(integer)) if highest == 1 => Value::Integer(1 - integer),
        (Mutation::Next, Value::Integer(integer)) => Value::Integer(integer.wrapping_add(1)),
        (Mutation::Earlier, _) => match earlier {
            Some(earlier) => earlier.clone(),
            None => return false,
        },
        (Mutation::Empty, Value::Text(_)) => Value::Text(String::new()),
        (Mutation::Empty, Value::Bytes(_)) => Value::Bytes(Bytes::new()),
        (Mutation::Empty, Value::Array(_)) => Value::Array(Vec::new()),
        (Mutation::Long, Value::Bytes(_)) => Value::Bytes(vec![0x41; 300_000].into()),
        (Mutation::Long, _) => Value::Text("x".repeat(i16::MAX as usize)),
        (Mutation::Other, Value::Uuid(_)) => Value::Uuid([7; 16]),
        (Mutation::Other, _) => Value::Text("another".to_owned()),
        (Mutation::Control, _) => Value::Text("a\r\nERROR forged\x1b[31m\u{202e}".to_owned()),
        (Mutation::Garbled, Value::Bytes(bytes)) if !bytes.is_empty() => {
            let mut bytes = BytesMut::from(&bytes[..]);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            Value::Bytes(bytes.freeze())
        }
        (Mutation::Half, Value::Bytes(bytes)) => Value::Bytes(bytes.slice(..bytes.len() / 2)),
        (Mutation::Doubled, Value::Array(elements)) => {
            Value::Array([&elements[..], &elements[..]].concat())
        }
        (Mutation::WithoutFirst, Value::Array(elements)) if !elements.is_empty() => {
            Value::Array(elements[1..].to_vec())
        }
        (Mutation::Backwards, Value::Array(elements)) => {
            Value::Array(elements.iter().rev().cloned().collect())
        }
        (Mutation::Made, Value::Array(elements)) => {
            let mut elements = elements.clone();
            elements.push(value::default_element(place.field.ty, version));
            Value::Array(elements)
        }
        (Mutation::Made, Value::Structure(_)) => return true,
        (Mutation::Claimed, content) => {
            Value::Claimed(i32::MAX as u32 - 1, Box::new(content.clone()))
        }
        _ => return false,
    };
    let is_other = mutated != *value;
    *value = mutated;
    is_other
}

/// What a tamperer remembers, and does to one answer after the other.
#[derive(Debug)]
pub struct Tamperer {
    tampering: Tampering,
    /// Makes what the honest answers do not have, to tamper with it.
    make: bool,
    left: u64,
    pub times_applied: u64,
    /// How many answers had what the tampering is about, true or not.
    pub met: u64,
    /// The first answer of this API.
    first: Option<Structure>,
    /// What the field said in the first answer that had it.
    earlier: Option<Value>,
    previous: Option<Vec<u8>>,
}

/// An answer as it is sent.
#[derive(Debug)]
pub enum Tampered {
    /// Nothing is wrong with it.
    Honest,
    /// Another message in the frame.
    Message(Vec<u8>),
    /// Another frame.
    Frame(FrameTampering, Vec<(String, usize)>),
}

impl Tamperer {
    pub fn new(tampering: Tampering, make: bool) -> Self {
        Self {
            left: tampering.times.count(),
            tampering,
            make,
            times_applied: 0,
            met: 0,
            first: None,
            earlier: None,
            previous: None,
        }
    }

    pub fn stop(&mut self) {
        self.left = 0;
    }

    /// Whether a request is not to be applied.
    pub fn refuses(&mut self, api: ApiKey) -> bool {
        let refuses = api == self.tampering.api
            && self.left > 0
            && matches!(
                &self.tampering.what,
                What::Frame(FrameTampering::CloseBefore)
            );
        if refuses {
            self.tell();
        }
        refuses
    }

    /// The code that a request is to be answered with as a whole, without being applied: where Kafka would not have applied it, and a
    /// client relies on that.
    pub fn unapplied(&mut self, api: ApiKey) -> Option<ErrorCode> {
        let What::Code(place, code) = &self.tampering.what else {
            return None;
        };
        let is_whole = match api {
            // This one says that it was applied.
            ApiKey::PRODUCE if *code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER => false,
            ApiKey::PRODUCE => place.name == "responses.partition_responses.error_code",
            ApiKey::JOIN_GROUP => place.name == "error_code",
            _ => false,
        };
        let tells = api == self.tampering.api
            && is_whole
            && self.left > 0
            && self.tampering.times != Times::ForEverFirst;
        let code = *code;
        tells.then(|| {
            self.tell();
            code
        })
    }

    fn tell(&mut self) {
        self.met += 1;
        self.times_applied += 1;
        self.left -= 1;
    }

    /// What becomes of the answer `body` to a request of this API and version.
    pub fn answer(&mut self, api: ApiKey, version: i16, body: &Bytes) -> Tampered {
        if api != self.tampering.api || self.left == 0 {
            return Tampered::Honest;
        }
        let schema = Api::of(api).expect("an API of the tables").response.schema;
        // An ApiVersions answer of a broker that does not know the version is in version 0.
        let Ok(mut message) = value::read(schema, version, body.clone()) else {
            return Tampered::Honest;
        };
        if let What::Frame(tampering) = &self.tampering.what {
            let tampering = tampering.clone();
            let (honest, marks) = value::write(schema, version, &message);
            let has = |name: &str| marks.iter().any(|(mark, _)| mark == name);
            match &tampering {
                FrameTampering::CutBefore(name) | FrameTampering::ShortBefore(name)
                    if !has(name) =>
                {
                    return Tampered::Honest;
                }
                FrameTampering::Swapped => {
                    let previous = self.previous.replace(honest);
                    let Some(previous) = previous else {
                        return Tampered::Honest;
                    };
                    self.tell();
                    return Tampered::Message(previous);
                }
                _ => {}
            }
            self.tell();
            return Tampered::Frame(tampering, marks);
        }
        let honest = message.clone();
        let changed = self.mutate(&mut message, version);
        if self.first.is_none() {
            self.first = Some(honest);
        }
        if changed == 0 {
            return Tampered::Honest;
        }
        self.tell();
        Tampered::Message(value::write(schema, version, &message).0)
    }

    fn mutate(&mut self, message: &mut Structure, version: i16) -> usize {
        let met = &mut self.met;
        let search = Search {
            version,
            first_only: self.tampering.times == Times::ForEverFirst,
            make: self.make,
        };
        match &self.tampering.what {
            What::Code(place, code) => value::change(message, place, search, &mut |value| {
                *value = Value::Integer(code.0.into());
                true
            }),
            What::Field(place, Mutation::Earlier) => {
                let earlier = &mut self.earlier;
                value::change(message, place, search, &mut |value| {
                    *met += 1;
                    let is_none = matches!(value, Value::Null)
                        || matches!(value, Value::Bytes(bytes) if bytes.is_empty());
                    if earlier.is_none() && !is_none {
                        *earlier = Some(value.clone());
                    }
                    mutate(value, place, Mutation::Earlier, version, earlier.as_ref())
                })
            }
            What::Field(place, what) => value::change(message, place, search, &mut |value| {
                *met += 1;
                mutate(value, place, *what, version, None)
            }),
            What::Batch(tampering) => {
                let place = place_of(self.tampering.api, version, "responses.partitions.records");
                value::change(message, &place, search, &mut |value| {
                    *met += 1;
                    corrupt_batches(value, *tampering)
                })
            }
            What::Assignment(tampering) => {
                let place = place_of(self.tampering.api, version, "assignment");
                value::change(message, &place, search, &mut |value| {
                    corrupt_assignment(value, *tampering)
                })
            }
            What::Subscription(tampering) => {
                let place = place_of(self.tampering.api, version, "members.metadata");
                value::change(message, &place, search, &mut |value| {
                    corrupt_subscription(value, *tampering)
                })
            }
            What::Replayed => match &self.first {
                Some(first) if first == message => {
                    *met += 1;
                    0
                }
                Some(first) => {
                    *message = first.clone();
                    1
                }
                None => 0,
            },
            What::UnknownTag => {
                message.unknown.push((77, Bytes::from_static(b"new")));
                1
            }
            What::Frame(_) => 0,
        }
    }
}

fn place_of(api: ApiKey, version: i16, name: &str) -> Place {
    let schema = Api::of(api).expect("an API of the tables").response.schema;
    let mut places = value::places(schema, version).into_iter();
    places
        .find(|place| place.name == name)
        .expect("a field of the tables")
}

/// Where the bytes that a batch's CRC covers start.
const CRC_FROM: usize = 21;

fn corrupt_batches(value: &mut Value, tampering: BatchCorruption) -> bool {
    let Value::Bytes(bytes) = &*value else {
        return false;
    };
    let mut bytes = BytesMut::from(&bytes[..]);
    if bytes.len() < HEADER_LEN {
        return false;
    }
    // The first batch is enough; without records it is the only one.
    let header = bytes.first_chunk::<HEADER_LEN>().expect("long enough");
    let mut header = BatchHeader::read(header);
    let end = (12 + header.batch_length as usize).min(bytes.len());
    match tampering {
        BatchCorruption::BaseOffset(offset) => header.base_offset = offset,
        BatchCorruption::Length(length) => header.batch_length = length,
        BatchCorruption::LeaderEpoch(epoch) => header.partition_leader_epoch = epoch,
        BatchCorruption::Magic(magic) => header.magic = magic,
        BatchCorruption::Attributes(attributes) => header.attributes = attributes,
        BatchCorruption::LastOffsetDelta(delta) => header.last_offset_delta = delta,
        BatchCorruption::BaseTimestamp(timestamp) => header.base_timestamp = timestamp,
        BatchCorruption::MaxTimestamp(timestamp) => header.max_timestamp = timestamp,
        BatchCorruption::ProducerId(id) => header.producer_id = id,
        BatchCorruption::BaseSequence(sequence) => header.base_sequence = sequence,
        BatchCorruption::Count(count) => header.record_count = count,
        BatchCorruption::WithoutRecords => {
            header.record_count = 0;
            header.batch_length = (HEADER_LEN - 12) as i32;
            bytes.truncate(HEADER_LEN);
        }
        BatchCorruption::Older => {
            header.base_offset = 0;
            bytes.truncate(end);
        }
        BatchCorruption::Crc => {}
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let end = end.min(bytes.len());
    header.crc = crc32c::crc32c(&bytes[CRC_FROM..end]);
    if tampering == BatchCorruption::Crc {
        header.crc ^= 1;
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let mutated = Value::Bytes(bytes.freeze());
    let is_other = mutated != *value;
    *value = mutated;
    is_other
}

fn corrupt_assignment(value: &mut Value, tampering: AssignmentCorruption) -> bool {
    let Some((version, mut share)) = blob::<ConsumerProtocolAssignment>(value) else {
        return false;
    };
    let mut tampered_version = version;
    match tampering {
        AssignmentCorruption::OtherTopic => share.assigned_partitions.push(TopicPartition {
            topic: "another".to_owned(),
            partitions: vec![0, 1],
            ..Default::default()
        }),
        AssignmentCorruption::Partition(partition) => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.push(partition));
        }
        AssignmentCorruption::PartitionTwice => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.extend(topic.partitions.clone()));
        }
        AssignmentCorruption::Nothing => share.assigned_partitions.clear(),
        AssignmentCorruption::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        AssignmentCorruption::Version(version) => tampered_version = version,
    }
    set_blob(value, tampered_version, version, &share);
    true
}

fn corrupt_subscription(value: &mut Value, tampering: SubscriptionCorruption) -> bool {
    let Some((version, mut wish)) = blob::<ConsumerProtocolSubscription>(value) else {
        return false;
    };
    let mut tampered_version = version;
    match tampering {
        SubscriptionCorruption::OtherTopic => wish.topics = vec!["another".to_owned()],
        SubscriptionCorruption::Nothing => wish.topics.clear(),
        SubscriptionCorruption::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        SubscriptionCorruption::Version(version) => tampered_version = version,
    }
    set_blob(value, tampered_version, version, &wish);
    true
}

/// The message in a byte string that starts with its version.
fn blob<M: Message>(value: &Value) -> Option<(i16, M)> {
    let Value::Bytes(bytes) = value else {
        return None;
    };
    let mut input = Decoder::new(bytes.clone());
    let version = input.get_i16().ok()?;
    Some((version, M::decode(&mut input, version).ok()?))
}

fn set_blob<M: Message>(value: &mut Value, tampered_version: i16, version: i16, message: &M) {
    let mut out = Encoder::new();
    out.put_i16(tampered_version);
    message
        .encode(&mut out, version)
        .expect("a version that was read");
    *value = Value::Bytes(out.into_bytes());
}
