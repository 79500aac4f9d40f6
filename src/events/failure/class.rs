//! Kinds of failures, and who says which one an error is: the error itself, or the application's own rule for errors of a type.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kafka::config::values::Kind;

/// Whether it helps to call the handler again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// It may go well the next time: a database that does not respond. The record is [retried](super::RetryPolicy). The default of every
    /// error.
    #[default]
    Transient,
    /// It fails each time, because of what the record holds: [`OnFailure`](super::OnFailure) decides, at once.
    Poison,
    /// Nothing can be handled any more, such as when the application is set up in a wrong way: the consumer stops, whatever the policy. The
    /// record is not committed.
    Fatal,
}

impl FailureClass {
    pub(crate) const KIND: Kind<Self> = Kind::any("transient, poison or fatal");
}

impl FromStr for FailureClass {
    type Err = crate::kafka::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "transient" => Ok(Self::Transient),
            "poison" => Ok(Self::Poison),
            "fatal" => Ok(Self::Fatal),
            _ => Err(Self::KIND.refusal("on.panic", text)),
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient => "transient",
            Self::Poison => "poison",
            Self::Fatal => "fatal",
        })
    }
}

/// Says of what class errors are that do not say so themselves ([`HandlerError::poison`](crate::events::HandlerError::poison) and its like
/// do), by their type or anything else. `None` leaves it at transient.
///
/// ```
/// use pat_events::events::{Classify, ConsumerConfig, FailureClass};
///
/// let mut config = ConsumerConfig::new("localhost:9092", "emails", "indexer");
/// config.classify = Classify::by(|error| {
///     let is_no_number = error.is::<std::num::ParseIntError>();
///     is_no_number.then_some(FailureClass::Poison)
/// });
/// ```
#[derive(Clone, Default)]
pub struct Classify(Option<Arc<Rule>>);

type Rule = dyn Fn(&(dyn Error + Send + Sync + 'static)) -> Option<FailureClass> + Send + Sync;

impl Classify {
    /// By `rule`.
    pub fn by(
        rule: impl Fn(&(dyn Error + Send + Sync + 'static)) -> Option<FailureClass>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Some(Arc::new(rule)))
    }

    pub(crate) fn class(&self, error: &(dyn Error + Send + Sync + 'static)) -> FailureClass {
        let rule = self.0.as_ref();
        rule.and_then(|rule| rule(error)).unwrap_or_default()
    }
}

impl fmt::Debug for Classify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "Classify(by a rule)",
            None => "Classify(none)",
        })
    }
}
