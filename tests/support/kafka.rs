//! A real Kafka: one or three combined KRaft nodes on free loopback ports. In: a [`Jdk`]. Out: bootstrap addresses, and
//! `kill` and `restart` of a chosen node. Every node ends with the handle, or with this process; logs of a failed run stay.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::guarded::Guarded;
use super::java::{Jdk, folder};
use super::probe;

const READY_WITHIN: Duration = Duration::from_secs(60);
const FORMAT_WITHIN: Duration = Duration::from_secs(60);
/// Any 16 bytes in base64url: every test cluster is alone on its ports.
const CLUSTER_ID: &str = "cGF0LWV2ZW50cy10ZXN0cw";

/// A running cluster.
#[derive(Debug)]
pub struct Kafka {
    jdk: Arc<Jdk>,
    folder: PathBuf,
    nodes: Vec<Node>,
    secured: Secured,
    keep_logs: AtomicBool,
}

/// Listeners beside the plaintext one, and what they need.
#[derive(Clone, Debug, Default)]
pub struct Secured {
    /// The name and `security.protocol` of each.
    pub listeners: Vec<(&'static str, &'static str)>,
    /// Lines of the brokers' configuration.
    pub properties: String,
    /// SCRAM credentials, as the storage is formatted with them.
    pub scram: Vec<String>,
    /// Flags of the brokers' JVM.
    pub flags: Vec<String>,
}

#[derive(Debug)]
struct Node {
    id: i32,
    port: u16,
    controller_port: u16,
    /// The ports of the secured listeners.
    secured_ports: Vec<u16>,
    process: Mutex<Option<Guarded>>,
}

impl Kafka {
    /// Formats the storage, starts that many nodes (ids from 1), and returns when each knows all of them.
    pub fn start(jdk: Arc<Jdk>, nodes: usize) -> Result<Kafka, String> {
        Self::start_secured(jdk, nodes, Secured::default())
    }

