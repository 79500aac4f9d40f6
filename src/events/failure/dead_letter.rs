//! The headers of a dead letter: where its record stood, and why it was given up.
//!
//! A dead letter is the record as it was, with these headers behind its own. [`DeadLetter::parse`] reads them. All values are text, as those of Kafka Connect
//! (`__connect.errors.…`) are, so that every tool can show them; Spring's (`kafka_dlt-original-…`) are binary numbers.
//!
//! | header | holds | Spring Kafka | Kafka Connect |
//! | --- | --- | --- | --- |
//! | [`ORIGIN_TOPIC`] | the topic that the record was read from | `kafka_dlt-original-topic` | `__connect.errors.topic` |
//! | [`ORIGIN_PARTITION`] | its partition | `kafka_dlt-original-partition` | `__connect.errors.partition` |
//! | [`ORIGIN_OFFSET`] | its offset there | `kafka_dlt-original-offset` | `__connect.errors.offset` |
//! | [`ORIGIN_TIMESTAMP`] | its timestamp, in milliseconds since 1970 | `kafka_dlt-original-timestamp` | – |
//! | [`GROUP`] | the group whose member gave it up | `kafka_dlt-original-consumer-group` | `__connect.errors.connector.name` |
//! | [`ERROR_CLASS`] | `transient` (the bounds of its retries were reached) or `poison` | – | – |
//! | [`ERROR_TYPE`] | the type of the error, as Rust calls it | `kafka_dlt-exception-fqcn` | `__connect.errors.exception.class.name` |
//! | [`ERROR_MESSAGE`] | what it said, 2,048 bytes of it at the most | `kafka_dlt-exception-message` | `__connect.errors.exception.message` |
//! | [`ATTEMPTS`] | how often the handler was called | `retry_topic-attempts` | – |
//! | [`FIRST_FAILURE`] | when it failed first, in milliseconds since 1970 | – | – |
//! | [`LAST_FAILURE`] | when it failed last, likewise | – | – |
//! | [`LEFT_OUT`] | `value`, or `value,headers`: what is not there, because with it the record is too large for the topic; the origin has it | – | – |
//! | [`VALUE_BYTES`] | how large the value is that is not there | – | – |
//! | [`REPLAYS`] | how often the record was replayed before: of its own headers one, as it is handled again with it | – | – |

//!
//! An event that is given up because processes died over it (`handler.deaths`) is `poison`, its [`ERROR_TYPE`] ends with `KilledProcesses`, and its
//! [`ATTEMPTS`] count each of them as a call.
//!
//! A record of a retry topic ([`RetryTopics`](crate::events::RetryTopics)) has the same headers, and up to four more: [`NOT_BEFORE`],
//! [`RETRY_STAGE`], [`ORIGIN_TOPIC_ID`] and [`RETRY_TRACEPARENT`]. One that was sent behind another of its key was not handled: its attempts are 0.

use std::fmt;
use std::str::FromStr;

use super::FailureClass;

/// What the names of all these headers begin with.
pub const PREFIX: &str = "dlq.";
/// The topic that the record was read from.
pub const ORIGIN_TOPIC: &str = "dlq.origin.topic";
/// The partition that the record was read from.
pub const ORIGIN_PARTITION: &str = "dlq.origin.partition";
/// The offset of the record in its partition.
pub const ORIGIN_OFFSET: &str = "dlq.origin.offset";
/// The record's timestamp, in milliseconds since 1970; -1 when it had none.
pub const ORIGIN_TIMESTAMP: &str = "dlq.origin.timestamp";
/// The group whose member gave the record up.
pub const GROUP: &str = "dlq.group";
/// The class of the last error: `transient` or `poison`.
pub const ERROR_CLASS: &str = "dlq.error.class";
/// The type of the last error.
pub const ERROR_TYPE: &str = "dlq.error.type";
/// What the last error said.
pub const ERROR_MESSAGE: &str = "dlq.error.message";
/// How often the handler was called.
pub const ATTEMPTS: &str = "dlq.attempts";
/// When it failed first, in milliseconds since 1970.
pub const FIRST_FAILURE: &str = "dlq.first.failure";
/// When it failed last, in milliseconds since 1970.
pub const LAST_FAILURE: &str = "dlq.last.failure";

