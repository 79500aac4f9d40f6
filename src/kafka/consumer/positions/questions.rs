//! What must be asked before anything can be fetched, and what the answers do: leaders from the metadata, committed offsets from the group's
//! coordinator, offsets by time from the leaders.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::offset_reset::{LATEST_TIMESTAMP, PositionReset, ResetCause};
use super::partition::{LeaderStatus, Partition, Place, Position, Watermarks};
use super::positions::Positions;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Result, TopicId, TopicPartition};

/// What to ask before anything can be fetched. Each entry carries the version to answer under.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// The group's committed offsets of these.
    pub committed: Vec<(TopicPartition, u64)>,
    /// ListOffsets, by leader.
    pub listed: BTreeMap<i32, Vec<Listing>>,
    /// ListOffsets, by leader: where the logs end of which nothing is fetched.
    pub ends: BTreeMap<i32, Vec<Listing>>,
    /// These have no leader that is known.
    pub leaderless: Vec<(TopicPartition, u64)>,
    /// By the metadata these do not exist: it is to be asked again.
    pub gone: Vec<(TopicPartition, u64)>,
    /// Some are fetched from another node than before.
    pub moved: bool,
    /// When to look again at those that wait out a backoff.
    pub next: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub partition: TopicPartition,
    pub version: u64,
    pub timestamp: i64,
    pub leader_epoch: i32,
}

impl Positions {
    /// Takes the leaders of newer metadata. A partition that is not in it keeps the leader it had. Whether any is another than before.
    pub fn update_leaders<S: Into<LeaderStatus>>(
        &mut self,
        leader_status: impl Fn(&TopicPartition) -> S,
    ) -> bool {
        let mut last_version = self.last_version;
        let mut moved = false;
        for (name, known) in &mut self.partitions {
            match leader_status(name).into() {
                LeaderStatus::Unknown => {}
                LeaderStatus::Gone => known.gone = true,
                LeaderStatus::Led(leader) if known.is_of_another(leader.topic_id) => {
                    known.gone = true;
                }
                LeaderStatus::Led(leader) => {
                    let back = std::mem::take(&mut known.gone);
                    if back {
                        (known.not_before, known.failure) = (None, None);
                    }
                    if back || known.leader != Some(leader) {
                        last_version += 1;
                        known.led_by(name, leader, last_version, self.policy);
                        moved = true;
                        if known.stopped.is_some() {
                            self.failing.insert(name.clone());
                        }
                    }
                }
            }
        }
        self.last_version = last_version;
        moved
    }

    /// The nodes to fetch from.
    pub fn nodes(&self, now: Instant) -> BTreeSet<i32> {
        self.partitions
            .values()
            .filter_map(|known| known.node(now))
            .collect()
    }

    /// What must be asked now; everything in the answer counts as asked.
    pub fn questions(&mut self, now: Instant) -> Questions {
        let mut out = Questions::default();
        for (name, known) in &mut self.partitions {
            if known.stopped.is_some() {
                continue;
            }
            match known.preferred {
                Some((_, until)) if until > now => out.next = sooner(out.next, until),
                Some(_) => (known.preferred, out.moved) = (None, true),
                None => {}
            }
            if known.gone {
                match known.not_before.filter(|at| *at > now) {
                    Some(at) => out.next = sooner(out.next, at),
                    None => out.gone.push((name.clone(), known.version)),
                }
                continue;
            }
            known.ask_for_end(name, now, &mut out);
            if known.asking
                || (known.place == Place::Committed && self.listener_first)
                || known.needs_no_place()
                || (known.leader_node().is_some() && matches!(known.place, Place::At(_)))
            {
                continue;
            }
            if let Some(at) = known.not_before.filter(|at| *at > now) {
                out.next = sooner(out.next, at);
                continue;
            }
            known.ask(name, &mut out);
        }
        out
    }

    /// The rebalance listener is told of the assignment before the coordinator is asked for committed offsets: it may ask for them itself, or
    /// seek.
    pub fn listener_first(&mut self, listener_first: bool) {
        self.listener_first = listener_first;
    }

    /// Those of `partitions` that wait for their committed offsets, of which the listener hears first.
    pub fn asked_by_listener(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, u64)> {
        let waits = |name: &TopicPartition| {
            let known = self.partitions.get(name)?;
            let waits = self.listener_first && known.place == Place::Committed;
            waits.then(|| (name.clone(), known.version))
        };
        partitions.iter().filter_map(waits).collect()
    }

