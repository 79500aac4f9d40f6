//! What the metadata log has: keys and values, and how they are written. A key begins with the number of its kind, a value with its version.
//!
//! Of each key the newest value counts; a key without a value is gone. A value that is added to later gets another version, and both are read.

use std::collections::BTreeMap;

use protocol::Uuid;

/// Names a piece of state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Topic(Uuid),
    /// What is known of a partition beside its batches.
    Partition(Uuid, i32),
    /// What a group has committed for a partition.
    Offset(String, Uuid, i32),
    /// Up to where producer ids are given away.
    ProducerIds,
    /// A user of SCRAM, by the number of its mechanism.
    ScramUser(i8, String),
    /// A rule, by what it says.
    Acl(AclNote),
    /// What a group sets for itself.
    GroupConfig(String),
    /// How far a share group is done with a partition.
    ShareStart(String, Uuid, i32),
    /// A transactional id.
    Transaction(String),
    /// What a producer has committed for a partition in a transaction that has not ended: group, producer id, topic, partition.
    PendingOffset(String, i64, Uuid, i32),
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicNote {
    pub(crate) name: String,
    pub(crate) replicas: Vec<Vec<i32>>,
    pub(crate) configs: BTreeMap<String, String>,
}

/// A partition, beside its batches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PartitionNote {
    pub(crate) start_offset: i64,
    pub(crate) leader_epoch: i32,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OffsetNote {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
}

/// An offset that counts once the transaction of its producer's epoch is committed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingOffsetNote {
    pub(crate) epoch: i16,
    pub(crate) offset: OffsetNote,
}

/// A transactional id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TransactionNote {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) previous_id: i64,
    pub(crate) next_id: i64,
    pub(crate) last_epoch: i16,
    pub(crate) timeout_ms: i32,
    /// Its number.
    pub(crate) state: i8,
    pub(crate) start_ms: i64,
    pub(crate) version: i8,
    pub(crate) coordinator_epoch: i32,
    pub(crate) partitions: Vec<(String, i32)>,
}

/// A credential of SCRAM.
#[derive(Clone, PartialEq)]
pub(crate) struct ScramNote {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    pub(crate) stored_key: Vec<u8>,
    pub(crate) server_key: Vec<u8>,
}

/// A rule, in the protocol's numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AclNote {
    pub(crate) kind: i8,
    pub(crate) name: String,
    pub(crate) prefixed: bool,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: i8,
    pub(crate) allows: bool,
}

/// What a group sets for itself, in the words of clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupConfigNote {
    pub(crate) configs: BTreeMap<String, String>,
}

/// A key's new value, or that it is gone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(key: &Key, value: &[u8]) -> Self {
        Self {
            key: key.to_bytes(),
            value: Some(value.to_vec()),
        }
    }

    pub(crate) fn remove(key: &Key) -> Self {
        Self {
            key: key.to_bytes(),
            value: None,
        }
    }
}

