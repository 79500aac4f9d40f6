//! The tables say what Kafka's definitions say: every message, field, type, version, null, default, tag and mark; and what
//! they leave out is what [`LEFT_OUT`] names.

use std::collections::{BTreeMap, BTreeSet};

use pat_kafka_protocol::api::Codec;
use pat_kafka_protocol::messages::{APIS, codecs};
use pat_kafka_protocol::schema::{FieldSchema, FieldType, StructSchema};

use crate::definitions::{self, Definition, Field, implied};
use crate::support::java::Jdk;

const DEFINITIONS: usize = 203;

const GONE: &str = "no version left since Kafka 4.0";
const INTERNAL: &str = "spoken between controllers and brokers only";
/// The APIs that the tables leave out, and why.
const LEFT_OUT: [(&str, &str); 16] = [
    ("AllocateProducerIds", INTERNAL),
    ("AlterPartition", INTERNAL),
    ("AssignReplicasToDirs", INTERNAL),
    ("BeginQuorumEpoch", INTERNAL),
    ("BrokerHeartbeat", INTERNAL),
    ("BrokerRegistration", INTERNAL),
    ("ControlledShutdown", GONE),
    ("ControllerRegistration", INTERNAL),
    ("EndQuorumEpoch", INTERNAL),
    ("Envelope", INTERNAL),
    ("FetchSnapshot", INTERNAL),
    ("LeaderAndIsr", GONE),
    ("StopReplica", GONE),
    ("UpdateMetadata", GONE),
    ("UpdateRaftVoter", INTERNAL),
    ("Vote", INTERNAL),
];

#[derive(Default)]
struct Comparison {
    messages: usize,
    versions: usize,
    fields: usize,
    differences: Vec<String>,
}

pub fn compare(_: &Jdk) {
    let definitions = definitions::all();
    assert_eq!(
        definitions.len(),
        DEFINITIONS,
        "the number of Kafka's definitions"
    );
    let ours: BTreeMap<&str, &Codec> = codecs().map(|codec| (codec.schema.name, codec)).collect();

    let mut comparison = Comparison::default();
    let mut left_out = BTreeSet::new();
    for definition in &definitions {
        match ours.get(definition.name()) {
            Some(codec) => comparison.message(definition, codec),
            None => {
                let reason = reason(definition, &definitions);
                left_out.insert((definition.name().to_owned(), reason));
            }
        }
    }
    for name in ours.keys().filter(|name| {
        !definitions
            .iter()
            .any(|definition| definition.name() == **name)
    }) {
        comparison
            .differences
            .push(format!("{name}: Kafka has no such message"));
    }

    let Comparison {
        messages,
        versions,
        fields,
        differences,
    } = comparison;
    println!(
        "parity: {messages} messages, {versions} versions, {fields} fields of {DEFINITIONS} definitions compared; {} left out",
        left_out.len()
    );
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
    let both = |(api, reason)| ["Request", "Response"].map(|kind| (format!("{api}{kind}"), reason));
    assert_eq!(left_out, LEFT_OUT.into_iter().flat_map(both).collect());
}

/// Why a definition need not be in the tables, by what Kafka says of it.
fn reason(definition: &Definition, all: &[Definition]) -> &'static str {
    let same_api =
        |other: &&Definition| other.kind() == "request" && other.api_key() == definition.api_key();
    let request = definition.api_key().and_then(|_| all.iter().find(same_api));
    match request {
        _ if definition.versions().is_none() => GONE,
        Some(request) if !request.on_client_listeners() => INTERNAL,
        _ => "for no reason",
    }
}

impl Comparison {
    fn message(&mut self, definition: &Definition, codec: &Codec) {
        let schema = codec.schema;
        self.messages += 1;
        self.versions += schema.versions.iter().count();
        self.same(
            schema.name,
            "versions",
            Some(schema.versions),
            definition.versions(),
        );
        self.same(
            schema.name,
            "first flexible version",
            schema.first_flexible,
            definition.first_flexible(),
        );
        if matches!(definition.kind(), "request" | "response") {
            let is_it = |api: &&pat_kafka_protocol::api::Api| {
                [api.request.schema.name, api.response.schema.name].contains(&schema.name)
            };
            let key = APIS.iter().find(is_it).map(|api| i64::from(api.key.0));
            self.same(schema.name, "API key", key, definition.api_key());
        }
        self.structure(schema.name, schema.body, &definition.fields(), definition);
    }

