//! A registry that does what a test wants of it: down, slow, wrong, restarted with other ids. It counts what it is asked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How it behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Mood {
    Well,
    /// Responds with this status.
    Down(u16),
    /// Responds after this time.
    Slow(Duration),
    /// Responds with this, and status 200.
    Wrong(String),
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// The first id that it hands out.
    next_id: u32,
    /// Subject, schema as it was asked for, id.
    schemas: Vec<(String, Value, u32)>,
    /// Every request, its head and its body.
    requests: Vec<String>,
}

/// Serves until it is dropped.
#[derive(Debug)]
pub struct StandIn {
    scheme: &'static str,
    port: u16,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

impl StandIn {
    pub async fn start() -> Self {
        Self::start_over("http", |stream| async { Some(stream) }).await
    }

    /// Over what `accept` makes of a connection.
    pub async fn start_over<S, F>(
        scheme: &'static str,
        accept: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Option<S>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Well,
            next_id: 1,
            schemas: Vec::new(),
            requests: Vec::new(),
        }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (accepting, shared) = (accept(stream), shared.clone());
                tokio::spawn(async move {
                    if let Some(stream) = accepting.await {
                        serve(stream, shared).await;
                    }
                });
            }
        });
        Self {
            scheme,
            port,
            state,
            serving,
        }
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().expect("lock").mood = mood;
    }

    /// As after a restart without its storage: ids begin at `first`.
    pub fn forget(&self, first: u32) {
        let mut state = self.state.lock().expect("lock");
        state.schemas.clear();
        state.next_id = first;
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().expect("lock").requests.clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<Mutex<State>>) {
    let Some((head, body)) = request(&mut stream).await else {
        return;
    };
    let (mood, (status, answer)) = {
        let mut state = state.lock().expect("lock");
        state.requests.push(format!("{head}\n{body}"));
        let answer = match &state.mood {
            Mood::Down(status) => (*status, "sorry".to_string()),
            Mood::Wrong(answer) => (200, answer.clone()),
            Mood::Well | Mood::Slow(_) => {
                let (status, answer) = answer(&mut state, &head, &body);
                (status, answer.to_string())
            }
        };
        (state.mood.clone(), answer)
    };
    if let Mood::Slow(time) = mood {
        tokio::time::sleep(time).await;
    }
    let length = answer.len();
    let response = format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n\r\n{answer}");
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, String)> {
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
                return Some((head.to_string(), body.to_string()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A GUID that follows from an id.
pub fn guid(id: u32) -> String {
    format!("00000000-0000-0000-0000-{id:012x}")
}

fn answer(state: &mut State, head: &str, body: &str) -> (u16, Value) {
    let mut words = head.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let schema: Value = serde_json::from_str(body).unwrap_or_default();
    let not_found = |code: i64| (404, json!({"error_code": code, "message": "not found"}));
    let shown = |(subject, schema, id): &(String, Value, u32)| {
        let mut shown = schema.clone();
        shown["subject"] = json!(subject);
        shown["version"] = json!(1);
        shown["id"] = json!(id);
        shown["guid"] = json!(guid(*id));
        (200, shown)
    };
    match (method, &parts[..]) {
        ("POST", ["subjects", subject, "versions"]) => {
            let known = state
                .schemas
                .iter()
                .find(|(it, known, _)| it == subject && *known == schema);
            if let Some(known) = known {
                return shown(known);
            }
            let entry = (subject.to_string(), schema, state.next_id);
            state.next_id += 1;
            let shown = shown(&entry);
            state.schemas.push(entry);
            shown
        }
        ("POST", ["subjects", subject]) => {
            let known = state
                .schemas
                .iter()
                .find(|(it, known, _)| it == subject && *known == schema);
            known.map_or_else(|| not_found(40403), shown)
        }
        ("GET", ["subjects", subject, "versions", _]) => {
            let known = state.schemas.iter().rfind(|(it, ..)| it == subject);
            known.map_or_else(|| not_found(40401), shown)
        }
        ("GET", ["schemas", "ids", id]) => {
            let known = state.schemas.iter().find(|(.., it)| it.to_string() == *id);
            known.map_or_else(|| not_found(40403), shown)
        }
        ("GET", ["schemas", "guids", of]) => {
            let known = state.schemas.iter().find(|(.., it)| guid(*it) == *of);
            known.map_or_else(|| not_found(40403), shown)
        }
        _ => not_found(404),
    }
}

/// The requests by method and path, with how often each came.
pub fn counted(requests: &[String]) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for request in requests {
        let line = request.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1").to_string();
        *counted.entry(line).or_default() += 1;
    }
    counted
}
