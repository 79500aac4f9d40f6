//! [`Broker`]: the handle to a running cluster, and what can be done to it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::records::BatchIter;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::builder::BrokerBuilder;
use super::cluster::{Cluster, Endpoint, NewTopic, keep_groups_time};
use super::faults::Fault;
use super::lock;
use super::server::{Command, IN_MEMORY_BUFFER_BYTES, Listener, run_node};
use super::storage::StoredBatch;
use super::telemetry::PushedTelemetry;
use super::topic::Topic;

/// Connections that may wait to be taken in by a node.
const BACKLOG: usize = 64;

/// A handle to an in-process cluster. Clones share it; it ends with the last of them, or with [`Broker::shutdown`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use pat_events::broker::Broker;
/// let broker = Broker::builder().nodes(3).start_tcp("127.0.0.1:0").await?;
/// broker.create_topic("emails", 6)?;
/// println!("clients connect to {}", broker.bootstrap_servers());
/// broker.shutdown().await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    cluster: Arc<Cluster>,
    runtime: Handle,
    nodes: BTreeMap<i32, NodeHandle>,
    groups_time: JoinHandle<()>,
}

#[derive(Debug)]
struct NodeHandle {
    /// None for an in-memory node.
    address: Option<SocketAddr>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// What a partition holds, for assertions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogSummary {
    /// The oldest offset that can be read.
    pub start_offset: i64,
    /// The offset that the next record will get.
    pub end_offset: i64,
    /// Bytes of all batches.
    pub size_bytes: u64,
    /// Who leads the partition; none while no replica runs.
    pub leader: Option<i32>,
    /// How often that has changed.
    pub leader_epoch: i32,
    /// Every batch, oldest first, as consumers get them.
    pub batches: Vec<Bytes>,
}

