//! The one error of the client: kind, context, source. In: what failed and where. Out: one line to read, and answers to "does a retry
//! make sense?" and "may it have happened?".

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use protocol::{ApiKey, ErrorCode};

use super::codes::{kind_of, only_reads, outcome_of};
use super::rights;
use super::sanitised::sanitised;
use crate::kafka::model::{Address, TopicPartition};

/// The client's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed, where, why, and what to do about it.
///
/// As big as a pointer and cheap to clone, so that one failure can complete every record of a batch.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    code: Option<ErrorCode>,
    api: Option<ApiKey>,
    broker: Option<(i32, Address)>,
    topic: Option<Arc<str>>,
    topic_partition: Option<TopicPartition>,
    /// The offset that it was about, and the first one that it is not about any more.
    offsets: Option<(i64, Option<i64>)>,
    attempt: Option<u32>,
    outcome: Option<WriteOutcome>,
    /// The client goes on trying.
    tried_on: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// What sort of failure an [`Error`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An option is unknown, or its value is not allowed.
    Config,
    /// No connection could be made to any of the addresses tried.
    Connect,
    /// The connection ended before the answer came.
    Disconnected,
    /// The deadline passed.
    Timeout,
    /// The broker answered with an error code.
    Server(ErrorCode),
    /// The broker does not speak a version of the API that the client needs.
    UnsupportedVersion,
    /// The peer sent bytes that are not what the protocol says, or is no Kafka broker at all.
    Protocol,
    /// A record that no broker takes: a topic name that cannot be, a negative timestamp or partition, or a partition that the application's
    /// own partitioner made up.
    InvalidRecord,
    /// The topic's metadata is not here yet, and the caller asked not to wait.
    MetadataPending,
    /// A record, or a batch of one record, is over the client's or the broker's limit.
    RecordTooLarge,
    /// A bounded queue or byte budget is full, and the caller asked not to wait.
    BufferFull,
    /// The topic or the partition does not exist, or the broker does not know of it yet.
    UnknownTopicOrPartition,
    /// The topic was deleted and re-created under the same name: what was asked is about the one that is gone.
    TopicRecreated,
    /// The offset asked for lies outside the partition's log.
    OffsetOutOfRange,
    /// There is no committed offset, and the policy says not to reset.
    NoOffset,
    /// A record batch failed its checksum, or cannot be read.
    CorruptBatch,
    /// Another producer or group member took this one's place.
    Fenced,
    /// The transaction was aborted, or can only be aborted: nothing of it is to be seen by `read_committed` readers. The producer can go on
    /// with another one.
    TransactionAborted,
    /// The group is rebalancing, or this member is no longer part of it.
    Rebalance,
    /// The producer, consumer or client was closed.
    Closed,
    /// The broker did not accept who the client says it is.
    Authentication,
    /// The client may not do this.
    Authorization,
    /// The partition has no leader now: its brokers are down, or electing one.
    NoLeader,
    /// One of the client's own tasks panicked: a defect of the client.
    Internal,
}

/// Whether a failed write may have happened. There is no fourth case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WriteOutcome {
    /// The broker certainly did not apply it.
    NotWritten,
    /// The broker certainly applied it.
    Written,
    /// It may or may not have been applied.
    Unknown,
}

