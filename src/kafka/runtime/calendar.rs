//! Days since 1970 and dates of the Gregorian calendar.

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

/// `2026-11-23 19:46:32 UTC`, from seconds since 1970.
#[cfg(feature = "tls-rustls")]
pub(crate) fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days.cast_signed());
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
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
