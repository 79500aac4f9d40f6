//! The quorum of controllers (KIP-595, KIP-853): described, voters added and removed. In: ids of controllers. Out: who leads, who votes, who is
//! how far.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use protocol::messages::add_raft_voter_request as add;
use protocol::messages::describe_quorum_request as asked;
use protocol::messages::describe_quorum_response::{PartitionData, ReplicaState};
use protocol::messages::{AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest};
use protocol::{ErrorCode, Uuid};

use super::Admin;
use super::each::{Round, Route, checked, unanswered};
use crate::kafka::cluster::Answer;
use crate::kafka::{Address, Error, ErrorKind, Result};

/// The topic that controllers keep the cluster's metadata in.
const METADATA: &str = "__cluster_metadata";

/// The quorum of controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumDescription {
    /// The controller that leads; `None` while there is none.
    pub leader: Option<i32>,
    /// How often a leader has been elected.
    pub leader_epoch: i32,
    /// The offset up to which the metadata is settled.
    pub high_watermark: i64,
    /// Those that elect the leader, by id.
    pub voters: Vec<QuorumReplica>,
    /// Those that only follow, brokers among them, by id.
    pub observers: Vec<QuorumReplica>,
    /// Where the controllers listen, by id (KIP-853; brokers from Kafka 3.9 on).
    pub nodes: BTreeMap<i32, Vec<QuorumListener>>,
}

/// How far a node has followed the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumReplica {
    /// The node's id.
    pub id: i32,
    /// The directory that it keeps the metadata in (KIP-853; brokers from Kafka 3.9 on).
    pub directory_id: Option<DirectoryId>,
    /// The offset up to which it has the metadata; what the leader has beyond it is its lag.
    pub log_end_offset: Option<i64>,
    /// When it fetched last, by the leader's clock, in milliseconds since 1970 (KIP-836; brokers from Kafka 3.3 on).
    pub last_fetch_ms: Option<i64>,
    /// When it had all that the leader had, likewise.
    pub last_caught_up_ms: Option<i64>,
}

/// Where a controller listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuorumListener {
    /// The listener's name, such as `CONTROLLER`.
    pub name: String,
    /// Where.
    pub address: Address,
}

impl QuorumListener {
    /// The listener of this name at this address.
    pub fn new(name: impl Into<String>, address: Address) -> Self {
        Self {
            name: name.into(),
            address,
        }
    }
}

/// The id of a directory in which a node keeps its logs (KIP-858), as `meta.properties` and Kafka's tools show it: 22 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(Uuid);

impl DirectoryId {
    /// The id of these 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid(bytes))
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0.0
    }
}

/// As Kafka's tools print it.
impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// From 22 characters of base64url.
impl FromStr for DirectoryId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let id = text.parse().map_err(|error| {
            let message = format!("{text:?} is no id of a directory");
            Error::new(ErrorKind::Config, message).because(error)
        });
        id.map(Self)
    }
}

/// How voters are added and removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RaftVoterOptions {
    /// The id that the cluster must have; any where there is none.
    pub cluster_id: Option<String>,
}

impl RaftVoterOptions {
    /// The cluster must have this id: `INCONSISTENT_CLUSTER_ID` otherwise.
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = Some(id.into());
        self
    }
}

impl Admin {
    /// The quorum of controllers: who leads, who votes, who is how far. Cancel safe: nothing is changed.
    ///
    /// Errors: `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`DESCRIBE` on the cluster), [`ErrorKind::UnsupportedVersion`] from
    /// clusters with ZooKeeper.
    pub async fn describe_metadata_quorum(&self) -> Result<QuorumDescription> {
        let build = |_: &mut Round<()>| {
            let partition = asked::PartitionData::default();
            let topic = asked::TopicData {
                topic_name: METADATA.to_owned(),
                partitions: vec![partition],
                ..Default::default()
            };
            Ok(DescribeQuorumRequest {
                topics: vec![topic],
                ..Default::default()
            })
        };
        let read =
            |answer: &Answer<DescribeQuorumRequest>, round: &Round<()>| round.all(quorum(answer));
        self.one(Route::Any, build, read).await
    }

