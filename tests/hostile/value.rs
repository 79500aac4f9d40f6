//! A message as a tree of values, read and written along the tables' schema, so that every field of every answer can be tampered with without
//! a line of code for it. What is written need not be valid: null where null cannot be, counts of what is not there.
//!
//! In: a schema, a version, and bytes. Out: a tree, and bytes again, with the place where each field starts.

use bytes::Bytes;
use protocol::schema::{FieldSchema, FieldType, MessageSchema, StructSchema};
use protocol::wire::encoder::Encoder;
use protocol::{DecodeError, Decoder};

/// A value of any field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// Every whole number, error codes and booleans.
    Integer(i64),
    Float(f64),
    Uuid([u8; 16]),
    Text(String),
    Bytes(Bytes),
    Array(Vec<Value>),
    Structure(Structure),
    /// The content, behind a length that it does not have.
    Claimed(u32, Box<Value>),
}

/// The fields of a structure beside those of its schema; `None` where the version or the sender has none.
#[derive(Clone, Debug)]
pub struct Structure {
    pub schema: &'static StructSchema,
    pub fields: Vec<Option<Value>>,
    pub unknown: Vec<(u32, Bytes)>,
}

impl PartialEq for Structure {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields && self.unknown == other.unknown
    }
}

#[derive(Clone, Copy)]
struct Form {
    version: i16,
    flexible: bool,
}

fn form(schema: &MessageSchema, version: i16) -> Form {
    Form {
        version,
        flexible: version >= schema.first_flexible,
    }
}

/// Reads a message that fills `bytes`.
pub fn read(schema: &MessageSchema, version: i16, bytes: Bytes) -> Result<Structure, DecodeError> {
    let mut input = Decoder::new(bytes);
    let structure = read_structure(schema.body, &mut input, form(schema, version))?;
    input.finish()?;
    Ok(structure)
}

/// Writes a message, and tells where each field starts: its name with those of the structures around it, and the byte.
pub fn write(
    schema: &MessageSchema,
    version: i16,
    structure: &Structure,
) -> (Vec<u8>, Vec<(String, usize)>) {
    let mut writer = Writer {
        form: form(schema, version),
        out: Vec::new(),
        marks: Vec::new(),
    };
    writer.structure(structure, "");
    (writer.out, writer.marks)
}

fn read_structure(
    schema: &'static StructSchema,
    input: &mut Decoder,
    form: Form,
) -> Result<Structure, DecodeError> {
    let mut fields = vec![None; schema.fields.len()];
    let mut unknown = Vec::new();
    for (at, field) in schema.fields.iter().enumerate() {
        if field.tag.is_none() && field.versions.contains(form.version) {
            fields[at] = Some(read_field(field, input, form)?);
        }
    }
    if form.flexible {
        for _ in 0..input.get_uvarint()? {
            let tag = input.get_uvarint()?;
            let length = input.get_uvarint()?;
            let content = input.take(length as usize)?;
            let known = schema
                .fields
                .iter()
                .position(|field| field.tag == Some(tag) && field.versions.contains(form.version));
            match known {
                Some(at) => {
                    let mut content = Decoder::new(content);
                    fields[at] = Some(read_field(&schema.fields[at], &mut content, form)?);
                }
                None => unknown.push((tag, content)),
            }
        }
    }
    Ok(Structure {
        schema,
        fields,
        unknown,
    })
}

fn read_field(field: &FieldSchema, input: &mut Decoder, form: Form) -> Result<Value, DecodeError> {
    let nullable = field.nullable.contains(form.version);
    if nullable && matches!(field.ty, FieldType::Struct(_)) && input.get_i8()? < 0 {
        return Ok(Value::Null);
    }
    read_value(field.ty, input, form)
}

