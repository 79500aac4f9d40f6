//! A server on the loopback that stands in for a token endpoint or a metadata service, in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Url;

/// Serves until it is dropped.
pub(in crate::kafka::net) struct StandIn {
    port: u16,
    requests: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl StandIn {
    /// Answers each request, of which it is shown all, with a status and a body.
    pub async fn start(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::serve(move |request| {
            let (status, body) = answer(request);
            let length = body.len();
            format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
        })
        .await
    }

    /// Answers with these, one after the other; the last one again and again.
    pub async fn answers<const N: usize>(answers: [(u16, String); N]) -> Self {
        let next = AtomicUsize::new(0);
        Self::start(move |_| answers[next.fetch_add(1, Ordering::Relaxed).min(N - 1)].clone()).await
    }

    /// Answers with these bytes, whatever they are.
    pub async fn raw(bytes: &'static [u8]) -> Self {
        Self::serve(move |_| bytes.to_vec()).await
    }

    async fn serve(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(AtomicUsize::new(0));
        let (counted, answer) = (requests.clone(), Arc::new(answer));
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (counted, answer) = (counted.clone(), answer.clone());
                tokio::spawn(async move {
                    let request = read(&mut stream).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                    let _ = stream.write_all(&answer(&request)).await;
                });
            }
        });
        Self {
            port,
            requests,
            serving,
        }
    }

    pub fn url(&self, target: &str) -> Url {
        Url::parse(&self.address(target)).expect("a URL")
    }

    pub fn address(&self, target: &str) -> String {
        format!("http://127.0.0.1:{}{target}", self.port)
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A request's head and body.
async fn read(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}
