//! What an answer to a batch means: written, certainly not written, or nobody knows; and what to do about it.

use crate::kafka::{Error, WriteOutcome};
use protocol::ErrorCode;

/// What to do with a batch after an attempt to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the log, from this attempt or an earlier one.
    Written,
    /// Try again. The attempt was applied or not, as the outcome says.
    Retry(WriteOutcome),
    /// The broker expects another sequence; the attempt was not applied.
    OutOfSequence,
    /// The broker knows a newer epoch of this producer id, or not the id; the attempt was not applied.
    Disowned,
    /// Too large for the broker; the attempt was not applied. Cut it up.
    TooLarge,
    /// Trying again is of no use.
    Fail(WriteOutcome),
}

/// What an answer to a batch says. `waits_for_replicas`: acks is all.
pub(super) fn of_code(code: ErrorCode, waits_for_replicas: bool) -> Verdict {
    use WriteOutcome::{NotWritten, Unknown};
    // A leader that appended the batch and lost its office before the replicas had it answers with these; the batch may have reached
    // its successor by then.
    let after_append = if waits_for_replicas {
        Unknown
    } else {
        NotWritten
    };
    match code {
        ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Verdict::Written,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
            Verdict::OutOfSequence
        }
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING => Verdict::Disowned,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Verdict::TooLarge,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::FENCED_LEADER_EPOCH => Verdict::Retry(after_append),
        ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => Verdict::Retry(NotWritten),
        // Kafka's own producer gives up here as "not written" (KAFKA-14034); nobody knows.
        ErrorCode::UNKNOWN_SERVER_ERROR => Verdict::Fail(Unknown),
        ErrorCode::INVALID_RECORD
        | ErrorCode::INVALID_TIMESTAMP
        | ErrorCode::INVALID_TOPIC_EXCEPTION
        | ErrorCode::INVALID_REQUIRED_ACKS
        | ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
        | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
        | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
        | ErrorCode::UNSUPPORTED_VERSION
        | ErrorCode::POLICY_VIOLATION => Verdict::Fail(NotWritten),
        code if code.is_retriable() => Verdict::Retry(Unknown),
        _ => Verdict::Fail(Unknown),
    }
}

/// What a request that got no answer means for each of its batches.
pub(super) fn of_error(error: &Error) -> Verdict {
    if error.is_retriable() {
        Verdict::Retry(error.outcome())
    } else {
        Verdict::Fail(error.outcome())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ErrorKind;

    /// KAFKA-14034 (UNKNOWN_SERVER_ERROR), franz-go 1.20.7 #1217 (REQUEST_TIMED_OUT): both were taken as "not written".
    #[test]
    fn errors_sort_into_written_not_written_and_unknown() {
        use WriteOutcome::{NotWritten, Unknown};
        let cases = [
            (ErrorCode::NONE, Verdict::Written),
            (ErrorCode::DUPLICATE_SEQUENCE_NUMBER, Verdict::Written),
            (ErrorCode::UNKNOWN_SERVER_ERROR, Verdict::Fail(Unknown)),
            (ErrorCode::REQUEST_TIMED_OUT, Verdict::Retry(Unknown)),
            (
                ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                Verdict::Retry(Unknown),
            ),
            (ErrorCode::KAFKA_STORAGE_ERROR, Verdict::Retry(Unknown)),
            (ErrorCode::NOT_ENOUGH_REPLICAS, Verdict::Retry(NotWritten)),
            (ErrorCode::CORRUPT_MESSAGE, Verdict::Retry(NotWritten)),
            (ErrorCode::INVALID_RECORD, Verdict::Fail(NotWritten)),
            (ErrorCode(31_999), Verdict::Fail(Unknown)),
        ];
        for (code, verdict) in cases {
            assert_eq!(of_code(code, true), verdict, "{}", code.name());
        }
    }

    #[test]
    fn a_leader_that_resigned_may_have_passed_the_batch_on() {
        let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        assert_eq!(of_code(code, true), Verdict::Retry(WriteOutcome::Unknown));
        assert_eq!(
            of_code(code, false),
            Verdict::Retry(WriteOutcome::NotWritten)
        );
    }

    #[test]
    fn a_lost_answer_is_unknown_and_a_request_that_never_left_is_not_written() {
        let lost = Error::new(ErrorKind::Disconnected, "gone");
        assert_eq!(of_error(&lost), Verdict::Retry(WriteOutcome::Unknown));
        let unsent = lost.with_outcome(WriteOutcome::NotWritten);
        assert_eq!(of_error(&unsent), Verdict::Retry(WriteOutcome::NotWritten));
    }
}