    /// The coordinator's answer about the topic of this id: the committed position, or none, in which case `policy` says where to start, and
    /// why. Its error is "do not": the partition waits for a seek.
    pub fn committed(
        &mut self,
        partition: &TopicPartition,
        version: u64,
        topic_id: Option<TopicId>,
        found: Option<Position>,
        policy: Result<(i64, ResetCause)>,
        retry_at: Instant,
    ) {
        let (new_version, reset_policy) = (self.new_version(), self.policy);
        let Some(known) = self.current(partition, version) else {
            return;
        };
        if known.place != Place::Committed {
            return;
        }
        if topic_id.is_some() && known.topic_id.is_some_and(|own| Some(own) != topic_id) {
            // Asked under newer or older metadata: about another topic of the same name.
            known.asking = false;
            known.not_before = Some(retry_at);
            return;
        }
        known.topic_id = topic_id.or(known.topic_id);
        #[cfg(planted_defects)]
        let found = found.filter(|_| !planted::is_planted(planted::Defect::CommittedOffsetIgnored));
        let moved = known.reset;
        match (found, policy) {
            (Some(position), _) => {
                known.restart(new_version, Place::At(position));
                let topic_id = known.topic_id;
                if let Some((cause, from)) = moved {
                    self.note_reset(PositionReset {
                        partition: partition.clone(),
                        topic_id,
                        cause,
                        policy: reset_policy,
                        from,
                        to: position.offset,
                        passed_over: None,
                    });
                }
            }
            (None, Ok((timestamp, cause))) => {
                known.restart(new_version, Place::Listed(timestamp));
                known.reset = moved.or(Some((cause, None)));
            }
            (None, Err(error)) => self.stop(partition, version, error),
        }
    }

    /// The leader's answer to a listing.
    pub fn listed(&mut self, partition: &TopicPartition, version: u64, found: Position) {
        let (new_version, policy) = (self.new_version(), self.policy);
        let Some(known) = self.current(partition, version) else {
            return;
        };
        if !matches!(known.place, Place::Listed(_)) {
            return;
        }
        let (reset, moves, failure) = (known.reset, known.moves, known.failure.take());
        known.restart(new_version, Place::At(found));
        // Only a record shows that the answers make sense.
        known.moves = moves;
        known.failure = failure.filter(|_| moves > 1);
        let topic_id = known.topic_id;
        if let Some((cause, from)) = reset {
            let passed_over = from
                .filter(|_| cause == ResetCause::OutOfRange)
                .map(|from| u64::try_from(found.offset.saturating_sub(from)).unwrap_or(0));
            self.note_reset(PositionReset {
                partition: partition.clone(),
                topic_id,
                cause,
                policy,
                from,
                to: found.offset,
                passed_over,
            });
        }
    }
}

/// How often the leader of a partition that is paused is asked where the log ends.
const END_EVERY: Duration = Duration::from_secs(5);

impl Positions {
    /// The leader says that the log ends at `end`.
    pub fn ends_at(&mut self, partition: &TopicPartition, version: u64, end: i64) {
        let Some(known) = self.current(partition, version) else {
            return;
        };
        let before = known
            .watermarks
            .filter(|(topic, _)| *topic == known.topic_id);
        let log_start = before.map_or(0, |(_, before)| before.log_start);
        let watermarks = Watermarks {
            log_start,
            high_watermark: end,
            last_stable: end,
        };
        known.watermarks = Some((known.topic_id, watermarks));
    }
}

impl Partition {
    /// What is paused is not fetched, and its log may grow all the same.
    fn ask_for_end(&mut self, name: &TopicPartition, now: Instant, out: &mut Questions) {
        if !self.paused {
            self.end_asked = None;
            return;
        }
        let (Some(leader), Place::At(_)) = (self.leader, self.place) else {
            return;
        };
        let Some(node) = leader.node else { return };
        // What was fetched a moment ago is known.
        let known_at = self.end_asked.or_else(|| self.watermarks.map(|_| now));
        let due = known_at.map_or(now, |at| at + END_EVERY);
        self.end_asked = known_at;
        if due <= now {
            self.end_asked = Some(now);
            out.ends.entry(node).or_default().push(Listing {
                partition: name.clone(),
                version: self.version,
                timestamp: LATEST_TIMESTAMP,
                leader_epoch: leader.epoch,
            });
        }
        let again = if due <= now { now + END_EVERY } else { due };
        out.next = sooner(out.next, again);
    }

    fn ask(&mut self, name: &TopicPartition, out: &mut Questions) {
        let version = self.version;
        if self.place == Place::Committed {
            self.asking = true;
            out.committed.push((name.clone(), version));
            return;
        }
        let Some((node, leader_epoch)) = self
            .leader
            .and_then(|leader| Some((leader.node?, leader.epoch)))
        else {
            out.leaderless.push((name.clone(), version));
            return;
        };
        let partition = name.clone();
        match self.place {
            Place::Listed(timestamp) => {
                out.listed.entry(node).or_default().push(Listing {
                    partition,
                    version,
                    timestamp,
                    leader_epoch,
                });
            }
            Place::At(_) | Place::Committed => return,
        }
        self.asking = true;
    }
}

pub(super) fn sooner(one: Option<Instant>, other: Instant) -> Option<Instant> {
    Some(one.map_or(other, |one| one.min(other)))
}
