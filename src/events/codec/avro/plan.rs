//! Schema resolution: how a reader with its schema reads what a writer wrote with another. In: both schemas. Out: a table of steps, found once
//! for the pair and followed for each event.

use std::collections::HashMap;

use super::schema::{Enum, Id, Node, Record, Schema};
use super::{AvroError, decimal};

/// The place of a step in its plan.
pub(super) type StepId = usize;

/// How to read a datum.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    pub root: StepId,
}

/// What comes next in the bytes, as the writer has put it there.
#[derive(Debug)]
pub(super) enum Step {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    /// Of a decimal with how many decimals.
    Bytes(Option<usize>),
    String,
    /// Its size, likewise.
    Fixed(usize, Option<usize>),
    /// The reader's symbol for each of the writer's; `None` where it has none.
    Enum(Vec<Option<String>>),
    Array(StepId),
    Map(StepId),
    Union(Vec<StepId>),
    Record(RecordStep),
    /// What the reader cannot read: only an error when it comes.
    Mismatch(String),
}

#[derive(Debug)]
pub(super) struct RecordStep {
    /// The reader's short name.
    pub name: String,
    pub fields: Vec<FieldStep>,
    /// What the writer did not know: the reader's name, and the default.
    pub defaults: Vec<(String, Vec<u8>, StepId)>,
}

#[derive(Debug)]
pub(super) struct FieldStep {
    /// What the reader calls it; `None` where it does not have it, and passes it over.
    pub name: Option<String>,
    pub step: StepId,
}

impl Plan {
    pub fn new(writer: &Schema, reader: &Schema) -> Result<Self, AvroError> {
        let mut planner = Planner {
            writer,
            reader,
            steps: Vec::new(),
            known: HashMap::new(),
        };
        let root = planner.resolve(writer.root, Some(reader.root));
        let steps = planner.steps.into_iter();
        let steps: Vec<Step> = steps.map(|step| step.unwrap_or(Step::Null)).collect();
        if let Step::Mismatch(why) = &steps[root] {
            return Err(AvroError::new(why.clone()));
        }
        Ok(Self { steps, root })
    }

    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id]
    }
}

struct Planner<'a> {
    writer: &'a Schema,
    reader: &'a Schema,
    /// `None` while it is being found, for those within it that lead to it.
    steps: Vec<Option<Step>>,
    /// By the writer's node and the reader's (`None`: it is passed over), and by the reader's alone, for defaults.
    known: HashMap<(Option<Id>, Option<Id>), StepId>,
}

