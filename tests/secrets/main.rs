//! Searches for secrets all that a client and the program emit, with every mechanism, let in and refused: what is shown of configurations and
//! handles, errors with their sources, the log at its most talkative, what observers and metrics are told, the notes on librdkafka's keys, messages
//! about wrong values, and what the program prints. In: secrets that occur nowhere else. Out: where one is found.

use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use pat_events::broker::Broker;
use pat_events::events;
use pat_events::kafka::net::{BoxFuture, Diagnoser};
use pat_events::kafka::observe::Tracing;
use pat_events::kafka::{
    BearerToken, Client, ClientConfig, ClientEvent, ConsumerConfig, NewTopic, Observer,
    ProducerConfig, Record, TokenError, TokenProvider,
};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

/// Every secret has this in it, and nothing else does.
const MARK: &str = "xyzzy";
/// Longer than anything here takes.
const ENDS_WITHIN: Duration = Duration::from_secs(120);
const PASSWORD: &str = "xyzzy-password";
const TOKEN: &str = "xyzzy.token.value";
const KEY: &str =
    "-----BEGIN PRIVATE KEY-----\nxyzzyMIIEvQIBADANBgkqhkiG9w0B\n-----END PRIVATE KEY-----\n";

/// What was emitted, by whom.
#[derive(Clone, Default)]
struct Emitted(Arc<Mutex<Vec<(String, String)>>>);

impl Emitted {
    fn add(&self, from: &str, text: impl Into<String>) {
        let mut all = self.0.lock().expect("no panic");
        all.push((from.to_owned(), text.into()));
    }

    fn shown(&self, from: &str, what: &impl Debug) {
        self.add(from, format!("{what:?} {what:#?}"));
    }

    fn error(&self, from: &str, error: &dyn StdError) {
        let mut next = Some(error);
        while let Some(error) = next {
            self.add(from, format!("{error} {error:?} {error:#?}"));
            next = error.source();
        }
    }

    /// That no secret is in it, as it is, escaped, as numbers, or in base64.
    fn search(&self) {
        let all = self.0.lock().expect("no panic");
        assert!(!all.is_empty());
        let numbers: Vec<_> = MARK.bytes().map(|byte| byte.to_string()).collect();
        // Wherever it stands in a group of three bytes.
        let base64 = ["eHl6enk", "4eXp6e", "h5enp5"];
        let forms = [MARK.to_owned(), numbers.join(", "), numbers.join(",")];
        let forms = forms.iter().map(String::as_str).chain(base64);
        for form in forms {
            for (from, text) in all.iter() {
                assert!(!text.contains(form), "{from} shows a secret: {text}");
            }
        }
    }
}

/// Not what was emitted: clients show their observers.
impl Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Emitted")
    }
}

impl Observer for Emitted {
    fn on_event(&self, event: &ClientEvent<'_>) {
        self.add("an observer", format!("{event} {event:?} {event:#?}"));
        Tracing::default().on_event(event);
    }
}

/// Where the log of this process goes: to everybody who listens now.
fn log() -> &'static Emitted {
    static LOG: OnceLock<Emitted> = OnceLock::new();
    LOG.get_or_init(|| {
        let emitted = Emitted::default();
        let writer = emitted.clone();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::TRACE)
            .with_writer(move || LogWriter(writer.clone()))
            .init();
        emitted
    })
}

struct LogWriter(Emitted);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.add("the log", String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Fixed;

impl TokenProvider for Fixed {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        let expires_at = SystemTime::now() + Duration::from_secs(600);
        Box::pin(async move { Ok(BearerToken::new(TOKEN, Some(expires_at))) })
    }
}

/// Every way to say who one is, by name.
fn ways() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let login = |mechanism: &str| {
        vec![
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.username", "alice".to_owned()),
            ("sasl.password", PASSWORD.to_owned()),
        ]
    };
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"{PASSWORD}\";"
    );
    // Nobody listens there.
    let endpoint = "http://127.0.0.1:1/token".to_owned();
    vec![
        ("PLAIN", login("PLAIN")),
        ("SCRAM-SHA-256", login("SCRAM-SHA-256")),
        ("SCRAM-SHA-512", login("SCRAM-SHA-512")),
        (
            "JAAS",
            vec![
                ("sasl.mechanism", "PLAIN".to_owned()),
                ("sasl.jaas.config", jaas),
            ],
        ),
        (
            "a token",
            vec![("sasl.mechanism", "OAUTHBEARER".to_owned())],
        ),
        (
            "client credentials",
            vec![
                ("sasl.mechanism", "OAUTHBEARER".to_owned()),
                ("sasl.oauthbearer.token.endpoint.url", endpoint),
                ("sasl.oauthbearer.client.id", "alice".to_owned()),
                ("sasl.oauthbearer.client.secret", PASSWORD.to_owned()),
            ],
        ),
    ]
}

