//! A fetch session (KIP-227): the broker remembers which partitions are fetched, so that a request names only what changed.
//!
//! In: the partitions wanted now, and how the last request went. Out: the request. The session mirrors the wanted partitions with every
//! request: one that is not wanted any more is forgotten at once, so that nothing stale comes back.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::FetchRequest;
use protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use protocol::{ErrorCode, Uuid};

use crate::kafka::TopicPartition;
use crate::kafka::consumer::positions::Wanted;

const NO_SESSION: i32 = 0;
/// Asks for a new session, ending the one that is named.
const INITIAL_EPOCH: i32 = 0;
/// Ends the session, or does without.
const FINAL_EPOCH: i32 = -1;

/// One broker's session.
#[derive(Debug, Default)]
pub(crate) struct FetchSession {
    id: i32,
    /// The epoch of the next request.
    epoch: i32,
    /// What the broker remembers.
    members: BTreeMap<TopicPartition, Member>,
    /// Of those, the ones that were never answered: a broker answers each at least once.
    unanswered: BTreeSet<TopicPartition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    topic_id: Uuid,
    offset: i64,
    last_epoch: i32,
    leader_epoch: i32,
    max_bytes: i32,
}

impl FetchSession {
    /// The request for `wanted`, in its order, at most `max_bytes` of each. Everything else of the request is for the caller to fill in.
    pub fn request(&mut self, wanted: &[Wanted], max_bytes: i32, api_version: i16) -> FetchRequest {
        let new: BTreeMap<_, _> = wanted
            .iter()
            .map(|want| (want.partition.clone(), Member::new(want, max_bytes)))
            .collect();
        let full = self.epoch == INITIAL_EPOCH || api_version < FetchRequest::SESSIONS_FROM;
        let mut request = FetchRequest {
            session_id: self.id,
            session_epoch: if api_version < FetchRequest::SESSIONS_FROM {
                FINAL_EPOCH
            } else {
                self.epoch
            },
            ..Default::default()
        };
        for want in wanted {
            if full || self.members.get(&want.partition) != new.get(&want.partition) {
                add_wanted(&mut request.topics, want, max_bytes, api_version);
            }
        }
        if !full {
            for (partition, old) in &self.members {
                if new
                    .get(partition)
                    .is_none_or(|member| member.topic_id != old.topic_id)
                {
                    add_forgotten(&mut request.forgotten_topics_data, partition, old.topic_id);
                }
            }
        }
        let known = |name: &TopicPartition, new: &Member| {
            let old = self.members.get(name).filter(|_| !full);
            old.is_some_and(|old| old.topic_id == new.topic_id) && !self.unanswered.contains(name)
        };
        self.unanswered = new
            .iter()
            .filter(|(name, member)| !known(name, member))
            .map(|(name, _)| name.clone())
            .collect();
        self.members = new;
        request
    }

    /// The broker answered about `partition`.
    pub fn heard_of(&mut self, partition: &TopicPartition) {
        self.unanswered.remove(partition);
    }

    /// Whether `partition` was asked for, and the broker has never said anything of it.
    pub fn is_unanswered(&self, partition: &TopicPartition) -> bool {
        self.unanswered.contains(partition)
    }

    /// The broker answered under `session_id`.
    pub fn answered(&mut self, session_id: i32) {
        if session_id == NO_SESSION {
            *self = Self::default();
            return;
        }
        self.epoch = if session_id == self.id {
            self.epoch.checked_add(1).unwrap_or(1)
        } else {
            1
        };
        self.id = session_id;
    }

    /// The broker refused the session: the next request starts another one. `false` when there was no session to refuse, or the error is not
    /// about sessions.
    pub fn refused(&mut self, error: ErrorCode) -> bool {
        let had_session = self.epoch != INITIAL_EPOCH;
        match error {
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND => *self = Self::default(),
            ErrorCode::INVALID_FETCH_SESSION_EPOCH | ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR => {
                self.lost();
            }
            _ => return false,
        }
        had_session
    }

    /// Nobody knows whether the broker saw the last request: the next one ends the session and starts another one.
    pub fn lost(&mut self) {
        self.epoch = INITIAL_EPOCH;
        self.members.clear();
    }

    /// The request that ends the session, if there is one.
    pub fn close(&mut self) -> Option<FetchRequest> {
        let id = std::mem::take(&mut self.id);
        self.lost();
        (id != NO_SESSION).then(|| FetchRequest {
            session_id: id,
            session_epoch: FINAL_EPOCH,
            ..Default::default()
        })
    }
}

impl Member {
    fn new(want: &Wanted, max_bytes: i32) -> Self {
        Self {
            topic_id: want.topic_id,
            offset: want.offset,
            last_epoch: want.last_epoch,
            leader_epoch: want.leader_epoch,
            max_bytes,
        }
    }
}

/// Adds a partition, keeping the order: one under the topic that the last one was under joins it.
fn add_wanted(topics: &mut Vec<FetchTopic>, want: &Wanted, max_bytes: i32, api_version: i16) {
    let partition = FetchPartition {
        partition: want.partition.partition,
        current_leader_epoch: want.leader_epoch,
        fetch_offset: want.offset,
        last_fetched_epoch: if api_version < FetchRequest::LAST_EPOCH_FROM {
            -1
        } else {
            want.last_epoch
        },
        partition_max_bytes: max_bytes,
        ..Default::default()
    };
    match topics
        .iter_mut()
        .find(|topic| topic.topic == *want.partition.topic)
    {
        Some(topic) => topic.partitions.push(partition),
        None => topics.push(FetchTopic {
            topic: want.partition.topic.to_string(),
            topic_id: want.topic_id,
            partitions: vec![partition],
            ..Default::default()
        }),
    }
}

