//! What Avro and JSON need of the messages: a row for each field, from which the library implements serde's traits
//! (`src/events/codec/message`), and the schemas of the events. In: the messages of a package. Out: `serde.rs`; `sources.rs`, the `.proto` files as
//! registries want them; and for each event, which is a
//! message that holds an `EventMeta`, `<Event>.avsc` and `<Event>.schema.json`.

mod avro;
mod json;
mod json_schema;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use protox::prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    OneofDescriptor,
};

/// Writes them all into `out`.
pub fn write(pool: &DescriptorPool, package: &str, out: &Path) -> Result<(), Box<dyn Error>> {
    let messages: Vec<MessageDescriptor> = (pool.all_messages())
        .filter(|it| it.package_name() == package && !it.is_map_entry())
        .collect();
    let mut rows = String::new();
    for message in &messages {
        write_message(message, &mut rows)?;
    }
    for it in pool.all_enums().filter(|it| it.package_name() == package) {
        write_enum(&it, &mut rows)?;
    }
    let mut sources = String::new();
    for file in pool.files().filter(|it| it.package_name() == package) {
        write_file(&file, &mut sources)?;
    }
    for event in messages.iter().filter(|it| is_event(it)) {
        let name = event.name();
        fs::write(out.join(format!("{name}.avsc")), avro::schema(event)?)?;
        let schema = json_schema::schema(event)?;
        fs::write(out.join(format!("{name}.schema.json")), schema)?;
        writeln!(
            rows,
            "event_schemas! {{ {name} \"/{name}.avsc\" \"/{name}.schema.json\" }}"
        )?;
    }
    for event in messages.iter().filter(|it| is_event(it)) {
        let (file, name) = (constant(event.parent_file().name()), event.name());
        let place = event.path().last().ok_or("a message has a place")?;
        let full = event.full_name();
        writeln!(
            sources,
            "protobuf_schema! {{ {name} {file} {place} {full:?} }}"
        )?;
    }
    fs::write(out.join("serde.rs"), rows)?;
    fs::write(out.join("sources.rs"), sources)?;
    Ok(())
}

/// A `.proto` file and what it imports of the same package: the registry has Protobuf's own.
fn write_file(file: &FileDescriptor, out: &mut String) -> Result<(), Box<dyn Error>> {
    let path = file.name();
    let package = file.package_name().to_owned();
    let imports = file
        .dependencies()
        .filter(|it| it.package_name() == package);
    let imports: Vec<String> = imports
        .map(|it| format!("&{}", constant(it.name())))
        .collect();
    let (name, imports) = (constant(path), imports.join(", "));
    writeln!(out, "protobuf_file! {{ {name} {path:?} [{imports}] }}")?;
    Ok(())
}

/// What stands for a file: `api/events/v1/email.proto` is `EMAIL`.
fn constant(path: &str) -> String {
    let name = Path::new(path).file_stem().unwrap_or_default();
    name.to_string_lossy().to_uppercase()
}

fn is_event(message: &MessageDescriptor) -> bool {
    message.fields().any(|field| match field.kind() {
        Kind::Message(it) => it.name() == "EventMeta",
        _ => false,
    })
}

fn write_message(message: &MessageDescriptor, out: &mut String) -> Result<(), Box<dyn Error>> {
    let (mut fields, mut ones, mut count) = (String::new(), String::new(), 0);
    for field in message.fields().filter(|it| oneof_of(it).is_none()) {
        let (name, json, kind) = (field.name(), field.json_name(), kind(&field)?);
        writeln!(fields, "    {count} {name} {name:?} {json:?} {kind};")?;
        count += 1;
    }
    let oneofs: Vec<OneofDescriptor> = message.oneofs().filter(|it| !it.is_synthetic()).collect();
    for (place, oneof) in oneofs.iter().enumerate() {
        // A thousand numbers for the variants of each.
        let (number, name) = (10_000 + place * 1_000, oneof.name());
        let path = format!("{}::{}", snake(message.name()), pascal(name));
        writeln!(ones, "    {number} {name} {name:?} {path};")?;
        count += 1;
        writeln!(out, "serde_oneof! {{ {path}, {{")?;
        for (number, field) in oneof.fields().enumerate() {
            let (name, json, kind) = (field.name(), field.json_name(), single(&field)?);
            let (record, how) = match branch(oneof, &field) {
                Branch::Is(record) => (record.name().to_owned(), "is"),
                Branch::Has(record) => (record, "has"),
            };
            let variant = pascal(name);
            writeln!(
                out,
                "    {number} {variant} {name:?} {json:?} {record:?} {how} {kind};"
            )?;
        }
        writeln!(out, "}} }}")?;
    }
    let name = message.name();
    writeln!(
        out,
        "serde_message! {{ {name}, {name:?}, {count}, {{\n{fields}}} {{\n{ones}}} }}"
    )?;
    Ok(())
}

