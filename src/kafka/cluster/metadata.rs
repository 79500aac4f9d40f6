//! What the client knows of the cluster: brokers, topics, leaders. Plain data, replaced as a whole; the rules by which news are merged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use protocol::messages::MetadataResponse;
use protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::time::Instant;

use super::leader_doubts::{LeaderClaim, LeaderDoubts};
use super::topic_map::TopicMap;
use crate::kafka::model::names::is_topic;
use crate::kafka::{Address, Error, ErrorKind, TopicPartition};

/// How often in a row the brokers say of a topic that it does not exist before it counts as gone.
const GONE_AFTER: u32 = 5;

/// What is known of the cluster at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The broker that takes requests for the controller; -1 when not known.
    pub controller_id: i32,
    /// Live brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// Tracked topics that exist, by name.
    pub topics: TopicMap,
    /// Why tracked topics were not described when they were last asked for. The topic may be known from before.
    pub topic_errors: BTreeMap<Arc<str>, TopicError>,
    /// How often in a row the brokers have said of a topic that it does not exist.
    pub missed: BTreeMap<Arc<str>, u32>,
    /// Every topic that this client may see, tracked or not, and whether it is the brokers' own; `None` while nobody wants to hear of all.
    pub listed: Option<Arc<TopicList>>,
}

/// Names of topics, and whether each is the brokers' own.
pub(crate) type TopicList = BTreeMap<Arc<str>, bool>;

/// Why a topic was not described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicError {
    /// The broker said so.
    Server(ErrorCode),
    /// The description makes no sense.
    Malformed,
    /// The answer does not mention the topic.
    LeftOut,
}

impl TopicError {
    /// Whether the broker said that there is no such topic.
    pub fn is_unknown(self) -> bool {
        self == Self::Server(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
    }

    /// The error of whoever needs the topic. It never ends a client: it is about this topic alone, whatever the code says elsewhere.
    pub fn error(self, topic: &str) -> Error {
        let error = match self {
            Self::Server(code) => Error::server(code, None),
            Self::Malformed => Error::new(
                ErrorKind::Protocol,
                "the broker's description of the topic makes no sense: its partitions are not numbered 0, 1, 2 …",
            ),
            Self::LeftOut => Error::new(
                ErrorKind::Protocol,
                "the broker's answer leaves the topic out",
            ),
        };
        error.api(ApiKey::METADATA).topic(topic).not_the_end()
    }
}

/// A live broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broker {
    /// Its id.
    pub id: i32,
    /// Where it listens.
    pub address: Address,
    /// The rack it stands in.
    pub rack: Option<String>,
}

/// A topic and its partitions. `Eq` makes comparing two that are shared cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicMetadata {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; zero from brokers that have none. A topic re-created under the same name has another one.
    pub id: Uuid,
    /// Whether it is the brokers' own.
    pub is_internal: bool,
    /// Its partitions: the index is the partition's number.
    pub partitions: Vec<PartitionMetadata>,
}

/// A partition and its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMetadata {
    /// The broker that leads it; `None` while there is none.
    pub leader: Option<i32>,
    /// Goes up with every change of leader; -1 when not known.
    pub leader_epoch: i32,
    /// All brokers that keep a copy.
    pub replicas: Vec<i32>,
    /// Those that are in sync.
    pub isr: Vec<i32>,
    /// What the broker said of it.
    pub error: ErrorCode,
}

/// A leader that a broker named in a response to something else (KIP-951).
#[derive(Clone, Debug)]
pub(crate) struct LeaderHint {
    pub partition: TopicPartition,
    pub leader: i32,
    pub leader_epoch: i32,
    /// Where that broker listens, if it was said.
    pub endpoint: Option<Broker>,
}

