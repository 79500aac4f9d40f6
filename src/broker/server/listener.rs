//! Listeners: one task for each node, which owns the tasks of its connections. Ending it ends them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::connection;
use crate::broker::cluster::Cluster;

/// What an in-memory connection holds in each direction before a writer has to wait.
pub(crate) const IN_MEMORY_BUFFER_BYTES: usize = 64 * 1024;
/// Where clients are that connect in memory.
const IN_MEMORY_HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long to wait after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);

/// Where a node takes connections from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// `bound` is the socket for the first start.
    Tcp {
        address: SocketAddr,
        bound: Option<TcpListener>,
    },
    InMemory,
}

/// What a node's task is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    Connect(DuplexStream),
    DisconnectAll,
}

/// One node: takes connections in until it is ended.
pub(crate) async fn run_node(
    cluster: Arc<Cluster>,
    node: i32,
    listener: Option<TcpListener>,
    mut commands: mpsc::Receiver<Command>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => return,
                Some(Command::DisconnectAll) => connections.abort_all(),
                Some(Command::Connect(stream)) => {
                    connections.spawn(connection::serve(stream, IN_MEMORY_HOST, cluster.clone(), node));
                }
            },
            Some(_) = connections.join_next() => {}
            accepted = accept(listener.as_ref()) => match accepted {
                Ok((stream, host)) => {
                    connections.spawn(connection::serve(stream, host, cluster.clone(), node));
                }
                // It died before it was accepted, or there are no more descriptors: others may have better luck.
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, IpAddr)> {
    match listener {
        Some(listener) => {
            let (stream, peer) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok((stream, peer.ip().to_canonical()))
        }
        None => std::future::pending().await,
    }
}