impl Error {
    /// An error of `kind`; `message` says what happened and, where it can, what to do.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            code: None,
            api: None,
            broker: None,
            topic: None,
            topic_partition: None,
            offsets: None,
            attempt: None,
            outcome: None,
            tried_on: false,
            source: None,
        }))
    }

    /// What a broker answered: its error code, with the message that came with it, if any. Only for what a broker did say; its text is
    /// [sanitised].
    pub(crate) fn server(code: ErrorCode, message: Option<&str>) -> Self {
        let text = match message {
            Some(message) if !message.is_empty() => {
                format!("the broker answered {code}: {}", sanitised(message))
            }
            _ => format!("the broker answered {code}: {}", code.description()),
        };
        let mut error = Self::new(kind_of(code), text);
        error.edit().code = Some(code);
        error
    }

    /// Names the API that was called.
    pub(crate) fn api(mut self, api: ApiKey) -> Self {
        self.edit().api = Some(api);
        self
    }

    /// Names the broker that was spoken to; -1 while its id is not known.
    pub(crate) fn broker(mut self, id: i32, address: &Address) -> Self {
        self.edit().broker = Some((id, address.clone()));
        self
    }

    /// Names the topic that it was about, where no partition is.
    pub(crate) fn topic(mut self, topic: impl Into<Arc<str>>) -> Self {
        self.edit().topic = Some(topic.into());
        self
    }

    /// Names the partition that it was about.
    pub(crate) fn topic_partition(mut self, topic: impl Into<Arc<str>>, partition: i32) -> Self {
        self.edit().topic_partition = Some(TopicPartition::new(topic, partition));
        self
    }

    /// Names the offset that it was about, and, if known, the offset to go on from without it.
    pub(crate) fn offset(mut self, offset: i64, resume: Option<i64>) -> Self {
        self.edit().offsets = Some((offset, resume));
        self
    }

    /// Says which attempt this was, from 1.
    pub(crate) fn attempt(mut self, attempt: u32) -> Self {
        self.edit().attempt = Some(attempt);
        self
    }

    /// Says what is known of a write's fate, where the kind alone does not.
    pub(crate) fn with_outcome(mut self, outcome: WriteOutcome) -> Self {
        self.edit().outcome = Some(outcome);
        self
    }

    /// Says that the client goes on trying by itself: whoever calls again may see it pass, whatever the kind says.
    pub(crate) fn tried_on(mut self) -> Self {
        self.edit().tried_on = true;
        self
    }

    /// As [`tried_on`](Self::tried_on) where the kind says that this is the end: it is not.
    pub(crate) fn not_the_end(self) -> Self {
        match self.is_fatal() {
            true => self.tried_on(),
            false => self,
        }
    }

    /// Says what this came from.
    pub(crate) fn because(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.edit().source = Some(Arc::from(source.into()));
        self
    }

    /// Says that the peer hung up right after our first bytes, as listeners do that want encryption or authentication.
    pub(crate) fn closed_at_once(mut self) -> Self {
        if let Some(source) = &self.0.source
            && !self.is_closed_at_once()
        {
            let message = format!("{}: {source}", self.0.message);
            self.edit().message = message.into();
        }
        self.because(ClosedAtOnce)
    }

    /// Whether the peer hung up right after our first bytes.
    pub(crate) fn is_closed_at_once(&self) -> bool {
        let source = self.0.source.as_deref();
        source.is_some_and(|source| source.is::<ClosedAtOnce>())
    }

    /// The operating system's or the byte stream's error that it came from, if it did.
    pub(crate) fn io(&self) -> Option<&std::io::Error> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// The error of the client's that it came from, if it did.
    pub(crate) fn beneath(&self) -> Option<&Error> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Says first what it was about.
    pub(crate) fn prefixed(mut self, about: &str) -> Self {
        let message = format!("{about}: {}", self.0.message);
        self.edit().message = message.into();
        self
    }

    fn edit(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }

    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The broker's error code, where a broker answered with one.
    pub fn server_error(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// The API that was called.
    pub(crate) fn api_key(&self) -> Option<ApiKey> {
        self.0.api
    }

    /// The topic that it was about, where it was about one and none of its partitions.
    pub(crate) fn topic_name(&self) -> Option<&Arc<str>> {
        self.0.topic.as_ref()
    }

    /// The partition that it was about, where it was about one.
    pub fn partition(&self) -> Option<&TopicPartition> {
        self.0.topic_partition.as_ref()
    }

    /// The offset that it was about: where a partition cannot be read on.
    pub fn failed_offset(&self) -> Option<i64> {
        Some(self.0.offsets?.0)
    }

    /// For a batch that cannot be read: the first offset after it. Seek there to go on without it.
    pub fn resume_offset(&self) -> Option<i64> {
        self.0.offsets?.1
    }

    /// What happened, without the context that `Display` adds.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later. For a write see [`Error::outcome`] as well: a repeated write may be a second one.
    pub fn is_retriable(&self) -> bool {
        match self.0.code {
            _ if self.0.tried_on => true,
            Some(code) => code.is_retriable(),
            None => matches!(
                self.0.kind,
                ErrorKind::Connect
                    | ErrorKind::Disconnected
                    | ErrorKind::Timeout
                    | ErrorKind::BufferFull
                    | ErrorKind::MetadataPending
                    | ErrorKind::UnknownTopicOrPartition
                    | ErrorKind::CorruptBatch
                    | ErrorKind::Rebalance
                    | ErrorKind::NoLeader
            ),
        }
    }

    /// Whether the producer, consumer or client that it came from is of no use any more.
    pub fn is_fatal(&self) -> bool {
        let ends = matches!(
            self.0.kind,
            ErrorKind::Fenced
                | ErrorKind::Closed
                | ErrorKind::Authentication
                | ErrorKind::UnsupportedVersion
                | ErrorKind::Internal
        );
        ends && !self.0.tried_on
    }

    /// Whether it is of a request that changes nothing.
    pub(crate) fn is_of_reading(&self) -> bool {
        self.0.api.is_some_and(only_reads)
    }

    /// For a write: whether it may have happened. What only reads has written nothing.
    pub fn outcome(&self) -> WriteOutcome {
        if self.is_of_reading() {
            return WriteOutcome::NotWritten;
        }
        if let Some(outcome) = self.0.outcome {
            return outcome;
        }
        match (self.0.code, self.0.kind) {
            (Some(code), _) => outcome_of(code),
            (None, ErrorKind::Disconnected | ErrorKind::Timeout | ErrorKind::Protocol) => {
                WriteOutcome::Unknown
            }
            (None, _) => WriteOutcome::NotWritten,
        }
    }
}

