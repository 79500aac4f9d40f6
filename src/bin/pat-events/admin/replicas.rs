//! `pat-events elect`, `reassign`, `log-dirs`, `features` and `quorum`: what becomes of replicas and brokers. In: partitions, brokers. Out: a line for each.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use pat_events::kafka::admin::{ElectionType, FeatureUpdate, ReassignmentOptions};
use pat_events::kafka::{Error, ErrorCode, TopicPartition};
use serde_json::{Value, json};

use super::Administered;
use super::partitions::{Named, partitions, place, with};
use crate::Outcome;
use crate::cluster::Cluster;
use crate::listing::{Form, Listing};
use crate::times;

/// Elect leaders of partitions: the preferred ones, or whatever replica there is.
#[derive(Args)]
pub struct Elect {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
    /// Topics, partitions or patterns: orders, orders:0,3-5, ^orders\..
    #[arg(required_unless_present = "all")]
    topics: Vec<Named>,
    /// All partitions.
    #[arg(long, conflicts_with = "topics")]
    all: bool,
    /// Take a replica that is not in sync where there is no other: records are lost.
    #[arg(long)]
    unclean: bool,
}

impl Elect {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let mut listing = Listing::new(self.form, &[]);
        let named = match self.all {
            true => None,
            false => Some(partitions(&admin, &self.topics, true, &mut listing).await?),
        };
        let election = match self.unclean {
            true => ElectionType::Unclean,
            false => ElectionType::Preferred,
        };
        if named.as_ref().is_some_and(Vec::is_empty) {
            return listing.end();
        }
        for (at, result) in admin.elect_leaders(election, named.as_deref()).await? {
            let is_needless =
                |error: &Error| error.server_error() == Some(ErrorCode::ELECTION_NOT_NEEDED);
            match result.as_ref().is_err_and(is_needless) {
                true => listing.done(
                    place(&at),
                    format!("as it was: {at} has this leader already"),
                ),
                false => listing.result(place(&at), result, format!("elected: leader of {at}")),
            }
        }
        listing.end()
    }
}

#[derive(Subcommand)]
pub enum Moves {
    /// Print the partitions that are on the move.
    List,
    /// Give partitions these replicas; the first leads.
    To {
        /// Topics, partitions or patterns: orders, orders:0,3-5, ^orders\..
        #[arg(required = true)]
        topics: Vec<Named>,
        /// Ids of brokers, such as 1,2,3.
        #[arg(long, value_delimiter = ',', required = true)]
        replicas: Vec<i32>,
        /// Refuse another number of replicas than there are.
        #[arg(long)]
        keep_replication_factor: bool,
    },
    /// Call off moves of partitions.
    Cancel {
        /// Topics, partitions or patterns.
        #[arg(required = true)]
        topics: Vec<Named>,
    },
}

impl Administered<Moves> {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let (topics, replicas, is_kept) = match &self.action {
            Moves::List => {
                let columns = [
                    ("TOPIC", "topic"),
                    ("PARTITION", "partition"),
                    ("REPLICAS", "replicas"),
                    ("ADDING", "adding"),
                    ("REMOVING", "removing"),
                ];
                let mut listing = Listing::new(self.form, &columns);
                for (at, it) in admin.list_partition_reassignments(None).await? {
                    let moved = json!({"replicas": it.replicas, "adding": it.adding_replicas, "removing": it.removing_replicas});
                    listing.add(with(place(&at), moved));
                }
                return listing.end();
            }
            Moves::To {
                topics,
                replicas,
                keep_replication_factor,
            } => (topics, Some(replicas.clone()), *keep_replication_factor),
            Moves::Cancel { topics } => (topics, None, false),
        };
        let options = match is_kept {
            true => ReassignmentOptions::keep_replication_factor(),
            false => ReassignmentOptions::default(),
        };
        let mut listing = Listing::new(self.form, &[]);
        let named = partitions(&admin, topics, true, &mut listing).await?;
        let targets: BTreeMap<TopicPartition, _> =
            named.into_iter().map(|at| (at, replicas.clone())).collect();
        if targets.is_empty() {
            return listing.end();
        }
        let done = if replicas.is_some() {
            "on the move"
        } else {
            "called off"
        };
        for (at, result) in admin
            .alter_partition_reassignments(&targets, &options)
            .await?
        {
            listing.result(
                with(place(&at), json!({"replicas": replicas})),
                result,
                format!("{done}: {at}"),
            );
        }
        listing.end()
    }
}

/// Print the directories of brokers, and how much each replica in them takes.
#[derive(Args)]
pub struct LogDirs {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
    /// Ids of brokers; all without any.
    #[arg(value_name = "BROKER")]
    of: Vec<i32>,
    /// A line for each replica, too, and not for each directory alone.
    #[arg(long)]
    replicas: bool,
}

