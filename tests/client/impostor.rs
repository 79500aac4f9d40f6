//! A peer that is no honest broker while the client says who it is: it is refused within bounds of time and bytes, each lie by an error of its
//! own, and never learns more than an honest one would.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use pat_events::kafka::net::{BoxFuture, BoxStream};
use pat_events::kafka::wire::messages::api_versions_response::{ApiVersion, ApiVersionsResponse};
use pat_events::kafka::wire::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use pat_events::kafka::{
    Address, Client, ClientConfig, ErrorCode, ErrorKind, Pem, TokenError, Transport,
};
use protocol::frame::{decode_body, decode_request_header, encode_response};
use protocol::messages::{
    ApiVersionsRequest, MetadataRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use protocol::{Decoder, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

const USER: &str = "alice";
const PASSWORD: &str = "alice-secret";
/// What a pipe holds; what was written beyond that, the client has read.
const PIPE_BYTES: usize = 64 * 1024;
/// No lie is worth reading more.
const MAX_READ_BYTES: usize = 256 * 1024;

/// What the impostor does with one of the client's messages.
enum Lie {
    /// It answers with this message of the mechanism.
    Message(String),
    Error(ErrorCode, String),
    /// It is through, and believes the client for so many milliseconds.
    Through(String, i64),
    /// It sends these bytes for ever.
    Endless(&'static [u8]),
    /// It is silent.
    Nothing,
}

/// Makes the answer to the `nth` message of the mechanism.
type Script = dyn Fn(usize, &str) -> Lie + Send + Sync;

#[derive(Clone)]
struct Impostor {
    /// What SaslHandshake is answered; the mechanism that is asked for is offered if nothing else is said.
    handshake: Option<(ErrorCode, Vec<String>)>,
    script: Arc<Script>,
    /// Sent for ever instead of anything else.
    noise: Option<&'static [u8]>,
    dials: Arc<AtomicUsize>,
    written: Arc<AtomicUsize>,
    /// The mechanism's messages, as they came.
    heard: Arc<Mutex<Vec<String>>>,
}

impl std::fmt::Debug for Impostor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Impostor")
    }
}

impl Transport for Impostor {
    fn connect(&self, _: &Address) -> BoxFuture<'static, io::Result<BoxStream>> {
        self.dials.fetch_add(1, SeqCst);
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let impostor = self.clone();
        tokio::spawn(async move { impostor.lie(theirs).await });
        Box::pin(async move { Ok(Box::new(ours) as BoxStream) })
    }
}

impl Impostor {
    fn new(script: impl Fn(usize, &str) -> Lie + Send + Sync + 'static) -> Self {
        Self {
            handshake: None,
            script: Arc::new(script),
            noise: None,
            dials: Arc::default(),
            written: Arc::default(),
            heard: Arc::default(),
        }
    }

    async fn for_ever(&self, stream: &mut DuplexStream, bytes: &[u8]) -> io::Result<()> {
        loop {
            stream.write_all(bytes).await?;
            self.written.fetch_add(bytes.len(), SeqCst);
        }
    }

