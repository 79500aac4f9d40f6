//! What an answer to a batch means: written, certainly not written, or nobody knows; and what to do about it.

#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::{Error, ErrorKind, WriteOutcome};
use protocol::ErrorCode;

/// What to do with a batch after an attempt to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProduceOutcome {
    /// It is in the log, from this attempt or an earlier one.
    Written,
    /// Try again. The attempt was applied or not, as the outcome says.
    Retry(WriteOutcome),
    /// The broker expects another sequence; the attempt was not applied.
    OutOfSequence,
    /// The broker knows a newer epoch of this producer id, or not the id; the attempt was not applied.
    Fenced,
    /// Too large for the broker; the attempt was not applied. Cut it up.
    TooLarge,
    /// Trying again is of no use.
    Fail(WriteOutcome),
}

/// What a producer asked for, as far as it decides what an answer means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// `acks` is all: an answer comes after replication.
    pub waits_for_replicas: bool,
    /// Brokers recognise what is repeated: any doubt is settled by sending the batch again as it was.
    pub is_idempotent: bool,
    /// It is of a transaction: a broker that says that it is over has not written it.
    pub is_transactional: bool,
}

/// What an answer to a batch says.
pub(crate) fn of_code(code: ErrorCode, promise: Promise) -> ProduceOutcome {
    use WriteOutcome::{NotWritten, Unknown};
    // A leader that appended the batch and lost its office before the replicas had it answers with these; the batch may have reached
    // its successor by then.
    let after_append = if promise.waits_for_replicas {
        Unknown
    } else {
        NotWritten
    };
    let in_doubt = if promise.is_idempotent {
        ProduceOutcome::Retry(Unknown)
    } else {
        ProduceOutcome::Fail(Unknown)
    };
    match code {
        ErrorCode::NONE | ErrorCode::DUPLICATE_SEQUENCE_NUMBER => ProduceOutcome::Written,
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
            ProduceOutcome::OutOfSequence
        }
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::INVALID_PRODUCER_ID_MAPPING => ProduceOutcome::Fenced,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => ProduceOutcome::TooLarge,
        ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
        | ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::FENCED_LEADER_EPOCH => ProduceOutcome::Retry(after_append),
        ErrorCode::UNKNOWN_TOPIC_ID
        | ErrorCode::INCONSISTENT_TOPIC_ID
        | ErrorCode::CORRUPT_MESSAGE
        | ErrorCode::NOT_ENOUGH_REPLICAS
        | ErrorCode::THROTTLING_QUOTA_EXCEEDED => ProduceOutcome::Retry(NotWritten),
        // Kafka's own producer gives up here as "not written" (KAFKA-14034); nobody knows.
        ErrorCode::UNKNOWN_SERVER_ERROR => in_doubt,
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
        | ErrorCode::POLICY_VIOLATION => ProduceOutcome::Fail(NotWritten),
        ErrorCode::CONCURRENT_TRANSACTIONS if promise.is_transactional => {
            ProduceOutcome::Retry(NotWritten)
        }
        ErrorCode::INVALID_TXN_STATE | ErrorCode::TRANSACTION_ABORTABLE
            if promise.is_transactional =>
        {
            ProduceOutcome::Fail(NotWritten)
        }
        code if code.is_retriable() => ProduceOutcome::Retry(Unknown),
        // Nothing that belongs in such an answer, or nothing that this client knows.
        _ => in_doubt,
    }
}

/// What a request that got no answer, or none that can be read, means for each of its batches.
pub(crate) fn of_error(error: &Error) -> ProduceOutcome {
    // What cannot be read is as good as lost: what was asked is asked again. A request that could not be encoded is no such thing.
    let is_lost = error.kind() == ErrorKind::Protocol && error.outcome() == WriteOutcome::Unknown;
    #[cfg(planted_defects)]
    let is_lost = is_lost && !planted::is_planted(planted::Defect::UnreadableIsFinal);
    if error.is_retriable() || is_lost {
        ProduceOutcome::Retry(error.outcome())
    } else {
        ProduceOutcome::Fail(error.outcome())
    }
}

