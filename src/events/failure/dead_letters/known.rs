//! Where the records of dead letters stood that a replay has met: those that come a second time are known by it. Exact within a bound of bytes;
//! beyond it, what was added to least lately is forgotten first, and counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Offsets that are kept together: so many of a partition, two bytes each.
const STRETCH: u32 = 16;
/// What a stretch takes beside its offsets, about.
const OVERHEAD: usize = 160;

/// Origins, by topic, partition and offset.
#[derive(Debug)]
pub(super) struct Known {
    max_bytes: usize,
    bytes: usize,
    names: HashSet<Arc<str>>,
    stretches: HashMap<Place, Stretch>,
    /// Which stretch was added to when, the least lately first.
    order: BTreeMap<u64, Place>,
    clock: u64,
    forgotten: u64,
}

/// A topic, a partition, and the number of a stretch of its offsets.
type Place = (Arc<str>, i32, i64);

#[derive(Debug, Default)]
struct Stretch {
    /// Ascending, from the begin of the stretch on.
    offsets: Vec<u16>,
    added_at: u64,
}

impl Known {
    pub fn within(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            names: HashSet::new(),
            stretches: HashMap::new(),
            order: BTreeMap::new(),
            clock: 0,
            forgotten: 0,
        }
    }

    /// How many were forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Whether the origin was not known.
    pub fn insert(&mut self, topic: &str, partition: i32, offset: i64) -> bool {
        let name = self.name(topic);
        let place = (name, partition, offset >> STRETCH);
        let own_bytes = OVERHEAD + topic.len();
        let bytes = &mut self.bytes;
        let stretch = self.stretches.entry(place.clone()).or_insert_with(|| {
            *bytes += own_bytes;
            Stretch::default()
        });
        let within = offset as u16;
        let Err(at) = stretch.offsets.binary_search(&within) else {
            return false;
        };
        let before = stretch.offsets.capacity();
        stretch.offsets.insert(at, within);
        *bytes += (stretch.offsets.capacity() - before) * size_of::<u16>();
        self.clock += 1;
        self.order.remove(&stretch.added_at);
        stretch.added_at = self.clock;
        self.order.insert(self.clock, place);
        while self.bytes > self.max_bytes && self.order.len() > 1 {
            self.forget_one();
        }
        true
    }

    fn name(&mut self, topic: &str) -> Arc<str> {
        if let Some(name) = self.names.get(topic) {
            return name.clone();
        }
        let name: Arc<str> = topic.into();
        self.names.insert(name.clone());
        name
    }

    fn forget_one(&mut self) {
        let Some((_, place)) = self.order.pop_first() else {
            return;
        };
        if let Some(stretch) = self.stretches.remove(&place) {
            self.forgotten += stretch.offsets.len() as u64;
            let offsets = stretch.offsets.capacity() * size_of::<u16>();
            self.bytes -= OVERHEAD + place.0.len() + offsets;
        }
        // This one, and that of the names.
        if Arc::strong_count(&place.0) == 2 {
            self.names.remove(&place.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn millions_of_letters_take_a_few_bytes_each_and_never_more_than_the_bound() {
        let mut known = Known::within(4 << 20);
        for offset in 0..1_000_000 {
            assert!(known.insert("emails", 0, offset));
        }
        assert_eq!(known.forgotten(), 0);
        assert!(!known.insert("emails", 0, 0) && !known.insert("emails", 0, 999_999));
        assert!(known.bytes < 4 << 20, "{}", known.bytes);
        // Each in a stretch of its own.
        for number in 0..100_000 {
            assert!(known.insert("emails", 1, number << 20));
            assert!(known.bytes <= 4 << 20);
        }
        assert!(known.forgotten() > 1_000_000);
        assert!(
            !known.insert("emails", 1, 99_999 << 20),
            "the newest are known"
        );
        assert!(known.insert("emails", 0, 0), "it was forgotten");
    }

    #[test]
    fn names_are_forgotten_with_what_was_known_of_them() {
        let mut known = Known::within(10_000);
        for number in 0..10_000 {
            assert!(known.insert(&format!("topic-{number}"), 0, 5));
        }
        assert!(known.names.len() < 100, "{}", known.names.len());
        assert_eq!(known.names.len(), known.stretches.len());
    }

    proptest! {
        #[test]
        fn within_the_bound_it_is_a_set(
            origins in prop::collection::vec((0usize..3, 0i32..3, prop_oneof![0i64..100, any::<i64>()]), 0..200),
        ) {
            let mut known = Known::within(1 << 20);
            let mut all = HashSet::new();
            for (topic, partition, offset) in origins {
                let is_new = all.insert((topic, partition, offset));
                prop_assert_eq!(known.insert(["a", "b", "c"][topic], partition, offset), is_new);
            }
            prop_assert_eq!(known.forgotten(), 0);
        }
    }
}
