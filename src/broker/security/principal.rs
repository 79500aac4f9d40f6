//! A client's name, as Kafka writes it: `User:alice`.

use std::fmt;
use std::sync::Arc;

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Principal(Arc<str>);

impl Principal {
    /// Somebody who has not said it.
    pub(crate) fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    pub(crate) fn user(name: &str) -> Self {
        Self(format!("User:{name}").into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
