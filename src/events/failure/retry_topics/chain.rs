//! The book of each origin partition, as the tasks of a consumer share it: workers ask whose turn it is, the reader of the retry topics fills
//! it after an assignment, the rebalance listener begins and ends it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

use super::book::{Book, KeyHash, Turn, of_another_topic};
use crate::events::tenants::hash_of;
use crate::kafka::runtime::Mutex;
use crate::kafka::{TopicId, TopicPartition};

/// The retry topics of one origin partition, from its assignment to its release.
#[derive(Debug)]
pub(crate) struct Chain {
    pub origin: TopicPartition,
    /// The partitions of the same number in its retry topics, in the order of their delays.
    pub levels: Vec<TopicPartition>,
    /// Whether it is known of which topic its origin is, as far as that can be.
    is_begun: AtomicBool,
    /// Whether what is under way was found.
    is_ready: AtomicBool,
    /// Whether its origin is about to go to another member.
    is_leaving: AtomicBool,
    /// How many events are under way, for a look without the lock.
    len: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    book: Book,
    /// The topic that has the origin's name, once that is known.
    topic_id: Option<TopicId>,
}

/// An event, as a chain knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventAt {
    pub key: KeyHash,
    pub topic_id: Option<TopicId>,
    pub offset: i64,
}

impl EventAt {
    /// The event with this key that stood, or stands, at `offset` of the origin.
    pub(crate) fn new(key: Option<&[u8]>, topic_id: Option<TopicId>, offset: i64) -> Self {
        Self {
            key: hash_of(&key),
            topic_id,
            offset,
        }
    }
}

impl Chain {
    /// The chain of `origin`, whose retry topics have these names; at most `limit` events of it are under way.
    pub(crate) fn new(origin: TopicPartition, topics: Vec<String>, limit: usize) -> Self {
        let partition = origin.partition;
        let levels = topics.into_iter();
        let levels = levels.map(|topic| TopicPartition::new(topic, partition));
        Self {
            origin,
            levels: levels.collect(),
            is_begun: AtomicBool::new(false),
            is_ready: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            len: AtomicUsize::new(0),
            state: Mutex::new(State {
                book: Book::new(limit),
                topic_id: None,
            }),
        }
    }

    /// The retry partition of `level`, counted from 1.
    pub(crate) fn retry_partition(&self, level: u8) -> Option<&TopicPartition> {
        self.levels.get(usize::from(level).checked_sub(1)?)
    }

    /// What is under way was found: events are handled from now on.
    pub(crate) fn set_ready(&self) {
        self.is_ready.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::SeqCst)
    }

    /// Whether its origin is about to go to another member: nothing of it begins any more.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::SeqCst)
    }

    /// The topic that its origin's records are of, if that is known.
    pub(crate) fn topic_id(&self) -> Option<TopicId> {
        self.state.lock().topic_id
    }

    /// How many events are under way.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// The origin's records are of this topic from now on.
    pub(crate) fn set_topic(&self, topic_id: Option<TopicId>) {
        let mut state = self.state.lock();
        if let (Some(before), Some(now)) = (state.topic_id, topic_id)
            && before != now
        {
            state.book.origin_recreated();
        }
        state.topic_id = topic_id.or(state.topic_id);
    }

    /// As [`Book::found`].
    pub(crate) fn found(&self, event: EventAt, level: u8) -> bool {
        self.change(event, |book, key, offset| book.found(key, offset, level))
    }

    /// The turn of an event that was read from the retry topic of `level`, or from the origin, which is level 0. `is_held`: no retry topic takes it.
    pub(crate) fn turn(&self, event: EventAt, level: u8, is_held: bool) -> Turn {
        self.change(event, |book, key, offset| match level {
            _ if is_held => book.waiting_turn(key, offset, level),
            0 => book.origin_turn(key, offset),
            _ => book.retry_turn(key, offset, level),
        })
    }

    /// As [`Book::has_ahead`].
    pub(crate) fn has_ahead(&self, event: EventAt) -> bool {
        self.len() > 0 && self.change(event, |book, key, offset| book.has_ahead(key, offset))
    }

    /// As [`Book::has_room`].
    pub(crate) fn has_room(&self, event: EventAt) -> bool {
        self.change(event, |book, key, offset| book.has_room(key, offset))
    }

    /// As [`Book::send`].
    pub(crate) fn send(&self, event: EventAt, level: u8) {
        self.change(event, |book, key, offset| book.send(key, offset, level));
    }

    /// As [`Book::sent`].
    pub(crate) fn sent(&self, event: EventAt) {
        self.change(event, Book::sent);
    }

    /// As [`Book::unsent`].
    pub(crate) fn unsent(&self, event: EventAt, level: u8) {
        self.change(event, |book, key, offset| book.unsent(key, offset, level));
    }

    /// As [`Book::finish`].
    pub(crate) fn finish(&self, event: EventAt) {
        if self.len() > 0 {
            self.change(event, Book::finish);
        }
    }

    fn change<T>(&self, event: EventAt, change: impl FnOnce(&mut Book, KeyHash, i64) -> T) -> T {
        let state = &mut *self.state.lock();
        let is_of_another = match (event.topic_id, state.topic_id) {
            (Some(then), Some(now)) => then != now,
            _ => false,
        };
        let offset = match is_of_another {
            true => of_another_topic(event.offset),
            false => event.offset,
        };
        let changed = change(&mut state.book, event.key, offset);
        self.len.store(state.book.len(), Ordering::SeqCst);
        changed
    }
}