impl Metadata {
    /// The topic of this name, if it is known.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name)
    }

    /// Whether the topic is gone, not just missing for a moment: broker after broker says that it does not exist.
    pub fn is_gone(&self, name: &str) -> bool {
        self.missed
            .get(name)
            .is_some_and(|missed| *missed >= GONE_AFTER)
    }

    /// The names of the topics that are known, by id: for answers about many.
    pub fn names_by_id(&self) -> HashMap<Uuid, &Arc<str>> {
        let topics = self.topics.values();
        topics.map(|topic| (topic.id, &topic.name)).collect()
    }

    /// Takes in `response`, of which topics that are `tracked` are of interest. Topics that the response leaves out or has an error for stay
    /// as they were, since a topic that is missing for a moment is not gone.
    pub(super) fn merge(
        &mut self,
        response: &MetadataResponse,
        tracked: &BTreeSet<Arc<str>>,
        doubts: &mut LeaderDoubts,
        now: Instant,
    ) {
        if response.cluster_id.is_some() {
            self.cluster_id.clone_from(&response.cluster_id);
        }
        self.controller_id = response.controller_id;
        self.brokers = brokers_of(response);
        for topic in &response.topics {
            if let Some(name) = topic.name.as_deref().and_then(|name| tracked.get(name)) {
                self.merge_topic(name, topic, doubts, now);
            }
        }
    }

    /// Forgets topics that nobody wants to hear of any more.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.topics.retain(&wanted);
        self.topic_errors.retain(|name, _| wanted(name));
        self.missed.retain(|name, _| wanted(name));
    }

    /// Notes which of the topics that were asked for no response mentions.
    pub fn note_missing(&mut self, responses: &[MetadataResponse], asked: &BTreeSet<Arc<str>>) {
        let mentioned: BTreeSet<&str> = responses
            .iter()
            .flat_map(|response| &response.topics)
            .filter_map(|topic| topic.name.as_deref())
            .collect();
        for topic in asked.iter().filter(|topic| !mentioned.contains(&***topic)) {
            self.topic_errors.insert(topic.clone(), TopicError::LeftOut);
        }
    }

    /// Notes all topics that there are, by an answer to a question for all.
    pub fn list(&mut self, answer: Option<&MetadataResponse>) {
        let listed = answer.map(|answer| {
            let topics = answer.topics.iter().filter_map(|topic| {
                let name = topic.name.as_deref().filter(|name| is_topic(name))?;
                let exists = topic.error_code != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                exists.then(|| (Arc::from(name), topic.is_internal))
            });
            Arc::new(topics.collect::<TopicList>())
        });
        // The same list stays shared: whoever has looked at it need not look again.
        if self.listed != listed {
            self.listed = listed;
        }
    }

    fn merge_topic(
        &mut self,
        name: &Arc<str>,
        topic: &MetadataResponseTopic,
        doubts: &mut LeaderDoubts,
        now: Instant,
    ) {
        let partitions = match topic.error_code {
            ErrorCode::NONE => partitions_of(&topic.partitions),
            code => Err(TopicError::Server(code)),
        };
        match partitions {
            Ok(partitions) => {
                let mut news = TopicMetadata {
                    name: name.clone(),
                    id: topic.topic_id,
                    is_internal: topic.is_internal,
                    partitions,
                };
                let known = self.topics.get(name);
                if let Some(known) = known.filter(|known| known.id == news.id) {
                    news.keep_newer(known, doubts, now);
                }
                if known.is_none_or(|known| **known != news) {
                    self.topics.insert(Arc::new(news));
                }
                self.topic_errors.remove(name);
                self.missed.remove(name);
            }
            Err(error) => {
                if error.is_unknown() {
                    let missed = self.missed.entry(name.clone()).or_default();
                    *missed = missed.saturating_add(1).min(GONE_AFTER);
                }
                self.topic_errors.insert(name.clone(), error);
            }
        }
    }

    /// What is known after a broker named new leaders (KIP-951); `None` when none of that is news.
    pub fn with_leaders(&self, hints: &[LeaderHint]) -> Option<Self> {
        let mut next: Option<Self> = None;
        for hint in hints {
            let known = next.as_ref().unwrap_or(self);
            if let Some(topic) = known.topic_with(hint) {
                let next = next.get_or_insert_with(|| self.clone());
                next.topics.insert(Arc::new(topic));
                let endpoint = hint.endpoint.clone();
                next.brokers
                    .extend(endpoint.map(|broker| (broker.id, broker)));
            }
        }
        next
    }

    /// The topic with the leader that a broker named; `None` when that is no news.
    fn topic_with(&self, hint: &LeaderHint) -> Option<TopicMetadata> {
        let known = self.topics.get(&hint.partition.topic)?;
        let index = usize::try_from(hint.partition.partition).ok()?;
        if hint.leader < 0 || hint.leader_epoch <= known.partitions.get(index)?.leader_epoch {
            return None;
        }
        if hint.endpoint.is_none() && !self.brokers.contains_key(&hint.leader) {
            return None;
        }
        let mut topic = TopicMetadata::clone(known);
        topic.partitions[index].leader = Some(hint.leader);
        topic.partitions[index].leader_epoch = hint.leader_epoch;
        topic.partitions[index].error = ErrorCode::NONE;
        Some(topic)
    }

    /// What is known after a broker was named that was not; `None` when that is no news.
    pub fn with_broker(&self, broker: Broker) -> Option<Self> {
        if self.brokers.contains_key(&broker.id) {
            return None;
        }
        let mut next = self.clone();
        next.brokers.insert(broker.id, broker);
        Some(next)
    }
}

