//! Where the registry is, who the client says it is, and what it may do there: by field, or by the names that Java's serializers have for it.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::schema::config_error;
use crate::kafka::config::security::{
    CERTIFICATE, HOST_NAME, PEM_FILE, PEM_KEY, PEM_TEXT, STORE_TYPE, TLS_VERSIONS,
};
use crate::kafka::config::values::{FLAG, Kind, MILLIS, POSITIVE_MILLIS, SECRET, TEXT, list};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::{Result, Secret, TlsConfig, TokenProvider};

/// Where the registry is, who the client says it is, and what it may do there.
///
/// ```
/// use pat_events::events::codec::RegistryConfig;
///
/// let config = RegistryConfig::from_properties([
///     ("schema.registry.url", "https://registry-1:8081,https://registry-2:8081"),
///     ("basic.auth.credentials.source", "USER_INFO"),
///     ("basic.auth.user.info", "alice:secret"),
///     (
///         "value.subject.name.strategy",
///         "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy",
///     ),
/// ])?;
/// assert!(!config.auto_register);
/// # Ok::<(), pat_events::kafka::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RegistryConfig {
    /// `schema.registry.url`: where it is; commas between several, which are asked one after the other until one responds. Needed.
    pub urls: Vec<String>,
    /// `basic.auth.credentials.source`: where user and password stand. Default: in `basic.auth.user.info`.
    pub credentials_source: CredentialsSource,
    /// `basic.auth.user.info`, `schema.registry.basic.auth.user.info`: `user:password`. Default none.
    pub user_info: Option<Secret>,
    /// `bearer.auth.token`: a token that does not change. Default none.
    pub bearer_token: Option<Secret>,
    /// Whom to ask for a token, before each request. Default none. It goes before the others.
    pub token_provider: Option<Arc<dyn TokenProvider>>,
    /// `schema.registry.ssl.*`: whom to trust, and which certificate to show.
    pub tls: TlsConfig,
    /// `value.subject.name.strategy`: the subject that a schema is registered under. Default: the topic's name and `-value`.
    pub subject_name_strategy: SubjectNameStrategy,
    /// `auto.register.schemas`: whether a producer registers its schemas when they are not there. Default no: then an event whose schema is not
    /// there cannot be sent.
    pub auto_register: bool,
    /// `use.latest.version`: whether a producer takes the newest schema of the subject for its own, without comparing them. Default no.
    pub use_latest_version: bool,
    /// `normalize.schemas`: whether the registry overlooks how schemas are laid out. Default no.
    pub normalize: bool,
    /// `value.schema.id.serializer`: where the id of the schema goes. Default: in front of the data.
    pub id_place: IdPlace,
    /// `context.name`: the part of the registry that all subjects are in, unless they say otherwise (`:.context:subject`). Default: none.
    pub context: Option<String>,
    /// `http.connect.timeout.ms`: how long connecting may take. Default 10 s.
    pub connect_timeout: Duration,
    /// `http.read.timeout.ms`: how long a response may take. Default 10 s.
    pub read_timeout: Duration,
    /// `max.retries`: how often everything is tried again after what may pass. Default 3.
    pub max_retries: usize,
    /// `retries.wait.ms`: the pause before the first repetition; each is twice as long as the one before. Default 1 s.
    pub retry_backoff: Duration,
    /// `retries.max.wait.ms`: the longest pause. Default 20 s.
    pub retry_backoff_max: Duration,
    /// `schema.registry.timeout.ms`: how long a question may take with all its repetitions. Default 30 s.
    pub timeout: Duration,
    /// `missing.schema.cache.ttl.ms`: for how long a refusal counts before the registry is asked again; what may pass is never kept.
    /// Default 60 s.
    pub refusal_ttl: Duration,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            credentials_source: CredentialsSource::default(),
            user_info: None,
            bearer_token: None,
            token_provider: None,
            tls: TlsConfig::default(),
            subject_name_strategy: SubjectNameStrategy::default(),
            auto_register: false,
            use_latest_version: false,
            normalize: false,
            id_place: IdPlace::default(),
            context: None,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            max_retries: 3,
            retry_backoff: Duration::from_secs(1),
            retry_backoff_max: Duration::from_secs(20),
            timeout: Duration::from_secs(30),
            refusal_ttl: Duration::from_secs(60),
        }
    }
}

impl RegistryConfig {
    /// The defaults, with the URL of a registry; commas between several.
    pub fn new(urls: &str) -> Self {
        Self {
            urls: list(urls),
            ..Self::default()
        }
    }

    /// The subject with its context.
    pub(super) fn in_context(&self, subject: &str) -> String {
        match &self.context {
            Some(context) if !subject.starts_with(":.") => format!(":.{context}:{subject}"),
            _ => subject.to_string(),
        }
    }
}

/// Where user and password stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsSource {
    /// `USER_INFO`: in `basic.auth.user.info`.
    #[default]
    UserInfo,
    /// `URL`: in the URL: `https://user:password@host`.
    Url,
}

impl FromStr for CredentialsSource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "USER_INFO" => Ok(Self::UserInfo),
            "URL" => Ok(Self::Url),
            _ => Err(()),
        }
    }
}

/// The subject that a schema is registered under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectNameStrategy {
    /// `TopicNameStrategy`: the topic and `-value`. One schema for all events of a topic: not for sets of several.
    #[default]
    Topic,
    /// `RecordNameStrategy`: the full name of the record or message.
    Record,
    /// `TopicRecordNameStrategy`: the topic, `-`, and that name.
    TopicRecord,
}

