//! The directories in which brokers keep their logs (KIP-113, KIP-827): described, and replicas moved between them. In: brokers and replicas.
//! Out: a result for each.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use protocol::messages::describe_log_dirs_response::DescribeLogDirsResult;
use protocol::messages::{AlterReplicaLogDirsRequest, DescribeLogDirsRequest};

use super::each::{Ask, Round, Route, checked};
use super::{Admin, by_topic};
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, Result, TopicPartition};

/// A directory in which a broker keeps logs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDirDescription {
    /// The replicas in it.
    pub replicas: BTreeMap<TopicPartition, LogDirReplica>,
    /// How large its volume is, in bytes (KIP-827; brokers from Kafka 3.3 on).
    pub total_bytes: Option<u64>,
    /// How much of that is free, in bytes.
    pub usable_bytes: Option<u64>,
    /// Whether no new replicas are put into it (KIP-1066; brokers from Kafka 4.4 on).
    pub is_cordoned: bool,
}

/// A replica in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogDirReplica {
    /// How large its log is, in bytes.
    pub size_bytes: i64,
    /// How many offsets it is behind: the leader, or, of a future one, the replica that it is to take the place of.
    pub offset_lag: i64,
    /// Whether it is on the way into this directory, to take the place of the one in another.
    pub is_future: bool,
}

/// A partition's replica at a broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Replica {
    /// Of which partition.
    pub partition: TopicPartition,
    /// At the broker of this id.
    pub broker: i32,
}

impl Replica {
    /// The replica of this partition at the broker of this id.
    pub fn new(partition: TopicPartition, broker: i32) -> Self {
        Self { partition, broker }
    }
}

/// Such as `orders-0 at broker 1`.
impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at broker {}", self.partition, self.broker)
    }
}

/// Where a broker keeps a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaLogDirs {
    /// The directory, and how many offsets the replica is behind the leader; `None` where the broker has no such replica.
    pub current: Option<(String, i64)>,
    /// The directory that it is on the way to, and how many offsets it is behind the one that it takes the place of.
    pub future: Option<(String, i64)>,
}

/// What a broker said of each of its directories, by path.
pub type LogDirs = BTreeMap<String, Result<LogDirDescription>>;

