//! What a broker takes back from its data directory when it starts.
//!
//! In: keys and values, and the folders of partitions. Out: topics with their logs, what was committed, producer ids, transactions, users, rules. Members of groups are not among
//! it: they join again, as they do when a coordinator moves. What the settings say counts until a client has changed it.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use protocol::Uuid;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::configs::GroupConfig;
use super::groups::{Committed, OffsetKey};
use super::lock;
use super::partition::Partition;
use super::producer_ids::ProducerIds;
use super::security::{Acl, Credential, Hash};
use super::storage::{
    Change, DataDir, DirectoryStore, GroupConfigNote, Key, OffsetNote, PartitionNote,
    PendingOffsetNote, ScramNote, TopicNote, TransactionNote, read_flag, read_number,
};
use super::topic::Topic;
use super::topic_settings::TopicSettings;
use super::transactions::ProducerIdAndEpoch;

/// Notes that are written at once.
const NOTES_AT_ONCE: usize = 1000;

/// A topic that there was.
struct Known {
    id: Uuid,
    name: String,
    settings: TopicSettings,
    replicas: Vec<Vec<i32>>,
}

impl Cluster {
    /// Takes back what is in the directory, and keeps what comes in it. Blocks. Fails on what is damaged, and says what to do.
    pub(crate) fn restore(&mut self, data: Arc<DataDir>, now: Instant) -> io::Result<()> {
        // From here on it is closed with the cluster, whatever happens.
        self.data = Some(data.clone());
        data.cluster_id().clone_into(&mut self.id);
        lock(&self.transactions).is_kept();
        let values = data.values()?;
        let unreadable = |what: &str| data.unreadable(what);
        let (mut topics, mut notes) = (Vec::new(), BTreeMap::new());
        for (key, value) in &values {
            match key {
                Key::Topic(id) => {
                    let note = TopicNote::read(value).ok_or_else(|| unreadable("a topic"))?;
                    topics.push(self.known(*id, note)?);
                }
                Key::Partition(id, index) => {
                    let note = PartitionNote::read(value);
                    let note = note.ok_or_else(|| unreadable("a partition"))?;
                    notes.insert((*id, *index), note);
                }
                _ => {}
            }
        }
        data.clean(|id| topics.iter().any(|topic| topic.id == *id))?;
        let mut partitions = recover(&data, &topics, &notes, now)?;
        let expiration = self.settings.transactions.producer_id_expiration;
        for partition in partitions.iter_mut().flatten() {
            partition.producers.set_expiration(expiration);
        }
        note_leaders(&data, &topics, &partitions)?;
        let mut directory = self.directory_mut();
        directory.created = topics.len();
        for (known, partitions) in topics.into_iter().zip(partitions) {
            let topic = Topic::new(known.name.clone(), known.id, known.settings, partitions);
            directory.names.insert(known.id, known.name.clone());
            directory.topics.insert(known.name, Arc::new(topic));
        }
        drop(directory);
        for (key, value) in values {
            self.take_back(key, &value)
                .ok_or_else(|| unreadable("a value"))?;
        }
        self.abort_forgotten()?;
        let directory = self.directory();
        data.forget(|key| {
            key.topic_id()
                .is_none_or(|id| directory.names.contains_key(&id))
        });
        Ok(())
    }