impl LogDirs {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let mut brokers = self.of.clone();
        if brokers.is_empty() {
            brokers.extend(
                admin
                    .describe_cluster()
                    .await?
                    .brokers
                    .iter()
                    .map(|it| it.id),
            );
        }
        let directory = [
            ("BROKER", "broker"),
            ("DIRECTORY", "directory"),
            ("REPLICAS", "count"),
            ("BYTES", "bytes"),
            ("USABLE", "usable_bytes"),
            ("TOTAL", "total_bytes"),
        ];
        let replica = [
            ("BROKER", "broker"),
            ("DIRECTORY", "directory"),
            ("TOPIC", "topic"),
            ("PARTITION", "partition"),
            ("BYTES", "bytes"),
            ("LAG", "lag"),
        ];
        let mut listing =
            Listing::new(self.form, if self.replicas { &replica } else { &directory });
        for (broker, directories) in admin.describe_log_dirs(&brokers).await? {
            let directories = match directories {
                Ok(directories) => directories,
                Err(error) => {
                    listing.failed(json!({"broker": broker}), &error);
                    continue;
                }
            };
            for (path, it) in directories {
                let about = json!({"broker": broker, "directory": path});
                let it = match it {
                    Ok(it) => it,
                    Err(error) => {
                        listing.failed(about, &error);
                        continue;
                    }
                };
                let replicas = it.replicas.iter().map(|(at, replica)| {
                    let held = json!({"bytes": replica.size_bytes, "lag": replica.offset_lag, "is_future": replica.is_future});
                    with(with(about.clone(), place(at)), held)
                });
                let replicas: Vec<Value> = replicas.collect();
                let bytes: i64 = it.replicas.values().map(|it| it.size_bytes).sum();
                let whole = json!({"count": replicas.len(), "bytes": bytes, "usable_bytes": it.usable_bytes, "total_bytes": it.total_bytes, "replicas": replicas});
                let thing = with(about.clone(), whole);
                match self.replicas {
                    true => listing.add_with_parts(&thing, &replicas),
                    false => listing.add(thing),
                }
            }
        }
        listing.end()
    }
}

/// Print the features of the cluster with their levels, or change one.
#[derive(Args)]
pub struct Features {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
    /// Bring a feature to this level; may be given several times.
    #[arg(long, value_name = "FEATURE=LEVEL", value_parser = level)]
    upgrade: Vec<(String, i16)>,
    /// Bring a feature down to this level, where nothing is lost by it; may be given several times.
    #[arg(long, value_name = "FEATURE=LEVEL", value_parser = level)]
    downgrade: Vec<(String, i16)>,
    /// Only ask whether it could be done.
    #[arg(long)]
    dry_run: bool,
}

fn level(text: &str) -> Result<(String, i16), String> {
    let (name, level) = crate::cluster::property(text)?;
    let level = level
        .parse()
        .map_err(|_| format!("{level:?} is no level, as in metadata.version=29"))?;
    Ok((name, level))
}

impl Features {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let up = self
            .upgrade
            .iter()
            .map(|(name, level)| (name.as_str(), FeatureUpdate::upgrade(*level)));
        let down = self
            .downgrade
            .iter()
            .map(|(name, level)| (name.as_str(), FeatureUpdate::safe_downgrade(*level)));
        let updates: BTreeMap<&str, FeatureUpdate> = up.chain(down).collect();
        if !updates.is_empty() {
            let mut listing = Listing::new(self.form, &[]);
            let done = if self.dry_run {
                "could be changed"
            } else {
                "changed"
            };
            for (name, result) in admin.update_features(&updates, self.dry_run).await? {
                listing.result(json!({"feature": name}), result, format!("{done}: {name}"));
            }
            return listing.end();
        }
        let columns = [
            ("FEATURE", "feature"),
            ("LEVEL", "level"),
            ("SUPPORTED FROM", "supported_min"),
            ("TO", "supported_max"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        let described = admin.describe_features(None).await?;
        for (name, supported) in &described.supported {
            let level = described.finalized.get(name).map(|it| it.max);
            listing.add(json!({"feature": name, "level": level, "supported_min": supported.min, "supported_max": supported.max}));
        }
        listing.end()
    }
}

/// Print the controllers that keep the cluster's metadata, and the brokers that follow them.
#[derive(Args)]
pub struct Quorum {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
}

impl Quorum {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let quorum = admin.describe_metadata_quorum().await?;
        let columns = [
            ("NODE", "node"),
            ("ROLE", "role"),
            ("LOG END", "log_end"),
            ("LAG", "lag"),
            ("CAUGHT UP", "caught_up"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        let end = |id| {
            quorum
                .voters
                .iter()
                .find(|it| Some(it.id) == id)
                .and_then(|it| it.log_end_offset)
        };
        let leader_end = end(quorum.leader);
        let roles = [("voter", &quorum.voters), ("observer", &quorum.observers)];
        for (role, replica) in roles
            .into_iter()
            .flat_map(|(role, all)| all.iter().map(move |it| (role, it)))
        {
            let role = if Some(replica.id) == quorum.leader {
                "leader"
            } else {
                role
            };
            let lag = leader_end
                .zip(replica.log_end_offset)
                .map(|(end, own)| end.saturating_sub(own));
            listing.add(json!({
                "node": replica.id,
                "role": role,
                "log_end": replica.log_end_offset,
                "lag": lag,
                "caught_up_ms": replica.last_caught_up_ms,
                "caught_up": replica.last_caught_up_ms.map(times::show),
                "leader_epoch": quorum.leader_epoch,
                "high_watermark": quorum.high_watermark,
            }));
        }
        listing.end()
    }
}
