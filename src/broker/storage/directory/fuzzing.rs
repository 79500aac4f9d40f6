//! What reads a data directory's files, for the fuzz targets: bytes instead of files.

use super::metadata;
use super::scan::recover;

/// Recovers a segment that is the last of its log, or not. Returns how many bytes of it are batches, and how many batches those are; none where it is
/// damaged.
pub fn segment(bytes: &[u8], base_offset: i64, is_last: bool) -> Option<(usize, usize)> {
    let mut batches = 0;
    let recovered = recover(bytes, bytes.len() as u64, base_offset, is_last, |_, _| {
        batches += 1;
    });
    let recovered = recovered.ok()?.ok()?;
    Some((usize::try_from(recovered.len).ok()?, batches))
}

/// Reads a metadata log. Returns how many keys it has, and how many bytes of it count; none where it is damaged.
pub fn metadata_log(bytes: &[u8]) -> Option<(usize, usize)> {
    let read = metadata::read(bytes, bytes.len() as u64).ok()?.ok()?;
    let keys = read.values.len();
    // What can be read is written as it was.
    for key in read.values.keys() {
        let again = super::Key::read(key)?.to_bytes();
        assert_eq!(again, key[..]);
    }
    Some((keys, usize::try_from(read.len).ok()?))
}

/// A metadata log of these transactional ids, for a corpus.
pub fn sample_metadata_log(ids: &[&str]) -> Vec<u8> {
    let changes = ids.iter().map(|id| {
        let key = super::Key::Transaction((*id).to_owned());
        super::Change::put(&key, &super::number_to_bytes(1))
    });
    metadata::batch_of(&changes.collect::<Vec<_>>(), 0).unwrap_or_default()
}
