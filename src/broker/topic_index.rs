//! Which topics there are at one moment, by name and by id: what the coordinators of groups assign by.

use std::collections::BTreeMap;

use protocol::Uuid;

/// The topics of one moment; never changes.
#[derive(Debug, Default)]
pub(crate) struct TopicIndex {
    by_name: BTreeMap<String, (Uuid, i32)>,
    names: BTreeMap<Uuid, String>,
}

impl TopicIndex {
    /// The index of these topics, each with its id and the number of its partitions.
    pub(crate) fn new(topics: impl IntoIterator<Item = (String, Uuid, i32)>) -> Self {
        let mut index = Self::default();
        for (name, id, partitions) in topics {
            index.names.insert(id, name.clone());
            index.by_name.insert(name, (id, partitions));
        }
        index
    }

    /// A topic's id, and the number of its partitions.
    pub(crate) fn topic(&self, name: &str) -> Option<(Uuid, i32)> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn name(&self, id: &Uuid) -> Option<&str> {
        self.names.get(id).map(String::as_str)
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