fn read_value(ty: FieldType, input: &mut Decoder, form: Form) -> Result<Value, DecodeError> {
    Ok(match ty {
        FieldType::Bool | FieldType::Int8 => Value::Integer(input.get_i8()?.into()),
        FieldType::Int16 | FieldType::ErrorCode => Value::Integer(input.get_i16()?.into()),
        FieldType::Uint16 => Value::Integer(input.get_u16()?.into()),
        FieldType::Int32 => Value::Integer(input.get_i32()?.into()),
        FieldType::Uint32 => Value::Integer(input.get_u32()?.into()),
        FieldType::Int64 => Value::Integer(input.get_i64()?),
        FieldType::Float64 => Value::Float(input.get_f64()?),
        FieldType::Uuid => Value::Uuid(input.get_uuid()?.0),
        FieldType::String => match input.get_string_length(form.flexible)? {
            Some(length) => Value::Text(input.take_str(length)?.to_owned()),
            None => Value::Null,
        },
        FieldType::Bytes | FieldType::Records => match input.get_length(form.flexible)? {
            Some(length) => Value::Bytes(input.take(length)?),
            None => Value::Null,
        },
        FieldType::Array(element) => match input.get_length(form.flexible)? {
            Some(length) => {
                let elements = (0..length).map(|_| read_value(*element, input, form));
                Value::Array(elements.collect::<Result<_, _>>()?)
            }
            None => Value::Null,
        },
        FieldType::Struct(schema) => Value::Structure(read_structure(schema, input, form)?),
    })
}

struct Writer {
    form: Form,
    out: Vec<u8>,
    marks: Vec<(String, usize)>,
}

impl Writer {
    fn structure(&mut self, structure: &Structure, name: &str) {
        let fields = || structure.schema.fields.iter().zip(&structure.fields);
        for (field, value) in fields().filter(|(field, _)| field.tag.is_none()) {
            if let Some(value) = value {
                self.field(field, value, &joined(name, field.name()));
            }
        }
        if !self.form.flexible {
            return;
        }
        let mut tagged: Vec<_> = fields()
            .filter_map(|(field, value)| Some((field.tag?, field, value.as_ref()?)))
            .map(|(tag, field, value)| {
                let mut writer = Writer {
                    form: self.form,
                    out: Vec::new(),
                    marks: Vec::new(),
                };
                writer.field(field, value, &joined(name, field.name()));
                (tag, writer.out, writer.marks)
            })
            .collect();
        let unknown = structure.unknown.iter();
        tagged.extend(unknown.map(|(tag, bytes)| (*tag, bytes.to_vec(), Vec::new())));
        tagged.sort_by_key(|tagged| tagged.0);
        self.uvarint(tagged.len() as u32);
        for (tag, content, marks) in tagged {
            self.uvarint(tag);
            self.uvarint(content.len() as u32);
            let start = self.out.len();
            self.marks
                .extend(marks.into_iter().map(|(name, at)| (name, start + at)));
            self.out.extend(content);
        }
    }

    fn field(&mut self, field: &FieldSchema, value: &Value, name: &str) {
        self.marks.push((name.to_owned(), self.out.len()));
        let nullable = field.nullable.contains(self.form.version);
        if let FieldType::Struct(_) = field.ty
            && (nullable || *value == Value::Null)
        {
            self.out.push(if *value == Value::Null { 0xff } else { 1 });
        }
        self.value(field.ty, value, name);
    }

    fn value(&mut self, ty: FieldType, value: &Value, name: &str) {
        let (content, claimed) = match value {
            Value::Claimed(length, content) => (&**content, Some(*length)),
            content => (content, None),
        };
        match (ty, content) {
            (FieldType::Struct(_), Value::Structure(structure)) => self.structure(structure, name),
            (FieldType::Struct(_), _) => {}
            (FieldType::String, Value::Text(text)) => {
                self.length(claimed, text.len(), true);
                self.out.extend(text.as_bytes());
            }
            (FieldType::Bytes | FieldType::Records, Value::Bytes(bytes)) => {
                self.length(claimed, bytes.len(), false);
                self.out.extend(bytes);
            }
            (FieldType::Array(element), Value::Array(elements)) => {
                self.length(claimed, elements.len(), false);
                for each in elements {
                    self.value(*element, each, name);
                }
            }
            (FieldType::String, _) => self.null(true),
            (FieldType::Bytes | FieldType::Records | FieldType::Array(_), _) => self.null(false),
            (FieldType::Uuid, Value::Uuid(uuid)) => self.out.extend(uuid),
            (FieldType::Uuid, _) => self.out.extend([0; 16]),
            (FieldType::Float64, Value::Float(float)) => self.out.extend(float.to_be_bytes()),
            (_, Value::Integer(integer)) => self.integer(ty, *integer),
            (_, _) => self.integer(ty, 0),
        }
    }

