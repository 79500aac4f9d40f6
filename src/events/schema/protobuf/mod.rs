//! The rules of Protobuf. In: the descriptors of all files before and after; what Google ships with Protobuf is not looked at. Out: findings.
//!
//! Messages, enums and services are matched by their full names, fields and values by their numbers: the number is what is on the wire.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `mod` | messages, reserved numbers and names, enums, services |
//! | `fields` | one field before and after: name, type, cardinality, presence, oneof |
//! | `types` | which types read each other's bytes |

mod fields;
mod types;

use std::collections::BTreeMap;
use std::ops::Range;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, ServiceDescriptor,
};

use super::finding::{BACKWARD, BOTH, FORWARD, Finding, Findings, NOTHING};

const SHIPPED: &str = "google.protobuf";

pub(super) fn compare(old: &DescriptorPool, new: &DescriptorPool) -> Vec<Finding> {
    let mut findings = Findings::default();
    let (before, after) = (messages(old), messages(new));
    for (name, message) in &before {
        match after.get(name) {
            Some(changed) => compare_message(message, changed, &mut findings),
            None => match successor(message, &before, &after) {
                Some(other) if other.package_name() != message.package_name() => findings.add(
                    "PACKAGE_CHANGED",
                    BOTH,
                    name,
                    format!("is now {}: readers know records by the old name", other.full_name()),
                    format!("keep the package {:?} and copy the messages into the new one; let producers change over when every reader knows it", message.package_name()),
                ),
                Some(other) => findings.add(
                    "MESSAGE_RENAMED",
                    BOTH,
                    name,
                    format!("is now {}: readers know records by the old name", other.full_name()),
                    format!("keep the name {}", message.name()),
                ),
                None => findings.add(
                    "MESSAGE_REMOVED",
                    BACKWARD,
                    name,
                    "was removed: old records of it can no longer be read",
                    "keep the message, marked `option deprecated = true;`, as long as a record of it may be read",
                ),
            },
        }
    }
    for (name, message) in &after {
        if !before.contains_key(name) && successor(message, &after, &before).is_none() {
            findings.add("MESSAGE_ADDED", NOTHING, name, "is new", "");
        }
    }
    compare_enums(old, new, &mut findings);
    compare_services(old, new, &mut findings);
    findings.0
}

fn messages(pool: &DescriptorPool) -> BTreeMap<String, MessageDescriptor> {
    pool.all_messages()
        .filter(|it| it.package_name() != SHIPPED && !it.is_map_entry())
        .map(|it| (it.full_name().to_owned(), it))
        .collect()
}

/// The message that `message` became: one that stands only on the other side, in whose fields nothing differs but the package.
fn successor<'a>(
    message: &MessageDescriptor,
    here: &BTreeMap<String, MessageDescriptor>,
    there: &'a BTreeMap<String, MessageDescriptor>,
) -> Option<&'a MessageDescriptor> {
    let shape = |message: &MessageDescriptor| -> Vec<(u32, String, bool)> {
        let fields = message.fields();
        fields
            .map(|it| (it.number(), it.name().to_owned(), it.is_list()))
            .collect()
    };
    let mut others = there.values().filter(|other| {
        !here.contains_key(other.full_name())
            && shape(other) == shape(message)
            && (message.fields().len() > 0 || other.name() == message.name())
    });
    // The same name in another package goes before another name in the same package.
    let all: Vec<_> = others.by_ref().collect();
    let same = all.iter().find(|it| it.name() == message.name());
    same.or(all.first()).copied()
}

