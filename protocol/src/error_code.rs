//! The error codes of Kafka 4.4: number, name, whether Kafka's own client retries it, what it means, the KIP that brought it.

use std::fmt;

/// The outcome that a broker reports. Codes that the table does not have survive.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i16);

struct Row {
    code: i16,
    name: &'static str,
    retriable: bool,
    description: &'static str,
    kip: Option<u16>,
}

impl ErrorCode {
    /// Whether this is [`ErrorCode::NONE`].
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }

    /// Whether the same request may succeed later. It says nothing about whether the request was applied.
    pub fn is_retriable(self) -> bool {
        self.row().is_some_and(|row| row.retriable)
    }

    /// Kafka's name, `NOT_LEADER_OR_FOLLOWER`; `UNKNOWN_ERROR_CODE` when the table does not have it.
    pub fn name(self) -> &'static str {
        self.row().map_or("UNKNOWN_ERROR_CODE", |row| row.name)
    }

    /// What it means, in a few words.
    pub fn description(self) -> &'static str {
        self.row()
            .map_or("an error code newer than this client", |row| {
                row.description
            })
    }

    /// The number of the Kafka Improvement Proposal that brought it; `None` for codes that are older than those proposals or came
    /// without one.
    pub fn kip(self) -> Option<u16> {
        self.row().and_then(|row| row.kip)
    }

    /// Every code of the table, ascending.
    pub fn all() -> impl Iterator<Item = ErrorCode> {
        ROWS.iter().map(|row| ErrorCode(row.code))
    }

    /// `Ok` for [`ErrorCode::NONE`].
    pub const fn ok(self) -> Result<(), ErrorCode> {
        if self.is_ok() { Ok(()) } else { Err(self) }
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.binary_search_by_key(&self.0, |row| row.code)
            .ok()
            .map(|at| &ROWS[at])
    }
}

/// `NOT_LEADER_OR_FOLLOWER (6)`.
impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ErrorCode {}

macro_rules! error_codes {
    ($($code:literal $NAME:ident $kind:ident $description:literal $(, KIP-$kip:literal)?;)*) => {
        impl ErrorCode {
            $(
                #[doc = concat!("`", stringify!($code), "`: ", $description $(, " (KIP-", $kip, ")")?, ".")]
                pub const $NAME: ErrorCode = ErrorCode($code);
            )*
        }

        static ROWS: &[Row] = &[
            $(Row {
                code: $code,
                name: stringify!($NAME),
                retriable: is_retriable!($kind),
                description: $description,
                kip: first!($(Some($kip),)? None),
            },)*
        ];
    };
}

macro_rules! is_retriable {
    (retriable) => {
        true
    };
    (fatal) => {
        false
    };
}

