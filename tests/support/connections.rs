//! Counts connections. In: a way to the network. Out: the same, and how many connections to each address are open.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::{Address, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A transport that counts its connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    inner: Arc<dyn Transport>,
    /// Where each connection goes; alive as long as the client's end is.
    open: Arc<Mutex<Vec<Weak<Address>>>>,
}

impl Connections {
    pub fn through(inner: impl Transport) -> Self {
        Self {
            inner: Arc::new(inner),
            open: Arc::default(),
        }
    }

    /// The address of each connection that is open.
    pub fn open(&self) -> Vec<Address> {
        let open = self.open.lock().expect("no panic");
        let open = open.iter().filter_map(Weak::upgrade);
        open.map(|address| Address::clone(&address)).collect()
    }
}

impl Transport for Connections {
    fn connect(&self, address: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        let connecting = self.inner.connect(address);
        let (open, address) = (self.open.clone(), Arc::new(address.clone()));
        Box::pin(async move {
            let stream = connecting.await?;
            open.lock()
                .expect("no panic")
                .push(Arc::downgrade(&address));
            Ok(Box::new(Counted {
                stream,
                _to: address,
            }) as BoxStream)
        })
    }
}

/// A connection that counts as open until it is dropped.
struct Counted {
    stream: BoxStream,
    _to: Arc<Address>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
