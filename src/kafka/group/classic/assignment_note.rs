//! What a leader of ours writes into the user data of a static member's assignment, for whoever comes back in that member's place (KIP-345): the
//! coordinator gives it the assignment of before, without a rebalance, and nobody else knows what was in the making when the member went. Java and
//! librdkafka do not look at it.

use bytes::{Bytes, BytesMut};

use super::assignor::{Assignment, GroupTopics};
use super::consumer_protocol::Subscription;

/// What the note begins with.
const MARK: &[u8] = b"pat1";

/// By what an assignment came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AssignmentNote {
    /// A fingerprint of the group's topics, and of how many partitions each had.
    pub topics: u64,
    /// Whether the member owned something that it was to give up: nobody gets that before the member has joined once more.
    pub gives_up: bool,
}

impl AssignmentNote {
    /// The note on what a member that wants `subscription` was assigned of these topics.
    pub(super) fn of(
        topics: &GroupTopics,
        subscription: &Subscription,
        assigned: &Assignment,
    ) -> Self {
        let keeps = |topic: &str, partition: i32| {
            let of_topic = assigned.get(topic);
            of_topic.is_some_and(|partitions| partitions.contains(&partition))
        };
        let mut owned = subscription.owned.iter();
        Self {
            topics: fingerprint(topics),
            gives_up: owned.any(|it| !keeps(&it.topic, it.partition)),
        }
    }

    pub(super) fn encode(self) -> Bytes {
        let mut out = BytesMut::from(MARK);
        out.extend_from_slice(&[u8::from(self.gives_up)]);
        out.extend_from_slice(&self.topics.to_be_bytes());
        out.freeze()
    }

    /// The note, if these bytes are one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (gives_up, topics) = bytes.strip_prefix(MARK)?.split_first()?;
        Some(Self {
            topics: u64::from_be_bytes(topics.try_into().ok()?),
            gives_up: *gives_up != 0,
        })
    }
}

/// The same for the same topics with as many partitions each, in every program and version (FNV-1a).
pub(super) fn fingerprint(topics: &GroupTopics) -> u64 {
    let bytes = topics.iter().flat_map(|(name, partitions)| {
        // No name has a zero byte.
        let name = name.as_bytes().iter().copied().chain([0]);
        name.chain(partitions.count.to_be_bytes())
    });
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::TopicPartition;

    fn topics(counts: &[(&str, i32)]) -> GroupTopics {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).into(), (*count).into()))
            .collect()
    }

    #[test]
    fn a_note_round_trips_and_nothing_else_is_one() {
        for gives_up in [false, true] {
            let note = AssignmentNote {
                topics: 0x0102_0304_0506_0708,
                gives_up,
            };
            let bytes = note.encode();
            assert_eq!(bytes.len(), 13);
            assert_eq!(AssignmentNote::decode(&bytes), Some(note));
            assert_eq!(AssignmentNote::decode(&bytes[..12]), None);
            assert_eq!(
                AssignmentNote::decode(&[&bytes[..], &[0]].concat()),
                None,
                "longer"
            );
        }
        assert_eq!(AssignmentNote::decode(b""), None);
        assert_eq!(AssignmentNote::decode(b"pat2\0\0\0\0\0\0\0\0\0"), None);
    }

    /// It is written by one version, and compared by another.
    #[test]
    fn a_fingerprint_stays_what_it_is_and_changes_with_each_count() {
        let known = topics(&[("a", 1), ("b", 2)]);
        assert_eq!(fingerprint(&known), 0x80ed_cc0b_d3c0_bde7);
        for other in [
            &[("a", 2), ("b", 2)][..],
            &[("a", 1)],
            &[("a", 1), ("b", 2), ("c", 0)],
            &[],
        ] {
            assert_ne!(fingerprint(&topics(other)), fingerprint(&known));
        }
    }

    #[test]
    fn who_owned_what_it_was_not_assigned_has_to_give_it_up() {
        let assigned = Assignment::from([("t".into(), vec![0, 2])]);
        for (owned, gives_up) in [(&[0, 2][..], false), (&[], false), (&[1, 2], true)] {
            let owned = owned.iter().map(|it| TopicPartition::new("t", *it));
            let subscription = Subscription {
                owned: owned.collect(),
                ..Subscription::default()
            };
            let note = AssignmentNote::of(&topics(&[("t", 3)]), &subscription, &assigned);
            assert_eq!(note.gives_up, gives_up, "{subscription:?}");
        }
    }
}
