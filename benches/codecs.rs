//! What an event costs in each encoding: written by its codec, and read. Beside them Avro as `apache-avro`'s generic values have it, without
//! what it takes to make events of those. `cargo bench --bench codecs`.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use divan::Bencher;
use divan::counter::ItemsCount;
use pat_events::events::codec::{Avro, Codec, HasAvroSchema, Json, Payload, Prepared, Protobuf};
use pat_events::events::email::*;
use pat_events::events::prost_types::Timestamp;

fn main() {
    divan::main();
}

const MANY: usize = 100;

/// An email as they come: some headers, two recipients, one attachment.
fn email() -> EmailReceived {
    let address = |name: &str| EmailAddress {
        address: format!("{name}@example.org"),
        display_name: name.to_string(),
    };
    let header = |name: &str, value: &str| EmailHeader {
        name: name.into(),
        value: value.into(),
    };
    EmailReceived {
        email_id: "01a209f2-1dd1-7af4-afd1-000000000001".into(),
        tenant_id: "tenant-42".into(),
        message_id: "CAF8Q=yQ0b1@mail.example.org".into(),
        from_address: Some(address("ann")),
        to_addresses: vec![address("bob"), address("cid")],
        subject: "Minutes of the meeting on Thursday".into(),
        headers: vec![
            header(
                "Received",
                "from mx1.example.org (mx1.example.org [192.0.2.7]) by mail.example.net",
            ),
            header(
                "DKIM-Signature",
                "v=1; a=rsa-sha256; d=example.org; s=k1; bh=47DEQpj8HBSa",
            ),
            header("Content-Type", "multipart/mixed; boundary=\"b1\""),
        ],
        size_bytes: 48_213,
        sent_at: Some(Timestamp {
            seconds: 1_795_463_192,
            nanos: 17_000_000,
        }),
        ingest_protocol: IngestProtocol::Smtp.into(),
        attachments: vec![Attachment {
            attachment_id: "a-1".into(),
            filename: "minutes.pdf".into(),
            content_type: "application/pdf".into(),
            size_bytes: 40_112,
            ..Default::default()
        }],
        storage_uri: "s3://mail/2026/11/23/01a209f2".into(),
        ..Default::default()
    }
}

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
    let event = email();
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
    let data = encoded(&codec, &email());
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
        .read_value(&mut &encoded(&Avro, &email())[..])
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
    let data = encoded(&Avro, &email());
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