impl TopicMetadata {
    /// The same topic may be described by a broker that is behind: what is known with a later leader epoch stays, unless there are doubts
    /// about it, and partitions never become fewer.
    fn keep_newer(&mut self, known: &Self, doubts: &mut LeaderDoubts, now: Instant) {
        let partitions = self.partitions.iter_mut().zip(&known.partitions);
        for (index, (news, known)) in partitions.enumerate() {
            let (before, says) = (LeaderClaim::of(known), LeaderClaim::of(news));
            if !doubts.believes(&self.name, index, before, says, now) {
                *news = known.clone();
            }
        }
        // Without an id nobody can tell a topic that was re-created from one described by a broker that is behind.
        if !self.id.is_zero() && self.partitions.len() < known.partitions.len() {
            let missing = &known.partitions[self.partitions.len()..];
            self.partitions.extend_from_slice(missing);
        }
    }
}

fn brokers_of(response: &MetadataResponse) -> BTreeMap<i32, Broker> {
    let brokers = response.brokers.iter().filter_map(|broker| {
        let port = u16::try_from(broker.port).ok()?;
        let described = Broker {
            id: broker.node_id,
            address: Address::new(broker.host.as_str(), port),
            rack: broker.rack.clone(),
        };
        Some((broker.node_id, described))
    });
    brokers.collect()
}

