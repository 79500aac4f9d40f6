//! A Kafka broker whose listeners want TLS or SASL or both: what gets in does all that a plain client does; what does not is told what to
//! change.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libtest_mimic::Trial;
use pat_events::kafka::net::BoxFuture;
use pat_events::kafka::wire::messages::CreateDelegationTokenRequest;
use pat_events::kafka::{
    BearerToken, Client, ClientConfig, Consumer, ConsumerConfig, Error, ErrorCode, ErrorKind,
    NewTopic, Pem, ProducerConfig, Record, Target, TlsVersions, TokenError, TokenProvider,
};
use tokio::time::{Instant, timeout};

use crate::fleet::{Fleet, block_on, block_on_for};
use crate::support::certificates::{Authority, Identity};
use crate::support::java::folder;
use crate::support::kafka::{Kafka, Secured};

const RECORDS: usize = 2_000;
pub const PASSWORD: &str = "alice-secret";
/// How long a session lasts on the listener where they end.
const SESSION: Duration = Duration::from_secs(5);
/// For how many seconds sessions are let end; `SESSIONS_SECONDS=600` for a night.
const SESSIONS_SECONDS: u64 = 20;
/// Connections that a producer and a member of a group have open: for short requests, produce, fetch and the coordinator.
const CONNECTIONS: u64 = 4;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![
        fleet.on_secured(
            "every_listener_serves_producers_groups_and_admins",
            |kafka| {
                block_on(every_listener_serves(kafka));
            },
        ),
        fleet.on_secured("who_does_not_get_in_is_told_what_to_change", |kafka| {
            block_on(who_does_not_get_in(kafka));
        }),
        fleet.on_secured("a_delegation_token_stands_for_its_owner", |kafka| {
            block_on(a_delegation_token_stands_for_its_owner(kafka));
        }),
        fleet.on_secured("sessions_end_and_nobody_notices", |kafka| {
            let seconds = sessions_seconds();
            block_on_for(Duration::from_secs(seconds), sessions_end(kafka, seconds));
        }),
    ]
}

/// What the trials have made once.
struct Material {
    stranger: Authority,
    client: Identity,
    folder: PathBuf,
}

fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let authority = Authority::new("the tests' authority");
        let folder = folder().join(format!("certificates-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let broker = authority.issue(&["localhost"]);
        let store = format!("{}{}", broker.key_pem, broker.certificate_pem);
        fs::write(folder.join("broker.pem"), store).expect("written");
        fs::write(folder.join("authority.pem"), authority.pem()).expect("written");
        Material {
            client: authority.issue(&["alice"]),
            stranger: Authority::new("a stranger"),
            folder,
        }
    })
}

/// Where files for the broker and the clients are.
pub fn material_folder() -> PathBuf {
    material().folder.clone()
}

/// Who signs the listeners' certificates.
pub fn authority_file() -> PathBuf {
    material().folder.join("authority.pem")
}

/// An authority that nobody trusts.
pub fn stranger_pem() -> String {
    material().stranger.pem()
}

/// The broker's listeners.
pub fn secured() -> Secured {
    let folder = &material().folder;
    let module = "org.apache.kafka.common.security";
    Secured {
        listeners: vec![
            ("TLS", "SSL"),
            ("MUTUAL", "SSL"),
            ("SASL", "SASL_SSL"),
            ("OPEN", "SASL_PLAINTEXT"),
            ("OIDC", "SASL_SSL"),
        ],
        properties: format!(
            "ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
ssl.enabled.protocols=TLSv1.2,TLSv1.3
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
delegation.token.secret.key={PASSWORD}
listener.name.open.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";
listener.name.open.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";
listener.name.open.plain.connections.max.reauth.ms={session}
{oidc}",
            folder = folder.display(),
            session = SESSION.as_millis(),
            oidc = crate::tokens::properties(folder),
        ),
        scram: vec![
            format!("SCRAM-SHA-256=[name=alice,password={PASSWORD}]"),
            format!("SCRAM-SHA-512=[name=alice,password={PASSWORD}]"),
        ],
        flags: crate::tokens::flags(folder),
    }
}

/// Tokens that nobody has signed, as Kafka takes them where nothing else is configured.
#[derive(Debug)]
struct Unsigned;

