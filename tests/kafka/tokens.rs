//! OAUTHBEARER as Kafka's own validator checks it: tokens that a token endpoint on the loopback returns for client credentials and for
//! assertions, signed with keys that the broker knows from a JWKS file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libtest_mimic::Trial;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use pat_events::kafka::{Client, ErrorKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::time::timeout;

use crate::fleet::{Fleet, block_on};
use crate::security::{
    Listeners, authority_file, broker_file, config, exercise, material, material_folder,
};

const CLIENT: &str = "mailer";
const SECRET: &str = "endpoint-secret";
const ISSUER: &str = "https://tests.example/issuer";
const AUDIENCE: &str = "kafka-tests";
/// Made for these tests alone: openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 | openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf
/// hmacWithSHA256 -passout pass:key-secret
const RSA_KEY: &str = include_str!("rsa_key.pem");
const RSA_PASSWORD: &str = "key-secret";
/// Its modulus.
const RSA_MODULUS: &str = "qGCNkvBug7_87RbVkFXekAIxgS_a9-4U2ZQodY5MXFZAr_dy2k8oykeCjEsu5sts37vRtIkMtSst_X-donda9nR6k2nDgVBobUAYcpDF9hGeA0Bdb6QXrXAxPPUwAkmLGv_uD1NxMU_ehDh60plRslfqbdBlgkTMnUmdVXWGtUpmrnFWBSx7xhs1-H8zAsazCNJr7BU2o1Quib7phK07N030fUuZ1UwwXDkhGB8_5iuQSRWFm-fngdm-VNxyzrA60g4PJhbaDHX-UiMStZUI6ghXqLeUuWgLKmUG3BSGTtcAdIt38ColvMf6sGTgRjh0u2ciWTtr2iIKk3PiDwLbzw";

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![fleet.on_secured(
        "tokens_of_an_endpoint_are_what_kafkas_validator_accepts",
        |kafka| block_on(tokens_are_accepted(Listeners::of(kafka))),
    )]
}

/// What the broker needs to know.
pub fn properties(folder: &Path) -> String {
    let keys = keys();
    fs::write(folder.join("jwks.json"), &keys.jwks).expect("written");
    fs::write(folder.join("ec.pem"), &keys.ec_pem).expect("written");
    fs::write(folder.join("rsa.pem"), RSA_KEY).expect("written");
    for kid in ["ec", "rsa"] {
        let template = format!(r#"{{"header":{{"kid":"{kid}"}},"payload":{{"team":"mail"}}}}"#);
        fs::write(folder.join(format!("{kid}.json")), template).expect("written");
    }
    let module = "org.apache.kafka.common.security.oauthbearer";
    format!(
        "listener.name.oidc.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oidc.oauthbearer.sasl.jaas.config={module}.OAuthBearerLoginModule required;
listener.name.oidc.oauthbearer.sasl.server.callback.handler.class={module}.OAuthBearerValidatorCallbackHandler
listener.name.oidc.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={jwks}
listener.name.oidc.oauthbearer.sasl.oauthbearer.expected.audience={AUDIENCE}
listener.name.oidc.oauthbearer.sasl.oauthbearer.expected.issuer={ISSUER}
",
        jwks = jwks_url(folder),
    )
}

/// Without these the broker reads no file that a URL names.
pub fn flags(folder: &Path) -> Vec<String> {
    vec![format!(
        "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}",
        jwks_url(folder)
    )]
}

fn jwks_url(folder: &Path) -> String {
    format!("file://{}/jwks.json", folder.display())
}

struct Keys {
    ec: SigningKey,
    ec_pem: String,
    jwks: String,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let ec = SigningKey::from_slice(&[7; 32]).expect("a key");
        let point = ec.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let jwks = format!(
            r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{}","y":"{}","kid":"ec","use":"sig","alg":"ES256"}},{{"kty":"RSA","n":"{RSA_MODULUS}","e":"AQAB","kid":"rsa","use":"sig","alg":"RS256"}}]}}"#,
            URL_SAFE_NO_PAD.encode(x),
            URL_SAFE_NO_PAD.encode(y)
        );
        let ec_pem = ec.to_pkcs8_pem(LineEnding::LF).expect("a key").to_string();
        Keys { ec, ec_pem, jwks }
    })
}

/// A token for `subject`, signed by the endpoint.
fn signed(subject: &str, audience: &str) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"ES256","kid":"ec"}"#);
    let claims = format!(
        r#"{{"sub":"{subject}","aud":"{audience}","iss":"{ISSUER}","iat":{now},"exp":{}}}"#,
        now + 600
    );
    let text = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.as_bytes()));
    let signature: Signature = keys().ec.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// A token endpoint, on threads of its own, until the process ends.
struct Endpoint {
    port: u16,
    asked: Arc<AtomicUsize>,
}

