//! The program against brokers: what it writes it reads again, in each of its forms, and its demo finds nothing wrong. In: the
//! program as built for this test. Out: what it prints, and its exit status.

use std::ffi::OsString;
use std::fs;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::{Consumer, ConsumerConfig, TopicPartition};

use crate::fleet::{Fleet, Target};
use crate::support::guarded::Guarded;
use crate::support::java::folder;

const ENDS_WITHIN: Duration = Duration::from_secs(120);
const EVENTS: &str = "50000";

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let embedded = Trial::test(
        "embedded::the_demo_finds_each_event_once_and_in_order",
        || {
            demo(&[]);
            Ok(())
        },
    );
    let options_of_the_demo = Trial::test(
        "embedded::the_demo_gives_options_to_those_that_know_them",
        || {
            the_demo_gives_options_to_those_that_know_them();
            Ok(())
        },
    );
    let both = [
        fleet.on_both(
            "lines_come_back_as_they_were_written",
            lines_come_back_as_they_were_written,
        ),
        fleet.on_both(
            "events_as_json_come_back_typed",
            events_as_json_come_back_typed,
        ),
        fleet.on_both(
            "the_apis_are_listed_with_the_versions_of_both_sides",
            the_apis_are_listed_with_the_versions_of_both_sides,
        ),
        fleet.on_both(
            "a_record_that_is_lost_early_fails_the_program_and_names_its_line",
            a_record_that_is_lost_early_fails_the_program_and_names_its_line,
        ),
        fleet.on_both(
            "good_lines_before_a_bad_one_are_written",
            good_lines_before_a_bad_one_are_written,
        ),
        fleet.on_both(
            "a_group_goes_on_after_what_was_printed",
            a_group_goes_on_after_what_was_printed,
        ),
        fleet.on_both(
            "a_member_ends_at_the_ends_of_its_share",
            a_member_ends_at_the_ends_of_its_share,
        ),
        fleet.on_both(
            "reading_takes_the_options_of_consumers",
            reading_takes_the_options_of_consumers,
        ),
        fleet.on_both(
            "the_environment_chooses_the_codec_unless_the_command_line_does",
            the_environment_chooses_the_codec_unless_the_command_line_does,
        ),
        fleet.on_both(
            "the_demo_reports_when_its_consumer_is_put_out",
            the_demo_reports_when_its_consumer_is_put_out,
        ),
    ];
    let on_kafka = [
        fleet.on_one("the_demo_finds_each_event_once_and_in_order", |_, kafka| {
            demo(&["--brokers", &kafka.bootstrap()])
        }),
        fleet.on_three("the_demo_finds_each_event_once_and_in_order", |_, kafka| {
            demo(&["--brokers", &kafka.bootstrap()])
        }),
    ];
    both.into_iter()
        .flatten()
        .chain(on_kafka)
        .chain([embedded, options_of_the_demo])
        .collect()
}

fn demo(more: &[&str]) {
    let said = run(
        &[&["demo", "--json", "--events", EVENTS], more].concat(),
        None,
    );
    let last = said.lines().last().expect("a line of JSON");
    for part in [
        "\"events_sent\":50000",
        "\"events_handled\":50000",
        "\"duplicates\":0",
        "\"out_of_order\":0",
    ] {
        assert!(last.contains(part), "no {part} in {last}");
    }
}

async fn lines_come_back_as_they_were_written(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "lines", "-p", "1"],
        None,
    );
    run(
        &[
            "produce", "-b", brokers, "-t", "lines", "-K", ":", "-H", "n=1", "-z", "zstd",
        ],
        Some("k1:one\nk2:two\n:three"),
    );
    let read = |more: &[&str]| {
        run(
            &[&["consume", "-b", brokers, "-t", "lines", "-e"], more].concat(),
            None,
        )
    };
    assert_eq!(read(&[]), "one\ntwo\nthree\n");
    assert_eq!(read(&["-K", "=", "-c", "1"]), "k1=one\n");
    assert_eq!(
        read(&["-o", "-1", "-f", r"%p/%o %k(%K) %s %h\n"]),
        "0/2 (0) three n=1\n"
    );
    let json = read(&["--json"]);
    assert!(
        json.starts_with(r#"{"headers":[["n","1"]],"key":"k1","offset":0,"partition":0,"#),
        "{json}"
    );
    run(
        &["produce", "-b", brokers, "-t", "lines", "--json"],
        Some(&json),
    );
    assert_eq!(read(&["-o", "3"]), "one\ntwo\nthree\n");
}

