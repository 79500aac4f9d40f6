//! Topics: names, partitions and where their replicas live.

use std::sync::{Arc, Mutex, MutexGuard};

use protocol::Uuid;

use super::lock;
use super::partition::Partition;
use super::topic_settings::TopicSettings;

/// Kafka's limit, from the length of file names.
const MAX_NAME_LENGTH: usize = 249;

/// A topic; its name may be given to another one once it is deleted, its id never.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    pub(crate) settings: TopicSettings,
    /// Shared with the topic of fewer partitions that this one may have been.
    partitions: Vec<Arc<Mutex<Partition>>>,
}

impl Topic {
    pub(crate) fn new(
        name: String,
        id: Uuid,
        settings: TopicSettings,
        partitions: impl IntoIterator<Item = Partition>,
    ) -> Self {
        let partitions = partitions.into_iter();
        Self {
            name,
            id,
            settings,
            partitions: partitions.map(|it| Arc::new(Mutex::new(it))).collect(),
        }
    }

    /// The same topic with more partitions: those that it has stay what they are.
    pub(crate) fn grown(&self, partitions: impl IntoIterator<Item = Partition>) -> Self {
        let new = partitions.into_iter().map(|it| Arc::new(Mutex::new(it)));
        Self {
            name: self.name.clone(),
            id: self.id,
            settings: self.settings.clone(),
            partitions: self.partitions.iter().cloned().chain(new).collect(),
        }
    }

    /// The same topic with other settings.
    pub(crate) fn altered(&self, settings: TopicSettings) -> Self {
        Self {
            settings,
            ..self.grown([])
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
        self.partitions.iter().map(|partition| lock(partition))
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
