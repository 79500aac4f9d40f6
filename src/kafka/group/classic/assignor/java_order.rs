//! The order in which Java walks its hash tables. Where Java's assignors break a tie by it, ours do the same: whichever member leads, a group
//! of ours and Java's members gets one assignment.

/// `String.hashCode`.
pub(super) fn string_hash(text: &str) -> i32 {
    let step = |hash: i32, unit: u16| hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    text.encode_utf16().fold(0, step)
}

/// `TopicPartition.hashCode`.
pub(super) fn partition_hash(topic_hash: i32, partition: i32) -> i32 {
    let hash = 31_i32.wrapping_add(partition);
    hash.wrapping_mul(31).wrapping_add(topic_hash)
}

/// How many buckets a table has that has held so many entries, and began with none.
pub(super) fn buckets(entries: usize) -> usize {
    let mut buckets = 16;
    while entries * 4 > buckets * 3 {
        buckets *= 2;
    }
    buckets
}

/// The bucket of a hash.
pub(super) fn bucket(hash: i32, buckets: usize) -> usize {
    let hash = hash.cast_unsigned();
    (hash ^ (hash >> 16)) as usize & (buckets - 1)
}

/// The indices of `keys` in the order in which a `HashMap` that they were put into one after the other is walked.
pub(super) fn walk<'a>(keys: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let hashes: Vec<i32> = keys.map(string_hash).collect();
    let buckets = buckets(hashes.len());
    let mut order: Vec<usize> = (0..hashes.len()).collect();
    order.sort_by_key(|index| bucket(hashes[*index], buckets));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(string_hash(""), 0);
        assert_eq!(string_hash("consumer-1"), -166_239_206);
        assert_eq!(partition_hash(string_hash("t"), 3), 31 * 34 + 116);
    }

    #[test]
    fn a_table_grows_when_it_is_three_quarters_full() {
        let grown = [(0, 16), (12, 16), (13, 32), (24, 32), (25, 64)];
        for (entries, expected) in grown {
            assert_eq!(buckets(entries), expected, "{entries} entries");
        }
    }
}
