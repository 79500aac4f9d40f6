//! What an observer is told when the metadata is news. In: what was known, and what is. Out: brokers that came and went, leaders that moved.

use super::Metadata;
use crate::kafka::TopicPartition;
use crate::kafka::observe::{ClientEvent, Observer};

/// Tells what is otherwise than before. A first sight of something is no news.
pub(super) fn tell_changes(observer: &dyn Observer, before: &Metadata, after: &Metadata) {
    tell_of_brokers(observer, before, after);
    for (topic, known) in after.topics.changed_since(&before.topics) {
        let Some(known) = known.filter(|known| known.id == topic.id) else {
            continue;
        };
        for (index, (was, is)) in known.partitions.iter().zip(&topic.partitions).enumerate() {
            if was.leader != is.leader {
                observer.on_event(&ClientEvent::LeaderMoved {
                    partition: &TopicPartition::new(topic.name.clone(), index as i32),
                    from: was.leader,
                    to: is.leader,
                });
            }
        }
    }
}

fn tell_of_brokers(observer: &dyn Observer, before: &Metadata, after: &Metadata) {
    if before.brokers.is_empty() {
        return;
    }
    let of = |metadata: &Metadata, other: &Metadata| -> Vec<i32> {
        let address = |metadata: &Metadata, id| Some(metadata.brokers.get(id)?.address.clone());
        let ids = metadata.brokers.keys();
        ids.filter(|id| address(metadata, id) != address(other, id))
            .copied()
            .collect()
    };
    let (gained, lost) = (of(after, before), of(before, after));
    if !gained.is_empty() || !lost.is_empty() {
        observer.on_event(&ClientEvent::BrokersChanged {
            gained: &gained,
            lost: &lost,
        });
    }
}
