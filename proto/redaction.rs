//! Writes the code that clears personal data. In: the messages of a package, whose fields say by the option `personal_data` what they may
//! hold. Out: an `impl Redact` for each message that holds any, itself or in a message within it.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value,
};

/// The code for every message of `package`.
pub fn of(pool: &DescriptorPool, package: &str) -> Result<String, Box<dyn Error>> {
    let option = format!("{package}.personal_data");
    let option = pool
        .get_extension_by_name(&option)
        .ok_or("no option personal_data")?;
    let classes = |field: &FieldDescriptor| -> Result<Vec<String>, Box<dyn Error>> {
        let options = field.options();
        let value = options.get_extension(&option);
        let Kind::Enum(class) = option.kind() else {
            return Err("personal_data is an enum".into());
        };
        let prefix = "PERSONAL_DATA_";
        let names = value.as_list().unwrap_or_default().iter().map(|value| {
            let number = value.as_enum_number().ok_or("an enum")?;
            let name = class.get_value(number).ok_or("a class that is declared")?;
            let name = name.name().strip_prefix(prefix).ok_or("a prefix")?;
            Ok(format!("PersonalData::{}", pascal(name)))
        });
        names.collect()
    };
    let messages: Vec<MessageDescriptor> = pool
        .all_messages()
        .filter(|message| message.package_name() == package && !message.is_map_entry())
        .collect();
    // Which messages hold any: until there are no more.
    let mut holders = BTreeSet::new();
    loop {
        let before = holders.len();
        for message in &messages {
            for field in message.fields() {
                let within = message_of(&field).is_some_and(|it| holders.contains(it.full_name()));
                if within || !classes(&field)?.is_empty() {
                    holders.insert(message.full_name().to_owned());
                }
            }
        }
        if holders.len() == before {
            break;
        }
    }
    let mut out = String::new();
    for message in &messages {
        let name = message.name();
        let mut body = String::new();
        for field in message.fields() {
            let classes = classes(&field)?;
            let holds = message_of(&field).is_some_and(|it| holders.contains(it.full_name()));
            if !classes.is_empty() {
                let test = format!("classes.holds_any(&[{}])", classes.join(", "));
                writeln!(body, "if {test} {{ cleared += {}; }}", clear(&field)?)?;
            }
            if holds {
                writeln!(body, "{}", within(&field))?;
            }
        }
        let body = match body.is_empty() {
            true => "let _ = classes; 0".to_owned(),
            false => format!("let mut cleared = 0;\n{body}cleared"),
        };
        writeln!(
            out,
            "impl Redact for {name} {{ fn redact(&mut self, classes: DataClasses) -> usize {{ {body} }} }}"
        )?;
    }
    Ok(out)
}

/// The message that the field holds, or that the values of its map are.
fn message_of(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => message_of(&entry.map_entry_value_field()),
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

/// The oneof that the field is in, if the source has one, and the variant that prost makes of the field.
fn in_oneof(field: &FieldDescriptor) -> Option<(String, String)> {
    let oneof = field.containing_oneof().filter(|it| !it.is_synthetic())?;
    let module = snake(field.parent_message().name());
    let variant = pascal(field.name());
    let path = format!("{module}::{}::{variant}", pascal(oneof.name()));
    Some((oneof.name().to_owned(), path))
}

/// An expression that clears the field and says how many values that were.
fn clear(field: &FieldDescriptor) -> Result<String, Box<dyn Error>> {
    let name = field.name();
    if let Some((oneof, variant)) = in_oneof(field) {
        return Ok(format!(
            "usize::from(self.{oneof}.take_if(|it| matches!(it, {variant}(_))).is_some())"
        ));
    }
    if field.is_list() || field.is_map() {
        return Ok(format!(
            "{{ let many = self.{name}.len(); self.{name}.clear(); many }}"
        ));
    }
    if field.supports_presence() {
        return Ok(format!("usize::from(self.{name}.take().is_some())"));
    }
    match (field.kind(), field.cardinality()) {
        (Kind::String | Kind::Bytes, Cardinality::Optional) => Ok(format!(
            "usize::from(!std::mem::take(&mut self.{name}).is_empty())"
        )),
        _ => match field.default_value() {
            Value::Bool(_) => Ok(format!("usize::from(std::mem::take(&mut self.{name}))")),
            Value::F64(_) | Value::F32(_) => Ok(format!(
                "usize::from(std::mem::take(&mut self.{name}) != 0.0)"
            )),
            _ => Ok(format!(
                "usize::from(std::mem::take(&mut self.{name}) != 0)"
            )),
        },
    }
}

/// A statement that clears what is in the message, or the messages, that the field holds.
fn within(field: &FieldDescriptor) -> String {
    let name = field.name();
    let redact = "{ cleared += it.redact(classes); }";
    match in_oneof(field) {
        Some((oneof, variant)) => {
            format!("if let Some({variant}(it)) = &mut self.{oneof} {redact}")
        }
        None if field.is_map() => format!("for it in self.{name}.values_mut() {redact}"),
        None if field.is_list() => format!("for it in &mut self.{name} {redact}"),
        None => format!("if let Some(it) = &mut self.{name} {redact}"),
    }
}

/// `SPF_FINDINGS` and `spf_findings` as prost calls them: `SpfFindings`.
fn pascal(name: &str) -> String {
    let words = name.split('_').filter_map(|word| {
        let (first, rest) = word.split_at_checked(1)?;
        Some(first.to_uppercase() + &rest.to_lowercase())
    });
    words.collect()
}

/// `TenantEvent` as prost calls its module: `tenant_event`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
