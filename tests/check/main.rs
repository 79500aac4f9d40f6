//! `pat-events check` on brokers that serve and on what is none. In: the program as built for this test. Out: its lines and its exit status.

#[path = "../support/certificates.rs"]
mod certificates;
mod secured;

use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

use pat_events::broker::{Broker, BrokerBuilder};
use tokio::runtime::Runtime;

/// What a run printed.
struct Checked {
    status: Option<i32>,
    text: String,
    errors: String,
}

fn check(arguments: &[&str]) -> Checked {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pat-events"));
    command.args(["check", "-F", "none"]).args(arguments);
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().expect("it runs");
    Checked {
        status: status.code(),
        text: String::from_utf8_lossy(&stdout).into_owned(),
        errors: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

impl Checked {
    /// That one step failed, and what is said of it.
    fn failed_at(&self, step: &str, words: &[&str]) {
        assert_eq!(self.status, Some(1), "{}{}", self.text, self.errors);
        let mut lines = self.text.lines().map(str::trim_start);
        let begin = lines.by_ref().find(|line| line.starts_with("FAILED"));
        let begin = begin.unwrap_or_else(|| panic!("nothing failed: {}", self.text));
        let said = [&[begin], &*lines.collect::<Vec<_>>()].concat().join("\n");
        assert!(
            begin["FAILED".len()..].trim_start().starts_with(step),
            "{said}"
        );
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(
            self.errors.contains("problems found: 1,"),
            "{}",
            self.errors
        );
    }
}

/// Embedded brokers on threads of their own.
fn brokers(nodes: usize) -> (Broker, Runtime) {
    start(Broker::builder().nodes(nodes))
}

fn start(builder: BrokerBuilder) -> (Broker, Runtime) {
    let runtime = Runtime::new().expect("a runtime");
    let starting = builder.start_tcp("127.0.0.1:0");
    let broker = runtime.block_on(starting).expect("a free port");
    (broker, runtime)
}

#[test]
fn every_address_that_brokers_advertise_is_checked() {
    let (broker, _runtime) = brokers(2);
    let servers = broker.bootstrap_servers();
    let (first, second) = servers.split_once(',').expect("two brokers");
    let checked = check(&["-b", first]);
    assert_eq!(
        checked.status,
        Some(0),
        "{}{}",
        checked.text,
        checked.errors
    );
    let text = &checked.text;
    assert!(text.starts_with(&format!("{first}\n")), "{text}");
    assert!(
        text.contains(&format!("\n{second}, which broker ")),
        "{text}"
    );
    for step in ["DNS", "TCP", "ApiVersions", "Metadata", "Clock"] {
        assert_eq!(
            text.matches(&format!("  ok      {step} ")).count(),
            2,
            "{text}"
        );
    }
    assert!(
        text.ends_with("all is well at each of 2 addresses\n"),
        "{text}"
    );
}

#[test]
fn as_json_each_address_is_a_line() {
    let (broker, _runtime) = brokers(1);
    let servers = broker.bootstrap_servers();
    let checked = check(&["-b", &servers, "--json"]);
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    assert_eq!(checked.text.lines().count(), 1, "{}", checked.text);
    for part in [
        format!(r#""address":"{servers}""#),
        r#""advertised_by":null"#.to_owned(),
        r#""step":"Metadata""#.to_owned(),
        r#""ok":true"#.to_owned(),
    ] {
        assert!(checked.text.contains(&part), "{}", checked.text);
    }
    assert!(!checked.text.contains(r#""ok":false"#), "{}", checked.text);
}

#[test]
fn a_broker_that_is_gone_from_several_fails_alone() {
    let (broker, _runtime) = brokers(1);
    let gone = closed_port();
    let servers = format!("{},{gone}", broker.bootstrap_servers());
    let checked = check(&["-b", &servers]);
    checked.failed_at("TCP", &["refused", "firewall"]);
    assert_eq!(
        checked.text.matches("FAILED").count(),
        1,
        "{}",
        checked.text
    );
}

#[test]
fn tls_to_a_plaintext_listener_says_what_to_change() {
    let (broker, _runtime) = brokers(1);
    let servers = broker.bootstrap_servers();
    let checked = check(&["-b", &servers, "-X", "security.protocol=SSL"]);
    checked.failed_at("TLS", &["security.protocol = PLAINTEXT"]);
}

#[test]
fn an_advertised_address_that_clients_cannot_use_is_told_as_the_brokers() {
    for (host, step, words) in [
        ("no-such-broker.invalid", "DNS", "has no address"),
        // The broker listens at 127.0.0.1 alone.
        ("127.0.0.2", "TCP", "refused"),
    ] {
        let (broker, _runtime) = start(Broker::builder().advertised_host(host));
        let advertised = broker.bootstrap_servers();
        let reached = advertised.replace(host, "127.0.0.1");
        let checked = check(&["-b", &reached]);
        checked.failed_at(step, &[words, "advertise"]);
        let text = &checked.text;
        let whose = format!("{advertised}, which broker 1 advertises\n");
        assert!(text.contains(&whose), "{text}");
        assert!(text.starts_with(&format!("{reached}\n  ok ")), "{text}");
        assert!(
            checked.errors.contains("at 2 addresses"),
            "{}",
            checked.errors
        );
    }
}

#[test]
fn one_address_is_told_of_as_one() {
    let (broker, _runtime) = brokers(1);
    let checked = check(&["-b", &broker.bootstrap_servers()]);
    assert!(
        checked.text.ends_with("\nall is well at this address\n"),
        "{}",
        checked.text
    );
    let checked = check(&["-b", &closed_port()]);
    assert!(
        checked.errors.contains("at 1 address looked at"),
        "{}",
        checked.errors
    );
}

#[test]
fn a_name_without_an_address_says_so() {
    let checked = check(&["-b", "no-such-broker.invalid:9092"]);
    checked.failed_at("DNS", &["no-such-broker.invalid has no address", "spelt"]);
}

#[test]
fn who_takes_the_connection_and_says_nothing_is_no_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    // Ends with this process.
    thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    let soon = "socket.connection.setup.timeout.ms=500";
    let checked = check(&["-b", &address, "-X", soon]);
    checked.failed_at(
        "ApiVersions",
        &["is it a Kafka broker", "security.protocol"],
    );
    let encrypted = ["-X", "security.protocol=SSL"];
    let checked = check(&[&["-b", &address, "-X", soon], &encrypted[..]].concat());
    checked.failed_at("TLS", &["is it a listener for TLS"]);
}

#[test]
fn a_wrong_configuration_is_told_before_anything_is_dialled() {
    let missing = ["-X", "security.protocol=SASL_PLAINTEXT"];
    let checked = check(&[&["-b", "127.0.0.1:1"], &missing[..]].concat());
    assert_eq!(checked.status, Some(1));
    assert!(checked.text.is_empty(), "{}", checked.text);
    assert!(
        checked.errors.contains("sasl.mechanism"),
        "{}",
        checked.errors
    );
}

fn closed_port() -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("bound").to_string()
}
