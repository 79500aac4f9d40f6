//! Schemas: JSON in, a table of nodes out. What a schema names several times is one node, so that schemas may refer to themselves.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::plan::Plan;
use super::{AvroError, json};
use crate::events::codec::DEEPEST_REFERENCES;

/// A schema in JSON, read when it is first needed. Made to stand in a `static`.
///
/// ```
/// use pat_events::events::codec::AvroSchema;
///
/// static ORDER: AvroSchema = AvroSchema::new(
///     r#"{"type": "record", "name": "Order", "fields": [
///         {"name": "id", "type": "string"}
///     ]}"#,
/// );
/// assert_eq!(ORDER.name(), Ok("Order"));
/// ```
pub struct AvroSchema {
    text: Cow<'static, str>,
    references: References,
    parsed: OnceLock<Result<Parsed, AvroError>>,
}

/// What a schema names and does not define.
enum References {
    Schemas(&'static [&'static AvroSchema]),
    /// Each before those that name it.
    Texts(Vec<String>),
}

/// A schema, and how to read what is written by it with itself as the reader's.
pub(super) struct Parsed {
    pub schema: Schema,
    pub plan: Plan,
}

impl AvroSchema {
    /// The schema that this JSON describes, complete in itself. What is wrong with it is told where it is used, or by [`check`](Self::check).
    pub const fn new(text: &'static str) -> Self {
        Self::referring(text, &[])
    }

    /// As [`new`](Self::new), for a schema that names records, enums or fixed that `references` define, and does not define them itself. A registry
    /// has it with its references: each is registered, or looked up, under the subject that is its full name, as Confluent's tools do it.
    ///
    /// ```
    /// use pat_events::events::codec::AvroSchema;
    ///
    /// static MONEY: AvroSchema = AvroSchema::new(
    ///     r#"{"type": "record", "name": "Money", "namespace": "shop.v1",
    ///         "fields": [{"name": "cents", "type": "long"}]}"#,
    /// );
    /// static ORDER: AvroSchema = AvroSchema::referring(
    ///     r#"{"type": "record", "name": "Order", "namespace": "shop.v1",
    ///         "fields": [{"name": "total", "type": "Money"}]}"#,
    ///     &[&MONEY],
    /// );
    /// assert_eq!(ORDER.encode_json(br#"{"total": {"cents": 7}}"#)?, [14]);
    /// # Ok::<(), pat_events::events::codec::AvroError>(())
    /// ```
    pub const fn referring(text: &'static str, references: &'static [&'static AvroSchema]) -> Self {
        Self {
            text: Cow::Borrowed(text),
            references: References::Schemas(references),
            parsed: OnceLock::new(),
        }
    }

    /// As [`new`](Self::new), for a schema that is put together while the program runs.
    pub fn of(text: String) -> Self {
        Self::with_references(text, Vec::new())
    }

    /// As [`of`](Self::of), for a schema that names what `references` define, each before those that name it, as
    /// `SchemaRegistry::references` returns them.
    pub fn with_references(text: String, references: Vec<String>) -> Self {
        Self {
            text: Cow::Owned(text),
            references: References::Texts(references),
            parsed: OnceLock::new(),
        }
    }

    /// The JSON, without what it refers to.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The schemas that it [refers to](Self::referring).
    #[cfg(feature = "registry")]
    pub(in crate::events::codec) fn references(&self) -> &'static [&'static AvroSchema] {
        match self.references {
            References::Schemas(schemas) => schemas,
            References::Texts(_) => &[],
        }
    }

    /// The texts of what it names, each before those that name it, and once.
    fn collect_references<'a>(
        &'a self,
        texts: &mut Vec<&'a str>,
        depth: usize,
    ) -> Result<(), AvroError> {
        if depth > DEEPEST_REFERENCES {
            return Err(AvroError::new(format!(
                "schemas name each other more than {DEEPEST_REFERENCES} deep"
            )));
        }
        match &self.references {
            References::Texts(own) => texts.extend(own.iter().map(String::as_str)),
            References::Schemas(schemas) => {
                for schema in *schemas {
                    schema.collect_references(texts, depth + 1)?;
                    if !texts.contains(&schema.text()) {
                        texts.push(schema.text());
                    }
                }
            }
        }
        Ok(())
    }

    /// The full name of the record: `shop.v1.OrderPlaced`; an error when the schema is none, or of something without a name.
    pub fn name(&self) -> Result<&str, AvroError> {
        let schema = &self.parsed()?.schema;
        let name = schema.node(schema.root).name();
        name.ok_or_else(|| AvroError::new("the schema is not of something that has a name"))
    }

    /// Whether it is a schema.
    pub fn check(&self) -> Result<(), AvroError> {
        self.parsed().map(|_| ())
    }

    pub(super) fn parsed(&self) -> Result<&Parsed, AvroError> {
        let parsed = self.parsed.get_or_init(|| {
            let mut references = Vec::new();
            self.collect_references(&mut references, 0)?;
            let schema = Schema::parse(&self.text, &references)?;
            let plan = Plan::new(&schema, &schema)?;
            Ok(Parsed { schema, plan })
        });
        parsed.as_ref().map_err(AvroError::clone)
    }
}

