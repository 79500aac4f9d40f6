//! Groups, their offsets, and members taken away. In: ids. Out: what came of each.

use clap::Args;
use pat_events::kafka::Admin;
use pat_events::kafka::admin::{GroupKind, MemberToRemove};
use serde_json::json;

use super::lag::{committed, described};
use crate::Outcome;
use crate::admin::partitions::{Named, partitions, place, with};
use crate::listing::{Form, Listing};
use crate::notes::note;

/// Delete groups without members, and what they have committed.
#[derive(Args)]
pub struct Delete {
    /// Their ids.
    #[arg(required = true)]
    groups: Vec<String>,
}

/// Delete what a group has committed of topics that no member of it subscribes to: it begins anew there.
#[derive(Args)]
pub struct DeleteOffsets {
    /// Its id.
    group: String,
    /// A topic, some of its partitions, or a pattern: orders, orders:0,3-5, ^orders\.; may be given several times.
    #[arg(short, long = "topic", value_name = "TOPIC", required = true)]
    topics: Vec<Named>,
}

/// Remove members from a group: their partitions go to others at once.
#[derive(Args)]
pub struct RemoveMembers {
    /// Its id.
    group: String,
    /// A member by its id (classic groups); may be given several times.
    #[arg(short, long = "member", value_name = "ID", required_unless_present_any = ["instances", "all"])]
    members: Vec<String>,
    /// A static member by its instance id; may be given several times.
    #[arg(short, long = "instance", value_name = "INSTANCE")]
    instances: Vec<String>,
    /// All members.
    #[arg(long, conflicts_with_all = ["members", "instances"])]
    all: bool,
    /// Why, for the brokers' logs.
    #[arg(long)]
    reason: Option<String>,
}

impl Delete {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let ids: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let mut listing = Listing::new(form, &[]);
        for (id, result) in admin.delete_groups(&ids).await? {
            listing.result(json!({"group": id}), result, format!("deleted: {id}"));
        }
        listing.end()
    }
}

impl DeleteOffsets {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let mut listing = Listing::new(form, &[]);
        let about = json!({"group": self.group});
        let group = described(admin, &[&self.group]).await?.remove(&self.group);
        let is_share = group.is_some_and(|it| it.is_ok_and(|it| it.kind == GroupKind::Share));
        if is_share {
            // What share groups know of a topic is of all of its partitions.
            if self.topics.iter().any(|it| it.partitions.is_some()) {
                return Err("what a share group has of a topic is deleted as a whole: name topics without partitions".into());
            }
            let meant = partitions(admin, &self.topics, true, &mut listing).await?;
            let mut topics: Vec<&str> = meant.iter().map(|at| &*at.topic).collect();
            topics.dedup();
            for (topic, result) in admin
                .delete_share_group_offsets(&self.group, &topics)
                .await?
            {
                let thing = with(json!({"topic": topic}), about.clone());
                listing.result(thing, result, format!("deleted: offsets of {topic}"));
            }
            return listing.end();
        }
        let meant = partitions(admin, &self.topics, true, &mut listing).await?;
        // What was never committed is not deleted.
        let (there, _) = committed(admin, &self.group).await?;
        let (meant, without): (Vec<_>, Vec<_>) =
            meant.into_iter().partition(|at| there.contains_key(at));
        for at in &without {
            let thing = with(place(at), about.clone());
            listing.done(thing, format!("nothing committed: {at}"));
        }
        if meant.is_empty() {
            return listing.end();
        }
        for (at, result) in admin.delete_group_offsets(&self.group, &meant).await? {
            let thing = with(place(&at), about.clone());
            listing.result(thing, result, format!("deleted: offset of {at}"));
        }
        listing.end()
    }
}

impl RemoveMembers {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let mut listing = Listing::new(form, &[]);
        let ids = self.members.iter().cloned().map(MemberToRemove::Member);
        let instances = self.instances.iter().cloned().map(MemberToRemove::Instance);
        let mut members: Vec<_> = ids.chain(instances).collect();
        if self.all {
            let group = described(admin, &[&self.group]).await?.remove(&self.group);
            let Some(group) = group.transpose()? else {
                return listing.end();
            };
            members = group
                .members
                .into_iter()
                .map(|member| match member.instance_id {
                    Some(instance) => MemberToRemove::Instance(instance),
                    None => MemberToRemove::Member(member.id),
                })
                .collect();
        }
        if members.is_empty() {
            note(format!("group {} has no members", self.group));
            return listing.end();
        }
        let removed =
            admin.remove_members_from_group(&self.group, &members, self.reason.as_deref());
        for (member, result) in removed.await? {
            let (name, id) = match member {
                MemberToRemove::Instance(id) => ("instance_id", id),
                MemberToRemove::Member(id) => ("member", id),
                _ => continue,
            };
            let thing = json!({"group": self.group, name: id});
            listing.result(thing, result, format!("removed: {id}"));
        }
        listing.end()
    }
}