/// The peer hung up right after our first bytes.
#[derive(Debug)]
struct ClosedAtOnce;

impl fmt::Display for ClosedAtOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "right after our first bytes: the listener may want another security.protocol (TLS or SASL, or neither), or it is a proxy without a broker behind it",
        )
    }
}

impl std::error::Error for ClosedAtOnce {}

/// One line: what failed, where, why.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut context = Vec::new();
        if let Some(api) = inner.api {
            context.push(api.name().to_string());
        }
        match &inner.broker {
            Some((id, address)) if *id >= 0 => context.push(format!("broker {id} ({address})")),
            Some((_, address)) => context.push(format!("broker {address}")),
            None => {}
        }
        match (&inner.topic_partition, inner.offsets) {
            (Some(partition), Some((offset, _))) => {
                context.push(format!("{partition} at offset {offset}"))
            }
            (Some(partition), None) => context.push(partition.to_string()),
            (None, _) => context.extend(inner.topic.iter().map(|topic| format!("topic {topic}"))),
        }
        if let Some(attempt) = inner.attempt {
            context.push(format!("attempt {attempt}"));
        }
        if !context.is_empty() {
            write!(f, "{}: ", context.join(", "))?;
        }
        f.write_str(&inner.message)?;
        if let Some(source) = &inner.source {
            write!(f, ": {source}")?;
        }
        let refused = inner.api.zip(self.server_error());
        match refused.and_then(|(api, code)| rights::needed(api, code)) {
            Some(right) => write!(f, "; the client's principal needs {right}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

/// [`Display`](fmt::Display) ends with why: the source is what that does not say already, so that whoever prints the whole chain reads
/// nothing twice.
impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().and_then(|source| source.source())
    }
}

#[cfg(test)]
mod tests;