/// Partitions in the order of their numbers. Numbers that are not 0, 1, 2 … as many as there are are no topic.
fn partitions_of(
    listed: &[MetadataResponsePartition],
) -> Result<Vec<PartitionMetadata>, TopicError> {
    let mut ordered: Vec<_> = listed.iter().collect();
    ordered.sort_by_key(|partition| partition.partition_index);
    let numbers = ordered
        .iter()
        .map(|partition| i64::from(partition.partition_index));
    if !numbers.eq(0..listed.len() as i64) || listed.is_empty() {
        return Err(TopicError::Malformed);
    }
    let partitions = ordered.into_iter().map(|partition| PartitionMetadata {
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        replicas: partition.replica_nodes.clone(),
        isr: partition.isr_nodes.clone(),
        error: partition.error_code,
    });
    Ok(partitions.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::messages::metadata_response::MetadataResponseBroker;

    fn tracked(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn topic(name: &str, id: u128, leaders: &[(i32, i32)]) -> MetadataResponseTopic {
        let partitions = leaders
            .iter()
            .zip(0..)
            .map(|(leader, index)| MetadataResponsePartition {
                partition_index: index,
                leader_id: leader.0,
                leader_epoch: leader.1,
                ..Default::default()
            });
        MetadataResponseTopic {
            name: Some(name.to_string()),
            topic_id: Uuid::from_u128(id),
            partitions: partitions.collect(),
            ..Default::default()
        }
    }

    fn response(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
        let brokers = (1..=3).map(|id| MetadataResponseBroker {
            node_id: id,
            host: format!("kafka-{id}"),
            port: 9092,
            ..Default::default()
        });
        MetadataResponse {
            brokers: brokers.collect(),
            topics,
            ..Default::default()
        }
    }

    fn hear(
        metadata: &Metadata,
        response: &MetadataResponse,
        tracked: &BTreeSet<Arc<str>>,
    ) -> Metadata {
        let mut doubts = LeaderDoubts::new(std::time::Duration::ZERO);
        let mut metadata = metadata.clone();
        metadata.merge(response, tracked, &mut doubts, Instant::now());
        metadata
    }

    fn leader_hint(partition: i32, leader: i32, leader_epoch: i32) -> LeaderHint {
        LeaderHint {
            partition: TopicPartition::new("a", partition),
            leader,
            leader_epoch,
            endpoint: None,
        }
    }

    fn leader(metadata: &Metadata, topic: &str, partition: usize) -> Option<i32> {
        metadata.topic(topic)?.partitions.get(partition)?.leader
    }

    fn known(topics: Vec<MetadataResponseTopic>) -> Metadata {
        hear(
            &Metadata::default(),
            &response(topics),
            &tracked(&["a", "b"]),
        )
    }

    #[test]
    fn a_broker_that_is_behind_does_not_move_leaders_back() {
        let metadata = known(vec![topic("a", 1, &[(1, 5), (2, 5)])]);
        let stale = response(vec![topic("a", 1, &[(3, 4), (3, 6)])]);
        let merged = hear(&metadata, &stale, &tracked(&["a"]));
        assert_eq!(leader(&merged, "a", 0), Some(1));
        assert_eq!(leader(&merged, "a", 1), Some(3));
    }

    #[test]
    fn a_leader_epoch_that_no_broker_has_is_forgotten() {
        let lie = known(vec![topic("a", 1, &[(1, i32::MAX), (2, 5)])]);
        let hint = known(vec![topic("a", 1, &[(1, 4), (2, 5)])]);
        let hint = hint.with_leaders(&[leader_hint(0, 2, i32::MAX)]);
        let hint = hint.expect("news");
        let truth = response(vec![topic("a", 1, &[(3, 5), (2, 5)])]);
        for mut metadata in [lie, hint] {
            let mut doubts = LeaderDoubts::new(std::time::Duration::ZERO);
            for answer in 1..=3 {
                let now = Instant::now();
                metadata.merge(&truth, &tracked(&["a"]), &mut doubts, now);
                assert_eq!(leader(&metadata, "a", 0) == Some(3), answer == 3);
            }
            assert_eq!(leader(&metadata, "a", 1), Some(2));
        }
    }

    #[test]
    fn a_topic_re_created_under_the_same_name_starts_afresh() {
        let metadata = known(vec![topic("a", 1, &[(1, 50), (1, 50)])]);
        let merged = hear(
            &metadata,
            &response(vec![topic("a", 2, &[(3, 0)])]),
            &tracked(&["a"]),
        );
        assert_eq!(leader(&merged, "a", 0), Some(3));
        assert_eq!(merged.topic("a").expect("known").partitions.len(), 1);
    }

    #[test]
    fn a_topic_that_is_missing_for_a_moment_stays_as_it_was() {
        let metadata = known(vec![topic("a", 1, &[(1, 5)]), topic("b", 2, &[(1, 5)])]);
        let flapping = MetadataResponseTopic {
            error_code: ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ..topic("a", 0, &[])
        };
        let merged = hear(&metadata, &response(vec![flapping]), &tracked(&["a", "b"]));
        assert_eq!(leader(&merged, "a", 0), Some(1));
        assert_eq!(leader(&merged, "b", 0), Some(1));
        let error = merged.topic_errors.get("a");
        let unknown = TopicError::Server(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        assert_eq!(error, Some(&unknown));
        let mut healed = hear(
            &merged,
            &response(vec![topic("a", 1, &[(1, 5)])]),
            &tracked(&["a"]),
        );
        assert!(healed.topic_errors.is_empty());
        healed.retain(|topic| topic == "a");
        assert!(healed.topic("b").is_none(), "what nobody wants is let go");
    }

    #[test]
    fn partitions_never_become_fewer() {
        let metadata = known(vec![topic("a", 1, &[(1, 5), (2, 5)])]);
        let merged = hear(
            &metadata,
            &response(vec![topic("a", 1, &[(1, 5)])]),
            &tracked(&["a"]),
        );
        assert_eq!(leader(&merged, "a", 1), Some(2));
    }

    #[test]
    fn partition_numbers_that_make_no_sense_make_no_topic() {
        for indexes in [vec![0, 2], vec![i32::MAX], vec![-1, 0], vec![0, 0], vec![]] {
            let mut odd = topic("a", 1, &vec![(1, 1); indexes.len()]);
            for (partition, index) in odd.partitions.iter_mut().zip(indexes) {
                partition.partition_index = index;
            }
            let metadata = known(vec![odd]);
            assert!(metadata.topic("a").is_none());
            let error = metadata.topic_errors.get("a").copied();
            assert_eq!(error, Some(TopicError::Malformed));
            let text = TopicError::Malformed.error("a").to_string();
            assert!(!text.contains("UNKNOWN_SERVER_ERROR"), "{text}");
        }
    }

    #[test]
    fn no_code_of_a_topic_ends_a_client() {
        for code in ErrorCode::all() {
            let error = TopicError::Server(code).error("a");
            assert!(!error.is_fatal(), "{error}");
        }
    }

    #[test]
    fn a_topic_that_the_answer_leaves_out_is_noted() {
        let answers = [response(vec![topic("a", 1, &[(1, 5)])])];
        let mut metadata = hear(&Metadata::default(), &answers[0], &tracked(&["a", "b"]));
        metadata.note_missing(&answers, &tracked(&["a", "b"]));
        assert_eq!(metadata.topic_errors.len(), 1);
        assert_eq!(metadata.topic_errors.get("b"), Some(&TopicError::LeftOut));
    }

    #[test]
    fn a_leader_hint_counts_only_when_it_is_newer() {
        let metadata = known(vec![topic("a", 1, &[(1, 5)])]);
        let is_news = |hint| metadata.with_leaders(&[hint]).is_some();
        assert!(!is_news(leader_hint(0, 2, 5)));
        assert!(!is_news(leader_hint(7, 2, 6)));
        assert!(
            !is_news(leader_hint(0, 9, 6)),
            "an unknown broker without an address"
        );
        let endpoint = Some(Broker {
            id: 4,
            address: Address::new("kafka-4", 9092),
            rack: None,
        });
        let fourth = LeaderHint {
            endpoint,
            ..leader_hint(0, 4, 6)
        };
        // The one is no news, the other is used.
        let next = metadata.with_leaders(&[leader_hint(0, 2, 5), fourth]);
        let next = next.expect("news");
        assert_eq!(leader(&next, "a", 0), Some(4));
        assert!(next.brokers.contains_key(&4));
    }
}
