//! The topics that a producer has written to. Looked up once a record, so reading takes no lock and writes nothing: tables only grow.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, OnceLock};

use tokio::time::{Duration, Instant};

use super::partition::queue::PartitionQueue;
use super::partitioner::Sticky;
use super::topic_settings::TopicRules;
use crate::kafka::cluster::TopicMetadata;
use crate::kafka::runtime::Mutex;

const BUCKETS: usize = 256;
/// After so long without a refusal a smaller limit of a broker is tried again: to find that it still holds costs a few refused batches.
const LIMIT_AGE: Duration = Duration::from_secs(300);

/// All topics of one producer.
#[derive(Debug)]
pub(super) struct Topics {
    buckets: Box<[Slot]>,
    /// In the order of their first use.
    all: Mutex<Vec<Arc<Topic>>>,
}

type Slot = OnceLock<Box<Link>>;

#[derive(Debug)]
struct Link {
    topic: Arc<Topic>,
    next: Slot,
}

/// One topic and its partitions.
#[derive(Debug)]
pub(super) struct Topic {
    pub name: Arc<str>,
    pub rules: TopicRules,
    pub sticky: Sticky,
    /// How many partitions metadata shows now; there are queues for all of them.
    count: AtomicI32,
    /// The most bytes in a batch of several records: as configured, or less once a broker refused one for its size.
    batch_bytes: AtomicUsize,
    /// When a broker last did.
    refused: Mutex<Option<Instant>>,
    first: Segment,
    /// The metadata that its queues follow.
    followed: Mutex<Option<Arc<TopicMetadata>>>,
    usage: Mutex<Usage>,
}

/// Whether a topic is in use.
#[derive(Debug, Default)]
struct Usage {
    /// The records accepted until it was last looked at.
    accepted: u64,
    look_at: Option<Instant>,
}

/// Some of a topic's partitions; those that were added later are in the next one.
#[derive(Debug)]
struct Segment {
    queues: Box<[Arc<PartitionQueue>]>,
    next: OnceLock<Box<Segment>>,
}

impl Topics {
    pub fn new() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Slot::new()).collect(),
            all: Mutex::default(),
        }
    }

    /// The topic called `name`, if it was inserted.
    #[inline]
    pub fn find(&self, name: &str) -> Option<&Arc<Topic>> {
        let mut slot = &self.buckets[hash(name) % BUCKETS];
        while let Some(link) = slot.get() {
            if is_same(&link.topic.name, name) {
                return Some(&link.topic);
            }
            slot = &link.next;
        }
        None
    }

    /// The topic called `name`, made by `make` if it is new.
    pub fn find_or_insert(&self, name: &str, make: impl FnOnce() -> Topic) -> Arc<Topic> {
        let mut all = self.all.lock();
        if let Some(topic) = self.find(name) {
            return topic.clone();
        }
        let topic = Arc::new(make());
        let mut slot = &self.buckets[hash(name) % BUCKETS];
        while let Some(link) = slot.get() {
            slot = &link.next;
        }
        // Only this function sets slots, under the lock of `all`.
        let _ = slot.set(Box::new(Link {
            topic: topic.clone(),
            next: Slot::new(),
        }));
        all.push(topic.clone());
        topic
    }

    /// Every topic, in the order of first use.
    pub fn all(&self) -> Vec<Arc<Topic>> {
        self.all.lock().clone()
    }
}

impl Topic {
    /// A topic with `count` partitions, whose queues `make` makes.
    pub fn new(
        name: Arc<str>,
        rules: TopicRules,
        sticky: Sticky,
        count: usize,
        make: impl FnMut(i32) -> PartitionQueue,
    ) -> Self {
        Self {
            name,
            sticky,
            count: AtomicI32::new(count as i32),
            batch_bytes: AtomicUsize::new(rules.limits.batch_bytes),
            rules,
            refused: Mutex::default(),
            first: Segment::new(0, count, make),
            followed: Mutex::default(),
            usage: Mutex::default(),
        }
    }

