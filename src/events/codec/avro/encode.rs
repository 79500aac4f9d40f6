//! serde's view of a value in, the bytes of its schema out.

use std::fmt::Display;
use std::sync::LazyLock;

use serde::ser::{self, Error as _, Serialize, Serializer};

use super::primitive::{write_bytes, write_long};
use super::schema::{Field, Id, Node, Record, Schema};
use super::{AvroError, decimal};

/// Appends `value`, encoded by `schema`.
pub(super) fn encode<T: Serialize + ?Sized>(
    schema: &Schema,
    value: &T,
    out: &mut Vec<u8>,
) -> Result<(), AvroError> {
    value.serialize(Encoder {
        schema,
        id: schema.root,
        out,
    })
}

/// Encodes one value by one node.
struct Encoder<'a> {
    schema: &'a Schema,
    id: Id,
    out: &'a mut Vec<u8>,
}

impl ser::Error for AvroError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl<'a> Encoder<'a> {
    fn node(&self) -> &'a Node {
        self.schema.node(self.id)
    }

    fn at(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// Chooses the first branch that `takes` the value, where this is a union.
    fn branch(self, takes: impl Fn(&Node) -> bool) -> Self {
        let Node::Union(branches) = self.node() else {
            return self;
        };
        let schema = self.schema;
        match branches.iter().position(|it| takes(schema.node(*it))) {
            Some(place) => {
                write_long(place as i64, self.out);
                self.at(branches[place])
            }
            None => self,
        }
    }

    fn no<T>(&self, what: &str) -> Result<T, AvroError> {
        let kind = self.node().kind();
        Err(AvroError::new(format!(
            "{what} cannot be written as {kind}, which the schema has there"
        )))
    }

    fn integer(self, value: i64) -> Result<(), AvroError> {
        let is_int = i32::try_from(value).is_ok();
        let it = self.branch(|node| match node {
            Node::Int => is_int,
            Node::Long => true,
            _ => false,
        });
        match it.node() {
            Node::Int if is_int => write_long(value, it.out),
            Node::Long => write_long(value, it.out),
            Node::Float => it.out.extend_from_slice(&(value as f32).to_le_bytes()),
            Node::Double => it.out.extend_from_slice(&(value as f64).to_le_bytes()),
            _ => return it.no(&format!("the number {value}")),
        }
        Ok(())
    }

    /// The variant of an enum that has a value: a branch of the union, by its name, or by its place among those that are not null.
    fn variant(self, place: u32, name: &str) -> Result<Self, AvroError> {
        let Node::Union(branches) = self.node() else {
            return Ok(self);
        };
        let schema = self.schema;
        let called = |id: &Id| match schema.node(*id) {
            Node::Record(record) => record.name.short() == name,
            _ => false,
        };
        let full = |(_, id): &(usize, &Id)| !matches!(schema.node(**id), Node::Null);
        let found = match branches.iter().position(called) {
            Some(found) => Some(found),
            None => (branches.iter().enumerate().filter(full))
                .nth(place as usize)
                .map(|(found, _)| found),
        };
        let Some(found) = found else {
            return self.no(&format!("the variant {name}"));
        };
        write_long(found as i64, self.out);
        Ok(self.at(branches[found]))
    }

    /// A symbol of an enum, which stands at `place` where the schema has them in the same order.
    fn symbol(self, place: u32, symbol: &str) -> Result<(), AvroError> {
        let it = self.branch(
            |node| matches!(node, Node::Enum(it) if it.symbols.iter().any(|known| known == symbol)),
        );
        match it.node() {
            Node::Enum(known) => {
                let symbols = &known.symbols;
                // Declared in the same order, as a rule.
                let place = match symbols.get(place as usize).is_some_and(|it| it == symbol) {
                    true => Some(place as usize),
                    false => symbols.iter().position(|it| it == symbol),
                };
                match place {
                    Some(place) => write_long(place as i64, it.out),
                    None => return it.no(&format!("the symbol {symbol}")),
                }
            }
            Node::String => write_bytes(symbol.as_bytes(), it.out),
            Node::Union(_) => {
                let it = it.variant(place, symbol)?;
                return it.serialize_unit_struct("");
            }
            _ => return it.no(&format!("the symbol {symbol}")),
        }
        Ok(())
    }

    fn record(self, name: &str) -> Result<Fields<'a>, AvroError> {
        let schema = self.schema;
        let called = |node: &Node| matches!(node, Node::Record(it) if it.name.short() == name);
        let has = match self.node() {
            Node::Union(branches) => branches.iter().any(|it| called(schema.node(*it))),
            _ => false,
        };
        let it = self.branch(|node| match has {
            true => called(node),
            false => matches!(node, Node::Record(_)),
        });
        match it.node() {
            Node::Record(record) => Ok(Fields {
                schema: it.schema,
                record,
                next: 0,
                early: Vec::new(),
                out: it.out,
            }),
            _ => it.no(&format!("the record {name}")),
        }
    }

    fn items(self, what: &str, len: Option<usize>) -> Result<Items<'a>, AvroError> {
        let is_seq = what == "a list";
        let it = self.branch(|node| match node {
            Node::Array(_) => is_seq,
            Node::Map(_) => !is_seq,
            _ => false,
        });
        match it.node() {
            Node::Array(of) | Node::Map(of) => {
                if let Some(len) = len.filter(|len| *len > 0) {
                    write_long(len as i64, it.out);
                }
                Ok(Items {
                    schema: it.schema,
                    of: *of,
                    counted: len.is_some(),
                    out: it.out,
                })
            }
            _ => it.no(what),
        }
    }
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = ();
    type Error = AvroError;
    type SerializeSeq = Items<'a>;
    type SerializeTuple = Items<'a>;
    type SerializeTupleStruct = Items<'a>;
    type SerializeTupleVariant = ser::Impossible<(), AvroError>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Fields<'a>;
    type SerializeStructVariant = Fields<'a>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), AvroError> {
        let it = self.branch(|node| matches!(node, Node::Boolean));
        match it.node() {
            Node::Boolean => it.out.push(u8::from(value)),
            _ => return it.no("a boolean"),
        }
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_i64(self, value: i64) -> Result<(), AvroError> {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<(), AvroError> {
        self.integer(i64::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), AvroError> {
        match i64::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => self.no(&format!("the number {value}")),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), AvroError> {
        let it = self.branch(|node| matches!(node, Node::Float | Node::Double));
        match it.node() {
            Node::Float => it.out.extend_from_slice(&value.to_le_bytes()),
            Node::Double => it.out.extend_from_slice(&f64::from(value).to_le_bytes()),
            _ => return it.no("a float"),
        }
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), AvroError> {
        let it = self.branch(|node| matches!(node, Node::Double));
        match it.node() {
            Node::Double => it.out.extend_from_slice(&value.to_le_bytes()),
            _ => return it.no("a double"),
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), AvroError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), AvroError> {
        let it = self.branch(|node| match node {
            Node::String => true,
            Node::Enum(it) => it.symbols.iter().any(|symbol| symbol == value),
            _ => false,
        });
        match it.node() {
            Node::Bytes(Some(of)) if decimal::places(*of).is_some() => {
                match decimal::read_bytes(value, *of) {
                    Some(bytes) => write_bytes(&bytes, it.out),
                    None => return it.no(&format!("the text {value:?}, which is no decimal,")),
                }
            }
            Node::String | Node::Bytes(_) => write_bytes(value.as_bytes(), it.out),
            Node::Enum(_) => return it.symbol(u32::MAX, value),
            _ => return it.no("a text"),
        }
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), AvroError> {
        let it = self.branch(|node| match node {
            Node::Bytes(_) => true,
            Node::Fixed(_, size, _) => *size == value.len(),
            _ => false,
        });
        match it.node() {
            Node::Bytes(_) => write_bytes(value, it.out),
            Node::Fixed(_, size, _) if *size == value.len() => it.out.extend_from_slice(value),
            _ => return it.no(&format!("{} bytes", value.len())),
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), AvroError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), AvroError> {
        // Of the usual union of two the other branch, whatever the value is.
        if let Node::Union(branches) = self.node()
            && let [one, other] = branches[..]
        {
            let (place, id) = match self.schema.node(one) {
                Node::Null => (1, other),
                _ => (0, one),
            };
            if matches!(self.schema.node(branches[1 - place as usize]), Node::Null) {
                write_long(place, self.out);
                return value.serialize(self.at(id));
            }
        }
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), AvroError> {
        let it = self.branch(|node| matches!(node, Node::Null));
        match it.node() {
            Node::Null => Ok(()),
            _ => it.no("nothing"),
        }
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), AvroError> {
        match self.node() {
            Node::Record(record) if record.fields.is_empty() => Ok(()),
            _ => self.serialize_unit(),
        }
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        place: u32,
        symbol: &'static str,
    ) -> Result<(), AvroError> {
        self.symbol(place, symbol)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), AvroError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        place: u32,
        name: &'static str,
        value: &T,
    ) -> Result<(), AvroError> {
        value.serialize(self.variant(place, name)?)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Items<'a>, AvroError> {
        self.items("a list", len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Items<'a>, AvroError> {
        self.items("a list", Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items<'a>, AvroError> {
        self.items("a list", Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, AvroError> {
        self.no(&format!("the variant {name} with several values"))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Entries<'a>, AvroError> {
        let schema = self.schema;
        let is_record = |id: &Id| matches!(schema.node(*id), Node::Record(_));
        let is_map = |id: &Id| matches!(schema.node(*id), Node::Map(_));
        let branches = match self.node() {
            Node::Union(branches) => &branches[..],
            _ => std::slice::from_ref(&self.id),
        };
        // As what has fields of another type among its own comes, or what knows its fields only by their names.
        match branches.iter().any(is_record) && !branches.iter().any(is_map) {
            true => Ok(Entries::Record(self.record("")?, String::new())),
            false => Ok(Entries::Map(self.items("a map", len)?)),
        }
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<'a>, AvroError> {
        self.record(name)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        place: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Fields<'a>, AvroError> {
        self.variant(place, name)?.record(name)
    }
}

/// The items of an array.
struct Items<'a> {
    schema: &'a Schema,
    of: Id,
    /// Whether their number was written before; otherwise each is a block of its own.
    counted: bool,
    out: &'a mut Vec<u8>,
}

impl Items<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), AvroError> {
        value.serialize(Encoder {
            schema: self.schema,
            id: self.of,
            out: self.out,
        })
    }

    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), AvroError> {
        if !self.counted {
            write_long(1, self.out);
        }
        self.item(value)
    }
}

