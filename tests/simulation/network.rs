//! The network between client and broker, in memory: it delays, stalls and cuts connections at any byte, in either direction, as the rng
//! say, until it is healed. In: the client's wish to connect. Out: a byte stream to the embedded broker, or a refusal.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::Transport;
use pat_events::kafka::net::{Address, BoxFuture, BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::mix::Tally;
use crate::rng::Rng;
use crate::script::Script;

/// How bad the network is; drawn for each run.
#[derive(Clone, Copy, Debug)]
pub struct NetworkConditions {
    /// Of a hundred dials, how many are refused.
    pub refused_percent: u64,
    /// Of a hundred connections, how many are cut somewhere.
    pub cut_percent: u64,
    /// Cuts and stalls come within so many bytes.
    pub within_bytes: u64,
    /// Of a hundred connections, how many fall silent somewhere, without being cut.
    pub stall_percent: u64,
    /// The longest that a chunk of bytes is held up.
    pub delay_ms: u64,
}

impl NetworkConditions {
    pub fn draw(rng: &Rng) -> Self {
        Self {
            refused_percent: *rng.pick(&[0, 0, 5, 30]),
            cut_percent: *rng.pick(&[0, 20, 60, 95]),
            within_bytes: *rng.pick(&[400, 4_000, 40_000]),
            stall_percent: *rng.pick(&[0, 0, 5, 20]),
            delay_ms: *rng.pick(&[0, 3, 40, 400]),
        }
    }

    /// Nothing but a short way.
    pub fn calm(rng: &Rng) -> Self {
        Self {
            refused_percent: 0,
            cut_percent: 0,
            within_bytes: 1,
            stall_percent: 0,
            delay_ms: *rng.pick(&[0, 3, 40]),
        }
    }
}

/// The network of one run.
#[derive(Clone, Debug)]
pub struct Network {
    broker: Broker,
    rng: Rng,
    conditions: NetworkConditions,
    healed: Arc<AtomicBool>,
    tally: Tally,
    script: Script,
    connections: Arc<AtomicU64>,
    lifeline: Option<Lifeline>,
}

/// What becomes of the connections of one client alone.
#[derive(Clone, Debug, Default)]
pub struct Lifeline(Arc<Line>);

#[derive(Debug, Default)]
struct Line {
    is_cut: AtomicBool,
    cut: Notify,
    silent_until: Mutex<Option<Instant>>,
}

impl Lifeline {
    /// From now on, and for good, the client reaches nobody, as if its machine had died.
    pub fn cut(&self) {
        self.0.is_cut.store(true, Ordering::Relaxed);
        self.0.cut.notify_waiters();
    }

    /// Nothing is carried for so long: then what was said meanwhile goes on its way.
    pub fn fall_silent(&self, time: Duration) {
        *self.0.silent_until.lock().expect("no holder panics") = Some(Instant::now() + time);
    }

    fn is_cut(&self) -> bool {
        self.0.is_cut.load(Ordering::Relaxed)
    }

    fn is_silent(&self) -> bool {
        let until = self.0.silent_until.lock().expect("no holder panics");
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Returns when it is cut.
    async fn ended(lifeline: Option<Self>) {
        match lifeline {
            Some(lifeline) if lifeline.is_cut() => {}
            Some(lifeline) => lifeline.0.cut.notified().await,
            None => std::future::pending().await,
        }
    }
}

impl Network {
    pub fn new(
        broker: Broker,
        rng: Rng,
        conditions: NetworkConditions,
        tally: Tally,
        script: Script,
    ) -> Self {
        Self {
            broker,
            rng,
            conditions,
            healed: Arc::new(AtomicBool::new(false)),
            tally,
            script,
            connections: Arc::default(),
            lifeline: None,
        }
    }

    /// The same network, as one client has it that can be cut off; what is drawn for it is its own.
    pub fn of_one(&self, rng: Rng) -> (Self, Lifeline) {
        let lifeline = Lifeline::default();
        let network = Self {
            rng,
            lifeline: Some(lifeline.clone()),
            ..self.clone()
        };
        (network, lifeline)
    }

    /// Whether something goes wrong with this connection.
    fn happens(&self, connection: u64, what: &str) -> bool {
        self.script
            .happens(&format!("connection-{connection}"), what)
    }

    /// From now on nothing is refused, cut, stalled or late; what is stalled goes on.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    fn pipe(&self, connection: u64, rng: &Rng) -> Pipe {
        let somewhere = |percent| {
            rng.chance(percent)
                .then(|| rng.any_scale(self.conditions.within_bytes))
        };
        Pipe {
            network: self.clone(),
            connection,
            rng: rng.fork(),
            cut_after: somewhere(self.conditions.cut_percent),
            stall_after: somewhere(self.conditions.stall_percent),
        }
    }
}

impl Transport for Network {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (network, address) = (self.clone(), address.clone());
        Box::pin(async move {
            let rng = network.rng.fork();
            if network.lifeline.as_ref().is_some_and(Lifeline::is_cut) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let connection = network.connections.fetch_add(1, Ordering::Relaxed);
            if !network.is_healed() {
                tokio::time::sleep(rng.millis(0, network.conditions.delay_ms)).await;
                if rng.chance(network.conditions.refused_percent)
                    && network.happens(connection, "refused")
                {
                    network.tally.count("network: connection refused");
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
            network.tally.count("network: connection");
            let (from_server, to_server) =
                tokio::io::split(network.broker.dial(address.host(), address.port())?);
            let (client, near) = tokio::io::duplex(16 * 1024);
            let (from_client, to_client) = tokio::io::split(near);
            let (up, down) = (
                network.pipe(connection, &rng),
                network.pipe(connection, &rng),
            );
            let ended = Lifeline::ended(network.lifeline.clone());
            tokio::spawn(async move {
                // Whichever direction ends first ends both: a connection is cut as a whole.
                tokio::select! {
                    biased;
                    () = ended => {}
                    _ = up.carry(from_client, to_server) => {}
                    _ = down.carry(from_server, to_client) => {}
                }
            });
            Ok(Box::new(client) as BoxStream)
        })
    }
}

/// One direction of a connection.
struct Pipe {
    network: Network,
    connection: u64,
    rng: Rng,
    cut_after: Option<u64>,
    stall_after: Option<u64>,
}

impl Pipe {
    async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut chunk = vec![0; 16 * 1024];
        let mut carried = 0;
        loop {
            let read = from.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            let mut bytes = &chunk[..read];
            if !self.network.is_healed() {
                tokio::time::sleep(self.rng.millis(0, self.network.conditions.delay_ms)).await;
                if self.stall_after.take_if(|at| carried >= *at).is_some()
                    && self.network.happens(self.connection, "falls silent")
                {
                    self.network.tally.count("network: connection falls silent");
                    self.stall().await;
                }
            }
            self.wait_while_silent().await;
            let cut = self
                .cut_after
                .take_if(|at| carried + bytes.len() as u64 >= *at && !self.network.is_healed())
                .filter(|_| self.network.happens(self.connection, "cut"));
            if let Some(at) = cut {
                bytes = &bytes[..(at - carried.min(at)) as usize];
            }
            to.write_all(bytes).await?;
            carried += bytes.len() as u64;
            if cut.is_some() {
                self.network.tally.count("network: connection cut");
                return Ok(());
            }
        }
    }

    /// Says nothing until the network heals.
    async fn stall(&self) {
        while !self.network.is_healed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    /// Says nothing while its client is silent.
    async fn wait_while_silent(&self) {
        let lifeline = self.network.lifeline.as_ref();
        while !self.network.is_healed() && lifeline.is_some_and(Lifeline::is_silent) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
