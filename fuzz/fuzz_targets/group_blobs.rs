//! Messages that are no API: what members of a group tell each other, headers, the values of control records. The first
//! byte chooses the message, the second its version.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pat_events_fuzz::fixed_point;
use protocol::messages::BLOBS;

fuzz_target!(|data: &[u8]| {
    let [blob, version, message @ ..] = data else {
        return;
    };
    let codec = &BLOBS[usize::from(*blob) % BLOBS.len()];
    let versions = codec.schema.versions;
    let version = versions.min + i16::from(*version) % (versions.max - versions.min + 1);
    fixed_point(codec, version, Bytes::copy_from_slice(message));
});