impl Planner<'_> {
    /// How what `written` wrote is read as `read`, or passed over.
    fn resolve(&mut self, written: Id, read: Option<Id>) -> StepId {
        if let Some(known) = self.known.get(&(Some(written), read)) {
            return *known;
        }
        let id = self.reserve((Some(written), read));
        let step = match read {
            Some(read) => self.pair(written, read),
            None => self.passed(written),
        };
        self.steps[id] = Some(step);
        id
    }

    fn reserve(&mut self, key: (Option<Id>, Option<Id>)) -> StepId {
        self.steps.push(None);
        self.known.insert(key, self.steps.len() - 1);
        self.steps.len() - 1
    }

    fn pair(&mut self, written: Id, read: Id) -> Step {
        let (writer, reader) = (self.writer, self.reader);
        match (writer.node(written), reader.node(read)) {
            (Node::Union(branches), _) => Step::Union(
                branches
                    .iter()
                    .map(|it| self.resolve(*it, Some(read)))
                    .collect(),
            ),
            (_, Node::Union(branches)) => {
                // The first that is the same, or else the first that it can be promoted to.
                let same = branches.iter().find(|it| self.matches(written, **it, true));
                let found = same.or_else(|| {
                    branches
                        .iter()
                        .find(|it| self.matches(written, **it, false))
                });
                match found {
                    Some(branch) => self.pair(written, *branch),
                    None => self.mismatch(written, read),
                }
            }
            _ if !self.matches(written, read, false) => self.mismatch(written, read),
            (Node::Array(written), Node::Array(read)) => {
                Step::Array(self.resolve(*written, Some(*read)))
            }
            (Node::Map(written), Node::Map(read)) => Step::Map(self.resolve(*written, Some(*read))),
            (Node::Enum(written), Node::Enum(read)) => Step::Enum(symbols(written, read)),
            (Node::Record(written), Node::Record(read)) => self.record(written, read),
            (written, _) => primitive(written),
        }
    }

    fn record(&mut self, written: &Record, read: &Record) -> Step {
        let called = |field: &super::schema::Field, name: &str| {
            field.name == name || field.aliases.iter().any(|alias| alias == name)
        };
        let fields = written.fields.iter().map(|field| {
            let same = read.fields.iter().find(|it| it.name == field.name);
            let found = same.or_else(|| read.fields.iter().find(|it| called(it, &field.name)));
            FieldStep {
                name: found.map(|it| it.name.clone()),
                step: self.resolve(field.node, found.map(|it| it.node)),
            }
        });
        let fields: Vec<FieldStep> = fields.collect();
        let mut defaults = Vec::new();
        for field in &read.fields {
            if fields
                .iter()
                .any(|it| it.name.as_ref() == Some(&field.name))
            {
                continue;
            }
            let Some(default) = &field.default else {
                return Step::Mismatch(format!(
                    "{} was written without {}, which has no default",
                    read.name.full, field.name
                ));
            };
            let step = self.of_reader(field.node);
            defaults.push((field.name.clone(), default.clone(), step));
        }
        Step::Record(RecordStep {
            name: read.name.short().to_string(),
            fields,
            defaults,
        })
    }

    /// How what the reader's own schema wrote is read with it: its defaults.
    fn of_reader(&mut self, read: Id) -> StepId {
        if let Some(known) = self.known.get(&(None, Some(read))) {
            return *known;
        }
        let id = self.reserve((None, Some(read)));
        let reader = self.reader;
        let step = match reader.node(read) {
            Node::Union(branches) => {
                Step::Union(branches.iter().map(|it| self.of_reader(*it)).collect())
            }
            Node::Array(of) => Step::Array(self.of_reader(*of)),
            Node::Map(of) => Step::Map(self.of_reader(*of)),
            Node::Enum(it) => Step::Enum(symbols(it, it)),
            Node::Record(record) => {
                let fields = record.fields.iter().map(|field| FieldStep {
                    name: Some(field.name.clone()),
                    step: self.of_reader(field.node),
                });
                Step::Record(RecordStep {
                    fields: fields.collect(),
                    name: record.name.short().to_string(),
                    defaults: Vec::new(),
                })
            }
            node => primitive(node),
        };
        self.steps[id] = Some(step);
        id
    }

    /// How what `written` wrote is passed over.
    fn passed(&mut self, written: Id) -> Step {
        let writer = self.writer;
        match writer.node(written) {
            Node::Union(branches) => {
                Step::Union(branches.iter().map(|it| self.resolve(*it, None)).collect())
            }
            Node::Array(of) => Step::Array(self.resolve(*of, None)),
            Node::Map(of) => Step::Map(self.resolve(*of, None)),
            Node::Enum(it) => Step::Enum(symbols(it, it)),
            Node::Record(record) => {
                let fields = record.fields.iter().map(|field| FieldStep {
                    name: None,
                    step: self.resolve(field.node, None),
                });
                Step::Record(RecordStep {
                    fields: fields.collect(),
                    name: String::new(),
                    defaults: Vec::new(),
                })
            }
            node => primitive(node),
        }
    }

    /// Whether one can be read as the other, as far as a look at both shows it.
    fn matches(&self, written: Id, read: Id, exactly: bool) -> bool {
        match (self.writer.node(written), self.reader.node(read)) {
            (Node::Null, Node::Null)
            | (Node::Boolean, Node::Boolean)
            | (Node::Int, Node::Int)
            | (Node::Long, Node::Long)
            | (Node::Float, Node::Float)
            | (Node::Double, Node::Double)
            | (Node::String, Node::String)
            | (Node::Array(_), Node::Array(_))
            | (Node::Map(_), Node::Map(_))
            | (Node::Union(_), Node::Union(_)) => true,
            // A number of another scale would be another number.
            (Node::Bytes(written), Node::Bytes(read)) => {
                written.is_none() || read.is_none() || written == read
            }
            (Node::Fixed(written, size, of), Node::Fixed(read, other, as_of)) => {
                size == other
                    && read.takes(written)
                    && (of.is_none() || as_of.is_none() || of == as_of)
            }
            (Node::Enum(written), Node::Enum(read)) => read.name.takes(&written.name),
            (Node::Record(written), Node::Record(read)) => read.name.takes(&written.name),
            (Node::Int, Node::Long | Node::Float | Node::Double)
            | (Node::Long, Node::Float | Node::Double)
            | (Node::Float, Node::Double)
            | (Node::String, Node::Bytes(None))
            | (Node::Bytes(None), Node::String) => !exactly,
            _ => false,
        }
    }

    fn mismatch(&self, written: Id, read: Id) -> Step {
        let (written, read) = (self.writer.node(written), self.reader.node(read));
        Step::Mismatch(format!(
            "what was written as {} cannot be read as {}",
            written.kind(),
            read.kind()
        ))
    }
}

fn symbols(written: &Enum, read: &Enum) -> Vec<Option<String>> {
    let default = read.default.map(|default| &read.symbols[default]);
    let symbols = written.symbols.iter();
    symbols
        .map(|symbol| {
            let found = read.symbols.iter().find(|it| *it == symbol);
            found.or(default).cloned()
        })
        .collect()
}

/// The step of a node that has no other within.
fn primitive(node: &Node) -> Step {
    match node {
        Node::Null => Step::Null,
        Node::Boolean => Step::Boolean,
        Node::Int => Step::Int,
        Node::Long => Step::Long,
        Node::Float => Step::Float,
        Node::Double => Step::Double,
        Node::Bytes(decimal) => Step::Bytes(decimal.and_then(decimal::places)),
        Node::String => Step::String,
        Node::Fixed(_, size, decimal) => Step::Fixed(*size, decimal.and_then(decimal::places)),
        Node::Enum(_) | Node::Array(_) | Node::Map(_) | Node::Union(_) | Node::Record(_) => {
            Step::Mismatch(format!("{} has a step of its own", node.kind()))
        }
    }
}
