//! One request on one connection, and its repetitions.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::stream::HyperStream;
use super::url::Url;
use crate::kafka::config::Secret;
use crate::kafka::config::security::TlsConfig;
use crate::kafka::error::sanitised;
use crate::kafka::net::tls::TlsConnector;
use crate::kafka::net::{TcpTransport, Transport};
use crate::kafka::runtime::{Backoff, Mutex, Retry};
use crate::kafka::{Error, ErrorKind, Random, Result};

/// The longest body that is read, in bytes.
const LONGEST_BODY: usize = 1 << 20;
/// The longest head, in bytes, and the most headers.
const LONGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;
/// What of an error's body is looked at, to be shown.
const LOOKED_AT: usize = 16 << 10;

/// Opens a connection for each request: they are rare.
#[derive(Debug)]
pub(crate) struct HttpClient {
    tls: TlsConnector,
    /// How long connecting and TLS may take, and how long the answer.
    connect_timeout: Duration,
    read_timeout: Duration,
    random: Mutex<Random>,
    /// Streams that TLS made nothing of.
    useless_streams: AtomicUsize,
}

/// One request.
pub(crate) struct HttpRequest {
    method: Method,
    url: Url,
    headers: Vec<(&'static str, Zeroizing<String>)>,
    body: Zeroizing<Vec<u8>>,
    /// What no error may show, should the server repeat it.
    secrets: Vec<Secret>,
}

/// The pauses between attempts, and when the last one begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries {
    pub backoff: Duration,
    pub until: Instant,
}

impl HttpRequest {
    pub fn get(url: Url) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Zeroizing::default(),
            secrets: Vec::new(),
        }
    }

    /// A POST of a form, which must be encoded.
    pub fn form(url: Url, form: Zeroizing<String>) -> Self {
        let post = Self {
            method: Method::POST,
            body: Zeroizing::new(form.as_bytes().to_vec()),
            ..Self::get(url)
        };
        post.header("content-type", "application/x-www-form-urlencoded")
    }

    /// A POST of what `content_type` says.
    #[cfg(feature = "registry")]
    pub fn post(url: Url, content_type: &'static str, body: Vec<u8>) -> Self {
        let post = Self {
            method: Method::POST,
            body: Zeroizing::new(body),
            ..Self::get(url)
        };
        post.header("content-type", content_type)
    }

    #[cfg(any(feature = "msk-iam", feature = "registry"))]
    pub fn put(self) -> Self {
        Self {
            method: Method::PUT,
            ..self
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, Zeroizing::new(value.into())));
        self
    }

    /// Says what no error may show.
    pub fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(Secret::new(secret));
        self
    }

    /// Why this status is no success.
    fn refused(&self, status: u16, body: &[u8]) -> Error {
        // Proxies and services that are starting or overloaded may do better the next time, as Java sees it.
        let kind = match status {
            408 | 425 | 429 | 500 | 502..=504 | 506.. => ErrorKind::Connect,
            _ => ErrorKind::Authentication,
        };
        let mut text = String::from_utf8_lossy(&body[..body.len().min(LOOKED_AT)]).into_owned();
        for secret in self.secrets.iter().map(Secret::reveal) {
            if !secret.is_empty() {
                text = text.replace(secret, Secret::HIDDEN);
            }
        }
        let said = match text.trim() {
            "" => String::new(),
            text => format!(": {}", sanitised(text)),
        };
        Error::new(
            kind,
            format!("{} answered with status {status}{said}", self.url),
        )
    }
}

impl HttpClient {
    pub fn new(
        tls: TlsConfig,
        connect_timeout: Duration,
        read_timeout: Duration,
        random: Random,
    ) -> Self {
        Self {
            tls: TlsConnector::new(tls),
            connect_timeout,
            read_timeout,
            random: Mutex::new(random),
            useless_streams: AtomicUsize::new(0),
        }
    }

