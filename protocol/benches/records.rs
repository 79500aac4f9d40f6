//! What a record costs on its way through a batch: append, seal with each codec, decode and iterate.
//! A batch is 500 records of about 300 bytes, as an email event with its key is.

use std::mem;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pat_kafka_protocol::compression::{Codec, Compressor, Decompressor};
use pat_kafka_protocol::records::{BatchBuilder, RecordBatch, SealOptions, reclaim};

const RECORDS: usize = 500;
const LIMIT: usize = 64 << 20;

fn main() {
    divan::main();
}

/// Keys and values that compress about as well as events do.
fn events() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut state = 7u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    let event = |index: usize| {
        let key = format!("{:08x}-{:08x}-{index:08}", random(), random()).into_bytes();
        let mut value = format!("email.received tenant-{} subject ", random() % 50);
        while value.len() < 270 {
            let word = ["invoice", "order", "user@example.com", "delivered", "inbox"];
            value += word[random() as usize % word.len()];
            value += &format!("-{:x} ", random());
        }
        (key, value.into_bytes())
    };
    (0..RECORDS).map(event).collect()
}

fn fill(buffer: Vec<u8>, events: &[(Vec<u8>, Vec<u8>)]) -> BatchBuilder {
    let mut batch = BatchBuilder::new(buffer);
    for (index, (key, value)) in events.iter().enumerate() {
        let timestamp = 1_700_000_000_000 + index as i64 / 10;
        let _ = batch.append(timestamp, Some(key), Some(value), []);
    }
    batch
}

fn sealed(codec: Codec) -> Bytes {
    let mut compressor = Compressor::new(codec.into());
    fill(Vec::new(), &events())
        .seal(&SealOptions::default(), &mut compressor)
        .into_bytes()
}

#[divan::bench]
fn append(bencher: Bencher<'_, '_>) {
    let events = events();
    let mut buffer = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        buffer = fill(mem::take(&mut buffer), black_box(&events)).into_buffer();
    });
}

#[divan::bench(args = Codec::ALL)]
fn append_and_seal(bencher: Bencher<'_, '_>, codec: Codec) {
    let events = events();
    let mut compressor = Compressor::new(codec.into());
    let mut buffer = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = fill(mem::take(&mut buffer), black_box(&events));
        let sealed = batch.seal(&SealOptions::default(), &mut compressor);
        buffer = reclaim(sealed.into_bytes()).unwrap_or_default();
    });
}

#[divan::bench]
fn verify_crc(bencher: Bencher<'_, '_>) {
    let batch = RecordBatch::read(sealed(Codec::None));
    bencher
        .counter(ItemsCount::new(RECORDS))
        .bench_local(|| batch.as_ref().map(RecordBatch::verify_crc));
}

#[divan::bench(args = Codec::ALL)]
fn decode_and_iterate(bencher: Bencher<'_, '_>, codec: Codec) {
    let bytes = sealed(codec);
    let mut decompressor = Decompressor::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let batch = RecordBatch::read(black_box(&bytes).clone())?;
        let decoded = batch.decode(&mut decompressor, LIMIT)?;
        decoded.records().try_fold(0, |sum, record| {
            record.map(|record| sum + record.offset + record.value.map_or(0, <[u8]>::len) as i64)
        })
    });
}
