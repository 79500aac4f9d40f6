//! What a client reads of token endpoints, tokens, templates of assertions, and AWS's services and files. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::kafka::fuzzing::answers;

fuzz_target!(|data: &[u8]| {
    let [kind, data @ ..] = data else { return };
    answers(*kind, data);
});
