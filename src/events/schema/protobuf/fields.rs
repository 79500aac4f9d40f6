//! One field before and after: name, type, cardinality, presence, defaults.

use prost_reflect::{FieldDescriptor, Kind};

use super::types;
use crate::events::schema::finding::{BACKWARD, BOTH, Breaks, FORWARD, Findings, NOTHING};

/// Compares what stands under one number.
pub(super) fn compare(old: &FieldDescriptor, new: &FieldDescriptor, findings: &mut Findings) {
    let message = old.parent_message().full_name().to_owned();
    let place = format!("{message}.{}", old.name());
    if old.name() != new.name() {
        let (rule, what) = match old.parent_message().get_field_by_name(new.name()) {
            // Another field's name, which has gone to another number: values change places.
            Some(_) => (
                "FIELD_RENUMBERED",
                "so that each side reads the value of one as the other's",
            ),
            None => (
                "FIELD_RENAMED",
                "the same on the wire; in JSON and in code neither side knows the other's",
            ),
        };
        findings.add(
            rule,
            BOTH,
            &place,
            format!(
                "number {} is now called {}: {what}",
                old.number(),
                new.name()
            ),
            format!(
                "keep the name {}; for another meaning add a field",
                old.name()
            ),
        );
    } else if old.json_name() != new.json_name() {
        findings.add(
            "JSON_NAME_CHANGED",
            BOTH,
            &place,
            format!(
                "is {:?} in JSON and was {:?}: neither side finds the other's values there",
                new.json_name(),
                old.json_name()
            ),
            format!("keep `json_name = {:?}`", old.json_name()),
        );
    }
    if old.is_map() != new.is_map() {
        findings.add(
            "MAP_CHANGED",
            BOTH,
            &place,
            "is a map on one side only",
            format!("keep {:?} as it was, and add a field", old.name()),
        );
        return;
    }
    if let (true, Kind::Message(was), Kind::Message(is)) = (old.is_map(), old.kind(), new.kind()) {
        for (part, was, is) in [
            (
                "MAP_KEY_CHANGED",
                was.map_entry_key_field(),
                is.map_entry_key_field(),
            ),
            (
                "MAP_VALUE_CHANGED",
                was.map_entry_value_field(),
                is.map_entry_value_field(),
            ),
        ] {
            if let Some((_, breaks, why)) = types::change(&was.kind(), &is.kind()) {
                add_change(part, breaks, &place, (&was, &is), why, findings);
            }
        }
        return;
    }
    if let Some((rule, breaks, why)) = types::change(&old.kind(), &new.kind()) {
        add_change(rule, breaks, &place, (old, new), why, findings);
    }
    compare_cardinality(old, new, &place, findings);
    if !old.is_list()
        && !new.is_list()
        && old.default_value() != new.default_value()
        && old.kind() == new.kind()
    {
        findings.add(
            "DEFAULT_CHANGED",
            BOTH,
            &place,
            "has another default value: where it is not set, each side reads what the other did not mean",
            "keep the default",
        );
    }
    let is_deprecated = |field: &FieldDescriptor| {
        let options = field.field_descriptor_proto().options.as_ref();
        options.is_some_and(|it| it.deprecated())
    };
    if is_deprecated(new) && !is_deprecated(old) {
        findings.add(
            "FIELD_DEPRECATED",
            NOTHING,
            place,
            "is deprecated now: producers should stop writing it",
            "",
        );
    }
}

fn add_change(
    rule: &'static str,
    breaks: Breaks,
    place: &str,
    (old, new): (&FieldDescriptor, &FieldDescriptor),
    why: &str,
    findings: &mut Findings,
) {
    let name = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(one) => one.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let fix = match (breaks.backward, breaks.forward) {
        (false, false) => String::new(),
        (false, true) => format!(
            "let every reader have the new type before a producer does; or keep {} and add a field",
            name(old)
        ),
        _ => format!(
            "keep {}, and add a field of the new type under a new number",
            name(old)
        ),
    };
    findings.add(
        rule,
        breaks,
        place,
        format!("was {} and is {}: {why}", name(old), name(new)),
        fix,
    );
}

fn compare_cardinality(
    old: &FieldDescriptor,
    new: &FieldDescriptor,
    place: &str,
    findings: &mut Findings,
) {
    let keep = "keep it, and add a field under a new number";
    match (old.is_list(), new.is_list()) {
        (false, true) => findings.add(
            "FIELD_BECAME_REPEATED",
            FORWARD,
            place,
            "is repeated now: old readers see one value of several, or none where numbers are packed",
            keep,
        ),
        (true, false) => findings.add(
            "FIELD_BECAME_SINGULAR",
            BACKWARD,
            place,
            "is not repeated any more: new readers see one value of several, or none where numbers are packed",
            keep,
        ),
        (true, true) if old.is_packed() != new.is_packed() => findings.add(
            "PACKED_CHANGED",
            NOTHING,
            place,
            "is packed on one side only: every reader takes both",
            "",
        ),
        (true, true) => {}
        (false, false) => match (old.is_required(), new.is_required()) {
            (false, true) => findings.add(
                "FIELD_BECAME_REQUIRED",
                BACKWARD,
                place,
                "is required now: new readers refuse old records without it",
                "leave it optional",
            ),
            (true, false) => findings.add(
                "FIELD_BECAME_OPTIONAL",
                FORWARD,
                place,
                "is not required any more: old readers refuse new records without it",
                "let every reader have the new schema before a producer leaves it out",
            ),
            _ if old.supports_presence() != new.supports_presence()
                && old.containing_oneof().is_none_or(|it| it.is_synthetic())
                && new.containing_oneof().is_none_or(|it| it.is_synthetic()) =>
            {
                findings.add(
                    "PRESENCE_CHANGED",
                    NOTHING,
                    place,
                    match new.supports_presence() {
                        true => "is `optional` now: a zero that was written before is read as not set",
                        false => "is not `optional` any more: not set and zero are read as one",
                    },
                    "",
                );
            }
            _ => {}
        },
    }
}
