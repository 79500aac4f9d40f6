//! Days since 1970 and dates of the Gregorian calendar, and times as RFC 3339 writes them.

const DAY: i64 = 86_400;

/// Year, month and day of the Gregorian calendar, from days since 1970, which may be before it back to the year 0. Counted in years that begin in March, so that the
/// day that comes and goes is the last one of its year.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Date and time of the day (hour, minute, second) in UTC, from seconds since 1970, as far back as [`civil`] goes.
pub(crate) fn date_and_time(seconds: i64) -> ((i64, i64, i64), (i64, i64, i64)) {
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    (civil(days), (second / 3_600, second / 60 % 60, second % 60))
}

/// `2026-11-23 19:46:32 UTC`, from seconds since 1970.
#[cfg(feature = "tls-rustls")]
pub(crate) fn utc(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Days since 1970 of a date that [`civil`] returns.
#[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    // In years that begin in March, as there.
    let (year, month) = match month {
        ..=2 => (year - 1, month + 9),
        _ => (year, month - 3),
    };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// A time as RFC 3339 has it, taken apart. Whether that month has such a day is for the caller to say.
#[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
#[derive(Debug)]
// What only codecs are strict about.
#[cfg_attr(not(any(feature = "avro", feature = "json")), allow(dead_code))]
pub(crate) struct Rfc3339<'a> {
    pub date: (i64, i64, i64),
    /// What stands between date and time: a `T`, a `t` or a space.
    pub between: u8,
    /// Hour, minute and second; the second may be the 60th, which leaps.
    pub time: (i64, i64, i64),
    /// The digits after the second, if there is a dot.
    pub decimals: Option<&'a str>,
    /// How far from UTC: 1 or -1, hours, minutes.
    pub offset: (i64, i64, i64),
}

#[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
impl<'a> Rfc3339<'a> {
    pub fn read(text: &'a str) -> Option<Self> {
        let number = |from: usize, to: usize| digits(text.get(from..to)?);
        let bytes = text.as_bytes();
        let is_split = |mark: u8, places: [usize; 2]| {
            (places.iter()).all(|place| bytes.get(*place).is_some_and(|it| *it == mark))
        };
        let between = *bytes.get(10)?;
        if !is_split(b'-', [4, 7]) || !is_split(b':', [13, 16]) || !b"Tt ".contains(&between) {
            return None;
        }
        let date = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let time = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let ((_, month, day), (hour, minute, second)) = (date, time);
        let is_one = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour <= 23
            && minute <= 59
            && second <= 60;
        let rest = text.get(19..).filter(|_| is_one)?;
        let (decimals, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let zone = rest.trim_start_matches(|it: char| it.is_ascii_digit());
                (Some(&rest[..rest.len() - zone.len()]), zone)
            }
            None => (None, rest),
        };
        Some(Self {
            date,
            between,
            time,
            decimals,
            offset: offset(zone)?,
        })
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> i64 {
        let ((year, month, day), (hour, minute, second)) = (self.date, self.time);
        let (sign, hours, minutes) = self.offset;
        days(year, month, day) * DAY + hour * 3_600 + minute * 60 + second
            - sign * (hours * 3_600 + minutes * 60)
    }
}

/// `Z`, or hours and minutes with a sign.
#[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
fn offset(zone: &str) -> Option<(i64, i64, i64)> {
    let sign = match zone.as_bytes() {
        b"Z" | b"z" => return Some((1, 0, 0)),
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let two = |text: &str| digits(text).filter(|_| text.len() == 2);
    Some((sign, two(hours)?, two(minutes)?))
}

#[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
fn digits(text: &str) -> Option<i64> {
    let is_number = text.bytes().all(|it| it.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "tls-rustls")]
    fn a_time_is_written_as_people_read_it() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(1_709_251_199), "2024-02-29 23:59:59 UTC");
        assert!(utc(u64::MAX).ends_with(" UTC"), "any number is a time");
    }

    #[test]
    fn every_day_has_the_date_after_the_one_before() {
        let (mut year, mut month, mut day) = civil(0);
        for days in 1..200_000 {
            let next = civil(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            let expected = match (day == last, month) {
                (false, _) => (year, month, day + 1),
                (true, 12) => (year + 1, 1, 1),
                (true, _) => (year, month + 1, 1),
            };
            assert_eq!(next, expected);
            #[cfg(any(feature = "msk-iam", feature = "avro", feature = "json"))]
            assert_eq!(super::days(next.0, next.1, next.2), days);
            (year, month, day) = next;
        }
    }
}
