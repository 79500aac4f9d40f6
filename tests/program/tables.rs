//! The tables of the README for those who come from kcat or from Kafka's scripts: every row has commands, and each does what it says.

use pat_events::broker::Broker;
use tokio::runtime::Runtime;

use crate::commands::{Row, Stage, needs_kafka, rows};
use crate::{registry, started};

/// The flags that kcat's usage names, and those that it takes without naming them.
const KCAT: &str = "PCGLQMtpbzoEDKkHOdqvFXcTufZlVhsrJm";

/// Whether a row says of itself that there is no command for it.
fn says_so(row: &Row) -> bool {
    [
        "no counterpart",
        "what is done anyway",
        "what is printed is flushed",
    ]
    .iter()
    .any(|words| row.right.starts_with(words))
}

/// Runs every command of a table, each on a broker of its own. Returns what does not do what it says.
fn try_all(heading: &str) -> Vec<String> {
    let url = registry::serve(&[(1, "a-value", r#""string""#)]);
    let mut wrong = Vec::new();
    for row in rows(heading) {
        if row.commands.is_empty() && !says_so(&row) {
            wrong.push(format!("{}: it has no command: {}", row.left, row.right));
        }
        for command in &row.commands {
            let place = started(Broker::builder().super_user("User:ANONYMOUS"));
            let runtime = Runtime::new().expect("a runtime");
            let brokers = place.broker.bootstrap_servers();
            let stage = Stage::new(&brokers, command, &url, &runtime);
            let (status, said) = stage.try_out(command);
            // The embedded broker has no such thing: tests on Kafka run it there.
            let is_lacking = [
                "does not have it",
                "Only configurations of groups can be altered",
            ];
            let is_lacking = is_lacking.iter().any(|words| said.contains(words));
            if status != Some(0) && !(is_lacking && needs_kafka(command)) {
                wrong.push(format!(
                    "{}: {} ends with {status:?}: {said}",
                    row.left,
                    command.join(" ")
                ));
            }
        }
    }
    wrong
}

#[test]
fn every_command_for_those_who_come_from_kcat_does_what_it_says() {
    let wrong = try_all("Coming from kcat");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let rows = rows("Coming from kcat");
    for flag in KCAT.chars() {
        let names = |row: &Row| {
            let mut words = row.left.split(|sign: char| " `,".contains(sign));
            words.any(|word| word == format!("-{flag}"))
        };
        assert!(rows.iter().any(names), "no row names kcat's -{flag}");
    }
}

#[test]
fn every_command_for_those_who_come_from_the_scripts_of_kafka_does_what_it_says() {
    let wrong = try_all("Coming from Kafka's scripts");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