impl Broker {
    /// Settings to start from.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    pub(super) fn start(cluster: Cluster, listeners: Vec<(Endpoint, Listener)>) -> Self {
        let cluster = Arc::new(cluster);
        let runtime = Handle::current();
        let mut nodes = BTreeMap::new();
        for (endpoint, listener) in listeners {
            let (address, bound) = match listener {
                Listener::Tcp { address, bound } => (Some(address), bound),
                Listener::InMemory => (None, None),
            };
            let running = Some(Running::start(&runtime, &cluster, endpoint.node, bound));
            nodes.insert(
                endpoint.node,
                NodeHandle {
                    address,
                    running: Mutex::new(running),
                },
            );
        }
        let groups_time = runtime.spawn(keep_groups_time(cluster.clone()));
        Self {
            inner: Arc::new(Inner {
                cluster,
                runtime,
                nodes,
                groups_time,
            }),
        }
    }

    /// `host:port` of every node, with commas between, whether it runs or not.
    pub fn bootstrap_servers(&self) -> String {
        let directory = self.cluster().directory();
        let addresses = self
            .inner
            .nodes
            .keys()
            .filter_map(|id| directory.endpoint(*id));
        let text: Vec<_> = addresses.map(Endpoint::to_string).collect();
        text.join(",")
    }

    /// The ids of all nodes.
    pub fn node_ids(&self) -> Vec<i32> {
        self.inner.nodes.keys().copied().collect()
    }

    /// The node with this address.
    pub fn node_at(&self, host: &str, port: u16) -> Option<i32> {
        let directory = self.cluster().directory();
        let here = |id: &i32| {
            directory
                .endpoint(*id)
                .is_some_and(|node| node.host == host && node.port == port)
        };
        self.node_ids().into_iter().find(here)
    }

    /// Connects to an in-memory node.
    ///
    /// # Errors
    /// `ConnectionRefused` when the node does not run or takes no more, `NotFound` when there is none of this address.
    pub fn dial(&self, host: &str, port: u16) -> io::Result<DuplexStream> {
        let node = self
            .node_at(host, port)
            .and_then(|id| self.inner.nodes.get(&id));
        let node = node.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("no node at {host}:{port}"))
        })?;
        let (ours, theirs) = tokio::io::duplex(IN_MEMORY_BUFFER_BYTES);
        let refused = || {
            io::Error::new(
                io::ErrorKind::ConnectionRefused,
                format!("{host}:{port} is down"),
            )
        };
        let running = lock(&node.running);
        let commands = &running.as_ref().ok_or_else(refused)?.commands;
        commands
            .try_send(Command::Connect(theirs))
            .map_err(|_| refused())?;
        Ok(ours)
    }

    /// Creates a topic with this many partitions and the default number of replicas.
    ///
    /// # Errors
    /// `AlreadyExists`, or `InvalidInput` for a name that Kafka does not allow.
    pub fn create_topic(&self, name: &str, partitions: i32) -> io::Result<()> {
        self.create_topic_with(name, partitions, &[])
    }

    /// As [`create_topic`](Self::create_topic), with settings by Kafka's names, such as `max.message.bytes`, `cleanup.policy` and
    /// `message.timestamp.type`.
    ///
    /// # Errors
    /// As there, and `InvalidInput` for a setting that is unknown or not supported.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<()> {
        let settings = &self.cluster().settings;
        let invalid = |message: String| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{name}: {message}"))
        };
        let replicas = self
            .cluster()
            .directory()
            .place(partitions, settings.default_replication_factor);
        let new = NewTopic {
            name: name.to_owned(),
            replicas,
            settings: settings
                .topic
                .with(configs.iter().copied())
                .map_err(invalid)?,
        };
        let settled = |topic| match &self.cluster().data {
            Some(data) => {
                (data.settle().map(|()| topic)).map_err(|_| ErrorCode::KAFKA_STORAGE_ERROR)
            }
            None => Ok(topic),
        };
        match self.cluster().create_topic(new).and_then(settled) {
            Ok(_) => Ok(()),
            Err(ErrorCode::TOPIC_ALREADY_EXISTS) => {
                Err(io::Error::new(io::ErrorKind::AlreadyExists, name))
            }
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// Adds partitions to a topic, so that it has `total` of them.
    ///
    /// # Errors
    /// `NotFound` when there is no such topic, `InvalidInput` when it has as many already.
    pub fn add_partitions(&self, topic: &str, total: i32) -> io::Result<()> {
        let added = self.cluster().add_partitions(topic, total, None);
        added.map_err(|error| {
            let kind = match error {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => io::ErrorKind::NotFound,
                _ => io::ErrorKind::InvalidInput,
            };
            io::Error::new(kind, format!("{topic}: {error}"))
        })
    }

    /// Wants to know of clients the metrics whose names begin like one of these (`*`: all), in this interval (KIP-714); none of them: nothing. Needs
    /// [`client_telemetry`](BrokerBuilder::client_telemetry).
    pub fn want_telemetry(&self, metrics: &[&str], interval: std::time::Duration) {
        lock(&self.cluster().telemetry).want(metrics, interval);
    }

    /// What clients have told of that so far.
    pub fn telemetry(&self) -> Vec<PushedTelemetry> {
        lock(&self.cluster().telemetry).pushed()
    }

    /// Deletes a topic; false when there is none.
    pub fn delete_topic(&self, name: &str) -> bool {
        self.cluster().delete_topic(name).is_ok()
    }

    /// The names of all topics.
    pub fn topics(&self) -> Vec<String> {
        self.cluster()
            .directory()
            .topics()
            .map(|topic| topic.name.clone())
            .collect()
    }

    /// Makes a running replica the leader of a partition; false when it can't be.
    pub fn move_leader(&self, topic: &str, partition: i32, node: i32) -> bool {
        let running = self.cluster().directory().is_running(node);
        self.with_partition(topic, partition, |partition| {
            let moves = running && partition.isr.contains(&node) && partition.leader != Some(node);
            if moves {
                partition.lead(Some(node));
            }
            moves
        })
        .unwrap_or(false)
    }

    /// Makes a node the coordinator of a group, or of a transactional id; who waits in the group hears of it.
    pub fn move_coordinator(&self, group: &str, node: i32) {
        self.cluster().move_coordinator(group, node, Instant::now());
    }

    /// The node that coordinates a group, or a transactional id, now.
    pub fn coordinator(&self, group: &str) -> Option<i32> {
        self.cluster()
            .directory()
            .coordinator(group)
            .map(|endpoint| endpoint.node)
    }

    /// Cuts the end of a partition's log off at `offset`, under a new leader epoch, as an unclean election does. What idempotent
    /// producers wrote there is forgotten.
    pub fn truncate_log(&self, topic: &str, partition: i32, offset: i64) {
        self.with_partition(topic, partition, |partition| {
            partition.truncate(offset);
        });
    }

    /// Drops the oldest batches of a partition until at most `bytes` are left, as retention does.
    pub fn retain_log(&self, topic: &str, partition: i32, bytes: u64) {
        self.with_partition(topic, partition, |partition| {
            partition.retain(bytes);
            partition.wake();
        });
    }

    /// Raises the epoch of the producer of a transactional id, as so many transactions would; false when there is none. At 32,766 it is exhausted.
    pub fn skip_to_producer_epoch(&self, transactional_id: &str, epoch: i16) -> bool {
        lock(&self.cluster().transactions).skip_to_epoch(transactional_id, epoch)
    }

    /// Forgets what a partition knows of idempotent producers, as when their state has expired.
    pub fn forget_producers(&self, topic: &str, partition: i32) {
        self.with_partition(topic, partition, |partition| partition.producers.clear());
    }

    /// Appends batches without checking more than where they end: corrupt ones, transactions and their markers, whatever a test
    /// needs. Returns how many.
    pub fn append_unchecked(&self, topic: &str, partition: i32, batches: Bytes) -> usize {
        self.with_partition(topic, partition, |partition| {
            let mut appended = 0;
            for batch in BatchIter::new(batches).map_while(Result::ok) {
                if partition.append_unchecked(&batch).is_err() {
                    break;
                }
                appended += 1;
            }
            appended
        })
        .unwrap_or(0)
    }

    /// What a partition holds; none when it does not exist.
    pub fn log(&self, topic: &str, partition: i32) -> Option<LogSummary> {
        self.with_partition(topic, partition, |partition| LogSummary {
            start_offset: partition.log.start_offset(),
            end_offset: partition.log.end_offset(),
            size_bytes: partition.log.size_bytes(),
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            batches: (partition.log.batches().unwrap_or_default().iter())
                .map(StoredBatch::to_bytes)
                .collect(),
        })
    }

    /// The offset that a group has committed.
    pub fn committed_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let key = super::groups::OffsetKey {
            topic: topic.to_owned(),
            partition,
        };
        Some(self.cluster().committed(group).get(&key)?.offset)
    }

    /// Up to where a share group is done with a partition: the first offset that is not acknowledged, or archived, for good. `None` before a member has
    /// fetched from it.
    pub fn share_start_offset(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let topic = self.cluster().directory().topic(topic)?;
        let mut shares = lock(&self.cluster().shares);
        Some(shares.known(group, (topic.id, partition))?.start())
    }

    /// Adds a rule about requests that are to fail.
    pub fn inject(&self, fault: Fault) {
        lock(&self.cluster().faults).add(fault);
    }

    /// Takes back all rules.
    pub fn clear_faults(&self) {
        lock(&self.cluster().faults).clear();
    }

    /// Rules that have not met all their requests yet.
    pub fn pending_faults(&self) -> usize {
        lock(&self.cluster().faults).pending()
    }

    /// Closes all connections of a node.
    pub fn disconnect_node(&self, id: i32) {
        if let Some(running) = self
            .inner
            .nodes
            .get(&id)
            .and_then(|node| lock(&node.running).as_ref().map(|r| r.commands.clone()))
        {
            // A full queue means that nobody is connected yet.
            let _ = running.try_send(Command::DisconnectAll);
        }
    }

    /// Closes all connections of all nodes.
    pub fn disconnect_all(&self) {
        self.node_ids()
            .into_iter()
            .for_each(|id| self.disconnect_node(id));
    }

    /// How many connections of clients are open now: 0 once everybody has gone, for a [`shutdown`](Self::shutdown) that cuts nobody off.
    pub fn open_connections(&self) -> usize {
        self.cluster().open_connections()
    }

    /// Stops a node: its connections end, others take over what it led. Logs, groups and offsets stay. Cancel safe: it stops at once, only
    /// the waiting for its task is given up.
    pub async fn stop_node(&self, id: i32) {
        let running = self
            .inner
            .nodes
            .get(&id)
            .and_then(|node| lock(&node.running).take());
        let Some(running) = running else { return };
        running.task.abort();
        self.cluster().node_stopped(id, Instant::now());
        // It was cancelled: the only result there is.
        let _ = running.task.await;
    }

    /// Starts a stopped node again, at the same address.
    ///
    /// # Errors
    /// When the port was taken meanwhile.
    pub async fn start_node(&self, id: i32) -> io::Result<()> {
        let Some(node) = self.inner.nodes.get(&id) else {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("no node {id}"),
            ));
        };
        if lock(&node.running).is_some() {
            return Ok(());
        }
        let listener = match node.address {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        };
        lock(&node.running).get_or_insert_with(|| {
            Running::start(&self.inner.runtime, self.cluster(), id, listener)
        });
        self.cluster().node_started(id, Instant::now());
        Ok(())
    }

    /// Stops all nodes. The handle still tells what was in the logs. A data directory is free afterwards: everything that was written is on the disk.
    pub async fn shutdown(&self) {
        for id in self.node_ids() {
            self.stop_node(id).await;
        }
        self.inner.groups_time.abort();
        if let Some(data) = &self.cluster().data {
            data.close();
            data.closed().await;
        }
    }

    /// What keeps the broker from writing to its data directory at present, such as a full disk: clients get KAFKA_STORAGE_ERROR then. None while all is well, and
    /// without a directory.
    pub fn storage_problem(&self) -> Option<String> {
        self.cluster().data.as_ref()?.problem()
    }

    fn cluster(&self) -> &Arc<Cluster> {
        &self.inner.cluster
    }

    fn topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.cluster().directory().topic(name)
    }

    fn with_partition<T>(
        &self,
        topic: &str,
        partition: i32,
        act: impl FnOnce(&mut super::partition::Partition) -> T,
    ) -> Option<T> {
        let topic = self.topic(topic)?;
        let mut partition = topic.partition(partition)?;
        Some(act(&mut partition))
    }
}

impl Running {
    fn start(
        runtime: &Handle,
        cluster: &Arc<Cluster>,
        node: i32,
        listener: Option<TcpListener>,
    ) -> Self {
        let (commands, receiver) = mpsc::channel(BACKLOG);
        Self {
            commands,
            task: runtime.spawn(run_node(cluster.clone(), node, listener, receiver)),
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.groups_time.abort();
        // Connections may hold on to the cluster for a while. Its thread goes on until all is on the disk.
        if let Some(data) = &self.cluster.data {
            data.close();
        }
        for node in self.nodes.values() {
            if let Some(running) = lock(&node.running).take() {
                running.task.abort();
            }
        }
    }
}
