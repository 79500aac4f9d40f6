//! `pat-events check` on listeners of Kafka that want TLS and SASL.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::fleet::Fleet;
use crate::program::{end_of, run};
use crate::security::{PASSWORD, authority_file};
use crate::support::certificates::Authority;
use crate::support::kafka::Kafka;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![
        fleet.on_secured("a_check_shows_each_step_of_a_connection", shows_each_step),
        fleet.on_secured("a_check_says_where_a_connection_ends", says_where_it_ends),
    ]
}

fn command(kafka: &Kafka, password: &str, more: &[&str]) -> Vec<String> {
    let password = format!("sasl.password={password}");
    let authority = format!("ssl.ca.location={}", authority_file().display());
    let options = [
        "security.protocol=SASL_SSL",
        "sasl.mechanism=SCRAM-SHA-512",
        "sasl.username=alice",
        &password,
        &authority,
    ];
    let servers = kafka.secured_bootstrap("SASL");
    let command = ["check", "-F", "none", "-b", &servers].into_iter();
    let options = options.into_iter().chain(more.iter().copied());
    let options = options.flat_map(|option| ["-X", option]);
    command.chain(options).map(str::to_owned).collect()
}

fn texts(command: &[String]) -> Vec<&str> {
    command.iter().map(String::as_str).collect()
}

fn shows_each_step(kafka: &Kafka) {
    let command = command(kafka, PASSWORD, &[]);
    let said = run(&texts(&command), None);
    println!("{said}");
    for part in [
        "TLSv1.3, TLS13_",
        "certificate 1: CN=localhost, signed by CN=the tests' authority, from ",
        ", for localhost",
        "SCRAM-SHA-512, for as long as the connection lasts",
        "controller)",
        // Both are this machine's clock.
        "as the controller's, to ",
        "all is well at this address",
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(!said.contains(PASSWORD), "{said}");
}

fn says_where_it_ends(kafka: &Kafka) {
    let failing = |password: &str, more: &[&str], step: &str, words: &[&str]| {
        let command = command(kafka, password, more);
        let ended = end_of(&[], &texts(&command), None);
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let said = ended.output + &ended.errors;
        let line = said.lines().find(|line| line.contains("FAILED"));
        assert!(line.is_some_and(|line| line.contains(step)), "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(!said.contains(password), "{said}");
    };
    failing("wrong-secret", &[], "SASL", &["SCRAM-SHA-512 as \"alice\""]);
    // What the broker shows is seen all the same.
    let stranger = Authority::new("a stranger").pem().replace('\n', "\\n");
    let stranger = format!("ssl.ca.pem={stranger}");
    let shown = ["certificate 1: CN=localhost, signed by", "ssl.ca.location"];
    failing(PASSWORD, &[&stranger], "TLS", &shown);
    let plaintext = ["security.protocol=SASL_PLAINTEXT"];
    failing(PASSWORD, &plaintext, "ApiVersions", &["security.protocol"]);
}
