//! The table of changes of schemas judged by a real Apicurio Registry: it agrees, or it is one of the disagreements that are written down here
//! with their reasons. One that is not, and one that is none any more, fail.

#[allow(dead_code)]
#[path = "../schemas/changes/mod.rs"]
mod changes;

use libtest_mimic::Trial;
use pat_events::events::codec::{
    NewSchema, RegistryConfig, SchemaKind, SchemaRegistry, SchemaVersion,
};

use crate::real::on_registry;
use changes::Verdict::{self, Backward, Forward, Full, None};
use changes::{Change, Format};

const MIRRORED: &str = "For the forward direction the registry exchanges the two schemas and asks whether what the old one lacks was removed without being reserved. On the wire nothing is wrong: old readers skip what they do not know.";
const RESERVED_LATER: &str = "Likewise: seen from the old schema, a reservation was taken back.";
const TYPES_BY_NAME: &str = "The registry compares types by their names. These are the same on the wire, and one direction, or both, loses nothing.";
const LABELS_BY_NAME: &str = "The registry compares labels by their names. What was written singular is read as a list of one; `optional` is the same on the wire; a required field troubles one direction only.";
const ONEOFS_UNSEEN: &str = "The registry does not look at oneofs. Several fields that were set beside each other become the last one.";
const ENUMS_UNRESERVED: &str = "The registry does not look at what enums reserve.";
const NOT_LOOKED_AT: &str =
    "The registry does not look at names in JSON, at default values, at packages.";
const SERVICES_ONE_WAY: &str =
    "To the registry new callers of an old service are no matter. They fail.";
const BYTES_ONLY: &str = "Avro resolves the bytes; what they mean is another matter.";
const ADDED_TO_OPEN: &str = "To the registry an object that is open may have had the new property before, with a value that is refused now. Here any is taken.";
const ITEMS_AS_A_WHOLE: &str = "The registry takes items of other types for other items, whichever way: it does not say which of the types is left.";

/// What the registry says where it says otherwise, and why.
#[rustfmt::skip]
const DISAGREEMENTS: &[(Format, &str, Verdict, &str)] = &[
    (Format::Protobuf, "field added", Backward, MIRRORED),
    (Format::Protobuf, "optional field added", Backward, MIRRORED),
    (Format::Protobuf, "repeated field added", Backward, MIRRORED),
    (Format::Protobuf, "map added", Backward, MIRRORED),
    (Format::Protobuf, "field added to a oneof", Backward, MIRRORED),
    (Format::Protobuf, "enum value added", Backward, MIRRORED),
    (Format::Protobuf, "message added", Backward, MIRRORED),
    (Format::Protobuf, "service added", Backward, MIRRORED),
    (Format::Protobuf, "field removed, number and name reserved", Backward, RESERVED_LATER),
    (Format::Protobuf, "field removed, range reserved", Backward, RESERVED_LATER),
    (Format::Protobuf, "field removed, number reserved", None, RESERVED_LATER),
    (Format::Protobuf, "field removed, name reserved", None, RESERVED_LATER),
    (Format::Protobuf, "number reserved", Backward, RESERVED_LATER),
    (Format::Protobuf, "int32 to int64", None, TYPES_BY_NAME),
    (Format::Protobuf, "int64 to int32", None, TYPES_BY_NAME),
    (Format::Protobuf, "uint32 to uint64", None, TYPES_BY_NAME),
    (Format::Protobuf, "uint32 to int64", None, TYPES_BY_NAME),
    (Format::Protobuf, "sint32 to sint64", None, TYPES_BY_NAME),
    (Format::Protobuf, "bool to int32", None, TYPES_BY_NAME),
    (Format::Protobuf, "int32 to bool", None, TYPES_BY_NAME),
    (Format::Protobuf, "string to bytes", None, TYPES_BY_NAME),
    (Format::Protobuf, "bytes to string", None, TYPES_BY_NAME),
    (Format::Protobuf, "enum to int32", None, TYPES_BY_NAME),
    (Format::Protobuf, "a map's value widened", None, TYPES_BY_NAME),
    (Format::Protobuf, "string becomes repeated", None, LABELS_BY_NAME),
    (Format::Protobuf, "string becomes singular", None, LABELS_BY_NAME),
    (Format::Protobuf, "number becomes repeated", None, LABELS_BY_NAME),
    (Format::Protobuf, "number becomes singular", None, LABELS_BY_NAME),
    (Format::Protobuf, "implicit becomes optional", None, LABELS_BY_NAME),
    (Format::Protobuf, "optional becomes implicit", None, LABELS_BY_NAME),
    (Format::Protobuf, "required field added", None, LABELS_BY_NAME),
    (Format::Protobuf, "optional becomes required", None, LABELS_BY_NAME),
    (Format::Protobuf, "required becomes optional", None, LABELS_BY_NAME),
    (Format::Protobuf, "field moved into a oneof that was there", Full, ONEOFS_UNSEEN),
    (Format::Protobuf, "two fields moved into a new oneof", Full, ONEOFS_UNSEEN),
    (Format::Protobuf, "field moved out of a oneof", Full, ONEOFS_UNSEEN),
    (Format::Protobuf, "oneof dissolved", Full, ONEOFS_UNSEEN),
    (Format::Protobuf, "enum value removed, reserved", Forward, ENUMS_UNRESERVED),
    (Format::Protobuf, "reserved enum value reused", Backward, ENUMS_UNRESERVED),
    (Format::Protobuf, "name in JSON changed", Full, NOT_LOOKED_AT),
    (Format::Protobuf, "default changed", Full, NOT_LOOKED_AT),
    (Format::Protobuf, "package changed", Full, NOT_LOOKED_AT),
    (Format::Protobuf, "service removed", Forward, SERVICES_ONE_WAY),
    (Format::Protobuf, "rpc removed", Forward, SERVICES_ONE_WAY),
    (Format::Avro, "timestamp in millis to micros", Full, BYTES_ONLY),
    (Format::Avro, "scale of a decimal changed", Full, BYTES_ONLY),
    (Format::Json, "property added", Forward, ADDED_TO_OPEN),
    (Format::Json, "items narrowed", None, ITEMS_AS_A_WHOLE),
];

