//! A network to an embedded broker that can be down, and that counts connections.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, ClientConfig, Transport};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// The way to the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network(Arc<State>);

#[derive(Debug)]
struct State {
    broker: Broker,
    down: AtomicBool,
    dials: AtomicUsize,
    /// To which node each connection goes; alive as long as the client's end is.
    connections: Mutex<Vec<Weak<i32>>>,
}

impl Network {
    pub fn new(broker: &Broker) -> Self {
        Self(Arc::new(State {
            broker: broker.clone(),
            down: AtomicBool::new(false),
            dials: AtomicUsize::new(0),
            connections: Mutex::default(),
        }))
    }

    pub fn config(&self) -> ClientConfig {
        ClientConfig {
            transport: Arc::new(self.clone()),
            seed: Some(42),
            ..ClientConfig::new(&self.0.broker.bootstrap_servers())
        }
    }

    /// Whether connections are refused.
    pub fn set_down(&self, down: bool) {
        self.0.down.store(down, SeqCst);
    }

    pub fn dials(&self) -> usize {
        self.0.dials.load(SeqCst)
    }

    /// How many connections to the node are open.
    pub fn open(&self, node: i32) -> usize {
        let connections = self.0.connections.lock().expect("no panic");
        let open = connections.iter().filter_map(Weak::upgrade);
        open.filter(|to| **to == node).count()
    }

    /// How many connections are open.
    pub fn open_in_all(&self) -> usize {
        let nodes = self.0.broker.node_ids();
        nodes.into_iter().map(|node| self.open(node)).sum()
    }
}

impl Transport for Network {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let (state, address) = (self.0.clone(), address.clone());
        Box::pin(async move {
            state.dials.fetch_add(1, SeqCst);
            if state.down.load(SeqCst) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (host, port) = (address.host(), address.port());
            let stream = state.broker.dial(host, port)?;
            let node = Arc::new(state.broker.node_at(host, port).unwrap_or(-1));
            let mut connections = state.connections.lock().expect("no panic");
            connections.push(Arc::downgrade(&node));
            drop(connections);
            Ok(Box::new(Counted {
                stream,
                _node: node,
            }) as BoxStream)
        })
    }
}

/// A connection that is counted until it is dropped.
struct Counted {
    stream: DuplexStream,
    _node: Arc<i32>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
