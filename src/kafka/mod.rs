//! The Kafka client: records in, records out. Knows nothing of events.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `admin` | topics created, deleted, listed, described |
//! | `cluster` | who leads what, and a connection to whoever is asked for |
//! | `config` | what a client can be told, by field, Java-style property or environment variable; the clock and the random numbers |
//! | `consumer` | records in: fetching, positions, commits, the member's side of a rebalance |
//! | `error` | the one error type: what failed, where, why, and whether it may have happened |
//! | `group` | the member's side of a consumer group |
//! | `latency` | how long things take |
//! | `may_pass` | which failures of a question may be different next time |
//! | `names` | names of topics, and texts in requests, by Kafka's rules |
//! | `net` | an address becomes a byte stream, a byte stream becomes a pipelined connection |
//! | `tasks` | the internal tasks, supervised: none ends unseen |
//! | `topic_id` | the id of a topic |
//! | `topic_partition` | the names of topics and partitions |

pub mod admin;
mod cluster;
pub mod config;
pub mod consumer;
mod error;
mod group;
pub(crate) mod latency;
mod may_pass;
mod names;
pub mod net;
#[cfg(planted_defects)]
pub mod planted;
pub mod producer;
mod record;
pub(crate) mod tasks;
mod topic_id;
mod topic_partition;

pub use admin::{
    Admin, ApiVersions, BrokerDescription, ClusterDescription, NewTopic, PartitionDescription,
    TopicDescription,
};
pub(crate) use cluster::backoff::Backoff;
pub use config::{ClientConfig, Clock, Configuration, Random};
pub use consumer::{
    Consumer, ConsumerConfig, ConsumerHandle, IsolationLevel, MissingTopics, OffsetAndMetadata,
    OffsetReset, OwnedRecord, PositionReset, RebalanceListener, RecordView, Records, ResetCause,
    ResetCounts, StartOffset,
};
pub use error::{Error, ErrorKind, Result, ServerError, WriteOutcome};
pub use latency::Latency;
pub use net::{Address, Transport};
pub use producer::{
    Acks, Delivery, Partitioner, Producer, ProducerConfig, ProducerMetrics, RecordMetadata,
};
pub use record::{Header, Record};
pub use topic_id::TopicId;
pub use topic_partition::TopicPartition;

// What of the protocol stands in signatures here.
pub use protocol::compression::{Codec, Compression};
pub use protocol::{ApiKey, ErrorCode};