    async fn lie(&self, mut stream: DuplexStream) -> io::Result<()> {
        if let Some(noise) = self.noise {
            return self.for_ever(&mut stream, noise).await;
        }
        let mut round = 0;
        loop {
            let length = stream.read_u32().await?;
            let mut frame = vec![0; length as usize];
            stream.read_exact(&mut frame).await?;
            let mut body = Decoder::new(frame.into());
            let header = decode_request_header(&mut body).expect("a request");
            let (version, id) = (header.request_api_version, header.correlation_id);
            let frame = match header.request_api_key {
                key if key == ApiVersionsRequest::KEY.0 => {
                    encode_response(version, id, &versions())
                }
                key if key == SaslHandshakeRequest::KEY.0 => {
                    let asked: SaslHandshakeRequest = decode_body(&mut body, version).expect("it");
                    let offered = || (ErrorCode::NONE, vec![asked.mechanism.clone()]);
                    let (error_code, mechanisms) = self.handshake.clone().unwrap_or_else(offered);
                    let response = SaslHandshakeResponse {
                        error_code,
                        mechanisms,
                        ..Default::default()
                    };
                    encode_response(version, id, &response)
                }
                key if key == SaslAuthenticateRequest::KEY.0 => {
                    let asked: SaslAuthenticateRequest =
                        decode_body(&mut body, version).expect("it");
                    let message = String::from_utf8_lossy(&asked.auth_bytes).into_owned();
                    self.heard.lock().expect("no panic").push(message.clone());
                    let lie = (self.script)(round, &message);
                    round += 1;
                    let mut response = SaslAuthenticateResponse::default();
                    match lie {
                        Lie::Message(message) => response.auth_bytes = message.into_bytes().into(),
                        Lie::Error(code, message) => {
                            response.error_code = code;
                            response.error_message = Some(message);
                        }
                        Lie::Through(message, lifetime) => {
                            response.auth_bytes = message.into_bytes().into();
                            response.session_lifetime_ms = lifetime;
                        }
                        Lie::Endless(bytes) => return self.for_ever(&mut stream, bytes).await,
                        Lie::Nothing => std::future::pending().await,
                    }
                    encode_response(version, id, &response)
                }
                // It wants no more than to be asked.
                _ => return Ok(()),
            };
            for piece in frame.expect("a response") {
                stream.write_all(&piece).await?;
                self.written.fetch_add(piece.len(), SeqCst);
            }
        }
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |key: protocol::ApiKey, max_version| ApiVersion {
        api_key: key.0,
        max_version,
        ..Default::default()
    };
    ApiVersionsResponse {
        api_keys: vec![
            api(ApiVersionsRequest::KEY, 3),
            api(MetadataRequest::KEY, 12),
            api(SaslHandshakeRequest::KEY, 1),
            api(SaslAuthenticateRequest::KEY, 2),
        ],
        ..Default::default()
    }
}

/// The client's nonce in its first message.
fn nonce(first: &str) -> &str {
    first.rsplit_once("r=").expect("a nonce").1
}

fn config(impostor: &Impostor, mechanism: &str) -> ClientConfig {
    let mut config = ClientConfig::new("impostor:9092");
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", USER),
        ("sasl.password", PASSWORD),
    ] {
        config.set(name, value).expect("a property");
    }
    config.transport = Arc::new(impostor.clone());
    config
}

/// What the first call ends with: an error of this kind that says so, soon, after few attempts.
async fn refuses(
    name: &str,
    impostor: Impostor,
    config: ClientConfig,
    kind: ErrorKind,
    says: &str,
) {
    let began = Instant::now();
    let client = Client::lazy(config).expect("a client");
    let admin = client.admin();
    let asked = timeout(Duration::from_secs(120), admin.list_topics()).await;
    let error = asked.expect("an end").expect_err("refused");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{name}: {text}");
    assert!(text.contains(says), "{name}: {text}");
    assert!(!text.contains(PASSWORD), "{name}: {text}");
    assert!(text.len() < 2_000, "{name}: {} bytes", text.len());
    assert!(!text.chars().any(char::is_control), "{name}: {text:?}");
    let dials = impostor.dials.load(SeqCst);
    let (most, within) = match kind {
        // It is not tried again: another attempt would be told the same.
        ErrorKind::Authentication => (2, Duration::from_secs(5)),
        // Perhaps the next one comes to something.
        _ => (400, Duration::from_secs(61)),
    };
    assert!(dials <= most, "{name}: {dials} dials");
    assert!(began.elapsed() <= within, "{name}: {:?}", began.elapsed());
    let read = impostor.written.load(SeqCst) / dials;
    assert!(
        read <= MAX_READ_BYTES,
        "{name}: {read} bytes of each connection"
    );
}

const SCRAM: &str = "SCRAM-SHA-256";
const CHALLENGE: &str = "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

/// An honest challenge, and what comes after it.
fn after_challenge(message: &'static str) -> impl Fn(usize, &str) -> Lie {
    move |round, heard| match round {
        0 => Lie::Message(format!("r={}x,{CHALLENGE}", nonce(heard))),
        _ => Lie::Message(message.to_owned()),
    }
}

