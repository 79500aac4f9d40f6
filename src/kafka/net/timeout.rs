//! How long a broker is told that it may take.

use std::time::Duration;

/// How long a broker may take for a request whose answer is awaited for `ours`, in milliseconds: somewhat less, so that its own "timed out"
/// is read, instead of the connection being given up.
pub(crate) fn broker_timeout_ms(ours: Duration) -> i32 {
    const WAY: Duration = Duration::from_secs(1);
    let theirs = ours - (ours / 10).min(WAY);
    i32::try_from(theirs.as_millis()).unwrap_or(i32::MAX).max(1)
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
