//! One client of a cluster: what its producers, consumers and admins share.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use protocol::Request;
use tokio::time::Instant;

use super::cluster::{Cluster, Judged, Target};
use super::{
    Admin, BrokerMetrics, ClientConfig, Consumer, ConsumerConfig, Producer, ProducerConfig, Result,
    ShareConsumer, ShareConsumerConfig, TransactionalProducer,
};
use crate::kafka::producer::not_transactional;

/// A client of one cluster. Cheap to clone; producers, consumers and admins that are created with it share its connections and what it knows
/// of the cluster.
///
/// To each broker there is one connection for short requests, a few for the produce requests of all producers, one for each consumer that
/// fetches from it, and one for each group member to its coordinator. They end when the client and all that was created with it are dropped.
///
/// Each producer and each consumer has a memory budget of its own (`buffer_bytes`). What all producers may take together can be bounded as
/// well, and what all consumers may: [`producers_buffer_bytes`](ClientConfig::producers_buffer_bytes),
/// [`consumers_buffer_bytes`](ClientConfig::consumers_buffer_bytes).
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::kafka::{Client, ClientConfig, ConsumerConfig, ProducerConfig};
///
/// // Nothing is sent yet: this works while Kafka is down.
/// let client = Client::lazy(ClientConfig::new("kafka-1:9092,kafka-2:9092"))?;
/// let producer = client.producer(ProducerConfig::default())?;
/// let consumer = client.consumer(ConsumerConfig::default())?;
/// let topics = client.admin().list_topics().await?;
/// # Ok(()) }
/// ```
///
/// Producers and consumers of events are created on it as well: [`EventProducer::on`](crate::events::EventProducer::on),
/// [`EventConsumer::on`](crate::events::EventConsumer::on).
#[derive(Clone)]
pub struct Client {
    cluster: Cluster,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bootstrap = &self.config().bootstrap_servers;
        f.debug_struct("Client")
            .field("bootstrap_servers", bootstrap)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that looks for the cluster when something of it is needed first: a service can start while Kafka is down. That call waits
    /// until its own deadline, and fails with each bootstrap address and why.
    ///
    /// Fails when the configuration makes no sense, and outside of a Tokio runtime.
    pub fn lazy(config: ClientConfig) -> Result<Self> {
        config.validate()?;
        let cluster = Cluster::lazy(&config)?;
        Ok(Self { cluster })
    }

    /// A client that has found the cluster. Fails within [`request_timeout`](ClientConfig::request_timeout) when no broker answers, with each
    /// address and why. Cancel safe.
    pub async fn connect(config: ClientConfig) -> Result<Self> {
        let client = Self::lazy(config)?;
        client.found().await?;
        Ok(client)
    }

    /// Waits until the cluster was found. Fails as [`connect`](Self::connect). Cancel safe.
    pub(crate) async fn found(&self) -> Result<()> {
        self.cluster.found(self.deadline()).await
    }

    /// Tells brokers that want to know ([`metrics_push`](ClientConfig::metrics_push)) what was measured since they were told last, and that
    /// it was the last time: before a program ends, as what a dropped client has to tell then is lost. Returns when they know it or `timeout` is
    /// over, 3 s at the most; at once where they do not want to know.
    ///
    /// Producers and consumers are closed before, by their own `close`; the last of a client that was dropped does this as well. Cancel safe.
    pub async fn close(&self, timeout: Duration) {
        self.cluster.tell_last(timeout).await;
    }

    /// How the client was configured.
    pub fn config(&self) -> &ClientConfig {
        self.cluster.config()
    }

    /// The id that brokers have given this client for what it tells of itself (KIP-714), as their operators see it: 22 characters of base64url. The
    /// first call asks for it. One id is all of this client's: its producers, consumers and admins tell what they measure together.
    ///
    /// Fails with [`ErrorKind::Config`](super::ErrorKind::Config) where [`metrics_push`](ClientConfig::metrics_push) is off, with
    /// [`UnsupportedVersion`](super::ErrorKind::UnsupportedVersion) where brokers take no metrics of clients, and after
    /// [`request_timeout`](ClientConfig::request_timeout). Cancel safe.
    pub async fn client_instance_id(&self) -> Result<String> {
        self.cluster.client_instance_id(self.deadline()).await
    }

