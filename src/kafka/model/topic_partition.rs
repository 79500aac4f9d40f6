//! The names of topics and partitions.

use std::fmt;
use std::sync::Arc;

use super::names::check_topic;
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// Refuses a record for a topic that cannot be, before a broker is asked for it.
pub(crate) fn check_topic_name(name: &str) -> Result<()> {
    check_topic(name).map_err(|error| {
        let message = error.message().to_string();
        Error::new(ErrorKind::InvalidRecord, message).with_outcome(WriteOutcome::NotWritten)
    })
}

/// A topic's name and the number of one of its partitions: the key by which Kafka knows a partition, which has no third part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

/// `topic-partition`, as Kafka's tools print it.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_topic_can_have_are_refused() {
        let long = "x".repeat(250);
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "ä",
            "a\0",
            &long,
            &"x".repeat(40_000),
        ] {
            let error = check_topic_name(bad).expect_err("no topic");
            assert_eq!(error.kind(), ErrorKind::InvalidRecord);
            assert!(!error.is_retriable() && error.to_string().len() < 400);
        }
        for good in ["a", "A.b_c-9", "...", &long[..249]] {
            assert!(check_topic_name(good).is_ok(), "{good}");
        }
    }
}
