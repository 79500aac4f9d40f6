//! What the client calls, and where each response says how long the broker wants to be left alone (KIP-219).

use std::time::Duration;

use protocol::Request;
use protocol::messages::*;

/// A request that a [`super::Connection`] can carry.
pub(crate) trait Call: Request {
    /// For how many milliseconds the client must send nothing more on the connection. Before the version in the table below the broker
    /// held back its answer itself.
    fn throttle_ms(response: &Self::Response, version: i16) -> i32;
}

/// How long a broker may take for a request whose answer is awaited for `ours`, in milliseconds: somewhat less, so that its own "timed out"
/// is read, instead of the connection being given up.
pub(crate) fn broker_timeout_ms(ours: Duration) -> i32 {
    const WAY: Duration = Duration::from_secs(1);
    let theirs = ours - (ours / 10).min(WAY);
    i32::try_from(theirs.as_millis()).unwrap_or(i32::MAX).max(1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_get_somewhat_less_time_than_we_wait() {
        for (ours_ms, theirs_ms) in [(30_000, 29_000), (5_000, 4_500), (100, 90), (1, 1), (0, 1)] {
            let theirs = broker_timeout_ms(Duration::from_millis(ours_ms));
            assert_eq!(theirs, theirs_ms, "{ours_ms}");
        }
        assert_eq!(
            broker_timeout_ms(Duration::from_secs(u64::from(u32::MAX))),
            i32::MAX
        );
    }
}