impl TokenProvider for Unsigned {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        let now = SystemTime::now();
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let claims = format!(
            r#"{{"sub":"alice","iat":{seconds},"exp":{}}}"#,
            seconds + 3_600
        );
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#);
        let token = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims.as_bytes()));
        let expires_at = Some(now + Duration::from_secs(3_600));
        Box::pin(async move { Ok(BearerToken::new(token, expires_at)) })
    }
}

/// A configuration for one of the listeners, by Java's names.
pub fn config(kafka: &Kafka, listener: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new(&kafka.secured_bootstrap(listener));
    let authority = authority_file();
    let authority = authority.to_str().expect("a path in Unicode");
    config
        .set("ssl.truststore.location", authority)
        .expect("a path");
    for (name, value) in pairs {
        config.set(name, value).expect("a property");
    }
    config
}

/// What alice says of herself by librdkafka's names.
fn alice<'a>(
    protocol: &'a str,
    mechanism: &'a str,
    password: &'a str,
) -> [(&'static str, &'a str); 4] {
    [
        ("security.protocol", protocol),
        ("sasl.mechanism", mechanism),
        ("sasl.username", "alice"),
        ("sasl.password", password),
    ]
}

fn with_certificate(mut config: ClientConfig) -> ClientConfig {
    let client = &material().client;
    config.security.tls.certificates = Some(Pem::text(client.certificate_pem.as_str()));
    config.security.tls.key = Some(Pem::text(client.key_pem.as_str()));
    config
}

fn login(module: &str) -> String {
    format!(
        "org.apache.kafka.common.security.{module} required username=\"alice\" password=\"{PASSWORD}\";"
    )
}

async fn every_listener_serves(kafka: &Kafka) {
    let (plain, scram) = (
        login("plain.PlainLoginModule"),
        login("scram.ScramLoginModule"),
    );
    let sasl = |mechanism, jaas| {
        [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
            ("sasl.jaas.config", jaas),
        ]
    };
    let tls = [("security.protocol", "SSL")];
    let mut token = config(
        kafka,
        "SASL",
        &[
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "OAUTHBEARER"),
        ],
    );
    token.security.sasl.token_provider = Some(Arc::new(Unsigned));
    let open = alice("SASL_PLAINTEXT", "PLAIN", PASSWORD);
    let configs = [
        ("tls", config(kafka, "TLS", &tls)),
        ("mutual", with_certificate(config(kafka, "MUTUAL", &tls))),
        ("plain", config(kafka, "SASL", &sasl("PLAIN", &plain))),
        (
            "scram-256",
            config(kafka, "SASL", &sasl("SCRAM-SHA-256", &scram)),
        ),
        (
            "scram-512",
            config(kafka, "SASL", &sasl("SCRAM-SHA-512", &scram)),
        ),
        ("oauthbearer", token),
        ("open", config(kafka, "OPEN", &open)),
    ];
    for (name, config) in configs {
        for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
            let mut config = config.clone();
            config.security.tls.versions = versions;
            if !config.security.protocol.uses_tls() && versions == TlsVersions::Tls12 {
                continue;
            }
            let topic = format!("secured-{name}-{versions:?}");
            timeout(Duration::from_secs(60), round_trip(config, &topic))
                .await
                .unwrap_or_else(|_| panic!("{topic} comes to an end"));
        }
    }
}

/// Creates a topic, writes records and reads them in a group.
pub async fn round_trip(config: ClientConfig, topic: &str) {
    let client = Client::lazy(config).expect("a client");
    let admin = client.admin();
    admin
        .create_topic(&NewTopic::new(topic, 3))
        .await
        .unwrap_or_else(|error| panic!("{topic}: {error}"));
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let value = number.to_string();
        let record = Record::new(topic)
            .key(value.as_bytes())
            .value(value.as_bytes());
        deliveries.push(producer.enqueue(record).await.expect("accepted"));
    }
    for delivery in deliveries {
        delivery.await.expect("written");
    }
    let mut consumer = member(&client, topic).await;
    let mut seen = vec![false; RECORDS];
    while !seen.iter().all(|it| *it) {
        let records = consumer
            .poll(Duration::from_secs(30))
            .await
            .expect("records");
        for record in &records {
            let value = std::str::from_utf8(record.value.unwrap_or_default()).expect("text");
            let number: usize = value.parse().expect("a number");
            assert!(
                !std::mem::replace(&mut seen[number], true),
                "{number} twice"
            );
        }
    }
    consumer.close().await.expect("closed");
    producer
        .close(Duration::from_secs(10))
        .await
        .expect("closed");
}