/// A challenge, made of the client's nonce.
fn challenge(lie: impl Fn(&str) -> String + Send + Sync + 'static) -> Impostor {
    Impostor::new(move |_, heard| Lie::Message(lie(nonce(heard))))
}

#[tokio::test(start_paused = true)]
async fn each_lie_of_scram_is_refused_by_its_name() {
    let cases: Vec<(&str, Impostor, &str)> = vec![
        (
            "a signature of nobody",
            Impostor::new(after_challenge(
                "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            )),
            "signature is wrong",
        ),
        (
            "no signature",
            Impostor::new(after_challenge("")),
            "none of SCRAM",
        ),
        (
            "half a signature",
            Impostor::new(after_challenge("v=AAAA")),
            "signature is wrong",
        ),
        (
            "a refusal at last",
            Impostor::new(after_challenge("e=invalid-proof")),
            "refused: invalid-proof",
        ),
        (
            "a challenge once more",
            Impostor::new(|round, heard| match round {
                0 => Lie::Message(format!("r={}x,{CHALLENGE}", nonce(heard))),
                _ => Lie::Message(format!("r=x,{CHALLENGE}")),
            }),
            "none of SCRAM",
        ),
        (
            "few iterations",
            challenge(|nonce| format!("r={nonce}x,s=AAAA,i=1")),
            "iterations",
        ),
        (
            "endless iterations",
            challenge(|nonce| format!("r={nonce}x,s=AAAA,i=4294967295")),
            "iterations",
        ),
        (
            "iterations beyond numbers",
            challenge(|nonce| format!("r={nonce}x,s=AAAA,i=99999999999999999999")),
            "iterations",
        ),
        (
            "another's nonce",
            challenge(|_| format!("r=somebody,{CHALLENGE}")),
            "nonce",
        ),
        (
            "the client's nonce and no more",
            challenge(|nonce| format!("r={nonce},{CHALLENGE}")),
            "nonce",
        ),
        (
            "half a message",
            challenge(|nonce| format!("r={nonce}x,s=")),
            "salt",
        ),
        ("nothing", challenge(|_| String::new()), "none of SCRAM"),
        (
            "a nonce without end",
            challenge(|nonce| format!("r={nonce}{},{CHALLENGE}", "x".repeat(100_000))),
            "nonce",
        ),
        (
            "a salt without end",
            challenge(|nonce| format!("r={nonce}x,s={},i=4096", "A".repeat(100_000))),
            "salt",
        ),
        (
            "a reason without end",
            challenge(|_| format!("e={}", "\u{1b}[31mno ".repeat(10_000))),
            "refused",
        ),
    ];
    for (name, impostor, says) in cases {
        let config = config(&impostor, SCRAM);
        refuses(name, impostor, config, ErrorKind::Authentication, says).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_wants_another_mechanism_does_not_hear_the_password() {
    for offered in [
        vec!["PLAIN".to_owned()],
        vec![],
        vec!["x".repeat(100); 1_000],
    ] {
        let mut impostor = Impostor::new(|_, _| Lie::Message(String::new()));
        let says = match offered.first() {
            Some(first) => first[..5].to_owned(),
            None => "it offers".to_owned(),
        };
        impostor.handshake = Some((ErrorCode::UNSUPPORTED_SASL_MECHANISM, offered));
        let (heard, config) = (impostor.heard.clone(), config(&impostor, SCRAM));
        let kind = ErrorKind::Authentication;
        refuses("another mechanism", impostor, config, kind, &says).await;
        assert!(
            heard.lock().expect("no panic").is_empty(),
            "nothing was said"
        );
    }
    // One that says another mechanism's words in this one's exchange gets no further.
    let mut impostor = Impostor::new(|_, _| Lie::Message("PLAIN, please".to_owned()));
    impostor.handshake = Some((ErrorCode::NONE, vec!["PLAIN".to_owned()]));
    let (heard, config) = (impostor.heard.clone(), config(&impostor, SCRAM));
    let kind = ErrorKind::Authentication;
    refuses("another exchange", impostor, config, kind, "none of SCRAM").await;
    let heard = heard.lock().expect("no panic").join(" ");
    assert!(!heard.contains(PASSWORD), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_and_a_silence_ends() {
    let no = "go \u{1b}[2J away\n".repeat(1_500);
    let impostor =
        Impostor::new(move |_, _| Lie::Error(ErrorCode::SASL_AUTHENTICATION_FAILED, no.clone()));
    let plain = config(&impostor, "PLAIN");
    let kind = ErrorKind::Authentication;
    refuses("a long refusal", impostor, plain, kind, "go ").await;
    let impostor = Impostor::new(|_, _| Lie::Nothing);
    let plain = config(&impostor, "PLAIN");
    refuses(
        "silence",
        impostor,
        plain,
        ErrorKind::Connect,
        "did not answer",
    )
    .await;
}

#[derive(Debug)]
struct Token;

impl pat_events::kafka::TokenProvider for Token {
    fn token(&self) -> BoxFuture<'_, Result<pat_events::kafka::BearerToken, TokenError>> {
        Box::pin(async { Ok(pat_events::kafka::BearerToken::new("token", None)) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_once_to_a_peer_that_goes_on_asking() {
    let impostor = Impostor::new(|round, _| Lie::Message(format!("{{\"round\":{round}}}")));
    let mut config = ClientConfig::new("impostor:9092");
    config
        .set("security.protocol", "SASL_PLAINTEXT")
        .expect("a property");
    config
        .set("sasl.mechanism", "OAUTHBEARER")
        .expect("a property");
    config.security.sasl.token_provider = Some(Arc::new(Token));
    config.transport = Arc::new(impostor.clone());
    let heard = impostor.heard.clone();
    let kind = ErrorKind::Authentication;
    refuses(
        "endless challenges",
        impostor,
        config,
        kind,
        "does not accept the token",
    )
    .await;
    let heard = heard.lock().expect("no panic").clone();
    assert_eq!(
        heard.iter().filter(|it| it.contains("token")).count(),
        1,
        "{heard:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn bytes_without_end_are_not_read_without_end() {
    // The length of a frame that no broker sends, and more of it.
    let frames = b"\x7f\xff\xff\xff\x7f\xff\xff\xff";
    let impostor = Impostor::new(|_, _| Lie::Endless(frames));
    let plain = config(&impostor, "PLAIN");
    refuses(
        "an endless frame",
        impostor,
        plain,
        ErrorKind::Protocol,
        "frame",
    )
    .await;
    for (name, noise, says) in [
        ("noise before TLS", &[b'A'; 1_024][..], "TLS"),
        (
            "a hello without end",
            &[0x16, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff],
            "TLS",
        ),
        ("an alert without end", &[0x15, 3, 3, 0, 2, 1, 90], "TLS"),
    ] {
        let mut impostor = Impostor::new(|_, _| Lie::Nothing);
        impostor.noise = Some(noise);
        let mut tls = ClientConfig::new("impostor:9092");
        tls.set("security.protocol", "SSL").expect("a property");
        let authority = include_str!("../support/tls/authority.pem");
        tls.security.tls.roots = Pem::text(authority).into();
        tls.transport = Arc::new(impostor.clone());
        refuses(name, impostor, tls, ErrorKind::Authentication, says).await;
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_that_end_at_once_are_not_begun_without_a_pause() {
    for lifetime in [1, 0, -1, i64::MAX] {
        let impostor = Impostor::new(move |_, _| Lie::Through(String::new(), lifetime));
        let client = Client::lazy(config(&impostor, "PLAIN")).expect("a client");
        let admin = client.admin();
        let ended = timeout(Duration::from_secs(120), admin.list_topics()).await;
        ended.expect("an end").expect_err("it hangs up");
        let dials = impostor.dials.load(SeqCst);
        assert!(dials < 400, "{lifetime}: {dials} dials");
    }
}