/// What is left out of the record: `value` or `value,headers`.
pub const LEFT_OUT: &str = "dlq.left.out";
/// How many bytes the value has that is left out.
pub const VALUE_BYTES: &str = "dlq.value.bytes";
/// How often the record was replayed.
pub const REPLAYS: &str = "dlq.replays";

/// When a record of a retry topic is due, in milliseconds since 1970.
pub const NOT_BEFORE: &str = "retry.not.before";
/// In how many retry topics a record has waited because it failed, this one included; the others were for those of its key.
pub const RETRY_STAGE: &str = "retry.stage";
/// The id of the topic that a record of a retry topic was read from, as 32 hexadecimal digits; not there where brokers have no ids.
pub const ORIGIN_TOPIC_ID: &str = "retry.origin.topic.id";

/// The span of the last call of the handler that failed for a record of a retry topic, as W3C Trace Context writes it: the next call has a link to it. Not
/// there where no spans are recorded.
pub const RETRY_TRACEPARENT: &str = "retry.traceparent";

/// The most bytes of an error's text in a header.
const MAX_MESSAGE: usize = 2_048;

/// What of a record is not in its dead letter, because the topic takes no record that large. Its origin still has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeftOut {
    /// All of it is there. The default.
    #[default]
    Nothing,
    /// The value.
    Value,
    /// The value, and its own headers.
    ValueAndHeaders,
}

impl LeftOut {
    /// What to leave out next, where this is still too large.
    pub(crate) fn more(self) -> Option<Self> {
        match self {
            Self::Nothing => Some(Self::Value),
            Self::Value => Some(Self::ValueAndHeaders),
            Self::ValueAndHeaders => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Value => "value",
            Self::ValueAndHeaders => "value,headers",
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for LeftOut {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Nothing, Self::Value, Self::ValueAndHeaders];
        all.into_iter().find(|one| one.name() == text).ok_or(())
    }
}

/// Why a record was given up, and where it stood: what the headers of a dead letter say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The topic that the record was read from.
    pub topic: String,
    /// The partition that it was read from.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970; -1 when it had none.
    pub timestamp_ms: i64,
    /// The group whose member gave it up.
    pub group: String,
    /// The class of the last error.
    pub class: FailureClass,
    /// Its type, as Rust calls it.
    pub error_type: String,
    /// What it said.
    pub message: String,
    /// How often the handler was called.
    pub attempts: u32,
    /// When it failed first, in milliseconds since 1970.
    pub first_failure_ms: i64,
    /// When it failed last, likewise.
    pub last_failure_ms: i64,
    /// What of the record is not there.
    pub left_out: LeftOut,
    /// How many bytes its value has, where that is left out.
    pub value_bytes: usize,
    /// How often the record was replayed before.
    pub replays: u32,
}

impl DeadLetter {
    /// What the headers of a record say; of several with one name the last counts, as a dead letter may have been one before. `None`: it is no
    /// dead letter, or one of another kind.
    pub fn parse<'h>(
        headers: impl Iterator<Item = (impl AsRef<str>, Option<&'h [u8]>)>,
    ) -> Option<Self> {
        let mut letter = Self {
            partition: -1,
            offset: -1,
            ..Self::default()
        };
        for (name, value) in headers {
            let text = || value.and_then(|value| std::str::from_utf8(value).ok());
            match name.as_ref() {
                ORIGIN_TOPIC => letter.topic = text()?.to_string(),
                ORIGIN_PARTITION => letter.partition = text()?.parse().ok()?,
                ORIGIN_OFFSET => letter.offset = text()?.parse().ok()?,
                ORIGIN_TIMESTAMP => letter.timestamp_ms = text()?.parse().ok()?,
                GROUP => letter.group = text()?.to_string(),
                ERROR_CLASS => letter.class = text()?.parse().ok()?,
                ERROR_TYPE => letter.error_type = text()?.to_string(),
                ERROR_MESSAGE => letter.message = text()?.to_string(),
                ATTEMPTS => letter.attempts = text()?.parse().ok()?,
                FIRST_FAILURE => letter.first_failure_ms = text()?.parse().ok()?,
                LAST_FAILURE => letter.last_failure_ms = text()?.parse().ok()?,
                LEFT_OUT => letter.left_out = text()?.parse().ok()?,
                VALUE_BYTES => letter.value_bytes = text()?.parse().ok()?,
                REPLAYS => letter.replays = text()?.parse().ok()?,
                _ => {}
            }
        }
        let is_one = !letter.topic.is_empty() && letter.partition >= 0 && letter.offset >= 0;
        is_one.then_some(letter)
    }

