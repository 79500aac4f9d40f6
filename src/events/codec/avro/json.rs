//! A datum as JSON: what people write, and the defaults of fields. JSON in, its bytes by a schema out.

use std::fmt;

use serde_json::Value;

use super::decimal;
use super::primitive::{write_bytes, write_long};
use super::schema::{Decimal, Id, Node, Record, Schema};

/// How much of a value is shown where it is wrong, in characters.
const SHOWN: usize = 80;

/// Whose JSON it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// A schema's: a decimal is the text of its bytes, what no field takes is passed over, and nothing names a union's branch.
    Default,
    /// Somebody's who writes data: see [`AvroSchema::encode_json`](super::AvroSchema::encode_json).
    Data,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    /// `.lines[2].sku`; empty for the whole.
    place: String,
    why: String,
}

impl Wrong {
    fn new(why: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            why: why.into(),
        }
    }

    fn within(mut self, step: &str) -> Self {
        self.place.insert_str(0, step);
        self
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.strip_prefix('.').unwrap_or(&self.place) {
            "" => f.write_str(&self.why),
            place => write!(f, "{place}: {}", self.why),
        }
    }
}

/// Appends `value` as the schema's node encodes it.
pub(super) fn write(
    schema: &Schema,
    by: By,
    id: Id,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let node = schema.node(id);
    let wrong = || Wrong::new(format!("{} is no {}", shown(value), node.kind()));
    match (node, value) {
        (Node::Null, Value::Null) => {}
        (Node::Boolean, Value::Bool(value)) => out.push(u8::from(*value)),
        (Node::Int, Value::Number(number)) => {
            let number = number.as_i64().and_then(|it| i32::try_from(it).ok());
            write_long(i64::from(number.ok_or_else(wrong)?), out);
        }
        (Node::Long, Value::Number(number)) => {
            write_long(number.as_i64().ok_or_else(wrong)?, out);
        }
        (Node::Float, value) => {
            let double = double(value).ok_or_else(wrong)?;
            let float = double as f32;
            if float.is_infinite() && double.is_finite() {
                return Err(wrong());
            }
            out.extend_from_slice(&float.to_le_bytes());
        }
        (Node::Double, value) => {
            out.extend_from_slice(&double(value).ok_or_else(wrong)?.to_le_bytes());
        }
        (Node::String, Value::String(text)) => write_bytes(text.as_bytes(), out),
        (Node::Bytes(decimal), value) => {
            write_bytes(
                &bytes(value, *decimal, by).ok_or_else(|| no_bytes(node, value))?,
                out,
            );
        }
        (Node::Fixed(_, size, decimal), value) => {
            let bytes = bytes(value, *decimal, by).ok_or_else(|| no_bytes(node, value))?;
            let is_number = number_of(*decimal, by).is_some() && !value.is_object();
            let bytes = match is_number {
                true => decimal::extended(bytes, *size),
                false => bytes,
            };
            if bytes.len() != *size {
                let has = bytes.len();
                return Err(Wrong::new(format!(
                    "{} has {has} bytes, not {size}",
                    shown(value)
                )));
            }
            out.extend_from_slice(&bytes);
        }
        (Node::Enum(it), Value::String(symbol)) => {
            let place = it.symbols.iter().position(|known| known == symbol);
            let place = place.ok_or_else(|| {
                let (name, symbols) = (&it.name.full, it.symbols.join(", "));
                Wrong::new(format!(
                    "{} is no symbol of {name}, which has {symbols}",
                    shown(value)
                ))
            })?;
            write_long(place as i64, out);
        }
        (Node::Array(of), Value::Array(values)) => {
            if !values.is_empty() {
                write_long(values.len() as i64, out);
            }
            for (at, value) in values.iter().enumerate() {
                let written = write(schema, by, *of, value, out);
                written.map_err(|wrong| wrong.within(&format!("[{at}]")))?;
            }
            write_long(0, out);
        }
        (Node::Map(of), Value::Object(entries)) => {
            if !entries.is_empty() {
                write_long(entries.len() as i64, out);
            }
            for (key, value) in entries {
                write_bytes(key.as_bytes(), out);
                let written = write(schema, by, *of, value, out);
                written.map_err(|wrong| wrong.within(&format!("[{key:?}]")))?;
            }
            write_long(0, out);
        }
        (Node::Union(branches), value) => return union(schema, by, branches, value, out),
        (Node::Record(it), Value::Object(_)) => return record(schema, by, it, value, out),
        _ => return Err(wrong()),
    }
    Ok(())
}

fn record(
    schema: &Schema,
    by: By,
    record: &Record,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    if let (By::Data, Value::Object(entries)) = (by, value) {
        let known = |name: &String| record.fields.iter().any(|field| field.name == *name);
        if let Some(unknown) = entries.keys().find(|name| !known(name)) {
            let names: Vec<&str> = record.fields.iter().map(|it| it.name.as_str()).collect();
            let (name, names) = (&record.name.full, names.join(", "));
            let why = format!("{name} has no such field; it has {names}");
            return Err(Wrong::new(why).within(&format!(".{unknown}")));
        }
    }
    for field in &record.fields {
        match (value.get(&field.name), &field.default) {
            (Some(value), _) => write(schema, by, field.node, value, out),
            (None, Some(default)) => {
                out.extend_from_slice(default);
                Ok(())
            }
            (None, None) => Err(Wrong::new(
                "it is not given, and the schema has no default for it",
            )),
        }
        .map_err(|wrong| wrong.within(&format!(".{}", field.name)))?;
    }
    Ok(())
}

