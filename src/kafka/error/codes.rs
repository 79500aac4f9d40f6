//! What a broker's code means: the kind of failure, and whether a write may have happened.

use protocol::{ApiKey, ErrorCode};

use super::{ErrorKind, WriteOutcome};

/// Whether a write answered with this code may have happened.
pub(super) fn outcome_of(code: ErrorCode) -> WriteOutcome {
    match code {
        ErrorCode::UNKNOWN_SERVER_ERROR
        | ErrorCode::REQUEST_TIMED_OUT
        | ErrorCode::NETWORK_EXCEPTION
        | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => WriteOutcome::Unknown,
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => WriteOutcome::Written,
        _ => WriteOutcome::NotWritten,
    }
}

pub(super) fn kind_of(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            ErrorKind::UnknownTopicOrPartition
        }
        ErrorCode::OFFSET_OUT_OF_RANGE => ErrorKind::OffsetOutOfRange,
        ErrorCode::CORRUPT_MESSAGE => ErrorKind::CorruptBatch,
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            ErrorKind::RecordTooLarge
        }
        ErrorCode::INVALID_PRODUCER_EPOCH
        | ErrorCode::PRODUCER_FENCED
        | ErrorCode::FENCED_INSTANCE_ID => ErrorKind::Fenced,
        ErrorCode::TRANSACTION_ABORTABLE => ErrorKind::TransactionAborted,
        ErrorCode::REBALANCE_IN_PROGRESS
        | ErrorCode::ILLEGAL_GENERATION
        | ErrorCode::UNKNOWN_MEMBER_ID => ErrorKind::Rebalance,
        ErrorCode::SASL_AUTHENTICATION_FAILED
        | ErrorCode::UNSUPPORTED_SASL_MECHANISM
        | ErrorCode::ILLEGAL_SASL_STATE => ErrorKind::Authentication,
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => ErrorKind::Authorization,
        ErrorCode::UNSUPPORTED_VERSION => ErrorKind::UnsupportedVersion,
        code => ErrorKind::Server(code),
    }
}

/// Whether a request of this API changes nothing at the brokers.
pub(super) fn only_reads(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::API_VERSIONS
            | ApiKey::METADATA
            | ApiKey::FIND_COORDINATOR
            | ApiKey::FETCH
            | ApiKey::LIST_OFFSETS
            | ApiKey::OFFSET_FETCH
            | ApiKey::OFFSET_FOR_LEADER_EPOCH
            | ApiKey::DESCRIBE_CONFIGS
            | ApiKey::DESCRIBE_CLUSTER
            | ApiKey::DESCRIBE_GROUPS
            | ApiKey::LIST_GROUPS
            | ApiKey::CONSUMER_GROUP_DESCRIBE
            | ApiKey::SHARE_GROUP_DESCRIBE
            | ApiKey::STREAMS_GROUP_DESCRIBE
            | ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS
            | ApiKey::DESCRIBE_TOPIC_PARTITIONS
            | ApiKey::LIST_CONFIG_RESOURCES
            | ApiKey::DESCRIBE_ACLS
            | ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS
            | ApiKey::DESCRIBE_CLIENT_QUOTAS
            | ApiKey::DESCRIBE_DELEGATION_TOKEN
            | ApiKey::DESCRIBE_QUORUM
            | ApiKey::DESCRIBE_LOG_DIRS
            | ApiKey::LIST_PARTITION_REASSIGNMENTS
            | ApiKey::DESCRIBE_TRANSACTIONS
            | ApiKey::LIST_TRANSACTIONS
            | ApiKey::DESCRIBE_PRODUCERS
    )
}
