//! Whether to believe an answer that names an older leader epoch than what is known. In: what is known of a partition's leader and what an
//! answer says of it, refusals by that leader, the time. Out: whether the answer is believed.
//!
//! A single older answer comes from a broker that is behind, and is ignored. But an epoch that no broker has, from one bad answer or a cluster
//! whose state was restored, would be believed for good: so what several answers in a row say alike is believed, and so is the first one after
//! the leader itself refused the partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::PartitionMetadata;

/// How many answers in a row must agree on an older epoch.
const AGREEING: u32 = 3;

/// A partition's leader and its epoch, as somebody says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaderClaim {
    leader: Option<i32>,
    epoch: i32,
}

impl LeaderClaim {
    pub fn of(partition: &PartitionMetadata) -> Self {
        Self {
            leader: partition.leader,
            epoch: partition.leader_epoch,
        }
    }
}

/// What speaks against the leaders that are known, by topic and the partition's number.
#[derive(Debug)]
pub(super) struct LeaderDoubts {
    topics: BTreeMap<Arc<str>, BTreeMap<usize, Doubt>>,
    /// The least time between the first and the last of the answers that agree.
    span: Duration,
}

/// What speaks against one partition's leader.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// What is doubted.
    known: LeaderClaim,
    /// That broker refused the partition.
    refused: bool,
    /// What the last answers say, all alike.
    older: Option<Older>,
}

#[derive(Clone, Copy, Debug)]
struct Older {
    claim: LeaderClaim,
    times: u32,
    since: Instant,
}

impl LeaderDoubts {
    pub fn new(span: Duration) -> Self {
        Self {
            topics: BTreeMap::new(),
            span,
        }
    }

    /// The broker that is known as the leader refused the partition, or its epoch.
    pub fn refused(&mut self, topic: &Arc<str>, partition: usize, known: LeaderClaim) {
        self.doubt(topic, partition, known).refused = true;
    }

    /// Whether what an answer says replaces what is known of the same partition.
    pub fn believes(
        &mut self,
        topic: &Arc<str>,
        partition: usize,
        known: LeaderClaim,
        says: LeaderClaim,
        now: Instant,
    ) -> bool {
        let is_older = says.epoch >= 0 && says.epoch < known.epoch;
        let span = self.span;
        let believes = !is_older
            || self
                .doubt(topic, partition, known)
                .confirms(says, span, now);
        if believes && let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
        believes
    }

    /// Forgets topics that nobody wants to hear of any more.
    pub fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.topics.retain(|name, _| wanted(name));
    }

    /// What speaks against what is known now; what spoke against something else counts no more.
    fn doubt(&mut self, topic: &Arc<str>, partition: usize, known: LeaderClaim) -> &mut Doubt {
        let none = Doubt {
            known,
            refused: false,
            older: None,
        };
        let partitions = self.topics.entry(topic.clone()).or_default();
        let doubt = partitions.entry(partition).or_insert(none);
        if doubt.known != known {
            *doubt = none;
        }
        doubt
    }
}

impl Doubt {
    /// Notes what an older answer says. True when it is to be believed: the leader refused, or enough answers agree over `span`.
    fn confirms(&mut self, says: LeaderClaim, span: Duration, now: Instant) -> bool {
        let older = match self.older {
            Some(older) if older.claim == says => Older {
                times: older.times.saturating_add(1),
                ..older
            },
            _ => Older {
                claim: says,
                times: 1,
                since: now,
            },
        };
        self.older = Some(older);
        let is_repeated =
            older.times >= AGREEING && now.saturating_duration_since(older.since) >= span;
        self.refused || is_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes to be known, each time after as many milliseconds.
    enum News {
        /// An answer with this epoch, and which epoch is believed after it.
        Answer(i32, i32),
        Refused,
        /// A broker's hint of this epoch.
        Hint(i32),
    }
    use News::{Answer, Hint, Refused};

    #[test]
    fn an_older_epoch_is_believed_when_it_is_repeated_or_the_leader_refuses() {
        const MAX: i32 = i32::MAX;
        let table: &[(&str, u64, &[News])] = &[
            (
                "stale once",
                600,
                &[Answer(9, 9), Answer(8, 9), Answer(9, 9)],
            ),
            (
                "three times",
                600,
                &[
                    Answer(MAX, MAX),
                    Answer(5, MAX),
                    Answer(5, MAX),
                    Answer(5, 5),
                ],
            ),
            (
                "three times, but too soon",
                200,
                &[
                    Answer(9, 9),
                    Answer(5, 9),
                    Answer(5, 9),
                    Answer(5, 9),
                    Answer(5, 9),
                    Answer(5, 9),
                    Answer(5, 5),
                ],
            ),
            (
                "alternating",
                600,
                &[
                    Answer(9, 9),
                    Answer(8, 9),
                    Answer(8, 9),
                    Answer(9, 9),
                    Answer(8, 9),
                    Answer(8, 9),
                    Answer(9, 9),
                ],
            ),
            (
                "they do not agree",
                600,
                &[
                    Answer(9, 9),
                    Answer(7, 9),
                    Answer(8, 9),
                    Answer(7, 9),
                    Answer(8, 9),
                    Answer(8, 9),
                    Answer(8, 8),
                ],
            ),
            (
                "refused",
                1,
                &[Answer(MAX, MAX), Refused, Answer(5, 5), Answer(6, 6)],
            ),
            (
                "what refused is no longer the leader",
                1,
                &[Answer(9, 9), Refused, Hint(10), Answer(9, 10)],
            ),
            (
                "the answer confirms what was refused",
                1,
                &[Answer(9, 9), Refused, Answer(9, 9), Answer(8, 9)],
            ),
            ("no epoch", 1, &[Answer(9, 9), Answer(-1, -1)]),
        ];
        let topic: Arc<str> = "t".into();
        for (name, pause, news) in table {
            let mut doubts = LeaderDoubts::new(Duration::from_secs(1));
            let mut now = Instant::now();
            let claim = |epoch| LeaderClaim {
                leader: Some(1),
                epoch,
            };
            let mut known = claim(-1);
            for (step, news) in news.iter().enumerate() {
                now += Duration::from_millis(*pause);
                match news {
                    Refused => doubts.refused(&topic, 0, known),
                    Hint(epoch) => known = claim(*epoch),
                    Answer(epoch, believed) => {
                        if doubts.believes(&topic, 0, known, claim(*epoch), now) {
                            known = claim(*epoch);
                        }
                        assert_eq!(known.epoch, *believed, "{name}, step {step}");
                    }
                }
            }
        }
    }
}
