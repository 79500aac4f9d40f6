//! Transactions (KIP-664, KIP-994, KIP-1152): listed, described, aborted where they hang, and their producers fenced. In: filters and
//! transactional ids. Out: listings, a result for each id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::messages::describe_transactions_response as described;
use protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use protocol::messages::{
    DescribeTransactionsRequest, InitProducerIdRequest, ListTransactionsRequest,
    WriteTxnMarkersRequest,
};

use super::each::{Ask, Round, Route, checked, unanswered};
use super::names::kafka_words;
use super::{Admin, about_partition};
use crate::kafka::cluster::{Answer, CoordinatorKind};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// The longest `transaction.timeout.ms` that is asked for where no transaction is to be begun: no broker finds it too long.
const LONGEST_TIMEOUT_MS: i32 = 60_000;

/// How far a transaction has come.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TransactionState {
    /// None is open, and none has been.
    Empty,
    /// It is open.
    Ongoing,
    /// It is being committed.
    PrepareCommit,
    /// It is being aborted.
    PrepareAbort,
    /// It was committed.
    CompleteCommit,
    /// It was aborted.
    CompleteAbort,
    /// It has timed out, and is about to be aborted.
    PrepareEpochFence,
    /// Its transactional id is about to be forgotten.
    Dead,
    /// One that this version does not know.
    Other(String),
}

kafka_words!(TransactionState, {
    Empty = "Empty",
    Ongoing = "Ongoing",
    PrepareCommit = "PrepareCommit",
    PrepareAbort = "PrepareAbort",
    CompleteCommit = "CompleteCommit",
    CompleteAbort = "CompleteAbort",
    PrepareEpochFence = "PrepareEpochFence",
    Dead = "Dead",
});

/// Which transactions are listed: [`Default`] lists all, each method fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionFilter {
    /// Those in one of these states; in any where there is none.
    pub states: Vec<TransactionState>,
    /// Those of one of these producer ids; of any where there is none.
    pub producer_ids: Vec<i64>,
    /// Those that have been open for longer (KIP-994; brokers from Kafka 3.8 on), to the millisecond.
    pub longer_than: Option<Duration>,
    /// Those whose whole transactional id this regular expression of RE2 matches (KIP-1152; brokers from Kafka 4.1 on).
    pub transactional_id_pattern: Option<String>,
}

impl TransactionFilter {
    /// Those in one of these states.
    pub fn states(mut self, states: impl IntoIterator<Item = TransactionState>) -> Self {
        self.states.extend(states);
        self
    }

    /// Those of one of these producer ids.
    pub fn producer_ids(mut self, ids: impl IntoIterator<Item = i64>) -> Self {
        self.producer_ids.extend(ids);
        self
    }

    /// Those that have been open for longer.
    pub fn longer_than(mut self, duration: Duration) -> Self {
        self.longer_than = Some(duration);
        self
    }

    /// Those whose whole transactional id this regular expression of RE2 matches.
    pub fn transactional_id_pattern(mut self, pattern: impl Into<String>) -> Self {
        self.transactional_id_pattern = Some(pattern.into());
        self
    }

    /// Why a broker of this version of ListTransactions cannot be asked.
    fn refused(&self, version: i16) -> Option<Error> {
        let message = match version {
            0 if self.longer_than.is_some() => {
                "this broker is older than Kafka 3.8 and does not list transactions by how long they are open"
            }
            ..=1 if self.transactional_id_pattern.is_some() => {
                "this broker is older than Kafka 4.1 and does not list transactions by a pattern"
            }
            _ => return None,
        };
        Some(Error::new(ErrorKind::UnsupportedVersion, message))
    }
}

/// A transactional id in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionListing {
    /// The transactional id.
    pub transactional_id: String,
    /// The id of its producer.
    pub producer_id: i64,
    /// How far its transaction has come.
    pub state: TransactionState,
    /// The broker that coordinates it.
    pub coordinator: i32,
}

/// What each broker listed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TransactionListings {
    /// The transactions, by transactional id.
    pub transactions: BTreeMap<String, TransactionListing>,
    /// The brokers that did not answer, by id, and why: the transactions that they coordinate are missing.
    pub failures: BTreeMap<i32, Error>,
}

/// A transactional id and its transaction as its coordinator describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionDescription {
    /// The broker that coordinates it.
    pub coordinator: i32,
    /// How far it has come.
    pub state: TransactionState,
    /// The id of its producer.
    pub producer_id: i64,
    /// The epoch of its producer.
    pub producer_epoch: i32,
    /// How long it may be open (`transaction.timeout.ms`), to the millisecond.
    pub timeout: Duration,
    /// When it was begun, in milliseconds since 1970; `None` where none is open.
    pub started_ms: Option<i64>,
    /// The partitions in it; those that the client may describe.
    pub partitions: BTreeSet<TopicPartition>,
}

