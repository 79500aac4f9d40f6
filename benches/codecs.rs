//! What an event costs in each encoding: written by its codec, and read. Beside them Avro as `apache-avro`'s generic values have it, to a
//! value and on to the event. In CPU time, the best of several rounds, all cases in turn. `cargo bench --bench codecs`.

#[path = "support/cpu.rs"]
mod cpu;
#[path = "support/email.rs"]
mod sample;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use pat_events::events::codec::{Avro, Codec, HasAvroSchema, Json, Payload, Prepared, Protobuf};
use pat_events::events::email::*;
use sample::email;

const ROUNDS: usize = 5;
/// So many that the time of the system's clock tick is nothing beside it.
const EVENTS: u32 = 200_000;

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

/// What is measured: once for each event.
type Case<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn encode<'a, F: Codec<EmailReceived> + 'a>(
    name: &'static str,
    codec: F,
    event: &'a EmailReceived,
) -> Case<'a> {
    let mut out = encoded(&codec, event);
    let encode = move || {
        let prepared = now(codec.prepare("emails", black_box(event))).expect("encodable");
        codec.write(event, &prepared, &mut out);
        black_box(&out);
    };
    (name, Box::new(encode))
}

fn decode<'a, F: Codec<EmailReceived> + 'a>(
    name: &'static str,
    codec: F,
    event: &EmailReceived,
) -> Case<'a> {
    let data = encoded(&codec, event);
    let decode = move || {
        let payload = Payload::new(black_box(&data));
        black_box(now(codec.decode(&payload)).expect("well formed"));
    };
    (name, Box::new(decode))
}

fn main() {
    let event = email(1);
    let schema =
        apache_avro::Schema::parse_str(EmailReceived::avro_schema().text()).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build();
    let reader = reader.expect("a reader");
    let writer = GenericDatumWriter::builder(&schema).build();
    let writer = writer.expect("a writer");
    let data = encoded(&Avro, &event);
    let value = reader.read_value(&mut &data[..]).expect("well formed");
    let mut cases = [
        encode("protobuf encode", Protobuf, &event),
        decode("protobuf decode", Protobuf, &event),
        encode("avro encode", Avro, &event),
        decode("avro decode", Avro, &event),
        encode("json encode", Json, &event),
        decode("json decode", Json, &event),
        // From a value that is there already: it is taken whole, so each needs one of its own.
        (
            "apache-avro Value encode",
            Box::new(|| {
                let value = black_box(&value).clone();
                black_box(writer.write_value_to_vec(value).expect("written"));
            }),
        ),
        (
            "apache-avro Value clone",
            Box::new(|| drop(black_box(black_box(&value).clone()))),
        ),
        // To a value, and no further.
        (
            "apache-avro Value decode",
            Box::new(|| {
                let mut data = black_box(&data[..]);
                black_box(reader.read_value(&mut data).expect("well formed"));
            }),
        ),
        // To the event, as ours.
        (
            "apache-avro event decode",
            Box::new(|| {
                let mut data = black_box(&data[..]);
                let value = reader.read_value(&mut data).expect("well formed");
                let event = apache_avro::from_value::<EmailReceived>(&value);
                black_box(event.expect("an event"));
            }),
        ),
    ];
    let mut best = [Duration::MAX; 10];
    for _ in 0..ROUNDS {
        for (best, (_, case)) in best.iter_mut().zip(&mut cases) {
            let Some(before) = cpu::used() else {
                return println!("CPU time is measured on Linux only");
            };
            for _ in 0..EVENTS {
                case();
            }
            *best = (*best).min(cpu::used().unwrap_or(before) - before);
        }
    }
    let nanos = best.map(|it| it.as_secs_f64() * 1e9 / f64::from(EVENTS));
    for (nanos, (name, _)) in nanos.iter().zip(&cases) {
        println!("{name:26} {nanos:9.1} ns of CPU an event");
    }
    let [
        ..,
        avro_encode,
        avro_decode,
        _,
        _,
        encode,
        clone,
        value,
        decode,
    ] = nanos;
    println!(
        "avro is {:.1} times as fast as apache-avro's values when it encodes ({:.1} times without their clone), and {:.1} times when it decodes \
         ({:.1} times what they take to a value)",
        encode / avro_encode,
        (encode - clone) / avro_encode,
        decode / avro_decode,
        value / avro_decode,
    );
}
