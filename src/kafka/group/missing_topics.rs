//! Subscribed topics that do not exist, may not be seen, or are not described in a way that makes sense: waited for, looked for again now and then, told once.
//!
//! In: what the metadata says of each topic, the time. Out: when to ask for the metadata again, and an error for each topic that has been
//! missing for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::cluster::TopicError;
use crate::kafka::{Error, ErrorKind};

/// For how long at most a topic may be missing before that is told: brokers may not have heard of a new one yet.
const NEW_FOR: Duration = Duration::from_secs(5);

/// What the metadata says of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicStatus {
    Known,
    /// Why a topic is not known, by the brokers' last word on it.
    Missing(TopicError),
    /// Nobody has said anything yet.
    Unheard,
}

/// The missing topics of one subscription.
#[derive(Debug, Default)]
pub(crate) struct MissingTopics {
    missing: BTreeMap<String, Missing>,
    looks: u32,
    look_at: Option<Instant>,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    why: TopicError,
    told: bool,
}

impl MissingTopics {
    /// Takes newer metadata. `awaits_more`: topics of others are missing as well, which this member would share out.
    pub fn update(
        &mut self,
        topics: &[String],
        awaits_more: bool,
        status: impl Fn(&str) -> TopicStatus,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) {
        self.missing.retain(|name, _| topics.contains(name));
        for name in topics {
            match status(name) {
                TopicStatus::Known => drop(self.missing.remove(name)),
                TopicStatus::Missing(why) => {
                    let missing = self.missing.entry(name.clone()).or_insert(Missing {
                        since: now,
                        why,
                        told: false,
                    });
                    missing.why = why;
                }
                TopicStatus::Unheard => {}
            }
        }
        if self.missing.is_empty() && !awaits_more {
            (self.looks, self.look_at) = (0, None);
        } else if self.look_at.is_none() {
            self.look_at = Some(now + pause(self.looks + 1));
        }
    }

    /// When to look again.
    pub fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether to ask for the metadata now; once for each time.
    pub fn must_look(&mut self, now: Instant) -> bool {
        let due = self.look_at.is_some_and(|at| at <= now);
        if due {
            self.looks = self.looks.saturating_add(1);
            self.look_at = None;
        }
        due
    }

    /// The error of a topic that has been missing for `patience`, or a shorter while; once for each topic.
    pub fn report(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        let patience = patience.min(NEW_FOR);
        let (name, missing) = self
            .missing
            .iter_mut()
            .find(|(_, it)| !it.told && now.duration_since(it.since) >= patience)?;
        missing.told = true;
        Some(error_of(name, missing.why))
    }
}

/// The error of a subscribed topic that is missing.
pub(crate) fn error_of(topic: &str, why: TopicError) -> Error {
    if why.is_unknown() {
        let message =
            "the topic does not exist: it will be read once it does; create it, or check its name";
        return Error::new(ErrorKind::UnknownTopicOrPartition, message).topic(topic);
    }
    why.error(topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ErrorCode;

    #[tokio::test]
    async fn a_missing_topic_is_looked_for_with_pauses_told_once_and_forgotten_when_it_comes() {
        let start = Instant::now();
        let topics = ["here".to_string(), "not".to_string()];
        let mut missing = MissingTopics::default();
        let unknown =
            TopicStatus::Missing(TopicError::Server(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        let (mut looks, mut told) = (Vec::new(), Vec::new());
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            let status = |name: &str| match name {
                "here" => TopicStatus::Known,
                _ => unknown,
            };
            missing.update(&topics, false, status, now, |looks| {
                Duration::from_secs(u64::from(looks.min(5)))
            });
            if missing.must_look(now) {
                looks.push(second);
            }
            told.extend(
                missing
                    .report(now, Duration::from_secs(30))
                    .map(|error| (second, error.to_string())),
            );
        }
        assert_eq!(looks, [1, 4, 8, 13, 19, 25, 31, 37]);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].0 == 5 && told[0].1.starts_with("topic not: "),
            "{told:?}"
        );
        missing.update(
            &topics,
            false,
            |_| TopicStatus::Known,
            start,
            |_| Duration::ZERO,
        );
        assert_eq!(missing.look_at(), None);
    }

    #[test]
    fn every_reason_for_which_a_topic_is_missing_is_told_with_its_name() {
        let start = Instant::now();
        let topics = ["orders".to_string()];
        let refused = TopicError::Server(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
        let reasons = [
            (TopicError::Malformed, "makes no sense"),
            (TopicError::LeftOut, "leaves the topic out"),
            (refused, "TOPIC_AUTHORIZATION_FAILED"),
        ];
        for (why, text) in reasons {
            let mut missing = MissingTopics::default();
            let status = |_: &str| TopicStatus::Missing(why);
            missing.update(&topics, false, status, start, |_| Duration::from_secs(1));
            let patience = Duration::from_secs(2);
            assert!(missing.report(start, patience).is_none());
            let told = missing.report(start + patience, patience);
            let told = told.expect("told in time").to_string();
            assert!(told.contains("orders") && told.contains(text), "{told}");
        }
    }
}
