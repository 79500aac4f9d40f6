//! Names that no other run of the program has. In: what kind of thing it is. Out: its name.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// `prefix`, a dash and 16 random hexadecimal digits: two programs that start in the same millisecond share neither topic nor group.
pub fn unique_name(prefix: &str) -> String {
    format!(
        "{prefix}-{:016x}",
        RandomState::new().hash_one(SystemTime::now())
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_the_same_moment_differ_and_none_begins_with_another() {
        let names: BTreeSet<_> = (0..1_000).map(|_| unique_name("run")).collect();
        assert_eq!(names.len(), 1_000);
        assert!(names.iter().all(|name| name.len() == "run-".len() + 16));
    }
}
