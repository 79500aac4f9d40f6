//! Every request, by key and version.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events_fuzz::{choose, fixed_point};

fuzz_target!(|data: &[u8]| {
    if let Some((api, version, message)) = choose(data) {
        fixed_point(&api.request, version, message);
    }
});