/// For each of serde's kinds of lists.
macro_rules! list {
    ($($Trait:ident $method:ident),*) => {
        $(impl ser::$Trait for Items<'_> {
            type Ok = ();
            type Error = AvroError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), AvroError> {
                self.next(value)
            }

            fn end(self) -> Result<(), AvroError> {
                write_long(0, self.out);
                Ok(())
            }
        })*
    };
}

list!(SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field);

/// The schema of a map's keys, which are strings.
fn keys() -> &'static Schema {
    static KEYS: LazyLock<Schema> = LazyLock::new(Schema::string);
    &KEYS
}

/// The entries of a map, or fields of a record that come as such.
enum Entries<'a> {
    Map(Items<'a>),
    /// And the name of the field whose value is next.
    Record(Fields<'a>, String),
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = AvroError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), AvroError> {
        match self {
            Self::Map(items) => {
                if !items.counted {
                    write_long(1, items.out);
                }
                key.serialize(Encoder {
                    schema: keys(),
                    id: 0,
                    out: items.out,
                })
            }
            Self::Record(_, next) => match serde_json::to_value(key) {
                Ok(serde_json::Value::String(name)) => {
                    *next = name;
                    Ok(())
                }
                _ => Err(AvroError::new("the name of a field is no text")),
            },
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), AvroError> {
        match self {
            Self::Map(items) => items.item(value),
            Self::Record(fields, next) => fields.field(next, value),
        }
    }

    fn end(self) -> Result<(), AvroError> {
        match self {
            Self::Map(items) => {
                write_long(0, items.out);
                Ok(())
            }
            Self::Record(fields, _) => fields.finish(),
        }
    }
}

/// The fields of a record, in whatever order they come.
struct Fields<'a> {
    schema: &'a Schema,
    record: &'a Record,
    /// The field whose turn it is.
    next: usize,
    /// Those that came before their turn, encoded.
    early: Vec<(usize, Vec<u8>)>,
    out: &'a mut Vec<u8>,
}

