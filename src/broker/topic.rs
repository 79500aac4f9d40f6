//! Topics: names, settings, partitions and where their replicas live.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use protocol::Uuid;

use super::lock;
use super::partition::Partition;

/// Kafka's limit, from the length of file names.
const MAX_NAME_LENGTH: usize = 249;

/// The topic settings that Kafka knows. Those that concern files or time are accepted and shown, and change nothing.
const KNOWN_CONFIGS: &[&str] = &[
    "cleanup.policy",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "delete.retention.ms",
    "file.delete.delay.ms",
    "flush.messages",
    "flush.ms",
    "follower.replication.throttled.replicas",
    "index.interval.bytes",
    "leader.replication.throttled.replicas",
    "local.retention.bytes",
    "local.retention.ms",
    "max.compaction.lag.ms",
    "max.message.bytes",
    "message.timestamp.after.max.ms",
    "message.timestamp.before.max.ms",
    "message.timestamp.type",
    "min.cleanable.dirty.ratio",
    "min.compaction.lag.ms",
    "min.insync.replicas",
    "preallocate",
    "remote.log.copy.disable",
    "remote.log.delete.on.disable",
    "remote.storage.enable",
    "retention.bytes",
    "retention.ms",
    "segment.bytes",
    "segment.index.bytes",
    "segment.jitter.ms",
    "segment.ms",
    "unclean.leader.election.enable",
];

/// What is set for a topic, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    pub(crate) max_message_bytes: usize,
    /// For each partition.
    pub(crate) retention_bytes: u64,
    pub(crate) min_in_sync_replicas: usize,
    /// As they were given.
    pub(crate) configs: BTreeMap<String, String>,
}

impl TopicSettings {
    /// Sets one of Kafka's topic settings; the error is for people.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if !KNOWN_CONFIGS.contains(&name) {
            return Err(format!("Unknown topic config name: {name}"));
        }
        let number = |least: i64| match value.parse::<i64>() {
            Ok(number) if number >= least => Ok(number),
            _ => Err(format!(
                "Invalid value {value} for configuration {name}: a number of at least {least} is allowed"
            )),
        };
        match name {
            "max.message.bytes" => {
                self.max_message_bytes = usize::try_from(number(0)?).unwrap_or(usize::MAX)
            }
            // -1 is for ever.
            "retention.bytes" => {
                self.retention_bytes = u64::try_from(number(-1)?).unwrap_or(u64::MAX)
            }
            "min.insync.replicas" => {
                self.min_in_sync_replicas = usize::try_from(number(1)?).unwrap_or(usize::MAX)
            }
            _ => {}
        }
        self.configs.insert(name.to_owned(), value.to_owned());
        Ok(())
    }
}

/// A topic; its name may be given to another one once it is deleted, its id never.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) settings: TopicSettings,
    partitions: Vec<Mutex<Partition>>,
}

impl Topic {
    pub(crate) fn new(
        name: String,
        id: Uuid,
        settings: TopicSettings,
        replicas: Vec<Vec<i32>>,
    ) -> Self {
        let partitions = replicas
            .into_iter()
            .map(|replicas| Mutex::new(Partition::new(replicas)))
            .collect();
        Self {
            name,
            id,
            settings,
            partitions,
        }
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// A partition, locked: hold it for one step, and no other lock meanwhile.
    pub(crate) fn partition(&self, index: i32) -> Option<MutexGuard<'_, Partition>> {
        Some(lock(self.partitions.get(usize::try_from(index).ok()?)?))
    }

    /// All partitions, each locked in turn.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = MutexGuard<'_, Partition>> {
        self.partitions.iter().map(lock)
    }
}

/// Why Kafka would not take this name, if so.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() {
        return Some("Topic name is invalid: the empty string is not allowed".into());
    }
    if name == "." || name == ".." {
        return Some(format!("Topic name is invalid: '{name}' is not allowed"));
    }
    if name.len() > MAX_NAME_LENGTH {
        return Some(format!(
            "Topic name is invalid: the length of '{name}' is longer than {MAX_NAME_LENGTH}"
        ));
    }
    if !name.chars().all(allowed) {
        return Some(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    None
}

/// Whether Kafka's metric names for both would be the same.
pub(crate) fn names_collide(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.replace('.', "_") == b.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(name_problem(good), None);
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(name_problem(bad).is_some(), "{bad}");
        }
        assert!(names_collide("a.b", "a_b"));
        assert!(!names_collide("a.b", "a-b"));
    }
}