/// The chains of the partitions that are ours. Cheap to clone; clones share everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains(Arc<Registry>);

#[derive(Debug, Default)]
struct Registry {
    /// By the names of origins and of their retry partitions, each with its level.
    chains: Mutex<BTreeMap<TopicPartition, (Arc<Chain>, u8)>>,
    changed: Notify,
}

impl Chains {
    /// The chain that `name` is of, and its level there.
    pub(crate) fn find(&self, name: &TopicPartition) -> Option<(Arc<Chain>, u8)> {
        self.0.chains.lock().get(name).cloned()
    }

    /// Whether `chain` is still the one of its origin.
    pub(crate) fn has(&self, chain: &Arc<Chain>) -> bool {
        let chains = self.0.chains.lock();
        let now = chains.get(&chain.origin);
        now.is_some_and(|(now, _)| Arc::ptr_eq(now, chain))
    }

    /// A partition is being assigned.
    pub(crate) fn put(&self, chain: Chain) {
        let chain = Arc::new(chain);
        let mut chains = self.0.chains.lock();
        chains.insert(chain.origin.clone(), (chain.clone(), 0));
        for (name, level) in chain.levels.iter().zip(1..) {
            chains.insert(name.clone(), (chain.clone(), level));
        }
    }

    /// These origins are assigned: their retry topics can be looked through.
    pub(crate) fn begin(&self, origins: &[TopicPartition]) {
        let chains = self.0.chains.lock();
        for (chain, _) in origins.iter().filter_map(|origin| chains.get(origin)) {
            chain.is_begun.store(true, Ordering::SeqCst);
        }
        self.0.changed.notify_one();
    }

    /// These origins are about to go to other members.
    pub(crate) fn leave(&self, origins: &[TopicPartition]) {
        let chains = self.0.chains.lock();
        for (chain, _) in origins.iter().filter_map(|origin| chains.get(origin)) {
            chain.is_leaving.store(true, Ordering::SeqCst);
        }
    }

    /// These origins are not ours any more.
    pub(crate) fn end(&self, origins: &[TopicPartition]) {
        let mut chains = self.0.chains.lock();
        for origin in origins {
            if let Some((chain, _)) = chains.remove(origin) {
                chain
                    .levels
                    .iter()
                    .for_each(|name| drop(chains.remove(name)));
            }
        }
        self.0.changed.notify_one();
    }

    /// `origins`, and behind them their retry partitions.
    pub(crate) fn with_retries(&self, origins: &[TopicPartition]) -> Vec<TopicPartition> {
        let chains = self.0.chains.lock();
        let retries = origins.iter().filter_map(|origin| chains.get(origin));
        let retries = retries.flat_map(|(chain, _)| chain.levels.iter());
        origins.iter().chain(retries).cloned().collect()
    }

    /// Those that have begun.
    pub(crate) fn all(&self) -> Vec<Arc<Chain>> {
        let chains = self.0.chains.lock();
        let has_begun = |(chain, level): &&(Arc<Chain>, u8)| {
            *level == 0 && chain.is_begun.load(Ordering::SeqCst)
        };
        let begun = chains.values().filter(has_begun);
        begun.map(|(chain, _)| chain.clone()).collect()
    }

    /// How many events are under way.
    pub(crate) fn pending(&self) -> usize {
        self.all().iter().map(|chain| chain.len()).sum()
    }

    /// Waits until some begin or end.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
