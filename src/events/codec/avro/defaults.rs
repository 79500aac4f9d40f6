//! Defaults of fields: JSON in, their bytes out, so that a field which the writer did not know is read like any other.

use serde_json::Value;

use super::primitive::{write_bytes, write_long};
use super::schema::{Id, Node, Schema};

/// Appends `value` as the schema's node encodes it. The error says what is wrong, for a reader.
pub(super) fn write(
    schema: &Schema,
    id: Id,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let node = schema.node(id);
    let wrong = || Err(format!("{value} is no {}", node.kind()));
    match (node, value) {
        (Node::Null, Value::Null) => {}
        (Node::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Node::Int, Value::Number(number)) => {
            match number
                .as_i64()
                .and_then(|number| i32::try_from(number).ok())
            {
                Some(number) => write_long(i64::from(number), out),
                None => return wrong(),
            }
        }
        (Node::Long, Value::Number(number)) => match number.as_i64() {
            Some(number) => write_long(number, out),
            None => return wrong(),
        },
        (Node::Float, Value::Number(number)) => {
            out.extend_from_slice(&(number.as_f64().unwrap_or(0.0) as f32).to_le_bytes());
        }
        (Node::Double, Value::Number(number)) => {
            out.extend_from_slice(&number.as_f64().unwrap_or(0.0).to_le_bytes());
        }
        (Node::String, Value::String(text)) => write_bytes(text.as_bytes(), out),
        (Node::Bytes(_), Value::String(text)) => match latin_1(text) {
            Some(bytes) => write_bytes(&bytes, out),
            None => return wrong(),
        },
        (Node::Fixed(_, size, _), Value::String(text)) => match latin_1(text) {
            Some(bytes) if bytes.len() == *size => out.extend_from_slice(&bytes),
            _ => return wrong(),
        },
        (Node::Enum(it), Value::String(symbol)) => {
            match it.symbols.iter().position(|known| known == symbol) {
                Some(place) => write_long(place as i64, out),
                None => return wrong(),
            }
        }
        (Node::Array(items), Value::Array(values)) => {
            if !values.is_empty() {
                write_long(values.len() as i64, out);
            }
            for value in values {
                write(schema, *items, value, out)?;
            }
            write_long(0, out);
        }
        (Node::Map(of), Value::Object(entries)) => {
            if !entries.is_empty() {
                write_long(entries.len() as i64, out);
            }
            for (key, value) in entries {
                write_bytes(key.as_bytes(), out);
                write(schema, *of, value, out)?;
            }
            write_long(0, out);
        }
        (Node::Union(branches), value) => {
            // By the specification the first branch; since 1.12 any.
            let start = out.len();
            for (place, branch) in branches.iter().enumerate() {
                write_long(place as i64, out);
                if write(schema, *branch, value, out).is_ok() {
                    return Ok(());
                }
                out.truncate(start);
            }
            return wrong();
        }
        (Node::Record(record), Value::Object(entries)) => {
            for field in &record.fields {
                match (entries.get(&field.name), &field.default) {
                    (Some(value), _) => write(schema, field.node, value, out)?,
                    (None, Some(default)) => out.extend_from_slice(default),
                    (None, None) => return Err(format!("{} has no value", field.name)),
                }
            }
        }
        _ => return wrong(),
    }
    Ok(())
}

/// The bytes that stand in JSON as characters below 256.
fn latin_1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|char| u8::try_from(char).ok()).collect()
}
