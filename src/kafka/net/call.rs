//! What the client calls, and where each response says how long the broker wants to be left alone (KIP-219).

use protocol::Request;
use protocol::messages::*;

/// A request that a [`super::Connection`] can carry.
pub(crate) trait Call: Request {
    /// For how many milliseconds the client must send nothing more on the connection. Before the version in the table below the broker
    /// held back its answer itself.
    fn throttle_ms(response: &Self::Response, version: i16) -> i32;
}

/// One row per request: from which version on the client has to wait.
macro_rules! throttled_since {
    ($($request:ident: $since:literal;)*) => {$(
        impl Call for $request {
            fn throttle_ms(response: &Self::Response, version: i16) -> i32 {
                if version >= $since { response.throttle_time_ms } else { 0 }
            }
        }
    )*};
}

throttled_since! {
    ProduceRequest: 6;
    FetchRequest: 8;
    ListOffsetsRequest: 3;
    MetadataRequest: 6;
    OffsetCommitRequest: 4;
    OffsetFetchRequest: 4;
    FindCoordinatorRequest: 2;
    JoinGroupRequest: 3;
    HeartbeatRequest: 2;
    LeaveGroupRequest: 2;
    SyncGroupRequest: 2;
    ApiVersionsRequest: 2;
    CreateTopicsRequest: 3;
    DeleteTopicsRequest: 2;
    InitProducerIdRequest: 1;
}
