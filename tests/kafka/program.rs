//! The program against brokers: what it writes it reads again, in each of its forms, and its demo finds nothing wrong. In: the
//! program as built for this test. Out: what it prints, and its exit status.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    ApiKey, Consumer, ConsumerConfig, Header, Producer, ProducerConfig, Record, StartOffset,
    TopicPartition,
};
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, ControlRecord, SealOptions};

use crate::fleet::{Fleet, Target, block_on};
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
    let on_a_broker_of_their_own = [
        embedded_trial(
            "a_transaction_at_the_end_is_committed_to_its_end",
            a_transaction_at_the_end_is_committed_to_its_end,
        ),
        embedded_trial(
            "a_member_that_is_ended_by_a_signal_leaves_its_group",
            a_member_that_is_ended_by_a_signal_leaves_its_group,
        ),
        embedded_trial(
            "broker_and_demo_end_cleanly_by_either_signal",
            broker_and_demo_end_cleanly_by_either_signal,
        ),
        embedded_trial(
            "a_producer_that_is_ended_by_a_signal_writes_what_it_has_read",
            a_producer_that_is_ended_by_a_signal_writes_what_it_has_read,
        ),
        embedded_trial(
            "the_bench_needs_nothing_and_prints_a_table_or_lines",
            the_bench_needs_nothing_and_prints_a_table_or_lines,
        ),
    ];
    let both = [
        fleet.on_both(
            "any_record_comes_back_through_json_as_it_was",
            any_record_comes_back_through_json_as_it_was,
        ),
        fleet.on_both(
            "reading_from_an_offset_prints_what_is_there_and_says_what_is_not",
            reading_from_an_offset_prints_what_is_there_and_says_what_is_not,
        ),
        fleet.on_both(
            "delimiters_are_written_with_escapes",
            delimiters_are_written_with_escapes,
        ),
        fleet.on_both(
            "a_line_that_is_refused_takes_no_other_with_it",
            a_line_that_is_refused_takes_no_other_with_it,
        ),
        fleet.on_both(
            "a_line_that_no_record_can_hold_ends_reading",
            a_line_that_no_record_can_hold_ends_reading,
        ),
        fleet.on_both(
            "a_first_line_creates_its_topic",
            a_first_line_creates_its_topic,
        ),
        fleet.on_both(
            "demos_share_a_topic_that_is_there_or_not",
            demos_share_a_topic_that_is_there_or_not,
        ),
        fleet.on_both(
            "latencies_are_those_of_this_run_whatever_the_topic_holds",
            latencies_are_those_of_this_run_whatever_the_topic_holds,
        ),
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
        .chain(on_a_broker_of_their_own)
        .chain([embedded, options_of_the_demo])
        .collect()
}

/// A trial that brings its own broker.
fn embedded_trial<F: Future<Output = ()> + 'static>(name: &str, case: fn() -> F) -> Trial {
    Trial::test(format!("embedded::{name}"), move || {
        block_on(case());
        Ok(())
    })
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
        "\"paced_events\":3000",
        "\"unknown_outcome\":0",
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

/// Bytes, texts and nulls of all kinds, the same in each run.
struct Any(u64);

impl Any {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn bytes(&mut self) -> Vec<u8> {
        const TEXTS: [&[u8]; 8] = [
            b"",
            b"plain",
            br#"{"hex":"ff"}"#,
            b"\"quoted\"\\ \n\r\t\0\x1b\x7f",
            "é\u{2028}\u{feff}\u{1f600}".as_bytes(),
            b"\xed\xa0\x80",
            b"\xff\xfe\0",
            b"cut off \xe2\x82",
        ];
        match self.below(12) {
            text if text < 8 => TEXTS[text as usize].to_vec(),
            _ => (0..self.below(20)).map(|_| self.below(256) as u8).collect(),
        }
    }

    fn nullable(&mut self) -> Option<Vec<u8>> {
        (self.below(6) > 0).then(|| self.bytes())
    }
}

