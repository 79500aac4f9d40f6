//! Error codes and API keys under the names that the protocol crate gives them, until its tables are here.

/// An API's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKey(pub i16);
impl ApiKey {
    pub const PRODUCE: Self = Self(0);
    pub fn name(self) -> &'static str {
        if self == Self::PRODUCE {
            "Produce"
        } else {
            "Unknown"
        }
    }
}

/// An error's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i16);

macro_rules! codes {
    ($($name:ident = $code:literal, $retriable:literal;)*) => {
        impl ErrorCode {
            $(pub const $name: Self = Self($code);)*
            pub fn name(self) -> &'static str {
                match self.0 { $($code => stringify!($name),)* _ => "UNKNOWN_ERROR_CODE" }
            }
            pub fn is_retriable(self) -> bool {
                match self.0 { $($code => $retriable,)* _ => false }
            }
        }
    };
}

codes! {
    UNKNOWN_SERVER_ERROR = -1, false;
    OFFSET_OUT_OF_RANGE = 1, false;
    CORRUPT_MESSAGE = 2, true;
    UNKNOWN_TOPIC_OR_PARTITION = 3, true;
    NOT_LEADER_OR_FOLLOWER = 6, true;
    REQUEST_TIMED_OUT = 7, true;
    MESSAGE_TOO_LARGE = 10, false;
    NETWORK_EXCEPTION = 13, true;
    RECORD_LIST_TOO_LARGE = 18, false;
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20, true;
    ILLEGAL_GENERATION = 22, false;
    UNKNOWN_MEMBER_ID = 25, false;
    REBALANCE_IN_PROGRESS = 27, false;
    TOPIC_AUTHORIZATION_FAILED = 29, false;
    GROUP_AUTHORIZATION_FAILED = 30, false;
    CLUSTER_AUTHORIZATION_FAILED = 31, false;
    UNSUPPORTED_SASL_MECHANISM = 33, false;
    ILLEGAL_SASL_STATE = 34, false;
    UNSUPPORTED_VERSION = 35, false;
    DUPLICATE_SEQUENCE_NUMBER = 46, false;
    INVALID_PRODUCER_EPOCH = 47, false;
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53, false;
    SASL_AUTHENTICATION_FAILED = 58, false;
    FENCED_INSTANCE_ID = 82, false;
    PRODUCER_FENCED = 90, false;
    UNKNOWN_TOPIC_ID = 100, true;
}
