//! Errors as the client returns them.

use std::borrow::Cow;

use crate::kafka::{Error, ErrorCode, ErrorKind, TopicPartition, WriteOutcome};

/// An error of `kind`, with this message.
///
/// [`Error::is_retriable`], [`Error::is_fatal`] and [`Error::outcome`] are those of the
/// kind. Of [`ErrorKind::Server`] it is [`server_error`], with the message behind it.
pub fn error(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    let message = message.into();
    match kind {
        ErrorKind::Server(code) => Error::server(code, Some(&message)),
        kind => Error::new(kind, message),
    }
}

/// The error for a broker that answered with `code`.
///
/// Its kind is what the client makes of the code:
/// `NOT_ENOUGH_REPLICAS` is [`ErrorKind::Server`], `TOPIC_AUTHORIZATION_FAILED` is
/// [`ErrorKind::Authorization`].
///
/// ```
/// use pat_events::kafka::testing::server_error;
/// use pat_events::kafka::{ErrorCode, ErrorKind};
///
/// let error = server_error(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
/// assert_eq!(error.kind(), ErrorKind::Authorization);
/// assert!(!error.is_retriable());
/// ```
pub fn server_error(code: ErrorCode) -> Error {
    Error::server(code, None)
}

/// The same error, about this partition.
pub fn error_at(error: Error, partition: &TopicPartition) -> Error {
    error.topic_partition(partition.topic.clone(), partition.partition)
}

/// The same error of a write that may have happened, or did, or did not, as `outcome`
/// says.
pub fn error_with_outcome(error: Error, outcome: WriteOutcome) -> Error {
    error.with_outcome(outcome)
}

/// The error of a poll for a batch at `offset` that cannot be read, and that ends before
/// `resume`: [`ErrorKind::CorruptBatch`], with [`Error::failed_offset`] and
/// [`Error::resume_offset`].
pub fn unreadable(partition: &TopicPartition, offset: i64, resume: i64) -> Error {
    let message =
        format!("the batch there cannot be read, seek to offset {resume} to go on without it");
    error_at(Error::new(ErrorKind::CorruptBatch, message), partition).offset(offset, Some(resume))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_the_client_makes_of_them() {
        let refused = error(
            ErrorKind::Server(ErrorCode::NOT_ENOUGH_REPLICAS),
            "two of three",
        );
        assert_eq!(refused.server_error(), Some(ErrorCode::NOT_ENOUGH_REPLICAS));
        assert!(refused.is_retriable() && refused.to_string().contains("two of three"));
        let code = server_error(ErrorCode::UNKNOWN_SERVER_ERROR);
        assert_eq!(code.outcome(), WriteOutcome::Unknown);
        let timeout = error(ErrorKind::Timeout, "no answer");
        assert_eq!(timeout.outcome(), WriteOutcome::Unknown);
        let before = error_with_outcome(timeout, WriteOutcome::NotWritten);
        assert_eq!(before.outcome(), WriteOutcome::NotWritten);
        let partition = TopicPartition::new("orders", 2);
        let corrupt = unreadable(&partition, 7, 9);
        assert_eq!(corrupt.partition(), Some(&partition));
        assert_eq!(
            (corrupt.failed_offset(), corrupt.resume_offset()),
            (Some(7), Some(9))
        );
    }
}
