//! Why there is no schema.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::events::codec::CodecError;

/// Why a registry did not do what it was asked for. Cheap to clone: everybody who waited for the same request gets the same one.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryError(Arc<Inner>);

#[derive(PartialEq, Eq)]
struct Inner {
    message: String,
    status: Option<u16>,
    code: Option<i64>,
    may_pass: bool,
}

impl RegistryError {
    /// The registry could not be asked, or what it returned is no answer of a registry: another time it may.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            message: message.into(),
            status: None,
            code: None,
            may_pass: true,
        }))
    }

    /// It will be the same the next time.
    pub(super) fn permanent(message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            message: message.into(),
            status: None,
            code: None,
            may_pass: false,
        }))
    }

    /// The registry refused.
    pub(super) fn refused(message: String, status: u16, code: Option<i64>) -> Self {
        Self(Arc::new(Inner {
            message,
            status: Some(status),
            code,
            may_pass: matches!(status, 408 | 425 | 429 | 500 | 502..=504),
        }))
    }

    /// The HTTP status of the response, where there was one.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// The registry's own code, such as 40403 for a schema that it does not have.
    pub fn code(&self) -> Option<i64> {
        self.0.code
    }

    /// Whether the registry says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.0.status == Some(404)
    }

    /// Whether it may go well the next time.
    pub fn may_pass(&self) -> bool {
        self.0.may_pass
    }
}

impl From<RegistryError> for CodecError {
    fn from(error: RegistryError) -> Self {
        match error.may_pass() {
            true => Self::unavailable(error),
            false => Self::malformed(error),
        }
    }
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryError")
            .field("message", &self.0.message)
            .field("status", &self.0.status)
            .field("code", &self.0.code)
            .finish()
    }
}

impl Error for RegistryError {}
