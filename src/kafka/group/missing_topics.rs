//! Subscribed topics that do not exist, may not be seen, or whose metadata makes no sense: awaited, asked for again now and then, reported
//! once.
//!
//! In: what the metadata says of each topic, the time. Out: when to ask for the metadata again, and an error for each topic that has been
//! missing for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::kafka::cluster::TopicError;
use crate::kafka::error::may_pass;
use crate::kafka::{Error, ErrorKind};

/// For how long at most a topic may be missing before that is reported: brokers may not know of a new one yet.
const NEW_FOR: Duration = Duration::from_secs(5);

/// What the metadata says of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicStatus {
    Known,
    /// Why a topic is not known, by the brokers' newest response.
    Missing(TopicError),
    /// Nobody has said anything yet.
    Unheard,
}

/// The missing topics of one subscription.
#[derive(Debug, Default)]
pub(crate) struct MissingTopics {
    missing: BTreeMap<String, Missing>,
    refreshes: u32,
    next_refresh: Option<Instant>,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    why: TopicError,
    reported: Option<Instant>,
}

impl MissingTopics {
    /// Takes newer metadata. `awaits_more`: topics of others are missing as well, which this member would assign.
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
                        reported: None,
                    });
                    missing.why = why;
                }
                TopicStatus::Unheard => {}
            }
        }
        if self.missing.is_empty() && !awaits_more {
            (self.refreshes, self.next_refresh) = (0, None);
        } else if self.next_refresh.is_none() {
            self.next_refresh = Some(now + pause(self.refreshes + 1));
        }
    }

    /// When to ask again.
    pub fn next_refresh(&self) -> Option<Instant> {
        self.next_refresh
    }

    /// Whether to ask for the metadata now; once for each time.
    pub fn refresh_due(&mut self, now: Instant) -> bool {
        let due = self.next_refresh.is_some_and(|at| at <= now);
        if due {
            self.refreshes = self.refreshes.saturating_add(1);
            self.next_refresh = None;
        }
        due
    }

    /// The error of a topic that has been missing for `patience`, or a shorter while; once for each topic. What only a person can change,
    /// such as a topic that this client may not see, is reported again as long as it lasts, once per `patience`.
    pub fn report(&mut self, now: Instant, patience: Duration) -> Option<Error> {
        let is_due = |(name, missing): &(&String, &mut Missing)| match missing.reported {
            None => now.duration_since(missing.since) >= patience.min(NEW_FOR),
            Some(at) => {
                let may_pass = may_pass(&error_of(name, missing.why));
                !may_pass && now.duration_since(at) >= patience
            }
        };
        let (name, missing) = self.missing.iter_mut().find(is_due)?;
        missing.reported = Some(now);
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
    async fn a_missing_topic_is_looked_for_with_pauses_reported_once_and_forgotten_when_it_comes() {
        let start = Instant::now();
        let topics = ["here".to_string(), "not".to_string()];
        let mut missing = MissingTopics::default();
        let unknown =
            TopicStatus::Missing(TopicError::Server(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
        let (mut refreshes, mut reported) = (Vec::new(), Vec::new());
        for second in 0..40 {
            let now = start + Duration::from_secs(second);
            let status = |name: &str| match name {
                "here" => TopicStatus::Known,
                _ => unknown,
            };
            missing.update(&topics, false, status, now, |refreshes| {
                Duration::from_secs(u64::from(refreshes.min(5)))
            });
            if missing.refresh_due(now) {
                refreshes.push(second);
            }
            reported.extend(
                missing
                    .report(now, Duration::from_secs(30))
                    .map(|error| (second, error.to_string())),
            );
        }
        assert_eq!(refreshes, [1, 4, 8, 13, 19, 25, 31, 37]);
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(
            reported[0].0 == 5 && reported[0].1.starts_with("topic not: "),
            "{reported:?}"
        );
        missing.update(
            &topics,
            false,
            |_| TopicStatus::Known,
            start,
            |_| Duration::ZERO,
        );
        assert_eq!(missing.next_refresh(), None);
    }

    #[test]
    fn every_reason_for_which_a_topic_is_missing_is_reported_with_its_name() {
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
            let reported = missing.report(start + patience, patience);
            let reported = reported.expect("reported in time").to_string();
            assert!(
                reported.contains("orders") && reported.contains(text),
                "{reported}"
            );
        }
    }

    /// As in Java, where each metadata with such a topic fails a poll; what may be different next time is reported once.
    #[test]
    fn a_topic_that_is_refused_for_good_is_reported_again_and_again() {
        let start = Instant::now();
        let topics = ["orders".to_string()];
        let patience = Duration::from_secs(30);
        let mut repeated = Vec::new();
        for code in ErrorCode::all().filter(|code| *code != ErrorCode::NONE) {
            let mut missing = MissingTopics::default();
            let mut reports = 0;
            for second in 0..100 {
                let now = start + Duration::from_secs(second);
                let status = |_: &str| TopicStatus::Missing(TopicError::Server(code));
                missing.update(&topics, false, status, now, |_| Duration::from_secs(1));
                reports += usize::from(missing.report(now, patience).is_some());
            }
            match reports {
                1 => {}
                // After 5, 35, 65 and 95 seconds.
                4 => repeated.push(code.name()),
                _ => panic!("{}: {reports} reports", code.name()),
            }
        }
        for code in ["TOPIC_AUTHORIZATION_FAILED", "INVALID_TOPIC_EXCEPTION"] {
            assert!(repeated.contains(&code), "{code}");
        }
        for code in ["UNKNOWN_TOPIC_OR_PARTITION", "LEADER_NOT_AVAILABLE"] {
            assert!(!repeated.contains(&code), "{code}");
        }
    }
}