impl Endpoint {
    /// With TLS, by the broker's certificate.
    fn start() -> Self {
        let store = broker_file();
        let chain = CertificateDer::from_pem_file(&store);
        let key = PrivateKeyDer::from_pem_file(&store);
        let config =
            ServerConfig::builder_with_provider(Arc::new(rustls_graviola::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_no_client_auth()
                .with_single_cert(vec![chain.expect("a certificate")], key.expect("a key"))
                .expect("a certificate and its key");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tls = ServerConnection::new(config.clone()).expect("a connection");
                let mut stream = StreamOwned::new(tls, stream);
                let Some((status, body)) = answer(&mut stream) else {
                    continue;
                };
                counted.fetch_add(1, Ordering::Relaxed);
                let length = body.len();
                let head = format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\n\r\n");
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }
}

/// A token for who shows the right secret; who shows an assertion gets it back, as the token that it also is. `None` when no request came.
fn answer(stream: impl Read) -> Option<(u16, String)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        match line.trim().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_string()),
            None => break,
        };
    }
    let length = headers["content-length"].parse().expect("a length");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let body = String::from_utf8(body).expect("a form");
    let form: BTreeMap<_, _> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let is_client =
        headers.get("authorization") == Some(&format!("Basic {}", basic(CLIENT, SECRET)));
    let token = match (form["grant_type"], form.get("assertion")) {
        ("client_credentials", _) if is_client => match path.as_str() {
            "/elsewhere" => signed("alice", "another audience"),
            _ => signed("alice", AUDIENCE),
        },
        ("urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer", Some(assertion)) => {
            assertion.to_string()
        }
        _ => {
            return Some((
                401,
                format!(r#"{{"error":"invalid_client","error_description":"{body} {headers:?}"}}"#),
            ));
        }
    };
    Some((
        200,
        format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":600}}"#),
    ))
}

fn basic(user: &str, password: &str) -> String {
    STANDARD.encode(format!("{user}:{password}"))
}

async fn tokens_are_accepted(listeners: Listeners) {
    let folder: PathBuf = material_folder();
    let file = |name: &str| folder.join(name).display().to_string();
    let endpoint = Endpoint::start();
    let jaas = format!(
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"{CLIENT}\" clientSecret=\"{SECRET}\";"
    );
    let retriever = "org.apache.kafka.common.security.oauthbearer.JwtBearerJwtRetriever";
    let (ec, rsa, ec_template, rsa_template) = (
        file("ec.pem"),
        file("rsa.pem"),
        file("ec.json"),
        file("rsa.json"),
    );
    let authority = authority_file().display().to_string();
    let token_file = file("token");
    fs::write(&token_file, signed("alice", AUDIENCE)).expect("written");
    let token_url = format!("file://{token_file}");
    let claims = [
        ("sasl.oauthbearer.assertion.claim.aud", AUDIENCE),
        ("sasl.oauthbearer.assertion.claim.iss", ISSUER),
        ("sasl.oauthbearer.assertion.claim.sub", "alice"),
        ("sasl.oauthbearer.jwt.retriever.class", retriever),
    ];
    let es256 = [
        ("sasl.oauthbearer.assertion.algorithm", "ES256"),
        ("sasl.oauthbearer.assertion.private.key.file", ec.as_str()),
        (
            "sasl.oauthbearer.assertion.template.file",
            ec_template.as_str(),
        ),
        ("sasl.oauthbearer.assertion.claim.jti.include", "true"),
    ];
    let rs256 = [
        ("sasl.oauthbearer.assertion.private.key.file", rsa.as_str()),
        (
            "sasl.oauthbearer.assertion.private.key.passphrase",
            RSA_PASSWORD,
        ),
        (
            "sasl.oauthbearer.assertion.template.file",
            rsa_template.as_str(),
        ),
    ];
    let stranger = file("stranger.pem");
    fs::write(&stranger, material().stranger.pem()).expect("written");
    let login = [("sasl.jaas.config", jaas.as_str())];
    let url = endpoint.url("/token");
    for (name, asks, url, pairs) in [
        ("client-credentials", 1, &url, &login[..]),
        ("jwt-bearer-es256", 1, &url, &[&claims[..], &es256].concat()),
        ("jwt-bearer-rs256", 1, &url, &[&claims[..], &rs256].concat()),
        ("token-file", 0, &token_url, &[]),
    ] {
        let base = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
            ("https.ca.location", authority.as_str()),
        ];
        let before = endpoint.asked.load(Ordering::Relaxed);
        let config = config(&listeners, "OIDC", &[&base[..], pairs].concat());
        let topic = format!("secured-{name}");
        timeout(Duration::from_secs(60), exercise(config, &topic))
            .await
            .unwrap_or_else(|_| panic!("{topic} comes to an end"));
        let asked = endpoint.asked.load(Ordering::Relaxed) - before;
        assert_eq!(
            asked, asks,
            "{name}: one token for all connections of a client"
        );
    }
    let wrong = jaas.replace(SECRET, "wrong-secret");
    for (path, jaas, authority, expected) in [
        ("/elsewhere", &jaas, &authority, "invalid_token"),
        (
            "/token",
            &wrong,
            &authority,
            "/token answered with status 401",
        ),
        ("/token", &jaas, &stranger, "https.ca.location"),
    ] {
        let url = endpoint.url(path);
        let pairs = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", url.as_str()),
            ("sasl.jaas.config", jaas),
            ("https.ca.location", authority),
        ];
        let client = Client::lazy(config(&listeners, "OIDC", &pairs)).expect("a client");
        let error = client.admin().list_topics().await.expect_err("not let in");
        let text = error.to_string();
        println!("{path}: {text}");
        assert_eq!(error.kind(), ErrorKind::Authentication, "{text}");
        assert!(text.contains(expected), "{text}");
        let shows = [SECRET, "wrong-secret", &basic(CLIENT, "wrong-secret")]
            .iter()
            .any(|it| text.contains(it));
        assert!(!shows, "{text}");
    }
}