pub fn trials() -> Vec<Trial> {
    vec![
        on_registry("protobuf_is_judged_as_is_written_down", |url| {
            judged_as_written_down(url, Format::Protobuf)
        }),
        on_registry("avro_is_judged_as_is_written_down", |url| {
            judged_as_written_down(url, Format::Avro)
        }),
        on_registry("json_schemas_are_judged_as_is_written_down", |url| {
            judged_as_written_down(url, Format::Json)
        }),
    ]
}

async fn judged_as_written_down(url: String, format: Format) {
    let registry = SchemaRegistry::new(RegistryConfig::new(&url)).expect("complete");
    let mut wrong = Vec::new();
    let listed = DISAGREEMENTS.iter().filter(|it| it.0 == format);
    for (_, name, ..) in listed {
        if !format.changes().iter().any(|row| row.name == *name) {
            wrong.push(format!("{name:?} is no row of the table"));
        }
    }
    for row in format.changes() {
        let judged = judge(&registry, format, row).await;
        let mut listed = DISAGREEMENTS.iter();
        let differs = listed.find(|it| it.0 == format && it.1 == row.name);
        match differs {
            Option::None if judged != row.verdict => wrong.push(format!(
                "{:?}: the registry says {judged:?}, the table {:?}",
                row.name, row.verdict
            )),
            Some((.., expected, why)) if judged != *expected => wrong.push(format!(
                "{:?}: the registry says {judged:?}, not {expected:?}. {why}",
                row.name
            )),
            Some(_) if judged == row.verdict => {
                wrong.push(format!("{:?} is no disagreement any more", row.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn judge(registry: &SchemaRegistry, format: Format, row: &Change) -> Verdict {
    let (old, new) = format.texts(row);
    let schema = |text: &str| match format {
        Format::Protobuf => NewSchema::new(SchemaKind::Protobuf, text),
        Format::Avro => NewSchema::new(SchemaKind::Avro, text),
        // Without it the registry does not believe that it is one.
        Format::Json => {
            let draft = r#"{"$schema":"http://json-schema.org/draft-07/schema#","#;
            NewSchema::new(SchemaKind::Json, &text.replacen('{', draft, 1))
        }
    };
    let subject = format!("{format:?}-{}", row.name);
    let (latest, what) = (SchemaVersion::Latest, format!("{format:?}, {:?}", row.name));
    let (old, new) = (schema(&old), schema(&new));
    let registered = registry.register(&subject, &old).await;
    registered.unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut can = [false; 2];
    for (can, level) in can.iter_mut().zip(["BACKWARD", "FORWARD"]) {
        let set = registry.set_compatibility_level(Some(&subject), level);
        set.await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let verdict = registry.compatibility(&subject, latest, &new);
        let verdict = verdict
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        *can = verdict.is_compatible;
    }
    Verdict::of(can[0], can[1])
}
