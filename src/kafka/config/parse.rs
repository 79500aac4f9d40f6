//! Text to value, for the rows of property tables. `None` means "not allowed"; the row says what is.

use std::str::FromStr;
use std::time::Duration;

/// Any value that reads itself from text, surrounding spaces aside.
pub fn value<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// A number within `min..=max`.
pub fn number_within<T: FromStr + PartialOrd>(text: &str, min: T, max: T) -> Option<T> {
    value(text).filter(|number| *number >= min && *number <= max)
}

/// A duration written as a number of milliseconds, 0 or more.
pub fn millis(text: &str) -> Option<Duration> {
    value(text).map(Duration::from_millis)
}

/// A duration written as a number of milliseconds, 1 or more.
pub fn positive_millis(text: &str) -> Option<Duration> {
    millis(text).filter(|duration| !duration.is_zero())
}

/// `true` or `false`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// A list with commas between its items, empty items left out; at least one is needed.
pub fn list(text: &str) -> Option<Vec<String>> {
    let items: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(str::to_string)
        .collect();
    (!items.is_empty()).then_some(items)
}

/// Text that is not empty.
pub fn text(text: &str) -> Option<String> {
    let trimmed = text.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_string())
}