/// Whether the refusal is about records of the batch rather than about all of it.
pub(crate) fn blames_records(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INVALID_RECORD | ErrorCode::INVALID_TIMESTAMP
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn promise(waits_for_replicas: bool, is_idempotent: bool) -> Promise {
        Promise {
            waits_for_replicas,
            is_idempotent,
            is_transactional: false,
        }
    }

    /// KAFKA-14034 (UNKNOWN_SERVER_ERROR), franz-go 1.20.7 #1217 (REQUEST_TIMED_OUT): both were taken as "not written".
    #[test]
    fn errors_sort_into_written_not_written_and_unknown() {
        use WriteOutcome::{NotWritten, Unknown};
        let cases = [
            (ErrorCode::NONE, ProduceOutcome::Written),
            (
                ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
                ProduceOutcome::Written,
            ),
            (ErrorCode::REQUEST_TIMED_OUT, ProduceOutcome::Retry(Unknown)),
            (
                ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
                ProduceOutcome::Retry(Unknown),
            ),
            (
                ErrorCode::KAFKA_STORAGE_ERROR,
                ProduceOutcome::Retry(Unknown),
            ),
            (
                ErrorCode::NOT_ENOUGH_REPLICAS,
                ProduceOutcome::Retry(NotWritten),
            ),
            (
                ErrorCode::CORRUPT_MESSAGE,
                ProduceOutcome::Retry(NotWritten),
            ),
            (ErrorCode::INVALID_RECORD, ProduceOutcome::Fail(NotWritten)),
        ];
        for (code, outcome) in cases {
            for is_idempotent in [false, true] {
                let found = of_code(code, promise(true, is_idempotent));
                assert_eq!(found, outcome, "{}", code.name());
            }
        }
    }

    /// A repetition under the old sequence settles what nobody can tell from the answer; without sequences it may write a second time.
    #[test]
    fn an_answer_that_settles_nothing_is_asked_for_again_where_repeats_are_recognised() {
        use WriteOutcome::Unknown;
        for code in [
            ErrorCode::UNKNOWN_SERVER_ERROR,
            ErrorCode::GROUP_AUTHORIZATION_FAILED,
            ErrorCode(31_999),
        ] {
            assert_eq!(
                of_code(code, promise(true, true)),
                ProduceOutcome::Retry(Unknown)
            );
            assert_eq!(
                of_code(code, promise(true, false)),
                ProduceOutcome::Fail(Unknown)
            );
        }
        let garbled = Error::new(ErrorKind::Protocol, "this is no answer");
        assert_eq!(of_error(&garbled), ProduceOutcome::Retry(Unknown));
        let unencodable = garbled.with_outcome(WriteOutcome::NotWritten);
        assert_eq!(
            of_error(&unencodable),
            ProduceOutcome::Fail(WriteOutcome::NotWritten)
        );
    }

    #[test]
    fn a_leader_that_resigned_may_have_passed_the_batch_on() {
        let code = ErrorCode::NOT_LEADER_OR_FOLLOWER;
        assert_eq!(
            of_code(code, promise(true, true)),
            ProduceOutcome::Retry(WriteOutcome::Unknown)
        );
        assert_eq!(
            of_code(code, promise(false, false)),
            ProduceOutcome::Retry(WriteOutcome::NotWritten)
        );
    }

    #[test]
    fn a_lost_answer_is_unknown_and_a_request_that_never_left_is_not_written() {
        let lost = Error::new(ErrorKind::Disconnected, "gone");
        assert_eq!(
            of_error(&lost),
            ProduceOutcome::Retry(WriteOutcome::Unknown)
        );
        let unsent = lost.with_outcome(WriteOutcome::NotWritten);
        assert_eq!(
            of_error(&unsent),
            ProduceOutcome::Retry(WriteOutcome::NotWritten)
        );
    }
}