fn write_enum(it: &EnumDescriptor, out: &mut String) -> Result<(), Box<dyn Error>> {
    writeln!(out, "serde_enum! {{ {}, {{", it.name())?;
    for (place, value) in it.values().enumerate() {
        writeln!(out, "    {place} {} {:?};", value.number(), value.name())?;
    }
    writeln!(out, "}} }}")?;
    Ok(())
}

/// The type in `src/events/codec/message` that says how a field is written.
fn kind(field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        return Ok(format!(
            "MapOf<{}>",
            single(&entry.map_entry_value_field())?
        ));
    }
    let single = single(field)?;
    Ok(match (field.is_list(), field.supports_presence()) {
        (true, _) => format!("List<{single}>"),
        (_, true) => format!("Opt<{single}>"),
        _ => single,
    })
}

fn single(field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
    Ok(match field.kind() {
        Kind::Bool | Kind::String => "Plain".into(),
        Kind::Bytes => "Bytes".into(),
        Kind::Double | Kind::Float => "Float".into(),
        Kind::Enum(it) => format!("Enumerated<{}>", it.name()),
        Kind::Message(it) => match known(&it)? {
            Some(Known::Timestamp) => "Time".into(),
            Some(Known::Duration) => "Span".into(),
            None => "Plain".into(),
        },
        _ => "Integer".into(),
    })
}

/// Protobuf's own messages that mean something in each encoding.
enum Known {
    Timestamp,
    Duration,
}

fn known(message: &MessageDescriptor) -> Result<Option<Known>, Box<dyn Error>> {
    match message.full_name() {
        "google.protobuf.Timestamp" => Ok(Some(Known::Timestamp)),
        "google.protobuf.Duration" => Ok(Some(Known::Duration)),
        name if name.starts_with("google.") => Err(format!(
            "{name} has no form in Avro and JSON yet: give it one in proto/formats"
        )
        .into()),
        _ => Ok(None),
    }
}

/// The `oneof` that a field is part of, unless that is only how `optional` is said.
fn oneof_of(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field.containing_oneof().filter(|it| !it.is_synthetic())
}

/// The branch of Avro's union for a variant: the record of its message where no other variant has the same, or else a record of its own.
enum Branch {
    Is(MessageDescriptor),
    Has(String),
}

fn branch(oneof: &OneofDescriptor, field: &FieldDescriptor) -> Branch {
    let message = |field: &FieldDescriptor| match field.kind() {
        Kind::Message(it) if matches!(known(&it), Ok(None)) => Some(it),
        _ => None,
    };
    let all: Vec<_> = oneof.fields().map(|it| message(&it)).collect();
    match message(field) {
        Some(it)
            if all
                .iter()
                .filter(|other| other.as_ref() == Some(&it))
                .count()
                == 1 =>
        {
            Branch::Is(it)
        }
        _ => Branch::Has(format!(
            "{}{}",
            oneof.parent_message().name(),
            pascal(field.name())
        )),
    }
}

/// The comment before a declaration, as one line.
fn doc(file: &FileDescriptor, path: &[i32]) -> String {
    let proto = file.file_descriptor_proto();
    let info = proto
        .source_code_info
        .iter()
        .flat_map(|info| &info.location);
    let comment = info
        .filter(|it| it.path == path)
        .find_map(|it| it.leading_comments.clone());
    let comment = comment.unwrap_or_default();
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn pascal(snake: &str) -> String {
    let parts = snake.split('_').filter(|part| !part.is_empty());
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    parts.map(part).collect()
}

fn snake(pascal: &str) -> String {
    let mut snake = String::new();
    for char in pascal.chars() {
        if char.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(char.to_lowercase());
    }
    snake
}