error_codes! {
     -1 UNKNOWN_SERVER_ERROR                       fatal     "the broker failed in a way it has no code for";
      0 NONE                                       fatal     "no error";
      1 OFFSET_OUT_OF_RANGE                        fatal     "the log does not have this offset";
      2 CORRUPT_MESSAGE                            retriable "the batch fails its checksum or is malformed";
      3 UNKNOWN_TOPIC_OR_PARTITION                 retriable "this broker does not know or host the partition";
      4 INVALID_FETCH_SIZE                         fatal     "the fetch size is invalid";
      5 LEADER_NOT_AVAILABLE                       retriable "the partition is electing a leader";
      6 NOT_LEADER_OR_FOLLOWER                     retriable "this broker is not the leader, or no replica, of the partition";
      7 REQUEST_TIMED_OUT                          retriable "the broker gave up waiting";
      8 BROKER_NOT_AVAILABLE                       fatal     "the broker is not available";
      9 REPLICA_NOT_AVAILABLE                      retriable "the replica is not available";
     10 MESSAGE_TOO_LARGE                          fatal     "a record or batch is larger than the topic allows";
     11 STALE_CONTROLLER_EPOCH                     fatal     "the controller has moved on to a newer epoch";
     12 OFFSET_METADATA_TOO_LARGE                  fatal     "the metadata of the offset is too long";
     13 NETWORK_EXCEPTION                          retriable "the connection broke before a response";
     14 COORDINATOR_LOAD_IN_PROGRESS               retriable "the coordinator is still loading its state";
     15 COORDINATOR_NOT_AVAILABLE                  retriable "there is no coordinator yet";
     16 NOT_COORDINATOR                            retriable "this broker is not the coordinator";
     17 INVALID_TOPIC_EXCEPTION                    fatal     "the name of the topic is not allowed";
     18 RECORD_LIST_TOO_LARGE                      fatal     "the batch is larger than a log segment";
     19 NOT_ENOUGH_REPLICAS                        retriable "too few replicas are in sync; nothing was written";
     20 NOT_ENOUGH_REPLICAS_AFTER_APPEND           retriable "too few replicas are in sync; the records were written to the leader";
     21 INVALID_REQUIRED_ACKS                      fatal     "acks must be -1, 0 or 1";
     22 ILLEGAL_GENERATION                         fatal     "the generation of the group is another one";
     23 INCONSISTENT_GROUP_PROTOCOL                fatal     "the member has no protocol in common with the group";
     24 INVALID_GROUP_ID                           fatal     "the group id is not allowed";
     25 UNKNOWN_MEMBER_ID                          fatal     "the group does not have this member";
     26 INVALID_SESSION_TIMEOUT                    fatal     "the session timeout is outside of the broker's limits";
     27 REBALANCE_IN_PROGRESS                      fatal     "the group is rebalancing; join again";
     28 INVALID_COMMIT_OFFSET_SIZE                 fatal     "the offset with its metadata is too large to commit";
     29 TOPIC_AUTHORIZATION_FAILED                 fatal     "not allowed on this topic", KIP-11;
     30 GROUP_AUTHORIZATION_FAILED                 fatal     "not allowed on this group", KIP-11;
     31 CLUSTER_AUTHORIZATION_FAILED               fatal     "not allowed on the cluster", KIP-11;
     32 INVALID_TIMESTAMP                          fatal     "the timestamp of a record is too far off", KIP-32;
     33 UNSUPPORTED_SASL_MECHANISM                 fatal     "the broker does not offer this SASL mechanism", KIP-43;
     34 ILLEGAL_SASL_STATE                         fatal     "the request does not fit the state of the SASL exchange", KIP-43;
     35 UNSUPPORTED_VERSION                        fatal     "the broker does not speak this version of the API", KIP-35;
     36 TOPIC_ALREADY_EXISTS                       fatal     "there is a topic of this name already", KIP-4;
     37 INVALID_PARTITIONS                         fatal     "the number of partitions is not possible", KIP-4;
     38 INVALID_REPLICATION_FACTOR                 fatal     "the replication factor is not possible with these brokers", KIP-4;
     39 INVALID_REPLICA_ASSIGNMENT                 fatal     "the replica assignment is not possible", KIP-4;
     40 INVALID_CONFIG                             fatal     "a configuration value is not allowed", KIP-4;
     41 NOT_CONTROLLER                             retriable "this node is not the active controller", KIP-4;
     42 INVALID_REQUEST                            fatal     "the request contradicts itself or the broker", KIP-4;
     43 UNSUPPORTED_FOR_MESSAGE_FORMAT             fatal     "the message format of the topic cannot do this", KIP-79;
     44 POLICY_VIOLATION                           fatal     "a policy of the cluster forbids it", KIP-108;
     45 OUT_OF_ORDER_SEQUENCE_NUMBER               fatal     "the sequence number is not the next one", KIP-98;
     46 DUPLICATE_SEQUENCE_NUMBER                  fatal     "the batch was written before", KIP-98;
     47 INVALID_PRODUCER_EPOCH                     fatal     "a producer of a newer epoch has taken over", KIP-98;
     48 INVALID_TXN_STATE                          fatal     "the transaction is not in a state that allows this", KIP-98;
     49 INVALID_PRODUCER_ID_MAPPING                fatal     "the producer id is not the one of the transactional id", KIP-98;
     50 INVALID_TRANSACTION_TIMEOUT                fatal     "the transaction timeout is above the broker's limit", KIP-98;
     51 CONCURRENT_TRANSACTIONS                    retriable "an earlier operation on the transaction is still under way", KIP-98;
     52 TRANSACTION_COORDINATOR_FENCED             fatal     "a newer transaction coordinator has taken over", KIP-98;
     53 TRANSACTIONAL_ID_AUTHORIZATION_FAILED      fatal     "not allowed on this transactional id", KIP-98;
     54 SECURITY_DISABLED                          fatal     "the broker has no authorizer", KIP-140;
     55 OPERATION_NOT_ATTEMPTED                    fatal     "not tried, because another part of the request failed", KIP-98;
     56 KAFKA_STORAGE_ERROR                        retriable "the disk of the broker failed", KIP-112;
     57 LOG_DIR_NOT_FOUND                          fatal     "the broker has no such log directory", KIP-113;
     58 SASL_AUTHENTICATION_FAILED                 fatal     "the credentials were refused", KIP-152;
     59 UNKNOWN_PRODUCER_ID                        fatal     "the partition has forgotten this producer";
     60 REASSIGNMENT_IN_PROGRESS                   fatal     "the partition is being moved", KIP-195;
     61 DELEGATION_TOKEN_AUTH_DISABLED             fatal     "delegation tokens are not enabled", KIP-48;
     62 DELEGATION_TOKEN_NOT_FOUND                 fatal     "there is no such delegation token", KIP-48;
     63 DELEGATION_TOKEN_OWNER_MISMATCH            fatal     "the delegation token belongs to someone else", KIP-48;
     64 DELEGATION_TOKEN_REQUEST_NOT_ALLOWED       fatal     "delegation tokens cannot be asked for over this connection", KIP-48;
     65 DELEGATION_TOKEN_AUTHORIZATION_FAILED      fatal     "not allowed on this delegation token", KIP-48;
     66 DELEGATION_TOKEN_EXPIRED                   fatal     "the delegation token has expired", KIP-48;
     67 INVALID_PRINCIPAL_TYPE                     fatal     "this type of principal is not supported", KIP-48;
     68 NON_EMPTY_GROUP                            fatal     "the group has members", KIP-229;
     69 GROUP_ID_NOT_FOUND                         fatal     "there is no such group", KIP-229;
     70 FETCH_SESSION_ID_NOT_FOUND                 retriable "the broker has dropped the fetch session", KIP-227;
     71 INVALID_FETCH_SESSION_EPOCH                retriable "the fetch session is at another epoch", KIP-227;
     72 LISTENER_NOT_FOUND                         retriable "the leader has no listener of this name", KIP-226;
     73 TOPIC_DELETION_DISABLED                    fatal     "deleting topics is disabled", KIP-322;
     74 FENCED_LEADER_EPOCH                        retriable "the leader epoch is older than the broker's", KIP-320;
     75 UNKNOWN_LEADER_EPOCH                       retriable "the leader epoch is newer than the broker's", KIP-320;
     76 UNSUPPORTED_COMPRESSION_TYPE               fatal     "the API version is too old for this compression", KIP-110;
     77 STALE_BROKER_EPOCH                         fatal     "the broker has been registered anew", KIP-380;
     78 OFFSET_NOT_AVAILABLE                       retriable "the new leader does not know its high watermark yet", KIP-207;
     79 MEMBER_ID_REQUIRED                         fatal     "join again with the member id of this response", KIP-394;
     80 PREFERRED_LEADER_NOT_AVAILABLE             retriable "the preferred leader is not available", KIP-183;
     81 GROUP_MAX_SIZE_REACHED                     fatal     "the group is full", KIP-389;
     82 FENCED_INSTANCE_ID                         fatal     "another member has the same instance id", KIP-345;
     83 ELIGIBLE_LEADERS_NOT_AVAILABLE             retriable "no replica can become leader", KIP-460;
     84 ELECTION_NOT_NEEDED                        retriable "the partition has this leader already", KIP-460;
     85 NO_REASSIGNMENT_IN_PROGRESS                fatal     "the partition is not being moved", KIP-455;
     86 GROUP_SUBSCRIBED_TO_TOPIC                  fatal     "the group is subscribed to the topic", KIP-496;
     87 INVALID_RECORD                             fatal     "the broker's validation refused a record", KIP-467;
     88 UNSTABLE_OFFSET_COMMIT                     retriable "a transaction still has to decide the offset", KIP-447;
     89 THROTTLING_QUOTA_EXCEEDED                  retriable "the quota is used up", KIP-599;
     90 PRODUCER_FENCED                            fatal     "a newer producer has the same transactional id", KIP-588;
     91 RESOURCE_NOT_FOUND                         fatal     "there is no such resource", KIP-554;
     92 DUPLICATE_RESOURCE                         fatal     "the request names a resource twice", KIP-554;
     93 UNACCEPTABLE_CREDENTIAL                    fatal     "the credential does not meet the requirements", KIP-554;
     94 INCONSISTENT_VOTER_SET                     fatal     "the node is not one of the voters", KIP-595;
     95 INVALID_UPDATE_VERSION                     fatal     "the version to update to is not valid", KIP-584;
     96 FEATURE_UPDATE_FAILED                      fatal     "the feature could not be changed", KIP-584;
     97 PRINCIPAL_DESERIALIZATION_FAILURE          fatal     "the forwarded principal could not be read", KIP-590;
     98 SNAPSHOT_NOT_FOUND                         fatal     "there is no such snapshot", KIP-630;
     99 POSITION_OUT_OF_RANGE                      fatal     "the position is outside of the snapshot", KIP-630;
    100 UNKNOWN_TOPIC_ID                           retriable "this broker does not host the topic with this id", KIP-516;
    101 DUPLICATE_BROKER_REGISTRATION              fatal     "another broker has this id", KIP-631;
    102 BROKER_ID_NOT_REGISTERED                   fatal     "no broker of this id is registered", KIP-631;
    103 INCONSISTENT_TOPIC_ID                      retriable "the log belongs to a topic with another id", KIP-516;
    104 INCONSISTENT_CLUSTER_ID                    fatal     "the node belongs to another cluster";
    105 TRANSACTIONAL_ID_NOT_FOUND                 fatal     "there is no such transactional id", KIP-664;
    106 FETCH_SESSION_TOPIC_ID_ERROR               retriable "the fetch session mixes topic names and ids", KIP-516;
    107 INELIGIBLE_REPLICA                         fatal     "a replica may not be in sync", KIP-841;
    108 NEW_LEADER_ELECTED                         fatal     "the partition changed, but so did its leader", KIP-841;
    109 OFFSET_MOVED_TO_TIERED_STORAGE             fatal     "the offset lies in tiered storage", KIP-405;
    110 FENCED_MEMBER_EPOCH                        fatal     "the member epoch is fenced; give up all partitions and join again", KIP-848;
    111 UNRELEASED_INSTANCE_ID                     fatal     "the instance id is still in use", KIP-848;
    112 UNSUPPORTED_ASSIGNOR                       fatal     "the group does not have this assignor", KIP-848;
    113 STALE_MEMBER_EPOCH                         fatal     "the member epoch is out of date; heartbeat first", KIP-848;
    114 MISMATCHED_ENDPOINT_TYPE                   fatal     "this kind of endpoint does not serve the request", KIP-919;
    115 UNSUPPORTED_ENDPOINT_TYPE                  fatal     "there is no such kind of endpoint", KIP-919;
    116 UNKNOWN_CONTROLLER_ID                      fatal     "there is no such controller", KIP-919;
    117 UNKNOWN_SUBSCRIPTION_ID                    fatal     "the telemetry subscription is unknown or out of date", KIP-714;
    118 TELEMETRY_TOO_LARGE                        fatal     "the telemetry is too large", KIP-714;
    119 INVALID_REGISTRATION                       fatal     "the registration is not valid";
    120 TRANSACTION_ABORTABLE                      fatal     "the transaction must be aborted, then the producer can go on", KIP-890;
    121 INVALID_RECORD_STATE                       fatal     "the record is not in a state that can be acknowledged", KIP-932;
    122 SHARE_SESSION_NOT_FOUND                    retriable "the broker has dropped the share session", KIP-932;
    123 INVALID_SHARE_SESSION_EPOCH                retriable "the share session is at another epoch", KIP-932;
    124 FENCED_STATE_EPOCH                         fatal     "the state epoch is fenced", KIP-932;
    125 INVALID_VOTER_KEY                          fatal     "the key of the voter is another one", KIP-853;
    126 DUPLICATE_VOTER                            fatal     "there is such a voter already", KIP-853;
    127 VOTER_NOT_FOUND                            fatal     "there is no such voter", KIP-853;
    128 INVALID_REGULAR_EXPRESSION                 fatal     "the regular expression is not valid", KIP-848;
    129 REBOOTSTRAP_REQUIRED                       fatal     "the metadata is too old; bootstrap again", KIP-1102;
    130 STREAMS_INVALID_TOPOLOGY                   fatal     "the topology is not valid", KIP-1071;
    131 STREAMS_INVALID_TOPOLOGY_EPOCH             fatal     "the topology epoch is not valid", KIP-1071;
    132 STREAMS_TOPOLOGY_FENCED                    fatal     "the topology epoch is out of date", KIP-1071;
    133 SHARE_SESSION_LIMIT_REACHED                retriable "the broker has too many share sessions", KIP-932;
    134 GROUP_DELETION_FAILED                      fatal     "the group could not be deleted", KIP-1331;
    135 STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED fatal     "the description of the topology could not be taken", KIP-1331;
    136 CONTROLLER_ID_NOT_REGISTERED               fatal     "no controller of this id is registered";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_number() {
        assert!(ROWS.is_sorted_by(|a, b| a.code < b.code));
        assert_eq!(ErrorCode(6).name(), "NOT_LEADER_OR_FOLLOWER");
        assert!(ErrorCode::NOT_LEADER_OR_FOLLOWER.is_retriable());
        assert!(!ErrorCode::MESSAGE_TOO_LARGE.is_retriable());
    }

    #[test]
    fn codes_name_the_proposal_that_brought_them() {
        assert_eq!(ErrorCode::PRODUCER_FENCED.kip(), Some(588));
        // Older than the proposals, or (from UNKNOWN_PRODUCER_ID on) brought by a mere issue.
        let without = |code: &ErrorCode| code.kip().is_none();
        let codes: Vec<i16> = ErrorCode::all()
            .filter(without)
            .map(|code| code.0)
            .collect();
        assert_eq!(
            codes,
            (-1..=28).chain([59, 104, 119, 136]).collect::<Vec<_>>()
        );
    }

    #[test]
    fn an_unknown_code_survives() {
        assert_eq!(ErrorCode(9999).to_string(), "UNKNOWN_ERROR_CODE (9999)");
        assert!(!ErrorCode(9999).is_retriable());
    }
}