impl Fields<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), AvroError> {
        let fields = &self.record.fields;
        let encode = |field: &Field, out: &mut Vec<u8>| {
            let encoder = Encoder {
                schema: self.schema,
                id: field.node,
                out,
            };
            let encoded = value.serialize(encoder);
            encoded
                .map_err(|why| AvroError::new(format!("{}.{name}: {why}", self.record.name.full)))
        };
        if let Some(field) = fields.get(self.next)
            && field.name == name
        {
            encode(field, self.out)?;
            self.next += 1;
            self.catch_up();
            return Ok(());
        }
        match fields.iter().position(|field| field.name == name) {
            Some(place) if place > self.next => {
                let mut early = Vec::new();
                encode(&fields[place], &mut early)?;
                self.early.push((place, early));
                Ok(())
            }
            _ => Err(AvroError::custom(format_args!(
                "the schema of {} has no field {name}, or it came twice",
                self.record.name.full
            ))),
        }
    }

    /// Writes those whose turn has come.
    fn catch_up(&mut self) {
        while let Some(place) = self.early.iter().position(|(it, _)| *it == self.next) {
            let (_, bytes) = self.early.swap_remove(place);
            self.out.extend_from_slice(&bytes);
            self.next += 1;
        }
    }

    fn finish(mut self) -> Result<(), AvroError> {
        while let Some(field) = self.record.fields.get(self.next) {
            let Some(default) = &field.default else {
                return Err(AvroError::new(format!(
                    "{}.{} has neither a value nor a default",
                    self.record.name.full, field.name
                )));
            };
            self.out.extend_from_slice(default);
            self.next += 1;
            self.catch_up();
        }
        Ok(())
    }
}

/// For each of serde's kinds of structs.
macro_rules! fields {
    ($($Trait:ident),*) => {
        $(impl ser::$Trait for Fields<'_> {
            type Ok = ();
            type Error = AvroError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), AvroError> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), AvroError> {
                self.finish()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);
