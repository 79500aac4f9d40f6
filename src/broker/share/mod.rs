//! What share groups (KIP-932) have acquired and acknowledged, partition by partition, and the sessions by which their members fetch.
//!
//! [`Shares`] owns what every group knows of every partition. It sees neither logs nor sockets: whoever fetches says what the log has, and is told
//! which of it is the member's now. It moves with a partition's leadership, as if it were read back from Kafka's share
//! coordinator, where who holds a record is not kept. In a data directory there is how far each group is done; what it had done beyond that is delivered again.
//!
//! - `partition`: one group's view of one partition
//! - `sessions`: who fetches what, on one node

mod partition;
mod sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::Uuid;
use tokio::time::Instant;

use super::configs::GroupConfig;
use super::storage::{Change, Key, number_to_bytes};
pub(crate) use partition::{Acknowledged, Acquired, Found, Limits, SharePartition};
pub(crate) use sessions::{FINAL_EPOCH, INITIAL_EPOCH, SessionKey, ShareSessions};

/// A partition by its topic's id.
pub(crate) type IdPartition = (Uuid, i32);

/// How share groups deliver; names and defaults are Kafka's `group.share.*` settings.
#[derive(Clone, Debug)]
pub(crate) struct ShareSettings {
    /// For how long a record is its member's.
    pub(crate) record_lock_duration: Duration,
    /// How often a record is delivered at the most.
    pub(crate) delivery_count_limit: i16,
    /// How many records of a partition may be between the first that is not done with and the last that was acquired.
    pub(crate) partition_max_record_locks: i64,
    /// Whether groups begin at the beginning of a log (`share.auto.offset.reset`).
    pub(crate) from_earliest: bool,
}

impl Default for ShareSettings {
    fn default() -> Self {
        Self {
            record_lock_duration: Duration::from_secs(30),
            delivery_count_limit: 5,
            partition_max_record_locks: 2000,
            from_earliest: false,
        }
    }
}

/// All groups' views of all partitions.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    settings: ShareSettings,
    configs: BTreeMap<String, GroupConfig>,
    partitions: BTreeMap<(String, IdPartition), SharePartition>,
}

impl Shares {
    pub(crate) fn new(settings: ShareSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// How this group delivers.
    pub(crate) fn settings(&self, group: &str) -> ShareSettings {
        match self.configs.get(group) {
            Some(config) => config.share(&self.settings),
            None => self.settings.clone(),
        }
    }

    /// What this group sets for itself.
    pub(crate) fn config(&self, group: &str) -> GroupConfig {
        self.configs.get(group).cloned().unwrap_or_default()
    }

    pub(crate) fn set_config(&mut self, group: &str, config: GroupConfig) {
        match config.own().is_empty() {
            true => drop(self.configs.remove(group)),
            false => drop(self.configs.insert(group.to_owned(), config)),
        }
    }

    /// The groups that set something for themselves.
    pub(crate) fn configured(&self) -> impl Iterator<Item = &String> {
        self.configs.keys()
    }

    /// The group's view of a partition, begun now where there is none, and how it delivers. `log`: where the log begins and ends, and its leader's
    /// epoch.
    pub(crate) fn view(
        &mut self,
        group: &str,
        id: IdPartition,
        log: (i64, i64, i32),
    ) -> (&mut SharePartition, ShareSettings) {
        let settings = self.settings(group);
        let (start, end, epoch) = log;
        let begins = match settings.from_earliest {
            true => start,
            false => end,
        };
        let view = self.partitions.entry((group.to_owned(), id));
        let view = view.or_insert_with(|| SharePartition::new(begins, epoch));
        view.led(log, settings.delivery_count_limit);
        (view, settings)
    }

    /// What the group knows of a partition, if it knows it.
    pub(crate) fn known(&mut self, group: &str, id: IdPartition) -> Option<&mut SharePartition> {
        self.partitions.get_mut(&(group.to_owned(), id))
    }

    /// A member's session is over: what it holds is others'.
    pub(crate) fn release(&mut self, group: &str, member: &str, ids: &BTreeSet<IdPartition>) {
        let limit = self.settings(group).delivery_count_limit;
        for id in ids {
            if let Some(view) = self.known(group, *id) {
                view.release(member, limit);
            }
        }
    }

    /// How far a group is done with a partition, as it is kept.
    pub(crate) fn start_change(group: &str, (topic, partition): IdPartition, start: i64) -> Change {
        let key = Key::ShareStart(group.to_owned(), topic, partition);
        Change::put(&key, &number_to_bytes(start))
    }

    /// Takes back how far a group was done with a partition before its broker ended: what it had acquired beyond that is delivered again.
    pub(crate) fn restore(&mut self, group: &str, id: IdPartition, start: i64) {
        // Whatever epoch the leader has, it knows of no locks.
        let view = SharePartition::new(start, -1);
        self.partitions.insert((group.to_owned(), id), view);
    }

    /// What a data directory forgets with a group.
    pub(crate) fn deletion(&self, group: &str) -> Vec<Change> {
        let keys = self.partitions.keys().filter(|(it, _)| it == group);
        keys.map(|(group, (topic, partition))| {
            Change::remove(&Key::ShareStart(group.clone(), *topic, *partition))
        })
        .collect()
    }

    pub(crate) fn group_deleted(&mut self, group: &str) {
        self.partitions.retain(|(it, _), _| it != group);
    }

    pub(crate) fn topic_deleted(&mut self, topic: &Uuid) {
        self.partitions.retain(|(_, (id, _)), _| id != topic);
    }

    /// When a lock times out, if nothing happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.partitions
            .values()
            .filter_map(SharePartition::next_deadline)
            .min()
    }

    /// Lets locks time out. Returns where.
    pub(crate) fn expire(&mut self, now: Instant) -> BTreeSet<IdPartition> {
        let groups: BTreeSet<&String> = self.partitions.keys().map(|(group, _)| group).collect();
        let limit = |group: &&String| self.settings(group).delivery_count_limit;
        let limits: BTreeMap<String, i16> = groups
            .iter()
            .map(|group| ((*group).clone(), limit(group)))
            .collect();
        let mut changed = BTreeSet::new();
        for ((group, id), view) in &mut self.partitions {
            let limit = limits.get(group).copied().unwrap_or(i16::MAX);
            if view.expire(now, limit) {
                changed.insert(*id);
            }
        }
        changed
    }
}