async fn events_as_json_come_back_typed(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "typed", "-p", "1"],
        None,
    );
    let line = r#"{"type":"api.events.v1.EmailDeleted","data":{"email_id":"e-1","reason":"DELETION_REASON_USER"}}"#;
    run(
        &["produce", "-b", brokers, "-t", "typed", "--typed"],
        Some(line),
    );
    let read = run(
        &["consume", "-b", brokers, "-t", "typed", "-e", "--typed"],
        None,
    );
    assert!(
        read.starts_with(r#"{"data":{"email_id":"e-1","reason":"DELETION_REASON_USER"},"#),
        "{read}"
    );
    assert!(
        read.contains(r#""type":"api.events.v1.EmailDeleted""#),
        "{read}"
    );
}

async fn the_apis_are_listed_with_the_versions_of_both_sides(target: Target) {
    let table = run(&["api", "-b", &target.bootstrap], None);
    assert!(table.contains(&target.bootstrap), "{table}");
    let spoken = table.lines().find(|line| line.contains(" Metadata "));
    let spoken: Vec<_> = spoken.expect("a line").split_whitespace().collect();
    assert_eq!(spoken[..3], ["3", "Metadata", "0-13"]);
    let json = run(&["api", "-b", &target.bootstrap, "--json"], None);
    assert!(
        json.contains(r#""api":"Metadata","broker":["#) && json.contains(r#""chosen":13,"#),
        "{json}"
    );
}

async fn a_record_that_is_lost_early_fails_the_program_and_names_its_line(target: Target) {
    let brokers = target.bootstrap.as_str();
    let limit = "max.message.bytes=100000";
    run(
        &[
            "topics", "-b", brokers, "create", "lost", "-p", "1", "-c", limit,
        ],
        None,
    );
    let large = "x".repeat(200_000);
    // Enough behind it that its fate is known long before the input ends.
    let small = format!("{}\n", "y".repeat(99)).repeat(100_000);
    let produce = [
        "produce",
        "-b",
        brokers,
        "-t",
        "lost",
        "-X",
        "batch.size=50000",
    ];
    let errors = fails(&produce, Some(&format!("first\n{large}\n{small}")));
    assert!(errors.contains("line 2: "), "{errors}");
    assert!(errors.contains("max.message.bytes"), "{errors}");
}

async fn good_lines_before_a_bad_one_are_written(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(&["topics", "-b", brokers, "create", "bad", "-p", "1"], None);
    // No batch leaves by its age before the program is done.
    let produce = [
        "produce",
        "-b",
        brokers,
        "-t",
        "bad",
        "--json",
        "-X",
        "linger.ms=60000",
    ];
    let lines = r#"{"value":"one"}
{"value":"two"}
{"value":3}
{"value":"four"}"#;
    let errors = fails(&produce, Some(lines));
    assert!(errors.contains("line 3: "), "{errors}");
    let read = run(&["consume", "-b", brokers, "-t", "bad", "-e"], None);
    assert_eq!(read, "one\ntwo\n");
}

async fn a_group_goes_on_after_what_was_printed(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "counted", "-p", "1"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "counted"],
        Some("1\n2\n3\n4\n5\n"),
    );
    let read = |more: &[&str]| {
        let consume = ["consume", "-b", brokers, "-t", "counted", "-G", "counted"];
        run(&[&consume[..], more].concat(), None)
    };
    assert_eq!(read(&["-c", "2"]), "1\n2\n");
    assert_eq!(read(&["-c", "2"]), "3\n4\n");
    assert_eq!(read(&["-e"]), "5\n");
}

async fn a_member_ends_at_the_ends_of_its_share(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "its-share", "-p", "2"],
        None,
    );
    for partition in ["0", "1"] {
        run(
            &["produce", "-b", brokers, "-t", "its-share", "-p", partition],
            Some(partition),
        );
    }
    let config = ConsumerConfig::new(brokers, "its-share");
    let mut other = Consumer::connect(config).await.expect("a consumer");
    other.subscribe(&["its-share"]).await.expect("a topic");
    while other.assignment().is_empty() {
        other
            .poll(Duration::from_millis(100))
            .await
            .expect("a poll");
    }
    let other = tokio::spawn(async move {
        loop {
            // Commits nothing: what it holds is never at its end for the group.
            let _ = other.poll(Duration::from_millis(100)).await;
        }
    });
    let read = run(
        &[
            "consume",
            "-b",
            brokers,
            "-t",
            "its-share",
            "-G",
            "its-share",
            "-e",
        ],
        None,
    );
    other.abort();
    assert!(["0\n", "1\n"].contains(&read.as_str()), "{read:?}");
}

