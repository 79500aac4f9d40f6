//! What is said of a consumer group to those who ask about it.

use protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup, Member as DescribedMember, TopicPartitions,
};

use super::group::{ConsumerGroup, by_topic};
use super::member::Partitions;

/// How members are told apart, from version 1 on.
const CLASSIC_MEMBER: i8 = 0;
const CONSUMER_MEMBER: i8 = 1;

impl ConsumerGroup {
    /// What the group is at.
    pub(crate) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self
            .members
            .values()
            .all(|it| it.is_reconciled_to(self.target_epoch))
        {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub(crate) fn describe(&self, group_id: &str) -> DescribedGroup {
        let nothing = Partitions::new();
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            rack_id: member.rack.clone(),
            member_epoch: member.epoch,
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            subscribed_topic_names: member.subscription.topics.iter().cloned().collect(),
            // There is one, if an empty one, as Kafka has it.
            subscribed_topic_regex: Some(member.subscription.pattern.clone().unwrap_or_default()),
            // What it has to give up is its still.
            assignment: self.named(&(&member.assigned | &member.pending_revocation)),
            target_assignment: self.named(self.target.get(id).unwrap_or(&nothing)),
            member_type: match &member.classic {
                Some(_) => CLASSIC_MEMBER,
                None => CONSUMER_MEMBER,
            },
            ..Default::default()
        });
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: self.state().to_owned(),
            group_epoch: self.epoch,
            assignment_epoch: self.target_epoch,
            assignor_name: self.assignor.to_owned(),
            members: members.collect(),
            ..Default::default()
        }
    }

    fn named(&self, partitions: &Partitions) -> Assignment {
        let topic_partitions = by_topic(partitions, |topic_id, partitions| TopicPartitions {
            topic_id,
            topic_name: self.topics.name(&topic_id).unwrap_or_default().to_owned(),
            partitions,
            ..Default::default()
        });
        Assignment {
            topic_partitions,
            ..Default::default()
        }
    }
}
