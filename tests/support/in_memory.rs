//! The way to an embedded broker without sockets. Stands alone: tests and benches take it by its path.

use std::io;

use pat_events::broker::Broker;
use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, Transport};

/// Dials the embedded broker.
#[derive(Clone, Debug)]
pub struct InMemory(pub Broker);

impl Transport for InMemory {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let dialled = self.0.dial(address.host(), address.port());
        Box::pin(async move { dialled.map(|stream| Box::new(stream) as BoxStream) })
    }
}