fn compare_message(old: &MessageDescriptor, new: &MessageDescriptor, findings: &mut Findings) {
    for field in old.fields() {
        let place = format!("{}.{}", old.full_name(), field.name());
        if let Some(changed) = new.get_field(field.number()) {
            fields::compare(&field, &changed, findings);
            continue;
        }
        if let Some(moved) = new.get_field_by_name(field.name()) {
            findings.add(
                "FIELD_RENUMBERED",
                BOTH,
                &place,
                format!(
                    "was number {} and is number {}: neither side finds the other's values",
                    field.number(),
                    moved.number()
                ),
                format!(
                    "keep the number {}; a field under a new number needs a new name",
                    field.number()
                ),
            );
            continue;
        }
        let (number, name) = (field.number(), field.name());
        let has_number = new.reserved_ranges().any(|range| range.contains(&number));
        let has_name = new.reserved_names().any(|it| it == name);
        if has_number && has_name {
            let breaks = if field.is_required() {
                FORWARD
            } else {
                NOTHING
            };
            findings.add(
                "FIELD_REMOVED",
                breaks,
                &place,
                "was removed, and its number and name are reserved: old readers see its default value",
                match field.is_required() {
                    true => "it is required: old readers refuse records without it; keep it",
                    false => "",
                },
            );
        } else {
            let missing = match (has_number, has_name) {
                (true, _) => format!("reserved \"{name}\";"),
                (_, true) => format!("reserved {number};"),
                _ => format!("reserved {number}; reserved \"{name}\";"),
            };
            let breaks = if field.is_required() { BOTH } else { BACKWARD };
            findings.add(
                "FIELD_REMOVED_UNRESERVED",
                breaks,
                &place,
                format!("was removed, and another field may take its number {number} or its name: old records would be misread"),
                format!("keep it, marked `deprecated = true`; or write `{missing}` in {}", new.name()),
            );
        }
    }
    compare_reserved(old, new, findings);
    compare_oneofs(old, new, findings);
    for field in new.fields() {
        let is_known = old.get_field(field.number()).is_some()
            || (old
                .get_field_by_name(field.name())
                .is_some_and(|was| new.get_field(was.number()).is_none()));
        if !is_known {
            added(old, &field, findings);
        }
    }
}

fn added(old: &MessageDescriptor, field: &FieldDescriptor, findings: &mut Findings) {
    let place = format!("{}.{}", old.full_name(), field.name());
    let number = field.number();
    if old.reserved_ranges().any(|range| range.contains(&number))
        || old.reserved_names().any(|name| name == field.name())
    {
        findings.add(
            "RESERVED_REUSED",
            BOTH,
            place,
            format!("is new, and its number {number} or its name was reserved: records of the field that had it would be misread"),
            "take a number and a name that were never used",
        );
    } else if field.is_required() {
        findings.add(
            "REQUIRED_FIELD_ADDED",
            BACKWARD,
            place,
            "is new and required: new readers refuse old records, which do not have it",
            "make it optional",
        );
    } else if old.get_field_by_name(field.name()).is_some() {
        findings.add(
            "FIELD_NAME_REUSED",
            BOTH,
            place,
            format!("takes the name of another field, under number {number}: in JSON one is read as the other"),
            "take a name that was never used",
        );
    } else {
        findings.add(
            "FIELD_ADDED",
            NOTHING,
            place,
            "is new: old readers skip it, and new readers see its default value in old records",
            "",
        );
    }
}

fn compare_reserved(old: &MessageDescriptor, new: &MessageDescriptor, findings: &mut Findings) {
    // What a field took back is said at the field.
    for range in old.reserved_ranges() {
        let freed = uncovered(range, new);
        if let Some(freed) = freed {
            findings.add(
                "RESERVED_REMOVED",
                BACKWARD,
                old.full_name(),
                format!("number {freed} is not reserved any more: a later field may take it, and misread old records"),
                format!("write `reserved {freed};` again"),
            );
        }
    }
    for name in old.reserved_names() {
        if !new.reserved_names().any(|it| it == name) && new.get_field_by_name(name).is_none() {
            findings.add(
                "RESERVED_REMOVED",
                BACKWARD,
                old.full_name(),
                format!("the name {name:?} is not reserved any more: a later field may take it"),
                format!("write `reserved \"{name}\";` again"),
            );
        }
    }
}

