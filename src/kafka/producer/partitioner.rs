//! Which partition a record goes to. In: the record and what is known of the topic's partitions. Out: a partition's number.
//!
//! Keyed records follow murmur2, exactly as Java's producer does it, or one of librdkafka's hashes; keyless ones stick to one partition until
//! it has had its share of bytes, and then move to one that has little waiting (KIP-480, KIP-794).

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::kafka::config::values::Kind;
use crate::kafka::{Error, Random, Record, Result};

/// How records without a partition of their own find one. By name (`partitioner`) as librdkafka calls them; each has its hash, and the same
/// key goes where that client would have sent it.
///
/// What has no hash sticks to a partition for a while (KIP-480, KIP-794), where librdkafka draws one at random.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Partitioner {
    /// `murmur2_random`: keyed records by murmur2 of the key, as Java's default.
    #[default]
    Default,
    /// `murmur2`: as the default; those without a key as if theirs were empty.
    Murmur2,
    /// `consistent_random`, librdkafka's default: by CRC-32 of the key; an empty key is as none.
    ConsistentRandom,
    /// `consistent`: by CRC-32 of the key; those without a key as if theirs were empty.
    Consistent,
    /// `fnv1a_random`: by FNV-1a of the key, as Sarama's default.
    Fnv1aRandom,
    /// `fnv1a`: by FNV-1a of the key; those without a key as if theirs were empty.
    Fnv1a,
    /// `random`: whatever the key.
    Random,
    /// The application decides.
    Custom(Arc<dyn Partition>),
}

impl Partitioner {
    /// What `partitioner` takes.
    pub(super) const KIND: Kind<Partitioner> = Kind::any(
        "murmur2_random, murmur2, consistent_random, consistent, fnv1a_random, fnv1a or random",
    );

    /// The partition of a record with this key; `None` where no hash decides.
    #[inline]
    pub(super) fn of_key(&self, key: Option<&[u8]>, partitions: i32) -> Option<i32> {
        let hash = match self {
            Self::Default => return key.map(|key| partition_of_key(key, partitions)),
            Self::Murmur2 => return Some(partition_of_key(key.unwrap_or_default(), partitions)),
            Self::ConsistentRandom => crc32(key.filter(|key| !key.is_empty())?),
            Self::Consistent => crc32(key.unwrap_or_default()),
            Self::Fnv1aRandom => fnv1a(key?),
            Self::Fnv1a => fnv1a(key.unwrap_or_default()),
            Self::Random | Self::Custom(_) => return None,
        };
        Some((hash % partitions.max(1) as u32) as i32)
    }
}

/// Reads librdkafka's names.
impl FromStr for Partitioner {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "murmur2_random" => Self::Default,
            "murmur2" => Self::Murmur2,
            "consistent_random" => Self::ConsistentRandom,
            "consistent" => Self::Consistent,
            "fnv1a_random" => Self::Fnv1aRandom,
            "fnv1a" => Self::Fnv1a,
            "random" => Self::Random,
            _ => return Err(Self::KIND.refusal("partitioner", text)),
        })
    }
}

/// An application's own choice of partitions.
pub trait Partition: Debug + Send + Sync + 'static {
    /// The partition, from 0 up to, not including, `partitions`. Called once a record, by the task that enqueues it: keep it short.
    fn partition(&self, record: &Record<'_>, partitions: i32) -> i32;
}

/// The partition of `key` among `partitions`, as Java's default partitioner computes it.
pub fn partition_of_key(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    (positive % partitions.max(1) as u32) as i32
}

/// CRC-32 as in Ethernet and zip.
fn crc32(key: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ TABLE[(crc as u8 ^ byte) as usize];
    !key.iter().fold(!0, step)
}

/// The 32-bit FNV-1a, without its sign, as librdkafka and Sarama take it.
fn fnv1a(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    (key.iter().fold(0x811c_9dc5, step) as i32).unsigned_abs()
}

/// The 32-bit MurmurHash2 that Kafka's clients agree on.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// Where a topic's keyless records go at the moment.
///
/// Shared by all tasks without a lock: two of them may both move on, which costs nothing but an early move.
#[derive(Debug)]
pub(super) struct Sticky {
    partition: AtomicU32,
    /// Bytes that the partition may still have before the next one's turn; starts used up.
    left: AtomicU64,
    share: u64,
    random: AtomicU64,
}

impl Sticky {
    /// A topic whose partitions each get `share_bytes` at a time; `random` seeds the choice.
    pub fn new(share_bytes: usize, random: &mut Random) -> Self {
        Self {
            partition: AtomicU32::new(0),
            left: AtomicU64::new(0),
            share: share_bytes.max(1) as u64,
            random: AtomicU64::new(random.next_u64()),
        }
    }

    /// The partition of a keyless record of `bytes`. `waiting` tells how many bytes wait in a partition, `None` where it has no leader.
    pub fn partition(
        &self,
        bytes: usize,
        partitions: i32,
        waiting: impl Fn(i32) -> Option<usize>,
    ) -> i32 {
        let (bytes, left) = (bytes as u64, self.left.load(Relaxed));
        let current = self.partition.load(Relaxed) as i32;
        if left > 0 && current < partitions {
            self.left.store(left.saturating_sub(bytes), Relaxed);
            return current;
        }
        let next = self.choose(partitions, waiting);
        self.partition.store(next as u32, Relaxed);
        self.left.store(self.share.saturating_sub(bytes), Relaxed);
        next
    }

