//! What Java wrote we read, and what we wrote Java reads with its CRC checks on: every codec, headers, null keys and
//! values. In: the deterministic records of [`expected`], which `tests/java/WriteRecords.java` writes too.
//! Out: both sides' views as lines of text, which must be equal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::fleet::Fleet;
use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const RECORDS: usize = 2_000;
const PARTITIONS: usize = 3;
const JAVA_WITHIN: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![fleet.on_one("java_reads_what_java_writes", java_reads_what_java_writes)]
}

fn java_reads_what_java_writes(jdk: &Jdk, kafka: &Kafka) {
    for codec in CODECS {
        let topic = format!("java-to-java-{codec}");
        java_writes(jdk, kafka, &topic, codec);
        assert_eq!(java_reads(jdk, kafka, &topic), expected(), "{codec}");
    }
}

fn java_writes(jdk: &Jdk, kafka: &Kafka, topic: &str, codec: &str) {
    let (partitions, records) = (PARTITIONS.to_string(), RECORDS.to_string());
    let arguments = [&kafka.bootstrap(), topic, &partitions, codec, &records];
    jdk.run("WriteRecords", &arguments, JAVA_WITHIN)
        .expect("Java writes");
}

fn java_reads(jdk: &Jdk, kafka: &Kafka, topic: &str) -> Lines {
    let printed = jdk
        .run("ReadRecords", &[&kafka.bootstrap(), topic], JAVA_WITHIN)
        .expect("Java reads");
    let mut lines = Lines::new();
    for line in printed.lines() {
        let partition = line
            .split('\t')
            .next()
            .and_then(|p| p.parse().ok())
            .expect("a line starts with its partition");
        lines.entry(partition).or_default().push(line.to_owned());
    }
    lines
}

/// What a topic holds: a line for each record of each partition, in order; the form is that of `tests/java/ReadRecords.java`.
type Lines = BTreeMap<usize, Vec<String>>;

fn expected() -> Lines {
    let mut lines = Lines::new();
    for i in 0..RECORDS {
        let Expected {
            key,
            value,
            headers,
            timestamp_ms,
        } = Expected::number(i);
        let of_partition = lines.entry(i % PARTITIONS).or_default();
        let offset = of_partition.len();
        let mut line = format!(
            "{}\t{offset}\t{timestamp_ms}\t{}\t{}",
            i % PARTITIONS,
            hex(key.as_deref()),
            hex(value.as_deref())
        );
        for (name, value) in &headers {
            line += &format!("\t{name}={}", hex(value.as_deref()));
        }
        of_partition.push(line);
    }
    lines
}

/// The record of this number: some keys and values are null, some headers empty, null, or there twice.
struct Expected {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(&'static str, Option<Vec<u8>>)>,
    timestamp_ms: i64,
}

impl Expected {
    fn number(i: usize) -> Expected {
        let key = (i % 5 != 0).then(|| format!("key-{}", i % 50).into_bytes());
        let value =
            (i % 7 != 0).then(|| format!("value-{i}-{}", "abcdefgh".repeat(i % 40)).into_bytes());
        let mut headers = Vec::new();
        if i % 2 == 1 {
            headers.push(("number", Some(i.to_string().into_bytes())));
            headers.push(("number", Some((i + 1).to_string().into_bytes())));
        }
        if i % 3 == 1 {
            headers.push(("empty", Some(Vec::new())));
            headers.push(("null", None));
        }
        Expected {
            key,
            value,
            headers,
            timestamp_ms: 1_700_000_000_000 + i as i64,
        }
    }
}

fn hex(bytes: Option<&[u8]>) -> String {
    match bytes {
        Some(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        None => "-".to_owned(),
    }
}
