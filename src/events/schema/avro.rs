//! Avro's resolution: can a reader with one schema read what a writer with another has written? In: two schemas as JSON. Out: findings, from
//! asking it in both directions.
//!
//! The rules are those of the specification ("Schema Resolution"), as Java's `SchemaCompatibility` judges them: names are compared without
//! their namespaces. Beyond it, a logical type that differs is found, for the bytes are read and mean something else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::SchemaError;
use super::finding::{BACKWARD, Finding, Findings, NOTHING, both_ways};

/// How deep schemas may be nested.
const DEEPEST: usize = 64;

pub(super) fn compare(old: &Value, new: &Value) -> Result<Vec<Finding>, SchemaError> {
    let (old, new) = (Named::of(old)?, Named::of(new)?);
    let backward = Resolution::new(&new, &old).findings("")?;
    let forward = Resolution::new(&old, &new).findings("")?;
    let mut findings = both_ways(backward, forward);
    renamed(&old, &new, &mut findings);
    Ok(findings)
}

/// A namespace that differs: Avro resolves it, and whoever looks schemas up by full name does not find it.
fn renamed(old: &Named<'_>, new: &Named<'_>, findings: &mut Vec<Finding>) {
    let namespace = |schema: &Value| {
        let space = schema.get("namespace").and_then(Value::as_str);
        space.unwrap_or_default().to_owned()
    };
    let (was, is) = (namespace(old.root), namespace(new.root));
    if was != is {
        let mut found = Findings::default();
        found.add(
            "NAMESPACE_CHANGED",
            NOTHING,
            name_of(new.root).unwrap_or_default(),
            format!("is in the namespace {is:?} and was in {was:?}: Avro compares names without it, and code that is generated does not"),
            "",
        );
        findings.append(&mut found.0);
    }
}

/// A schema, and the types that are declared in it by their names without namespaces.
struct Named<'a> {
    root: &'a Value,
    types: BTreeMap<String, &'a Value>,
}

impl<'a> Named<'a> {
    fn of(root: &'a Value) -> Result<Named<'a>, SchemaError> {
        let mut named = Named {
            root,
            types: BTreeMap::new(),
        };
        named.declare(root, 0)?;
        Ok(named)
    }

    fn declare(&mut self, schema: &'a Value, depth: usize) -> Result<(), SchemaError> {
        if depth > DEEPEST {
            return Err(SchemaError::new("the Avro schema is nested too deep"));
        }
        match schema {
            Value::Array(branches) => {
                for branch in branches {
                    self.declare(branch, depth + 1)?;
                }
            }
            Value::Object(object) => {
                if let Some(name) = name_of(schema) {
                    self.types.insert(name.to_owned(), schema);
                }
                let fields = object.get("fields").and_then(Value::as_array);
                for field in fields.into_iter().flatten() {
                    let of = field.get("type").ok_or_else(|| {
                        SchemaError::new(format!("a field without a type: {field}"))
                    })?;
                    self.declare(of, depth + 1)?;
                }
                for part in ["items", "values", "type"] {
                    if let Some(part) = object.get(part).filter(|it| !it.is_string()) {
                        self.declare(part, depth + 1)?;
                    }
                }
            }
            Value::String(_) => {}
            other => {
                return Err(SchemaError::new(format!("this is no Avro schema: {other}")));
            }
        }
        Ok(())
    }

    /// What stands behind a name, or a type within a type.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        match schema {
            Value::String(name) => self.types.get(unqualified(name)).copied().unwrap_or(schema),
            Value::Object(object) => match object.get("type") {
                Some(of @ (Value::Object(_) | Value::Array(_))) => self.resolve(of),
                _ => schema,
            },
            _ => schema,
        }
    }
}

fn unqualified(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn name_of(schema: &Value) -> Option<&str> {
    schema.get("name").and_then(Value::as_str).map(unqualified)
}

/// The kind of a schema: `record`, `union`, `int`.
fn kind_of(schema: &Value) -> &str {
    match schema {
        Value::String(kind) => kind,
        Value::Array(_) => "union",
        other => other.get("type").and_then(Value::as_str).unwrap_or("?"),
    }
}

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    let list = schema.get(key).and_then(Value::as_array);
    list.map_or(&[], Vec::as_slice)
}

fn has_alias(reader: &Value, name: &str) -> bool {
    list(reader, "aliases")
        .iter()
        .filter_map(Value::as_str)
        .any(|alias| unqualified(alias) == name)
}

/// One direction.
struct Resolution<'a> {
    reader: &'a Named<'a>,
    writer: &'a Named<'a>,
    /// Pairs of names that are being compared, or were.
    seen: BTreeSet<(String, String)>,
    found: Findings,
}

