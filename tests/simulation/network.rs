//! The network between client and broker, in memory: it delays, stalls and cuts connections at any byte, in either direction, as the rng
//! say, until it is healed. In: the client's wish to connect. Out: a byte stream to the embedded broker, or a refusal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::Transport;
use pat_events::kafka::net::{Address, BoxFuture, BoxStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::mix::Tally;
use crate::rng::Rng;

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
}

impl Network {
    pub fn new(broker: Broker, rng: Rng, conditions: NetworkConditions, tally: Tally) -> Self {
        Self {
            broker,
            rng,
            conditions,
            healed: Arc::new(AtomicBool::new(false)),
            tally,
        }
    }

    /// From now on nothing is refused, cut, stalled or late; what is stalled goes on.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    fn is_healed(&self) -> bool {
        self.healed.load(Ordering::Relaxed)
    }

    fn pipe(&self, rng: &Rng) -> Pipe {
        let somewhere = |percent| {
            rng.chance(percent)
                .then(|| rng.any_scale(self.conditions.within_bytes))
        };
        Pipe {
            network: self.clone(),
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
            if !network.is_healed() {
                tokio::time::sleep(rng.millis(0, network.conditions.delay_ms)).await;
                if rng.chance(network.conditions.refused_percent) {
                    network.tally.count("network: connection refused");
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
            }
            network.tally.count("network: connection");
            let (from_server, to_server) =
                tokio::io::split(network.broker.dial(address.host(), address.port())?);
            let (client, near) = tokio::io::duplex(16 * 1024);
            let (from_client, to_client) = tokio::io::split(near);
            let (up, down) = (network.pipe(&rng), network.pipe(&rng));
            tokio::spawn(async move {
                // Whichever direction ends first ends both: a connection is cut as a whole.
                tokio::select! {
                    biased;
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
                if self.stall_after.is_some_and(|at| carried >= at) {
                    self.network.tally.count("network: connection falls silent");
                    self.stall().await;
                }
            }
            let cut = self
                .cut_after
                .filter(|at| carried + bytes.len() as u64 >= *at && !self.network.is_healed());
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
    async fn stall(&mut self) {
        self.stall_after = None;
        while !self.network.is_healed() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
