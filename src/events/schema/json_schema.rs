//! JSON schema: does a schema still take what another took? In: two schemas. Out: findings, from asking it in both directions.
//!
//! Keywords are compared one by one. Where alternatives (`oneOf`, `anyOf`, `allOf`, `not`) differ, that is said and not judged further: such a change
//! counts as breaking.

use std::collections::BTreeSet;

use serde_json::Value;

use super::finding::{BACKWARD, Finding, Findings, both_ways};

/// How deep schemas may be nested; what lies below is not compared.
const DEEPEST: usize = 64;

pub(super) fn compare(old: &Value, new: &Value) -> Vec<Finding> {
    both_ways(
        Comparison::narrowed(old, new),
        Comparison::narrowed(new, old),
    )
}

/// What `reader` refuses of what `writer` takes.
struct Comparison<'a> {
    writer: &'a Value,
    reader: &'a Value,
    found: Findings,
}

impl<'a> Comparison<'a> {
    fn narrowed(writer: &'a Value, reader: &'a Value) -> Vec<Finding> {
        let mut comparison = Comparison {
            writer,
            reader,
            found: Findings::default(),
        };
        comparison.read(writer, reader, "$", 0);
        comparison.found.0
    }

    fn add(&mut self, rule: &'static str, place: &str, what: String, fix: &str) {
        // `compare` turns the other direction's findings round.
        self.found.add(rule, BACKWARD, place, what, fix);
    }

    fn read(&mut self, writer: &'a Value, reader: &'a Value, place: &str, depth: usize) {
        let (writer, reader) = (follow(self.writer, writer), follow(self.reader, reader));
        if depth > DEEPEST || writer == reader {
            return;
        }
        // `true` and `{}` take everything.
        if *reader == Value::Bool(false) {
            self.add(
                "NOTHING_ALLOWED",
                place,
                "the reader takes nothing here".to_owned(),
                "keep what was allowed",
            );
            return;
        }
        let (had, takes) = (types(writer), types(reader));
        if let Some(takes) = &takes {
            let refused: Vec<&str> = had
                .as_ref()
                .unwrap_or(&all_types())
                .iter()
                .filter(|had| {
                    let is_number = **had == "integer" && takes.contains("number");
                    !(takes.contains(*had) || is_number)
                })
                .copied()
                .collect();
            if !refused.is_empty() {
                self.add(
                    "TYPE_NARROWED",
                    place,
                    format!(
                        "{} may have been written, and the reader refuses it",
                        refused.join(", ")
                    ),
                    "allow the type that was there beside the new one",
                );
            }
        }
        self.read_values(writer, reader, place);
        self.read_limits(writer, reader, place);
        self.read_properties(writer, reader, place, depth);
        if let Some(items) = reader.get("items") {
            let written = writer.get("items").unwrap_or(&Value::Bool(true));
            self.read(written, items, &format!("{place}[]"), depth + 1);
        }
        for keyword in [
            "oneOf",
            "anyOf",
            "allOf",
            "not",
            "if",
            "then",
            "else",
            "contains",
            "propertyNames",
            "dependentRequired",
        ] {
            if reader.get(keyword).is_some() && reader.get(keyword) != writer.get(keyword) {
                self.read_alternatives(keyword, writer, reader, place, depth);
            }
        }
    }

