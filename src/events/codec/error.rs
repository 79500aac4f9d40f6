//! Why bytes are no event, or an event cannot be encoded.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why a codec could not encode or decode. Cheap to clone.
#[derive(Clone)]
pub struct CodecError {
    cause: Arc<dyn Error + Send + Sync>,
    may_pass: bool,
}

impl CodecError {
    /// The data is not what its type says, or the event has no encoding: it will be the same the next time.
    pub fn malformed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Arc::from(cause.into()),
            may_pass: false,
        }
    }

    /// What the codec needs is not to be had now, such as a schema from a registry that does not respond. An event that cannot be decoded for
    /// that reason counts as one whose handler failed, not as one that cannot be read.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Arc::from(cause.into()),
            may_pass: true,
        }
    }

    /// Whether it may go well the next time.
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodecError")
            .field("cause", &self.cause)
            .field("may_pass", &self.may_pass)
            .finish()
    }
}

/// Errors that say the same are equal.
impl PartialEq for CodecError {
    fn eq(&self, other: &Self) -> bool {
        self.may_pass == other.may_pass && self.to_string() == other.to_string()
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // Its own text is ours.
        self.cause.source()
    }
}
