//! What the subscribed topics were when they were subscribed to. In: the names, and the metadata as it comes. Out: whether a partition is one
//! that appeared since: everything in it was written under the subscription, so that it is read from its beginning even under `latest`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kafka::cluster::Metadata;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{TopicId, TopicPartition};

/// The topics of a subscription.
#[derive(Debug, Default)]
pub(crate) struct Subscribed(BTreeMap<Arc<str>, Option<Then>>);

/// A topic at the time of the subscription.
#[derive(Clone, Copy, Debug)]
struct Then {
    /// `None` where there are no ids, or there was no topic.
    id: Option<TopicId>,
    partitions: usize,
}

impl Then {
    /// There was no topic.
    const NOTHING: Self = Self {
        id: None,
        partitions: 0,
    };
}

impl Subscribed {
    /// These are subscribed to from now on. Those that were before stay as they were.
    pub fn subscribe<'a>(&mut self, topics: impl IntoIterator<Item = &'a str>) {
        let mut before = std::mem::take(&mut self.0);
        self.0 = topics
            .into_iter()
            .map(|topic| {
                let known = before.remove_entry(topic);
                known.unwrap_or_else(|| (topic.into(), None))
            })
            .collect();
    }

    /// The topics of a pattern are others now. One that came was not there at the subscription; one that is gone for good will be another if
    /// it comes again.
    pub fn follow<'a>(
        &mut self,
        topics: impl IntoIterator<Item = &'a str>,
        is_gone: impl Fn(&str) -> bool,
    ) {
        self.0.retain(|topic, _| !is_gone(topic));
        for topic in topics {
            self.0.entry(topic.into()).or_insert(Some(Then::NOTHING));
        }
    }

    /// Learns of topics what was not known of them at the subscription: the first that is heard.
    pub fn learn(&mut self, metadata: &Metadata) {
        for (topic, then) in self.0.iter_mut().filter(|(_, then)| then.is_none()) {
            let missing = metadata.topic_errors.get(topic);
            let missing = missing.is_some_and(|error| error.is_unknown());
            *then = match metadata.topic(topic) {
                Some(known) => Some(Then {
                    id: TopicId::known(known.id),
                    partitions: known.partitions.len(),
                }),
                None if missing => Some(Then::NOTHING),
                None => None,
            };
        }
    }

    /// Whether `partition`, of the topic that has this id now, was not there at the subscription.
    pub fn is_new(&self, partition: &TopicPartition, id: Option<TopicId>) -> bool {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::NewPartitionByPolicy) {
            return false;
        }
        let Some(Some(then)) = self.0.get(&partition.topic) else {
            return false;
        };
        let recreated = then.id.is_some() && id.is_some() && then.id != id;
        let index = usize::try_from(partition.partition).unwrap_or(0);
        recreated || index >= then.partitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::cluster::{PartitionMetadata, TopicError, TopicMetadata};
    use protocol::{ErrorCode, Uuid};

    fn metadata(id: u128, partitions: usize) -> Metadata {
        let partition = PartitionMetadata {
            leader: Some(1),
            leader_epoch: 0,
            replicas: vec![1],
            isr: vec![1],
            error: ErrorCode::NONE,
        };
        let topic = TopicMetadata {
            name: "t".into(),
            id: Uuid::from_u128(id),
            is_internal: false,
            partitions: vec![partition; partitions],
        };
        let mut metadata = Metadata::default();
        metadata.topics.insert(Arc::new(topic));
        metadata
    }

    #[test]
    fn partitions_are_new_that_were_not_there_at_the_subscription() {
        let id = |bits| TopicId::known(Uuid::from_u128(bits));
        let new = |subscribed: &Subscribed, partition, bits| {
            subscribed.is_new(&TopicPartition::new("t", partition), id(bits))
        };
        let mut subscribed = Subscribed::default();
        subscribed.subscribe(["t"]);
        assert!(!new(&subscribed, 9, 1), "nothing is known yet");
        subscribed.learn(&metadata(1, 2));
        subscribed.learn(&metadata(1, 5));
        assert!(!new(&subscribed, 1, 1) && new(&subscribed, 2, 1));
        assert!(new(&subscribed, 0, 2), "of a topic that was re-created");
        subscribed.subscribe(["u", "t"]);
        subscribed.learn(&metadata(1, 5));
        assert!(new(&subscribed, 2, 1), "still the same subscription");
        subscribed.subscribe(["u"]);
        subscribed.subscribe(["t"]);
        subscribed.learn(&metadata(1, 5));
        assert!(!new(&subscribed, 2, 1), "another subscription");
    }

    #[test]
    fn a_topic_that_comes_to_a_pattern_is_new_and_one_that_was_there_is_not() {
        let id = |bits| TopicId::known(Uuid::from_u128(bits));
        let mut subscribed = Subscribed::default();
        subscribed.subscribe(["t"]);
        subscribed.learn(&metadata(1, 2));
        subscribed.follow(["t", "u"], |_| false);
        let first = |topic| TopicPartition::new(topic, 0);
        assert!(!subscribed.is_new(&first("t"), id(1)) && subscribed.is_new(&first("u"), id(2)));
        // Out of sight for a while, and back.
        subscribed.follow(["u"], |_| false);
        subscribed.follow(["t", "u"], |_| false);
        assert!(!subscribed.is_new(&first("t"), id(1)));
        subscribed.follow(["u"], |topic| topic == "t");
        subscribed.follow(["t", "u"], |_| false);
        assert!(subscribed.is_new(&first("t"), id(1)), "deleted and created");
    }

    #[test]
    fn all_of_a_topic_that_did_not_exist_at_the_subscription_is_new() {
        let mut subscribed = Subscribed::default();
        subscribed.subscribe(["t"]);
        let mut before = Metadata::default();
        let unknown = TopicError::Server(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        before.topic_errors.insert("t".into(), unknown);
        subscribed.learn(&before);
        subscribed.learn(&metadata(1, 5));
        let id = TopicId::known(Uuid::from_u128(1));
        assert!(subscribed.is_new(&TopicPartition::new("t", 0), id));
    }
}
