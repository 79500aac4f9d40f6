//! A share session with one broker: what it knows of what is wanted. In: what is wanted, what is acknowledged, what became of requests. Out: what
//! the next request says.
//!
//! The first fetch of a session (epoch 0) names all partitions and can acknowledge nothing; each later request has the next epoch, and says what
//! changed. A request that was not answered, or not as one of the session, ends it: the next fetch begins another.

use std::collections::{BTreeMap, BTreeSet};

use protocol::Uuid;
use protocol::messages::share_fetch_request::{
    AcknowledgementBatch, FetchPartition, FetchTopic, ForgottenTopic,
};

use super::ledger::Sent;
use crate::kafka::group::heartbeats::IdPartition;

/// The epoch by which a session is closed.
pub(super) const FINAL_EPOCH: i32 = -1;

/// One session.
#[derive(Debug, Default)]
pub(super) struct ShareSession {
    /// The next request's; 0 where there is no session.
    epoch: i32,
    /// What the broker knows to be wanted.
    partitions: BTreeSet<IdPartition>,
    /// The same once the request is answered.
    asked: BTreeSet<IdPartition>,
}

/// What a fetch says of partitions.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub epoch: i32,
    pub topics: Vec<FetchTopic>,
    pub forgotten: Vec<ForgottenTopic>,
}

impl ShareSession {
    /// Whether there is one, in which records can be acknowledged.
    pub fn is_open(&self) -> bool {
        self.epoch > 0
    }

    /// The epoch of the next request.
    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    /// What a fetch of all that is `wanted` says, with acknowledgements of such partitions; none where the session is not open.
    pub fn fetch(&mut self, wanted: &BTreeSet<IdPartition>, acknowledged: &[Sent]) -> Said {
        let mut topics: BTreeMap<Uuid, BTreeMap<i32, FetchPartition>> = BTreeMap::new();
        let mut partition = |(id, index): IdPartition| {
            let of_topic = topics.entry(id).or_default();
            of_topic.entry(index).or_insert_with(|| FetchPartition {
                partition_index: index,
                ..Default::default()
            });
        };
        wanted
            .difference(&self.partitions)
            .for_each(|it| partition(*it));
        acknowledged.iter().for_each(|sent| partition(sent.id));
        for Sent { id, runs, .. } in acknowledged {
            let of_topic = topics.get_mut(&id.0);
            if let Some(partition) = of_topic.and_then(|topic| topic.get_mut(&id.1)) {
                partition.acknowledgement_batches = runs
                    .iter()
                    .map(|run| AcknowledgementBatch {
                        first_offset: run.first,
                        last_offset: run.last,
                        acknowledge_types: vec![run.kind],
                        ..Default::default()
                    })
                    .collect();
            }
        }
        let mut forgotten: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
        for (id, index) in self.partitions.difference(wanted) {
            forgotten.entry(*id).or_default().push(*index);
        }
        self.asked.clone_from(wanted);
        Said {
            epoch: self.epoch,
            topics: (topics.into_iter())
                .map(|(topic_id, partitions)| FetchTopic {
                    topic_id,
                    partitions: partitions.into_values().collect(),
                    ..Default::default()
                })
                .collect(),
            forgotten: (forgotten.into_iter())
                .map(|(topic_id, partitions)| ForgottenTopic {
                    topic_id,
                    partitions,
                    ..Default::default()
                })
                .collect(),
        }
    }

    /// A fetch was answered as one of the session.
    pub fn fetched(&mut self) {
        self.partitions = std::mem::take(&mut self.asked);
        self.acknowledged();
    }

    /// Acknowledgements were answered as of the session.
    pub fn acknowledged(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
    }

    /// There is no session any more, or nobody knows.
    pub fn lost(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(topic: u128, index: i32) -> IdPartition {
        (Uuid::from_u128(topic), index)
    }

    /// What a broker makes of it.
    fn tell(known: &mut BTreeSet<IdPartition>, said: &Said) {
        if said.epoch == 0 {
            known.clear();
        }
        for topic in &said.topics {
            known.extend(
                topic
                    .partitions
                    .iter()
                    .map(|it| (topic.topic_id, it.partition_index)),
            );
        }
        for topic in &said.forgotten {
            for index in &topic.partitions {
                known.remove(&(topic.topic_id, *index));
            }
        }
    }

    proptest! {
        #[test]
        fn the_broker_knows_what_is_wanted_after_every_answer_whatever_was_lost(
            steps in prop::collection::vec(
                (prop::collection::btree_set((0..3u128, 0..3), 0..6), any::<bool>()),
                1..20,
            )
        ) {
            let (mut session, mut known, mut epoch) = (ShareSession::default(), BTreeSet::new(), 0);
            for (wanted, is_answered) in steps {
                let wanted = wanted.into_iter().map(|(topic, index)| id(topic, index)).collect();
                let said = session.fetch(&wanted, &[]);
                prop_assert!(said.epoch == 0 || said.epoch == epoch, "the next, or a new session");
                tell(&mut known, &said);
                prop_assert_eq!(&known, &wanted);
                epoch = said.epoch + 1;
                match is_answered {
                    true => session.fetched(),
                    false => session.lost(),
                }
                prop_assert_eq!(session.is_open(), is_answered);
            }
        }
    }

    #[test]
    fn the_epoch_goes_on_after_the_last_one() {
        let mut session = ShareSession {
            epoch: i32::MAX,
            ..ShareSession::default()
        };
        session.acknowledged();
        assert_eq!(session.epoch(), 1);
    }
}