impl Key {
    /// The topic that this is about.
    pub(crate) fn topic_id(&self) -> Option<Uuid> {
        match self {
            Key::Topic(id)
            | Key::Partition(id, _)
            | Key::Offset(_, id, _)
            | Key::ShareStart(_, id, _)
            | Key::PendingOffset(_, _, id, _) => Some(*id),
            _ => None,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        match self {
            Key::Topic(id) => out.i8(0).uuid(id),
            Key::Partition(id, index) => out.i8(1).uuid(id).i32(*index),
            Key::Offset(group, id, index) => out.i8(2).text(group).uuid(id).i32(*index),
            Key::ProducerIds => out.i8(3),
            Key::ScramUser(mechanism, name) => out.i8(4).i8(*mechanism).text(name),
            Key::Acl(rule) => {
                out.i8(5).i8(rule.kind).text(&rule.name).flag(rule.prefixed);
                out.text(&rule.principal).text(&rule.host);
                out.i8(rule.operation).flag(rule.allows)
            }
            Key::GroupConfig(group) => out.i8(6).text(group),
            Key::ShareStart(group, id, index) => out.i8(7).text(group).uuid(id).i32(*index),
            Key::Transaction(id) => out.i8(8).text(id),
            Key::PendingOffset(group, producer_id, id, index) => {
                out.i8(9).text(group).i64(*producer_id);
                out.uuid(id).i32(*index)
            }
        };
        out.0
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let key = match from.i8()? {
            0 => Key::Topic(from.uuid()?),
            1 => Key::Partition(from.uuid()?, from.i32()?),
            2 => Key::Offset(from.text()?, from.uuid()?, from.i32()?),
            3 => Key::ProducerIds,
            4 => Key::ScramUser(from.i8()?, from.text()?),
            5 => Key::Acl(AclNote {
                kind: from.i8()?,
                name: from.text()?,
                prefixed: from.flag()?,
                principal: from.text()?,
                host: from.text()?,
                operation: from.i8()?,
                allows: from.flag()?,
            }),
            6 => Key::GroupConfig(from.text()?),
            7 => Key::ShareStart(from.text()?, from.uuid()?, from.i32()?),
            8 => Key::Transaction(from.text()?),
            9 => Key::PendingOffset(from.text()?, from.i64()?, from.uuid()?, from.i32()?),
            _ => return None,
        };
        from.ends().then_some(key)
    }
}

impl TopicNote {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).text(&self.name).count(self.replicas.len());
        for replicas in &self.replicas {
            out.count(replicas.len());
            for id in replicas {
                out.i32(*id);
            }
        }
        out.configs(&self.configs);
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        let name = from.text()?;
        let mut replicas = Vec::new();
        for _ in 0..from.count()? {
            let count = from.count()?;
            let ids: Option<Vec<i32>> = (0..count).map(|_| from.i32()).collect();
            replicas.push(ids?);
        }
        let note = Self {
            name,
            replicas,
            configs: from.configs()?,
        };
        from.ends().then_some(note)
    }
}

impl PartitionNote {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).i64(self.start_offset).i32(self.leader_epoch);
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        let note = Self {
            start_offset: from.i64().filter(|offset| *offset >= 0)?,
            leader_epoch: from.i32().filter(|epoch| (0..i32::MAX).contains(epoch))?,
        };
        from.ends().then_some(note)
    }
}

impl OffsetNote {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).i64(self.offset).i32(self.leader_epoch);
        out.text(&self.metadata);
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        let note = Self {
            offset: from.i64()?,
            leader_epoch: from.i32()?,
            metadata: from.text()?,
        };
        from.ends().then_some(note)
    }
}

impl PendingOffsetNote {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).i32(i32::from(self.epoch));
        out.raw(&self.offset.to_bytes());
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        Some(Self {
            epoch: from.i16()?,
            offset: OffsetNote::read(from.0)?,
        })
    }
}

impl TransactionNote {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).i64(self.producer_id).i32(i32::from(self.epoch));
        out.i64(self.previous_id).i64(self.next_id);
        out.i32(i32::from(self.last_epoch)).i32(self.timeout_ms);
        out.i8(self.state).i64(self.start_ms).i8(self.version);
        out.i32(self.coordinator_epoch).count(self.partitions.len());
        for (topic, index) in &self.partitions {
            out.text(topic).i32(*index);
        }
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        let mut note = Self {
            producer_id: from.i64()?,
            epoch: from.i16()?,
            previous_id: from.i64()?,
            next_id: from.i64()?,
            last_epoch: from.i16()?,
            timeout_ms: from.i32()?,
            state: from.i8()?,
            start_ms: from.i64()?,
            version: from.i8()?,
            coordinator_epoch: from.i32().filter(|epoch| *epoch < i32::MAX)?,
            partitions: Vec::new(),
        };
        for _ in 0..from.count()? {
            note.partitions.push((from.text()?, from.i32()?));
        }
        from.ends().then_some(note)
    }
}