    fn integer(&mut self, ty: FieldType, integer: i64) {
        let width = width(ty);
        self.out.extend(&integer.to_be_bytes()[8 - width..]);
    }

    fn length(&mut self, claimed: Option<u32>, length: usize, is_string: bool) {
        let length = claimed.unwrap_or(length as u32);
        match (self.form.flexible, is_string) {
            (true, _) => self.uvarint(length.wrapping_add(1)),
            (false, true) => self.out.extend((length as u16).to_be_bytes()),
            (false, false) => self.out.extend(length.to_be_bytes()),
        }
    }

    fn null(&mut self, is_string: bool) {
        match (self.form.flexible, is_string) {
            (true, _) => self.uvarint(0),
            (false, true) => self.out.extend([0xff; 2]),
            (false, false) => self.out.extend([0xff; 4]),
        }
    }

    fn uvarint(&mut self, value: u32) {
        let mut out = Encoder::new();
        out.put_uvarint(value);
        self.out.extend(out.into_bytes());
    }
}

fn joined(name: &str, field: &str) -> String {
    if name.is_empty() {
        field.to_owned()
    } else {
        format!("{name}.{field}")
    }
}

/// How many bytes a number of this type has.
fn width(ty: FieldType) -> usize {
    match ty {
        FieldType::Bool | FieldType::Int8 => 1,
        FieldType::Int16 | FieldType::Uint16 | FieldType::ErrorCode => 2,
        FieldType::Int32 | FieldType::Uint32 => 4,
        _ => 8,
    }
}

/// The lowest and the highest number of a type.
pub fn limits(ty: FieldType) -> (i64, i64) {
    match ty {
        FieldType::Bool => (0, 1),
        FieldType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        FieldType::Int16 | FieldType::ErrorCode => (i16::MIN.into(), i16::MAX.into()),
        FieldType::Uint16 => (0, u16::MAX.into()),
        FieldType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        FieldType::Uint32 => (0, u32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    }
}

/// A field somewhere in a message.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name with those of the structures around it: `topics.partitions.error_code`.
    pub name: String,
    /// Which field of the message, which of that one's structure, and so on.
    path: Vec<usize>,
    pub field: &'static FieldSchema,
    /// Whether there can be several of it.
    pub in_array: bool,
}

/// Every field of a message of this version.
pub fn places(schema: &'static MessageSchema, version: i16) -> Vec<Place> {
    fn walk(
        schema: &'static StructSchema,
        version: i16,
        around: (&str, &[usize], bool),
        places: &mut Vec<Place>,
    ) {
        let (name, path, in_array) = around;
        for (at, field) in schema.fields.iter().enumerate() {
            if !field.versions.contains(version) {
                continue;
            }
            let place = Place {
                name: joined(name, field.name()),
                path: [path, &[at]].concat(),
                field,
                in_array,
            };
            let (inner, is_array) = match field.ty {
                FieldType::Array(FieldType::Struct(inner)) => (Some(*inner), true),
                FieldType::Struct(inner) => (Some(inner), in_array),
                _ => (None, in_array),
            };
            let around = (place.name.clone(), place.path.clone());
            places.push(place);
            if let Some(inner) = inner {
                walk(inner, version, (&around.0, &around.1, is_array), places);
            }
        }
    }
    let mut found = Vec::new();
    walk(schema.body, version, ("", &[], false), &mut found);
    found
}