    /// The less busy of two drawn at random; one without a leader only when both have none and no other has one.
    fn choose(&self, partitions: i32, waiting: impl Fn(i32) -> Option<usize>) -> i32 {
        let count = partitions.max(1) as usize;
        let state = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed);
        let mut random = Random::seeded(state);
        let (one, other) = (random.below(count) as i32, random.below(count) as i32);
        match (waiting(one), waiting(other)) {
            (Some(a), Some(b)) => {
                if b < a {
                    other
                } else {
                    one
                }
            }
            (Some(_), None) => one,
            (None, Some(_)) => other,
            (None, None) => (0..partitions)
                .map(|step| (one + step) % partitions)
                .find(|candidate| waiting(*candidate).is_some())
                .unwrap_or(one),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_javas() {
        let vectors: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in vectors {
            assert_eq!(murmur2(key) as i32, expected, "{key:?}");
        }
    }

    /// The vectors of librdkafka's own test of partitioners (0048), for seven partitions; `None` is drawn.
    #[test]
    fn each_partitioner_of_librdkafka_puts_keys_where_librdkafka_puts_them() {
        let keys: [Option<&[u8]>; 5] = [
            None,
            Some(b""),
            Some(b"23456"),
            Some(b"this is another string with more length to it perhaps"),
            Some(b"hejsan"),
        ];
        let vectors: [(&str, [Option<u32>; 5]); 7] = [
            ("random", [None; 5]),
            (
                "consistent",
                [
                    Some(0),
                    Some(0),
                    Some(0xb1b4_51d7),
                    Some(0xb015_0df7),
                    Some(0xd077_037e),
                ],
            ),
            (
                "consistent_random",
                [
                    None,
                    None,
                    Some(0xb1b4_51d7),
                    Some(0xb015_0df7),
                    Some(0xd077_037e),
                ],
            ),
            (
                "murmur2",
                [
                    Some(0x106e_08d9),
                    Some(0x106e_08d9),
                    Some(0x058d_780f),
                    Some(0x4f77_03da),
                    Some(0x5ec1_9395),
                ],
            ),
            (
                "murmur2_random",
                [
                    None,
                    Some(0x106e_08d9),
                    Some(0x058d_780f),
                    Some(0x4f77_03da),
                    Some(0x5ec1_9395),
                ],
            ),
            (
                "fnv1a",
                [
                    Some(0x7ee3_623b),
                    Some(0x7ee3_623b),
                    Some(0x27e6_f469),
                    Some(0x155e_3e5f),
                    Some(0x17b1_e27a),
                ],
            ),
            (
                "fnv1a_random",
                [
                    None,
                    Some(0x7ee3_623b),
                    Some(0x27e6_f469),
                    Some(0x155e_3e5f),
                    Some(0x17b1_e27a),
                ],
            ),
        ];
        for (name, hashes) in vectors {
            let partitioner: Partitioner = name.parse().expect("a partitioner");
            for (key, hash) in keys.iter().zip(hashes) {
                for partitions in [7, 17] {
                    let expected = hash.map(|hash| (hash % partitions as u32) as i32);
                    assert_eq!(
                        partitioner.of_key(*key, partitions),
                        expected,
                        "{name} {key:?}"
                    );
                }
            }
        }
        assert!("Murmur2".parse::<Partitioner>().is_err());
    }

    #[test]
    fn a_key_always_has_the_same_partition_and_none_is_out_of_range() {
        for n in 0..1_000u32 {
            let key = n.to_be_bytes();
            let partition = partition_of_key(&key, 7);
            assert!((0..7).contains(&partition));
            assert_eq!(partition, partition_of_key(&key, 7));
        }
    }

    /// KIP-794: shares are equal in bytes, whatever the sizes of records.
    #[test]
    fn keyless_records_stick_for_a_share_of_bytes_and_spread_evenly() {
        let sticky = Sticky::new(10_000, &mut Random::seeded(3));
        let mut bytes = [0usize; 4];
        let mut moves = 0;
        let mut last = -1;
        for n in 0..100_000 {
            let size = 50 + n % 100;
            let partition = sticky.partition(size, 4, |p| Some(bytes[p as usize]));
            bytes[partition as usize] += size;
            moves += usize::from(partition != last);
            last = partition;
        }
        let total: usize = bytes.iter().sum();
        assert!(moves <= total / 10_000 + 1, "{moves} moves");
        for part in bytes {
            assert!(part.abs_diff(total / 4) < total / 20, "{bytes:?}");
        }
    }

    #[test]
    fn keyless_records_avoid_partitions_without_a_leader() {
        let sticky = Sticky::new(1, &mut Random::seeded(9));
        for _ in 0..1_000 {
            assert_eq!(sticky.partition(10, 8, |p| (p == 5).then_some(0)), 5);
        }
        // None has one: any will do, and its records wait.
        assert!((0..8).contains(&sticky.partition(10, 8, |_| None)));
    }
}