impl ScramNote {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(0).bytes(&self.salt).count(self.iterations as usize);
        out.bytes(&self.stored_key).bytes(&self.server_key);
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::of_version(bytes, 0)?;
        let note = Self {
            salt: from.bytes()?.to_vec(),
            iterations: from.count()?,
            stored_key: from.bytes()?.to_vec(),
            server_key: from.bytes()?.to_vec(),
        };
        from.ends().then_some(note)
    }
}

impl GroupConfigNote {
    /// The names of what version 0 had, as numbers.
    const FIRST: [&str; 3] = [
        "share.record.lock.duration.ms",
        "share.delivery.count.limit",
        "share.partition.max.record.locks",
    ];

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.i8(1).configs(&self.configs);
        out.0
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader(bytes);
        let configs = match from.i8()? {
            0 => {
                let mut configs = BTreeMap::new();
                for name in Self::FIRST {
                    let value = from.number()?.map(|it| it.to_string());
                    configs.extend(value.map(|value| (name.to_owned(), value)));
                }
                let reset = from.number()?.map(|earliest| match earliest {
                    0 => "latest",
                    _ => "earliest",
                });
                let name = || "share.auto.offset.reset".to_owned();
                configs.extend(reset.map(|reset| (name(), reset.to_owned())));
                configs
            }
            1 => from.configs()?,
            _ => return None,
        };
        from.ends().then_some(Self { configs })
    }
}

/// A number alone: the value of [`Key::ProducerIds`] and [`Key::ShareStart`].
pub(crate) fn number_to_bytes(number: i64) -> Vec<u8> {
    let mut out = Writer::default();
    out.i8(0).i64(number);
    out.0
}

/// Reads a number alone.
pub(crate) fn read_number(bytes: &[u8]) -> Option<i64> {
    let mut from = Reader::of_version(bytes, 0)?;
    let number = from.i64().filter(|number| *number >= 0)?;
    from.ends().then_some(number)
}

/// A flag alone: whether what the settings or a client have brought is still there; the value of [`Key::Acl`].
pub(crate) fn flag_to_bytes(flag: bool) -> Vec<u8> {
    let mut out = Writer::default();
    out.i8(0).flag(flag);
    out.0
}

