//! A network to an embedded broker that can be down, and that counts connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, ClientConfig, Transport};

use crate::connections::Connections;

/// The way to the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Network {
    broker: Broker,
    state: Arc<State>,
    connections: Connections,
}

#[derive(Debug, Default)]
struct State {
    down: AtomicBool,
    dials: AtomicUsize,
}

/// Dials the broker.
#[derive(Debug)]
struct Dial(Broker, Arc<State>);

impl Transport for Dial {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.1.dials.fetch_add(1, SeqCst);
        let dialled = match self.1.down.load(SeqCst) {
            true => Err(io::ErrorKind::ConnectionRefused.into()),
            false => self.0.dial(address.host(), address.port()),
        };
        Box::pin(async move { dialled.map(|stream| Box::new(stream) as BoxStream) })
    }
}

impl Network {
    pub fn new(broker: &Broker) -> Self {
        let state = Arc::new(State::default());
        Self {
            broker: broker.clone(),
            state: state.clone(),
            connections: Connections::through(Dial(broker.clone(), state)),
        }
    }

    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.broker.bootstrap_servers());
        config.transport = Arc::new(self.connections.clone());
        config.seed = Some(42);
        config
    }

    /// Whether connections are refused.
    pub fn set_down(&self, down: bool) {
        self.state.down.store(down, SeqCst);
    }

    pub fn dials(&self) -> usize {
        self.state.dials.load(SeqCst)
    }

    /// How many connections to the node are open.
    pub fn open(&self, node: i32) -> usize {
        let open = self.connections.open();
        let node_at = |at: &Address| self.broker.node_at(at.host(), at.port());
        open.iter().filter(|at| node_at(at) == Some(node)).count()
    }

    /// How many connections are open.
    pub fn open_in_all(&self) -> usize {
        self.connections.open().len()
    }
}
