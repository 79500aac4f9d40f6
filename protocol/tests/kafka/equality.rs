//! Kafka's classes write and read the same bytes. In: samples of every message and version, and messages that Java makes.
//! Out: counts. What we wrote, Java reads to the end and writes again; what Java wrote, we read to the end and write
//! again; the bytes are the same each time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use pat_kafka_protocol::api::Codec;
use pat_kafka_protocol::messages::{APIS, codecs};
use pat_kafka_protocol::sample;

use crate::support::java::{Jdk, folder};

const CASES: u64 = 16;
const JAVA_WITHIN: Duration = Duration::from_secs(120);

pub fn compare(jdk: &Jdk) {
    let names: BTreeMap<String, &Codec> = codecs()
        .map(|codec| (java_class(codec.schema.name), codec))
        .collect();
    let versions: usize = names
        .values()
        .map(|codec| codec.schema.versions.iter().count())
        .sum();
    let ours = our_lines(&names);
    let file = folder().join(format!("messages-{}", std::process::id()));
    fs::write(&file, &ours).expect("target/kafka can be written");
    let path = file.to_str().expect("a path of text");
    let theirs = jdk
        .run("RecodeMessages", &[path, &CASES.to_string()], JAVA_WITHIN)
        .expect("Java reads and writes");
    let _ = fs::remove_file(&file);

    let count = ours.lines().count();
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(
            ours, theirs,
            "what we wrote, and what Java wrote after reading it"
        );
    }
    let mut made = 0;
    for line in theirs.lines().skip(count) {
        recode_java(line, &names);
        made += 1;
    }
    assert_eq!(made, versions * CASES as usize, "messages that Java made");
    println!(
        "Java: {} messages, {versions} versions; {count} of ours, {made} of Java's",
        names.len()
    );
}

fn our_lines(names: &BTreeMap<String, &Codec>) -> String {
    let mut lines = String::new();
    for (name, codec) in names {
        for version in codec.schema.versions.iter() {
            for seed in 0..CASES {
                let sample = sample::sample(codec.schema, version, &mut sample::random(seed));
                let bytes = (codec.recode)(sample, version)
                    .expect("a sample is valid")
                    .expect("and can be written");
                writeln!(lines, "{name} {version} {}", hex(&bytes))
                    .expect("a string takes whatever is written");
            }
        }
    }
    lines
}

fn recode_java(line: &str, names: &BTreeMap<String, &Codec>) {
    let parts: Vec<&str> = line.split(' ').collect();
    let [name, version, bytes] = parts[..] else {
        panic!("name, version, bytes: {line}")
    };
    let bytes = Bytes::from(unhex(bytes));
    let version = version.parse().expect("a version");
    let again = (names[name].recode)(bytes.clone(), version)
        .unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(
        again.unwrap_or_else(|error| panic!("{error}: {line}")),
        bytes,
        "{line}"
    );
}

/// Messages of the wire have classes that end in `Data`; records and blobs are called as they are.
fn java_class(name: &str) -> String {
    let of_the_wire = APIS
        .iter()
        .any(|api| [api.request.schema.name, api.response.schema.name].contains(&name));
    let header = ["RequestHeader", "ResponseHeader"].contains(&name);
    format!("{name}{}", if of_the_wire || header { "Data" } else { "" })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| {
        text.get(at..at + 2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
    };
    (0..text.len())
        .step_by(2)
        .map(|at| digit(at).expect("hex"))
        .collect()
}
