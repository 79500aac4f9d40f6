//! Incremental fetch sessions (KIP-227) of one node, as Kafka keeps them.
//!
//! In: a Fetch request's session id and epoch, the partitions that it names and forgets. Out: the partitions to read now, and which of the
//! answers have to be sent. A session changes only when its epoch fits; an answer is left out when nothing about the partition is new.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use super::random::Random;

/// Kafka's `max.incremental.fetch.session.cache.slots`.
const MAX_SESSIONS: usize = 1000;
/// Kafka's `min.incremental.fetch.session.eviction.ms`.
const EVICTION_AGE: Duration = Duration::from_secs(120);

/// The epoch that asks for a new session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch that asks for no session, and closes the one that is named.
const FINAL_EPOCH: i32 = -1;

/// A partition as requests name it: by topic name up to version 12, by topic id after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartitionKey {
    pub(crate) topic: String,
    pub(crate) topic_id: Uuid,
    pub(crate) partition: i32,
}

/// What a request asks of one partition.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: PartitionKey,
    pub(crate) fetch_offset: i64,
    pub(crate) max_bytes: i32,
    pub(crate) current_leader_epoch: i32,
    pub(crate) last_fetched_epoch: i32,
}

/// What an answer says of one partition, as far as a session is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) failed: bool,
    pub(crate) records_bytes: usize,
    pub(crate) high_watermark: i64,
    pub(crate) log_start_offset: i64,
    pub(crate) diverged: bool,
}

/// How the answer to one request is to be put together.
#[derive(Debug, PartialEq)]
pub(crate) enum Context {
    /// Every partition is answered; there is no session.
    Sessionless,
    /// Every partition is answered, and a session is opened with them.
    New,
    /// Only what changed is answered.
    Incremental { session_id: i32 },
}

#[derive(Debug)]
struct Session {
    next_epoch: i32,
    uses_topic_ids: bool,
    last_used: Instant,
    /// In the order in which they are read; one that gave records moves to the end, so that all get their turn.
    order: BTreeMap<u64, Cached>,
    places: BTreeMap<PartitionKey, u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    /// What the client knows; -1 when it has to be told again.
    high_watermark: i64,
    log_start_offset: i64,
}

/// All sessions of a node.
#[derive(Debug, Default)]
pub(crate) struct FetchSessions {
    sessions: BTreeMap<i32, Session>,
}

impl FetchSessions {
    /// Takes a request in: what to read, and how to answer. `named` and `forgotten` are the request's partitions.
    pub(crate) fn open(
        &mut self,
        session_id: i32,
        epoch: i32,
        uses_topic_ids: bool,
        named: Vec<Wanted>,
        forgotten: &[PartitionKey],
        now: Instant,
    ) -> Result<(Context, Vec<Wanted>), ErrorCode> {
        if epoch == INITIAL_EPOCH || epoch == FINAL_EPOCH {
            self.sessions.remove(&session_id);
            let context = if epoch == FINAL_EPOCH {
                Context::Sessionless
            } else {
                Context::New
            };
            return Ok((context, named));
        }
        let session = self
            .sessions
            .get_mut(&session_id)
            .ok_or(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)?;
        if session.next_epoch != epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != uses_topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        session.last_used = now;
        session.update(named, forgotten);
        if session.order.is_empty() {
            self.sessions.remove(&session_id);
            return Ok((Context::Sessionless, Vec::new()));
        }
        session.next_epoch = session.next_epoch.checked_add(1).unwrap_or(1);
        let wanted = session
            .order
            .values()
            .map(|cached| cached.wanted.clone())
            .collect();
        Ok((Context::Incremental { session_id }, wanted))
    }

    /// Opens a session for partitions that have just been answered; 0, no session, when all places are taken.
    pub(crate) fn create(
        &mut self,
        partitions: Vec<(Wanted, Answered)>,
        uses_topic_ids: bool,
        now: Instant,
        random: &mut Random,
    ) -> i32 {
        if self.sessions.len() >= MAX_SESSIONS && !self.evict(now) {
            return 0;
        }
        let mut session = Session {
            next_epoch: INITIAL_EPOCH + 1,
            uses_topic_ids,
            last_used: now,
            order: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        };
        for (wanted, answered) in partitions {
            session.add(Cached {
                wanted,
                high_watermark: if answered.failed {
                    -1
                } else {
                    answered.high_watermark
                },
                log_start_offset: answered.log_start_offset,
            });
        }
        let session_id = loop {
            let id = random.positive_i32();
            if !self.sessions.contains_key(&id) {
                break id;
            }
        };
        self.sessions.insert(session_id, session);
        session_id
    }

    /// Whether this partition's answer has to be sent; notes that it was.
    pub(crate) fn must_answer(
        &mut self,
        session_id: i32,
        key: &PartitionKey,
        answered: &Answered,
    ) -> bool {
        // A session that was closed meanwhile can't leave anything out.
        self.sessions
            .get_mut(&session_id)
            .is_none_or(|session| session.must_answer(key, answered))
    }

    /// Forgets all sessions, as a restarted node does.
    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }

    fn evict(&mut self, now: Instant) -> bool {
        let oldest = self
            .sessions
            .iter()
            .min_by_key(|(_, session)| session.last_used);
        let Some((&id, session)) = oldest else {
            return true;
        };
        let idle = now.duration_since(session.last_used) > EVICTION_AGE;
        if idle {
            self.sessions.remove(&id);
        }
        idle
    }
}

