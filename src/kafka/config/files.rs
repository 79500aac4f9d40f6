//! Files that a configuration names, read no further than they may be long. In: a path. Out: the bytes, overwritten when they are dropped.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// All of the file; `None` when it has more than `longest` bytes. Also of what is no regular file, such as a pipe. Blocks.
pub(crate) fn read_bounded(path: &Path, longest: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?
        .take(longest + 1)
        .read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= longest).then_some(bytes))
}