/// All of a record but where it is.
type Whole = (
    i32,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

async fn any_record_comes_back_through_json_as_it_was(target: Target) {
    const RECORDS: usize = 2_000;
    let brokers = target.bootstrap.as_str();
    for topic in ["any", "any-again"] {
        run(&["topics", "-b", brokers, "create", topic, "-p", "3"], None);
    }
    let mut any = Any(7);
    let records: Vec<Whole> = (0..RECORDS)
        .map(|_| {
            let headers = (0..any.below(4))
                .map(|_| (any.bytes(), any.nullable()))
                .collect();
            let timestamp_ms = 1_700_000_000_000 + any.below(1_000_000) as i64;
            (
                any.below(3) as i32,
                timestamp_ms,
                any.nullable(),
                any.nullable(),
                headers,
            )
        })
        .collect();
    let config = ProducerConfig::new(brokers);
    let producer = Producer::connect(config).await.expect("a producer");
    for (partition, timestamp_ms, key, value, headers) in &records {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| Header::raw(name, value.as_deref()))
            .collect();
        let mut record = Record::new("any");
        record.partition = Some(*partition);
        record.key = key.as_deref();
        record.value = value.as_deref();
        record.headers = &headers;
        record.timestamp_ms = Some(*timestamp_ms);
        drop(producer.enqueue(record).await.expect("accepted"));
    }
    producer.flush().await.expect("written");
    let json = run(&["consume", "-b", brokers, "-t", "any", "-J", "-e"], None);
    assert_eq!(json.lines().count(), RECORDS);
    run(
        &["produce", "-b", brokers, "-t", "any-again", "-J"],
        Some(&json),
    );
    for topic in ["any", "any-again"] {
        let mut read = whole_records(brokers, topic, 3, RECORDS).await;
        for partition in 0..3 {
            let of = |records: &[Whole]| -> Vec<Whole> {
                records
                    .iter()
                    .filter(|record| record.0 == partition)
                    .cloned()
                    .collect()
            };
            assert_eq!(of(&read), of(&records), "{topic}");
        }
        read.clear();
    }
}

async fn whole_records(brokers: &str, topic: &str, partitions: i32, count: usize) -> Vec<Whole> {
    let config = ConsumerConfig::from_properties([("bootstrap.servers", brokers)]);
    let mut consumer = Consumer::connect(config.expect("good"))
        .await
        .expect("a consumer");
    let all: Vec<_> = (0..partitions)
        .map(|index| (TopicPartition::new(topic, index), StartOffset::Earliest))
        .collect();
    consumer.assign(&all).await.expect("assigned");
    let mut read = Vec::new();
    while read.len() < count {
        let polled = consumer.poll(Duration::from_secs(1)).await.expect("a poll");
        read.extend(polled.iter().map(|record| {
            let headers = record.headers.iter();
            let headers =
                headers.map(|header| (header.key_bytes.to_vec(), header.value.map(<[u8]>::to_vec)));
            (
                record.partition,
                record.timestamp_ms,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers.collect(),
            )
        }));
    }
    read
}

async fn reading_from_an_offset_prints_what_is_there_and_says_what_is_not(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "offsets", "-p", "1"],
        None,
    );
    run(
        &["produce", "-b", brokers, "-t", "offsets"],
        Some("0\n1\n2\n"),
    );
    let read = |offset: &str| {
        let consume = [
            "consume", "-b", brokers, "-t", "offsets", "-e", "-o", offset,
        ];
        let ended = end_of(&[], &consume, None);
        assert_eq!(ended.status, Some(0), "{ended:?}");
        (ended.output, ended.errors)
    };
    let silent = |output: &str| (output.to_owned(), String::new());
    assert_eq!(read("1"), silent("1\n2\n"));
    assert_eq!(read("3"), silent(""));
    assert_eq!(read("-2"), silent("1\n2\n"));
    assert_eq!(read("-100"), silent("0\n1\n2\n"));
    assert_eq!(read("s@9000000000000"), silent(""));
    let (output, errors) = read("100");
    assert_eq!(output, "");
    assert!(errors.contains("ends at offset 3"), "{errors}");
    // What is written later is printed from the offset that was asked for on.
    let later = Program::start(&[
        "consume", "-b", brokers, "-t", "offsets", "-o", "5", "-c", "1",
    ]);
    later.says("ends at offset 3").await;
    run(
        &["produce", "-b", brokers, "-t", "offsets"],
        Some("3\n4\n5\n6\n"),
    );
    let ended = later.end().await;
    assert_eq!(
        (ended.status, ended.output.as_str()),
        (Some(0), "5\n"),
        "{ended:?}"
    );
}

