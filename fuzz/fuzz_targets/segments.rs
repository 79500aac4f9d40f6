//! A file of a data directory: the first byte says whether a segment at the end of a log, one in the middle, or the metadata log. Whatever stands in it, reading ends in
//! bounded memory; and what was read of it is read again in the same way without what follows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pat_events::broker::fuzzing::{metadata_log, segment};
use pat_events_fuzz::bounded;

/// What is read at once, and what is taken of it.
const CHUNKS: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let most = CHUNKS + 64 * data.len();
    match kind % 3 {
        0 => {
            if let Some((len, batches)) = bounded(most, || segment(data, 0, true)) {
                assert!(len <= data.len());
                assert_eq!(segment(&data[..len], 0, false), Some((len, batches)));
            }
        }
        1 => {
            if let Some((len, _)) = bounded(most, || segment(data, 0, false)) {
                assert_eq!(len, data.len(), "what is in the middle is whole");
            }
        }
        _ => {
            if let Some((keys, len)) = bounded(most, || metadata_log(data)) {
                assert_eq!(metadata_log(&data[..len]), Some((keys, len)));
            }
        }
    }
});
