//! Offsets that were committed in transactions: they count once the marker of their transaction is written (KIP-98, KIP-447).

use std::collections::BTreeMap;

use super::{Committed, OffsetKey};
use crate::broker::storage::Change;
use crate::broker::transactions::offsets_partition;

#[derive(Debug)]
struct Pending {
    committed: Committed,
    /// Its place among all commits.
    place: u64,
    /// Whether the group has committed a later one meanwhile: the latest counts, whichever ends last.
    is_overtaken: bool,
}

type OfGroup = BTreeMap<OffsetKey, Pending>;

/// All that is pending, by producer and group.
#[derive(Debug, Default)]
pub(super) struct PendingOffsets {
    by_producer: BTreeMap<i64, BTreeMap<String, OfGroup>>,
    commits: u64,
}

impl PendingOffsets {
    /// Takes in what a producer commits in its transaction.
    pub(super) fn add(
        &mut self,
        group_id: &str,
        producer_id: i64,
        key: OffsetKey,
        committed: Committed,
    ) {
        self.commits += 1;
        let pending = Pending {
            committed,
            place: self.commits,
            is_overtaken: false,
        };
        let of_producer = self.by_producer.entry(producer_id).or_default();
        let of_group = of_producer.entry(group_id.to_owned()).or_default();
        of_group.insert(key, pending);
    }

    /// Whether the end of a transaction may change what is committed for a partition.
    pub(super) fn is_pending(&self, group_id: &str, key: &OffsetKey) -> bool {
        let groups = self.by_producer.values();
        let mut of_group = groups.filter_map(|groups| groups.get(group_id));
        of_group.any(|pending| pending.contains_key(key))
    }

    /// The group has committed this by itself.
    pub(super) fn overtaken(&mut self, group_id: &str, key: &OffsetKey) {
        self.overtaken_until(u64::MAX, group_id, key);
    }

    fn overtaken_until(&mut self, place: u64, group_id: &str, key: &OffsetKey) {
        for groups in self.by_producer.values_mut() {
            let pending = groups
                .get_mut(group_id)
                .and_then(|pending| pending.get_mut(key));
            if let Some(pending) = pending.filter(|pending| pending.place < place) {
                pending.is_overtaken = true;
            }
        }
    }

    /// What has to be kept before [`end`](Self::end).
    pub(super) fn changes_at_end(
        &self,
        producer_id: i64,
        partition: i32,
        commit: bool,
    ) -> Vec<Change> {
        let groups = self.by_producer.get(&producer_id).into_iter().flatten();
        let mut changes = Vec::new();
        for (group_id, pending) in groups.filter(|(id, _)| offsets_partition(id) == partition) {
            for (key, pending) in pending {
                let committed = &pending.committed;
                changes.push(Change::remove(&committed.pending_key(
                    group_id,
                    producer_id,
                    key,
                )));
                if commit && !pending.is_overtaken {
                    changes.push(committed.change(group_id, key));
                }
            }
        }
        changes
    }

    /// A producer's transaction has ended for the groups of one partition: what is committed now.
    pub(super) fn end(
        &mut self,
        producer_id: i64,
        partition: i32,
        commit: bool,
    ) -> Vec<(String, OffsetKey, Committed)> {
        let Some(groups) = self.by_producer.get_mut(&producer_id) else {
            return Vec::new();
        };
        let is_of_it =
            |group_id: &String, _: &mut OfGroup| offsets_partition(group_id) == partition;
        let ended: BTreeMap<String, OfGroup> = groups.extract_if(.., is_of_it).collect();
        if groups.is_empty() {
            self.by_producer.remove(&producer_id);
        }
        let mut committed = Vec::new();
        for (group_id, pending) in ended {
            for (key, pending) in pending {
                if commit && !pending.is_overtaken {
                    self.overtaken_until(pending.place, &group_id, &key);
                    committed.push((group_id.clone(), key, pending.committed));
                }
            }
        }
        committed
    }

    /// Forgets what is pending for a topic.
    pub(super) fn topic_deleted(&mut self, topic: &str) {
        for pending in self.by_producer.values_mut().flat_map(BTreeMap::values_mut) {
            pending.retain(|key, _| key.topic != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Uuid;

    fn key() -> OffsetKey {
        OffsetKey {
            topic: "t".into(),
            partition: 0,
        }
    }

    fn offset(offset: i64) -> Committed {
        Committed {
            topic_id: Uuid::ZERO,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }

    fn end(pending: &mut PendingOffsets, producer_id: i64, commit: bool) -> Vec<i64> {
        let ended = pending.end(producer_id, offsets_partition("g"), commit);
        ended.iter().map(|(_, _, it)| it.offset).collect()
    }

    #[test]
    fn offsets_count_once_their_transaction_is_committed() {
        let mut pending = PendingOffsets::default();
        pending.add("g", 1, key(), offset(5));
        pending.add("g", 1, key(), offset(6));
        assert!(pending.is_pending("g", &key()) && !pending.is_pending("h", &key()));
        assert!(end(&mut pending, 2, true).is_empty());
        let elsewhere = (offsets_partition("g") + 1) % 50;
        assert!(pending.end(1, elsewhere, true).is_empty());
        assert_eq!(end(&mut pending, 1, true), [6]);
        assert!(!pending.is_pending("g", &key()));
        pending.add("g", 1, key(), offset(7));
        assert!(end(&mut pending, 1, false).is_empty());
        assert!(!pending.is_pending("g", &key()));
    }

    #[test]
    fn the_latest_commit_counts_whichever_transaction_ends_last() {
        let mut pending = PendingOffsets::default();
        pending.add("g", 1, key(), offset(5));
        pending.add("g", 2, key(), offset(6));
        assert_eq!(end(&mut pending, 2, true), [6]);
        assert!(pending.is_pending("g", &key()));
        assert!(end(&mut pending, 1, true).is_empty());
        pending.add("g", 1, key(), offset(7));
        pending.overtaken("g", &key());
        assert!(end(&mut pending, 1, true).is_empty());
        pending.add("g", 1, key(), offset(8));
        pending.add("g", 2, key(), offset(9));
        assert_eq!(end(&mut pending, 1, true), [8]);
        assert_eq!(end(&mut pending, 2, true), [9]);
    }
}