impl Admin {
    /// The directories of brokers, by id, and in each what it holds: a result for each broker, and in it one for each directory, which is
    /// `KAFKA_STORAGE_ERROR` for one whose disk failed. Cancel safe: nothing is changed.
    ///
    /// Errors by broker: that it does not answer, and an authorization error where the client may not (`DESCRIBE` on the cluster; brokers
    /// before Kafka 3.2 list no directories then).
    pub async fn describe_log_dirs(
        &self,
        brokers: &[i32],
    ) -> Result<BTreeMap<i32, Result<LogDirs>>> {
        let items = brokers.iter().copied().collect();
        let route = Route::Broker(Box::new(|broker: &i32| *broker));
        let ask = Ask::new(route, items, |_: &i32, error| error);
        let build = |_: &mut Round<i32>| {
            Ok(DescribeLogDirsRequest {
                topics: None,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeLogDirsRequest>, round: &Round<i32>| {
            round.all(log_dirs(answer))
        };
        self.each(ask, build, read).await
    }

    /// In which directories brokers keep replicas: a result for each. Cancel safe: nothing is changed.
    ///
    /// Errors by replica: as of [`describe_log_dirs`](Self::describe_log_dirs), and that of the directory in which it is said to be.
    pub async fn describe_replica_log_dirs(
        &self,
        replicas: &[Replica],
    ) -> Result<BTreeMap<Replica, Result<ReplicaLogDirs>>> {
        let build = |round: &mut Round<Replica>| {
            let partitions = round.items.iter().map(|it| &it.partition);
            let topics = by_topic(partitions).into_iter();
            let topics = topics.map(|(topic, partitions)| DescribableLogDirTopic {
                topic,
                partitions,
                ..Default::default()
            });
            Ok(DescribeLogDirsRequest {
                topics: Some(topics.collect()),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeLogDirsRequest>, round: &Round<Replica>| {
            let said = log_dirs(answer);
            let items = round.items.iter();
            items
                .map(|it| (it.clone(), said.clone().and_then(|dirs| place_of(it, dirs))))
                .collect()
        };
        self.each(of_replicas(replicas.iter().cloned().collect()), build, read)
            .await
    }

    /// Moves replicas into other directories of their brokers, which copy them before they take their place: a result for each. A replica that
    /// a broker does not have yet is created there.
    ///
    /// Errors by replica: `LOG_DIR_NOT_FOUND`, `REPLICA_NOT_AVAILABLE` where the broker does not have it now, `KAFKA_STORAGE_ERROR`, an
    /// authorization error where the client may not (`ALTER` on the cluster). A call that is dropped may still be carried out.
    pub async fn alter_replica_log_dirs(
        &self,
        directories: &BTreeMap<Replica, String>,
    ) -> Result<BTreeMap<Replica, Result<()>>> {
        let build = |round: &mut Round<Replica>| {
            let mut by_path: BTreeMap<&String, Vec<&TopicPartition>> = BTreeMap::new();
            for replica in &round.items {
                let path = &directories[replica];
                by_path.entry(path).or_default().push(&replica.partition);
            }
            let dirs = by_path.into_iter().map(|(path, partitions)| {
                let topics = by_topic(partitions).into_iter();
                let topics = topics.map(|(name, partitions)| AlterReplicaLogDirTopic {
                    name,
                    partitions,
                    ..Default::default()
                });
                AlterReplicaLogDir {
                    path: path.clone(),
                    topics: topics.collect(),
                    ..Default::default()
                }
            });
            Ok(AlterReplicaLogDirsRequest {
                dirs: dirs.collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AlterReplicaLogDirsRequest>, round: &Round<Replica>| {
            let Some(broker) = round.items.first().map(|it| it.broker) else {
                return BTreeMap::new();
            };
            let topics = answer.response.results.iter();
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(move |it| {
                        let at = TopicPartition::new(&*topic.topic_name, it.partition_index);
                        let result = checked(answer, it.error_code, None, || ());
                        (Replica::new(at, broker), result)
                    })
                })
                .collect()
        };
        self.each(
            of_replicas(directories.keys().cloned().collect()),
            build,
            read,
        )
        .await
    }
}

/// The brokers of replicas.
fn of_replicas(replicas: BTreeSet<Replica>) -> Ask<Replica> {
    let route = Route::Broker(Box::new(|it: &Replica| it.broker));
    Ask::new(route, replicas, |it: &Replica, error: Error| {
        error.topic_partition(it.partition.topic.clone(), it.partition.partition)
    })
}

fn log_dirs(answer: &Answer<DescribeLogDirsRequest>) -> Result<LogDirs> {
    let response = &answer.response;
    checked(answer, response.error_code, None, || {
        let results = response.results.iter();
        results
            .map(|it| {
                let described = checked(answer, it.error_code, None, || log_dir(it));
                (it.log_dir.clone(), described)
            })
            .collect()
    })
}

fn log_dir(it: &DescribeLogDirsResult) -> LogDirDescription {
    let replicas = it.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|it| {
            let at = TopicPartition::new(&*topic.name, it.partition_index);
            let replica = LogDirReplica {
                size_bytes: it.partition_size,
                offset_lag: it.offset_lag,
                is_future: it.is_future_key,
            };
            (at, replica)
        })
    });
    LogDirDescription {
        replicas: replicas.collect(),
        total_bytes: u64::try_from(it.total_bytes).ok(),
        usable_bytes: u64::try_from(it.usable_bytes).ok(),
        is_cordoned: it.is_cordoned,
    }
}

/// Where among a broker's directories a replica is. That a directory could not be described matters only where it is in no other.
fn place_of(replica: &Replica, dirs: LogDirs) -> Result<ReplicaLogDirs> {
    let mut places = ReplicaLogDirs::default();
    let mut failed = None;
    for (path, described) in dirs {
        match described {
            Ok(described) => match described.replicas.get(&replica.partition) {
                Some(it) if it.is_future => places.future = Some((path, it.offset_lag)),
                Some(it) => places.current = Some((path, it.offset_lag)),
                None => {}
            },
            Err(error) => failed = Some(error),
        }
    }
    match (failed, &places.current) {
        (Some(error), None) => Err(error),
        _ => Ok(places),
    }
}

#[cfg(test)]
mod tests {
    use protocol::ErrorCode;

    use super::*;

    #[test]
    fn a_directory_that_failed_matters_where_a_replica_is_in_no_other() {
        let at = TopicPartition::new("t", 0);
        let replica = Replica::new(at.clone(), 1);
        let of = |is_future| LogDirDescription {
            replicas: BTreeMap::from([(
                at.clone(),
                LogDirReplica {
                    size_bytes: 10,
                    offset_lag: i64::from(is_future),
                    is_future,
                },
            )]),
            total_bytes: None,
            usable_bytes: None,
            is_cordoned: false,
        };
        let broken = || Err(Error::server(ErrorCode::KAFKA_STORAGE_ERROR, None));
        let dirs = LogDirs::from([
            ("/a".to_owned(), Ok(of(false))),
            ("/b".to_owned(), Ok(of(true))),
            ("/c".to_owned(), broken()),
        ]);
        let places = place_of(&replica, dirs).expect("found");
        assert_eq!(places.current, Some(("/a".to_owned(), 0)));
        assert_eq!(places.future, Some(("/b".to_owned(), 1)));
        let dirs = LogDirs::from([("/c".to_owned(), broken())]);
        let error = place_of(&replica, dirs).expect_err("nowhere else");
        assert_eq!(error.server_error(), Some(ErrorCode::KAFKA_STORAGE_ERROR));
        let none = place_of(&replica, LogDirs::new()).expect("nowhere");
        assert_eq!(none, ReplicaLogDirs::default());
    }
}