/// A member of the group of the topic's name, which reads the topic from its beginning.
async fn member(client: &Client, topic: &str) -> Consumer {
    let mut config = ConsumerConfig::default();
    config.set("group.id", topic).expect("a group");
    config
        .set("auto.offset.reset", "earliest")
        .expect("a policy");
    let mut consumer = client.consumer(config).expect("a consumer");
    consumer.subscribe(&[topic]).await.expect("a topic");
    consumer
}

/// The error that a first call ends with, and how long it took.
async fn refused(config: ClientConfig) -> (Error, Duration) {
    let began = Instant::now();
    let client = Client::lazy(config).expect("a client");
    let error = client.admin().list_topics().await.expect_err("not let in");
    (error, began.elapsed())
}

async fn who_does_not_get_in(kafka: &Kafka) {
    let tls = [("security.protocol", "SSL")];
    let sasl = |mechanism, password| alice("SASL_SSL", mechanism, password);
    let mut untrusted = config(kafka, "TLS", &tls);
    untrusted.security.tls.roots = Pem::text(material().stranger.pem()).into();
    let mut wrong_host = config(kafka, "TLS", &tls);
    wrong_host.bootstrap_servers =
        vec![wrong_host.bootstrap_servers[0].replace("localhost", "127.0.0.1")];
    let mut strange = config(kafka, "MUTUAL", &tls);
    let stranger = material().stranger.issue(&["alice"]);
    strange.security.tls.certificates = Some(Pem::text(stranger.certificate_pem));
    strange.security.tls.key = Some(Pem::text(stranger.key_pem));
    let mut to_plaintext = config(kafka, "TLS", &tls);
    to_plaintext.bootstrap_servers = vec![kafka.bootstrap()];
    let mut sasl_to_plaintext = config(kafka, "OPEN", &alice("SASL_PLAINTEXT", "PLAIN", PASSWORD));
    sasl_to_plaintext.bootstrap_servers = vec![kafka.bootstrap()];
    let cases = [
        ("untrusted", untrusted, "ssl.truststore.location"),
        ("wrong host", wrong_host, "not for 127.0.0.1"),
        (
            "no certificate, TLS 1.3",
            config(kafka, "MUTUAL", &tls),
            "certificate",
        ),
        ("a stranger's certificate", strange, "certificate"),
        (
            "wrong password, PLAIN",
            config(kafka, "SASL", &sasl("PLAIN", "wrong-secret")),
            "SASL PLAIN as \"alice\"",
        ),
        (
            "wrong password, SCRAM",
            config(kafka, "SASL", &sasl("SCRAM-SHA-256", "wrong-secret")),
            "SASL SCRAM-SHA-256 as \"alice\"",
        ),
        (
            "mechanism",
            config(
                kafka,
                "OPEN",
                &alice("SASL_PLAINTEXT", "SCRAM-SHA-512", PASSWORD),
            ),
            "it offers PLAIN",
        ),
        ("TLS to a plaintext listener", to_plaintext, "TLS"),
        (
            "plaintext to a TLS listener",
            config(kafka, "TLS", &[]),
            "security.protocol",
        ),
        (
            "no SASL where it is wanted",
            config(kafka, "OPEN", &[]),
            "security.protocol",
        ),
        ("SASL where none is", sasl_to_plaintext, "takes no SASL"),
    ];
    for (name, config, expected) in cases {
        let (error, took) = refused(config).await;
        let text = error.to_string();
        println!(
            "{name}: {:?} after {} ms: {text}",
            error.kind(),
            took.as_millis()
        );
        assert!(text.contains(expected), "{name}: {text}");
        assert!(!text.contains("secret"), "{name}: {text}");
        assert!(took < Duration::from_secs(12), "{name}: {took:?}");
        if ![
            "TLS to a plaintext listener",
            "plaintext to a TLS listener",
            "no SASL where it is wanted",
        ]
        .contains(&name)
        {
            assert_eq!(error.kind(), ErrorKind::Authentication, "{name}: {text}");
            assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        }
    }
}