/// How a place is looked for in a message.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    pub version: i16,
    /// Only in the first element of each array on the way.
    pub first_only: bool,
    /// Makes what is not there: an element of an empty array, a tagged field that was left out.
    pub make: bool,
}

/// Changes what is at `place`; says in how many places something was changed.
pub fn change(
    message: &mut Structure,
    place: &Place,
    search: Search,
    change: &mut dyn FnMut(&mut Value) -> bool,
) -> usize {
    change_at(message, &place.path, search, change)
}

fn change_at(
    structure: &mut Structure,
    path: &[usize],
    search: Search,
    change: &mut dyn FnMut(&mut Value) -> bool,
) -> usize {
    let Some((at, rest)) = path.split_first() else {
        return 0;
    };
    let field = &structure.schema.fields[*at];
    let slot = &mut structure.fields[*at];
    if slot.is_none() && search.make && field.versions.contains(search.version) {
        *slot = Some(default_of(field, search.version));
    }
    let Some(value) = slot else { return 0 };
    if rest.is_empty() {
        return usize::from(change(value));
    }
    match (value, field.ty) {
        (Value::Structure(inner), _) => change_at(inner, rest, search, change),
        (Value::Array(elements), FieldType::Array(FieldType::Struct(schema))) => {
            if elements.is_empty() && search.make {
                elements.push(Value::Structure(default_structure(schema, search.version)));
            }
            let count = if search.first_only { 1 } else { elements.len() };
            let structures = elements.iter_mut().take(count);
            structures
                .map(|element| match element {
                    Value::Structure(inner) => change_at(inner, rest, search, change),
                    _ => 0,
                })
                .sum()
        }
        _ => 0,
    }
}

/// An element of an array that nobody asked for: all defaults.
pub fn default_element(array: FieldType, version: i16) -> Value {
    match array {
        FieldType::Array(FieldType::Struct(schema)) => {
            Value::Structure(default_structure(schema, version))
        }
        FieldType::Array(FieldType::String) => Value::Text(String::new()),
        FieldType::Array(FieldType::Uuid) => Value::Uuid([0; 16]),
        _ => Value::Integer(0),
    }
}

fn default_of(field: &'static FieldSchema, version: i16) -> Value {
    let number = match field.default {
        Some("true") => 1,
        Some("i32::MIN") => i32::MIN.into(),
        Some("i32::MAX") => i32::MAX.into(),
        Some("i64::MAX") => i64::MAX,
        Some(text) => text.replace(' ', "").parse().unwrap_or(0),
        None => 0,
    };
    match field.ty {
        _ if field.default == Some("None") => Value::Null,
        FieldType::Uuid => Value::Uuid([0; 16]),
        FieldType::Float64 => Value::Float(0.0),
        FieldType::String => Value::Text(String::new()),
        FieldType::Bytes | FieldType::Records => Value::Bytes(Bytes::new()),
        FieldType::Array(_) => Value::Array(Vec::new()),
        FieldType::Struct(schema) => Value::Structure(default_structure(schema, version)),
        _ => Value::Integer(number),
    }
}

fn default_structure(schema: &'static StructSchema, version: i16) -> Structure {
    let field = |field: &'static FieldSchema| {
        let is_here = field.versions.contains(version) && field.tag.is_none();
        is_here.then(|| default_of(field, version))
    };
    Structure {
        schema,
        fields: schema.fields.iter().map(field).collect(),
        unknown: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use protocol::sample;

    use super::*;

    /// The tree is worth nothing if it changes what nobody tampered with.
    #[test]
    fn what_is_read_is_written_back_byte_for_byte() {
        let mut random = sample::random(1);
        for api in protocol::messages::APIS {
            let schema = api.response.schema;
            for version in schema.versions.iter() {
                for _ in 0..3 {
                    let bytes = sample::sample(schema, version, &mut random);
                    let tree = read(schema, version, bytes.clone()).expect("a valid message");
                    assert_eq!(
                        write(schema, version, &tree).0,
                        bytes,
                        "{} v{version}",
                        schema.name
                    );
                }
            }
        }
    }
}