    fn structure(
        &mut self,
        path: &str,
        ours: &StructSchema,
        theirs: &[Field<'_>],
        definition: &Definition,
    ) {
        let names = ours
            .fields
            .iter()
            .map(|field| field.name().to_owned())
            .collect::<Vec<_>>();
        self.same(
            path,
            "fields",
            names,
            theirs
                .iter()
                .map(|field| snake_case(field.name()))
                .collect(),
        );
        for (ours, theirs) in ours.fields.iter().zip(theirs) {
            self.field(
                &format!("{path}.{}", theirs.name()),
                ours,
                *theirs,
                definition,
            );
        }
    }

    fn field(
        &mut self,
        path: &str,
        ours: &FieldSchema,
        theirs: Field<'_>,
        definition: &Definition,
    ) {
        self.fields += 1;
        self.same(path, "type", kind(ours.ty), theirs.kind().to_owned());
        self.same(path, "versions", ours.versions, theirs.versions());
        self.same(path, "nullable versions", ours.nullable, theirs.nullable());
        self.same(path, "default", default(ours), theirs.default());
        self.same(path, "tag", ours.tag.map(u64::from), theirs.tag());
        self.same(
            path,
            "tagged versions",
            ours.tag.map(|_| ours.versions),
            theirs.tagged(),
        );
        self.same(path, "ignorable", ours.ignorable, theirs.ignorable());
        self.same(path, "compact", ours.compact, theirs.compact());
        if let FieldType::Struct(inner) | FieldType::Array(&FieldType::Struct(inner)) = ours.ty {
            self.structure(path, inner, &definition.structure(theirs), definition);
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, path: &str, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences
                .push(format!("{path}: {what} {ours:?}, Kafka's {theirs:?}"));
        }
    }
}

/// The type as Kafka writes it.
fn kind(ty: FieldType) -> String {
    match ty {
        FieldType::Bool => "bool".into(),
        FieldType::Int8 => "int8".into(),
        FieldType::Int16 | FieldType::ErrorCode => "int16".into(),
        FieldType::Uint16 => "uint16".into(),
        FieldType::Int32 => "int32".into(),
        FieldType::Uint32 => "uint32".into(),
        FieldType::Int64 => "int64".into(),
        FieldType::Float64 => "float64".into(),
        FieldType::Uuid => "uuid".into(),
        FieldType::String => "string".into(),
        FieldType::Bytes => "bytes".into(),
        FieldType::Records => "records".into(),
        FieldType::Array(element) => format!("[]{}", kind(*element)),
        FieldType::Struct(schema) => schema.name.into(),
    }
}

/// The default as Kafka would write it.
fn default(field: &FieldSchema) -> String {
    match field.default {
        Some("None") => "null".into(),
        Some("i32::MIN") => i32::MIN.to_string(),
        Some("i32::MAX") => i32::MAX.to_string(),
        Some("i64::MAX") => i64::MAX.to_string(),
        Some(text) => text.replace(' ', ""),
        None if matches!(field.ty, FieldType::Records)
            && field.nullable.min <= field.nullable.max =>
        {
            "null".into()
        }
        None => implied(&kind(field.ty)).into(),
    }
}

/// `topicIDs` is `topic_ids`, `KRaftVersion` is `k_raft_version`: as the tables write Kafka's names.
fn snake_case(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (at, c) in chars.iter().enumerate() {
        let after_word = at > 0 && !chars[at - 1].is_uppercase();
        let before_word = at > 0 && chars.get(at + 1).is_some_and(|next| next.is_lowercase());
        if c.is_uppercase() && (after_word || before_word) {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}
