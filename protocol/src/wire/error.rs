//! What went wrong while encoding or decoding, where, and what would have been right.

use std::fmt;

/// Bytes that are not the message they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError(Box<Malformed>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Malformed {
    message: &'static str,
    field: String,
    offset: usize,
    expected: &'static str,
}

impl DecodeError {
    /// At byte `offset` there should have been `expected`.
    #[cold]
    #[inline(never)]
    pub fn new(offset: usize, expected: &'static str) -> Self {
        Self(Box::new(Malformed {
            message: "frame",
            field: String::new(),
            offset,
            expected,
        }))
    }

    /// The message that was being read, by Kafka's name; `frame` outside any message.
    pub fn message(&self) -> &'static str {
        self.0.message
    }

    /// The path of the field, `topics.partitions.records`; empty outside any field.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// The byte of the input at which it was noticed.
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// What should have been there.
    pub fn expected(&self) -> &'static str {
        self.0.expected
    }

    /// The same error, one field further out.
    #[cold]
    #[inline(never)]
    pub fn at(mut self, field: &'static str) -> Self {
        prepend(&mut self.0.field, field);
        self
    }

    /// The same error, in the message of this name.
    #[cold]
    #[inline(never)]
    pub fn of(mut self, message: &'static str) -> Self {
        self.0.message = message;
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Malformed {
            message,
            field,
            offset,
            expected,
        } = &*self.0;
        write!(
            f,
            "malformed {message}{}{field}: expected {expected} at byte {offset}",
            dot(field)
        )
    }
}

impl std::error::Error for DecodeError {}

/// A value that cannot be said in this version of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(Box<Unsayable>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Unsayable {
    message: &'static str,
    field: String,
    version: i16,
    reason: &'static str,
}

impl EncodeError {
    /// The reason why it cannot be written; message and field are added on the way out.
    #[cold]
    #[inline(never)]
    pub fn new(version: i16, reason: &'static str) -> Self {
        Self(Box::new(Unsayable {
            message: "frame",
            field: String::new(),
            version,
            reason,
        }))
    }

    /// The message that was being written, by Kafka's name.
    pub fn message(&self) -> &'static str {
        self.0.message
    }

    /// The path of the field; empty when the message as a whole is at fault.
    pub fn field(&self) -> &str {
        &self.0.field
    }

    /// The version it was to be written in.
    pub fn version(&self) -> i16 {
        self.0.version
    }

    /// Why it cannot be written.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The same error, one field further out.
    #[cold]
    #[inline(never)]
    pub fn at(mut self, field: &'static str) -> Self {
        prepend(&mut self.0.field, field);
        self
    }

    /// The same error, in the message of this name.
    #[cold]
    #[inline(never)]
    pub fn of(mut self, message: &'static str) -> Self {
        self.0.message = message;
        self
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unsayable {
            message,
            field,
            version,
            reason,
        } = &*self.0;
        write!(
            f,
            "cannot encode {message}{}{field} in version {version}: {reason}",
            dot(field)
        )
    }
}

impl std::error::Error for EncodeError {}

fn prepend(path: &mut String, field: &str) {
    let field = field.trim_start_matches("r#");
    *path = if path.is_empty() {
        field.to_owned()
    } else {
        format!("{field}.{path}")
    };
}

fn dot(field: &str) -> &'static str {
    if field.is_empty() { "" } else { "." }
}