    /// Whether the queues follow just this metadata.
    pub fn follows(&self, metadata: &Arc<TopicMetadata>) -> bool {
        let followed = self.followed.lock();
        followed
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, metadata))
    }

    /// The queues follow this metadata now.
    pub fn followed(&self, metadata: &Arc<TopicMetadata>) {
        *self.followed.lock() = Some(metadata.clone());
    }

    /// Whether records were accepted since this was last asked, which counts once in a while. `accepted` says how many were, ever.
    pub fn was_used(&self, now: Instant, often: Duration, accepted: impl FnOnce() -> u64) -> bool {
        let mut usage = self.usage.lock();
        if usage.look_at.is_some_and(|at| at > now) {
            return false;
        }
        usage.look_at = Some(now + often);
        let accepted = accepted();
        std::mem::replace(&mut usage.accepted, accepted) != accepted
    }

    /// How many partitions the topic has.
    #[inline]
    pub fn partition_count(&self) -> i32 {
        self.count.load(Relaxed)
    }

    /// The most bytes in a batch of several records.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes.load(Relaxed)
    }

    /// Learns that a broker takes no more than `bytes` in a batch; returns the least that was learnt so far.
    pub fn limit_batches(&self, bytes: usize, now: Instant) -> usize {
        *self.refused() = Some(now);
        self.batch_bytes.fetch_min(bytes, Relaxed).min(bytes)
    }

    /// Whether what was learnt of the broker's limit is so old that it may have been raised since.
    pub fn has_old_limit(&self, now: Instant) -> bool {
        self.refused()
            .is_some_and(|refused| refused + LIMIT_AGE <= now)
    }

    /// The broker's limit may be another one now: takes the configured one, which is returned, until it refuses a batch again.
    pub fn forget_limit(&self) -> usize {
        *self.refused() = None;
        let batch_bytes = self.rules.limits.batch_bytes;
        self.batch_bytes.store(batch_bytes, Relaxed);
        batch_bytes
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock()
    }

    /// The queue of `partition`, if there is such a partition.
    #[inline]
    pub fn queue(&self, partition: i32) -> Option<&Arc<PartitionQueue>> {
        let mut index = usize::try_from(partition).ok()?;
        let mut segment = &self.first;
        while index >= segment.queues.len() {
            index -= segment.queues.len();
            segment = segment.next.get()?;
        }
        Some(&segment.queues[index])
    }

    /// Follows metadata to `count` partitions. Queues are never taken away: a topic re-created with fewer partitions may still have
    /// batches to resolve. To be called by one task at a time.
    pub fn resize(&self, count: usize, make: impl FnMut(i32) -> PartitionQueue) {
        let mut known = 0;
        let mut segment = &self.first;
        loop {
            known += segment.queues.len();
            match segment.next.get() {
                Some(next) => segment = next,
                None => break,
            }
        }
        if count > known {
            let _ = segment
                .next
                .set(Box::new(Segment::new(known, count - known, make)));
        }
        self.count.store(count as i32, Relaxed);
    }

    /// Every queue, also of partitions that metadata no longer shows.
    pub fn queues(&self) -> impl Iterator<Item = &Arc<PartitionQueue>> {
        std::iter::successors(Some(&self.first), |segment| {
            segment.next.get().map(AsRef::as_ref)
        })
        .flat_map(|segment| segment.queues.iter())
    }
}

impl Segment {
    fn new(first: usize, count: usize, mut make: impl FnMut(i32) -> PartitionQueue) -> Self {
        Self {
            queues: (first..first + count)
                .map(|partition| Arc::new(make(partition as i32)))
                .collect(),
            next: OnceLock::new(),
        }
    }
}

/// Whether two names are the same; without a call for a few bytes.
#[inline]
fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    match (one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(last), Some(other_last)) => {
            let words = one.as_chunks::<8>().0.iter();
            one.len() == other.len() && last == other_last && words.eq(other.as_chunks::<8>().0)
        }
        _ => one == other,
    }
}

/// Eight bytes at a time, the last ones twice; names come from the application, not from strangers.
#[inline]
fn hash(name: &str) -> usize {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let bytes = name.as_bytes();
    let mut hash = bytes.len() as u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(K).rotate_left(29);
    match bytes.last_chunk::<8>() {
        Some(last) => {
            let (words, _) = bytes.as_chunks::<8>();
            words.iter().for_each(|word| mix(u64::from_le_bytes(*word)));
            mix(u64::from_le_bytes(*last));
        }
        None => bytes.iter().for_each(|byte| mix(u64::from(*byte))),
    }
    (hash >> 40) as usize
}