/// A transaction that hangs in a partition: its coordinator knows nothing of it, and nothing behind it is to be seen by `read_committed`
/// readers. What [`Admin::describe_producers`] says of its producer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HangingTransaction {
    /// The partition.
    pub partition: TopicPartition,
    /// The producer's id.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// The epoch of the coordinator that ended its last transaction there. Default: 0.
    pub coordinator_epoch: i32,
}

impl HangingTransaction {
    /// The one of this producer in this partition, of which no transaction has ended there yet.
    pub fn new(partition: TopicPartition, producer_id: i64, producer_epoch: i16) -> Self {
        Self {
            partition,
            producer_id,
            producer_epoch,
            coordinator_epoch: 0,
        }
    }

    /// Where transactions of the producer have ended: by a coordinator of this epoch.
    pub fn coordinator_epoch(mut self, epoch: i32) -> Self {
        self.coordinator_epoch = epoch;
        self
    }
}

/// What those that come after a fenced producer are to be fenced against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FencedProducer {
    /// The id of the producer now.
    pub producer_id: i64,
    /// The epoch of the producer now: those of older ones are fenced.
    pub producer_epoch: i16,
}

impl Admin {
    /// The transactional ids that this client may see: each broker lists those that it coordinates. Fails only when none answers. Cancel safe:
    /// nothing is changed.
    ///
    /// A broker that is too old for the filter is a failure of its own. Needs Kafka 3.0.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<TransactionListings> {
        let brokers = self.brokers().await?;
        let route = Route::Broker(Box::new(|broker: &i32| *broker));
        let ask = Ask::new(route, brokers, |_, error| error);
        let build = |round: &mut Round<i32>| {
            if let Some(error) = filter.refused(round.version) {
                return Err(error);
            }
            let longer_than = filter.longer_than.map(|it| it.as_millis());
            Ok(ListTransactionsRequest {
                state_filters: filter.states.iter().map(|it| it.to_string()).collect(),
                producer_id_filters: filter.producer_ids.clone(),
                duration_filter: longer_than.map_or(-1, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
                transactional_id_pattern: filter.transactional_id_pattern.clone(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ListTransactionsRequest>, round: &Round<i32>| {
            let response = &answer.response;
            let listed = || {
                let (coordinator, _) = answer.connection.broker();
                let transactions = response.transaction_states.iter();
                let listing =
                    |it: &protocol::messages::list_transactions_response::TransactionState| {
                        TransactionListing {
                            transactional_id: it.transactional_id.clone(),
                            producer_id: it.producer_id,
                            state: TransactionState::named(&it.transaction_state),
                            coordinator,
                        }
                    };
                transactions.map(listing).collect::<Vec<_>>()
            };
            round.all(checked(answer, response.error_code, None, listed))
        };
        let mut listings = TransactionListings::default();
        let mut has_answer = false;
        for (broker, listed) in self.each(ask, build, read).await? {
            match listed {
                Ok(transactions) => {
                    has_answer = true;
                    let by_id = transactions.into_iter();
                    let by_id = by_id.map(|it| (it.transactional_id.clone(), it));
                    listings.transactions.extend(by_id);
                }
                Err(error) => drop(listings.failures.insert(broker, error)),
            }
        }
        match listings.failures.pop_first() {
            Some((_, error)) if !has_answer => Err(error),
            Some((broker, error)) => {
                listings.failures.insert(broker, error);
                Ok(listings)
            }
            None => Ok(listings),
        }
    }

    /// Transactions as their coordinators describe them: a result for each transactional id. Cancel safe: nothing is changed.
    ///
    /// Errors by id: `TRANSACTIONAL_ID_NOT_FOUND`, `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` where the client may not (`DESCRIBE` on the
    /// transactional id). Needs Kafka 3.0.
    pub async fn describe_transactions(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<TransactionDescription>>> {
        let build = |round: &mut Round<String>| {
            Ok(DescribeTransactionsRequest {
                transactional_ids: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeTransactionsRequest>, _: &Round<String>| {
            let (coordinator, _) = answer.connection.broker();
            let states = answer.response.transaction_states.iter();
            states
                .map(|it| {
                    let described = || description(it, coordinator);
                    let described = checked(answer, it.error_code, None, described);
                    (it.transactional_id.clone(), described)
                })
                .collect()
        };
        self.each(of_transactions(ids), build, read).await
    }

    /// Aborts a transaction that hangs in a partition, which its coordinator knows nothing of (KIP-664): its leader writes the marker that ends
    /// it. For one that its coordinator knows see [`force_terminate_transaction`](Self::force_terminate_transaction).
    ///
    /// Errors: `INVALID_PRODUCER_EPOCH` and `TRANSACTION_COORDINATOR_FENCED` where the partition knows of newer epochs,
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`ALTER` on the cluster). A call that is dropped
    /// may still be carried out.
    pub async fn abort_transaction(&self, hanging: &HangingTransaction) -> Result<()> {
        let at = hanging.partition.clone();
        let build = |_: &mut Round<TopicPartition>| {
            let topic = WritableTxnMarkerTopic {
                name: at.topic.to_string(),
                partition_indexes: vec![at.partition],
                ..Default::default()
            };
            let marker = WritableTxnMarker {
                producer_id: hanging.producer_id,
                producer_epoch: hanging.producer_epoch,
                transaction_result: false,
                topics: vec![topic],
                coordinator_epoch: hanging.coordinator_epoch,
                ..Default::default()
            };
            Ok(WriteTxnMarkersRequest {
                markers: vec![marker],
                ..Default::default()
            })
        };
        let read = |answer: &Answer<WriteTxnMarkersRequest>, _: &Round<TopicPartition>| {
            let markers = answer.response.markers.iter();
            let topics = markers
                .filter(|it| it.producer_id == hanging.producer_id)
                .flat_map(|it| &it.topics);
            topics
                .flat_map(|topic| {
                    topic.partitions.iter().map(|it| {
                        let at = TopicPartition::new(&*topic.name, it.partition_index);
                        (at, checked(answer, it.error_code, None, || ()))
                    })
                })
                .collect()
        };
        let route = Route::Leader(Box::new(TopicPartition::clone));
        let ask = Ask::new(route, BTreeSet::from([at.clone()]), about_partition);
        let mut results = self.each(ask, build, read).await?;
        results.remove(&at).unwrap_or_else(|| Err(unanswered()))
    }

    /// Fences the producers of transactional ids: a result for each. An open transaction is aborted; producers that were begun before fail with
    /// [`ErrorKind::Fenced`] when they go on.
    ///
    /// Errors by id: `TRANSACTIONAL_ID_AUTHORIZATION_FAILED` where the client may not (`WRITE` on the transactional id). An id that was never
    /// used is used then. A call that is dropped may still be carried out; it can be repeated.
    pub async fn fence_producers(
        &self,
        ids: &[&str],
    ) -> Result<BTreeMap<String, Result<FencedProducer>>> {
        let build = |round: &mut Round<String>| {
            Ok(InitProducerIdRequest {
                transactional_id: round.only_first(),
                transaction_timeout_ms: round.timeout_ms.min(LONGEST_TIMEOUT_MS),
                producer_epoch: -1,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<InitProducerIdRequest>, round: &Round<String>| {
            let response = &answer.response;
            let fenced = || FencedProducer {
                producer_id: response.producer_id,
                producer_epoch: response.producer_epoch,
            };
            round.all(checked(answer, response.error_code, None, fenced))
        };
        self.each(of_transactions(ids), build, read).await
    }

    /// Aborts the open transaction of a transactional id, whatever it waits for, also one that is prepared for two-phase commit (KIP-939); its
    /// producer is fenced. Without an open transaction that is all.
    ///
    /// Errors: as of [`fence_producers`](Self::fence_producers).
    pub async fn force_terminate_transaction(&self, id: &str) -> Result<()> {
        let mut fenced = self.fence_producers(&[id]).await?;
        let fenced = fenced.remove(id).unwrap_or_else(|| Err(unanswered()));
        fenced.map(drop)
    }
}

/// The coordinators of transactions, about these transactional ids.
fn of_transactions(ids: &[&str]) -> Ask<String> {
    let ids = ids.iter().map(|id| id.to_string()).collect();
    let route = Route::Coordinator(CoordinatorKind::Transaction, Box::new(String::clone));
    Ask::new(route, ids, |id: &String, error| {
        error.prefixed(&format!("transactional id {id}"))
    })
}

fn description(it: &described::TransactionState, coordinator: i32) -> TransactionDescription {
    let partitions = it.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|partition| TopicPartition::new(&*topic.topic, *partition))
    });
    TransactionDescription {
        coordinator,
        state: TransactionState::named(&it.transaction_state),
        producer_id: it.producer_id,
        producer_epoch: it.producer_epoch.into(),
        timeout: Duration::from_millis(u64::try_from(it.transaction_timeout_ms).unwrap_or(0)),
        started_ms: (it.transaction_start_time_ms >= 0).then_some(it.transaction_start_time_ms),
        partitions: partitions.collect(),
    }
}