/// The first number of `range` that `message` neither reserves nor has a field under.
fn uncovered(range: Range<u32>, message: &MessageDescriptor) -> Option<u32> {
    let mut number = range.start;
    while number < range.end {
        let reserved = message.reserved_ranges().find(|it| it.contains(&number));
        number = match (reserved, message.get_field(number)) {
            (Some(reserved), _) => reserved.end,
            (None, Some(_)) => number + 1,
            (None, None) => return Some(number),
        };
    }
    None
}

/// Fields that went into a oneof, or out of one. A oneof of one field is as good as an optional field.
fn compare_oneofs(old: &MessageDescriptor, new: &MessageDescriptor, findings: &mut Findings) {
    let oneof = |field: &FieldDescriptor| {
        let oneof = field.containing_oneof();
        oneof.filter(|it| !it.is_synthetic())
    };
    for field in new.fields() {
        let Some(was) = old.get_field(field.number()) else {
            continue;
        };
        let place = format!("{}.{}", old.full_name(), was.name());
        // Fields beside it in the oneof that were there before, and not beside it: both may be set in an old record.
        let strangers =
            |one: &MessageDescriptor, here: &FieldDescriptor, there: &FieldDescriptor| {
                let beside = oneof(here);
                let count = beside.iter().flat_map(|it| it.fields().collect::<Vec<_>>());
                count
                    .filter(|it| it.number() != here.number())
                    .filter_map(|it| one.get_field(it.number()))
                    .any(|it| {
                        oneof(&it).is_none()
                            || oneof(&it).map(|it| it.name().to_owned())
                                != oneof(there).map(|it| it.name().to_owned())
                    })
            };
        let renamed =
            |one: &FieldDescriptor, other: &FieldDescriptor| match (oneof(one), oneof(other)) {
                (Some(one), Some(other)) => one.name() != other.name(),
                _ => false,
            };
        if strangers(old, &field, &was) {
            findings.add(
                "FIELD_MOVED_INTO_ONEOF",
                BACKWARD,
                place,
                format!("is now in the oneof {} with others that were set beside it: new readers keep only the last of them in old records", oneof(&field).map(|it| it.name().to_owned()).unwrap_or_default()),
                "leave it where it is, and add a new field to the oneof",
            );
        } else if strangers(new, &was, &field) {
            findings.add(
                "FIELD_MOVED_OUT_OF_ONEOF",
                FORWARD,
                place,
                format!("is not in the oneof {} any more: where it is set beside others, old readers keep only the last", oneof(&was).map(|it| it.name().to_owned()).unwrap_or_default()),
                "leave it in the oneof, and add a new field beside it",
            );
        } else if oneof(&field).is_some() != oneof(&was).is_some() {
            findings.add(
                "ONEOF_OF_ONE",
                NOTHING,
                place,
                "went into a oneof of its own, or out of one: the same on the wire",
                "",
            );
        } else if renamed(&was, &field) {
            findings.add(
                "ONEOF_RENAMED",
                NOTHING,
                place,
                "is in a oneof of another name: the same on the wire, and other names in code",
                "",
            );
        }
    }
}

fn enums(pool: &DescriptorPool) -> BTreeMap<String, EnumDescriptor> {
    pool.all_enums()
        .filter(|it| it.package_name() != SHIPPED)
        .map(|it| (it.full_name().to_owned(), it))
        .collect()
}

