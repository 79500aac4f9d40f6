//! Connections that end at any byte, one by one or all at once, until it is healed. In: the client's wish to connect. Out: a byte stream to a broker over TCP.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, Transport};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::rng::Rng;

/// Of a hundred connections, so many are cut by themselves, within so many bytes.
const CUT_PERCENT: u64 = 50;
const WITHIN_BYTES: u64 = 8 << 20;
const BUFFER: usize = 64 << 10;

/// The way to the brokers.
#[derive(Clone, Debug)]
pub struct CuttingProxy {
    rng: Rng,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    is_healed: AtomicBool,
    /// All of them end now.
    cut: Notify,
    connections: AtomicU64,
    cuts: AtomicU64,
}

/// How many connections there were, and how many of them were cut.
#[derive(Debug)]
#[allow(dead_code)] // Printed.
pub struct Counts {
    connections: u64,
    cuts: u64,
}

impl CuttingProxy {
    pub fn new(rng: Rng) -> Self {
        Self {
            rng,
            shared: Arc::default(),
        }
    }

    /// From now on nothing is cut.
    pub fn heal(&self) {
        self.shared.is_healed.store(true, Relaxed);
    }

    /// Cuts every connection that there is.
    pub fn cut_all(&self) {
        self.shared.cut.notify_waiters();
    }

    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.shared.connections.load(Relaxed),
            cuts: self.shared.cuts.load(Relaxed),
        }
    }
}

impl Transport for CuttingProxy {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (address, shared) = (address.clone(), self.shared.clone());
        let at = || {
            let is_cut = self.rng.chance(CUT_PERCENT);
            is_cut.then(|| self.rng.any_scale(WITHIN_BYTES))
        };
        let (up_to, down_to) = (at(), at());
        Box::pin(async move {
            let broker = TcpStream::connect((address.host(), address.port())).await?;
            broker.set_nodelay(true)?;
            shared.connections.fetch_add(1, Relaxed);
            let (near, far) = duplex(BUFFER);
            tokio::spawn(async move {
                let (from_client, to_client) = split(far);
                let (from_broker, to_broker) = split(broker);
                // Whichever ends first ends both: the client sees the end of its stream.
                let was_cut = tokio::select! {
                    biased;
                    () = shared.cut.notified() => true,
                    was_cut = carry(&shared, from_client, to_broker, up_to) => was_cut.unwrap_or(false),
                    was_cut = carry(&shared, from_broker, to_client, down_to) => was_cut.unwrap_or(false),
                };
                shared.cuts.fetch_add(u64::from(was_cut), Relaxed);
            });
            Ok(Box::new(near) as BoxStream)
        })
    }
}

/// Carries bytes until there are no more, or to this one. Whether it was that.
async fn carry(
    shared: &Shared,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut left: Option<u64>,
) -> io::Result<bool> {
    let mut chunk = vec![0; BUFFER];
    loop {
        let read = from.read(&mut chunk).await?;
        if read == 0 {
            return Ok(false);
        }
        let mut bytes = &chunk[..read];
        let is_last = match &mut left {
            Some(left) if *left < read as u64 && !shared.is_healed.load(Relaxed) => {
                bytes = &bytes[..*left as usize];
                true
            }
            Some(left) => {
                *left = left.saturating_sub(read as u64);
                false
            }
            None => false,
        };
        to.write_all(bytes).await?;
        if is_last {
            return Ok(true);
        }
    }
}
