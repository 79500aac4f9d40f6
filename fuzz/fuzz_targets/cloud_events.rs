//! The headers of records, read as a CloudEvent. Each header is a byte that chooses its name (or says that one follows), a byte for the
//! length of its value (255: null), and both. What is read can be read again from what it says.
#![no_main]

use std::pin::pin;
use std::task::{Context as TaskContext, Waker};

use libfuzzer_sys::fuzz_target;
use pat_events::events::codec::Protobuf;
use pat_events::events::email::EmailReceived;
use pat_events::events::{CloudEvent, Context, RawHeaders, RawRecord};

const NAMES: [&str; 12] = [
    "ce_specversion",
    "ce_type",
    "ce_id",
    "ce_source",
    "ce_time",
    "ce_subject",
    "ce_dataschema",
    "content-type",
    "ce_tenantid",
    "ce_traceparent",
    "ce_tracestate",
    "x",
];

type Header<'a> = (&'a str, Option<&'a [u8]>);

fn header<'a>(data: &mut &'a [u8]) -> Option<Header<'a>> {
    let name = match usize::from(*data.split_off_first()?) {
        chosen if chosen < NAMES.len() => NAMES[chosen],
        len => std::str::from_utf8(data.split_off(..len.min(data.len()))?).unwrap_or("?"),
    };
    let value = match *data.split_off_first()? {
        u8::MAX => None,
        len => Some(data.split_off(..usize::from(len).min(data.len()))?),
    };
    Some((name, value))
}

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    let headers: Vec<Header<'_>> = std::iter::from_fn(|| header(&mut rest)).collect();
    let Ok(event) = CloudEvent::parse(headers.iter().copied()) else {
        return;
    };
    let said = [
        ("ce_type", event.event_type),
        ("ce_id", event.id),
        ("ce_source", event.source),
        ("ce_time", event.time),
        ("ce_subject", event.subject),
        ("ce_dataschema", event.data_schema),
        ("content-type", event.content_type),
        ("ce_tenantid", event.tenant_id),
        ("ce_traceparent", event.traceparent),
        ("ce_tracestate", event.tracestate),
    ];
    let said: Vec<Header<'_>> = said
        .into_iter()
        .filter_map(|(name, value)| Some((name, Some(value?.as_bytes()))))
        .collect();
    assert_eq!(CloudEvent::parse(said.iter().copied()), Ok(event));
    let mut record = RawRecord::new("t", 0, 0);
    record.value = Some(data);
    record.headers = RawHeaders::new(&headers);
    let context = Context::new(record);
    assert_eq!(context.event_type(), Ok(event.event_type));
    let _ = context.attribute("traceparent");
    let decoded = pin!(context.decode::<EmailReceived, _>(&Protobuf))
        .poll(&mut TaskContext::from_waker(Waker::noop()));
    assert!(decoded.is_ready(), "Protobuf waits for nothing");
});
