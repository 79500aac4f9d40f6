//! The share sessions of one node: who fetches what, by which epoch. In: requests' epochs and partitions. Out: what to fetch, or why not.

use std::collections::{BTreeMap, BTreeSet};

use protocol::ErrorCode;

use super::IdPartition;

/// The epoch that begins a session, and the one that ends it.
pub(crate) const INITIAL_EPOCH: i32 = 0;
pub(crate) const FINAL_EPOCH: i32 = -1;

/// The most sessions of a node (Kafka's `group.share.max.share.sessions`).
const MAX_SESSIONS: usize = 2000;

/// Whose session it is: the group's member.
pub(crate) type SessionKey = (String, String);

#[derive(Debug)]
struct ShareSession {
    /// The next request's.
    epoch: i32,
    partitions: BTreeSet<IdPartition>,
    /// On which connection it began: it ends with that.
    connection: u64,
}

/// All sessions of one node.
#[derive(Debug, Default)]
pub(crate) struct ShareSessions {
    sessions: BTreeMap<SessionKey, ShareSession>,
}

impl ShareSessions {
    /// A fetch: begins a session, or goes on with it. Returns what is to be fetched.
    pub(crate) fn fetch(
        &mut self,
        key: &SessionKey,
        epoch: i32,
        named: &BTreeSet<IdPartition>,
        forgotten: &BTreeSet<IdPartition>,
        connection: u64,
    ) -> Result<BTreeSet<IdPartition>, ErrorCode> {
        if epoch != INITIAL_EPOCH {
            let session = self.next(key, epoch)?;
            session.partitions.extend(named);
            session.partitions.retain(|id| !forgotten.contains(id));
            return Ok(session.partitions.clone());
        }
        if !self.sessions.contains_key(key) && self.sessions.len() >= MAX_SESSIONS {
            return Err(ErrorCode::SHARE_SESSION_LIMIT_REACHED);
        }
        let session = ShareSession {
            epoch: 1,
            partitions: named.clone(),
            connection,
        };
        self.sessions.insert(key.clone(), session);
        Ok(named.clone())
    }

    /// Acknowledgements go on with a session.
    pub(crate) fn acknowledge(&mut self, key: &SessionKey, epoch: i32) -> Result<(), ErrorCode> {
        match epoch {
            INITIAL_EPOCH => Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH),
            FINAL_EPOCH => self.find(key).map(|_| ()),
            _ => self.next(key, epoch).map(|_| ()),
        }
    }

    fn find(&mut self, key: &SessionKey) -> Result<&mut ShareSession, ErrorCode> {
        let session = self.sessions.get_mut(key);
        session.ok_or(ErrorCode::SHARE_SESSION_NOT_FOUND)
    }

    fn next(&mut self, key: &SessionKey, epoch: i32) -> Result<&mut ShareSession, ErrorCode> {
        let session = self.find(key)?;
        if session.epoch != epoch {
            return Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH);
        }
        session.epoch = epoch.checked_add(1).unwrap_or(1);
        Ok(session)
    }

    /// Ends a session. Returns what was fetched in it.
    pub(crate) fn end(&mut self, key: &SessionKey) -> BTreeSet<IdPartition> {
        let session = self.sessions.remove(key);
        session
            .map(|session| session.partitions)
            .unwrap_or_default()
    }

    /// Ends the sessions of a connection that is gone. Returns what was fetched in them.
    pub(crate) fn disconnected(
        &mut self,
        connection: u64,
    ) -> Vec<(SessionKey, BTreeSet<IdPartition>)> {
        let gone = self
            .sessions
            .extract_if(.., |_, session| session.connection == connection);
        gone.map(|(key, session)| (key, session.partitions))
            .collect()
    }

    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }
}

#[cfg(test)]
mod tests {
    use protocol::Uuid;

    use super::*;

    fn ids(indexes: &[i32]) -> BTreeSet<IdPartition> {
        indexes
            .iter()
            .map(|index| (Uuid::from_u128(1), *index))
            .collect()
    }

    #[test]
    fn a_session_has_one_epoch_after_the_other_and_knows_what_is_wanted() {
        let (mut sessions, none) = (ShareSessions::default(), ids(&[]));
        let key = ("g".to_owned(), "m".to_owned());
        let begun = sessions.fetch(&key, 0, &ids(&[0, 1]), &none, 7);
        assert_eq!(begun, Ok(ids(&[0, 1])));
        assert_eq!(
            sessions.fetch(&key, 1, &ids(&[2]), &ids(&[0]), 7),
            Ok(ids(&[1, 2]))
        );
        assert_eq!(sessions.acknowledge(&key, 2), Ok(()));
        let wrong = Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH);
        assert_eq!(sessions.acknowledge(&key, 2), wrong);
        assert_eq!(sessions.acknowledge(&key, 0), wrong);
        assert_eq!(
            sessions.fetch(&key, 9, &none, &none, 7),
            Err(ErrorCode::INVALID_SHARE_SESSION_EPOCH)
        );
        assert_eq!(sessions.acknowledge(&key, FINAL_EPOCH), Ok(()));
        assert_eq!(sessions.end(&key), ids(&[1, 2]));
        let unknown = Err(ErrorCode::SHARE_SESSION_NOT_FOUND);
        assert_eq!(sessions.acknowledge(&key, 3), unknown);
        assert_eq!(sessions.acknowledge(&key, FINAL_EPOCH), unknown);
    }

    #[test]
    fn a_session_ends_with_its_connection() {
        let (mut sessions, none) = (ShareSessions::default(), ids(&[]));
        for (member, connection) in [("m", 7), ("n", 8)] {
            let key = ("g".to_owned(), member.to_owned());
            sessions
                .fetch(&key, 0, &ids(&[0]), &none, connection)
                .expect("begun");
        }
        let gone = sessions.disconnected(7);
        assert_eq!(gone, [(("g".to_owned(), "m".to_owned()), ids(&[0]))]);
        assert_eq!(sessions.sessions.len(), 1);
    }
}
