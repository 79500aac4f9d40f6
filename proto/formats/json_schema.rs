//! The JSON schema (draft 7) of a message in Protobuf's JSON mapping. Fields that it does not know are allowed: readers pass them over.

use std::collections::BTreeMap;
use std::error::Error;

use protox::prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::json::Json;
use super::{Known, doc, known};

pub fn schema(message: &MessageDescriptor) -> Result<String, Box<dyn Error>> {
    let mut definitions = BTreeMap::new();
    object(message, &mut definitions)?;
    let definitions = definitions
        .into_iter()
        .filter_map(|(name, it)| Some((name, it?)));
    let schema = Json::object([
        (
            "$schema",
            Json::text("http://json-schema.org/draft-07/schema#"),
        ),
        ("title", Json::text(message.full_name())),
        ("$ref", reference(message.full_name())),
        ("definitions", Json::Object(definitions.collect())),
    ]);
    Ok(schema.file())
}

/// By full name; `None` while it is being written.
type Definitions = BTreeMap<String, Option<Json>>;

fn reference(name: &str) -> Json {
    Json::Text(format!("#/definitions/{name}"))
}

fn object(
    message: &MessageDescriptor,
    definitions: &mut Definitions,
) -> Result<(), Box<dyn Error>> {
    let name = message.full_name();
    if definitions.contains_key(name) {
        return Ok(());
    }
    definitions.insert(name.to_owned(), None);
    let mut properties = Vec::new();
    for field in message.fields() {
        let of = field_type(&field, definitions)?;
        let described = Json::Object(described(doc(&field.parent_file(), field.path()), of));
        properties.push((field.json_name().to_owned(), described));
    }
    let entries = vec![
        ("type".to_owned(), Json::text("object")),
        ("properties".to_owned(), Json::Object(properties)),
    ];
    let entries = described(doc(&message.parent_file(), message.path()), entries);
    definitions.insert(name.to_owned(), Some(Json::Object(entries)));
    Ok(())
}

fn described(doc: String, entries: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let doc = (!doc.is_empty()).then(|| ("description".to_owned(), Json::Text(doc)));
    // What stands beside a reference is passed over in draft 7.
    let entries = match entries.first() {
        Some((key, _)) if key == "$ref" && doc.is_some() => {
            vec![("allOf".to_owned(), Json::List(vec![Json::Object(entries)]))]
        }
        _ => entries,
    };
    doc.into_iter().chain(entries).collect()
}

fn field_type(
    field: &FieldDescriptor,
    definitions: &mut Definitions,
) -> Result<Vec<(String, Json)>, Box<dyn Error>> {
    if let (true, Kind::Message(pair)) = (field.is_map(), field.kind()) {
        let values = Json::Object(single(&pair.map_entry_value_field(), definitions)?);
        return Ok(entries([
            ("type", Json::text("object")),
            ("additionalProperties", values),
        ]));
    }
    let single = single(field, definitions)?;
    Ok(match field.is_list() {
        true => entries([
            ("type", Json::text("array")),
            ("items", Json::Object(single)),
        ]),
        false => single,
    })
}

fn entries<const N: usize>(of: [(&str, Json); N]) -> Vec<(String, Json)> {
    of.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn single(
    field: &FieldDescriptor,
    definitions: &mut Definitions,
) -> Result<Vec<(String, Json)>, Box<dyn Error>> {
    let number = |of: &str| Json::object([("type", Json::text(of))]);
    let text = |pattern: &str| {
        Json::object([
            ("type", Json::text("string")),
            ("pattern", Json::text(pattern)),
        ])
    };
    let one_of = |schemas: Vec<Json>| entries([("anyOf", Json::List(schemas))]);
    Ok(match field.kind() {
        Kind::Bool => entries([("type", Json::text("boolean"))]),
        Kind::String => entries([("type", Json::text("string"))]),
        Kind::Bytes => entries([
            ("type", Json::text("string")),
            ("contentEncoding", Json::text("base64")),
        ]),
        Kind::Float | Kind::Double => {
            let names = ["NaN", "Infinity", "-Infinity"].map(Json::text);
            one_of(vec![
                number("number"),
                Json::object([("enum", Json::List(names.into()))]),
            ])
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 | Kind::Uint32 | Kind::Fixed32 => {
            entries([("type", Json::text("integer"))])
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            one_of(vec![text("^-?[0-9]+$"), number("integer")])
        }
        Kind::Uint64 | Kind::Fixed64 => one_of(vec![text("^[0-9]+$"), number("integer")]),
        Kind::Enum(it) => {
            enumeration(&it, definitions);
            entries([("$ref", reference(it.full_name()))])
        }
        Kind::Message(it) => match known(&it)? {
            Some(Known::Timestamp) => entries([
                ("type", Json::text("string")),
                ("format", Json::text("date-time")),
            ]),
            Some(Known::Duration) => entries([
                ("type", Json::text("string")),
                ("pattern", Json::text("^-?[0-9]+(\\.[0-9]{1,9})?s$")),
            ]),
            None => {
                object(&it, definitions)?;
                entries([("$ref", reference(it.full_name()))])
            }
        },
    })
}

/// By name; by number, what is newer than this schema.
fn enumeration(it: &EnumDescriptor, definitions: &mut Definitions) {
    let names = it.values().map(|value| Json::text(value.name())).collect();
    let schemas = vec![
        Json::object([("type", Json::text("string")), ("enum", Json::List(names))]),
        Json::object([("type", Json::text("integer"))]),
    ];
    let of = described(
        doc(&it.parent_file(), it.path()),
        entries([("anyOf", Json::List(schemas))]),
    );
    definitions.insert(it.full_name().to_owned(), Some(Json::Object(of)));
}
