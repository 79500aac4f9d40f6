//! A table of changes: what each is, the schema before and after, the verdict, and the rule that has to be found.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `protobuf`, `avro`, `json_schema` | the rows |

// A row is read best in a line.
#[rustfmt::skip]
mod avro;
#[rustfmt::skip]
mod json_schema;
#[rustfmt::skip]
mod protobuf;

use libtest_mimic::{Failed, Trial};
use pat_events::events::schema::{Mode, Schema, compare};

/// Who can still read whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New readers old records, and old readers new ones.
    Full,
    /// New readers old records.
    Backward,
    /// Old readers new records.
    Forward,
    /// Nobody.
    None,
}

impl Verdict {
    pub fn of(backward: bool, forward: bool) -> Verdict {
        match (backward, forward) {
            (true, true) => Verdict::Full,
            (true, false) => Verdict::Backward,
            (false, true) => Verdict::Forward,
            (false, false) => Verdict::None,
        }
    }
}

/// One row.
pub struct Change {
    pub name: &'static str,
    old: &'static str,
    new: &'static str,
    pub verdict: Verdict,
    /// The rule of a finding that there has to be; empty where there has to be none.
    rule: &'static str,
}

impl Change {
    pub const fn new(
        name: &'static str,
        old: &'static str,
        new: &'static str,
        verdict: Verdict,
        rule: &'static str,
    ) -> Change {
        Change {
            name,
            old,
            new,
            verdict,
            rule,
        }
    }
}

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Protobuf,
    Avro,
    Json,
}

impl Format {
    pub fn changes(self) -> &'static [Change] {
        match self {
            Format::Protobuf => protobuf::CHANGES,
            Format::Avro => avro::CHANGES,
            Format::Json => json_schema::CHANGES,
        }
    }

    /// The text before and after, whole.
    pub fn texts(self, change: &Change) -> (String, String) {
        let whole = |text: &str| match self {
            Format::Protobuf if !text.starts_with("syntax") => {
                format!("syntax = \"proto3\"; package p; {text}")
            }
            Format::Avro if text.starts_with("{\"name\"") => {
                format!("{{\"type\":\"record\",\"name\":\"R\",\"fields\":[{text}]}}")
            }
            _ => text.to_owned(),
        };
        (whole(change.old), whole(change.new))
    }

    fn read(self, text: &str) -> Result<Schema, Failed> {
        Ok(match self {
            Format::Protobuf => Schema::protobuf(text),
            Format::Avro => Schema::avro(text),
            Format::Json => Schema::json(text),
        }?)
    }
}

/// A trial for each row.
pub fn trials() -> Vec<Trial> {
    let formats = [Format::Protobuf, Format::Avro, Format::Json];
    let rows = formats
        .iter()
        .flat_map(|format| format.changes().iter().map(|row| (*format, row)));
    rows.map(|(format, row)| {
        let name = format!("changes::{format:?}::{}", row.name.replace(' ', "_"));
        Trial::test(name, move || judge(format, row))
    })
    .collect()
}

fn judge(format: Format, row: &Change) -> Result<(), Failed> {
    let (old, new) = format.texts(row);
    let report = compare(&format.read(&old)?, &format.read(&new)?)?;
    let found = Verdict::of(
        report.is_compatible(Mode::Backward),
        report.is_compatible(Mode::Forward),
    );
    if found != row.verdict {
        return Err(format!("{found:?}, not {:?}: {:#?}", row.verdict, report.findings).into());
    }
    let has_rule = match row.rule {
        "" => report.findings.is_empty(),
        rule => report.findings.iter().any(|it| it.rule == rule),
    };
    if !has_rule {
        return Err(format!("not {:?}: {:#?}", row.rule, report.findings).into());
    }
    for finding in &report.findings {
        let breaks = finding.breaks(Mode::Full);
        if finding.place.is_empty() || finding.what.is_empty() || breaks == finding.fix.is_empty() {
            return Err(format!("a finding without place, reason or remedy: {finding:?}").into());
        }
    }
    Ok(())
}
