//! What a command prints of many things. In: an object for each thing, or why there is none. Out: a table for people or a line of JSON for each
//! thing, and how the command ends: what failed is told whatever became of the others.

use std::fmt;
use std::io::{self, Write};

use clap::Args;
use pat_events::kafka;
use serde_json::{Map, Value};

use crate::Outcome;
use crate::table::Table;

/// How a command prints what it has found.
#[derive(Args, Clone, Copy, Debug)]
pub struct Form {
    /// Print JSON: one object a line for each thing, with `error` and `error_code` for what failed.
    #[arg(short = 'J', long, global = true)]
    pub json: bool,
}

/// A column of the table: its title, and the name of what stands in it.
pub type Column = (&'static str, &'static str);

/// Things as they are found.
#[derive(Debug)]
pub struct Listing {
    form: Form,
    table: Table,
    names: Vec<&'static str>,
    /// What stands below the table: what is told in words, or the lines of JSON.
    lines: Vec<String>,
    well: usize,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Failure {
    thing: Value,
    error: String,
    code: Option<&'static str>,
}

/// Some of several things failed, each of which was told.
#[derive(Debug)]
pub struct PartlyFailed {
    failed: usize,
    of: usize,
}

impl PartlyFailed {
    /// Whether nothing was done.
    pub fn is_all(&self) -> bool {
        self.failed == self.of
    }
}

impl fmt::Display for PartlyFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} failed", self.failed, self.of)
    }
}

impl std::error::Error for PartlyFailed {}

impl Listing {
    /// A listing with these columns; with none, of what is told in words.
    pub fn new(form: Form, columns: &[Column]) -> Listing {
        let (titles, names): (Vec<_>, Vec<_>) = columns.iter().copied().unzip();
        Listing {
            form,
            table: Table::new(&titles),
            names,
            lines: Vec::new(),
            well: 0,
            failures: Vec::new(),
        }
    }

    /// Adds a thing that is a line of the table.
    pub fn add(&mut self, thing: Value) {
        self.well += 1;
        self.line(&thing);
        self.show(&thing);
    }

    /// Adds a thing that is as many lines of the table as it has parts.
    pub fn add_with_parts<'a>(
        &mut self,
        thing: &Value,
        parts: impl IntoIterator<Item = &'a Value>,
    ) {
        self.well += 1;
        for part in parts {
            self.line(part);
        }
        self.show(thing);
    }

    /// Adds something that was done, with what is said of it.
    pub fn done(&mut self, thing: Value, said: impl Into<String>) {
        self.well += 1;
        if !self.form.json {
            self.lines.push(said.into());
        }
        self.show(&thing);
    }

    /// Adds something that failed.
    pub fn failed(&mut self, thing: Value, error: &kafka::Error) {
        let code = error.server_error().map(|code| code.name());
        self.failures.push(Failure {
            thing,
            error: error.to_string(),
            code,
        });
    }

    /// Adds something that is not as it would have to be.
    pub fn wrong(&mut self, thing: Value, error: impl Into<String>) {
        self.failures.push(Failure {
            thing,
            error: error.into(),
            code: None,
        });
    }

    /// Adds what came of something.
    pub fn result(&mut self, thing: Value, result: kafka::Result<()>, said: impl Into<String>) {
        match result {
            Ok(()) => self.done(thing, said),
            Err(error) => self.failed(thing, &error),
        }
    }

    fn line(&mut self, thing: &Value) {
        if !self.form.json && !self.names.is_empty() {
            let cells = self.names.iter().map(|name| cell(&thing[*name]));
            self.table.line(cells.collect());
        }
    }

    fn show(&mut self, thing: &Value) {
        if self.form.json {
            self.lines.push(thing.to_string());
        }
    }

    /// Prints everything. Fails when anything did: with its error when nothing else was asked for.
    pub fn end(self) -> Outcome {
        let Listing {
            form,
            table,
            lines,
            well,
            mut failures,
            ..
        } = self;
        let mut out = io::stdout().lock();
        if !form.json {
            write!(out, "{table}")?;
        }
        for line in lines {
            writeln!(out, "{line}")?;
        }
        if form.json {
            for failure in &failures {
                writeln!(out, "{}", failure.json())?;
            }
        }
        out.flush()?;
        if well == 0 && failures.len() == 1 {
            return Err(failures.remove(0).error.into());
        }
        if failures.is_empty() {
            return Ok(());
        }
        for failure in &failures {
            eprintln!("failed: {}", failure.error);
        }
        let failed = failures.len();
        let of = well + failed;
        Err(PartlyFailed { failed, of }.into())
    }
}

impl Failure {
    fn json(&self) -> Value {
        let mut object = match &self.thing {
            Value::Object(object) => object.clone(),
            _ => Map::new(),
        };
        object.insert("error".to_owned(), self.error.clone().into());
        object.insert("error_code".to_owned(), self.code.into());
        Value::Object(object)
    }
}

/// A value as it stands in a table.
pub fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_stand_in_a_table_as_people_read_them() {
        for (value, shown) in [
            (json!(null), "-"),
            (json!(""), "-"),
            (json!([]), "-"),
            (json!([1, 2]), "1,2"),
            (json!(true), "yes"),
            (json!("text"), "text"),
            (json!(-7), "-7"),
        ] {
            assert_eq!(cell(&value), shown);
        }
    }

    #[test]
    fn one_thing_that_fails_is_the_error_and_several_are_counted() {
        let listing = |well: usize, failed: usize| {
            let mut listing = Listing::new(Form { json: true }, &[]);
            (0..well).for_each(|number| listing.done(json!({"n": number}), "done"));
            (0..failed).for_each(|_| listing.wrong(json!({}), "it is wrong"));
            listing.end().map_err(|error| error.to_string())
        };
        assert_eq!(listing(2, 0), Ok(()));
        assert_eq!(listing(0, 1), Err("it is wrong".to_owned()));
        assert_eq!(listing(1, 1), Err("1 of 2 failed".to_owned()));
        assert_eq!(listing(0, 2), Err("2 of 2 failed".to_owned()));
    }

    #[test]
    fn what_failed_is_named_with_its_error_and_its_code() {
        let failure = Failure {
            thing: json!({"topic": "t"}),
            error: "no".to_owned(),
            code: Some("UNKNOWN_TOPIC_OR_PARTITION"),
        };
        let expected =
            json!({"topic": "t", "error": "no", "error_code": "UNKNOWN_TOPIC_OR_PARTITION"});
        assert_eq!(failure.json(), expected);
    }
}
