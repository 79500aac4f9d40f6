//! A connection: frames in and out, and who is at the other end.
//!
//! Its requests are answered one after the other, in their order, as Kafka does. Bytes are taken in as they arrive, and no length is trusted
//! before; of a client that has not said who it is, only short frames are taken.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use protocol::frame::{LENGTH_BYTES, frame_length};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use crate::broker::api::{self, Outcome};
use crate::broker::cluster::Cluster;
use crate::broker::lock;
use crate::broker::security::{Principal, Session};

/// Room to read into at the least, so that small frames come several at a time.
const READ_BYTES: usize = 64 * 1024;
/// How much room a long frame gets before its bytes are there; beyond that it doubles as they arrive.
const TRUSTED_BYTES: usize = 1024 * 1024;
/// Pieces written in one call.
const MAX_SLICES: usize = 64;
/// The longest frame of a client that has not said who it is (Kafka's `sasl.server.max.receive.size`).
const MAX_BYTES_UNAUTHENTICATED: usize = 512 * 1024;

/// What is known of a connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// No other of the cluster has it.
    pub(crate) id: u64,
    /// The node that it reached.
    pub(crate) node: i32,
    /// The client's address.
    pub(crate) host: String,
    session: Mutex<Session>,
}

impl Connection {
    /// One on which TLS, if there is any, is through; `principal` is who it has shown the client to be.
    fn new(node: i32, host: IpAddr, principal: Principal, cluster: &Cluster) -> Self {
        let session = match cluster.security.takes_sasl() {
            true => Session::unauthenticated(principal),
            false => Session::open(principal),
        };
        Self {
            id: cluster.next_connection(),
            node,
            host: host.to_string(),
            session: Mutex::new(session),
        }
    }

    /// Who the client is, and for how long that is believed.
    pub(crate) fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }
}

/// Serves one client until either side closes the connection. A broken peer is no error of ours.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    stream: S,
    host: IpAddr,
    cluster: Arc<Cluster>,
    node: i32,
) {
    #[cfg(feature = "tls-rustls")]
    if let Some(acceptor) = &cluster.acceptor {
        if let Some((stream, principal)) = acceptor.accept(stream).await {
            let connection = Arc::new(Connection::new(node, host, principal, &cluster));
            serve_frames(stream, &connection, &cluster).await;
        }
        return;
    }
    let principal = Principal::anonymous();
    let connection = Arc::new(Connection::new(node, host, principal, &cluster));
    serve_frames(stream, &connection, &cluster).await;
}

async fn serve_frames<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    connection: &Arc<Connection>,
    cluster: &Arc<Cluster>,
) {
    cluster.connection_began();
    let _ends = Ends {
        connection,
        cluster,
    };
    let mut buffer = BytesMut::new();
    loop {
        let max = match connection.session().is_authenticated() {
            true => cluster.settings.max_request_bytes,
            false => MAX_BYTES_UNAUTHENTICATED.min(cluster.settings.max_request_bytes),
        };
        let Ok(Some(frame)) = read_frame(&mut stream, &mut buffer, max).await else {
            break;
        };
        match api::answer(frame, cluster, connection).await {
            Outcome::Disconnect => break,
            Outcome::Nothing => {}
            Outcome::Answer { frame, mute_until } => {
                if write_all(&mut stream, &frame).await.is_err()
                    || connection.session().has_failed()
                {
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

/// Says that a connection is gone, however it ends.
struct Ends<'a> {
    connection: &'a Connection,
    cluster: &'a Cluster,
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        let Connection { id, node, .. } = self.connection;
        self.cluster.connection_ended(*node, *id);
    }
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
