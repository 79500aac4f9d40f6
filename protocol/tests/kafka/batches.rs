//! Kafka's classes read our record batches, and we read theirs. In: batches of every codec, ours, and Java's of every
//! magic. Out: counts. Both sides describe each batch with the same text.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use bytes::Bytes;
use pat_kafka_protocol::compression::{Codec, Compression, Compressor, Decompressor};
use pat_kafka_protocol::records::{BatchBuilder, BatchIter, SealOptions};

use crate::support::java::{Jdk, folder};

const JAVA_WITHIN: Duration = Duration::from_secs(120);
const LIMIT: usize = 64 << 20;

pub fn compare(jdk: &Jdk) {
    let ours: Vec<Bytes> = our_batches();
    let lines: Vec<String> = ours.iter().map(|batch| hex(Some(batch))).collect();
    let file = folder().join(format!("batches-{}", std::process::id()));
    fs::write(&file, lines.join("\n")).expect("target/kafka can be written");
    let path = file.to_str().expect("a path of text");
    let printed = jdk
        .run("RecodeBatches", &[path], JAVA_WITHIN)
        .expect("Java reads and writes");
    let _ = fs::remove_file(&file);

    let mut printed = printed.lines();
    for batch in &ours {
        assert_eq!(
            printed.next(),
            Some(&*text(batch.clone())),
            "what Java reads in our batch, and what we read"
        );
    }
    let mut made = 0;
    for line in printed {
        let mut parts = line.split(' ');
        let mut part = || parts.next().expect("four parts");
        let (magic, codec, bytes, expected) = (part(), part(), part(), part());
        let bytes = from_hex(bytes);
        for batch in BatchIter::strict(bytes.clone()).map(Result::unwrap) {
            assert_eq!(batch.magic().to_string(), magic);
            assert_eq!(batch.codec().expect("a codec").name(), codec);
        }
        assert_eq!(text(bytes), expected, "magic {magic}, {codec}");
        made += 1;
    }
    assert_eq!(made, 13 * 8, "batches that Java made");
    println!("Java: {} of our batches, {made} of Java's", ours.len());
}

/// Batches of every codec, of one record to many, with and without an idempotent producer.
fn our_batches() -> Vec<Bytes> {
    let levels = ["gzip:1", "gzip:9", "zstd:1", "zstd:19", "zstd:-5"];
    let codecs = Codec::ALL.map(Compression::new);
    let levels = levels.map(|level| level.parse().expect("a level"));
    let mut batches = Vec::new();
    for compression in codecs.into_iter().chain(levels) {
        let mut compressor = Compressor::new(compression);
        for count in [1, 2, 40, 400] {
            let options = SealOptions {
                producer_id: 12,
                producer_epoch: 3,
                base_sequence: count,
                transactional: true,
                control: false,
            };
            for options in [SealOptions::default(), options] {
                let batch = our_batch(count).seal(&options, &mut compressor);
                batches.push(batch.into_bytes());
            }
        }
    }
    batches
}

fn our_batch(count: i32) -> BatchBuilder {
    let mut batch = BatchBuilder::new(Vec::new());
    for index in 0..i64::from(count) {
        let key = format!("key {index}");
        let value = "some value or other ".repeat(index as usize % 40);
        let headers = [
            ("name", Some(value.as_bytes())),
            ("empty", None),
            ("ü", Some(b"")),
        ];
        batch
            .append(
                1_700_000_000_000 + (index * 7919) % 100_000 - 50_000,
                (index % 5 != 4).then_some(key.as_bytes()),
                (index % 7 != 6).then_some(value.as_bytes()),
                headers[..index as usize % 4].iter().copied(),
            )
            .expect("room");
    }
    batch
}

/// What stands in the batches, as `RecodeBatches.java` has it.
fn text(bytes: Bytes) -> String {
    let mut text = String::new();
    let mut decompressor = Decompressor::new();
    for batch in BatchIter::strict(bytes).map(|batch| batch.expect("a batch")) {
        batch.verify_crc().expect("its CRC");
        if text.is_empty() {
            let stamp = (
                batch.producer_id(),
                batch.producer_epoch(),
                batch.base_sequence(),
            );
            let flags = (batch.is_transactional(), batch.is_control());
            write!(
                text,
                "{}/{}/{}/{}/{}",
                stamp.0, stamp.1, stamp.2, flags.0, flags.1
            )
            .expect("a string takes it");
        }
        let decoded = batch.decode(&mut decompressor, LIMIT).expect("its records");
        for record in decoded.records().map(|record| record.expect("a record")) {
            let (key, value) = (hex(record.key), hex(record.value));
            write!(
                text,
                ";{}:{}:{key}:{value}:",
                record.offset, record.timestamp_ms
            )
            .expect("a string takes it");
            for header in record.headers {
                write!(text, "{}={},", header.key_text(), hex(header.value))
                    .expect("a string takes it");
            }
        }
    }
    text
}

fn hex(bytes: Option<&[u8]>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let Some(bytes) = bytes else {
        return "-".to_owned();
    };
    let digit = |digit: u8| char::from(DIGITS[usize::from(digit)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn from_hex(text: &str) -> Bytes {
    text.as_bytes()
        .chunks(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("ASCII");
            u8::from_str_radix(pair, 16).expect("hex")
        })
        .collect()
}
