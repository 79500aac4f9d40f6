//! Listeners and connections: one task for each node, which owns the tasks of its connections.
//!
//! A connection's requests are answered one after the other, in their order, as Kafka does. Bytes are taken in as they arrive, and
//! no length is trusted before. Ending a node's task ends its connections.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::frame::{LENGTH_BYTES, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::api::{self, Outcome};
use super::cluster::Cluster;

/// What an in-memory connection holds in each direction before a writer has to wait.
pub(crate) const IN_MEMORY_BUFFER_BYTES: usize = 64 * 1024;
/// Room to read into at the least, so that small frames come several at a time.
const READ_BYTES: usize = 64 * 1024;
/// How much room a long frame gets before its bytes are there; beyond that it doubles as they arrive.
const TRUSTED_BYTES: usize = 1024 * 1024;
/// How long to wait after a connection could not be accepted.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(10);
/// Pieces written in one call.
const MAX_SLICES: usize = 64;

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
                    connections.spawn(serve(stream, cluster.clone(), node));
                }
            },
            Some(_) = connections.join_next() => {}
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(stream) => {
                    connections.spawn(serve(stream, cluster.clone(), node));
                }
                // It died before it was accepted, or there are no more descriptors: others may have better luck.
                Err(_) => tokio::time::sleep(ACCEPT_BACKOFF).await,
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
        None => std::future::pending().await,
    }
}

/// Serves one connection until either side closes it. A broken peer is no error of ours.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, cluster: Arc<Cluster>, node: i32) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(frame)) =
        read_frame(&mut stream, &mut buffer, cluster.settings.max_request_bytes).await
    {
        match api::answer(frame, &cluster, node).await {
            Outcome::Disconnect => break,
            Outcome::Nothing => {}
            Outcome::Answer { frame, mute_until } => {
                if write_all(&mut stream, &frame).await.is_err() {
                    break;
                }
                if let Some(until) = mute_until.filter(|until| *until > Instant::now()) {
                    tokio::time::sleep_until(until).await;
                }
            }
        }
    }
    // An orderly end, so that what was written still arrives; the peer may be gone already.
    let _ = stream.shutdown().await;
}

/// The next frame without its length; none at the end of the stream.
async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    max: usize,
) -> io::Result<Option<Bytes>> {
    if !fill(reader, buffer, LENGTH_BYTES).await? {
        return Ok(None);
    }
    let mut prefix = [0; LENGTH_BYTES];
    prefix.copy_from_slice(&buffer[..LENGTH_BYTES]);
    let length = frame_length(prefix, max)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if !fill(reader, buffer, LENGTH_BYTES + length).await? {
        return Ok(None);
    }
    let _ = buffer.split_to(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Reads until `buffer` holds `wanted` bytes; false when the stream ends before.
async fn fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    buffer: &mut BytesMut,
    wanted: usize,
) -> io::Result<bool> {
    while buffer.len() < wanted {
        let missing = wanted - buffer.len();
        if buffer.capacity() - buffer.len() < missing.min(READ_BYTES) {
            let believed = missing.min(buffer.len().max(TRUSTED_BYTES));
            buffer.reserve(believed.max(READ_BYTES));
        }
        if reader.read_buf(buffer).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, frame: &[Bytes]) -> io::Result<()> {
    let (mut index, mut done) = (0, 0);
    while index < frame.len() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let pieces = &frame[index..frame.len().min(index + MAX_SLICES)];
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        slices[0] = IoSlice::new(&frame[index][done..]);
        let mut written = writer.write_vectored(&slices[..pieces.len()]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while index < frame.len() && written >= frame[index].len() - done {
            written -= frame[index].len() - done;
            (index, done) = (index + 1, 0);
        }
        done += written;
    }
    writer.flush().await
}
