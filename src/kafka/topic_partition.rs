//! The names of topics and partitions.

use std::fmt;
use std::sync::Arc;

use super::{Error, ErrorKind, Result, WriteOutcome};

/// The longest name of a topic, in bytes.
const NAME_MAX: usize = 249;

/// Refuses a name that no topic can have, before a broker is asked for it.
pub(crate) fn check_topic_name(name: &str) -> Result<()> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let wrong = if name.is_empty() {
        "a topic's name is empty".to_string()
    } else if name.len() > NAME_MAX {
        let bytes = name.len();
        format!("a topic's name has {bytes} bytes, and at most {NAME_MAX} are allowed")
    } else if matches!(name, "." | "..") || !name.bytes().all(is_allowed) {
        format!(
            "no topic can be called {name:?}: a name has letters, digits, '.', '_' and '-', and is not '.' or '..'"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::InvalidRecord, wrong).with_outcome(WriteOutcome::NotWritten))
}

/// A topic's name and the number of one of its partitions.
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
