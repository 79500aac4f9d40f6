//! Topics by name, in a map whose copies share what did not change: what is learned of one topic costs a small part of the map, however many
//! topics there are.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::TopicMetadata;

/// Into how many parts the map is cut.
const PARTS: usize = 64;

type Part = BTreeMap<Arc<str>, Arc<TopicMetadata>>;

/// The topics. Cheap to clone, and to compare with a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicMap(Vec<Arc<Part>>);

impl Default for TopicMap {
    fn default() -> Self {
        Self(vec![Arc::default(); PARTS])
    }
}

impl TopicMap {
    fn part_of(name: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        (hasher.finish() % PARTS as u64) as usize
    }

    /// The topic of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.0[Self::part_of(name)].get(name)
    }

    /// Adds the topic, or replaces the one of its name.
    pub fn insert(&mut self, topic: Arc<TopicMetadata>) {
        let part = &mut self.0[Self::part_of(&topic.name)];
        Arc::make_mut(part).insert(topic.name.clone(), topic);
    }

    /// All of them.
    pub fn values(&self) -> impl Iterator<Item = &Arc<TopicMetadata>> {
        self.0.iter().flat_map(|part| part.values())
    }

    /// Forgets those that are not `wanted`.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        for part in &mut self.0 {
            if !part.keys().all(|name| wanted(name)) {
                Arc::make_mut(part).retain(|name, _| wanted(name));
            }
        }
    }

    /// Those that are new or otherwise than in `before`, each with what it was there. Looks at the parts that changed only.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a Arc<TopicMetadata>, Option<&'a Arc<TopicMetadata>>)> {
        let parts = self.0.iter().zip(&before.0);
        let changed = parts.filter(|(now, before)| !Arc::ptr_eq(now, before));
        changed
            .flat_map(|(now, before)| {
                let before = |topic: &Arc<TopicMetadata>| before.get(&topic.name);
                now.values().map(move |topic| (topic, before(topic)))
            })
            .filter(|(now, before)| before.is_none_or(|before| !Arc::ptr_eq(now, before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Uuid;

    fn topic(name: &str, id: u128) -> Arc<TopicMetadata> {
        Arc::new(TopicMetadata {
            name: name.into(),
            id: Uuid::from_u128(id),
            is_internal: false,
            partitions: Vec::new(),
        })
    }

    #[test]
    fn what_is_learned_of_one_topic_leaves_the_others_shared() {
        let mut map = TopicMap::default();
        for number in 0..2_000 {
            map.insert(topic(&format!("t{number}"), 1));
        }
        let before = map.clone();
        assert_eq!(map, before);
        map.insert(topic("t7", 2));
        map.insert(topic("new", 1));
        let changed: Vec<_> = map.changed_since(&before).collect();
        let names: Vec<_> = changed.iter().map(|(topic, _)| &*topic.name).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        for (topic, was) in changed {
            let id = was.map(|was| was.id);
            assert_eq!(id, (*topic.name == *"t7").then(|| Uuid::from_u128(1)));
        }
        let shared = map.0.iter().zip(&before.0);
        let shared = shared.filter(|(now, before)| Arc::ptr_eq(now, before));
        assert!(shared.count() >= PARTS - 2);
        map.retain(|name| name != "new");
        assert!(map.get("new").is_none() && map.get("t7").is_some());
        assert_eq!(map.values().count(), 2_000);
    }
}