async fn delimiters_are_written_with_escapes(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "escapes", "-p", "1"],
        None,
    );
    let produce = ["produce", "-b", brokers, "-t", "escapes", "-K", r"\t"];
    let ended = end_of(&[], &produce, Some("k\tv\nno key\n"));
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert!(ended.errors.contains(r#"line 2 has no "\t""#), "{ended:?}");
    let consume = [
        "consume", "-b", brokers, "-t", "escapes", "-e", "-K", r"\x1f\0",
    ];
    assert_eq!(run(&consume, None), "k\x1f\0v\n\x1f\0no key\n");
}

async fn a_line_that_is_refused_takes_no_other_with_it(target: Target) {
    let brokers = target.bootstrap.as_str();
    let compacted = "cleanup.policy=compact";
    run(
        &[
            "topics", "-b", brokers, "create", "refused", "-p", "1", "-c", compacted,
        ],
        None,
    );
    let line = |number: u32| match number {
        7_777 => "without a key\n".to_owned(),
        number => format!("{number}:value\n"),
    };
    let lines: String = (1..=10_000).map(line).collect();
    let errors = fails(
        &["produce", "-b", brokers, "-t", "refused", "-K", ":"],
        Some(&lines),
    );
    assert!(errors.contains("error: line 7777: "), "{errors}");
    // The program's own words: the broker's are "One or more records have been rejected" where the line begins a batch.
    assert!(!errors.contains("more records failed"), "{errors}");
    let read = run(
        &[
            "consume", "-b", brokers, "-t", "refused", "-e", "-f", r"%k\n",
        ],
        None,
    );
    let written: String = (1..=10_000)
        .filter(|number| *number != 7_777)
        .map(|number| format!("{number}\n"))
        .collect();
    assert_eq!(read, written);
}

async fn a_line_that_no_record_can_hold_ends_reading(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "long", "-p", "1"],
        None,
    );
    let long = "x".repeat(20_000);
    let produce = |more: &[&str], lines: &str| {
        let produce = [
            "produce",
            "-b",
            brokers,
            "-t",
            "long",
            "-X",
            "max.request.size=10000",
        ];
        fails(&[&produce[..], more].concat(), Some(lines))
    };
    let errors = produce(&[], &format!("one\ntwo\n{long}\nfour\n"));
    assert!(
        errors.contains("line 3 is longer than 10000 bytes"),
        "{errors}"
    );
    let json = format!(r#"{{"value":"{}"}}"#, "x".repeat(200_000));
    let errors = produce(&["-J"], &format!("{{\"value\":\"three\"}}\n{json}\n"));
    assert!(errors.contains("line 2 is longer than "), "{errors}");
    let read = run(&["consume", "-b", brokers, "-t", "long", "-e"], None);
    assert_eq!(read, "one\ntwo\nthree\n");
}

async fn a_first_line_creates_its_topic(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["produce", "-b", brokers, "-t", "not-yet-there"],
        Some("one\n"),
    );
    let read = run(
        &["consume", "-b", brokers, "-t", "not-yet-there", "-e"],
        None,
    );
    assert_eq!(read, "one\n");
    let off = [
        "produce",
        "-b",
        brokers,
        "-t",
        "never-there",
        "-X",
        "allow.auto.create.topics=false",
    ];
    let errors = fails(
        &[&off[..], &["-X", "max.block.ms=2000"]].concat(),
        Some("one\n"),
    );
    assert!(errors.contains("never-there"), "{errors}");
}

async fn demos_share_a_topic_that_is_there_or_not(target: Target) {
    let demo = |brokers: String| {
        move || {
            let demo = [
                "demo",
                "--json",
                "--brokers",
                &brokers,
                "-t",
                "shared-demo",
                "-e",
                "2000",
            ];
            end_of(&[], &demo, None)
        }
    };
    // At once, so that each may be the one that creates it; and once more.
    let both = [0, 1].map(|_| tokio::task::spawn_blocking(demo(target.bootstrap.clone())));
    let [first, second] = both;
    let third = async { tokio::task::spawn_blocking(demo(target.bootstrap.clone())).await };
    for ended in [first.await, second.await, third.await] {
        let ended = ended.expect("no panic");
        assert_eq!(ended.status, Some(0), "{ended:?}");
    }
}

async fn latencies_are_those_of_this_run_whatever_the_topic_holds(target: Target) {
    let brokers = target.bootstrap.as_str();
    run(
        &["topics", "-b", brokers, "create", "timed", "-p", "2"],
        None,
    );
    // Values that begin with what would be a time of another clock.
    let stamps: String = (0..500).map(|_| "AAAAAAAAAAAA\n").collect();
    run(&["produce", "-b", brokers, "-t", "timed"], Some(&stamps));
    for _ in 0..2 {
        let bench = [
            "bench",
            "--broker",
            brokers,
            "--topic",
            "timed",
            "--partitions",
            "2",
            "--mode",
            "latency",
            "--rate",
            "500",
            "--secs",
            "1",
            "--json",
        ];
        let line: serde_json::Value = serde_json::from_str(&run(&bench, None)).expect("JSON");
        assert_eq!(
            (&line["records"], &line["check"]),
            (&500.into(), &500.into()),
            "{line}"
        );
        assert!(
            line["p50_us"].as_f64().is_some_and(|p50| p50 > 10.0),
            "{line}"
        );
    }
}