/// Reads a flag alone.
pub(crate) fn read_flag(bytes: &[u8]) -> Option<bool> {
    let mut from = Reader::of_version(bytes, 0)?;
    let flag = from.flag()?;
    from.ends().then_some(flag)
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn i8(&mut self, number: i8) -> &mut Self {
        self.raw(&number.to_be_bytes())
    }

    fn i32(&mut self, number: i32) -> &mut Self {
        self.raw(&number.to_be_bytes())
    }

    fn i64(&mut self, number: i64) -> &mut Self {
        self.raw(&number.to_be_bytes())
    }

    fn flag(&mut self, flag: bool) -> &mut Self {
        self.i8(i8::from(flag))
    }

    fn configs(&mut self, configs: &BTreeMap<String, String>) -> &mut Self {
        self.count(configs.len());
        for (name, value) in configs {
            self.text(name).text(value);
        }
        self
    }

    fn uuid(&mut self, id: &Uuid) -> &mut Self {
        self.raw(&id.0)
    }

    fn count(&mut self, count: usize) -> &mut Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.raw(&count.to_be_bytes())
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.count(bytes.len()).raw(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn of_version(bytes: &'a [u8], version: i8) -> Option<Self> {
        let mut from = Self(bytes);
        (from.i8()? == version).then_some(from)
    }

    fn ends(&self) -> bool {
        self.0.is_empty()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn i8(&mut self) -> Option<i8> {
        self.array().map(i8::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// A number of 16 bits, in 32.
    fn i16(&mut self) -> Option<i16> {
        i16::try_from(self.i32()?).ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.i8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn configs(&mut self) -> Option<BTreeMap<String, String>> {
        let mut configs = BTreeMap::new();
        for _ in 0..self.count()? {
            configs.insert(self.text()?, self.text()?);
        }
        Some(configs)
    }

    fn number(&mut self) -> Option<Option<i64>> {
        match self.flag()? {
            false => Some(None),
            true => self.i64().map(Some),
        }
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.array().map(Uuid)
    }

    fn count(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.count()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_as_it_was_written() {
        let id = Uuid::from_u128(7);
        let acl = AclNote {
            kind: 2,
            name: "emails".to_owned(),
            prefixed: true,
            principal: "User:ä".to_owned(),
            host: "*".to_owned(),
            operation: 3,
            allows: false,
        };
        for key in [
            Key::Topic(id),
            Key::Partition(id, 3),
            Key::Offset("group".to_owned(), id, 4),
            Key::ProducerIds,
            Key::ScramUser(1, String::new()),
            Key::Acl(acl),
            Key::GroupConfig("group".to_owned()),
            Key::ShareStart("group".to_owned(), id, 0),
            Key::Transaction("id".to_owned()),
            Key::PendingOffset("group".to_owned(), 7, id, 1),
        ] {
            let bytes = key.to_bytes();
            assert_eq!(Key::read(&bytes), Some(key.clone()));
            for cut in 0..bytes.len() {
                assert_eq!(Key::read(&bytes[..cut]), None, "{key:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn every_value_is_read_as_it_was_written_and_never_cut_off() {
        fn check<T: PartialEq>(value: &T, bytes: &[u8], read: impl Fn(&[u8]) -> Option<T>) {
            assert!(read(bytes).as_ref() == Some(value));
            for cut in 0..bytes.len() {
                assert!(read(&bytes[..cut]).is_none(), "cut at {cut}");
            }
        }
        let topic = TopicNote {
            name: "emails".to_owned(),
            replicas: vec![vec![1, 2], vec![2, 1]],
            configs: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
        };
        check(&topic, &topic.to_bytes(), TopicNote::read);
        let partition = PartitionNote {
            start_offset: 9,
            leader_epoch: 4,
        };
        check(&partition, &partition.to_bytes(), PartitionNote::read);
        let offset = OffsetNote {
            offset: -1,
            leader_epoch: -1,
            metadata: "seen".to_owned(),
        };
        check(&offset, &offset.to_bytes(), OffsetNote::read);
        let pending = PendingOffsetNote { epoch: 3, offset };
        check(&pending, &pending.to_bytes(), PendingOffsetNote::read);
        let transaction = TransactionNote {
            producer_id: 1,
            epoch: -1,
            previous_id: -1,
            next_id: 9,
            last_epoch: 2,
            timeout_ms: 60_000,
            state: 2,
            start_ms: -1,
            version: 2,
            coordinator_epoch: 4,
            partitions: vec![("emails".to_owned(), 3)],
        };
        check(&transaction, &transaction.to_bytes(), TransactionNote::read);
        let user = ScramNote {
            salt: vec![1, 2],
            iterations: 4096,
            stored_key: vec![3],
            server_key: vec![],
        };
        check(&user, &user.to_bytes(), ScramNote::read);
        let config = |rows: &[(&str, &str)]| GroupConfigNote {
            configs: (rows.iter())
                .map(|(name, value)| (String::from(*name), String::from(*value)))
                .collect(),
        };
        // As it was written first: a duration, no limit, locks, and that groups begin at the beginning.
        let mut first = Writer::default();
        first.i8(0).flag(true).i64(1_000).flag(false);
        first.flag(true).i64(200).flag(true).i64(1);
        let rows = [
            ("share.record.lock.duration.ms", "1000"),
            ("share.partition.max.record.locks", "200"),
            ("share.auto.offset.reset", "earliest"),
        ];
        check(&config(&rows), &first.0, GroupConfigNote::read);
        let config = config(&[("consumer.session.timeout.ms", "50000")]);
        check(&config, &config.to_bytes(), GroupConfigNote::read);
        check(&7, &number_to_bytes(7), read_number);
        check(&true, &flag_to_bytes(true), read_flag);
    }
}