impl Session {
    fn update(&mut self, named: Vec<Wanted>, forgotten: &[PartitionKey]) {
        for wanted in named {
            match self
                .places
                .get(&wanted.key)
                .and_then(|place| self.order.get_mut(place))
            {
                Some(cached) => cached.wanted = wanted,
                None => self.add(Cached {
                    wanted,
                    high_watermark: -1,
                    log_start_offset: -1,
                }),
            }
        }
        for key in forgotten {
            if let Some(place) = self.places.remove(key) {
                self.order.remove(&place);
            }
        }
    }

    fn add(&mut self, cached: Cached) {
        let place = self.next_place;
        self.next_place += 1;
        if let Some(replaced) = self.places.insert(cached.wanted.key.clone(), place) {
            self.order.remove(&replaced);
        }
        self.order.insert(place, cached);
    }

    fn must_answer(&mut self, key: &PartitionKey, answered: &Answered) -> bool {
        let Some(&place) = self.places.get(key) else {
            return true;
        };
        let Some(cached) = self.order.get_mut(&place) else {
            return true;
        };
        let has_records = answered.records_bytes > 0;
        let changed = has_records
            || answered.failed
            || answered.diverged
            || cached.high_watermark != answered.high_watermark
            || cached.log_start_offset != answered.log_start_offset;
        // After an error the client is told again what it may have missed.
        cached.high_watermark = if answered.failed {
            -1
        } else {
            answered.high_watermark
        };
        cached.log_start_offset = answered.log_start_offset;
        if has_records && let Some(cached) = self.order.remove(&place) {
            self.add(cached);
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey {
            topic: "t".into(),
            topic_id: Uuid::default(),
            partition,
        }
    }

    fn wanted(partition: i32) -> Wanted {
        Wanted {
            key: key(partition),
            fetch_offset: 0,
            max_bytes: 100,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        }
    }

    fn answered(records_bytes: usize, high_watermark: i64) -> Answered {
        Answered {
            failed: false,
            records_bytes,
            high_watermark,
            log_start_offset: 0,
            diverged: false,
        }
    }

    fn session_of(partitions: &[i32]) -> (FetchSessions, i32) {
        let mut sessions = FetchSessions::default();
        let answers = partitions
            .iter()
            .map(|&partition| (wanted(partition), answered(0, 0)))
            .collect();
        let id = sessions.create(answers, true, Instant::now(), &mut Random::new(1));
        (sessions, id)
    }

    fn partitions_of(wanted: &[Wanted]) -> Vec<i32> {
        wanted.iter().map(|wanted| wanted.key.partition).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_remembers_adds_and_forgets_partitions() {
        let now = Instant::now();
        let (mut sessions, id) = session_of(&[0, 1]);
        let (context, all) = sessions
            .open(id, 1, true, vec![wanted(2)], &[key(0)], now)
            .unwrap();
        assert_eq!(context, Context::Incremental { session_id: id });
        assert_eq!(partitions_of(&all), [1, 2]);
        let (context, none) = sessions
            .open(id, 2, true, vec![], &[key(1), key(2)], now)
            .unwrap();
        assert_eq!((context, none.len()), (Context::Sessionless, 0));
        assert_eq!(
            sessions.open(id, 3, true, vec![], &[], now).unwrap_err(),
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND
        );
    }

    #[tokio::test(start_paused = true)]
    async fn epochs_and_topic_ids_must_fit_and_a_wrong_one_changes_nothing() {
        let now = Instant::now();
        let (mut sessions, id) = session_of(&[0]);
        let mut open = |epoch, ids| {
            sessions
                .open(id, epoch, ids, vec![wanted(5)], &[], now)
                .map(|(_, all)| all.len())
        };
        assert_eq!(open(2, true), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        assert_eq!(open(1, false), Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert_eq!(open(1, true), Ok(2));
        assert_eq!(open(1, true), Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
    }

    #[tokio::test(start_paused = true)]
    async fn only_news_is_answered_and_whoever_gave_records_reads_last() {
        let now = Instant::now();
        let (mut sessions, id) = session_of(&[0, 1]);
        assert!(!sessions.must_answer(id, &key(0), &answered(0, 0)));
        assert!(sessions.must_answer(id, &key(0), &answered(10, 5)));
        assert!(!sessions.must_answer(id, &key(0), &answered(0, 5)));
        assert!(sessions.must_answer(
            id,
            &key(0),
            &Answered {
                failed: true,
                ..answered(0, 5)
            }
        ));
        assert!(sessions.must_answer(id, &key(0), &answered(0, 5)));
        let (_, all) = sessions.open(id, 1, true, vec![], &[], now).unwrap();
        assert_eq!(partitions_of(&all), [1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_request_closes_the_session_it_names() {
        let now = Instant::now();
        let (mut sessions, id) = session_of(&[0]);
        assert_eq!(
            sessions
                .open(id, 0, true, vec![wanted(0)], &[], now)
                .unwrap()
                .0,
            Context::New
        );
        assert!(sessions.sessions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_cache_gives_up_idle_sessions_only() {
        let mut sessions = FetchSessions::default();
        let mut random = Random::new(1);
        for _ in 0..MAX_SESSIONS {
            assert_ne!(
                sessions.create(vec![], false, Instant::now(), &mut random),
                0
            );
        }
        assert_eq!(
            sessions.create(vec![], false, Instant::now(), &mut random),
            0
        );
        tokio::time::advance(EVICTION_AGE + Duration::from_millis(1)).await;
        assert_ne!(
            sessions.create(vec![], false, Instant::now(), &mut random),
            0
        );
        assert_eq!(sessions.sessions.len(), MAX_SESSIONS);
    }
}