/// A configuration for `servers` with `protocol`, and keys of a client that are of no use.
fn config(servers: &str, protocol: &str, pairs: &[(&str, String)]) -> ClientConfig {
    let mut config = ClientConfig::new(servers);
    let set = |config: &mut ClientConfig, name: &str, value: &str| {
        config
            .set(name, value)
            .unwrap_or_else(|error| panic!("{error}"));
    };
    set(&mut config, "security.protocol", protocol);
    set(&mut config, "ssl.keystore.certificate.chain", KEY);
    set(&mut config, "ssl.keystore.key", KEY);
    set(&mut config, "ssl.key.password", PASSWORD);
    set(&mut config, "request.timeout.ms", "3000");
    set(&mut config, "socket.connection.setup.timeout.ms", "3000");
    let mut has_endpoint = false;
    for (name, value) in pairs {
        set(&mut config, name, value);
        has_endpoint |= name.ends_with("url");
    }
    if !has_endpoint {
        config.security.sasl.token_provider = Some(Arc::new(Fixed));
    }
    config
}

/// All that a client emits while it does, or cannot do, its work.
async fn uses(emitted: &Emitted, config: ClientConfig) {
    emitted.shown("ClientConfig", &config);
    let mut config = config;
    config.observer = Some(Arc::new(emitted.clone()));
    let address = config.bootstrap_addresses().expect("addresses").remove(0);
    match Diagnoser::new(config.clone()) {
        Ok(diagnoser) => {
            emitted.shown("Diagnoser", &diagnoser);
            let diagnosis = diagnoser.diagnose(&address).await;
            emitted.shown("Diagnosis", &diagnosis);
            for step in &diagnosis.steps {
                if let Err(error) = &step.result {
                    emitted.error("a step of a diagnosis", error);
                }
            }
        }
        Err(error) => emitted.error("Diagnoser::new", &error),
    }
    let client = match Client::lazy(config) {
        Ok(client) => client,
        Err(error) => return emitted.error("Client::lazy", &error),
    };
    let admin = client.admin();
    emitted.shown("Admin", &admin);
    if let Err(error) = admin.create_topic(&NewTopic::new("t", 1)).await {
        emitted.error("create_topic", &error);
    }
    let mut given = ProducerConfig::default();
    given.set("max.block.ms", "1500").expect("a time");
    let producer = client.producer(given).expect("a producer");
    match producer.send(Record::new("t").value(b"v")).await {
        Ok(written) => emitted.shown("RecordMetadata", &written),
        Err(error) => emitted.error("send", &error),
    }
    emitted.shown("ProducerMetrics", &producer.metrics());
    emitted.shown("Producer", &producer);
    let consumer = client
        .consumer(ConsumerConfig::default())
        .expect("a consumer");
    emitted.shown("Consumer", &consumer);
    emitted.shown("BrokerMetrics", &client.broker_metrics());
    emitted.shown("Client", &client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_shows_a_secret_whether_it_is_let_in_or_not() {
    let log = log();
    let wrong = "another";
    let broker = |password: &'static str| {
        Broker::builder()
            .sasl_plain("alice", password)
            .scram_sha_256("alice", password)
            .scram_sha_512("alice", password)
            .start_tcp("127.0.0.1:0")
    };
    let (lets_in, refuses) = (broker(PASSWORD).await, broker(wrong).await);
    let (lets_in, refuses) = (lets_in.expect("a port"), refuses.expect("a port"));
    let plain = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a port");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("bound").to_string();
    let servers = [
        lets_in.bootstrap_servers(),
        refuses.bootstrap_servers(),
        plain.bootstrap_servers(),
        silent,
    ];
    let emitted = Emitted::default();
    let mut running = JoinSet::new();
    for (name, pairs) in ways() {
        for (index, server) in servers.iter().enumerate() {
            // TLS that comes to nothing, but reads the keys: the first of them is enough.
            let protocols: &[&str] = if index == 0 {
                &["SASL_PLAINTEXT", "SASL_SSL", "SSL"]
            } else {
                &["SASL_PLAINTEXT"]
            };
            for protocol in protocols {
                emitted.add("the test", format!("{name} {protocol} {index}"));
                let (emitted, config) = (emitted.clone(), config(server, protocol, &pairs));
                running.spawn(async move { uses(&emitted, config).await });
            }
        }
    }
    let all = timeout(ENDS_WITHIN, running.join_all());
    all.await.expect("every client comes to an end");
    emitted.search();
    log.search();
    for broker in [lets_in, refuses, plain] {
        broker.shutdown().await;
    }
}

/// Names whose values are secrets, or may hold some.
fn is_secret(name: &str) -> bool {
    let words = [
        "password",
        "jaas",
        "secret",
        "passphrase",
        "certificate.chain",
        ".pem",
    ];
    words.iter().any(|word| name.contains(word)) || name.ends_with(".key")
}

#[test]
fn no_message_about_a_wrong_value_shows_it_where_it_may_be_a_secret() {
    let emitted = Emitted::default();
    let mut tried = 0;
    for name in ClientConfig::property_names() {
        for value in [
            PASSWORD,
            TOKEN,
            KEY,
            "PlainLoginModule required password=xyzzy",
        ] {
            let is_obvious = value.contains("BEGIN") || value.contains("password");
            if !is_secret(name) && !is_obvious {
                continue;
            }
            tried += 1;
            let mut config = ClientConfig::default();
            if let Err(error) = config.set(name, value) {
                emitted.error(name, &error);
            } else if is_secret(name) {
                emitted.shown(name, &config);
                if let Err(error) = config.validate() {
                    emitted.error(name, &error);
                }
            }
            match ClientConfig::from_librdkafka([(name, value)]) {
                Ok((config, notes)) if is_secret(name) => {
                    emitted.shown("from_librdkafka", &config);
                    emitted.shown("a note", &notes);
                    emitted.add(
                        "a note",
                        notes.iter().map(ToString::to_string).collect::<String>(),
                    );
                }
                Ok(_) => {}
                Err(error) => emitted.error("from_librdkafka", &error),
            }
        }
    }
    assert!(tried > 50, "{tried}");
    emitted.search();
}

#[test]
fn no_configuration_shows_a_secret() {
    let emitted = Emitted::default();
    let client = config("a:1", "SASL_SSL", &ways()[0].1);
    let mut producer = ProducerConfig::default();
    producer.client = client.clone();
    emitted.shown("ProducerConfig", &producer);
    let mut consumer = ConsumerConfig::default();
    consumer.client = client;
    emitted.shown("ConsumerConfig", &consumer);
    let mut typed = events::ProducerConfig::new("a:1", "t");
    typed.kafka = producer;
    emitted.shown("events::ProducerConfig", &typed);
    let mut typed = events::ConsumerConfig::new("a:1", "t", "g");
    typed.kafka = consumer;
    emitted.shown("events::ConsumerConfig", &typed);
    emitted.search();
}

/// A file of properties that is removed at the end.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn file(name: &str, pairs: &[(&str, String)]) -> Temporary {
    let path =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    let lines: String = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}\n", value.replace('\n', "\\n")))
        .collect();
    fs::write(&path, lines).expect("written");
    Temporary(path)
}

