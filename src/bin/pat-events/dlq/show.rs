//! How dead letters are shown: a line for each, all of one, or JSON.

use std::io::{self, Write};

use pat_events::events::{DeadLetter, LeftOut, dead_letter};
use pat_events::kafka::RecordView;
use serde_json::{Value, json};

use crate::consume::format::{bytes_to_json, to_json as record_to_json};
use crate::times;
use crate::typed::Schemas;

/// The most letters of an error in a line.
const MOST: usize = 60;

pub fn heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{:>9} {:>8} {:<20} {:<9} {:>5} {:<28} {:<20} {:<24} ERROR",
        "PARTITION", "OFFSET", "FAILED", "CLASS", "TRIES", "TYPE", "KEY", "ORIGIN"
    )
}

pub fn line(record: &RecordView<'_>, letter: &DeadLetter, out: &mut impl Write) -> io::Result<()> {
    let origin = format!("{}-{}@{}", letter.topic, letter.partition, letter.offset);
    writeln!(
        out,
        "{:>9} {:>8} {:<20} {:<9} {:>5} {:<28} {:<20} {origin:<24} {}",
        record.partition,
        record.offset,
        times::show(letter.last_failure_ms),
        letter.class.to_string(),
        letter.attempts,
        header(record, "ce_type"),
        text(record.key),
        cut(&letter.message),
    )
}

/// All of one.
pub fn whole(
    record: &RecordView<'_>,
    letter: &DeadLetter,
    schemas: &Schemas,
    out: &mut impl Write,
) -> io::Result<()> {
    let origin = format!(
        "{} partition {} offset {}",
        letter.topic, letter.partition, letter.offset
    );
    for (name, value) in [
        ("origin", origin),
        ("written", times::show(letter.timestamp_ms)),
        ("group", letter.group.clone()),
        ("class", letter.class.to_string()),
        ("error type", letter.error_type.clone()),
        ("error", escaped(letter.message.as_bytes())),
        ("attempts", letter.attempts.to_string()),
        ("first failure", times::show(letter.first_failure_ms)),
        ("last failure", times::show(letter.last_failure_ms)),
        ("replays", letter.replays.to_string()),
        ("key", text(record.key)),
    ] {
        writeln!(out, "{name:<14} {value}")?;
    }
    if letter.left_out != LeftOut::Nothing {
        let (left_out, bytes) = (letter.left_out, letter.value_bytes);
        writeln!(
            out,
            "{:<14} {left_out} ({bytes} bytes of value)",
            "left out"
        )?;
    }
    for own in record.headers.iter() {
        if !own.key.starts_with(dead_letter::PREFIX) {
            writeln!(
                out,
                "{:<14} {}={}",
                "header",
                escaped(own.key_bytes),
                text(own.value)
            )?;
        }
    }
    match schemas.read(record) {
        Ok(event) => writeln!(out, "{:<14} {}", "event", event["data"]),
        Err(_) => writeln!(out, "{:<14} {}", "value", text(record.value)),
    }
}

/// What it says, beside the record; with `schemas` also the event, or why it is none.
pub fn to_json(record: &RecordView<'_>, letter: &DeadLetter, schemas: Option<&Schemas>) -> Value {
    let mut all = record_to_json(record);
    all["tenant"] = bytes_to_json(record.headers.get("ce_tenantid").flatten());
    all["type"] = bytes_to_json(record.headers.get("ce_type").flatten());
    all["failure"] = json!({
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "group": letter.group,
        "class": letter.class.to_string(),
        "error_type": letter.error_type,
        "error": letter.message,
        "attempts": letter.attempts,
        "first_failure_ms": letter.first_failure_ms,
        "last_failure_ms": letter.last_failure_ms,
        "left_out": letter.left_out.to_string(),
        "value_bytes": letter.value_bytes,
        "replays": letter.replays,
    });
    match schemas.map(|schemas| schemas.read(record)) {
        None => {}
        Some(Ok(event)) => all["event"] = event["data"].clone(),
        Some(Err(why)) => all["no_event"] = Value::String(why.to_string()),
    }
    all
}

fn header(record: &RecordView<'_>, name: &str) -> String {
    text(record.headers.get(name).flatten())
}

/// Bytes for a terminal: nothing in them moves its cursor.
fn text(bytes: Option<&[u8]>) -> String {
    bytes.map_or("-".to_owned(), escaped)
}

fn escaped(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

fn cut(message: &str) -> String {
    let message = escaped(message.as_bytes());
    match message.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &message[..end]),
        None => message,
    }
}