    fn known(&self, id: Uuid, note: TopicNote) -> io::Result<Known> {
        let configs = note.configs.iter();
        let configs = configs.map(|(name, value)| (name.as_str(), value.as_str()));
        let settings = self.settings.topic.with(configs).map_err(|problem| {
            let text = format!("the settings of topic {}: {problem}", note.name);
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        let directory = self.directory();
        // There may be fewer nodes now than there were: all of them have all logs.
        let count = i32::try_from(note.replicas.len()).unwrap_or(i32::MAX);
        let anew = directory.place(count, self.settings.default_replication_factor);
        let replicas = note.replicas.into_iter().zip(anew);
        let replicas = replicas.map(|(mut replicas, anew)| {
            replicas.retain(|node| directory.endpoint(*node).is_some());
            match replicas.is_empty() {
                true => anew,
                false => replicas,
            }
        });
        Ok(Known {
            id,
            settings,
            replicas: replicas.collect(),
            name: note.name,
        })
    }

    fn offset_key(&self, topic_id: &Uuid, partition: i32) -> Option<OffsetKey> {
        let topic = self.directory().topic_by_id(topic_id)?;
        Some(OffsetKey {
            topic: topic.name.clone(),
            partition,
        })
    }

    /// Ends the transactions of which logs have something and the coordinator has nothing: the disk had not yet taken that when the machine failed.
    fn abort_forgotten(&self) -> io::Result<()> {
        let topics: Vec<_> = self.directory().topics().cloned().collect();
        let (transactions, now) = (lock(&self.transactions), self.moment());
        for topic in topics {
            for (index, mut partition) in (0..).zip(topic.partitions()) {
                let place = (topic.name.clone(), index);
                let is_known = |id| transactions.covers(id, &place);
                let aborted = partition.abort_forgotten(is_known, now);
                aborted.map_err(|error| io::Error::other(format!("{}: {error}", topic.name)))?;
            }
        }
        Ok(())
    }

    /// None where the value cannot be read.
    fn take_back(&self, key: Key, value: &[u8]) -> Option<()> {
        match key {
            // They are there already.
            Key::Topic(_) | Key::Partition(..) => {}
            Key::Offset(group, id, partition) => {
                let committed = Committed::of(id, OffsetNote::read(value)?);
                if let Some(key) = self.offset_key(&id, partition) {
                    lock(&self.groups).restore(&group, key, committed);
                }
            }
            Key::PendingOffset(group, producer_id, id, partition) => {
                let PendingOffsetNote { epoch, offset } = PendingOffsetNote::read(value)?;
                let producer = ProducerIdAndEpoch {
                    id: producer_id,
                    epoch,
                };
                let committed = Committed::of(id, offset);
                if let Some(key) = self.offset_key(&id, partition) {
                    let now = Instant::now();
                    lock(&self.groups).restore_pending(&group, producer, key, committed, now);
                }
            }
            Key::ProducerIds => {
                *lock(&self.producer_ids) = ProducerIds::from(read_number(value)?);
            }
            Key::ScramUser(mechanism, name) => {
                let hash = Hash::ALL.into_iter().find(|it| it.code() == mechanism)?;
                let mut users = self.security.scram_users();
                match value {
                    [] => users.delete(hash, name),
                    value => users.set(hash, name, Credential::of(ScramNote::read(value)?)),
                }
            }
            Key::Acl(note) => {
                let (rule, is_there) = (Acl::of(note)?, read_flag(value)?);
                if let Some(mut acls) = self.security.acls() {
                    match is_there {
                        true => acls.rules.insert(rule),
                        false => acls.rules.remove(&rule),
                    };
                }
            }
            Key::GroupConfig(group) => {
                let config = GroupConfig::of(GroupConfigNote::read(value)?.configs);
                self.set_group_config(&group, config);
            }
            Key::ShareStart(group, id, partition) => {
                let start = read_number(value)?;
                if self.directory().topic_by_id(&id).is_some() {
                    lock(&self.shares).restore(&group, (id, partition), start);
                }
            }
            Key::Transaction(id) => {
                let (note, now) = (TransactionNote::read(value)?, self.moment());
                let restored = lock(&self.transactions).restore(&id, note, now);
                return restored.then_some(());
            }
        }
        Some(())
    }
}

/// Reads the logs of all partitions, several at a time: of each topic its partitions.
fn recover(
    data: &Arc<DataDir>,
    topics: &[Known],
    notes: &BTreeMap<(Uuid, i32), PartitionNote>,
    now: Instant,
) -> io::Result<Vec<Vec<Partition>>> {
    let all: Vec<(&Known, i32)> = topics
        .iter()
        .flat_map(|topic| (0..).take(topic.replicas.len()).map(move |it| (topic, it)))
        .collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let work = || {
        while let Some((topic, index)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let note = notes.get(&(topic.id, *index)).copied();
            let recovered = recover_partition(data, topic, *index, note, now);
            let failed = recovered.is_err();
            lock(&done).insert((topic.id, *index), recovered);
            if failed {
                break;
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 1..threads.min(all.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().unwrap_or_default();
    if let Some(id) = done.iter().find(|(_, it)| it.is_err()).map(|(id, _)| *id)
        && let Some(Err(error)) = done.remove(&id)
    {
        return Err(error);
    }
    let missing = || io::Error::other("the log of a partition was not read");
    let of_topic = |topic: &Known| {
        (0..)
            .take(topic.replicas.len())
            .map(|index| done.remove(&(topic.id, index)).ok_or_else(missing)?)
            .collect()
    };
    topics.iter().map(of_topic).collect()
}

fn recover_partition(
    data: &Arc<DataDir>,
    topic: &Known,
    index: i32,
    note: Option<PartitionNote>,
    now: Instant,
) -> io::Result<Partition> {
    let replicas = usize::try_from(index).ok();
    let replicas = replicas.and_then(|index| topic.replicas.get(index));
    let mut partition = Partition::to_be_replayed(replicas.cloned().unwrap_or_default());
    let folder = topic.settings.folder(&topic.name, topic.id, index);
    let mut store = DirectoryStore::new(data.clone(), &folder);
    let start_offset = note.map_or(0, |note| note.start_offset);
    let bounds = store.recover(start_offset, |batch| partition.replay(batch, now))?;
    let noted = note.map(|note| note.leader_epoch);
    partition.restored(Box::new(store), bounds, noted);
    Ok(partition)
}

/// A leader that has begun an epoch here is never followed by one of the same, even where it appends nothing.
fn note_leaders(data: &DataDir, topics: &[Known], partitions: &[Vec<Partition>]) -> io::Result<()> {
    let mut changes = Vec::new();
    for (topic, partitions) in topics.iter().zip(partitions) {
        for (index, partition) in (0..).zip(partitions) {
            let note = PartitionNote {
                start_offset: partition.log.start_offset(),
                leader_epoch: partition.leader_epoch,
            };
            let key = Key::Partition(topic.id, index);
            changes.push(Change::put(&key, &note.to_bytes()));
        }
    }
    changes
        .chunks(NOTES_AT_ONCE)
        .try_for_each(|changes| data.write(changes))
}