fn compare_enums(old: &DescriptorPool, new: &DescriptorPool, findings: &mut Findings) {
    let after = enums(new);
    for (name, old) in enums(old) {
        let Some(new) = after.get(&name) else {
            findings.add(
                "ENUM_REMOVED",
                NOTHING,
                name,
                "was removed: what it means for a field is said at the field",
                "",
            );
            continue;
        };
        for value in old.values() {
            let place = format!("{name}.{}", value.name());
            let number = value.number();
            let by_name = new.get_value_by_name(value.name());
            let mut by_number = new.values().filter(|it| it.number() == number).peekable();
            match (by_number.peek().is_some(), by_name) {
                (_, Some(same)) if same.number() == number => {}
                (_, Some(moved)) => findings.add(
                    "ENUM_VALUE_RENUMBERED",
                    BOTH,
                    place,
                    format!("was {number} and is {}: each side reads another value than was written", moved.number()),
                    format!("keep {number}; a new meaning gets a new name and number"),
                ),
                // An alias may go while another name of the number stays.
                (true, None) if old.values().filter(|it| it.number() == number).count() > 1 => findings.add(
                    "ENUM_ALIAS_REMOVED",
                    BOTH,
                    place,
                    "a name of the value was removed: the same on the wire, and unknown in JSON",
                    "keep the name",
                ),
                (true, None) => findings.add(
                    "ENUM_VALUE_RENAMED",
                    BOTH,
                    place,
                    format!("is now {}: the same on the wire; in JSON, where values go by name, neither side knows the other's", by_number.next().map(|it| it.name().to_owned()).unwrap_or_default()),
                    format!("keep the name {}", value.name()),
                ),
                (false, None) => {
                    let is_reserved = new.reserved_ranges().any(|it| it.contains(&number)) && new.reserved_names().any(|it| it == value.name());
                    match is_reserved {
                        true => findings.add(
                            "ENUM_VALUE_REMOVED",
                            NOTHING,
                            place,
                            "was removed, and its number and name are reserved: in old records it is read as an unknown number",
                            "",
                        ),
                        false => findings.add(
                            "ENUM_VALUE_REMOVED_UNRESERVED",
                            BACKWARD,
                            place,
                            format!("was removed, and another value may take its number {number}: old records would be misread"),
                            format!("keep it, marked `deprecated = true`; or write `reserved {number}; reserved \"{}\";`", value.name()),
                        ),
                    }
                }
            }
        }
        for value in new.values() {
            let place = format!("{name}.{}", value.name());
            let number = value.number();
            if old.values().any(|it| it.number() == number)
                || old.get_value_by_name(value.name()).is_some()
            {
                continue;
            }
            if old.reserved_ranges().any(|it| it.contains(&number))
                || old.reserved_names().any(|it| it == value.name())
            {
                findings.add(
                    "RESERVED_REUSED",
                    BOTH,
                    place,
                    "is new, and its number or its name was reserved: old records of the value that had it would be misread",
                    "take a number and a name that were never used",
                );
            } else {
                findings.add(
                    "ENUM_VALUE_ADDED",
                    NOTHING,
                    place,
                    "is new: old readers see an unknown number",
                    "",
                );
            }
        }
    }
}

fn compare_services(old: &DescriptorPool, new: &DescriptorPool, findings: &mut Findings) {
    let find = |service: &ServiceDescriptor| new.get_service_by_name(service.full_name());
    for service in old.services() {
        let Some(changed) = find(&service) else {
            findings.add(
                "SERVICE_REMOVED",
                BOTH,
                service.full_name(),
                "was removed: its callers fail",
                "keep it, marked deprecated",
            );
            continue;
        };
        for method in service.methods() {
            match changed.methods().find(|it| it.name() == method.name()) {
                None => findings.add(
                    "RPC_REMOVED",
                    BOTH,
                    method.full_name(),
                    "was removed: its callers fail",
                    "keep it, marked deprecated",
                ),
                Some(now)
                    if (
                        now.input().full_name(),
                        now.output().full_name(),
                        now.is_client_streaming(),
                        now.is_server_streaming(),
                    ) != (
                        method.input().full_name(),
                        method.output().full_name(),
                        method.is_client_streaming(),
                        method.is_server_streaming(),
                    ) =>
                {
                    findings.add(
                        "RPC_CHANGED",
                        BOTH,
                        method.full_name(),
                        "takes or returns something else",
                        "keep it, and add another beside it",
                    );
                }
                Some(_) => {}
            }
        }
    }
}