    /// Sends the request, again after a pause when what went wrong may pass, and returns the body of a success.
    ///
    /// Errors are [`ErrorKind::Connect`] where another try may do better, and others where it will not. Cancel safe.
    pub async fn send(
        &self,
        request: &HttpRequest,
        retries: Retries,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let backoff = Backoff::new(retries.backoff, retries.until - Instant::now());
        let random = Random::seeded(self.random.lock().next_u64());
        let mut retry = Retry::new(backoff, random, retries.until);
        loop {
            match self.attempt(request, retries.until).await {
                Err(error) if error.kind() == ErrorKind::Connect => retry.pause(error).await?,
                done => return done,
            }
        }
    }

    async fn attempt(&self, request: &HttpRequest, until: Instant) -> Result<Zeroizing<Vec<u8>>> {
        match self.once(request, until).await? {
            (200..=299, body) => Ok(body),
            (status, body) => Err(request.refused(status, &body)),
        }
    }

    /// Sends the request once and returns what came back, whatever its status; fails with [`ErrorKind::Connect`] where nothing did.
    pub async fn once(
        &self,
        request: &HttpRequest,
        until: Instant,
    ) -> Result<(u16, Zeroizing<Vec<u8>>)> {
        let url = &request.url;
        let failed = |message: &str| Error::new(ErrorKind::Connect, format!("{url}: {message}"));
        let connecting = until.min(Instant::now() + self.connect_timeout);
        let stream = async {
            let failures = self.useless_streams.load(Relaxed);
            let stream = TcpTransport.connect_after(failures, &url.address).await;
            let stream = stream.map_err(|error| failed("cannot connect").because(error))?;
            if !url.is_tls {
                return Ok(stream);
            }
            let secured = self.tls.connect_server(&url.address, stream).await;
            secured.map_err(|error| {
                self.useless_streams.fetch_add(1, Relaxed);
                match error.kind() {
                    ErrorKind::Disconnected => failed("cannot connect").because(error),
                    _ => error.prefixed(&url.to_string()),
                }
            })
        };
        let stream = timeout_at(connecting, stream)
            .await
            .map_err(|_| failed("no connection in time"))??;
        let reading = until.min(Instant::now() + self.read_timeout);
        let answer = timeout_at(reading, exchange(request, HyperStream(stream)));
        let answer = answer.await.map_err(|_| failed("no answer in time"))?;
        answer.map_err(|error| match error {
            Failed::Hyper(error) => failed("no answer in HTTP/1.1").because(error),
            Failed::TooLong => {
                let message =
                    format!("{url} answered with a body of more than {LONGEST_BODY} bytes");
                Error::new(ErrorKind::Protocol, message)
            }
            Failed::Unsendable => {
                let message = format!("{url}: a header has letters that cannot be sent");
                Error::new(ErrorKind::Config, message)
            }
        })
    }
}

enum Failed {
    Hyper(hyper::Error),
    TooLong,
    Unsendable,
}

impl From<hyper::Error> for Failed {
    fn from(error: hyper::Error) -> Self {
        Self::Hyper(error)
    }
}

