//! The Kafka client: records in, records out. Knows nothing of events.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `admin` | what there is to administer a cluster: topics, groups, configuration, rights |
//! | `blocking` | producer and consumer for applications with threads of their own |
//! | `client` | one client: what producers, consumers and admins share |
//! | `cluster` | who leads what, and a connection to whoever is asked for |
//! | `config` | what a client can be told, by field, Java-style property or environment variable |
//! | `consumer` | records in: fetching, positions, commits, the member's side of a rebalance |
//! | `error` | what failed, where, why, and whether it may have happened |
//! | `group` | the member's side of a consumer group |
//! | `model` | what clients speak of: addresses, partitions, records, names |
//! | `net` | an address becomes a byte stream, a byte stream becomes a pipelined connection |
//! | `observe` | what an operator sees: events, logs, how long things take |
//! | `producer` | records out: batches, order, acknowledgements |
//! | `runtime` | time, randomness, pauses, supervised tasks |

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

pub use admin::{
    Admin, BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription,
};
pub use client::Client;
pub use cluster::Target;
pub use config::security::{
    AssertionAlgorithm, AssertionConfig, AwsCredentials, AwsCredentialsProvider, BearerToken,
    CertificateCheck, HostNameCheck, MskIamConfig, OAuthConfig, OAuthExtensions, OAuthGrant, Pem,
    SaslConfig, SaslLogin, SaslMechanism, SecurityConfig, SecurityProtocol, StoreType, TlsConfig,
    TlsVersions, TokenError, TokenProvider, TokenRefresh, TokenSource, TrustedRoots,
};
pub use config::{ClientConfig, Secret};
pub use consumer::{
    AcknowledgeType, AcknowledgementMode, AcquireMode, AssignmentStrategies, AssignmentStrategy,
    Consumer, ConsumerConfig, ConsumerGroupMetadata, ConsumerHandle, ConsumerMetrics,
    GroupProtocol, IsolationLevel, MissingTopics, OffsetAndMetadata, OffsetReset, OwnedRecord,
    PositionReset, RebalanceListener, RecordView, Records, ResetCause, ResetCounts, ShareConsumer,
    ShareConsumerConfig, ShareRecord, ShareRecords, StartOffset,
};
pub use error::{Error, ErrorKind, Result, WriteOutcome};
pub use exactly_once::{
    ExactlyOnceConfig, ExactlyOnceError, ExactlyOnceMetrics, InputRecords, Transform, exactly_once,
};
pub use model::{Address, Header, Record, TopicId, TopicPartition};
pub use net::{ApiVersions, Transport};
pub use observe::{
    AfterFailure, BrokerMetrics, ClientEvent, Intake, Latency, Metrics, Observer, Severity, Sizes,
};
pub use producer::{
    Acks, CloseReport, Delivery, Partitioner, Permit, PreparedTransaction, Producer,
    ProducerConfig, ProducerMetrics, RecordMetadata, TopicSettings, Transaction,
    TransactionalProducer, UnsentRecords,
};
pub use runtime::Clock;
pub(crate) use runtime::{Backoff, Random};

// What of the protocol crate users need to name: numbers and settings of Kafka's with named constants, no messages. They are the types that
// everything beneath speaks, so that nothing is converted; should that crate go another way, types of our own take over at these paths.
pub use protocol::compression::{Codec, Compression, InvalidCompression};
pub use protocol::{ApiKey, ErrorCode, VersionRange};

/// Kafka's own messages, for [`Client::request`]: a message for each API, as Kafka 4.4 defines it. They grow with Kafka, and are the only
/// part of this API that does.
pub mod wire {
    pub use protocol::{Message, Request, Response, Uuid, messages};
}

/// What reads bytes of somebody else's, for the fuzz targets.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::net::fuzzing::{answers, exchange, handshake, pem};
}
