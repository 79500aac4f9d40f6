//! What the brokers say at one moment. In: a client, the topics and groups that are of interest. Out: offsets, and what went wrong with asking.

use std::collections::{BTreeMap, BTreeSet};

use pat_events::kafka::wire::messages::ListGroupsRequest;
use pat_events::kafka::{
    BrokerMetrics, Client, Consumer, ConsumerConfig, ErrorKind, Latency, Result, Target,
    TopicPartition,
};
use tokio::time::Instant;

/// What was to be seen at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    pub at: Instant,
    pub brokers: Vec<i32>,
    /// The end of each partition's log.
    pub ends: BTreeMap<TopicPartition, i64>,
    /// Those that nobody leads.
    pub leaderless: Vec<TopicPartition>,
    /// What each group has committed.
    pub committed: BTreeMap<String, BTreeMap<TopicPartition, i64>>,
    /// How long our own requests took, all in all.
    pub latency: Latency,
    /// What could not be learnt.
    pub errors: Vec<String>,
}

/// Looks at a cluster again and again.
pub struct Sampler {
    client: Client,
    topics: Vec<String>,
    groups: Vec<String>,
    /// Asks for the ends of logs, and for each group for its offsets; none of them joins.
    reader: Option<Consumer>,
    members: BTreeMap<String, Consumer>,
}

impl Sampler {
    /// All topics, and all groups, where none are named.
    pub fn new(client: Client, topics: Vec<String>, groups: Vec<String>) -> Self {
        Self {
            client,
            topics,
            groups,
            reader: None,
            members: BTreeMap::new(),
        }
    }

    pub async fn sample(&mut self) -> Sample {
        let mut sample = Sample {
            at: Instant::now(),
            brokers: Vec::new(),
            ends: BTreeMap::new(),
            leaderless: Vec::new(),
            committed: BTreeMap::new(),
            latency: Latency::default(),
            errors: Vec::new(),
        };
        let asked = self.ask(&mut sample).await;
        sample
            .errors
            .extend(asked.err().map(|error| error.to_string()));
        sample.latency = total(&self.client.broker_metrics());
        sample.at = Instant::now();
        sample
    }

    async fn ask(&mut self, sample: &mut Sample) -> Result<()> {
        let admin = self.client.admin();
        let cluster = admin.describe_cluster().await?;
        sample.brokers = cluster.brokers.iter().map(|broker| broker.id).collect();
        let mut partitions = Vec::new();
        for topic in admin.list_topics().await?.into_values() {
            let topic = match topic {
                Ok(topic) => topic,
                Err(error) => {
                    sample.errors.push(error.to_string());
                    continue;
                }
            };
            let wanted = match self.topics.is_empty() {
                true => !topic.is_internal,
                false => self.topics.contains(&topic.name),
            };
            for partition in topic.partitions.into_iter().filter(|_| wanted) {
                let name = TopicPartition::new(topic.name.as_str(), partition.partition);
                match partition.leader {
                    Some(_) => partitions.push(name),
                    None => sample.leaderless.push(name),
                }
            }
        }
        let reader = match &self.reader {
            Some(reader) => reader,
            None => {
                let config = ConsumerConfig::default();
                self.reader.insert(self.client.consumer(config)?)
            }
        };
        sample.ends = reader.end_offsets(&partitions).await?;
        let groups = self.groups(sample).await?;
        self.members.retain(|group, _| groups.contains(group));
        for group in groups {
            if !self.members.contains_key(&group) {
                let config = ConsumerConfig::new("", &group);
                let member = self.client.consumer(config)?;
                self.members.insert(group.clone(), member);
            }
            match self.members[&group].committed(&partitions).await {
                Ok(committed) => {
                    let committed = committed.into_iter();
                    let committed = committed.map(|(name, it)| (name, it.offset));
                    sample.committed.insert(group, committed.collect());
                }
                Err(error) => sample.errors.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// The groups that are of interest.
    async fn groups(&self, sample: &mut Sample) -> Result<BTreeSet<String>> {
        if !self.groups.is_empty() {
            return Ok(self.groups.iter().cloned().collect());
        }
        let mut groups = BTreeSet::new();
        for broker in sample.brokers.clone() {
            let request = ListGroupsRequest::default();
            let listed = self.client.request(Target::Broker(broker), &request).await;
            match listed {
                Ok(listed) => {
                    let listed = listed.groups.into_iter();
                    groups.extend(listed.map(|group| group.group_id));
                }
                // Groups are still there to be named.
                Err(error) if error.kind() == ErrorKind::UnsupportedVersion => {}
                Err(error) => sample.errors.push(error.to_string()),
            }
        }
        Ok(groups)
    }
}

/// What requests to all brokers took, together.
fn total(brokers: &BTreeMap<i32, BrokerMetrics>) -> Latency {
    let mut total = Latency::default();
    for broker in brokers.values() {
        let latency = &broker.request_latency;
        total.count += latency.count;
        total.sum += latency.sum;
        total.max = total.max.max(latency.max);
        for (sum, count) in total.buckets.iter_mut().zip(latency.buckets) {
            *sum += count;
        }
    }
    total
}