/// Sends the request and reads the answer: its status and its body.
async fn exchange(
    request: &HttpRequest,
    stream: HyperStream,
) -> Result<(u16, Zeroizing<Vec<u8>>), Failed> {
    let mut built = Request::builder()
        .method(request.method.clone())
        .uri(&request.url.target)
        .header(HOST, &request.url.authority)
        .header(
            USER_AGENT,
            concat!("pat-events/", env!("CARGO_PKG_VERSION")),
        )
        .header(CONNECTION, "close");
    for (name, value) in &request.headers {
        let mut value = HeaderValue::from_str(value).map_err(|_| Failed::Unsendable)?;
        value.set_sensitive(true);
        built = built.header(*name, value);
    }
    let body = Full::new(Bytes::from_owner(request.body.clone()));
    let built = built.body(body).map_err(|_| Failed::Unsendable)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .handshake(stream)
        .await?;
    let mut answer = pin!(async move {
        let response = sender.send_request(built).await?;
        let status = response.status().as_u16();
        let mut incoming = response.into_body();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame?.into_data() {
                if body.len() + data.len() > LONGEST_BODY {
                    return Err(Failed::TooLong);
                }
                body.extend_from_slice(&data);
            }
        }
        Ok((status, body))
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            // What it had read already is still there.
            answer.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::StandIn;
    use super::*;

    fn client() -> HttpClient {
        let second = Duration::from_secs(5);
        HttpClient::new(TlsConfig::default(), second, second, Random::seeded(1))
    }

    fn retries(limit: Duration) -> Retries {
        Retries {
            backoff: Duration::from_millis(10),
            until: Instant::now() + limit,
        }
    }

    #[tokio::test]
    async fn a_request_is_sent_and_the_body_of_a_success_returned() {
        let server = StandIn::start(|request| {
            assert!(
                request.starts_with("POST /token?a=1 HTTP/1.1\r\n"),
                "{request}"
            );
            assert!(
                request.contains("\r\nauthorization: Basic x\r\n"),
                "{request}"
            );
            assert!(request.ends_with("\r\n\r\nform=1"), "{request}");
            (200, "hello".to_string())
        })
        .await;
        let request = HttpRequest::form(
            server.url("/token?a=1"),
            Zeroizing::new("form=1".to_string()),
        )
        .header("authorization", "Basic x");
        let body = client()
            .send(&request, retries(Duration::from_secs(5)))
            .await;
        assert_eq!(**body.expect("a body"), *b"hello");
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_and_what_will_not_is_told_without_secrets() {
        let server = StandIn::answers([
            (503, "busy".to_string()),
            (429, String::new()),
            (200, "now".to_string()),
        ])
        .await;
        let request = HttpRequest::get(server.url("/"));
        let body = client()
            .send(&request, retries(Duration::from_secs(5)))
            .await;
        assert_eq!(**body.expect("a body"), *b"now");
        assert_eq!(server.requests(), 3);

        let server = StandIn::answers([(401, "you sent hunter2\n".to_string())]).await;
        let request = HttpRequest::get(server.url("/t?q=hunter2")).secret("hunter2");
        let error = client()
            .send(&request, retries(Duration::from_secs(5)))
            .await;
        let error = error.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert_eq!(
            error.to_string(),
            format!(
                "{} answered with status 401: you sent [hidden]",
                server.url("/t")
            )
        );
        assert_eq!(server.requests(), 1);
    }

    #[tokio::test]
    async fn what_does_not_end_is_ended() {
        let long = "x".repeat(LONGEST_BODY + 1);
        let server = StandIn::answers([(200, long)]).await;
        let request = HttpRequest::get(server.url("/"));
        let error = client()
            .send(&request, retries(Duration::from_secs(5)))
            .await;
        assert_eq!(error.expect_err("too long").kind(), ErrorKind::Protocol);

        let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let request = HttpRequest::get(Url::parse(&url).expect("a URL"));
        let error = client()
            .send(&request, retries(Duration::from_millis(200)))
            .await;
        let error = error.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("no answer in time"), "{error}");
        drop(silent);
        let error = client()
            .send(&request, retries(Duration::from_millis(200)))
            .await;
        let error = error.expect_err("nobody listens");
        assert!(error.to_string().contains("cannot connect"), "{error}");
    }

    #[tokio::test]
    async fn what_is_no_http_is_an_error() {
        for bytes in [
            &b"\x00\x00\x00\x04abcd"[..],
            b"",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab",
        ] {
            let server = StandIn::raw(bytes).await;
            let request = HttpRequest::get(server.url("/"));
            let error = client()
                .send(&request, retries(Duration::from_millis(50)))
                .await;
            assert_eq!(
                error.expect_err("no answer").kind(),
                ErrorKind::Connect,
                "{bytes:?}"
            );
        }
    }
}
