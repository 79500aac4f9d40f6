//! What a change of a schema breaks: Protobuf, Avro and JSON schemas compared.
//!
//! [`compare`] takes a schema before and after, and returns findings, each with its
//! rule, its place, what is wrong and how to mend it, and a verdict: can new readers
//! read old records, and old readers new ones?
//!
//! ```
//! use pat_events::events::schema::{Mode, Schema, compare};
//!
//! let before = "syntax = \"proto3\"; message Order { int32 cents = 2; }";
//! let after = "syntax = \"proto3\"; message Order { int64 cents = 2; }";
//! let (old, new) = (Schema::protobuf(before)?, Schema::protobuf(after)?);
//! let report = compare(&old, &new)?;
//! // An int64 holds every int32, and not the other way round.
//! assert!(report.is_compatible(Mode::Backward));
//! assert!(!report.is_compatible(Mode::Forward));
//! let finding = &report.findings[0];
//! assert_eq!(finding.rule, "FIELD_WIDENED");
//! assert_eq!(finding.place, "Order.cents");
//! # Ok::<(), pat_events::events::schema::SchemaError>(())
//! ```

// | file | what lives there |
// | --- | --- |
// | `finding` | rules, findings, modes, the report |
// | `source` | schemas from text, files, folders and descriptor sets |
// | `protobuf` | rules for messages, fields, oneofs, enums, services |
// | `avro` | Avro's resolution of a writer's schema by a reader |
// | `json_schema` | whether a JSON schema still takes what it took |

mod avro;
mod finding;
mod json_schema;
mod protobuf;
mod source;

pub use finding::{Finding, Mode, Report};
pub use source::{Schema, SchemaError};

use source::Kind;

/// Compares a schema before and after a change. Both have to be of one format.
pub fn compare(old: &Schema, new: &Schema) -> Result<Report, SchemaError> {
    let mut findings = match (&old.0, &new.0) {
        (Kind::Protobuf(old), Kind::Protobuf(new)) => protobuf::compare(old, new),
        (Kind::Avro(old), Kind::Avro(new)) => avro::compare(old, new)?,
        (Kind::Json(old), Kind::Json(new)) => json_schema::compare(old, new),
        (old, new) => {
            return Err(SchemaError::new(format!(
                "a schema in {} cannot be compared with one in {}",
                new.name(),
                old.name()
            )));
        }
    };
    findings.sort_by(|one, other| (&one.place, one.rule).cmp(&(&other.place, other.rule)));
    findings.dedup();
    Ok(Report { findings })
}
