//! Topics created, altered and deleted. In: names, and what they are to be. Out: what came of each.

use std::collections::BTreeMap;

use clap::Args;
use pat_events::kafka::admin::{ConfigResource, CreateTopicsOptions, NewPartitions};
use pat_events::kafka::{Admin, ErrorCode, NewTopic};
use serde_json::json;

use crate::Outcome;
use crate::admin::configs::{self, Changes};
use crate::admin::partitions::{TopicName, topics};
use crate::listing::{Form, Listing};

/// Create topics.
#[derive(Args)]
pub struct Create {
    /// Their names.
    #[arg(required = true)]
    topics: Vec<String>,
    /// The number of partitions; the brokers' default without it.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// The number of replicas of each partition; the brokers' default without it.
    #[arg(short, long, visible_alias = "replication-factor", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// The brokers of each partition, the first of which leads: 1:2,2:3 for two partitions.
    #[arg(long, value_name = "BROKERS", value_parser = assignment, conflicts_with_all = ["partitions", "replicas"])]
    replica_assignment: Option<Assignment>,
    /// A setting of the topic, such as retention.ms=3600000; may be given several times.
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    configs: Vec<(String, String)>,
    /// A topic that is there already is no failure. It stays as it is.
    #[arg(long)]
    if_not_exists: bool,
    /// Only ask whether it could be done.
    #[arg(long)]
    dry_run: bool,
}

/// Give topics more partitions, or other settings.
#[derive(Args)]
pub struct Alter {
    /// Their names, or patterns that begin with ^.
    #[arg(required = true)]
    topics: Vec<TopicName>,
    /// The number of partitions that they are to have; more than they have now. Keys go to other partitions then.
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// The brokers of each new partition, the first of which leads: 1:2,2:3 for two more partitions.
    #[arg(long, value_name = "BROKERS", value_parser = assignment, requires = "partitions")]
    replica_assignment: Option<Assignment>,
    #[command(flatten)]
    changes: Changes,
    /// A topic that does not exist is no failure.
    #[arg(long)]
    if_exists: bool,
    /// Only ask whether it could be done.
    #[arg(long)]
    dry_run: bool,
}

/// Delete topics and everything in them.
#[derive(Args)]
pub struct Delete {
    /// Their names, or patterns that begin with ^ (see them with --dry-run first).
    #[arg(required = true)]
    topics: Vec<TopicName>,
    /// A topic that does not exist is no failure.
    #[arg(long)]
    if_exists: bool,
    /// Only print what would be deleted.
    #[arg(long)]
    dry_run: bool,
}

/// The brokers of each partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment(Vec<Vec<i32>>);

/// Reads `1:2,2:3`.
fn assignment(text: &str) -> Result<Assignment, String> {
    let partition = |text: &str| text.split(':').map(|id| id.trim().parse()).collect();
    let partitions: Result<Vec<Vec<i32>>, std::num::ParseIntError> =
        text.split(',').map(partition).collect();
    partitions.map(Assignment).map_err(|_| {
        format!("{text:?} is no assignment: write the brokers of each partition, such as 1:2,2:3")
    })
}

impl Create {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let new = self.topics.iter().map(|name| {
            let mut new = match &self.replica_assignment {
                Some(Assignment(replicas)) => NewTopic::with_replicas(name, replicas.clone()),
                None => NewTopic::new(name, 1),
            };
            if self.replica_assignment.is_none() {
                (new.partitions, new.replication_factor) = (self.partitions, self.replicas);
            }
            new.configs.clone_from(&self.configs);
            new
        });
        let new: Vec<_> = new.collect();
        let options = match self.dry_run {
            true => CreateTopicsOptions::validate_only(),
            false => CreateTopicsOptions::default(),
        };
        let mut listing = Listing::new(form, &[]);
        for (name, result) in admin.create_topics_with(&new, &options).await? {
            let thing = |created: bool| json!({"topic": name, "created": created});
            match result {
                Ok(created) => {
                    let mut thing = thing(!self.dry_run);
                    thing["id"] = json!(created.id.map(|id| id.to_string()));
                    thing["partitions"] = json!(created.partitions);
                    thing["replication_factor"] = json!(created.replication_factor);
                    let done = match self.dry_run {
                        true => "could be created",
                        false => "created",
                    };
                    listing.done(thing, format!("{done}: {name}"));
                }
                Err(error)
                    if self.if_not_exists
                        && error.server_error() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) =>
                {
                    listing.done(thing(false), format!("there already: {name}"));
                }
                Err(error) => listing.failed(json!({"topic": name}), &error),
            }
        }
        listing.end()
    }
}