#[test]
fn the_program_prints_no_secret() {
    let emitted = Emitted::default();
    let keys = [
        ("ssl.keystore.certificate.chain", KEY.to_owned()),
        ("ssl.keystore.key", KEY.to_owned()),
        ("ssl.key.password", PASSWORD.to_owned()),
    ];
    let mut running = Vec::new();
    let mut files = Vec::new();
    let mut run = |arguments: &[&str], path: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pat-events"));
        command
            .args(arguments)
            .args(["-F", path])
            .env("RUST_LOG", "trace");
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        running.push((arguments.join(" "), command.spawn().expect("it starts")));
    };
    let soon = [
        "-b",
        "127.0.0.1:1",
        "-X",
        "request.timeout.ms=1000",
        "-X",
        "socket.connection.setup.timeout.ms=1000",
    ];
    for (number, (_, pairs)) in ways().into_iter().enumerate() {
        for protocol in ["SASL_PLAINTEXT", "SASL_SSL"] {
            let protocol = ("security.protocol", protocol.to_owned());
            let pairs = [std::slice::from_ref(&protocol), &keys[..], &pairs[..]].concat();
            let file = file(&format!("{number}-{}", protocol.1), &pairs);
            let path = file.0.to_str().expect("a path").to_owned();
            run(&[&["check"], &soon[..]].concat(), &path);
            run(&[&["topics"], &soon[..], &["list"]].concat(), &path);
            files.push(file);
        }
    }
    // Files and options that are wrong.
    for (number, line) in [
        ("sasl.jaas.config", PASSWORD.to_owned()),
        ("ssl.key.location", KEY.to_owned()),
        ("ssl.keystore.key", PASSWORD.to_owned()),
        ("sasl.pasword", PASSWORD.to_owned()),
        ("xyzzyMIIEvQIBADANBgkqhkiG9w0B", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        let file = file(&format!("wrong-{number}"), &[line]);
        run(
            &[&["check"], &soon[..]].concat(),
            file.0.to_str().expect("a path"),
        );
        files.push(file);
    }
    run(&["check", "-b", "127.0.0.1:1", "-X", PASSWORD], "none");
    for (arguments, running) in running {
        let ended = running.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(1), "{arguments}: {ended:?}");
        emitted.add(&arguments, String::from_utf8_lossy(&ended.stdout));
        emitted.add(&arguments, String::from_utf8_lossy(&ended.stderr));
    }
    emitted.search();
}
