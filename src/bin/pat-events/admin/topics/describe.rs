//! Topics listed and described. In: names, patterns, and what is to be shown. Out: a line for each topic, or for each partition.

use std::collections::BTreeMap;

use clap::Args;
use pat_events::kafka::admin::{
    ConfigDescription, ConfigResource, ConfigSource, DescribeConfigsOptions,
};
use pat_events::kafka::{Admin, PartitionDescription, TopicDescription};
use serde_json::{Value, json};

use crate::Outcome;
use crate::admin::partitions::{TopicName, topics};
use crate::listing::{Form, Listing};

const MIN_IN_SYNC: &str = "min.insync.replicas";

/// Print the names of topics.
#[derive(Args)]
pub struct List {
    /// Those of these names, or that match a pattern that begins with ^; all without any.
    topics: Vec<TopicName>,
    /// Those that the brokers keep for themselves, too.
    #[arg(long)]
    internal: bool,
    /// The numbers of partitions and replicas, and the id, too.
    #[arg(short, long)]
    long: bool,
}

/// Print topics' partitions: number, leader, replicas, in-sync replicas.
#[derive(Args)]
pub struct Describe {
    /// Their names, or patterns that begin with ^; all without any.
    topics: Vec<TopicName>,
    /// Those that the brokers keep for themselves, too.
    #[arg(long)]
    internal: bool,
    /// Only partitions with replicas that are not in sync.
    #[arg(long, visible_alias = "under-replicated-partitions", group = "which")]
    under_replicated: bool,
    /// Only partitions without a leader.
    #[arg(long, visible_alias = "unavailable-partitions", group = "which")]
    unavailable: bool,
    /// Only partitions with fewer replicas in sync than min.insync.replicas says: acks=all is refused there.
    #[arg(long, visible_alias = "under-min-isr-partitions", group = "which")]
    under_min_isr: bool,
    /// Only partitions with just as many replicas in sync as min.insync.replicas says.
    #[arg(long, visible_alias = "at-min-isr-partitions", group = "which")]
    at_min_isr: bool,
    /// Only topics with settings of their own, and these; no partitions.
    #[arg(long, visible_alias = "topics-with-overrides", group = "which")]
    overrides: bool,
}

impl List {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let columns = [
            ("TOPIC", "topic"),
            ("PARTITIONS", "partitions"),
            ("REPLICAS", "replication_factor"),
            ("INTERNAL", "is_internal"),
            ("ID", "id"),
        ];
        let columns: &[_] = if self.long { &columns } else { &[] };
        let mut listing = Listing::new(form, columns);
        for topic in topics(admin, &self.topics, self.internal, &mut listing)
            .await?
            .values()
        {
            let thing = summary(topic);
            match self.long {
                true => listing.add(thing),
                false => listing.done(thing, topic.name.as_str()),
            }
        }
        listing.end()
    }
}

/// What there is to say of a whole topic.
fn summary(topic: &TopicDescription) -> Value {
    let replicas = topic.partitions.iter().map(|it| it.replicas.len()).max();
    json!({
        "topic": topic.name,
        "id": topic.id,
        "is_internal": topic.is_internal,
        "partitions": topic.partitions.len(),
        "replication_factor": replicas,
    })
}

impl Describe {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        if self.overrides {
            return self.overrides(admin, form).await;
        }
        let columns = [
            ("TOPIC", "topic"),
            ("PARTITION", "partition"),
            ("LEADER", "leader"),
            ("REPLICAS", "replicas"),
            ("IN SYNC", "in_sync_replicas"),
            ("OUT OF SYNC", "out_of_sync_replicas"),
        ];
        let mut listing = Listing::new(form, &columns);
        let topics = topics(admin, &self.topics, self.internal, &mut listing).await?;
        let least = match self.under_min_isr || self.at_min_isr {
            true => least_in_sync(admin, &topics, &mut listing).await?,
            false => BTreeMap::new(),
        };
        let is_filtered =
            self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr;
        for (name, topic) in &topics {
            let least = least.get(name).copied();
            let shown = topic
                .partitions
                .iter()
                .filter(|it| self.includes(it, least));
            let parts: Vec<Value> = shown.map(|it| partition(name, it)).collect();
            if parts.is_empty() && is_filtered {
                continue;
            }
            let mut thing = summary(topic);
            thing["partitions"] = json!(parts);
            listing.add_with_parts(&thing, &parts);
        }
        listing.end()
    }

    fn includes(&self, partition: &PartitionDescription, least: Option<usize>) -> bool {
        let in_sync = partition.in_sync_replicas.len();
        (!self.under_replicated || in_sync < partition.replicas.len())
            && (!self.unavailable || partition.leader.is_none())
            && (!self.under_min_isr || least.is_some_and(|least| in_sync < least))
            && (!self.at_min_isr || least == Some(in_sync))
    }

    async fn overrides(&self, admin: &Admin, form: Form) -> Outcome {
        let columns = [("TOPIC", "topic"), ("SETTING", "name"), ("VALUE", "value")];
        let mut listing = Listing::new(form, &columns);
        let topics = topics(admin, &self.topics, self.internal, &mut listing).await?;
        for (name, configs) in configs_of(admin, &topics, &mut listing).await? {
            let own = configs
                .iter()
                .filter(|(_, it)| it.source == ConfigSource::Topic);
            let parts: Vec<Value> = own
                .map(|(setting, it)| json!({"topic": name, "name": setting, "value": it.value}))
                .collect();
            if !parts.is_empty() {
                let mut thing = summary(&topics[&name]);
                thing["configs"] = json!(parts);
                listing.add_with_parts(&thing, &parts);
            }
        }
        listing.end()
    }
}

fn partition(topic: &str, partition: &PartitionDescription) -> Value {
    let is_out = |id: &&i32| !partition.in_sync_replicas.contains(*id);
    let out: Vec<_> = partition.replicas.iter().filter(is_out).collect();
    json!({
        "topic": topic,
        "partition": partition.partition,
        "leader": partition.leader,
        "replicas": partition.replicas,
        "in_sync_replicas": partition.in_sync_replicas,
        "out_of_sync_replicas": out,
    })
}

/// How many replicas of each topic are to be in sync.
async fn least_in_sync(
    admin: &Admin,
    topics: &BTreeMap<String, TopicDescription>,
    listing: &mut Listing,
) -> Outcome<BTreeMap<String, usize>> {
    let configs = configs_of(admin, topics, listing).await?.into_iter();
    let least = configs.filter_map(|(name, configs)| {
        let value = configs.get(MIN_IN_SYNC)?.value.as_ref()?;
        Some((name, value.parse().ok()?))
    });
    Ok(least.collect())
}

async fn configs_of(
    admin: &Admin,
    topics: &BTreeMap<String, TopicDescription>,
    listing: &mut Listing,
) -> Outcome<BTreeMap<String, BTreeMap<String, ConfigDescription>>> {
    let resources: Vec<_> = topics.keys().map(ConfigResource::topic).collect();
    if resources.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut found = BTreeMap::new();
    let options = DescribeConfigsOptions::default();
    for (resource, configs) in admin.describe_configs(&resources, &options).await? {
        match configs {
            Ok(configs) => drop(found.insert(resource.name, configs)),
            Err(error) => listing.failed(json!({"topic": resource.name}), &error),
        }
    }
    Ok(found)
}
