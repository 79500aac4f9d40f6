//! The lies: what can be wrong with an answer, as a table that is drawn from the tables of the messages.
//!
//! In: an API and the version that is spoken. Out: every lie about its answers, and an honest answer bent into one.

use std::fmt;

use bytes::{Bytes, BytesMut};
use protocol::messages::consumer_protocol_assignment::TopicPartition;
use protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use protocol::records::{BatchHeader, HEADER_LEN};
use protocol::schema::FieldType;
use protocol::{ApiKey, Decoder, Encoder, ErrorCode, Message};

use crate::value::{self, Place, Search, Structure, Value};

/// How often a lie is told, and about how many of the things in an answer.
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
pub enum Bend {
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
pub enum FrameLie {
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
pub enum BatchLie {
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
pub enum ShareLie {
    OtherTopic,
    Partition(i32),
    PartitionTwice,
    Nothing,
    Garbled,
    Version(i16),
}

/// What is done to what the leader is told that the members want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishLie {
    OtherTopic,
    Nothing,
    Garbled,
    Version(i16),
}

#[derive(Clone, Debug)]
pub enum What {
    Code(Place, ErrorCode),
    Field(Place, Bend),
    Frame(FrameLie),
    Batch(BatchLie),
    Share(ShareLie),
    Wish(WishLie),
    /// A whole answer that was given before.
    Replayed,
    /// A tagged field that nobody knows, which is no lie.
    UnknownTag,
}

/// A lie of a certain API, told so many times.
#[derive(Clone, Debug)]
pub struct Lie {
    pub api: ApiKey,
    pub what: What,
    pub times: Times,
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.api)?;
        match &self.what {
            What::Code(place, code) => write!(f, "{}={}", place.name, code_name(*code))?,
            What::Field(place, bend) => write!(f, "{}:{bend:?}", place.name)?,
            What::Frame(lie) => write!(f, "frame:{lie:?}")?,
            What::Batch(lie) => write!(f, "batch:{lie:?}")?,
            What::Share(lie) => write!(f, "assignment:{lie:?}")?,
            What::Wish(lie) => write!(f, "subscription:{lie:?}")?,
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

/// Every lie about the answers of `api` in this version.
pub fn lies(api: ApiKey, version: i16) -> Vec<Lie> {
    let schema = api.api().expect("an API of the tables").response.schema;
    let places = value::places(schema, version);
    let mut lies = Vec::new();
    let mut add = |what: What, times: &[Times]| {
        lies.extend(times.iter().map(|times| Lie {
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
        for bend in bends(place, version) {
            add(What::Field(place.clone(), *bend), one_of_many);
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
            add(What::Frame(FrameLie::CutBefore(name())), &FEW);
            add(What::Frame(FrameLie::ShortBefore(name())), &FEW);
        }
    }
    let frames = [
        FrameLie::CutAfter(0),
        FrameLie::CutAfter(2),
        FrameLie::CutAfter(4),
        FrameLie::CutAfter(8),
        FrameLie::CutAtEnd,
        FrameLie::Slow,
        FrameLie::SlowThenSilent,
        FrameLie::Silent,
        FrameLie::Correlation(1),
        FrameLie::Correlation(-1),
        FrameLie::Correlation(i32::MIN),
        FrameLie::Twice,
        FrameLie::Swapped,
        FrameLie::CloseBefore,
        FrameLie::CloseAfter,
        FrameLie::Length(i32::MAX),
        FrameLie::Length(-1),
        FrameLie::Length(i32::MIN),
        FrameLie::Length(0),
        FrameLie::Length(3),
        FrameLie::Spare,
        FrameLie::Http,
    ];
    let garbled = (0..8).map(FrameLie::Garbled);
    for lie in frames.into_iter().chain(garbled) {
        add(
            What::Frame(lie),
            &[Times::Once, Times::Thrice, Times::ForEver],
        );
    }
    add(What::Replayed, &FEW);
    if version >= schema.first_flexible {
        add(What::UnknownTag, &FEW);
    }
    if api == ApiKey::FETCH {
        for lie in BATCH_LIES {
            add(
                What::Batch(*lie),
                &[Times::Once, Times::ForEver, Times::ForEverFirst],
            );
        }
    }
    if api == ApiKey::SYNC_GROUP {
        for lie in [
            ShareLie::OtherTopic,
            ShareLie::Partition(99),
            ShareLie::Partition(-1),
            ShareLie::Partition(i32::MAX),
            ShareLie::PartitionTwice,
            ShareLie::Nothing,
            ShareLie::Garbled,
            ShareLie::Version(99),
            ShareLie::Version(-1),
        ] {
            add(What::Share(lie), &FEW);
        }
    }
    if api == ApiKey::JOIN_GROUP {
        for lie in [
            WishLie::OtherTopic,
            WishLie::Nothing,
            WishLie::Garbled,
            WishLie::Version(99),
            WishLie::Version(-1),
        ] {
            add(What::Wish(lie), &FEW);
        }
    }
    lies
}

const BATCH_LIES: &[BatchLie] = &[
    BatchLie::BaseOffset(i64::MAX),
    BatchLie::BaseOffset(i64::MAX - 1),
    BatchLie::BaseOffset(i64::MIN),
    BatchLie::BaseOffset(-1),
    BatchLie::BaseOffset(1_000),
    BatchLie::Older,
    BatchLie::Length(0),
    BatchLie::Length(-1),
    BatchLie::Length(i32::MIN),
    BatchLie::Length(i32::MAX),
    BatchLie::LeaderEpoch(i32::MAX),
    BatchLie::LeaderEpoch(i32::MIN),
    BatchLie::Magic(-1),
    BatchLie::Magic(0),
    BatchLie::Magic(1),
    BatchLie::Magic(3),
    BatchLie::Crc,
    BatchLie::Attributes(7),
    BatchLie::Attributes(4),
    BatchLie::Attributes(0x20),
    BatchLie::Attributes(0x30),
    BatchLie::Attributes(0x10),
    BatchLie::Attributes(-1),
    BatchLie::LastOffsetDelta(i32::MAX),
    BatchLie::LastOffsetDelta(-1),
    BatchLie::LastOffsetDelta(i32::MIN),
    BatchLie::BaseTimestamp(i64::MAX),
    BatchLie::BaseTimestamp(i64::MIN),
    BatchLie::MaxTimestamp(i64::MIN),
    BatchLie::ProducerId(i64::MAX),
    BatchLie::ProducerId(i64::MIN),
    BatchLie::BaseSequence(i32::MAX),
    BatchLie::Count(i32::MAX),
    BatchLie::Count(-1),
    BatchLie::Count(i32::MIN),
    BatchLie::Count(0),
    BatchLie::WithoutRecords,
];

fn bends(place: &Place, version: i16) -> &'static [Bend] {
    let nullable = place.field.nullable.contains(version);
    match place.field.ty {
        // The table of codes is another.
        FieldType::ErrorCode => &[],
        FieldType::Bool => &[Bend::Next],
        FieldType::Int8 | FieldType::Int16 | FieldType::Int32 | FieldType::Int64 => &[
            Bend::Lowest,
            Bend::MinusOne,
            Bend::Zero,
            Bend::Next,
            Bend::Highest,
            Bend::Earlier,
        ],
        FieldType::Uint16 | FieldType::Uint32 | FieldType::Float64 => {
            &[Bend::Zero, Bend::Next, Bend::Highest]
        }
        FieldType::Uuid => &[Bend::Zero, Bend::Other],
        FieldType::String => &[
            Bend::Null,
            Bend::Empty,
            Bend::Other,
            Bend::Control,
            Bend::Long,
            Bend::Claimed,
        ],
        FieldType::Bytes | FieldType::Records => &[
            Bend::Null,
            Bend::Empty,
            Bend::Garbled,
            Bend::Half,
            Bend::Earlier,
            Bend::Long,
            Bend::Claimed,
        ],
        FieldType::Array(_) => &[
            Bend::Null,
            Bend::Empty,
            Bend::WithoutFirst,
            Bend::Doubled,
            Bend::Backwards,
            Bend::Made,
            Bend::Claimed,
        ],
        FieldType::Struct(_) if nullable => &[Bend::Null, Bend::Made],
        FieldType::Struct(_) => &[Bend::Made],
    }
}

/// Does to a value what `bend` says; false when it was so already.
fn bend(
    value: &mut Value,
    place: &Place,
    bend: Bend,
    version: i16,
    earlier: Option<&Value>,
) -> bool {
    let (lowest, highest) = value::limits(place.field.ty);
    let bent = match (bend, &*value) {
        (Bend::Null, _) => Value::Null,
        (Bend::Lowest, _) => Value::Integer(lowest),
        (Bend::MinusOne, _) => Value::Integer(-1),
        (Bend::Zero, Value::Uuid(_)) => Value::Uuid([0; 16]),
        (Bend::Zero, _) => Value::Integer(0),
        (Bend::Highest, _) => Value::Integer(highest),
        (Bend::Next, Value::Integer(integer)) if highest == 1 => Value::Integer(1 - integer),
        (Bend::Next, Value::Integer(integer)) => Value::Integer(integer.wrapping_add(1)),
        (Bend::Earlier, _) => match earlier {
            Some(earlier) => earlier.clone(),
            None => return false,
        },
        (Bend::Empty, Value::Text(_)) => Value::Text(String::new()),
        (Bend::Empty, Value::Bytes(_)) => Value::Bytes(Bytes::new()),
        (Bend::Empty, Value::Array(_)) => Value::Array(Vec::new()),
        (Bend::Long, Value::Bytes(_)) => Value::Bytes(vec![0x41; 300_000].into()),
        (Bend::Long, _) => Value::Text("x".repeat(i16::MAX as usize)),
        (Bend::Other, Value::Uuid(_)) => Value::Uuid([7; 16]),
        (Bend::Other, _) => Value::Text("another".to_owned()),
        (Bend::Control, _) => Value::Text("a\r\nERROR forged\x1b[31m\u{202e}".to_owned()),
        (Bend::Garbled, Value::Bytes(bytes)) if !bytes.is_empty() => {
            let mut bytes = BytesMut::from(&bytes[..]);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            Value::Bytes(bytes.freeze())
        }
        (Bend::Half, Value::Bytes(bytes)) => Value::Bytes(bytes.slice(..bytes.len() / 2)),
        (Bend::Doubled, Value::Array(elements)) => {
            Value::Array([&elements[..], &elements[..]].concat())
        }
        (Bend::WithoutFirst, Value::Array(elements)) if !elements.is_empty() => {
            Value::Array(elements[1..].to_vec())
        }
        (Bend::Backwards, Value::Array(elements)) => {
            Value::Array(elements.iter().rev().cloned().collect())
        }
        (Bend::Made, Value::Array(elements)) => {
            let mut elements = elements.clone();
            elements.push(value::default_element(place.field.ty, version));
            Value::Array(elements)
        }
        (Bend::Made, Value::Structure(_)) => return true,
        (Bend::Claimed, content) => Value::Claimed(i32::MAX as u32 - 1, Box::new(content.clone())),
        _ => return false,
    };
    let is_other = bent != *value;
    *value = bent;
    is_other
}

/// What a liar remembers, and does to one answer after the other.
#[derive(Debug)]
pub struct Liar {
    lie: Lie,
    /// Makes what the honest answers do not have, to lie about it.
    make: bool,
    left: u64,
    pub told: u64,
    /// How many answers had what the lie is about, true or not.
    pub met: u64,
    /// The first answer of this API.
    first: Option<Structure>,
    /// What the field said in the first answer that had it.
    earlier: Option<Value>,
    previous: Option<Vec<u8>>,
}

/// An answer as it is sent.
#[derive(Debug)]
pub enum Told {
    /// Nothing is wrong with it.
    Honest,
    /// Another message in the frame.
    Message(Vec<u8>),
    /// Another frame.
    Frame(FrameLie, Vec<(String, usize)>),
}

impl Liar {
    pub fn new(lie: Lie, make: bool) -> Self {
        Self {
            left: lie.times.count(),
            lie,
            make,
            told: 0,
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
        let refuses = api == self.lie.api
            && self.left > 0
            && matches!(&self.lie.what, What::Frame(FrameLie::CloseBefore));
        if refuses {
            self.tell();
        }
        refuses
    }

    /// The code that a request is to be answered with as a whole, without being applied: where Kafka would not have applied it, and a
    /// client relies on that.
    pub fn unapplied(&mut self, api: ApiKey) -> Option<ErrorCode> {
        let What::Code(place, code) = &self.lie.what else {
            return None;
        };
        let is_whole = match api {
            // This one says that it was applied.
            ApiKey::PRODUCE if *code == ErrorCode::DUPLICATE_SEQUENCE_NUMBER => false,
            ApiKey::PRODUCE => place.name == "responses.partition_responses.error_code",
            ApiKey::JOIN_GROUP => place.name == "error_code",
            _ => false,
        };
        let tells = api == self.lie.api
            && is_whole
            && self.left > 0
            && self.lie.times != Times::ForEverFirst;
        let code = *code;
        tells.then(|| {
            self.tell();
            code
        })
    }

    fn tell(&mut self) {
        self.met += 1;
        self.told += 1;
        self.left -= 1;
    }

    /// What becomes of the answer `body` to a request of this API and version.
    pub fn answer(&mut self, api: ApiKey, version: i16, body: &Bytes) -> Told {
        if api != self.lie.api || self.left == 0 {
            return Told::Honest;
        }
        let schema = api.api().expect("an API of the tables").response.schema;
        // An ApiVersions answer of a broker that does not know the version is in version 0.
        let Ok(mut message) = value::read(schema, version, body.clone()) else {
            return Told::Honest;
        };
        if let What::Frame(lie) = &self.lie.what {
            let lie = lie.clone();
            let (honest, marks) = value::write(schema, version, &message);
            let has = |name: &str| marks.iter().any(|(mark, _)| mark == name);
            match &lie {
                FrameLie::CutBefore(name) | FrameLie::ShortBefore(name) if !has(name) => {
                    return Told::Honest;
                }
                FrameLie::Swapped => {
                    let previous = self.previous.replace(honest);
                    let Some(previous) = previous else {
                        return Told::Honest;
                    };
                    self.tell();
                    return Told::Message(previous);
                }
                _ => {}
            }
            self.tell();
            return Told::Frame(lie, marks);
        }
        let honest = message.clone();
        let changed = self.bend(&mut message, version);
        if self.first.is_none() {
            self.first = Some(honest);
        }
        if changed == 0 {
            return Told::Honest;
        }
        self.tell();
        Told::Message(value::write(schema, version, &message).0)
    }

    fn bend(&mut self, message: &mut Structure, version: i16) -> usize {
        let met = &mut self.met;
        let search = Search {
            version,
            first_only: self.lie.times == Times::ForEverFirst,
            make: self.make,
        };
        match &self.lie.what {
            What::Code(place, code) => value::change(message, place, search, &mut |value| {
                *value = Value::Integer(code.0.into());
                true
            }),
            What::Field(place, Bend::Earlier) => {
                let earlier = &mut self.earlier;
                value::change(message, place, search, &mut |value| {
                    *met += 1;
                    let is_none = matches!(value, Value::Null)
                        || matches!(value, Value::Bytes(bytes) if bytes.is_empty());
                    if earlier.is_none() && !is_none {
                        *earlier = Some(value.clone());
                    }
                    bend(value, place, Bend::Earlier, version, earlier.as_ref())
                })
            }
            What::Field(place, what) => value::change(message, place, search, &mut |value| {
                *met += 1;
                bend(value, place, *what, version, None)
            }),
            What::Batch(lie) => {
                let place = place_of(self.lie.api, version, "responses.partitions.records");
                value::change(message, &place, search, &mut |value| {
                    *met += 1;
                    bend_batches(value, *lie)
                })
            }
            What::Share(lie) => {
                let place = place_of(self.lie.api, version, "assignment");
                value::change(message, &place, search, &mut |value| {
                    bend_share(value, *lie)
                })
            }
            What::Wish(lie) => {
                let place = place_of(self.lie.api, version, "members.metadata");
                value::change(message, &place, search, &mut |value| bend_wish(value, *lie))
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
    let schema = api.api().expect("an API of the tables").response.schema;
    let mut places = value::places(schema, version).into_iter();
    places
        .find(|place| place.name == name)
        .expect("a field of the tables")
}

/// Where the bytes that a batch's CRC covers start.
const CRC_FROM: usize = 21;

fn bend_batches(value: &mut Value, lie: BatchLie) -> bool {
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
    match lie {
        BatchLie::BaseOffset(offset) => header.base_offset = offset,
        BatchLie::Length(length) => header.batch_length = length,
        BatchLie::LeaderEpoch(epoch) => header.partition_leader_epoch = epoch,
        BatchLie::Magic(magic) => header.magic = magic,
        BatchLie::Attributes(attributes) => header.attributes = attributes,
        BatchLie::LastOffsetDelta(delta) => header.last_offset_delta = delta,
        BatchLie::BaseTimestamp(timestamp) => header.base_timestamp = timestamp,
        BatchLie::MaxTimestamp(timestamp) => header.max_timestamp = timestamp,
        BatchLie::ProducerId(id) => header.producer_id = id,
        BatchLie::BaseSequence(sequence) => header.base_sequence = sequence,
        BatchLie::Count(count) => header.record_count = count,
        BatchLie::WithoutRecords => {
            header.record_count = 0;
            header.batch_length = (HEADER_LEN - 12) as i32;
            bytes.truncate(HEADER_LEN);
        }
        BatchLie::Older => {
            header.base_offset = 0;
            bytes.truncate(end);
        }
        BatchLie::Crc => {}
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let end = end.min(bytes.len());
    header.crc = crc32c::crc32c(&bytes[CRC_FROM..end]);
    if lie == BatchLie::Crc {
        header.crc ^= 1;
    }
    bytes[..HEADER_LEN].copy_from_slice(&header.to_bytes());
    let bent = Value::Bytes(bytes.freeze());
    let is_other = bent != *value;
    *value = bent;
    is_other
}

fn bend_share(value: &mut Value, lie: ShareLie) -> bool {
    let Some((version, mut share)) = blob::<ConsumerProtocolAssignment>(value) else {
        return false;
    };
    let mut told_version = version;
    match lie {
        ShareLie::OtherTopic => share.assigned_partitions.push(TopicPartition {
            topic: "another".to_owned(),
            partitions: vec![0, 1],
            ..Default::default()
        }),
        ShareLie::Partition(partition) => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.push(partition));
        }
        ShareLie::PartitionTwice => {
            let topics = share.assigned_partitions.iter_mut();
            topics.for_each(|topic| topic.partitions.extend(topic.partitions.clone()));
        }
        ShareLie::Nothing => share.assigned_partitions.clear(),
        ShareLie::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        ShareLie::Version(version) => told_version = version,
    }
    set_blob(value, told_version, version, &share);
    true
}

fn bend_wish(value: &mut Value, lie: WishLie) -> bool {
    let Some((version, mut wish)) = blob::<ConsumerProtocolSubscription>(value) else {
        return false;
    };
    let mut told_version = version;
    match lie {
        WishLie::OtherTopic => wish.topics = vec!["another".to_owned()],
        WishLie::Nothing => wish.topics.clear(),
        WishLie::Garbled => {
            *value = Value::Bytes(Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3]));
            return true;
        }
        WishLie::Version(version) => told_version = version,
    }
    set_blob(value, told_version, version, &wish);
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

fn set_blob<M: Message>(value: &mut Value, told_version: i16, version: i16, message: &M) {
    let mut out = Encoder::new();
    out.put_i16(told_version);
    message
        .encode(&mut out, version)
        .expect("a version that was read");
    *value = Value::Bytes(out.into_bytes());
}