impl SubjectNameStrategy {
    pub(super) fn subject(self, topic: &str, record: &str) -> String {
        match self {
            Self::Topic => format!("{topic}-value"),
            Self::Record => record.to_string(),
            Self::TopicRecord => format!("{topic}-{record}"),
        }
    }
}

/// Reads the name of Java's class, with or without its package.
impl FromStr for SubjectNameStrategy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.rsplit('.').next() {
            Some("TopicNameStrategy") => Ok(Self::Topic),
            Some("RecordNameStrategy") => Ok(Self::Record),
            Some("TopicRecordNameStrategy") => Ok(Self::TopicRecord),
            _ => Err(()),
        }
    }
}

/// Where the id of the schema goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdPlace {
    /// `PrefixSchemaIdSerializer`: in front of the data.
    #[default]
    Prefix,
    /// `HeaderSchemaIdSerializer`: in the header `__value_schema_id`, by its GUID, which registries have since Confluent Platform 8. The data
    /// stays what it is without a registry.
    Header,
}

/// Reads the name of Java's class, with or without its package.
impl FromStr for IdPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.rsplit('.').next() {
            Some("PrefixSchemaIdSerializer") => Ok(Self::Prefix),
            Some("HeaderSchemaIdSerializer") => Ok(Self::Header),
            _ => Err(()),
        }
    }
}

const URLS: Kind<Vec<String>> = Kind {
    allowed: "https://host:port or http://host:port, commas between several",
    read: |text| Some(list(text)).filter(|urls| !urls.is_empty()),
    holds: |urls| {
        (urls.iter()).all(|url| url.starts_with("https://") || url.starts_with("http://"))
    },
    // A password may stand in one.
    show: |urls| format!("{} URLs", urls.len()),
    is_secret: true,
};

const SOURCE: Kind<CredentialsSource> = Kind::any(
    "USER_INFO or URL; what SASL_INHERIT takes from the client is said in basic.auth.user.info",
);

const STRATEGY: Kind<SubjectNameStrategy> =
    Kind::any("TopicNameStrategy, RecordNameStrategy or TopicRecordNameStrategy");

const PLACE: Kind<IdPlace> = Kind::any("PrefixSchemaIdSerializer or HeaderSchemaIdSerializer");

const RETRIES: Kind<usize> = Kind::number::<0, 1_000>("a number from 0 to 1000");

set_by_name!(RegistryConfig);

impl Configuration for RegistryConfig {
    type Base = Self;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "schema.registry.url": URLS => urls;
        "basic.auth.credentials.source": SOURCE => credentials_source;
        "schema.registry.basic.auth.credentials.source": SOURCE => credentials_source;
        "basic.auth.user.info": SECRET => user_info;
        "schema.registry.basic.auth.user.info": SECRET => user_info;
        "bearer.auth.token": SECRET => bearer_token;
        "schema.registry.bearer.auth.token": SECRET => bearer_token;
        "schema.registry.ssl.truststore.location": PEM_FILE => tls.roots;
        "schema.registry.ssl.truststore.certificates": PEM_TEXT => tls.roots;
        "schema.registry.ssl.truststore.type": STORE_TYPE => tls.store_type;
        "schema.registry.ssl.keystore.location": PEM_FILE => tls.certificates;
        "schema.registry.ssl.keystore.certificate.chain": PEM_TEXT => tls.certificates;
        "schema.registry.ssl.keystore.key": PEM_KEY => tls.key;
        "schema.registry.ssl.keystore.type": STORE_TYPE => tls.store_type;
        "schema.registry.ssl.key.password": SECRET => tls.key_password;
        "schema.registry.ssl.endpoint.identification.algorithm": HOST_NAME => tls.host_name;
        "schema.registry.ssl.enabled.protocols": TLS_VERSIONS => tls.versions;
        "schema.registry.enable.ssl.certificate.verification": CERTIFICATE => tls.certificate;
        "value.subject.name.strategy": STRATEGY => subject_name_strategy;
        "auto.register.schemas": FLAG => auto_register;
        "use.latest.version": FLAG => use_latest_version;
        "normalize.schemas": FLAG => normalize;
        "value.schema.id.serializer": PLACE => id_place;
        "context.name": TEXT => context;
        "http.connect.timeout.ms": POSITIVE_MILLIS => connect_timeout;
        "http.read.timeout.ms": POSITIVE_MILLIS => read_timeout;
        "max.retries": RETRIES => max_retries;
        "retries.wait.ms": MILLIS => retry_backoff;
        "retries.max.wait.ms": MILLIS => retry_backoff_max;
        "schema.registry.timeout.ms": POSITIVE_MILLIS => timeout;
        "missing.schema.cache.ttl.ms": MILLIS => refusal_ttl;
    };

    fn base(&mut self) -> Option<&mut Self> {
        None
    }

    fn check(&self) -> Result<()> {
        if self.urls.is_empty() {
            return Err(config_error(
                "schema.registry.url is missing: where is the registry?".to_string(),
            ));
        }
        if self.auto_register && self.use_latest_version {
            return Err(config_error(
                "auto.register.schemas and use.latest.version cannot both hold: a producer registers its own schema, or takes what is there".to_string(),
            ));
        }
        Ok(())
    }
}