/// Writes the branch that the value names, or else the first of those that it fits best and that takes it.
fn union(
    schema: &Schema,
    by: By,
    branches: &[Id],
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), Wrong> {
    let start = out.len();
    let mut write_as = |place: usize, value: &Value| {
        write_long(place as i64, out);
        let written = write(schema, by, branches[place], value, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    };
    let named = named(schema, branches, value).filter(|_| by == By::Data);
    let named = named.map(|(place, value)| write_as(place, value));
    if let Some(Ok(())) = named {
        return Ok(());
    }
    let fit = |place: &usize| fit(schema.node(branches[*place]), value);
    let mut places: Vec<usize> = (0..branches.len()).filter(|it| fit(it).is_some()).collect();
    if by == By::Data {
        places.sort_by_key(fit);
    }
    let mut failed = Vec::new();
    for place in places {
        match write_as(place, value) {
            Ok(()) => return Ok(()),
            Err(wrong) => failed.push(wrong),
        }
    }
    // What is wrong is known only where it is known which one was meant.
    match (named, failed.pop()) {
        (Some(Err(wrong)), _) => Err(wrong),
        (_, Some(wrong)) if failed.is_empty() => Err(wrong),
        _ => {
            let kinds: Vec<&str> = branches.iter().map(|it| schema.node(*it).kind()).collect();
            let (first, kinds) = (kinds.last().copied().unwrap_or("null"), kinds.join(", "));
            let shown = shown(value);
            Err(Wrong::new(format!(
                "{shown} is none of {kinds}; {{\"{first}\": …}} says which one is meant"
            )))
        }
    }
}

/// The branch that an object with a single name in it names, by Avro's rules for JSON, and the value of it.
fn named<'a>(schema: &Schema, branches: &[Id], value: &'a Value) -> Option<(usize, &'a Value)> {
    let mut entries = value.as_object()?.iter();
    let ((name, value), None) = (entries.next()?, entries.next()) else {
        return None;
    };
    let kind = |id: &Id| schema.node(*id).kind();
    let full = branches.iter().position(|id| kind(id) == name);
    let short = || {
        branches
            .iter()
            .position(|id| kind(id).rsplit('.').next() == Some(name))
    };
    Some((full.or_else(short)?, value))
}

/// How well a value fits a branch at first sight, the less the better; none where it cannot.
fn fit(node: &Node, value: &Value) -> Option<u8> {
    Some(match (node, value) {
        (Node::Null, Value::Null)
        | (Node::Boolean, Value::Bool(_))
        | (Node::String, Value::String(_))
        | (Node::Array(_), Value::Array(_))
        | (Node::Record(_), Value::Object(_)) => 0,
        (Node::Int | Node::Long, Value::Number(number)) if number.is_i64() => 0,
        (Node::Enum(it), Value::String(text)) if it.symbols.contains(text) => 0,
        (Node::Double, Value::Number(_)) | (Node::Map(_), Value::Object(_)) => 1,
        (Node::Float, Value::Number(_)) => 2,
        (Node::Bytes(_) | Node::Fixed(..), Value::String(_) | Value::Object(_)) => 3,
        (Node::Bytes(Some(_)) | Node::Fixed(_, _, Some(_)), Value::Number(_)) => 3,
        // It fails, and says why.
        (Node::Int | Node::Long, Value::Number(_)) | (Node::Enum(_), Value::String(_)) => 4,
        (Node::Float | Node::Double, Value::String(_)) => 5,
        _ => return None,
    })
}

/// A number, or the text of what JSON has no number for.
fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text)
            if matches!(text.trim_start_matches('-'), "NaN" | "inf" | "Infinity") =>
        {
            text.parse().ok()
        }
        _ => None,
    }
}

/// The bytes of a text whose characters stand for them, of `{"hex": "ff00"}`, or of a decimal.
fn bytes(value: &Value, decimal: Option<Decimal>, by: By) -> Option<Vec<u8>> {
    match (value, number_of(decimal, by)) {
        (Value::Object(object), _) if by == By::Data && object.len() == 1 => {
            unhex(object.get("hex")?.as_str()?)
        }
        (Value::String(text), Some(of)) => decimal::read_bytes(text, of),
        (Value::Number(number), Some(of)) => decimal::read_bytes(&number.to_string(), of),
        (Value::String(text), None) => text.chars().map(|char| u8::try_from(char).ok()).collect(),
        _ => None,
    }
}

/// The decimal as which bytes are written, where they are.
fn number_of(decimal: Option<Decimal>, by: By) -> Option<Decimal> {
    decimal.filter(|of| by == By::Data && decimal::places(*of).is_some())
}

fn no_bytes(node: &Node, value: &Value) -> Wrong {
    let (kind, shown) = (node.kind(), shown(value));
    Wrong::new(match node {
        Node::Bytes(Some((precision, scale))) | Node::Fixed(_, _, Some((precision, scale))) => {
            format!(
                "{shown} is no number with {scale} decimals and {precision} digits at most, which is what this {kind} is; \
             {{\"hex\": \"ff00\"}} has its bytes"
            )
        }
        _ => format!(
            "{shown} is no {kind}: a text has a character for each byte, none beyond U+00FF; {{\"hex\": \"ff00\"}} has any"
        ),
    })
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = digits.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |[high, low]: &[u8; 2]| Some((digit(*high)? << 4 | digit(*low)?) as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| odd.is_empty())
}

/// A value as it is told: its beginning, where it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
