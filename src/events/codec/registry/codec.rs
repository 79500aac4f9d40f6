//! [`Confluent`]: a codec whose data says which schema wrote it.

use std::any::TypeId;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;

use super::cache::Cache;
use super::chain::Chain;
use super::config::IdPlace;
use super::described::{Described, Import, Imports, Reading};
use super::names::{message_at, message_called};
use super::schema::{NewSchema, RegisteredSchema, SchemaKind, SchemaReference, SchemaVersion};
use super::wire::{self, HEADER, SchemaKey};
use super::{RegistryConfig, RegistryError, SchemaRegistry};
use crate::events::Event;
use crate::events::codec::{
    Codec, CodecError, DEEPEST_REFERENCES, Format, Payload, Prepared, is_media_type,
};

/// Places and names of messages that are asked for come with the data: no more than these are kept.
const MOST: usize = 64;

/// A codec whose data says by which of a registry's schemas it was written, as Confluent's serializers do it: behind a frame with the schema's
/// id, or with a header that has its GUID. What has no frame is read as without a registry.
///
/// Keys stay what the event says, without a schema: the id in front of a key would be part of it, so that with each new version of its schema
/// the same key went to another partition, and compaction kept both.
///
/// A producer finds its schema's id when it sends the first event of a type, and a consumer the schema of an id when it first meets it; after
/// that neither waits for the registry.
///
/// ```
/// # fn main() -> pat_events::kafka::Result<()> {
/// use pat_events::events::codec::{Confluent, Protobuf, RegistryConfig};
///
/// let mut config = RegistryConfig::new("https://registry:8081");
/// config.auto_register = true;
/// let codec = Confluent::new(Protobuf, config)?;
/// # let _ = codec;
/// # Ok(()) }
/// ```
///
/// It is named in the set as `codec Confluent<Protobuf>`, and passed to
/// [`EventProducer::with_codec`](crate::events::EventProducer::with_codec) and
/// [`EventConsumer::with_codec`](crate::events::EventConsumer::with_codec). Clones share what they know.
pub struct Confluent<F> {
    format: F,
    registry: SchemaRegistry,
    known: Arc<Known>,
}

struct Known {
    hasher: RandomState,
    /// What goes with the events of a type into a topic.
    frames: Cache<(TypeId, String), Arc<Frame>>,
    schemas: Cache<SchemaKey, Arc<Written>>,
}

/// The frame of the events of one type.
#[derive(Clone, Debug)]
struct Frame {
    prefix: Vec<u8>,
    header: Vec<u8>,
}

/// A schema that something was written by.
struct Written {
    schema: RegisteredSchema,
    /// The texts of what it names, each before those that name it.
    references: Vec<String>,
    /// How its events are read, by type.
    readings: Chain<(TypeId, Result<Reading, CodecError>)>,
    /// The names of its messages, by their places, found so far.
    names: Chain<(Vec<u8>, Option<Arc<str>>)>,
    /// The same by their names without the package.
    full_names: Chain<(String, Option<Arc<str>>)>,
}

impl<F> Confluent<F> {
    /// Encodes by `format`, with schemas of the registry that `config` names.
    ///
    /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is incomplete.
    pub fn new(format: F, config: RegistryConfig) -> crate::kafka::Result<Self> {
        Ok(Self::with(format, SchemaRegistry::new(config)?))
    }

    /// As [`new`](Self::new), for a registry that is there already.
    pub fn with(format: F, registry: SchemaRegistry) -> Self {
        let refusal_ttl = registry.config().refusal_ttl;
        Self {
            format,
            registry,
            known: Arc::new(Known {
                hasher: RandomState::new(),
                frames: Cache::new(refusal_ttl),
                schemas: Cache::new(refusal_ttl),
            }),
        }
    }

    /// The registry.
    pub fn registry(&self) -> &SchemaRegistry {
        &self.registry
    }

    /// The frame of `payload`; `None` where it has none.
    fn framed<'a>(&self, payload: &Payload<'a>) -> Option<wire::Framed<'a>>
    where
        F: Format,
    {
        // What only this writes, in front of the data: the headers need not be looked through.
        if payload.content_type.is_some() && payload.content_type == self.framed_type() {
            return wire::prefixed(payload.data);
        }
        let is_plain = payload
            .content_type
            .is_some_and(|it| self.format.accepts(it));
        match is_plain && payload.headers.last(HEADER).is_none() {
            true => None,
            false => wire::framed(payload.headers, payload.data),
        }
    }

    async fn written(&self, key: SchemaKey) -> Result<Arc<Written>, RegistryError> {
        let hash = self.known.hasher.hash_one(key);
        if let Some(known) = self.known.schemas.get(hash, |it| *it == key) {
            return Ok(known.clone());
        }
        let registry = self.registry.clone();
        self.known
            .schemas
            .get_or_fetch(hash, key, || written(registry, key))
            .await
    }
}

