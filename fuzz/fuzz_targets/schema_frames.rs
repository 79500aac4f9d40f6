//! Ids of schemas in front of data or in a header: the first byte is the length of the header. Whatever they say, looking at them ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::events::RawHeaders;

fuzz_target!(|data: &[u8]| {
    let Some((len, rest)) = data.split_first() else {
        return;
    };
    let (header, data) = rest.split_at(usize::from(*len).min(rest.len()));
    let headers = [("__value_schema_id", Some(header))];
    for headers in [RawHeaders::new(&headers), RawHeaders::new(&[])] {
        if let Some(data_len) = pat_events::events::codec::fuzzing::framed(headers, data) {
            assert!(data_len <= data.len());
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        pat_events::events::codec::fuzzing::message_at(text, &[0, 1]);
    }
});
