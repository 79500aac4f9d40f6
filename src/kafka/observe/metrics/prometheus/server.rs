//! A small HTTP server that shows metrics to Prometheus. In: `GET /metrics`. Out: a snapshot of that moment. `GET /health` says whether anything is
//! wrong.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::PROMETHEUS_CONTENT_TYPE;
use crate::kafka::net::http::HyperStream;
use crate::kafka::observe::Metrics;

/// How long one connection may last: a request, and its response.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many connections there may be at once.
const CONNECTIONS: usize = 32;
/// The pause after a failure to take a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows metrics to Prometheus, at `/metrics`, until it is dropped. Beside them, `/health` answers `200 OK` while all is well, and else
/// `503 Service Unavailable` with the [`troubles`](Metrics::troubles), a line each: for a readiness probe, or for an operator to look at.
///
/// There is no TLS, and nobody is asked who they are: bind it where only Prometheus gets to. A server of your own shows the same with
/// [`Snapshot::to_prometheus`](crate::kafka::observe::metrics::Snapshot::to_prometheus).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use pat_events::kafka::ClientConfig;
/// use pat_events::kafka::observe::PrometheusServer;
///
/// let config = ClientConfig::new("kafka-1:9092");
/// let server = PrometheusServer::bind("127.0.0.1:0", &config.metrics).await?;
/// println!("http://{}/metrics", server.local_addr());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct PrometheusServer {
    address: SocketAddr,
    task: AbortHandle,
}

impl PrometheusServer {
    /// Serves `metrics` at `address`; port 0 is one that is free. Fails when the address cannot be listened on.
    pub async fn bind(address: impl ToSocketAddrs, metrics: &Metrics) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(serve(listener, metrics.clone()));
        Ok(Self {
            address,
            task: serving.abort_handle(),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PrometheusServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, metrics: Metrics) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = room.clone().acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                sleep(PAUSE).await;
                continue;
            }
        };
        let metrics = metrics.clone();
        connections.spawn(async move {
            let answer = service_fn(|request| {
                let response = respond(&request, &metrics);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            let connection = server
                .keep_alive(false)
                .serve_connection(HyperStream(Box::new(stream)), answer);
            // Whoever goes away in between has lost interest.
            let _ = timeout(PATIENCE, connection).await;
            drop(place);
        });
    }
}

fn respond<B>(request: &Request<B>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            let text = metrics.snapshot().to_prometheus();
            *response.body_mut() = Full::from(text);
            let content_type = HeaderValue::from_static(PROMETHEUS_CONTENT_TYPE);
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        (&Method::GET | &Method::HEAD, "/health") => {
            let troubles = metrics.troubles();
            let text = match troubles.is_empty() {
                true => "ok".to_string(),
                false => {
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                    troubles.join("\n")
                }
            };
            *response.body_mut() = Full::from(text + "\n");
            let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, content_type);
        }
        (_, "/metrics" | "/health") => {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let methods = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, methods);
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    response
}
