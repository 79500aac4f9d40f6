//! The bytes of a broker from connecting to the end of SASL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::kafka::fuzzing::handshake;

fuzz_target!(|data: &[u8]| handshake(data));
