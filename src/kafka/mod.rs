//! The Kafka client: records in, records out.
//!
//! | to | take |
//! | --- | --- |
//! | write records | [`Producer`] |
//! | write to several partitions, all of it or nothing | [`TransactionalProducer`] |
//! | read as a member of a group, or partitions of your choice | [`Consumer`] |
//! | read records as jobs, each acknowledged by itself | [`ShareConsumer`] |
//! | read, transform and write, each record exactly once | [`exactly_once()`] |
//! | create topics, look at groups, alter configurations | [`Admin`] |
//! | have all of these on the same connections | [`Client`] |
//! | do it without an async runtime | [`blocking`] |
//! | see what happens, and measure it | [`Observer`], [`Metrics`] |
//! | test code that uses it | [`testing`] |
//!
//! ```no_run
//! # async fn example() -> pat_events::kafka::Result<()> {
//! use pat_events::kafka::{Client, ClientConfig, ProducerConfig, Record};
//!
//! // Nothing is sent yet: this works while Kafka is down.
//! let client = Client::lazy(ClientConfig::new("kafka-1:9092,kafka-2:9092"))?;
//! let producer = client.producer(ProducerConfig::default())?;
//! let record = Record::new("orders").key(b"o-1").value(b"{}");
//! let delivery = producer.enqueue(record).await?; // accepted, in order
//! let written = delivery.await?; // acknowledged by all in-sync replicas
//! println!("{} {:?}", written.partition, written.offset);
//! # Ok(())
//! # }
//! ```
//!
//! Every option is a field of a configuration, a property with Java's name, and a
//! variable of the environment: see [`config`]. What can go wrong is one type,
//! [`Error`]; the [guide](crate::guide::errors) says what to do about each kind.

// | module | what lives there |
// | --- | --- |
// | `admin` | what there is to administer a cluster: topics, groups, configuration, rights |
// | `blocking` | producer and consumer for applications with threads of their own |
// | `client` | one client: what producers, consumers and admins share |
// | `cluster` | who leads what, and a connection to whoever is asked for |
// | `config` | what a client can be told, by field, Java-style property or environment variable |
// | `consumer` | records in: fetching, positions, commits, the member's side of a rebalance |
// | `error` | what failed, where, why, and whether it may have happened |
// | `group` | the member's side of a consumer group |
// | `model` | what clients speak of: addresses, partitions, records, names |
// | `net` | an address becomes a byte stream, a byte stream becomes a pipelined connection |
// | `observe` | what an operator sees: events, logs, how long things take |
// | `producer` | records out: batches, order, acknowledgements |
// | `runtime` | time, randomness, pauses, supervised tasks |
// | `testing` | what stands in for producers, consumers, deliveries and errors in tests |

pub mod admin;
pub mod blocking;
mod client;
mod cluster;
pub mod config;
pub mod consumer;
mod error;
mod exactly_once;
mod group;
pub(crate) mod model;
pub mod net;
pub mod observe;
#[cfg(planted_defects)]
pub mod planted;
pub mod producer;
pub(crate) mod runtime;
pub mod testing;

#[doc(inline)]
pub use admin::{
    Admin, BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription,
};
#[doc(inline)]
pub use client::Client;
#[doc(inline)]
pub use cluster::Target;
#[doc(inline)]
pub use config::security::{
    AssertionAlgorithm, AssertionConfig, AwsCredentials, AwsCredentialsProvider, BearerToken,
    CertificateCheck, HostNameCheck, MskIamConfig, OAuthConfig, OAuthExtensions, OAuthGrant, Pem,
    SaslConfig, SaslLogin, SaslMechanism, SecurityConfig, SecurityProtocol, StoreType, TlsConfig,
    TlsVersions, TokenError, TokenProvider, TokenRefresh, TokenSource, TrustedRoots,
};
#[doc(inline)]
pub use config::{ClientConfig, Secret};
#[doc(inline)]
pub use consumer::{
    AcknowledgeType, AcknowledgementMode, AcquireMode, AnyConsumer, AssignmentStrategies,
    AssignmentStrategy, Consumer, ConsumerConfig, ConsumerGroupMetadata, ConsumerHandle,
    ConsumerMetrics, GroupProtocol, IsolationLevel, MissingTopics, OffsetAndMetadata, OffsetReset,
    OwnedRecord, PositionReset, RebalanceListener, RecordView, Records, ResetCause, ResetCounts,
    ShareConsumer, ShareConsumerConfig, ShareRecord, ShareRecords, StartOffset,
};
#[doc(inline)]
pub use error::{Error, ErrorKind, Result, WriteOutcome};
#[doc(inline)]
pub(crate) use exactly_once::exactly_once_watched;
pub use exactly_once::{
    ExactlyOnceConfig, ExactlyOnceError, ExactlyOnceMetrics, InputRecords, Transform, exactly_once,
};
#[doc(inline)]
pub use model::{Address, Header, Record, TopicId, TopicPartition};
#[doc(inline)]
pub use net::{ApiVersions, Transport};
#[doc(inline)]
pub use observe::{
    AfterFailure, BrokerMetrics, ClientEvent, Intake, Latency, Metrics, Observer, Severity, Sizes,
};
#[doc(inline)]
pub use producer::{
    Acks, AnyProducer, CloseReport, Delivery, Partitioner, Permit, PreparedTransaction, Producer,
    ProducerConfig, ProducerMetrics, RecordMetadata, TopicSettings, Transaction,
    TransactionMetrics, TransactionalProducer, UnsentRecords,
};
#[doc(inline)]
pub use runtime::Clock;
pub(crate) use runtime::{Backoff, Random};

// What of the protocol crate users need to name: numbers and settings of Kafka's with named constants, no messages. They are the types that
// everything beneath speaks, so that nothing is converted; should that crate go another way, types of our own take over at these paths.
#[doc(inline)]
pub use protocol::compression::{Codec, Compression, InvalidCompression};
#[doc(inline)]
pub use protocol::{ApiKey, ErrorCode, VersionRange};

/// Kafka's own messages, for [`Client::request`].
///
/// There is a message for each API, as Kafka 4.4 defines it. They grow with Kafka, and are the only part of this API that does.
pub mod wire {
    pub use protocol::{Message, Request, Response, Uuid, messages};
}

/// What reads bytes of somebody else's, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::net::fuzzing::{answers, exchange, handshake, pem};
}