impl fmt::Debug for AvroSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AvroSchema").field(&self.text).finish()
    }
}

/// The place of a node in its schema.
pub(super) type Id = usize;

/// A schema's nodes, and which of them it is of.
#[derive(Debug)]
pub(super) struct Schema {
    nodes: Vec<Node>,
    pub root: Id,
}

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes(Option<Decimal>),
    String,
    Fixed(Name, usize, Option<Decimal>),
    Enum(Enum),
    Array(Id),
    Map(Id),
    Union(Vec<Id>),
    Record(Record),
}

/// Precision and scale: what is written with others is another number.
pub(super) type Decimal = (u64, u64);

#[derive(Debug)]
pub(super) struct Name {
    pub full: String,
    pub aliases: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Enum {
    pub name: Name,
    pub symbols: Vec<String>,
    pub default: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Record {
    pub name: Name,
    pub fields: Vec<Field>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub aliases: Vec<String>,
    pub node: Id,
    /// The default, encoded.
    pub default: Option<Vec<u8>>,
}

impl Name {
    /// The name without its namespace.
    pub fn short(&self) -> &str {
        self.full.rsplit('.').next().unwrap_or_default()
    }

    /// Whether a reader that calls it `self` reads what a writer called `written`: namespaces may differ.
    pub fn takes(&self, written: &Name) -> bool {
        self.short() == written.short()
            || self.aliases.iter().any(|alias| {
                *alias == written.full || alias.rsplit('.').next() == Some(written.short())
            })
    }
}

impl Node {
    /// The full name, of what has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Fixed(name, ..) => Some(&name.full),
            Self::Enum(it) => Some(&it.name.full),
            Self::Record(record) => Some(&record.name.full),
            _ => None,
        }
    }

    /// The name of the type, for errors.
    pub fn kind(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes(_) => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Fixed(name, ..) => &name.full,
            Self::Enum(it) => &it.name.full,
            Self::Record(record) => &record.name.full,
        }
    }
}

impl Schema {
    /// Reads a schema that may name what `references`, each before those that name it, define.
    pub fn parse(text: &str, references: &[&str]) -> Result<Self, AvroError> {
        let mut parser = Parser::default();
        let mut root = 0;
        for text in references.iter().chain([&text]) {
            let json: Value = serde_json::from_str(text)
                .map_err(|error| AvroError::new(format!("the schema is no JSON: {error}")))?;
            root = parser.node(&json, "")?;
        }
        let mut schema = Schema {
            nodes: Vec::new(),
            root,
        };
        for node in parser.nodes {
            let node =
                node.ok_or_else(|| AvroError::new("a name of the schema is never defined"))?;
            schema.nodes.push(node);
        }
        // Only now is known what a default is of.
        for (record, field, default) in parser.defaults {
            let Node::Record(it) = &schema.nodes[record] else {
                continue;
            };
            let node = it.fields[field].node;
            let mut bytes = Vec::new();
            let by = json::By::Default;
            json::write(&schema, by, node, &default, &mut bytes).map_err(|why| {
                let (record, field) = (&it.name.full, &it.fields[field].name);
                AvroError::new(format!("the default of {record}.{field}: {why}"))
            })?;
            if let Node::Record(it) = &mut schema.nodes[record] {
                it.fields[field].default = Some(bytes);
            }
        }
        Ok(schema)
    }

    /// The schema of a string.
    pub fn string() -> Self {
        Self {
            nodes: vec![Node::String],
            root: 0,
        }
    }

    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }
}

#[derive(Default)]
struct Parser {
    /// `None` while it is being read, for those within it that name it.
    nodes: Vec<Option<Node>>,
    named: HashMap<String, Id>,
    /// Record, field, default.
    defaults: Vec<(Id, usize, Value)>,
}

impl Parser {
    fn node(&mut self, json: &Value, namespace: &str) -> Result<Id, AvroError> {
        match json {
            Value::String(name) => self.primitive_or_named(name, None, namespace),
            Value::Array(branches) => {
                let id = self.reserve();
                let mut union = Vec::new();
                for branch in branches {
                    let branch = self.node(branch, namespace)?;
                    if let Some(Some(Node::Union(_))) = self.nodes.get(branch) {
                        return Err(AvroError::new("a union stands directly in a union"));
                    }
                    union.push(branch);
                }
                self.nodes[id] = Some(Node::Union(union));
                Ok(id)
            }
            Value::Object(object) => self.object(object, namespace),
            _ => Err(AvroError::new(
                "a schema is a name, an object or a list of schemas",
            )),
        }
    }

