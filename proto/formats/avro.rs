//! Avro's schema of a message: messages are records, what may be missing is a union with null, a `oneof` is a union of records, enums have
//! their first value for a default. Every field has a default, so that old and new read each other.

use std::collections::BTreeSet;
use std::error::Error;

use protox::prost_reflect::{
    EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};

use super::json::Json;
use super::{Branch, Known, branch, doc, known, oneof_of};

pub fn schema(message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    Ok(record(message, &mut BTreeSet::new())?.file())
}

/// The record, or its name where it stands before: a schema has each once.
fn record(
    message: &MessageDescriptor,
    known: &mut BTreeSet<String>,
) -> Result<Json, Box<dyn Error>> {
    if !known.insert(message.full_name().to_owned()) {
        return Ok(Json::text(message.full_name()));
    }
    let mut fields = Vec::new();
    for field in message.fields().filter(|it| oneof_of(it).is_none()) {
        let (of, default) = field_type(&field, known)?;
        fields.push(entry(
            field.name(),
            doc(&field.parent_file(), field.path()),
            of,
            default,
        ));
    }
    for oneof in message.oneofs().filter(|it| !it.is_synthetic()) {
        let of = union(&oneof, known)?;
        fields.push(entry(
            oneof.name(),
            doc(&oneof.parent_file(), oneof.path()),
            of,
            Json::Null,
        ));
    }
    let comment = doc(&message.parent_file(), message.path());
    Ok(named(
        "record",
        message.name(),
        message.package_name(),
        comment,
        vec![("fields", Json::List(fields))],
    ))
}

fn named(kind: &str, name: &str, namespace: &str, doc: String, more: Vec<(&str, Json)>) -> Json {
    let mut entries = vec![
        ("type", Json::text(kind)),
        ("name", Json::text(name)),
        ("namespace", Json::text(namespace)),
    ];
    if !doc.is_empty() {
        entries.push(("doc", Json::Text(doc)));
    }
    entries.extend(more);
    Json::Object(
        entries
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

fn entry(name: &str, doc: String, of: Json, default: Json) -> Json {
    let mut entries = vec![("name".to_owned(), Json::text(name))];
    if !doc.is_empty() {
        entries.push(("doc".to_owned(), Json::Text(doc)));
    }
    entries.push(("type".to_owned(), of));
    entries.push(("default".to_owned(), default));
    Json::Object(entries)
}

/// The type of a field, and its default.
fn field_type(
    field: &FieldDescriptor,
    known: &mut BTreeSet<String>,
) -> Result<(Json, Json), Box<dyn Error>> {
    if let (true, Kind::Message(pair)) = (field.is_map(), field.kind()) {
        let values = single(&pair.map_entry_value_field(), known)?;
        let map = Json::object([("type", Json::text("map")), ("values", values)]);
        return Ok((map, Json::Object(Vec::new())));
    }
    let single = single(field, known)?;
    Ok(match (field.is_list(), field.supports_presence()) {
        (true, _) => (
            Json::object([("type", Json::text("array")), ("items", single)]),
            Json::List(Vec::new()),
        ),
        (_, true) => (Json::List(vec![Json::text("null"), single]), Json::Null),
        _ => (single, default(field)?),
    })
}

fn default(field: &FieldDescriptor) -> Result<Json, Box<dyn Error>> {
    Ok(match field.kind() {
        Kind::Bool => Json::Bool(false),
        Kind::String | Kind::Bytes => Json::text(""),
        Kind::Enum(it) => Json::text(it.default_value().name()),
        Kind::Message(it) => return Err(format!("a message {} without presence", it.name()).into()),
        _ => Json::Number(0),
    })
}

fn single(field: &FieldDescriptor, names: &mut BTreeSet<String>) -> Result<Json, Box<dyn Error>> {
    let micros = |of: &str| {
        Json::object([
            ("type", Json::text("long")),
            ("logicalType", Json::text(of)),
        ])
    };
    Ok(match field.kind() {
        Kind::Bool => Json::text("boolean"),
        Kind::String => Json::text("string"),
        Kind::Bytes => Json::text("bytes"),
        Kind::Float => Json::text("float"),
        Kind::Double => Json::text("double"),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Json::text("int"),
        // Avro has no number without a sign: what 64 bits hold beyond its own is refused when it is written.
        Kind::Uint32
        | Kind::Fixed32
        | Kind::Int64
        | Kind::Sint64
        | Kind::Sfixed64
        | Kind::Uint64
        | Kind::Fixed64 => Json::text("long"),
        Kind::Enum(it) => enumeration(&it, names),
        Kind::Message(it) => match known(&it)? {
            Some(Known::Timestamp) => micros("timestamp-micros"),
            // Avro's own duration counts months and days.
            Some(Known::Duration) => Json::text("long"),
            None => record(&it, names)?,
        },
    })
}

fn enumeration(it: &EnumDescriptor, known: &mut BTreeSet<String>) -> Json {
    if !known.insert(it.full_name().to_owned()) {
        return Json::text(it.full_name());
    }
    let symbols = it.values().map(|value| Json::text(value.name())).collect();
    let comment = doc(&it.parent_file(), it.path());
    let more = vec![
        ("symbols", Json::List(symbols)),
        ("default", Json::text(it.default_value().name())),
    ];
    named("enum", it.name(), it.package_name(), comment, more)
}

fn union(oneof: &OneofDescriptor, known: &mut BTreeSet<String>) -> Result<Json, Box<dyn Error>> {
    let mut branches = vec![Json::text("null")];
    for field in oneof.fields() {
        branches.push(match branch(oneof, &field) {
            Branch::Is(message) => record(&message, known)?,
            Branch::Has(name) => {
                let message = oneof.parent_message();
                let comment = doc(&field.parent_file(), field.path());
                let of = single(&field, known)?;
                let only = Json::object([("name", Json::text(field.name())), ("type", of)]);
                named(
                    "record",
                    &name,
                    message.package_name(),
                    comment,
                    vec![("fields", Json::List(vec![only]))],
                )
            }
        });
    }
    Ok(Json::List(branches))
}