    /// The headers that say so, but for how often it was replayed: the record has that among its own.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            (ORIGIN_TOPIC, self.topic.clone()),
            (ORIGIN_PARTITION, self.partition.to_string()),
            (ORIGIN_OFFSET, self.offset.to_string()),
            (ORIGIN_TIMESTAMP, self.timestamp_ms.to_string()),
            (GROUP, self.group.clone()),
            (ERROR_CLASS, self.class.to_string()),
            (ERROR_TYPE, self.error_type.clone()),
            (ERROR_MESSAGE, bounded(&self.message).to_string()),
            (ATTEMPTS, self.attempts.to_string()),
            (FIRST_FAILURE, self.first_failure_ms.to_string()),
            (LAST_FAILURE, self.last_failure_ms.to_string()),
        ];
        if self.left_out != LeftOut::Nothing {
            headers.push((LEFT_OUT, self.left_out.to_string()));
            headers.push((VALUE_BYTES, self.value_bytes.to_string()));
        }
        headers
    }
}

fn bounded(message: &str) -> &str {
    &message[..message.floor_char_boundary(MAX_MESSAGE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(message: &str) -> DeadLetter {
        DeadLetter {
            topic: "emails".into(),
            partition: 3,
            offset: i64::MAX,
            timestamp_ms: -1,
            group: "indexer".into(),
            class: FailureClass::Poison,
            error_type: "&str".into(),
            message: message.into(),
            attempts: 7,
            first_failure_ms: 5,
            last_failure_ms: 6,
            ..DeadLetter::default()
        }
    }

    fn parse(headers: &[(&'static str, String)]) -> Option<DeadLetter> {
        DeadLetter::parse(
            headers
                .iter()
                .map(|(name, value)| (*name, Some(value.as_bytes()))),
        )
    }

    #[test]
    fn what_the_headers_say_is_read_again_and_the_last_of_several_counts() {
        let one = letter("odd");
        assert_eq!(parse(&one.headers()), Some(one.clone()));
        let other = DeadLetter {
            topic: "emails.dlq".into(),
            ..letter("again")
        };
        let both = [one.headers(), other.headers()].concat();
        assert_eq!(parse(&both), Some(other));
        for left_out in [LeftOut::Value, LeftOut::ValueAndHeaders] {
            let large = DeadLetter {
                left_out,
                value_bytes: 5_000_000,
                ..letter("odd")
            };
            assert_eq!(parse(&large.headers()), Some(large));
        }
    }

    #[test]
    fn a_long_text_is_cut_between_letters() {
        let long = letter(&"ä".repeat(5_000));
        let read = parse(&long.headers()).expect("a dead letter");
        assert_eq!(read.message, "ä".repeat(MAX_MESSAGE / 2));
        let odd = letter(&format!("x{}", "ä".repeat(5_000)));
        let read = parse(&odd.headers()).expect("a dead letter");
        assert_eq!(read.message.len(), MAX_MESSAGE - 1);
    }

    #[test]
    fn headers_of_others_are_no_dead_letter() {
        assert_eq!(parse(&[]), None);
        let mut odd = letter("odd").headers();
        odd[1].1 = "three".into();
        assert_eq!(parse(&odd), None);
        assert_eq!(parse(&letter("odd").headers()[1..]), None);
    }
}
