//! Which failures of a question, or of a commit, may be different next time. Both do the same when they are repeated, so that everything is
//! repeated but what is decided: who may do it, and what can never be.

use protocol::ErrorCode;

use crate::kafka::{Error, ErrorKind};

/// Whether asking again may get over `error`. A code that nobody expects, an answer that cannot be read or that leaves something out is one
/// bad answer, not the end.
pub(crate) fn may_pass(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Server(code) => !is_final(code),
        ErrorKind::Connect
        | ErrorKind::Disconnected
        | ErrorKind::Timeout
        | ErrorKind::Protocol
        | ErrorKind::BufferFull
        | ErrorKind::UnknownTopicOrPartition
        | ErrorKind::OffsetOutOfRange
        | ErrorKind::CorruptBatch
        | ErrorKind::NoLeader => true,
        _ => false,
    }
}

/// Codes of no kind of their own that repeating does not change.
fn is_final(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::OFFSET_METADATA_TOO_LARGE
            | ErrorCode::INVALID_COMMIT_OFFSET_SIZE
            | ErrorCode::INVALID_TOPIC_EXCEPTION
            | ErrorCode::INVALID_GROUP_ID
            | ErrorCode::GROUP_ID_NOT_FOUND
            | ErrorCode::FENCED_MEMBER_EPOCH
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT
            | ErrorCode::UNSUPPORTED_COMPRESSION_TYPE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code there is, and one that there is not: what ends a question at once is a short list.
    #[test]
    fn every_code_is_repeated_but_those_that_decide() {
        let passes = |code: ErrorCode| may_pass(&Error::server(code, None));
        let decided: Vec<_> = ErrorCode::all()
            .filter(|code| *code != ErrorCode::NONE && !passes(*code))
            .map(|code| code.0)
            .collect();
        assert_eq!(
            decided,
            [
                10, 12, 17, 18, 22, 24, 25, 27, 28, 29, 30, 31, 33, 34, 35, 43, 47, 53, 58, 69, 76,
                82, 90, 110, 120
            ]
        );
        assert!(passes(ErrorCode(31_999)));
        assert!(may_pass(&Error::new(ErrorKind::Protocol, "garbage")));
        assert!(!may_pass(&Error::new(ErrorKind::Closed, "closed")));
    }
}