    /// A producer on this client. Needs no network: an idempotent producer asks for its producer id once it has records.
    ///
    /// What `config` says of the client ([`ProducerConfig::client`]) is replaced by this client's. Fails when the configuration makes no
    /// sense.
    pub fn producer(&self, mut config: ProducerConfig) -> Result<Producer> {
        config.client = self.config().clone();
        config.validate()?;
        not_transactional(&config)?;
        Ok(Producer::start(config, self.cluster.for_another()))
    }

    /// A transactional producer with this id on this client. Needs no network: its first transaction takes over the id.
    ///
    /// What `config` says of the client ([`ProducerConfig::client`]) is replaced by this client's, and its transactional id by this one. Fails
    /// when the configuration makes no sense.
    pub fn transactional_producer(
        &self,
        mut config: ProducerConfig,
        id: impl Into<String>,
    ) -> Result<TransactionalProducer> {
        config.client = self.config().clone();
        config.transactional_id = Some(id.into());
        config.validate()?;
        TransactionalProducer::start(config, self.cluster.for_another())
    }

    /// A consumer on this client. Needs no network before it subscribes or is assigned partitions.
    ///
    /// What `config` says of the client ([`ConsumerConfig::client`]) is replaced by this client's. Fails when the configuration makes no
    /// sense.
    pub fn consumer(&self, mut config: ConsumerConfig) -> Result<Consumer> {
        config.client = self.config().clone();
        config.validate()?;
        Ok(Consumer::start(config, self.cluster.for_another()))
    }

    /// A share consumer on this client: a member of a share group (KIP-932). Needs no network before it subscribes.
    ///
    /// What `config` says of the client ([`ShareConsumerConfig::client`]) is replaced by this client's. Fails when the configuration makes no
    /// sense.
    pub fn share_consumer(&self, mut config: ShareConsumerConfig) -> Result<ShareConsumer> {
        config.client = self.config().clone();
        config.validate()?;
        Ok(ShareConsumer::start(config, self.cluster.for_another()))
    }

    /// An admin on this client. Needs no network.
    pub fn admin(&self) -> Admin {
        Admin::new(self.cluster.for_another())
    }

    /// What goes on with each broker, by its id: what all producers, consumers and admins of this client do together. Addresses that the
    /// client was configured with, where the broker's id is not known yet, are -1.
    pub fn broker_metrics(&self) -> BTreeMap<i32, BrokerMetrics> {
        self.cluster.broker_metrics()
    }

    /// Sends any request of Kafka's protocol to `target`, in the newest version that both sides speak, and returns its response: the way to
    /// what has no method here yet.
    ///
    /// Error codes in the response are the caller's to read. What certainly did not reach a broker is sent again, with pauses, until
    /// [`request_timeout`](ClientConfig::request_timeout); what may have reached it only where it changes nothing. A request that waits at
    /// the broker holds up others of this client: fetching and joining a group are for consumers.
    ///
    /// Messages are Kafka's own ([`wire`](super::wire)) and grow with it: this is the one method whose types they are.
    ///
    /// Cancel safe in that a request given up may still be carried out.
    pub async fn request<R: Request>(
        &self,
        target: Target<'_>,
        request: &R,
    ) -> Result<R::Response> {
        let build = |_| Ok(request.clone());
        let judge = |answer: Result<super::cluster::Answer<R>>| match answer {
            Ok(answer) => Judged::Done(answer.response),
            Err(error) => Judged::failed(error),
        };
        self.cluster
            .request(target, self.deadline(), build, judge)
            .await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.config().request_timeout
    }
}
