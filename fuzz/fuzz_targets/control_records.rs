//! Control records, as a consumer reads them from a batch. The first byte is the length of the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::records::ControlRecord;

fuzz_target!(|data: &[u8]| {
    let [length, rest @ ..] = data else { return };
    let (key, value) = rest.split_at(usize::from(*length).min(rest.len()));
    let Ok(record) = ControlRecord::parse(Some(key), Some(value)) else {
        return;
    };
    let value = record.marker_value();
    let again = ControlRecord::parse(Some(&record.key()), value.as_ref().map(|value| &value[..]));
    assert_eq!(again.expect("what was encoded can be decoded"), record);
});