async fn written(registry: SchemaRegistry, key: SchemaKey) -> Result<Arc<Written>, RegistryError> {
    let schema = match key {
        SchemaKey::Id(id) => registry.schema_by_id(id).await?,
        SchemaKey::Guid(guid) => registry.schema_by_guid(guid).await?,
    };
    // Protobuf's data is read without them.
    let mut references: Vec<String> = Vec::new();
    if schema.kind == SchemaKind::Avro {
        for (_, schema) in registry.references(&schema).await? {
            // Under several names, perhaps, or subjects.
            if !references.contains(&schema.text) {
                references.push(schema.text);
            }
        }
    }
    Ok(Arc::new(Written {
        schema,
        references,
        readings: Chain::new(),
        names: Chain::new(),
        full_names: Chain::new(),
    }))
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// What one names, registered or found under the names that it has there: each once, whoever else names it.
fn imported<'a, I: Import>(
    registry: &'a SchemaRegistry,
    imports: &'static [&'static I],
    known: &'a mut Vec<SchemaReference>,
    depth: usize,
) -> Boxed<'a, Vec<SchemaReference>> {
    Box::pin(async move {
        if depth > DEEPEST_REFERENCES {
            return Err(RegistryError::permanent(format!(
                "schemas name each other more than {DEEPEST_REFERENCES} deep"
            )));
        }
        let mut references = Vec::new();
        for import in imports {
            let name = import.name()?;
            let found = known.iter().find(|it| it.name == name).cloned();
            let reference = match found {
                Some(reference) => reference,
                None => {
                    let mut schema = NewSchema::new(I::KIND, import.text());
                    schema.references =
                        imported(registry, import.imports(), known, depth + 1).await?;
                    if registry.config().auto_register {
                        registry.register(name, &schema).await?;
                    }
                    let found = registry.look_up(name, &schema).await?;
                    let version = found.version.ok_or_else(|| {
                        let message = "the registry does not say which version was found";
                        RegistryError::unavailable(format!("{name}: {message}"))
                    })?;
                    let reference = SchemaReference::new(name, name, version);
                    known.push(reference.clone());
                    reference
                }
            };
            references.push(reference);
        }
        Ok(references)
    })
}

/// What a frame is made of.
struct Sought {
    subject: String,
    schema: NewSchema,
    imports: Imports,
    indexes: Vec<u32>,
}

async fn frame(registry: SchemaRegistry, sought: Sought) -> Result<Arc<Frame>, RegistryError> {
    let Sought {
        subject,
        mut schema,
        imports,
        indexes,
    } = sought;
    let config = registry.config();
    let found = match config.use_latest_version {
        true => registry.version(&subject, SchemaVersion::Latest).await?,
        false => {
            let mut known = Vec::new();
            schema.references = match imports {
                Imports::None => Vec::new(),
                Imports::Protobuf(files) => imported(&registry, files, &mut known, 0).await?,
                #[cfg(feature = "avro")]
                Imports::Avro(schemas) => imported(&registry, schemas, &mut known, 0).await?,
            };
            match config.auto_register {
                true => registry.register(&subject, &schema).await?,
                false => registry.look_up(&subject, &schema).await?,
            }
        }
    };
    let missing = |what: &str| {
        RegistryError::permanent(format!(
            "the registry has no {what} for the schema of {subject}"
        ))
    };
    Ok(Arc::new(match config.id_place {
        IdPlace::Prefix => Frame {
            prefix: wire::prefix(found.id.ok_or_else(|| missing("id"))?, &indexes),
            header: Vec::new(),
        },
        IdPlace::Header => {
            let guid = match (found.guid, found.id) {
                (None, Some(id)) => registry.schema_by_id(id).await?.guid,
                (guid, _) => guid,
            };
            let guid = guid.ok_or_else(|| missing("GUID (registries have them since Confluent Platform 8: take PrefixSchemaIdSerializer)"))?;
            Frame {
                prefix: Vec::new(),
                header: wire::header(guid, &indexes),
            }
        }
    }))
}

