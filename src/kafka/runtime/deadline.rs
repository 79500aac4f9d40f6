//! When a time that a caller gives is over. In: any duration, also one that is longer than time lasts. Out: a moment.

use std::time::Duration;

use tokio::time::Instant;

/// What stands for ever: 30 years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The moment at which `timeout` is over: never, in practice, where the clock does not go so far.
pub(crate) fn after(timeout: Duration) -> Instant {
    Instant::now() + timeout.min(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn any_duration_has_an_end() {
        let now = Instant::now();
        assert_eq!(after(Duration::ZERO), now);
        assert_eq!(
            after(Duration::from_millis(7)),
            now + Duration::from_millis(7)
        );
        assert_eq!(after(Duration::MAX), now + FOR_EVER);
    }
}