    fn reserve(&mut self) -> Id {
        self.nodes.push(None);
        self.nodes.len() - 1
    }

    fn primitive_or_named(
        &mut self,
        name: &str,
        object: Option<&Map<String, Value>>,
        namespace: &str,
    ) -> Result<Id, AvroError> {
        let node = match name {
            "null" => Node::Null,
            "boolean" => Node::Boolean,
            "int" => Node::Int,
            "long" => Node::Long,
            "float" => Node::Float,
            "double" => Node::Double,
            "bytes" => Node::Bytes(object.and_then(decimal)),
            "string" => Node::String,
            name => {
                let full = qualified(name, namespace);
                let found = self.named.get(&full).or_else(|| self.named.get(name));
                return found
                    .copied()
                    .ok_or_else(|| AvroError::new(format!("the schema {full} is not defined")));
            }
        };
        let id = self.reserve();
        self.nodes[id] = Some(node);
        Ok(id)
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<Id, AvroError> {
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(nested) => return self.node(nested, namespace),
            None => return Err(AvroError::new("a schema has no type")),
        };
        match kind {
            "array" | "map" => {
                let key = if kind == "array" { "items" } else { "values" };
                let of = object.get(key).ok_or_else(|| {
                    AvroError::new(format!("a schema of type {kind} has no {key}"))
                })?;
                let id = self.reserve();
                let of = self.node(of, namespace)?;
                self.nodes[id] = Some(match kind {
                    "array" => Node::Array(of),
                    _ => Node::Map(of),
                });
                Ok(id)
            }
            "record" | "error" | "enum" | "fixed" => self.named(kind, object, namespace),
            _ => self.primitive_or_named(kind, Some(object), namespace),
        }
    }

    fn named(
        &mut self,
        kind: &str,
        object: &Map<String, Value>,
        namespace: &str,
    ) -> Result<Id, AvroError> {
        let name = text(object, "name")
            .ok_or_else(|| AvroError::new(format!("a schema of type {kind} has no name")))?;
        let full = match text(object, "namespace") {
            Some(namespace) => qualified(name, namespace),
            None => qualified(name, namespace),
        };
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
        let aliases = texts(object, "aliases");
        let aliases = aliases.iter().map(|alias| qualified(alias, namespace));
        let id = self.reserve();
        if self.named.insert(full.clone(), id).is_some() {
            return Err(AvroError::new(format!(
                "the schema {full} is defined twice"
            )));
        }
        let name = Name {
            aliases: aliases.collect(),
            full: full.clone(),
        };
        let node = match kind {
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| AvroError::new(format!("{full} has no size")))?;
                Node::Fixed(name, size, decimal(object))
            }
            "enum" => {
                let symbols = texts(object, "symbols");
                let default = text(object, "default");
                let default = default.map(|default| {
                    let place = symbols.iter().position(|symbol| symbol == default);
                    place.ok_or_else(|| {
                        AvroError::new(format!("the default of {full} is no symbol of it"))
                    })
                });
                Node::Enum(Enum {
                    name,
                    default: default.transpose()?,
                    symbols,
                })
            }
            _ => {
                let listed = object.get("fields").and_then(Value::as_array);
                let listed =
                    listed.ok_or_else(|| AvroError::new(format!("{full} has no fields")))?;
                let mut fields = Vec::with_capacity(listed.len());
                for field in listed {
                    let of = |why| AvroError::new(format!("a field of {full} {why}"));
                    let field = field.as_object().ok_or_else(|| of("is no object"))?;
                    let name = text(field, "name").ok_or_else(|| of("has no name"))?;
                    let node = field.get("type").ok_or_else(|| of("has no type"))?;
                    let node = self.node(node, namespace)?;
                    if let Some(default) = field.get("default") {
                        self.defaults.push((id, fields.len(), default.clone()));
                    }
                    fields.push(Field {
                        name: name.to_string(),
                        aliases: texts(field, "aliases"),
                        node,
                        default: None,
                    });
                }
                Node::Record(Record { name, fields })
            }
        };
        self.nodes[id] = Some(node);
        Ok(id)
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn texts(object: &Map<String, Value>, key: &str) -> Vec<String> {
    let texts = object.get(key).and_then(Value::as_array);
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_string).collect()
}

fn qualified(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_string(),
        false => format!("{namespace}.{name}"),
    }
}

fn decimal(object: &Map<String, Value>) -> Option<Decimal> {
    if text(object, "logicalType") != Some("decimal") {
        return None;
    }
    let scale = object.get("scale").and_then(Value::as_u64).unwrap_or(0);
    Some((object.get("precision")?.as_u64()?, scale))
}
