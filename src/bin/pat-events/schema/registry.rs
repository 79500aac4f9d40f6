//! `pat-events schema register|get`: schemas in a registry. In: files, or ids and subjects. Out: ids, or texts.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use pat_events::events::codec::{
    NewSchema, RegisteredSchema, RegistryConfig, SchemaKind, SchemaReference, SchemaRegistry,
    SchemaVersion,
};
use serde_json::json;

use crate::Outcome;

/// Which registry, and who asks.
#[derive(Args)]
pub struct Registry {
    /// The registry's URL; commas between several.
    #[arg(short, long, env = "SCHEMA_REGISTRY_URL", value_name = "URL")]
    registry: String,
    /// An option of the registry's client, by Java's name: basic.auth.user.info=user:password. May be repeated.
    #[arg(short = 'X', long = "option", value_name = "NAME=VALUE")]
    options: Vec<String>,
}

impl Registry {
    fn connect(&self) -> Outcome<SchemaRegistry> {
        let mut config = RegistryConfig::new(&self.registry);
        for option in &self.options {
            let (name, value) = option.split_once('=').ok_or("an option is NAME=VALUE")?;
            config.set(name, value)?;
        }
        Ok(SchemaRegistry::new(config)?)
    }
}

/// Register a schema under a subject, or only look whether it could be.
///
/// Prints its id. What is there already changes nothing. The exit status is 1 when the registry refuses it.
#[derive(Args)]
pub struct Register {
    #[command(flatten)]
    registry: Registry,
    /// The subject: usually the topic's name and "-value".
    subject: String,
    /// The schema: a .proto, .avsc or .json file.
    file: PathBuf,
    /// A schema that it names, registered before. May be repeated.
    #[arg(long, value_name = "NAME:SUBJECT:VERSION", value_parser = reference)]
    reference: Vec<SchemaReference>,
    /// Only ask whether it is compatible with the newest version.
    #[arg(long)]
    dry_run: bool,
}

/// Print a schema of a registry.
#[derive(Args)]
pub struct Get {
    #[command(flatten)]
    registry: Registry,
    /// The subject.
    #[arg(required_unless_present = "id", conflicts_with = "id")]
    subject: Option<String>,
    /// Its version; the newest when it is left out.
    // `version` is the flag that prints the program's.
    #[arg(id = "of_version", value_name = "VERSION")]
    version: Option<u32>,
    /// By its id instead.
    #[arg(long)]
    id: Option<u32>,
    /// Print what the registry knows of it as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Names may have colons: the last two parts are subject and version.
fn reference(text: &str) -> Result<SchemaReference, String> {
    let mut parts = text.rsplitn(3, ':');
    match (parts.next().map(str::parse), parts.next(), parts.next()) {
        (Some(Ok(version)), Some(subject), Some(name)) => {
            Ok(SchemaReference::new(name, subject, version))
        }
        _ => Err("a reference is NAME:SUBJECT:VERSION".to_string()),
    }
}

impl Register {
    pub async fn run(self) -> Outcome {
        let kind = match self.file.extension().and_then(|it| it.to_str()) {
            Some("proto") => SchemaKind::Protobuf,
            Some("avsc") => SchemaKind::Avro,
            Some("json") => SchemaKind::Json,
            _ => return Err("the schema's file is none of .proto, .avsc and .json".into()),
        };
        let text = fs::read_to_string(&self.file)
            .map_err(|error| format!("{}: {error}", self.file.display()))?;
        let mut schema = NewSchema::new(kind, &text);
        schema.references = self.reference;
        let registry = self.registry.connect()?;
        if !self.dry_run {
            let id = registry.register(&self.subject, &schema).await?.id;
            println!("{}", id.unwrap_or_default());
            return Ok(());
        }
        let verdict = registry
            .compatibility(&self.subject, SchemaVersion::Latest, &schema)
            .await?;
        match verdict.is_compatible {
            true => Ok(()),
            false => Err(format!(
                "incompatible with the newest version of {}: {}",
                self.subject,
                verdict.messages.join("; ")
            )
            .into()),
        }
    }
}

impl Get {
    pub async fn run(self) -> Outcome {
        let registry = self.registry.connect()?;
        let schema = match (self.id, &self.subject) {
            (Some(id), _) => registry.schema_by_id(id).await?,
            (None, Some(subject)) => {
                let version = self
                    .version
                    .map_or(SchemaVersion::Latest, SchemaVersion::Number);
                registry.version(subject, version).await?
            }
            (None, None) => return Err("neither a subject nor an id".into()),
        };
        match self.json {
            true => println!("{}", shown(&schema)),
            false => println!("{}", schema.text),
        }
        Ok(())
    }
}

fn shown(schema: &RegisteredSchema) -> serde_json::Value {
    let references = schema.references.iter();
    let references =
        references.map(|it| json!({"name": it.name, "subject": it.subject, "version": it.version}));
    json!({
        "id": schema.id,
        "guid": schema.guid.map(|guid| guid.to_string()),
        "subject": schema.subject,
        "version": schema.version,
        "schemaType": schema.kind.name(),
        "schema": schema.text,
        "references": references.collect::<Vec<_>>(),
    })
}
