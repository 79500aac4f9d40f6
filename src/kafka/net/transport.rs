//! The one seam to the network: an [`Address`] goes in, a byte stream comes out. TCP here; in-memory streams in simulation.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Address;

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A byte stream of any make.
pub type BoxStream = Box<dyn Stream>;

/// How the client gets from an address to a byte stream.
///
/// The caller puts a deadline around `connect`; dropping the future must abandon the attempt.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Opens a byte stream to `address`.
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>>;
}

/// Plain TCP with `TCP_NODELAY`. Every address that a name resolves to is tried in turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTransport;

impl Transport for TcpTransport {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let address = address.clone();
        Box::pin(async move {
            let stream = TcpStream::connect((address.host(), address.port())).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}