/// Asks for a token over one listener, and is let in with it over another (KIP-48).
async fn a_delegation_token_stands_for_its_owner(kafka: &Kafka) {
    let login = alice("SASL_SSL", "PLAIN", PASSWORD);
    let client = Client::lazy(config(kafka, "SASL", &login)).expect("a client");
    let request = CreateDelegationTokenRequest {
        owner_principal_type: None,
        owner_principal_name: None,
        max_lifetime_ms: -1,
        ..Default::default()
    };
    let token = client.request(Target::Controller, &request).await;
    let token = token.expect("an answer");
    assert_eq!(token.error_code, ErrorCode::NONE);
    let hmac = STANDARD.encode(&token.hmac);
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{hmac}\" tokenauth=\"true\";",
        token.token_id
    );
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &jaas),
    ];
    // The broker learns of it a moment after it was created.
    let began = Instant::now();
    let known = async || {
        let client = Client::lazy(config(kafka, "SASL", &login)).expect("a client");
        client.admin().list_topics().await
    };
    while let Err(error) = known().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    round_trip(config(kafka, "SASL", &login), "secured-token").await;
    // The same without tokenauth is a user that nobody knows.
    let user = jaas.replace(" tokenauth=\"true\"", "");
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &user),
    ];
    let (error, _) = refused(config(kafka, "SASL", &login)).await;
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(!error.to_string().contains(&hmac), "{error}");
}

fn sessions_seconds() -> u64 {
    std::env::var("SESSIONS_SECONDS").map_or(SESSIONS_SECONDS, |it| {
        it.parse().expect("SESSIONS_SECONDS is a number")
    })
}

/// Writes and reads in a group while sessions end. Every connection is followed by one other for each session, and by no more.
async fn sessions_end(kafka: &Kafka, seconds: u64) {
    let config = config(kafka, "OPEN", &alice("SASL_PLAINTEXT", "PLAIN", PASSWORD));
    let client = Client::lazy(config).expect("a client");
    let topic = "secured-sessions";
    client
        .admin()
        .create_topic(&NewTopic::new(topic, 1))
        .await
        .expect("created");
    let producer = client
        .producer(ProducerConfig::default())
        .expect("a producer");
    let mut consumer = member(&client, topic).await;
    let end = Instant::now() + Duration::from_secs(seconds);
    let writing = async {
        let mut number = 0_u64;
        let mut deliveries = Vec::new();
        while Instant::now() < end {
            let value = number.to_be_bytes();
            deliveries.push(
                producer
                    .enqueue(Record::new(topic).value(&value))
                    .await
                    .expect("accepted"),
            );
            number += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for delivery in deliveries {
            delivery.await.expect("written");
        }
        number
    };
    let reading = async {
        let mut next = 0_u64;
        let until = end + Duration::from_secs(2);
        while Instant::now() < until {
            let records = consumer
                .poll(Duration::from_millis(500))
                .await
                .expect("records");
            for record in &records {
                let value = record.value.and_then(|it| it.try_into().ok());
                assert_eq!(
                    value.map(u64::from_be_bytes),
                    Some(next),
                    "in order, each once"
                );
                next += 1;
            }
        }
        next
    };
    let (written, read) = tokio::join!(writing, reading);
    assert_eq!(read, written);
    assert!(written > seconds * 50, "{written}");
    let brokers = client.broker_metrics();
    let connects: u64 = brokers.values().map(|it| it.connects).sum();
    let failed: u64 = brokers.values().map(|it| it.failed_connects).sum();
    println!("{written} records in {seconds} s, {connects} connections");
    // A session is used for 85 to 95 % of its life.
    let (fewest, most) = (
        seconds / SESSION.as_secs(),
        seconds * 100 / (SESSION.as_secs() * 85),
    );
    assert!(
        (fewest * (CONNECTIONS - 1)..=(most + 2) * CONNECTIONS).contains(&connects),
        "{connects} connections in {seconds} s"
    );
    assert_eq!(failed, 0);
    consumer.close().await.expect("closed");
    producer
        .close(Duration::from_secs(10))
        .await
        .expect("closed");
}