impl<'a> Resolution<'a> {
    fn new(reader: &'a Named<'a>, writer: &'a Named<'a>) -> Self {
        Resolution {
            reader,
            writer,
            seen: BTreeSet::new(),
            found: Findings::default(),
        }
    }

    fn findings(mut self, place: &str) -> Result<Vec<Finding>, SchemaError> {
        let root = name_of(self.reader.root).unwrap_or(place).to_owned();
        self.read(self.reader.root, self.writer.root, &root, 0)?;
        Ok(self.found.0)
    }

    fn add(&mut self, rule: &'static str, place: &str, what: String, fix: impl Into<String>) {
        // `both_ways` turns the other direction's findings round.
        self.found.add(rule, BACKWARD, place, what, fix);
    }

    /// Notes what keeps `reader` from reading what `writer` wrote.
    fn read(
        &mut self,
        reader: &'a Value,
        writer: &'a Value,
        place: &str,
        depth: usize,
    ) -> Result<(), SchemaError> {
        if depth > DEEPEST {
            return Err(SchemaError::new("the Avro schema is nested too deep"));
        }
        let (reader, writer) = (self.reader.resolve(reader), self.writer.resolve(writer));
        let (wants, has) = (kind_of(reader), kind_of(writer));
        match (wants, has) {
            (_, "union") => self.read_union(reader, writer, place, depth)?,
            ("union", _) => {
                let fits = list_of(reader)
                    .iter()
                    .any(|branch| self.can_read(branch, writer, place, depth));
                if !fits {
                    self.add(
                        "UNION_WITHOUT_BRANCH",
                        place,
                        format!("the reader's union has no branch for {}", said(writer)),
                        "keep the branch in the union",
                    );
                }
            }
            ("record" | "error", "record" | "error") => {
                self.read_record(reader, writer, place, depth)?
            }
            ("enum", "enum") => self.read_enum(reader, writer, place),
            ("fixed", "fixed") => {
                self.same_name(reader, writer, place);
                let size = |schema: &Value| schema.get("size").and_then(Value::as_u64);
                if size(reader) != size(writer) {
                    self.add(
                        "FIXED_SIZE_CHANGED",
                        place,
                        format!(
                            "the reader takes {} bytes, and {} were written",
                            size(reader).unwrap_or(0),
                            size(writer).unwrap_or(0)
                        ),
                        "keep the size, and give another size a name and a field of its own",
                    );
                }
                self.same_logical(reader, writer, place);
            }
            ("array", "array") => {
                if let (Some(wants), Some(has)) = (reader.get("items"), writer.get("items")) {
                    self.read(wants, has, &format!("{place}[]"), depth + 1)?;
                }
            }
            ("map", "map") => {
                if let (Some(wants), Some(has)) = (reader.get("values"), writer.get("values")) {
                    self.read(wants, has, &format!("{place}{{}}"), depth + 1)?;
                }
            }
            (wants, has) if wants == has || promotes(has, wants) => {
                self.same_logical(reader, writer, place);
            }
            (wants, has) => self.add(
                "TYPE_CHANGED",
                place,
                format!("the reader takes {wants}, and {has} was written"),
                match promotes(wants, has) {
                    true => "this promotion goes the other way only: let all readers have the wider type before a writer does",
                    false => "keep the type; for another, add a field with a default",
                },
            ),
        }
        Ok(())
    }

    fn read_union(
        &mut self,
        reader: &'a Value,
        writer: &'a Value,
        place: &str,
        depth: usize,
    ) -> Result<(), SchemaError> {
        for branch in list_of(writer) {
            let fits = match kind_of(reader) {
                "union" => list_of(reader)
                    .iter()
                    .any(|it| self.can_read(it, branch, place, depth)),
                _ => self.can_read(reader, branch, place, depth),
            };
            if fits {
                continue;
            }
            // A branch of the same name that cannot be read: what is wrong is within it.
            let branch_is = self.writer.resolve(branch);
            let namesake = list_of(reader).iter().find(|it| {
                let it = self.reader.resolve(it);
                kind_of(it) == kind_of(branch_is)
                    && name_of(it).is_some()
                    && name_of(it) == name_of(branch_is)
            });
            match namesake {
                Some(namesake) => self.read(namesake, branch, place, depth + 1)?,
                None => self.add(
                    "UNION_BRANCH_REMOVED",
                    place,
                    format!(
                        "{} may have been written, and the reader has no branch for it",
                        said(branch_is)
                    ),
                    "keep the branch in the reader's union",
                ),
            }
        }
        Ok(())
    }

