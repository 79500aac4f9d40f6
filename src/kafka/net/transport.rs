//! The one seam to the network: an [`Address`] goes in, a byte stream comes out. TCP here; in-memory streams in simulation.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Address;

/// How long one address of a name is tried alone, before the next one is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Stands for an address that nobody knows any more.
const UNSPECIFIED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A byte stream, both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A byte stream of any type.
pub type BoxStream = Box<dyn Stream>;

/// How the client gets from an address to a byte stream.
///
/// The caller puts a deadline around `connect`; dropping the future must abandon the attempt.
pub trait Transport: Debug + Send + Sync + 'static {
    /// Opens a byte stream to `address`.
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>>;

    /// The same after so many dials whose stream was of no use, such as one whose other end failed the TLS handshake: where a name has
    /// several addresses, the next one is tried first. The default makes no difference.
    fn connect_after(
        &self,
        failures: usize,
        address: &Address,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let _ = failures;
        self.connect(address)
    }
}

/// Plain TCP with `TCP_NODELAY`. Of the addresses that a name resolves to, the first one to take the connection is used: each gets a
/// short head start over the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpTransport;

impl Transport for TcpTransport {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.connect_after(0, address)
    }

    fn connect_after(
        &self,
        failures: usize,
        address: &Address,
    ) -> BoxFuture<'static, io::Result<BoxStream>> {
        let address = address.clone();
        Box::pin(async move {
            let addresses = lookup_host((address.host(), address.port())).await?;
            let stream = first_of(in_turn(addresses.collect(), failures), TcpStream::connect)
                .await
                .map_err(|failures| all_failed(&address, failures))?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as BoxStream)
        })
    }
}

/// The addresses, from the one whose turn it is.
fn in_turn(mut addresses: Vec<SocketAddr>, failures: usize) -> Vec<SocketAddr> {
    let first = failures.checked_rem(addresses.len()).unwrap_or_default();
    addresses.rotate_left(first);
    addresses
}

/// Connects to the first address that answers, in the order given; or says why none of them did.
async fn first_of<T, F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<T, Vec<(SocketAddr, io::Error)>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    // Dropping the set abandons every attempt in it.
    let mut attempts = JoinSet::new();
    let mut failures = Vec::new();
    let mut addresses = addresses.into_iter();
    loop {
        if let Some(address) = addresses.next() {
            let attempt = connect(address);
            attempts.spawn(async move { attempt.await.map_err(|error| (address, error)) });
        }
        tokio::select! {
            biased;
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(failure))) => failures.push(failure),
                // The runtime ends, and with it whoever waits here: nothing failed that anybody should be told.
                Some(Err(lost)) if lost.is_cancelled() => return std::future::pending().await,
                // A panic in an attempt.
                Some(Err(lost)) => failures.push((UNSPECIFIED, lost.into())),
                None => return Err(failures),
            },
            () = sleep(HEAD_START), if addresses.len() > 0 => {}
        }
    }
}

/// Each of the addresses and why it failed. The error will be told with the address that was asked for: what is the same is not repeated.
fn all_failed(asked: &Address, failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let Some((tried, first)) = failures.first() else {
        return io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    };
    if failures.len() == 1 && tried.to_string() == asked.to_string() {
        return io::Error::new(first.kind(), first.to_string());
    }
    let kind = first.kind();
    let each: Vec<_> = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    io::Error::new(kind, each.join("; "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    /// Port 1 takes no notice, port 2 refuses, port 3 takes a while, any other one connects.
    async fn connect(address: SocketAddr) -> io::Result<u16> {
        match address.port() {
            1 => std::future::pending::<()>().await,
            2 => return Err(io::ErrorKind::ConnectionRefused.into()),
            3 => sleep(Duration::from_millis(400)).await,
            _ => {}
        }
        Ok(address.port())
    }

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        let address = |port: &u16| SocketAddr::from(([127, 0, 0, 1], *port));
        ports.iter().map(address).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_that_answers_is_used_and_one_that_does_not_holds_up_the_next_but_shortly()
     {
        for (ports, used, after_ms) in [
            (&[4, 5][..], 4, 0),
            (&[2, 5], 5, 0),
            (&[1, 5], 5, 250),
            (&[1, 1, 2, 5], 5, 500),
            (&[3, 1], 3, 400),
        ] {
            let started = Instant::now();
            assert_eq!(first_of(addresses(ports), connect).await.unwrap(), used);
            let took = started.elapsed().as_millis();
            assert!(
                (after_ms..after_ms + 10).contains(&took),
                "{ports:?}: {took}"
            );
        }
    }

    #[test]
    fn after_a_stream_of_no_use_the_next_address_comes_first() {
        for (failures, ports) in [(0, [4, 5, 6]), (1, [5, 6, 4]), (5, [6, 4, 5])] {
            assert_eq!(in_turn(addresses(&[4, 5, 6]), failures), addresses(&ports));
        }
        assert_eq!(in_turn(Vec::new(), 1), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_names_every_address() {
        let localhost = Address::new("localhost", 2);
        let failures = first_of(addresses(&[2, 2]), connect).await.unwrap_err();
        let error = all_failed(&localhost, failures);
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = error.to_string();
        assert_eq!(
            text.matches("127.0.0.1:2: connection refused").count(),
            2,
            "{text}"
        );
        let failures = first_of(addresses(&[]), connect).await.unwrap_err();
        let error = all_failed(&localhost, failures);
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // What was asked for is told by the caller.
        let failures = first_of(addresses(&[2]), connect).await.unwrap_err();
        let error = all_failed(&Address::new("127.0.0.1", 2), failures);
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_abandons_every_attempt() {
        let held = Arc::new(());
        let connect = |_| {
            let held = held.clone();
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(())
            }
        };
        let dialling = first_of(addresses(&[1, 1]), connect);
        assert!(
            tokio::time::timeout(HEAD_START * 2, dialling)
                .await
                .is_err()
        );
        sleep(HEAD_START).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
