//! Which records are printed. In: what was asked for, and records. Out: whether a record has all of it.

use clap::Args;
use pat_events::kafka::RecordView;
use regex_lite::Regex;
use serde_json::Value;

use super::json_path::Condition;
use crate::escapes;

/// What records are to have; all of it.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// Print only records with this key; escapes as with -K.
    #[arg(long, value_name = "KEY", value_parser = bytes)]
    key: Option<Bytes>,
    /// Print only records whose key matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    key_matches: Option<Regex>,
    /// Print only records with this header, or with this value of it; may be given several times.
    #[arg(long = "with-header", value_name = "NAME[=VALUE]")]
    headers: Vec<String>,
    /// Print only records whose value matches this regular expression.
    #[arg(long, value_name = "REGEX")]
    value_matches: Option<Regex>,
    /// Print only records whose value is JSON of which this holds: $.user.id = 7, $.items[*].sku = x, $.error, $.name ~ ^a; with =, !=, <, <=, >, >=, ~
    /// (a regular expression), or the place alone; may be given several times.
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

fn bytes(text: &str) -> Result<Bytes, String> {
    escapes::unescape(text).map(Bytes)
}

impl Filter {
    /// Whether the record is to be printed; `value` is its value, where it has been read as more than bytes.
    pub fn admits(&self, record: &RecordView<'_>, value: Option<&Value>) -> bool {
        let matches = |pattern: &Option<Regex>, bytes: Option<&[u8]>| match (pattern, bytes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(pattern), Some(bytes)) => pattern.is_match(&String::from_utf8_lossy(bytes)),
        };
        let has_key = self
            .key
            .as_ref()
            .is_none_or(|key| record.key == Some(&key.0));
        has_key
            && matches(&self.key_matches, record.key)
            && self.headers.iter().all(|wanted| has_header(record, wanted))
            && matches(&self.value_matches, record.value)
            && self.holds(record, value)
    }

    fn holds(&self, record: &RecordView<'_>, value: Option<&Value>) -> bool {
        if self.conditions.is_empty() {
            return true;
        }
        let parsed;
        let value = match value {
            Some(value) => value,
            None => match record.value.map(serde_json::from_slice) {
                Some(Ok(value)) => {
                    parsed = value;
                    &parsed
                }
                _ => return false,
            },
        };
        self.conditions
            .iter()
            .all(|condition| condition.holds(value))
    }
}

/// Whether any header has this name, and this value.
fn has_header(record: &RecordView<'_>, wanted: &str) -> bool {
    let (name, value) = match wanted.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (wanted, None),
    };
    let mut headers = record.headers.iter();
    headers.any(|header| {
        header.key_bytes == name.as_bytes()
            && value.is_none_or(|value| header.value == Some(value.as_bytes()))
    })
}