impl Written {
    fn is_protobuf(&self) -> bool {
        self.schema.kind == SchemaKind::Protobuf
    }

    fn reading<E: 'static, F: Described<E>>(&self, format: &F) -> Result<&Reading, CodecError> {
        let wanted = TypeId::of::<E>();
        let make = || {
            let references: Vec<&str> = self.references.iter().map(String::as_str).collect();
            (wanted, format.reading(&self.schema, &references))
        };
        let (_, reading) = self.readings.find_or_add(|(of, _)| *of == wanted, make);
        reading.as_ref().map_err(CodecError::clone)
    }

    /// The name of the message of Protobuf that was written, where the schema says so, and the data behind the frame.
    fn name_and_data<'a>(
        &self,
        framed: wire::Framed<'a>,
    ) -> Result<(Option<Arc<str>>, &'a [u8]), CodecError> {
        let placed = framed.split(self.is_protobuf());
        let placed = placed
            .ok_or_else(|| CodecError::malformed("the frame with the id of a schema is cut off"));
        if !self.is_protobuf() {
            return placed.map(|(_, data)| (None, data));
        }
        if let Ok((place, data)) = placed
            && let Some(name) = self.name(place)
        {
            return Ok((Some(name), data));
        }
        if let Some((name, data)) = framed.split_named()
            && let Some(name) = self.full_name(name)
        {
            return Ok((Some(name), data));
        }
        let (place, data) = placed?;
        match self.name(&[0]) {
            // Read as something else, the data would be misread.
            Some(_) => Err(CodecError::malformed(format!(
                "the schema of the data has no message at the place {:?} that its frame names",
                wire::indexes(place).unwrap_or_default()
            ))),
            // The file is written in a way that is not understood here.
            None => Ok((None, data)),
        }
    }

    fn full_name(&self, name: &str) -> Option<Arc<str>> {
        let find = || message_called(&self.schema.text, name).map(Arc::from);
        let make = || (name.to_owned(), find());
        let known = (self.full_names).find_or_add_within(MOST, |(known, _)| known == name, make);
        known.map_or_else(find, |(_, full)| full.clone())
    }

    /// The name of the record or message that was written; `None` where the schema does not say.
    fn name(&self, place: &[u8]) -> Option<Arc<str>> {
        let make = || (place.to_vec(), self.find_name(place));
        let known = (self.names).find_or_add_within(MOST, |(known, _)| known == place, make);
        match known {
            Some((_, name)) => name.clone(),
            None => self.find_name(place),
        }
    }

    fn find_name(&self, place: &[u8]) -> Option<Arc<str>> {
        let json = || serde_json::from_str::<Value>(&self.schema.text).ok();
        let text = |json: &Value, key: &str| Some(json.get(key)?.as_str()?.to_string());
        let name = match self.schema.kind {
            SchemaKind::Protobuf => message_at(&self.schema.text, &wire::indexes(place)?)?,
            SchemaKind::Json => text(&json()?, "title")?,
            SchemaKind::Avro => {
                let json = json()?;
                // One that is nothing but the name of what it refers to.
                if let Some(name) = json.as_str().filter(|name| name.contains('.')) {
                    return Some(name.into());
                }
                let name = text(&json, "name")?;
                match text(&json, "namespace") {
                    Some(namespace) if !name.contains('.') && !namespace.is_empty() => {
                        format!("{namespace}.{name}")
                    }
                    _ => name,
                }
            }
        };
        Some(name.into())
    }
}

/// An event with its frame.
#[derive(Debug)]
pub struct Framed<P> {
    frame: Arc<Frame>,
    event: P,
}

impl<P: Prepared + Sync> Prepared for Framed<P> {
    fn encoded_len(&self) -> usize {
        self.frame.prefix.len() + self.event.encoded_len()
    }

    fn header(&self) -> Option<(&'static str, &[u8])> {
        let header = &self.frame.header[..];
        (!header.is_empty()).then_some((HEADER, header))
    }
}

/// The content types of framed data.
const FRAMED: [(&str, &str); 3] = [
    ("application/protobuf", "application/vnd.confluent.protobuf"),
    ("application/avro", "application/vnd.confluent.avro"),
    ("application/json", "application/vnd.confluent.json"),
];