/// The names of the topics that are meant. What there is not is a failure, unless it may be missing.
async fn names(
    admin: &Admin,
    named: &[TopicName],
    may_be_missing: bool,
    listing: &mut Listing,
) -> Outcome<Vec<String>> {
    let has_patterns = named
        .iter()
        .any(|name| matches!(name, TopicName::Matching(_)));
    if has_patterns || may_be_missing {
        // Listed, so that a missing one is no error of a broker.
        let all = admin.list_topics().await?;
        let known = |name: &TopicName| match name {
            TopicName::Exactly(name) => all.contains_key(name),
            TopicName::Matching(_) => true,
        };
        let there: Vec<_> = named
            .iter()
            .filter(|name| !may_be_missing || known(name))
            .cloned()
            .collect();
        if there.is_empty() {
            return Ok(Vec::new());
        }
        return Ok(topics(admin, &there, false, listing)
            .await?
            .into_keys()
            .collect());
    }
    let exact = named.iter().filter_map(|name| match name {
        TopicName::Exactly(name) => Some(name.clone()),
        TopicName::Matching(_) => None,
    });
    Ok(exact.collect())
}

impl Alter {
    /// Fails when nothing is to change.
    pub fn check(&self) -> Outcome {
        match self.partitions {
            Some(_) if !self.changes.are_given() => Ok(()),
            _ => self.changes.read().map(drop),
        }
    }

    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let mut listing = Listing::new(form, &[]);
        let names = names(admin, &self.topics, self.if_exists, &mut listing).await?;
        if names.is_empty() {
            return listing.end();
        }
        if let Some(total) = self.partitions {
            let mut new = NewPartitions::total(total);
            if let Some(Assignment(replicas)) = &self.replica_assignment {
                new = new.replicas(replicas.clone());
            }
            let wanted: BTreeMap<&str, NewPartitions> = names
                .iter()
                .map(|name| (name.as_str(), new.clone()))
                .collect();
            let done = match self.dry_run {
                true => "could have",
                false => "has",
            };
            for (name, result) in admin.create_partitions(&wanted, self.dry_run).await? {
                let thing = json!({"topic": name, "partitions": total, "dry_run": self.dry_run});
                listing.result(thing, result, format!("{name} {done} {total} partitions"));
            }
        }
        if self.changes.are_given() {
            let resources: Vec<_> = names.iter().map(ConfigResource::topic).collect();
            let changes = self.changes.read()?;
            configs::alter(admin, &resources, &changes, self.dry_run, &mut listing).await?;
        }
        listing.end()
    }
}

impl Delete {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let mut listing = Listing::new(form, &[]);
        let names = names(admin, &self.topics, self.if_exists, &mut listing).await?;
        let thing = |name: &str| json!({"topic": name, "deleted": !self.dry_run});
        if self.dry_run {
            for name in &names {
                listing.done(thing(name), format!("would be deleted: {name}"));
            }
            return listing.end();
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for (name, result) in admin.delete_topics(&names).await? {
            match result {
                Ok(()) => listing.done(thing(&name), format!("deleted: {name}")),
                Err(error) => listing.failed(json!({"topic": name}), &error),
            }
        }
        listing.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_of_partitions_are_written_as_kafkas_script_takes_them() {
        assert_eq!(
            assignment("1:2,2:3"),
            Ok(Assignment(vec![vec![1, 2], vec![2, 3]]))
        );
        for wrong in ["", "1:,2", "a", "1;2"] {
            assert!(
                assignment(wrong).is_err_and(|error| error.contains("1:2,2:3")),
                "{wrong}"
            );
        }
    }
}
