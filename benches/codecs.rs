//! What an event costs in each encoding: written by its codec, and read. Beside them Avro as `apache-avro`'s generic values have it, without
//! what it takes to make events of those. `cargo bench --bench codecs`.

#[path = "support/email.rs"]
mod sample;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use divan::Bencher;
use divan::counter::ItemsCount;
use pat_events::events::codec::{Avro, Codec, HasAvroSchema, Json, Payload, Prepared, Protobuf};
use pat_events::events::email::*;
use sample::email;

fn main() {
    divan::main();
}

const MANY: usize = 100;

/// What no codec here waits for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("these codecs wait for nothing"),
    }
}

fn encoded<F: Codec<EmailReceived>>(codec: &F, event: &EmailReceived) -> Vec<u8> {
    let prepared = now(codec.prepare("emails", event)).expect("encodable");
    let mut out = vec![0; prepared.encoded_len()];
    codec.write(event, &prepared, &mut out);
    out
}

fn encode<F: Codec<EmailReceived>>(bencher: Bencher<'_, '_>, codec: F) {
    let event = email(1);
    let mut out = encoded(&codec, &event);
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for _ in 0..MANY {
            let event = divan::black_box(&event);
            let prepared = now(codec.prepare("emails", event)).expect("encodable");
            codec.write(event, &prepared, &mut out);
        }
    });
}

fn decode<F: Codec<EmailReceived>>(bencher: Bencher<'_, '_>, codec: F) {
    let data = encoded(&codec, &email(1));
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for _ in 0..MANY {
            let payload = Payload::new(divan::black_box(&data));
            divan::black_box(now(codec.decode(&payload)).expect("well formed"));
        }
    });
}

#[divan::bench]
fn protobuf_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, Protobuf);
}

#[divan::bench]
fn protobuf_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, Protobuf);
}

#[divan::bench]
fn avro_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, Avro);
}

#[divan::bench]
fn avro_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, Avro);
}

#[divan::bench]
fn json_encode(bencher: Bencher<'_, '_>) {
    encode(bencher, Json);
}

#[divan::bench]
fn json_decode(bencher: Bencher<'_, '_>) {
    decode(bencher, Json);
}

/// From a value that is there already.
#[divan::bench]
fn apache_avro_value_encode(bencher: Bencher<'_, '_>) {
    let schema =
        apache_avro::Schema::parse_str(EmailReceived::avro_schema().text()).expect("a schema");
    let reader = GenericDatumReader::builder(&schema)
        .build()
        .expect("a reader");
    let value = reader
        .read_value(&mut &encoded(&Avro, &email(1))[..])
        .expect("well formed");
    let writer = GenericDatumWriter::builder(&schema)
        .build()
        .expect("a writer");
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for _ in 0..MANY {
            divan::black_box(
                writer
                    .write_value_to_vec(divan::black_box(&value).clone())
                    .expect("written"),
            );
        }
    });
}

/// To a value, and no further.
#[divan::bench]
fn apache_avro_value_decode(bencher: Bencher<'_, '_>) {
    let schema =
        apache_avro::Schema::parse_str(EmailReceived::avro_schema().text()).expect("a schema");
    let reader = GenericDatumReader::builder(&schema)
        .build()
        .expect("a reader");
    let data = encoded(&Avro, &email(1));
    bencher.counter(ItemsCount::new(MANY)).bench_local(|| {
        for _ in 0..MANY {
            divan::black_box(
                reader
                    .read_value(&mut divan::black_box(&data[..]))
                    .expect("well formed"),
            );
        }
    });
}
