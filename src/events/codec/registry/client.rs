//! What can be asked of a registry: one request for each question, from whichever of its servers responds.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use super::schema::{
    Compatibility, Guid, NewSchema, RegisteredSchema, SchemaReference, SchemaVersion, config_error,
};
use super::{CredentialsSource, RegistryConfig, RegistryError};
use crate::kafka::net::http::{HttpClient, HttpRequest, Url, encode};
use crate::kafka::runtime::{Backoff, Mutex};
use crate::kafka::{Random, Result};

/// The media type of the API's questions and answers.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// A registry of schemas. Cheap to clone; clones share everything. Each call ends within
/// [`timeout`](RegistryConfig::timeout), and is cancel safe.
#[derive(Clone)]
pub struct SchemaRegistry(Arc<Inner>);

struct Inner {
    config: RegistryConfig,
    servers: Vec<Server>,
    /// The server that responded last.
    current: AtomicUsize,
    http: HttpClient,
    random: Mutex<Random>,
}

/// One of the registry's servers.
struct Server {
    /// Without a slash at its end.
    base: String,
    /// `user:password`, of a URL that has them.
    user_info: Option<Zeroizing<String>>,
}

/// What is asked.
enum Question<'a> {
    Get,
    Post(&'a [u8]),
    Put(&'a [u8]),
}

impl SchemaRegistry {
    /// A registry that is not asked yet.
    ///
    /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when `config` is incomplete.
    pub fn new(config: RegistryConfig) -> Result<Self> {
        config.validate()?;
        let mut random = Random::from_system();
        let servers = config.urls.iter().map(|url| server(&config, url));
        Ok(Self(Arc::new(Inner {
            servers: servers.collect::<Result<_>>()?,
            current: AtomicUsize::new(0),
            http: HttpClient::new(
                config.tls.clone(),
                config.connect_timeout,
                config.read_timeout,
                Random::seeded(random.next_u64()),
            ),
            random: Mutex::new(random),
            config,
        })))
    }

    /// What it was created with.
    pub fn config(&self) -> &RegistryConfig {
        &self.0.config
    }

    /// Registers a schema under a subject; when it is there already, nothing changes. Fails with status 409 when it is incompatible with those
    /// before it.
    pub async fn register(
        &self,
        subject: &str,
        schema: &NewSchema,
    ) -> Result<RegisteredSchema, RegistryError> {
        let path = format!(
            "/subjects/{}/versions{}",
            self.subject(subject),
            self.normalize()
        );
        let answer = self.ask(Question::Post(&schema.body()), &path).await?;
        let registered = self.read(&path, &answer)?;
        match registered.id {
            Some(_) => Ok(registered),
            None => Err(no_answer(&path)),
        }
    }

    /// Finds a schema under a subject. Fails with status 404 when it is not there.
    pub async fn look_up(
        &self,
        subject: &str,
        schema: &NewSchema,
    ) -> Result<RegisteredSchema, RegistryError> {
        let path = format!("/subjects/{}{}", self.subject(subject), self.normalize());
        let answer = self.ask(Question::Post(&schema.body()), &path).await?;
        self.read(&path, &answer)
    }

    /// A version of a subject.
    pub async fn version(
        &self,
        subject: &str,
        version: SchemaVersion,
    ) -> Result<RegisteredSchema, RegistryError> {
        let path = format!("/subjects/{}/versions/{version}", self.subject(subject));
        let answer = self.ask(Question::Get, &path).await?;
        self.read(&path, &answer)
    }

    /// What another schema refers to, which may have been deleted since (not for good).
    pub(super) async fn referred_to(
        &self,
        reference: &SchemaReference,
    ) -> Result<RegisteredSchema, RegistryError> {
        let (subject, version) = (self.subject(&reference.subject), reference.version);
        let path = format!("/subjects/{subject}/versions/{version}?deleted=true");
        let answer = self.ask(Question::Get, &path).await?;
        self.read(&path, &answer)
    }

    /// The schema of this id.
    pub async fn schema_by_id(&self, id: u32) -> Result<RegisteredSchema, RegistryError> {
        let subject = match &self.0.config.context {
            Some(context) => format!("?subject={}", encode(&format!(":.{context}:"))),
            None => String::new(),
        };
        let path = format!("/schemas/ids/{id}{subject}");
        let answer = self.ask(Question::Get, &path).await?;
        let schema = self.read(&path, &answer)?;
        match schema.text.is_empty() {
            true => Err(no_answer(&path)),
            false => Ok(RegisteredSchema {
                id: Some(id),
                ..schema
            }),
        }
    }

    /// The schema of this GUID. Registries have them since Confluent Platform 8.
    pub async fn schema_by_guid(&self, guid: Guid) -> Result<RegisteredSchema, RegistryError> {
        let path = format!("/schemas/guids/{guid}");
        let answer = self.ask(Question::Get, &path).await?;
        let schema = self.read(&path, &answer)?;
        match schema.text.is_empty() {
            true => Err(no_answer(&path)),
            false => Ok(RegisteredSchema {
                guid: Some(guid),
                ..schema
            }),
        }
    }

    /// Whether a schema may become the next version of a subject, as the subject's level of compatibility has it.
    pub async fn compatibility(
        &self,
        subject: &str,
        version: SchemaVersion,
        schema: &NewSchema,
    ) -> Result<Compatibility, RegistryError> {
        let subject = self.subject(subject);
        let path = format!("/compatibility/subjects/{subject}/versions/{version}?verbose=true");
        let answer = self.ask(Question::Post(&schema.body()), &path).await?;
        let is_compatible = answer.get("is_compatible").and_then(Value::as_bool);
        Ok(Compatibility {
            is_compatible: is_compatible.ok_or_else(|| no_answer(&path))?,
            messages: texts(answer.get("messages")),
        })
    }

    /// The subjects that have schemas.
    pub async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        let path = "/subjects";
        let answer = self.ask(Question::Get, path).await?;
        match answer.is_array() {
            true => Ok(texts(Some(&answer))),
            false => Err(no_answer(path)),
        }
    }

    /// The versions of a subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        let path = format!("/subjects/{}/versions", self.subject(subject));
        let answer = self.ask(Question::Get, &path).await?;
        let versions = answer.as_array().ok_or_else(|| no_answer(&path))?;
        let versions = versions.iter().map(|it| u32::try_from(it.as_u64()?).ok());
        versions
            .collect::<Option<_>>()
            .ok_or_else(|| no_answer(&path))
    }

    /// The level of compatibility of a subject, or of the whole registry where none is named, such as `BACKWARD`.
    pub async fn compatibility_level(
        &self,
        subject: Option<&str>,
    ) -> Result<String, RegistryError> {
        let path = self.config_path(subject);
        let default = if subject.is_some() {
            "?defaultToGlobal=true"
        } else {
            ""
        };
        let answer = self.ask(Question::Get, &format!("{path}{default}")).await?;
        let level = answer
            .get("compatibilityLevel")
            .or_else(|| answer.get("compatibility"));
        let level = level.and_then(Value::as_str).map(str::to_string);
        level.ok_or_else(|| no_answer(&path))
    }

    /// Sets the level of compatibility of a subject, or of the whole registry.
    pub async fn set_compatibility_level(
        &self,
        subject: Option<&str>,
        level: &str,
    ) -> Result<(), RegistryError> {
        let body = json!({"compatibility": level}).to_string();
        let path = self.config_path(subject);
        self.ask(Question::Put(body.as_bytes()), &path)
            .await
            .map(|_| ())
    }

    fn config_path(&self, subject: Option<&str>) -> String {
        match subject {
            Some(subject) => format!("/config/{}", self.subject(subject)),
            None => "/config".to_string(),
        }
    }

    fn subject(&self, subject: &str) -> String {
        encode(&self.0.config.in_context(subject))
    }

    fn normalize(&self) -> &'static str {
        if self.0.config.normalize {
            "?normalize=true"
        } else {
            ""
        }
    }

    fn read(&self, path: &str, answer: &Value) -> Result<RegisteredSchema, RegistryError> {
        RegisteredSchema::read(answer).ok_or_else(|| no_answer(path))
    }

    /// Asks the servers in turn, again after a pause while what goes wrong may pass.
    async fn ask(&self, question: Question<'_>, path: &str) -> Result<Value, RegistryError> {
        let inner = &*self.0;
        let config = &inner.config;
        let until = Instant::now() + config.timeout;
        let mut backoff = Backoff::new(config.retry_backoff, config.retry_backoff_max);
        let mut last = None;
        for _ in 0..=config.max_retries {
            if last.is_some() {
                let pause = backoff.failed(&mut inner.random.lock());
                if Instant::now() + pause >= until {
                    break;
                }
                sleep(pause).await;
            }
            let first = inner.current.load(Ordering::Relaxed);
            for place in 0..inner.servers.len() {
                let place = (first + place) % inner.servers.len();
                match self
                    .ask_one(&inner.servers[place], &question, path, until)
                    .await
                {
                    Err(error) if error.may_pass() => last = Some(error),
                    done => {
                        inner.current.store(place, Ordering::Relaxed);
                        return done;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::unavailable("the registry was not asked")))
    }

    async fn ask_one(
        &self,
        server: &Server,
        question: &Question<'_>,
        path: &str,
        until: Instant,
    ) -> Result<Value, RegistryError> {
        let inner = &*self.0;
        let target = format!("{}{path}", server.base);
        let url =
            Url::parse(&target).map_err(|error| RegistryError::permanent(error.to_string()))?;
        let shown = url.to_string();
        let request = match question {
            Question::Get => HttpRequest::get(url),
            Question::Post(body) => HttpRequest::post(url, MEDIA_TYPE, body.to_vec()),
            Question::Put(body) => HttpRequest::post(url, MEDIA_TYPE, body.to_vec()).put(),
        };
        let request = request.header(
            "accept",
            "application/vnd.schemaregistry.v1+json, application/json",
        );
        let asked = async {
            let request = self.authorised(server, request).await?;
            let answer = inner.http.once(&request, until).await;
            answer.map_err(|error| match error.kind() {
                crate::kafka::ErrorKind::Config => RegistryError::permanent(error.to_string()),
                _ => RegistryError::unavailable(error.to_string()),
            })
        };
        let asked = timeout_at(until, asked).await;
        let asked =
            asked.map_err(|_| RegistryError::unavailable(format!("{shown}: no answer in time")))?;
        let (status, body) = asked?;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match (status, answer) {
            (200..=299, Some(answer)) => Ok(answer),
            (200..=299, None) => Err(no_answer(&shown)),
            (status, answer) => {
                let said = answer.as_ref().and_then(|it| it.get("message")?.as_str());
                let said =
                    said.map(|said| format!(": {}", crate::kafka::model::names::quoted(said)));
                let code = answer
                    .as_ref()
                    .and_then(|it| it.get("error_code")?.as_i64());
                let message = format!(
                    "{shown} answered with status {status}{}",
                    said.unwrap_or_default()
                );
                Err(RegistryError::refused(message, status, code))
            }
        }
    }

    async fn authorised(
        &self,
        server: &Server,
        request: HttpRequest,
    ) -> Result<HttpRequest, RegistryError> {
        let config = &self.0.config;
        let token = match &config.token_provider {
            Some(provider) => {
                let token = provider.token().await;
                let token = token.map_err(|error| {
                    RegistryError::unavailable(format!("no token for the registry: {error}"))
                })?;
                Some(token.value)
            }
            None => config.bearer_token.clone(),
        };
        if let Some(token) = token {
            return Ok(request.header("authorization", format!("Bearer {}", token.reveal())));
        }
        let configured = config.user_info.as_ref().map(|it| it.reveal());
        let user_info = match config.credentials_source {
            CredentialsSource::Url => server.user_info.as_deref().map(String::as_str),
            CredentialsSource::UserInfo => configured,
        };
        Ok(match user_info {
            Some(user_info) => {
                let encoded = Zeroizing::new(STANDARD.encode(user_info));
                request.header("authorization", format!("Basic {}", *encoded))
            }
            None => request,
        })
    }
}

fn server(config: &RegistryConfig, url: &str) -> Result<Server> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let end = rest.find('/').unwrap_or(rest.len());
    let (user_info, base) = match rest[..end].rfind('@') {
        Some(at) if config.credentials_source == CredentialsSource::Url => (
            Some(Zeroizing::new(rest[..at].to_string())),
            format!("{scheme}://{}", &rest[at + 1..]),
        ),
        _ => (None, url.to_string()),
    };
    let base = base.trim_end_matches('/').to_string();
    Url::parse(&base).map_err(|error| config_error(format!("schema.registry.url: {error}")))?;
    Ok(Server { base, user_info })
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_string).collect()
}

/// What came back is nothing that a registry says: a proxy's page, perhaps.
fn no_answer(of: &str) -> RegistryError {
    RegistryError::unavailable(format!(
        "{of}: what came back is no answer of a schema registry"
    ))
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
