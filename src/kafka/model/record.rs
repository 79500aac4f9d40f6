//! What an application hands to the producer: borrowed parts, copied once, straight into the open batch of their partition.

/// A record to be written. Everything is borrowed: the producer copies it into a batch before `enqueue` or `send` returns.
///
/// ```
/// use pat_events::kafka::{Header, Record};
///
/// let headers = [Header::new("source", b"imap")];
/// let record = Record::new("emails").key(b"id-1").value(b"hello").headers(&headers);
/// assert_eq!(record.partition, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record<'a> {
    /// The topic to write to.
    pub topic: &'a str,
    /// The partition to write to; `None` lets the partitioner choose.
    pub partition: Option<i32>,
    /// The key: records of one key go to one partition and stay in order there. `None` is Kafka's null.
    pub key: Option<&'a [u8]>,
    /// The value. `None` is Kafka's null: a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Names and values beside the record; names may repeat and keep their order.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since 1970, not negative: as Kafka's own producer, this one refuses a record from before. `None` takes the time at
    /// which the record is accepted.
    pub timestamp_ms: Option<i64>,
}

/// A name and a value beside a record: a header of Kafka's has no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name. The protocol says that it is UTF-8, and nobody holds clients to it.
    pub key: &'a [u8],
    /// The value; `None` is Kafka's null.
    pub value: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// A record for `topic`, with a null key, a null value, and no headers.
    pub fn new(topic: &'a str) -> Self {
        Self {
            topic,
            ..Self::default()
        }
    }

    /// Sets the key.
    pub fn key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the value.
    pub fn value(mut self, value: &'a [u8]) -> Self {
        self.value = Some(value);
        self
    }

    /// Sets the headers.
    pub fn headers(mut self, headers: &'a [Header<'a>]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets the partition.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Sets the timestamp, in milliseconds since 1970; not negative.
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> Self {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

impl<'a> Header<'a> {
    /// The header `key` = `value`.
    pub fn new(key: &'a str, value: &'a [u8]) -> Self {
        Self::raw(key.as_bytes(), Some(value))
    }

    /// The header `key` with a null value.
    pub const fn null(key: &'a str) -> Self {
        Self::raw(key.as_bytes(), None)
    }

    /// A header whose name need not be text, for programs that hand on what others have written.
    pub const fn raw(key: &'a [u8], value: Option<&'a [u8]>) -> Self {
        Self { key, value }
    }
}
