//! Frames as they come off a socket: length, header, message. The first byte chooses the side of the wire; for a client
//! the second and third choose what it had asked.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pat_events_fuzz::{choose, fixed_point};
use protocol::api::Api;
use protocol::frame::{LENGTH_BYTES, decode_request_header, decode_response_header, frame_length};
use protocol::{ApiKey, Decoder};

const MAX_FRAME_BYTES: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    match data {
        [0, frame @ ..] => broker(frame),
        [_, frame @ ..] => client(frame),
        [] => {}
    }
});

fn broker(bytes: &[u8]) {
    let Some(mut input) = frame(bytes) else {
        return;
    };
    let Ok(header) = decode_request_header(&mut input) else {
        return;
    };
    let Some(api) = Api::of(ApiKey(header.request_api_key)) else {
        return;
    };
    let rest = input.remaining();
    let message = input.take(rest).expect("what remains can be taken");
    if api
        .request
        .schema
        .versions
        .contains(header.request_api_version)
    {
        fixed_point(&api.request, header.request_api_version, message);
    }
}

fn client(bytes: &[u8]) {
    let Some((api, version, bytes)) = choose(bytes) else {
        return;
    };
    let Some(mut input) = frame(&bytes) else {
        return;
    };
    if decode_response_header(&mut input, api.key, version).is_ok() {
        let rest = input.remaining();
        let message = input.take(rest).expect("what remains can be taken");
        fixed_point(&api.response, version, message);
    }
}

fn frame(bytes: &[u8]) -> Option<Decoder> {
    let length = frame_length(*bytes.first_chunk::<LENGTH_BYTES>()?, MAX_FRAME_BYTES).ok()?;
    let frame = bytes[LENGTH_BYTES..].get(..length)?;
    Some(Decoder::new(Bytes::copy_from_slice(frame)))
}