async fn the_bench_needs_nothing_and_prints_a_table_or_lines() {
    let few = ["bench", "--records", "2000", "--rate", "500", "--secs", "1"];
    let table = run(&few, None);
    for mode in ["produce", "consume", "latency", "pingpong"] {
        let line = table.lines().find(|line| line.starts_with(mode));
        assert!(
            line.is_some_and(|line| !line.contains(" 0 ")),
            "{mode}: {table}"
        );
    }
    let lines = run(&[&few[..], &["--json", "--mode", "consume"]].concat(), None);
    let line: serde_json::Value = serde_json::from_str(&lines).expect("one line of JSON");
    assert_eq!(line["records"], 2_000);
    // As a harness calls it: a topic that is there, a payload of its own, one line, nothing created.
    let broker = Broker::builder()
        .auto_create_topics(false)
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("given", 2).expect("a topic");
    let payload = folder().join(format!("payload-{}.bin", std::process::id()));
    let record = [&3u32.to_le_bytes()[..], &5u32.to_le_bytes(), b"keyvalue"].concat();
    fs::write(&payload, record.repeat(3)).expect("written");
    for mode in ["produce", "consume", "pingpong", "latency"] {
        let brokers = broker.bootstrap_servers();
        let path = payload.to_str().expect("a path of text");
        let flags = [
            "bench",
            "--mode",
            mode,
            "--broker",
            &brokers,
            "--topic",
            "given",
            "--payload",
            path,
            "--compression",
            "lz4",
            "--partitions",
            "2",
            "--records",
            "100",
            "--warmup",
            "10",
            "--linger-ms",
            "5",
            "--batch-bytes",
            "1000000",
            "--rate",
            "200",
            "--secs",
            "1",
        ];
        let printed = tokio::task::block_in_place(|| run(&flags, None));
        let line: serde_json::Value = serde_json::from_str(&printed).expect("one line of JSON");
        assert_eq!(
            (&line["client"], &line["mode"]),
            (&"pat-events".into(), &mode.into())
        );
        assert_eq!(line["compression"], "lz4");
        if mode != "consume" {
            assert_eq!(line["check"], line["records"], "{line}");
        }
    }
    let _ = fs::remove_file(payload);
    assert_eq!(broker.topics(), ["given"]);
}

async fn a_transaction_at_the_end_is_committed_to_its_end() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("transactions", 1).expect("a topic");
    let batch = |control: bool| {
        let mut builder = BatchBuilder::new(Vec::new());
        let marker = ControlRecord::Commit {
            coordinator_epoch: 0,
        };
        let (key, value) = match control {
            true => (
                marker.key().to_vec(),
                marker.marker_value().expect("a marker").to_vec(),
            ),
            false => (b"k".to_vec(), b"v".to_vec()),
        };
        builder
            .append(1_000, Some(&key), Some(&value), [])
            .expect("room");
        let options = SealOptions {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: if control { -1 } else { 0 },
            transactional: true,
            control,
        };
        builder
            .seal(&options, &mut Compressor::new(Compression::NONE))
            .into_bytes()
    };
    for control in [false, true] {
        broker.append_unchecked("transactions", 0, batch(control));
    }
    let brokers = broker.bootstrap_servers();
    let consume = [
        "consume",
        "-b",
        &brokers,
        "-t",
        "transactions",
        "-G",
        "g",
        "-e",
        "-X",
        "isolation.level=read_committed",
    ];
    for expected in ["v\n", ""] {
        assert_eq!(
            tokio::task::block_in_place(|| run(&consume, None)),
            expected
        );
        assert_eq!(broker.committed_offset("g", "transactions", 0), Some(2));
    }
    // A record that was left for another time is not committed.
    tokio::task::block_in_place(|| {
        run(
            &["produce", "-b", &brokers, "-t", "transactions"],
            Some("a\nb\nc\n"),
        )
    });
    let one = [&consume[..], &["-c", "1"]].concat();
    assert_eq!(tokio::task::block_in_place(|| run(&one, None)), "a\n");
    assert_eq!(broker.committed_offset("g", "transactions", 0), Some(3));
}