async fn reading_takes_the_options_of_consumers(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "options", "-p", "2"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "options", "-X", "acks=all"],
        Some("one"),
    );
    let consume = ["consume", "-b", brokers, "-t", "options", "-e", "-X"];
    let with = |option| [&consume[..], &[option]].concat();
    assert_eq!(run(&with("fetch.min.bytes=2"), None), "one\n");
    let errors = fails(&with("fetch.min.byte=2"), None);
    assert!(errors.contains("did you mean fetch.min.bytes?"), "{errors}");
}

fn the_demo_gives_options_to_those_that_know_them() {
    demo(&[
        "-X",
        "fetch.max.wait.ms=100",
        "-X",
        "max.request.size=500000",
        "-X",
        "client.id=demo",
    ]);
    let errors = fails(&["demo", "-X", "fetch.max.wait=100"], None);
    assert!(
        errors.contains("did you mean fetch.max.wait.ms?"),
        "{errors}"
    );
    let errors = fails(&["demo", "-X", "max.request.size=much"], None);
    assert!(errors.contains("allowed is a number"), "{errors}");
}

async fn the_demo_reports_when_its_consumer_is_put_out(target: Target) {
    let brokers = target.bootstrap.clone();
    run(
        &["topics", "-b", &brokers, "create", "put-out", "-p", "1"],
        None,
    );
    let usurper = tokio::spawn(async move {
        let mut config = ConsumerConfig::new(&brokers, "put-out");
        config.group_instance_id = Some("the-one".into());
        let mut usurper = Consumer::connect(config).await.expect("a consumer");
        let partition = TopicPartition::new("put-out", 0);
        // The demo is well under way.
        while usurper
            .end_offsets(slice::from_ref(&partition))
            .await
            .expect("an end")[&partition]
            < 100
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        usurper.subscribe(&["put-out"]).await.expect("a topic");
        loop {
            let _ = usurper.poll(Duration::from_millis(100)).await;
        }
    });
    let demo = [
        "demo",
        "--json",
        "--brokers",
        &target.bootstrap,
        "--topic",
        "put-out",
        "--rate",
        "500",
        "--events",
        "1000000",
        "-X",
        "group.id=put-out",
        "-X",
        "group.instance.id=the-one",
    ];
    let ended = end_of(&[], &demo, None);
    usurper.abort();
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(ended.output.contains("\"events_sent\":"), "{ended:?}");
    assert!(ended.errors.contains("FENCED_INSTANCE_ID"), "{ended:?}");
}

async fn the_environment_chooses_the_codec_unless_the_command_line_does(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "codec", "-p", "1"],
        None,
    );
    let codec = [("KAFKA_COMPRESSION_TYPE", "brotli")];
    let produce = ["produce", "-b", brokers, "-t", "codec"];
    let ended = end_of(&codec, &produce, Some("one"));
    assert!(
        ended.errors.contains("compression.type = \"brotli\""),
        "{ended:?}"
    );
    let ended = end_of(
        &codec,
        &[&produce[..], &["-z", "zstd"]].concat(),
        Some("one"),
    );
    assert_eq!(ended.status, Some(0), "{ended:?}");
}

/// How a run of the program ended.
#[derive(Debug)]
struct Ended {
    /// `None` when it did not end by itself.
    status: Option<i32>,
    output: String,
    errors: String,
}

/// Runs the program to its good end, with `input` as the file that it reads, and returns what it printed.
fn run(arguments: &[&str], input: Option<&str>) -> String {
    let ended = end_of(&[], arguments, input);
    assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
    ended.output
}

/// As [`run`], for a run that is to fail; returns what it says of that.
fn fails(arguments: &[&str], input: Option<&str>) -> String {
    let ended = end_of(&[], arguments, input);
    assert_eq!(ended.status, Some(1), "{arguments:?}: {ended:?}");
    ended.errors
}

/// Runs the program to its end, in the environment of this process and these variables.
fn end_of(variables: &[(&str, &str)], arguments: &[&str], input: Option<&str>) -> Ended {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let file = |kind| folder().join(format!("program-{}-{number}.{kind}", std::process::id()));
    let (output, errors, lines) = (file("out"), file("err"), file("in"));
    let variables = variables
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let mut command: Vec<OsString> = variables.map(OsString::from).collect();
    command.push(env!("CARGO_BIN_EXE_pat-events").into());
    command.extend(arguments.iter().map(OsString::from));
    if let Some(input) = input {
        fs::write(&lines, input).expect("the input can be written");
        command.push(lines.clone().into());
    }
    let program = Guarded::start("env", &command, &output, &errors);
    let status = program.expect("it starts").wait(ENDS_WITHIN);
    let [output, errors] = [output, errors].map(|path| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text
    });
    let _ = fs::remove_file(lines);
    Ended {
        status: status.and_then(|status| status.code()),
        output,
        errors,
    }
}
