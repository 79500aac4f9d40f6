//! Data in Avro, read as an event by its own schema and by one that the data brings along: the first byte chooses, what follows up to a zero is
//! the writer's schema. What can be read can be written, and is then the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::events::codec::HasAvroSchema;
use pat_events::events::email::{EmailValidated, TenantEvent};

fuzz_target!(|data: &[u8]| {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    if choice & 1 == 1 {
        let Some(end) = rest.iter().position(|byte| *byte == 0) else {
            return;
        };
        let (Ok(writer), data) = (std::str::from_utf8(&rest[..end]), &rest[end + 1..]) else {
            return;
        };
        if let Ok(reading) = TenantEvent::avro_schema().reading(writer, &[]) {
            let _ = reading.decode::<TenantEvent>(data);
        }
        return;
    }
    if let Ok(event) = EmailValidated::avro_schema().decode::<EmailValidated>(rest) {
        let written = EmailValidated::avro_schema()
            .encode(&event)
            .expect("read by it");
        let again: EmailValidated = EmailValidated::avro_schema()
            .decode(&written)
            .expect("written by it");
        // What is not a number is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{event:?}"));
    }
});
