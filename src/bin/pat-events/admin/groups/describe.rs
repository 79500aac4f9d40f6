//! Groups described: their partitions and lag, their members, or their states. In: ids. Out: a line for each partition, member or group.

use clap::Args;
use pat_events::kafka::admin::{GroupFilter, GroupMember};
use pat_events::kafka::{Admin, TopicPartition};
use serde_json::{Value, json};

use super::lag::{Described, described, lag, object};
use crate::Outcome;
use crate::admin::partitions::{place, with};
use crate::listing::{Column, Form, Listing};

const PARTITIONS: [Column; 9] = [
    ("GROUP", "group"),
    ("TOPIC", "topic"),
    ("PARTITION", "partition"),
    ("OFFSET", "offset"),
    ("END", "end"),
    ("LAG", "lag"),
    ("MEMBERS", "members"),
    ("HOST", "host"),
    ("CLIENT ID", "client_id"),
];
const MEMBERS: [Column; 8] = [
    ("GROUP", "group"),
    ("MEMBER", "member"),
    ("INSTANCE", "instance_id"),
    ("HOST", "host"),
    ("CLIENT ID", "client_id"),
    ("EPOCH", "epoch"),
    ("COUNT", "count"),
    ("PARTITIONS", "assignment"),
];
const STATES: [Column; 7] = [
    ("GROUP", "group"),
    ("KIND", "kind"),
    ("STATE", "state"),
    ("ASSIGNOR", "assignor"),
    ("EPOCH", "epoch"),
    ("MEMBERS", "member_count"),
    ("LAG", "lag"),
];

/// Print what groups have yet to read, by partition; or their members, or their states.
#[derive(Args)]
pub struct Describe {
    /// Their ids; all groups without any.
    groups: Vec<String>,
    /// The members and what they have.
    #[arg(short, long, conflicts_with = "states")]
    members: bool,
    /// A line for each group: kind, state, assignor, epoch, number of members, lag.
    #[arg(short, long = "state")]
    states: bool,
}

impl Describe {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let columns = match (self.members, self.states) {
            (true, _) => &MEMBERS[..],
            (_, true) => &STATES[..],
            _ => &PARTITIONS[..],
        };
        let mut listing = Listing::new(form, columns);
        let mut ids = self.groups.clone();
        if ids.is_empty() {
            let listed = admin.list_groups(&GroupFilter::default()).await?;
            for (broker, error) in &listed.failures {
                listing.failed(json!({"broker": broker}), error);
            }
            ids = listed.groups.into_keys().collect();
        }
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        if ids.is_empty() {
            return listing.end();
        }
        for (id, group) in described(admin, &ids).await? {
            match group {
                Ok(group) => self.one(admin, &id, &group, &mut listing).await?,
                Err(error) => listing.failed(json!({"group": id}), &error),
            }
        }
        listing.end()
    }

    async fn one(
        &self,
        admin: &Admin,
        id: &str,
        group: &Described,
        listing: &mut Listing,
    ) -> Outcome {
        let members: Vec<Value> = group.members.iter().map(|it| member(id, it)).collect();
        // What members alone are asked for needs no offsets.
        let (partitions, failures) = match self.members {
            true => Default::default(),
            false => lag(admin, id, group).await?,
        };
        let parts: Vec<Value> = partitions
            .iter()
            .map(|(at, partition)| object(id, at, partition, group))
            .collect();
        let total: i64 = partitions.values().filter_map(|it| it.lag).sum();
        let state = json!({
            "group": id,
            "kind": group.kind.as_str(),
            "state": group.state.as_str(),
            "assignor": group.assignor,
            "epoch": group.epoch,
            "assignment_epoch": group.assignment_epoch,
            "member_count": group.members.len(),
        });
        match (self.members, self.states) {
            (true, _) => {
                let thing = with(state, json!({"members": members}));
                listing.add_with_parts(&thing, &members);
            }
            (_, true) => listing.add(with(state, json!({"lag": total}))),
            _ => {
                let whole = json!({"lag": total, "members": members, "partitions": parts});
                listing.add_with_parts(&with(state, whole), &parts);
            }
        }
        for (at, error) in &failures {
            listing.failed(with(place(at), json!({"group": id})), error);
        }
        Ok(())
    }
}

fn member(group: &str, member: &GroupMember) -> Value {
    let named = |partitions: &[TopicPartition]| {
        let mut texts: Vec<String> = partitions.iter().map(TopicPartition::to_string).collect();
        texts.sort_unstable();
        texts
    };
    json!({
        "group": group,
        "member": member.id,
        "instance_id": member.instance_id,
        "host": member.host,
        "client_id": member.client_id,
        "rack": member.rack,
        "epoch": member.epoch,
        "subscribed_topics": member.subscribed_topics,
        "subscribed_pattern": member.subscribed_pattern,
        "count": member.assignment.len(),
        "assignment": named(&member.assignment),
        "target_assignment": member.target_assignment.as_deref().map(named),
    })
}
