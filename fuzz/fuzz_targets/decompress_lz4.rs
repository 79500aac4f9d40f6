//! Bytes that claim to be lz4: no panic, the limit holds, and content survives another round.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::compression::Codec;

fuzz_target!(|data: &[u8]| pat_events_fuzz::codecs::decompress(Codec::Lz4, data));
