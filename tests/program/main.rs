//! The program as operators and scripts run it, on embedded brokers. In: the program as built for this test. Out: what it prints, what it says of failures, and
//! how it ends.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `topics` | topics created, altered, deleted, listed, described |
//! | `groups` | groups, their lag, and where they go on |
//! | `offsets` | where logs begin and end, and what is deleted of them |
//! | `reading` | `consume`: what is read, and how it is shown |
//! | `writing` | `produce`: what becomes a record |
//! | `rights` | users, access rules, transactions |
//! | `command_line` | options, profiles, completions, manual pages |
//! | `outages` | brokers that go away |
//! | `schemas`, `registry` | keys and values by schemas, and where these are |
//! | `measuring` | `demo` and `bench` |
//! | `tables` | what the README says to those who come from kcat or from Kafka's scripts |

mod command_line;
#[path = "../support/commands.rs"]
mod commands;
mod groups;
mod measuring;
mod offsets;
mod outages;
mod reading;
mod registry;
mod rights;
mod schemas;
mod tables;
mod topics;
mod writing;

use std::process::Output;

use pat_events::broker::{Broker, BrokerBuilder};
use serde_json::Value;
use tokio::runtime::Runtime;

/// How a run of the program ended.
#[derive(Debug)]
struct Ended {
    status: Option<i32>,
    output: Vec<u8>,
    errors: String,
}

impl Ended {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }
}

/// A broker on threads of its own, and the program told to use it.
struct Place {
    broker: Broker,
    runtime: Runtime,
}

fn place() -> Place {
    started(Broker::builder())
}

fn started(builder: BrokerBuilder) -> Place {
    let runtime = Runtime::new().expect("a runtime");
    let broker = runtime.block_on(builder.start_tcp("127.0.0.1:0"));
    let broker = broker.expect("a free port");
    Place { broker, runtime }
}

impl Place {
    /// Runs `command` with these arguments, and `input` on its standard input.
    fn end_of(&self, command: &str, arguments: &[&str], input: &[u8]) -> Ended {
        let brokers = self.broker.bootstrap_servers();
        let common = [command, "-F", "none", "-b", &brokers];
        end_of(&[&common, arguments].concat(), input)
    }

    /// As [`end_of`](Self::end_of), to a good end; returns what it printed.
    fn run(&self, command: &str, arguments: &[&str]) -> String {
        self.run_with(command, arguments, b"")
    }

    fn run_with(&self, command: &str, arguments: &[&str], input: &[u8]) -> String {
        let ended = self.end_of(command, arguments, input);
        assert_eq!(ended.status, Some(0), "{command} {arguments:?}: {ended:?}");
        ended.text()
    }

    /// As [`run`](Self::run), with the lines of JSON that it printed.
    fn json(&self, command: &str, arguments: &[&str]) -> Vec<Value> {
        json_lines(&self.run(command, &[arguments, &["--json"]].concat()))
    }

    /// Writes lines to a topic, which is created with so many partitions.
    fn topic(&self, name: &str, partitions: i32, lines: &str) {
        self.broker.create_topic(name, partitions).expect("a topic");
        if !lines.is_empty() {
            self.run_with("produce", &["-t", name, "-p", "0"], lines.as_bytes());
        }
    }
}

/// Runs the program.
fn end_of(arguments: &[&str], input: &[u8]) -> Ended {
    let child = commands::start_with(arguments, input);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().expect("it ends");
    Ended {
        status: status.code(),
        output: stdout,
        errors: String::from_utf8_lossy(&stderr).into_owned(),
    }
}

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// The texts of one name of each object.
fn texts<'a>(objects: &'a [Value], name: &str) -> Vec<&'a str> {
    objects
        .iter()
        .filter_map(|object| object[name].as_str())
        .collect()
}
