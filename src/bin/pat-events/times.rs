//! Times as people write and read them. In: RFC 3339 and what is left out of it, milliseconds since 1970, or how long ago. Out: milliseconds since 1970; and
//! back.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// Reads a time: `2026-11-26T13:00:00Z`, parts of it, milliseconds since 1970, or how long ago.
pub fn read(text: &str) -> Result<i64, String> {
    read_at(text, Timestamp::now().as_millisecond())
}

/// As [`read`], for somebody whose clock says `now`.
fn read_at(text: &str, now: i64) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>()
        && ms >= 0
    {
        return Ok(ms);
    }
    if text == "now" {
        return Ok(now);
    }
    if let Some(time) = date_time(text) {
        return Ok(time.as_millisecond());
    }
    let ago = duration_ms(text).ok_or_else(|| {
        format!(
            "{text:?} is no time: write 2026-11-26T13:00:00Z (without Z or +02:00 it is UTC), 2026-11-26, milliseconds since 1970, or how long ago, as 7d, 12h, 1h30m, 10s, PT1H"
        )
    })?;
    Ok(now.saturating_sub(ago).max(0))
}

/// Reads how long ago something was: `7d`, `1h30m`, `500ms`, or as ISO 8601 has it, `P1DT2H`. Returns when that was.
pub fn ago(text: &str) -> Result<i64, String> {
    let ms = duration_ms(text).ok_or_else(|| {
        format!("{text:?} is no duration: write 7d, 12h, 1h30m, 10s, 500ms, or as ISO 8601 has it, P1DT2H")
    })?;
    Ok(Timestamp::now().as_millisecond().saturating_sub(ms).max(0))
}

/// UTC where no zone is given.
fn date_time(text: &str) -> Option<Timestamp> {
    let with_zone = text.parse::<Timestamp>();
    with_zone.ok().or_else(|| {
        let time = text.parse::<DateTime>().ok()?;
        TimeZone::UTC.to_timestamp(time).ok()
    })
}

/// A sign before it says nothing more: it is of the past. No months and years, which are as long as they like.
fn duration_ms(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    if unsigned.starts_with(['-', '+']) {
        return None;
    }
    let span: Span = unsigned.parse().ok()?;
    let day_is_24_hours = SpanRelativeTo::days_are_24_hours();
    let duration = span.abs().to_duration(day_is_24_hours).ok()?;
    i64::try_from(duration.as_millis()).ok()
}

/// A time in UTC, to the second; the number where there is no such date.
pub fn show(ms: i64) -> String {
    let time = (ms >= 0).then(|| Timestamp::from_second(ms / 1_000).ok());
    time.flatten()
        .map_or(ms.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_698_000_123;

    fn at(text: &str) -> Result<i64, String> {
        read_at(text, NOW)
    }

    #[test]
    fn times_are_read_as_they_are_shown_and_as_so_long_ago() {
        assert_eq!(at("2026-11-26T13:00:00Z"), Ok(1_795_698_000_000));
        assert_eq!(show(1_795_698_000_123), "2026-11-26T13:00:00Z");
        assert_eq!(at("1795698000123"), Ok(1_795_698_000_123));
        for two_hours_ago in [
            "2h",
            "-2h",
            "1h60m",
            "PT2H",
            "120m",
            "7200s",
            "7200000ms",
            "2.0h",
        ] {
            assert_eq!(at(two_hours_ago), Ok(1_795_690_800_123), "{two_hours_ago}");
        }
        assert_eq!(at("now"), Ok(1_795_698_000_123));
        assert_eq!(at("100000d"), Ok(0));
        for wrong in [
            "",
            "h",
            "+2h",
            "2y",
            "yesterday",
            "99999999999999999999d",
            "ä",
            "-7",
            "1h5",
            "P",
            "PT",
        ] {
            assert!(
                at(wrong).is_err_and(|error| error.contains("7d, 12h")),
                "{wrong}"
            );
        }
        assert_eq!(show(-1), "-1");
    }

    #[test]
    fn what_is_left_out_of_a_time_is_its_beginning_and_utc() {
        for same in [
            "2026-11-26T13:00",
            "2026-11-26 13:00:00",
            "2026-11-26T13:00:00.000",
            "2026-11-26T15:00:00+02:00",
            "2026-11-26T09:30-0330",
            "2026-11-26T13:00:00.0Z",
        ] {
            assert_eq!(at(same), Ok(1_795_698_000_000), "{same}");
        }
        assert_eq!(at("2026-11-26T13:00:00.123456Z"), Ok(1_795_698_000_123));
        assert_eq!(at("1970-01-01"), Ok(0));
        assert_eq!(at("2024-02-29"), Ok(1_709_164_800_000));
        for wrong in [
            "2026-13-01",
            "2026-02-29",
            "2026-11-26T24:00",
            "2026-11-26T13:00+2",
            "2026-11-26T13:00:00.",
            "26-11-26",
            "2026-11-26T13:00:00Zulu",
        ] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_are_those_that_are_shown() {
        for days in (0..40_000).step_by(17) {
            let ms = days * 86_400_000;
            assert_eq!(at(&show(ms)), Ok(ms));
        }
    }

    #[test]
    fn durations_have_units_or_are_written_as_iso_8601_has_them() {
        assert_eq!(duration_ms("1h30m"), Some(5_400_000));
        assert_eq!(duration_ms("P1DT2H3M4.5S"), Some(93_784_500));
        assert_eq!(duration_ms("P2W"), Some(1_209_600_000));
        assert!(ago("7").is_err_and(|error| error.contains("P1DT2H")));
        assert!(ago("2026-11-26").is_err());
        assert!(ago("1h").is_ok());
        assert_eq!(show(i64::MAX), i64::MAX.to_string());
    }
}