    /// Whether `reader` reads all that `writer` writes; notes nothing.
    fn can_read(&self, reader: &'a Value, writer: &'a Value, place: &str, depth: usize) -> bool {
        let mut attempt = Resolution {
            reader: self.reader,
            writer: self.writer,
            seen: self.seen.clone(),
            found: Findings::default(),
        };
        let read = attempt.read(reader, writer, place, depth + 1);
        read.is_ok() && attempt.found.0.is_empty()
    }

    fn read_record(
        &mut self,
        reader: &'a Value,
        writer: &'a Value,
        place: &str,
        depth: usize,
    ) -> Result<(), SchemaError> {
        self.same_name(reader, writer, place);
        let names = |schema| name_of(schema).unwrap_or_default().to_owned();
        if !self.seen.insert((names(reader), names(writer))) {
            return Ok(());
        }
        for field in list(reader, "fields") {
            let Some(name) = name_of(field) else { continue };
            let place = format!("{place}.{name}");
            let written = list(writer, "fields")
                .iter()
                .find(|it| name_of(it).is_some_and(|it| it == name));
            let written = written.or_else(|| {
                let mut fields = list(writer, "fields").iter();
                fields.find(|it| name_of(it).is_some_and(|it| has_alias(field, it)))
            });
            match (written, field.get("default")) {
                (Some(written), _) => {
                    if let (Some(wants), Some(has)) = (field.get("type"), written.get("type")) {
                        self.read(wants, has, &place, depth + 1)?;
                    }
                }
                (None, Some(_)) => {}
                (None, None) => self.add(
                    "FIELD_WITHOUT_DEFAULT",
                    &place,
                    "the reader has this field and no default for it, and it was not written".to_owned(),
                    "give the field a default in the schema that has it, such as null in a union that begins with null; after a renaming, give the new name the old one as an alias",
                ),
            }
        }
        Ok(())
    }

    fn read_enum(&mut self, reader: &Value, writer: &Value, place: &str) {
        self.same_name(reader, writer, place);
        let known = list(reader, "symbols");
        let unknown: Vec<&str> = list(writer, "symbols")
            .iter()
            .filter(|symbol| !known.contains(symbol))
            .filter_map(Value::as_str)
            .collect();
        if !unknown.is_empty() && reader.get("default").is_none() {
            self.add(
                "ENUM_SYMBOL_UNKNOWN",
                place,
                format!("{} may have been written, and the reader knows no such symbol", unknown.join(", ")),
                "keep the symbols, and give the enum a default, which stands for those that a reader does not know",
            );
        }
    }

    fn same_name(&mut self, reader: &Value, writer: &Value, place: &str) {
        let (wants, has) = (name_of(reader), name_of(writer));
        if wants != has && !has.is_some_and(|has| has_alias(reader, has)) {
            self.add(
                "NAME_CHANGED",
                place,
                format!(
                    "the reader takes {}, and {} was written",
                    wants.unwrap_or("?"),
                    has.unwrap_or("?")
                ),
                format!(
                    "keep the name, or give the reader's type the alias {:?}",
                    has.unwrap_or("?")
                ),
            );
        }
    }

    fn same_logical(&mut self, reader: &Value, writer: &Value, place: &str) {
        let logical = |schema: &Value| {
            let part = |key: &str| schema.get(key).map(ToString::to_string).unwrap_or_default();
            let name = schema.get("logicalType").and_then(Value::as_str);
            name.map(|name| match name {
                "decimal" => format!("decimal({}, {})", part("precision"), part("scale")),
                other => other.to_owned(),
            })
        };
        let (wants, has) = (logical(reader), logical(writer));
        if wants != has {
            let told = |it: Option<String>| it.unwrap_or_else(|| "no logical type".to_owned());
            self.add(
                "LOGICAL_TYPE_CHANGED",
                place,
                format!("the reader takes it as {}, and it was written as {}: the same bytes, another meaning", told(wants), told(has)),
                "keep the logical type; for another, add a field with a default",
            );
        }
    }
}

fn list_of(union: &Value) -> &[Value] {
    union.as_array().map_or(&[], Vec::as_slice)
}

/// A schema in a few words.
fn said(schema: &Value) -> String {
    match name_of(schema) {
        Some(name) => format!("{} {name}", kind_of(schema)),
        None => kind_of(schema).to_owned(),
    }
}

/// Whether what was written as `from` can be read as `to`.
fn promotes(from: &str, to: &str) -> bool {
    matches!(
        (from, to),
        ("int", "long" | "float" | "double")
            | ("long", "float" | "double")
            | ("float", "double")
            | ("string", "bytes")
            | ("bytes", "string")
    )
}