impl<F: Format> Confluent<F> {
    /// What data with a frame in front of it is said to be.
    fn framed_type(&self) -> Option<&'static str> {
        let plain = self.format.content_type();
        let framed = FRAMED.iter().find(|(it, _)| *it == plain);
        framed.map(|(_, framed)| *framed)
    }
}

impl<F: Format<Prepared: Sync>> Format for Confluent<F> {
    type Prepared = Framed<F::Prepared>;

    /// What the format says where the id goes into a header; otherwise `application/vnd.confluent.…`, for the data is not what the format says.
    fn content_type(&self) -> &'static str {
        match (self.registry.config().id_place, self.framed_type()) {
            (IdPlace::Prefix, Some(framed)) => framed,
            _ => self.format.content_type(),
        }
    }

    fn accepts(&self, content_type: &str) -> bool {
        let is_framed = |(plain, framed): &(&str, &str)| {
            is_media_type(content_type, framed) && self.format.accepts(plain)
        };
        self.framed_type() == Some(content_type)
            || self.format.accepts(content_type)
            || FRAMED.iter().any(is_framed)
    }

    async fn event_type(&self, payload: &Payload<'_>) -> Result<Option<Arc<str>>, CodecError> {
        let Some(framed) = self.framed(payload) else {
            return self.format.event_type(payload).await;
        };
        match self.written(framed.key).await {
            Ok(written) if written.is_protobuf() => {
                Ok(written.name_and_data(framed).ok().and_then(|it| it.0))
            }
            Ok(written) => Ok(written.name(&[])),
            // A record of somebody else's may begin with a zero.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl<E: Event, F: Described<E> + Format<Prepared: Sync>> Codec<E> for Confluent<F> {
    async fn prepare(&self, topic: &str, event: &E) -> Result<Self::Prepared, CodecError> {
        let of = TypeId::of::<E>();
        let hash = self.known.hasher.hash_one((of, topic));
        let frames = &self.known.frames;
        let frame = match frames.get(hash, |(it, known)| *it == of && known == topic) {
            Some(frame) => frame.clone(),
            None => {
                let is_protobuf = self.format.kind() == SchemaKind::Protobuf;
                let protobuf = self.format.protobuf().filter(|_| is_protobuf);
                let sought = Sought {
                    subject: self
                        .registry
                        .config()
                        .subject_name_strategy
                        .subject(topic, self.format.name()?),
                    schema: NewSchema::new(self.format.kind(), self.format.text()?),
                    imports: self.format.imports(),
                    indexes: protobuf.map_or(Vec::new(), |it| it.indexes.to_vec()),
                };
                let registry = self.registry.clone();
                let fetched =
                    frames.get_or_fetch(hash, (of, topic.to_string()), || frame(registry, sought));
                fetched.await?
            }
        };
        let event = self.format.prepare(topic, event).await?;
        Ok(Framed { frame, event })
    }

    fn write(&self, event: &E, prepared: &Self::Prepared, out: &mut [u8]) {
        let (prefix, data) = out.split_at_mut(prepared.frame.prefix.len());
        prefix.copy_from_slice(&prepared.frame.prefix);
        self.format.write(event, &prepared.event, data);
    }

    async fn decode(&self, payload: &Payload<'_>) -> Result<E, CodecError> {
        let Some(framed) = self.framed(payload) else {
            let is_framed = payload
                .content_type
                .is_some_and(|it| !self.format.accepts(it));
            return match is_framed {
                true => Err(CodecError::malformed(
                    "the data has no frame with the id of a schema, or it is cut off",
                )),
                false => self.format.decode(payload).await,
            };
        };
        let written = self.written(framed.key).await?;
        let reading = written.reading::<E, F>(&self.format)?;
        let (name, data) = written.name_and_data(framed)?;
        if let Some(name) = name
            && let Some(expected) = self.format.protobuf()
            && *name != *expected.name
        {
            // Fields of another message would be read as if they were this one's.
            let (key, expected) = (framed.key, expected.name);
            return Err(CodecError::malformed(format!(
                "the data was written as {name} ({key:?} of the registry), and is read as {expected}"
            )));
        }
        self.format
            .read(reading, &Payload { data, ..*payload })
            .await
    }
}

impl<F: Clone> Clone for Confluent<F> {
    fn clone(&self) -> Self {
        Self {
            format: self.format.clone(),
            registry: self.registry.clone(),
            known: self.known.clone(),
        }
    }
}

impl<F> fmt::Debug for Confluent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confluent")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}