    /// Makes a controller a voter (KIP-853): the one of this id, with this directory, that listens there. It has to run and follow already.
    ///
    /// Errors: `DUPLICATE_VOTER`, `INVALID_REQUEST`, `UNSUPPORTED_VERSION` for a quorum whose voters are configured
    /// (`controller.quorum.voters`), `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`ALTER` on the cluster). Needs Kafka 3.9. A call
    /// that is dropped may still be carried out.
    pub async fn add_raft_voter(
        &self,
        id: i32,
        directory_id: DirectoryId,
        listeners: &[QuorumListener],
        options: &RaftVoterOptions,
    ) -> Result<()> {
        let build = |round: &mut Round<()>| {
            let listeners = listeners.iter().map(|it| add::Listener {
                name: it.name.clone(),
                host: it.address.host().to_owned(),
                port: it.address.port(),
                ..Default::default()
            });
            Ok(AddRaftVoterRequest {
                cluster_id: options.cluster_id.clone(),
                timeout_ms: round.timeout_ms,
                voter_id: id,
                voter_directory_id: directory_id.0,
                listeners: listeners.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AddRaftVoterRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            round.all(checked(answer, response.error_code, message, || ()))
        };
        let added = self.one(Route::Controller, build, read).await;
        added.map_err(|error| error.prefixed(&format!("voter {id}")))
    }

    /// Lets a controller vote no more (KIP-853): the one of this id, with this directory. One that leads hands over first.
    ///
    /// Errors: `VOTER_NOT_FOUND`, and as of [`add_raft_voter`](Self::add_raft_voter). Needs Kafka 3.9. A call that is dropped may still be
    /// carried out.
    pub async fn remove_raft_voter(
        &self,
        id: i32,
        directory_id: DirectoryId,
        options: &RaftVoterOptions,
    ) -> Result<()> {
        let build = |_: &mut Round<()>| {
            Ok(RemoveRaftVoterRequest {
                cluster_id: options.cluster_id.clone(),
                voter_id: id,
                voter_directory_id: directory_id.0,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<RemoveRaftVoterRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            round.all(checked(answer, response.error_code, message, || ()))
        };
        let removed = self.one(Route::Controller, build, read).await;
        removed.map_err(|error| error.prefixed(&format!("voter {id}")))
    }
}

fn quorum(answer: &Answer<DescribeQuorumRequest>) -> Result<QuorumDescription> {
    let response = &answer.response;
    let message = response.error_message.as_deref();
    checked(answer, response.error_code, message, || ())?;
    let topics = response.topics.iter();
    let partitions = topics.flat_map(|it| &it.partitions);
    let mut partitions = partitions.filter(|it| it.partition_index == 0);
    let partition = partitions.next();
    let partition: &PartitionData = partition.ok_or_else(|| answer.explain(unanswered()))?;
    if partition.error_code != ErrorCode::NONE {
        let message = partition.error_message.as_deref();
        return Err(answer.error(partition.error_code, message));
    }
    let nodes = response.nodes.iter().map(|node| {
        let listeners = node.listeners.iter();
        let listeners = listeners
            .map(|it| QuorumListener::new(&*it.name, Address::new(&*it.host, it.port)))
            .collect();
        (node.node_id, listeners)
    });
    Ok(QuorumDescription {
        leader: (partition.leader_id >= 0).then_some(partition.leader_id),
        leader_epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: replicas(&partition.current_voters),
        observers: replicas(&partition.observers),
        nodes: nodes.collect(),
    })
}

fn replicas(states: &[ReplicaState]) -> Vec<QuorumReplica> {
    let known = |it: i64| (it >= 0).then_some(it);
    let replicas = states.iter().map(|it| {
        let directory = it.replica_directory_id;
        QuorumReplica {
            id: it.replica_id,
            directory_id: (directory != Uuid::ZERO).then_some(DirectoryId(directory)),
            log_end_offset: known(it.log_end_offset),
            last_fetch_ms: known(it.last_fetch_timestamp),
            last_caught_up_ms: known(it.last_caught_up_timestamp),
        }
    });
    let mut replicas: Vec<_> = replicas.collect();
    replicas.sort_by_key(|replica| replica.id);
    replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_directories_are_read_as_they_are_printed() {
        let id = DirectoryId::from_bytes([7; 16]);
        assert_eq!(id.to_string().parse::<DirectoryId>().expect("an id"), id);
        let error = "no-id".parse::<DirectoryId>().expect_err("no id");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
