//! Times as people write and read them. In: RFC 3339 and what is left out of it, milliseconds since 1970, or how long ago. Out: milliseconds since 1970; and
//! back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::der::DateTime;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads a time: `2026-11-26T13:00:00Z`, parts of it, milliseconds since 1970, or how long ago.
pub fn read(text: &str) -> Result<i64, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    read_at(text, now.unwrap_or_default())
}

/// As [`read`], for somebody whose clock says `now` (since 1970).
fn read_at(text: &str, now: Duration) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<i64>()
        && ms >= 0
    {
        return Ok(ms);
    }
    if text == "now" {
        return Ok(millis(now));
    }
    if let Some(ms) = date_time(text) {
        return Ok(ms);
    }
    let ago = text.strip_prefix('-').unwrap_or(text);
    let ago = duration_ms(ago).ok_or_else(|| {
        format!(
            "{text:?} is no time: write 2026-11-26T13:00:00Z (without Z or +02:00 it is UTC), 2026-11-26, milliseconds since 1970, or how long ago, as 7d, 12h, 1h30m, 10s, PT1H"
        )
    })?;
    let then = now.checked_sub(Duration::from_millis(ago));
    Ok(millis(then.unwrap_or_default()))
}

/// Reads how long ago something was: `7d`, `1h30m`, `500ms`, or as ISO 8601 has it, `P1DT2H`. Returns when that was.
pub fn ago(text: &str) -> Result<i64, String> {
    let ms = duration_ms(text).ok_or_else(|| {
        format!("{text:?} is no duration: write 7d, 12h, 1h30m, 10s, 500ms, or as ISO 8601 has it, P1DT2H")
    })?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(millis(
        now.checked_sub(Duration::from_millis(ms))
            .unwrap_or_default(),
    ))
}

fn duration_ms(text: &str) -> Option<u64> {
    let upper = text.to_ascii_uppercase();
    let Some(iso) = upper.strip_prefix('P') else {
        return parts(text, |unit| {
            Some(match unit {
                "w" => 7 * DAY,
                "d" => DAY,
                "h" => HOUR,
                "m" => MINUTE,
                "s" => SECOND,
                "ms" => 1,
                _ => return None,
            })
        });
    };
    let (days, time) = match iso.split_once('T') {
        Some((days, time)) => (days, Some(time)),
        None => (iso, None),
    };
    let of_days = |unit: &str| match unit {
        "W" => Some(7 * DAY),
        "D" => Some(DAY),
        _ => None,
    };
    let of_time = |unit: &str| match unit {
        "H" => Some(HOUR),
        "M" => Some(MINUTE),
        "S" => Some(SECOND),
        _ => None,
    };
    match (days, time) {
        ("", Some(time)) => parts(time, of_time),
        (days, None) => parts(days, of_days),
        (days, Some(time)) => parts(days, of_days)?.checked_add(parts(time, of_time)?),
    }
}

/// The sum of numbers with units, in milliseconds; at least one.
fn parts(text: &str, unit_ms: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let mut sum: u64 = 0;
    let mut rest = text;
    loop {
        let digits = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after
            .find(|sign: char| sign.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let unit = unit_ms(unit)?;
        let ms = match number.parse::<u64>() {
            Ok(number) => number.checked_mul(unit)?,
            // A fraction, as in 1.5h.
            Err(_) if number.contains('.') => {
                (number.parse::<f64>().ok()? * unit as f64).round() as u64
            }
            Err(_) => return None,
        };
        sum = sum.checked_add(ms)?;
        rest = after;
        if rest.is_empty() {
            return Some(sum);
        }
    }
}

/// Reads `2026-11-26`, `2026-11-26T13:00`, with seconds, fractions and a zone; UTC without one.
fn date_time(text: &str) -> Option<i64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let mut date = date.split('-');
    let (year, month, day) = (date.next()?, date.next()?, date.next()?);
    if date.next().is_some() || [year.len(), month.len(), day.len()] != [4, 2, 2] {
        return None;
    }
    let (year, month, day): (i64, i64, i64) = (digits(year)?, digits(month)?, digits(day)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let midnight = days_since_1970(year, month, day).checked_mul(DAY as i64)?;
    match time {
        None => Some(midnight),
        Some(time) => midnight.checked_add(time_of_day(time)?),
    }
}

/// Reads `13:00:00.000+02:00`: milliseconds since midnight in UTC.
fn time_of_day(text: &str) -> Option<i64> {
    let zone = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (time, zone) = text.split_at(zone);
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = whole.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next());
    if parts.next().is_some() || hour.len() != 2 || minute.len() != 2 {
        return None;
    }
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    let second = second.map_or(Some(0), digits)?;
    if hour > 23 || minute > 59 || second > 60 || (time.ends_with('.')) {
        return None;
    }
    let millis = match fraction {
        "" => 0,
        fraction => {
            let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
            fraction
                .bytes()
                .all(|it| it.is_ascii_digit())
                .then(|| digits(&padded))??
        }
    };
    let time = hour * HOUR as i64 + minute * MINUTE as i64 + second * SECOND as i64 + millis;
    Some(time - zone_ms(zone)?)
}

/// Reads `Z`, `+02:00`, `-0330`; nothing is UTC.
fn zone_ms(text: &str) -> Option<i64> {
    let sign = match text.chars().next() {
        None => return Some(0),
        Some('Z' | 'z') => return (text.len() == 1).then_some(0),
        Some('-') => -1,
        Some(_) => 1,
    };
    let shift = text[1..].replace(':', "");
    let (hours, minutes) = match shift.len() {
        2 => (digits(&shift)?, 0),
        4 => (digits(shift.get(..2)?)?, digits(shift.get(2..)?)?),
        _ => return None,
    };
    Some(sign * (hours * HOUR as i64 + minutes * MINUTE as i64))
}

fn digits(text: &str) -> Option<i64> {
    text.bytes()
        .all(|it| it.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// By the calendar of today, also before it was introduced. Years begin in March here, so that a leap day is the last of its year.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
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

    const NOW: Duration = Duration::from_millis(1_795_698_000_123);

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
            "2026-11-26T13",
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
            let ms = days * DAY as i64;
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
    }
}
