//! Which right a call needed that was refused (KIP-11). In: the API and the error. Out: what to grant to the client's principal.

use protocol::{ApiKey, ErrorCode};

/// The right, where one grant is enough; none where it depends on more than these two.
pub(super) fn needed(api: ApiKey, code: ErrorCode) -> Option<&'static str> {
    Some(match (code, api) {
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ApiKey::PRODUCE | ApiKey::ADD_PARTITIONS_TO_TXN,
        ) => "WRITE on the topic",
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ApiKey::FETCH | ApiKey::OFFSET_COMMIT | ApiKey::TXN_OFFSET_COMMIT,
        ) => "READ on the topic",
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED,
            ApiKey::METADATA | ApiKey::LIST_OFFSETS | ApiKey::OFFSET_FETCH,
        ) => "DESCRIBE on the topic, which READ and WRITE include",
        (
            ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            ApiKey::CREATE_TOPICS,
        ) => "CREATE on the topic or on the cluster",
        (ErrorCode::TOPIC_AUTHORIZATION_FAILED, ApiKey::DELETE_TOPICS) => "DELETE on the topic",
        (
            ErrorCode::GROUP_AUTHORIZATION_FAILED,
            ApiKey::FIND_COORDINATOR | ApiKey::OFFSET_FETCH,
        ) => "DESCRIBE on the group, which READ includes",
        (ErrorCode::GROUP_AUTHORIZATION_FAILED, _) => "READ on the group",
        (ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ApiKey::FIND_COORDINATOR) => {
            "DESCRIBE on the transactional id, which WRITE includes"
        }
        (ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED, _) => "WRITE on the transactional id",
        (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, ApiKey::PRODUCE | ApiKey::INIT_PRODUCER_ID) => {
            "WRITE on a topic, or IDEMPOTENT_WRITE on the cluster"
        }
        _ => return None,
    })
}