    /// As [`start`](Self::start), with more listeners.
    pub fn start_secured(jdk: Arc<Jdk>, nodes: usize, secured: Secured) -> Result<Kafka, String> {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "cluster-{}-{}",
            std::process::id(),
            CLUSTERS.fetch_add(1, Ordering::Relaxed)
        );
        let each = 2 + secured.listeners.len();
        let ports = free_ports(each * nodes);
        let node = |(i, ports): (usize, &[u16])| Node {
            id: i as i32 + 1,
            port: ports[0],
            controller_port: ports[1],
            secured_ports: ports[2..].to_vec(),
            process: Mutex::default(),
        };
        let nodes = ports.chunks(each).enumerate().map(node).collect();
        let kafka = Kafka {
            jdk,
            folder: folder().join(name),
            nodes,
            secured,
            keep_logs: AtomicBool::new(true),
        };
        kafka.format()?;
        kafka.nodes.iter().try_for_each(|node| kafka.spawn(node))?;
        kafka.await_ready()?;
        kafka.keep_logs.store(false, Ordering::Relaxed);
        Ok(kafka)
    }

    /// `host:port` of every node, separated by commas.
    pub fn bootstrap(&self) -> String {
        self.nodes
            .iter()
            .map(Node::address)
            .collect::<Vec<_>>()
            .join(",")
    }

    // Only the tests against Kafka do that.
    #[allow(dead_code)]
    /// `host:port` of every controller, separated by commas.
    pub fn bootstrap_controllers(&self) -> String {
        let nodes = self.nodes.iter();
        let addresses = nodes.map(|node| format!("127.0.0.1:{}", node.controller_port));
        addresses.collect::<Vec<_>>().join(",")
    }

    /// `host:port` of the first node's listener of this name.
    pub fn secured_bootstrap(&self, listener: &str) -> String {
        let names = self.secured.listeners.iter();
        let index = names.clone().position(|(name, _)| *name == listener);
        let index = index.expect("a listener of this cluster");
        format!("localhost:{}", self.nodes[0].secured_ports[index])
    }

    /// How many nodes it was started with.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// SIGKILL for this node, as a power cut would do it.
    pub fn kill(&self, id: i32) {
        drop(self.taken(id));
    }

    // Only the tests against Kafka do that.
    #[allow(dead_code)]
    /// Asks this node to end (SIGTERM), as an operator does: it hands its leadership over first. After `limit` it is killed.
    pub fn stop(&self, id: i32, limit: Duration) {
        let mut process = self.taken(id);
        process.signal("TERM");
        process.wait(limit);
    }

    // Only the tests against Kafka do that.
    #[allow(dead_code)]
    /// Has this node stand still (SIGSTOP) for so long: it answers nothing, and does not know it afterwards. Returns when every node is known
    /// again.
    pub fn freeze(&self, id: i32, time: Duration) -> Result<(), String> {
        let signal = |name| {
            let mut process = self.node(id).process.lock().expect("no test panics here");
            process.as_mut().expect("the node runs").signal(name);
        };
        signal("STOP");
        sleep(time);
        signal("CONT");
        self.await_ready()
    }

    /// Starts a killed node again on its storage and its ports; returns when every node is known again.
    pub fn restart(&self, id: i32) -> Result<(), String> {
        self.spawn(self.node(id))?;
        self.await_ready()
    }

    /// Keeps the nodes' logs when the cluster ends, and says where they are.
    pub fn keep_logs(&self) {
        if !self.keep_logs.swap(true, Ordering::Relaxed) {
            eprintln!("the brokers' logs are in {}", self.folder.display());
        }
    }

    /// The process of a node, which runs no longer for anybody else.
    fn taken(&self, id: i32) -> Guarded {
        let process = self.node(id).process.lock();
        let process = process.expect("no test panics here").take();
        process.expect("the node runs")
    }

    fn node(&self, id: i32) -> &Node {
        self.nodes
            .iter()
            .find(|node| node.id == id)
            .expect("a node of this cluster")
    }

    /// Writes every node's configuration and formats its storage, all at once: each is a JVM's start.
    fn format(&self) -> Result<(), String> {
        let mut formats = Vec::new();
        for node in &self.nodes {
            let home = self.home(node);
            fs::create_dir_all(&home).map_err(|e| format!("{}: {e}", home.display()))?;
            let properties = home.join("server.properties");
            fs::write(&properties, self.properties(node))
                .map_err(|e| format!("{}: {e}", properties.display()))?;
            let properties = properties.to_string_lossy();
            let mut arguments = vec!["format", "-t", CLUSTER_ID, "-c", &*properties];
            for credential in &self.secured.scram {
                arguments.extend(["--add-scram", credential]);
            }
            let command = self.jdk.command(&[], "kafka.tools.StorageTool", &arguments);
            let log = home.join("format.log");
            formats.push((
                Guarded::start("java", &command, &log, &log).map_err(|e| format!("java: {e}"))?,
                log,
            ));
        }
        for (mut format, log) in formats {
            if !format
                .wait(FORMAT_WITHIN)
                .is_some_and(|status| status.success())
            {
                return Err(format!(
                    "formatting the storage failed: {}",
                    fs::read_to_string(log).unwrap_or_default()
                ));
            }
        }
        Ok(())
    }

    fn spawn(&self, node: &Node) -> Result<(), String> {
        let home = self.home(node);
        let properties = home.join("server.properties");
        let mut flags = vec!["-Xms256m", "-Xmx512m"];
        flags.extend(self.secured.flags.iter().map(String::as_str));
        let command = self
            .jdk
            .command(&flags, "kafka.Kafka", &[&properties.to_string_lossy()]);
        let log = home.join("server.log");
        let process =
            Guarded::start("java", &command, &log, &log).map_err(|e| format!("java: {e}"))?;
        *node.process.lock().expect("no test panics here") = Some(process);
        Ok(())
    }

    /// Ready means: every node that runs knows every node that runs, and a controller.
    fn await_ready(&self) -> Result<(), String> {
        let running = self
            .nodes
            .iter()
            .filter(|n| n.process.lock().expect("no test panics here").is_some());
        let running: Vec<&Node> = running.collect();
        let ids: Vec<i32> = running.iter().map(|node| node.id).collect();
        let end = Instant::now() + READY_WITHIN;
        for node in running {
            loop {
                let last = match probe::brokers(&node.address()) {
                    Ok((known, controller)) if known == ids && controller > 0 => break,
                    Ok((known, _)) => format!("it knows the brokers {known:?}"),
                    Err(e) => e.to_string(),
                };
                let ended = node
                    .process
                    .lock()
                    .expect("no test panics here")
                    .as_mut()
                    .and_then(Guarded::ended);
                if ended.is_some() || Instant::now() > end {
                    let log = self.home(node).join("server.log");
                    return Err(format!(
                        "broker {} is not ready ({last}); see {}",
                        node.id,
                        log.display()
                    ));
                }
                sleep(Duration::from_millis(50));
            }
        }
        Ok(())
    }

    fn home(&self, node: &Node) -> PathBuf {
        self.folder.join(node.id.to_string())
    }

    fn properties(&self, node: &Node) -> String {
        let voters = self
            .nodes
            .iter()
            .map(|n| format!("{}@127.0.0.1:{}", n.id, n.controller_port))
            .collect::<Vec<_>>()
            .join(",");
        let Node {
            id,
            port,
            controller_port,
            ..
        } = node;
        let secured = || self.secured.listeners.iter().zip(&node.secured_ports);
        let listen: String = secured()
            .map(|((name, _), port)| format!(",{name}://localhost:{port}"))
            .collect();
        let protocols: String = secured()
            .map(|((name, protocol), _)| format!(",{name}:{protocol}"))
            .collect();
        let more = &self.secured.properties;
        let data = self.home(node).join("data");
        let (replicas, in_sync) = if self.nodes.len() >= 3 {
            (3, 2)
        } else {
            (1, 1)
        };
        // One broker decides at once, so that what it says can be compared; three decide as they do by default.
        let groups = match self.nodes.len() {
            1 => {
                "group.consumer.assignment.interval.ms=0
group.consumer.min.assignment.interval.ms=0
group.share.assignment.interval.ms=0
group.share.min.assignment.interval.ms=0
group.consumer.assignor.offload.enable=false"
            }
            _ => "",
        };
        format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}{listen}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{listen}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
log.dirs={data}
num.partitions=6
default.replication.factor={replicas}
min.insync.replicas={in_sync}
message.max.bytes=16777216
offsets.topic.num.partitions=3
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=500
group.share.heartbeat.interval.ms=500
group.share.min.heartbeat.interval.ms=500
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
group.share.session.timeout.ms=6000
group.share.min.session.timeout.ms=6000
group.share.min.record.lock.duration.ms=1000
{groups}
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
log.segment.delete.delay.ms=1000
{more}",
            data = data.display()
        )
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.nodes.clear();
        if !*self.keep_logs.get_mut() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Node {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Ports that nothing listens on, from below the range that systems draw outgoing connections' ports from, so that none
/// is taken between now and the JVM's start, or while a node is down.
pub fn free_ports(count: usize) -> Vec<u16> {
    let start = (RandomState::new().hash_one(0) % 8_000) as u16;
    let candidates = (0..8_000).map(|i| 20_000 + (start + i) % 8_000);
    let free = candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let ports: Vec<u16> = free.take(count).collect();
    assert_eq!(ports.len(), count, "no free ports between 20000 and 28000");
    ports
}
