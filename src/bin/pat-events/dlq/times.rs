//! Times as people write and read them. In: RFC 3339, milliseconds since 1970, or how long ago. Out: milliseconds since 1970; and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::der::DateTime;

pub fn read(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    read_at(text, now.unwrap_or_default())
}

fn read_at(text: &str, now: Duration) -> Result<i64, String> {
    let wrong = || {
        format!(
            "{text:?} is no time: write 2026-11-26T13:00:00Z, milliseconds since 1970, or how long ago, as 7d, 12h, 30m, 10s"
        )
    };
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(ms);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return Ok(millis(time.unix_duration()));
    }
    let seconds = match text.chars().last() {
        Some('d') => 86_400,
        Some('h') => 3_600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let ago = count.checked_mul(seconds).map(Duration::from_secs);
    let then = now.checked_sub(ago.ok_or_else(wrong)?);
    Ok(millis(then.unwrap_or_default()))
}

fn millis(since_1970: Duration) -> i64 {
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

/// A time in UTC, to the second; the number where there is no such date.
pub fn show(ms: i64) -> String {
    let seconds = u64::try_from(ms)
        .ok()
        .map(|ms| Duration::from_secs(ms / 1_000));
    let time = seconds.and_then(|seconds| DateTime::from_unix_duration(seconds).ok());
    time.map_or(ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown_and_as_so_long_ago() {
        let now = Duration::from_millis(1_795_698_000_123);
        let at = |text| read_at(text, now);
        assert_eq!(at("2026-11-26T13:00:00Z"), Ok(1_795_698_000_000));
        assert_eq!(show(1_795_698_000_123), "2026-11-26T13:00:00Z");
        assert_eq!(at("1795698000123"), Ok(1_795_698_000_123));
        assert_eq!(at("2h"), Ok(1_795_690_800_123));
        assert_eq!(at("100000d"), Ok(0));
        for wrong in ["", "h", "2w", "yesterday", "99999999999999999999d", "ä"] {
            assert!(
                at(wrong).is_err_and(|error| error.contains("7d, 12h")),
                "{wrong}"
            );
        }
        assert_eq!(show(-1), "-1");
    }
}