fn add_forgotten(topics: &mut Vec<ForgottenTopic>, partition: &TopicPartition, topic_id: Uuid) {
    match topics
        .iter_mut()
        .find(|topic| topic.topic == *partition.topic && topic.topic_id == topic_id)
    {
        Some(topic) => topic.partitions.push(partition.partition),
        None => topics.push(ForgottenTopic {
            topic: partition.topic.to_string(),
            topic_id,
            partitions: vec![partition.partition],
            ..Default::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(partition: i32, offset: i64) -> Wanted {
        Wanted {
            partition: TopicPartition::new("t", partition),
            topic_id: Uuid::from_u128(1),
            version: 1,
            offset,
            last_epoch: 2,
            leader_epoch: 3,
        }
    }

    /// (session id, epoch, fetched partitions, forgotten partitions)
    fn summary(request: &FetchRequest) -> (i32, i32, Vec<i32>, Vec<i32>) {
        let fetched = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|partition| partition.partition));
        let forgotten = request
            .forgotten_topics_data
            .iter()
            .flat_map(|topic| topic.partitions.iter().copied());
        (
            request.session_id,
            request.session_epoch,
            fetched.collect(),
            forgotten.collect(),
        )
    }

    #[test]
    fn a_session_names_only_what_changed() {
        let mut session = FetchSession::default();
        let request = session.request(&[want(1, 0), want(0, 0)], 100, 12);
        assert_eq!(summary(&request), (0, 0, vec![1, 0], vec![]));
        session.answered(77);
        let request = session.request(&[want(0, 5), want(1, 0)], 100, 12);
        assert_eq!(summary(&request), (77, 1, vec![0], vec![]));
        session.answered(77);
        assert_eq!(
            summary(&session.request(&[want(0, 5), want(1, 0)], 100, 12)),
            (77, 2, vec![], vec![])
        );
    }

    /// platformatic #321: partitions that were never forgotten brought back stale data.
    #[test]
    fn the_session_mirrors_the_wanted_partitions() {
        let mut session = FetchSession::default();
        session.request(&[want(0, 0), want(1, 0)], 100, 12);
        session.answered(77);
        assert_eq!(
            summary(&session.request(&[want(1, 0)], 100, 12)),
            (77, 1, vec![], vec![0])
        );
        session.answered(77);
        assert_eq!(
            summary(&session.request(&[want(0, 0), want(1, 0)], 100, 12)),
            (77, 2, vec![0], vec![])
        );
    }

    #[test]
    fn a_broker_owes_each_partition_one_answer() {
        let mut session = FetchSession::default();
        let owed = |session: &FetchSession| {
            let names = (0..3).map(|partition| TopicPartition::new("t", partition));
            names
                .filter(|name| session.is_unanswered(name))
                .map(|name| name.partition)
                .collect::<Vec<_>>()
        };
        session.request(&[want(0, 0), want(1, 0)], 100, 12);
        assert_eq!(owed(&session), [0, 1]);
        session.heard_of(&TopicPartition::new("t", 0));
        session.answered(77);
        session.request(&[want(0, 5), want(1, 0), want(2, 0)], 100, 12);
        assert_eq!(owed(&session), [1, 2], "of the first there is no news");
        session.lost();
        session.request(&[want(0, 5)], 100, 12);
        assert_eq!(owed(&session), [0], "a new session answers all");
    }

    #[test]
    fn a_recreated_topic_replaces_its_old_id() {
        let mut session = FetchSession::default();
        session.request(&[want(0, 9)], 100, 13);
        session.answered(77);
        let recreated = Wanted {
            topic_id: Uuid::from_u128(2),
            ..want(0, 0)
        };
        let request = session.request(&[recreated], 100, 13);
        assert_eq!(request.topics[0].topic_id, Uuid::from_u128(2));
        assert_eq!(
            request.forgotten_topics_data[0].topic_id,
            Uuid::from_u128(1)
        );
    }

    #[test]
    fn a_broker_without_sessions_is_asked_in_full_each_time() {
        let mut session = FetchSession::default();
        for _ in 0..2 {
            assert_eq!(
                summary(&session.request(&[want(0, 0)], 100, 12)),
                (0, 0, vec![0], vec![])
            );
            session.answered(0);
        }
        assert_eq!(
            summary(&session.request(&[want(0, 0)], 100, 6)),
            (0, -1, vec![0], vec![])
        );
    }

    #[test]
    fn a_lost_request_ends_the_session_and_starts_another() {
        let mut session = FetchSession::default();
        session.request(&[want(0, 0)], 100, 12);
        session.answered(77);
        session.request(&[want(0, 4)], 100, 12);
        session.lost();
        assert_eq!(
            summary(&session.request(&[want(0, 4)], 100, 12)),
            (77, 0, vec![0], vec![])
        );
        session.answered(78);
        assert_eq!(
            summary(&session.request(&[want(0, 4)], 100, 12)),
            (78, 1, vec![], vec![])
        );
        assert!(!session.refused(ErrorCode::NOT_LEADER_OR_FOLLOWER));
        assert!(session.refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(
            summary(&session.request(&[want(0, 4)], 100, 12)),
            (0, 0, vec![0], vec![])
        );
        assert!(
            !session.refused(ErrorCode::FETCH_SESSION_ID_NOT_FOUND),
            "there is none now"
        );
    }

    #[test]
    fn closing_ends_the_session_at_the_broker() {
        let mut session = FetchSession::default();
        assert_eq!(session.close(), None);
        session.request(&[want(0, 0)], 100, 12);
        session.answered(77);
        assert_eq!(
            session.close().map(|request| summary(&request)),
            Some((77, -1, vec![], vec![]))
        );
    }
}