    fn read_alternatives(
        &mut self,
        keyword: &'static str,
        writer: &'a Value,
        reader: &'a Value,
        place: &str,
        depth: usize,
    ) {
        let alternatives = |schema: &'a Value| schema.get(keyword).and_then(Value::as_array);
        // An alternative more in the reader takes nothing away; one that the writer had and the reader has not does.
        if let ("oneOf" | "anyOf", Some(had), Some(takes)) =
            (keyword, alternatives(writer), alternatives(reader))
        {
            let fits = |one: &'a Value| {
                takes.iter().any(|other| {
                    let mut attempt = Comparison {
                        writer: self.writer,
                        reader: self.reader,
                        found: Findings::default(),
                    };
                    attempt.read(one, other, place, depth + 1);
                    attempt.found.0.is_empty()
                })
            };
            if had.iter().all(fits) {
                return;
            }
        }
        self.add(
            "COMBINATION_CHANGED",
            place,
            format!("{keyword} differs, and may refuse what was written"),
            "keep the alternatives that were there",
        );
    }

    fn read_values(&mut self, writer: &Value, reader: &Value, place: &str) {
        let values = |schema: &'_ Value| -> Option<Vec<Value>> {
            match (schema.get("enum"), schema.get("const")) {
                (Some(Value::Array(values)), _) => Some(values.clone()),
                (_, Some(value)) => Some(vec![value.clone()]),
                _ => None,
            }
        };
        match (values(writer), values(reader)) {
            (_, None) => {}
            (None, Some(_)) => self.add(
                "ENUM_NARROWED",
                place,
                "the reader takes some values only, and any may have been written".to_owned(),
                "leave the values open",
            ),
            (Some(had), Some(takes)) => {
                let gone: Vec<String> = had
                    .iter()
                    .filter(|it| !takes.contains(it))
                    .map(ToString::to_string)
                    .collect();
                if !gone.is_empty() {
                    self.add(
                        "ENUM_NARROWED",
                        place,
                        format!(
                            "{} may have been written, and the reader refuses it",
                            gone.join(", ")
                        ),
                        "keep the values that were there",
                    );
                }
            }
        }
    }

    fn read_limits(&mut self, writer: &Value, reader: &Value, place: &str) {
        let number = |schema: &Value, key: &str| schema.get(key).and_then(Value::as_f64);
        for (keyword, is_lower) in [
            ("minimum", true),
            ("exclusiveMinimum", true),
            ("minLength", true),
            ("minItems", true),
            ("minProperties", true),
            ("minContains", true),
            ("maximum", false),
            ("exclusiveMaximum", false),
            ("maxLength", false),
            ("maxItems", false),
            ("maxProperties", false),
            ("maxContains", false),
        ] {
            let Some(limit) = number(reader, keyword) else {
                continue;
            };
            let is_tighter = number(writer, keyword).is_none_or(|was| match is_lower {
                true => limit > was,
                false => limit < was,
            });
            if is_tighter {
                self.add(
                    "LIMIT_TIGHTENED",
                    &format!("{place}#{keyword}"),
                    format!("the reader's {keyword} of {limit} refuses what may have been written"),
                    "keep the wider limit",
                );
            }
        }
        for keyword in ["pattern", "format", "multipleOf"] {
            if reader.get(keyword).is_some() && reader.get(keyword) != writer.get(keyword) {
                self.add(
                    "LIMIT_TIGHTENED",
                    &format!("{place}#{keyword}"),
                    format!("the reader's {keyword} may refuse what was written"),
                    "keep what was there",
                );
            }
        }
        let is_unique = |schema: &Value| schema.get("uniqueItems") == Some(&Value::Bool(true));
        if is_unique(reader) && !is_unique(writer) {
            self.add(
                "LIMIT_TIGHTENED",
                &format!("{place}#uniqueItems"),
                "the reader refuses a list with equal items".to_owned(),
                "allow them",
            );
        }
    }

    fn read_properties(&mut self, writer: &'a Value, reader: &'a Value, place: &str, depth: usize) {
        let required = |schema: &'a Value| -> BTreeSet<&'a str> {
            let list = schema.get("required").and_then(Value::as_array);
            list.into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect()
        };
        for name in required(reader).difference(&required(writer)) {
            self.add(
                "REQUIRED_ADDED",
                &format!("{place}.{name}"),
                "the reader requires it, and it may not have been written".to_owned(),
                "leave it out of `required`",
            );
        }
        let properties = |schema: &'a Value| schema.get("properties").and_then(Value::as_object);
        let rest = |schema: &'a Value| {
            schema
                .get("additionalProperties")
                .unwrap_or(&Value::Bool(true))
        };
        for (name, written) in properties(writer).into_iter().flatten() {
            let place = format!("{place}.{name}");
            match properties(reader).and_then(|it| it.get(name)) {
                Some(read) => self.read(written, read, &place, depth + 1),
                None if *rest(reader) == Value::Bool(false) => self.add(
                    "PROPERTY_REMOVED",
                    &place,
                    "may have been written, and the reader takes no other properties than its own"
                        .to_owned(),
                    "keep the property, or allow additional ones",
                ),
                None => self.read(written, rest(reader), &place, depth + 1),
            }
        }
        // What was not declared and came all the same.
        if *rest(writer) == Value::Bool(true) && *rest(reader) == Value::Bool(false) {
            self.add(
                "PROPERTIES_CLOSED",
                place,
                "other properties may have been written, and the reader refuses them".to_owned(),
                "leave `additionalProperties` open",
            );
        } else if *rest(writer) != Value::Bool(false) && *rest(writer) != *rest(reader) {
            self.read(rest(writer), rest(reader), &format!("{place}.*"), depth + 1);
        }
    }
}

/// The types that a schema takes; `None` for all.
fn types(schema: &Value) -> Option<BTreeSet<&str>> {
    match schema.get("type")? {
        Value::String(one) => Some(BTreeSet::from([one.as_str()])),
        Value::Array(several) => Some(several.iter().filter_map(Value::as_str).collect()),
        _ => None,
    }
}

fn all_types() -> BTreeSet<&'static str> {
    BTreeSet::from(["array", "boolean", "null", "number", "object", "string"])
}

/// What a reference within the document stands for. What cannot be found stands for itself.
fn follow<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..DEEPEST {
        let reference = schema.get("$ref").and_then(Value::as_str);
        let Some(path) = reference.and_then(|it| it.strip_prefix('#')) else {
            return schema;
        };
        match root.pointer(path) {
            Some(found) => schema = found,
            None => return schema,
        }
    }
    schema
}
