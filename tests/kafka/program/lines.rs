//! Lines that are written, and come back; and those that are refused.

use super::*;

pub async fn lines_come_back_as_they_were_written(target: Target) {
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

pub async fn events_as_json_come_back_typed(target: Target) {
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

pub async fn a_record_that_is_lost_early_fails_the_program_and_names_its_line(target: Target) {
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

pub async fn good_lines_before_a_bad_one_are_written(target: Target) {
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

/// Bytes, texts and nulls of all kinds, the same in each run.
pub struct Any(u64);

impl Any {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub fn bytes(&mut self) -> Vec<u8> {
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

    pub fn nullable(&mut self) -> Option<Vec<u8>> {
        (self.below(6) > 0).then(|| self.bytes())
    }
}

/// All of a record but where it is.
pub type Whole = (
    i32,
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

pub async fn any_record_comes_back_through_json_as_it_was(target: Target) {
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

pub async fn whole_records(
    brokers: &str,
    topic: &str,
    partitions: i32,
    count: usize,
) -> Vec<Whole> {
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

pub async fn delimiters_are_written_with_escapes(target: Target) {
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

pub async fn a_line_that_is_refused_takes_no_other_with_it(target: Target) {
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

pub async fn a_line_that_no_record_can_hold_ends_reading(target: Target) {
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

pub async fn a_first_line_creates_its_topic(target: Target) {
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