async fn a_member_that_is_ended_by_a_signal_leaves_its_group() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("left", 1).expect("a topic");
    let brokers = broker.bootstrap_servers();
    // Long enough that whoever has to wait for it is late.
    let session = "session.timeout.ms=120000";
    let consume = [
        "consume", "-b", &brokers, "-t", "left", "-G", "g", "-X", session,
    ];
    for (number, signal) in ["TERM", "INT"].into_iter().enumerate() {
        // A signal that comes during the commit leaves it to end.
        let slow = FaultAction::Delay(Duration::from_secs(1));
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, slow));
        let line = format!("{number}\n");
        let member = Program::start(&consume);
        tokio::task::block_in_place(|| {
            run(&["produce", "-b", &brokers, "-t", "left"], Some(&line))
        });
        member.prints(&line).await;
        member.signal(signal);
        let ended = member.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        let next = tokio::task::block_in_place(|| run(&[&consume[..], &["-e"]].concat(), None));
        assert_eq!(next, "", "it was committed");
    }
}

async fn broker_and_demo_end_cleanly_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let broker = Program::start(&["broker", "--listen", "127.0.0.1:0"]);
        broker.prints("127.0.0.1:").await;
        broker.signal(signal);
        let ended = broker.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        let own = Broker::builder()
            .start_tcp("127.0.0.1:0")
            .await
            .expect("a broker");
        let brokers = own.bootstrap_servers();
        let demo = Program::start(&[
            "demo",
            "--json",
            "--brokers",
            &brokers,
            "--rate",
            "500",
            "--events",
            "1000000",
        ]);
        while own
            .topics()
            .iter()
            .all(|topic| own.log(topic, 0).is_none_or(|log| log.end_offset < 50))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        demo.signal(signal);
        let ended = demo.end().await;
        assert_eq!(ended.status, Some(0), "{signal}: {ended:?}");
        assert!(ended.output.contains("\"missing\":0"), "{ended:?}");
        assert_eq!(own.topics(), [] as [String; 0]);
    }
}

async fn a_producer_that_is_ended_by_a_signal_writes_what_it_has_read() {
    let broker = Broker::builder()
        .start_tcp("127.0.0.1:0")
        .await
        .expect("a broker");
    broker.create_topic("typed-in", 1).expect("a topic");
    let brokers = broker.bootstrap_servers();
    let mut producer = Program::start(&[
        "produce",
        "-b",
        &brokers,
        "-t",
        "typed-in",
        "-X",
        "linger.ms=1000",
    ]);
    producer.types("one\ntwo\n");
    // Long enough for the lines to be read and not for the batch to be sent.
    tokio::time::sleep(Duration::from_millis(800)).await;
    producer.signal("TERM");
    let ended = producer.end().await;
    assert!(
        ended.errors.contains("ended by a signal after line 2"),
        "{ended:?}"
    );
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert_eq!(broker.log("typed-in", 0).expect("a log").end_offset, 2);
}

/// A run of the program that is still going on; dropping it ends it.
struct Program {
    child: Child,
    output: Arc<Mutex<String>>,
    errors: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Program {
    fn start(arguments: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pat-events"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let (output, errors) = (Arc::default(), Arc::default());
        let readers = vec![
            gather(child.stdout.take().expect("piped"), Arc::clone(&output)),
            gather(child.stderr.take().expect("piped"), Arc::clone(&errors)),
        ];
        Program {
            child,
            output,
            errors,
            readers,
        }
    }

    fn types(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(text.as_bytes()).expect("it reads");
    }

    /// Waits until this is among what it prints.
    async fn prints(&self, text: &str) {
        contains(&self.output, text).await;
    }

    /// Waits until this is among what it says of errors.
    async fn says(&self, text: &str) {
        contains(&self.errors, text).await;
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.is_ok_and(|kill| kill.success()));
    }

    /// Waits until it ends by itself.
    async fn end(mut self) -> Ended {
        let deadline = Instant::now() + ENDS_WITHIN;
        let mut status = None;
        while status.is_none() && Instant::now() < deadline {
            status = self.child.try_wait().expect("a child");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let _ = self.child.kill();
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        let text = |text: &Mutex<String>| text.lock().expect("no panic").clone();
        Ended {
            status: status.and_then(|status| status.code()),
            output: text(&self.output),
            errors: text(&self.errors),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(mut from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..read]);
            into.lock().expect("no panic").push_str(&text);
        }
    })
}

async fn contains(so_far: &Mutex<String>, text: &str) {
    let deadline = Instant::now() + ENDS_WITHIN;
    while !so_far.lock().expect("no panic").contains(text) {
        assert!(Instant::now() < deadline, "no {text:?} in {so_far:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it did not end by itself.
    pub status: Option<i32>,
    pub output: String,
    pub errors: String,
}

/// Runs the program to its good end, with `input` as the file that it reads, and returns what it printed.
pub fn run(arguments: &[&str], input: Option<&str>) -> String {
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
pub fn end_of(variables: &[(&str, &str)], arguments: &[&str], input: Option<&str>) -> Ended {
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
