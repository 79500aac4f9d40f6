//! What the fuzz targets of messages share. In: bytes from the fuzzer. Out: a panic when a rule is broken.
//!
//! - `.ci/fuzz 600` builds all targets, seeds their corpora and fuzzes each for 600 seconds; `.ci/fuzz 14400 frames` one for four
//!   hours. `.ci/run` runs all of them for a minute together.
//! - `cargo run --manifest-path fuzz/Cargo.toml --bin seeds` writes the seeds alone: every message and version, every codec.
//! - `RUSTC_BOOTSTRAP=1 cargo fuzz run frames` works as well, on the same corpora.
//!
//! An input of `requests` and `responses` is one byte that chooses the API, one that chooses the version, and the message.

pub mod codecs;

use bytes::Bytes;
use protocol::api::{Api, Codec};
use protocol::messages::APIS;

/// The API and version that the first two bytes choose, and the message.
pub fn choose(data: &[u8]) -> Option<(&'static Api, i16, Bytes)> {
    let [api, version, message @ ..] = data else {
        return None;
    };
    let api = &APIS[usize::from(*api) % APIS.len()];
    let versions = api.request.schema.versions;
    let count = versions.max - versions.min + 1;
    Some((
        api,
        versions.min + i16::from(*version) % count,
        Bytes::copy_from_slice(message),
    ))
}

/// Memory for the contexts of all codecs, however small the input.
pub const CONTEXTS: usize = 1 << 20;

/// Runs `work`, which must not hold more than `most` bytes at any time.
pub fn bounded<T>(most: usize, work: impl FnOnce() -> T) -> T {
    let mut result = None;
    let taken = allocation_counter::measure(|| result = Some(work()));
    assert!(taken.bytes_max <= most as u64, "{taken:?}, but {most}");
    result.expect("it was run")
}

/// What was decoded is encoded to bytes that are decoded and encoded to the same bytes; and what can be decoded can be
/// rendered, and nothing else can. Memory is bounded by the input: 128 bytes for each of its own and 4 KiB to decode and encode, 1,024 for
/// each and the codecs' contexts to render.
pub fn fixed_point(codec: &Codec, version: i16, message: Bytes) {
    let len = message.len();
    let decoded = bounded(128 * len + 4096, || {
        (codec.recode)(message.clone(), version)
    });
    let rendered = bounded(1024 * len + CONTEXTS, || {
        protocol::json::render(codec.schema, version, message)
    });
    assert_eq!(
        decoded.is_ok(),
        rendered.is_ok(),
        "{decoded:?}, but {rendered:?}"
    );
    let Ok(encoded) = decoded else { return };
    let encoded = encoded.expect("what was decoded can be encoded");
    let again = (codec.recode)(encoded.clone(), version).expect("what was encoded can be decoded");
    assert_eq!(
        again.expect("and encoded again"),
        encoded,
        "{} v{version}",
        codec.schema.name
    );
}
