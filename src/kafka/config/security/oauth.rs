//! Where tokens for OAUTHBEARER come from when no provider of the user's own brings them: an OpenID provider's token endpoint, or a file
//! (KIP-768, KIP-1139); and when they are asked for anew.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Pem, SaslLogin, TrustedRoots};
use crate::kafka::config::Secret;
use crate::kafka::config::values::{Kind, list};
use crate::kafka::model::names::quoted;

/// `sasl.oauthbearer.*`: how a token is got from a token endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OAuthConfig {
    /// `sasl.oauthbearer.token.endpoint.url`: where tokens are asked for, `https://` or `http://`; or, as `file:///path`, the file in which
    /// one stands. Default none.
    pub token_endpoint_url: Option<String>,
    /// `sasl.oauthbearer.jwt.retriever.class`, or librdkafka's `sasl.oauthbearer.grant.type`: what is shown to the endpoint. Default
    /// [`ClientCredentials`](OAuthGrant::ClientCredentials).
    pub grant: OAuthGrant,
    /// `sasl.oauthbearer.client.credentials.client.id` (or `clientId` in `sasl.jaas.config`; librdkafka: `sasl.oauthbearer.client.id`): who
    /// the client is. Default none.
    pub client_id: Option<String>,
    /// `sasl.oauthbearer.client.credentials.client.secret` (or `clientSecret` in `sasl.jaas.config`; librdkafka:
    /// `sasl.oauthbearer.client.secret`): what proves it. Default none.
    pub client_secret: Option<Secret>,
    /// `sasl.oauthbearer.scope` (or `scope` in `sasl.jaas.config`): what the token is to be good for. Default: the provider decides.
    pub scope: Option<String>,
    /// `sasl.oauthbearer.header.urlencode`: whether client id and secret are URL-encoded before they go into the header, as RFC 6749 says and
    /// some providers do not expect. Default false, as in Java.
    pub url_encoded_header: bool,
    /// `sasl.oauthbearer.extensions` (or `extension_NAME` in `sasl.jaas.config`): SASL extensions (KIP-342), by name. Default none.
    pub extensions: OAuthExtensions,
    /// `sasl.oauthbearer.assertion.*`: what the client says of itself to the endpoint, signed with its key: for
    /// [`JwtBearer`](OAuthGrant::JwtBearer), and instead of a secret.
    pub assertion: AssertionConfig,
    /// `https.ca.location`, `https.ca.pem` (librdkafka's names): who may have signed the endpoint's certificate. Default: whom the operating
    /// system trusts.
    pub roots: TrustedRoots,
    /// `sasl.login.connect.timeout.ms`: how long connecting to the endpoint may take. Default 10 s.
    pub connect_timeout: Duration,
    /// `sasl.login.read.timeout.ms`: how long its answer may take. Default 10 s.
    pub read_timeout: Duration,
    /// `sasl.login.retry.backoff.ms`: the first pause before the endpoint is asked again, when it could not be reached or is busy; the next
    /// ones double. Default 100 ms.
    pub retry_backoff: Duration,
    /// `sasl.login.retry.backoff.max.ms`: how long it is asked again, all in all, as in Java; but no longer than a part of
    /// `socket.connection.setup.timeout.ms`. Default 10 s.
    pub retry_backoff_max: Duration,
}

impl Default for OAuthConfig {
    fn default() -> Self {
        Self {
            token_endpoint_url: None,
            grant: OAuthGrant::default(),
            client_id: None,
            client_secret: None,
            scope: None,
            url_encoded_header: false,
            extensions: OAuthExtensions::default(),
            assertion: AssertionConfig::default(),
            roots: TrustedRoots::default(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(10),
        }
    }
}

/// What is shown to a token endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OAuthGrant {
    /// Client id and secret (RFC 6749, 4.4), or an assertion instead of the secret, where one is configured (RFC 7523, 2.2).
    #[default]
    ClientCredentials,
    /// An assertion (RFC 7523, 2.1), signed with the client's key.
    JwtBearer,
}

/// `sasl.oauthbearer.assertion.*`: what the client says of itself to a token endpoint, signed with its key.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AssertionConfig {
    /// `sasl.oauthbearer.assertion.file`: a file in which an assertion stands that somebody else has signed; then nothing else here is of
    /// effect. It is read whenever a token is asked for. Default none.
    pub file: Option<PathBuf>,
    /// `sasl.oauthbearer.assertion.private.key.file` (librdkafka also: `sasl.oauthbearer.assertion.private.key.pem`): the key. Default none.
    pub key: Option<Pem>,
    /// `sasl.oauthbearer.assertion.private.key.passphrase`: what the key is encrypted with. Default none.
    pub key_password: Option<Secret>,
    /// `sasl.oauthbearer.assertion.algorithm`: how it signs. Default RS256.
    pub algorithm: AssertionAlgorithm,
    /// `sasl.oauthbearer.assertion.claim.aud`: whom the assertion is for. Default none.
    pub audience: Option<String>,
    /// `sasl.oauthbearer.assertion.claim.iss`: who says so. Default none.
    pub issuer: Option<String>,
    /// `sasl.oauthbearer.assertion.claim.sub`: whom it is about. Default none.
    pub subject: Option<String>,
    /// `sasl.oauthbearer.assertion.claim.exp.seconds`: how long it is good. Default 300 s.
    pub lifetime: Duration,
    /// `sasl.oauthbearer.assertion.claim.nbf.seconds`: since how long it is good when it is made. Default 60 s.
    pub not_before: Duration,
    /// `sasl.oauthbearer.assertion.claim.jti.include`: whether each has an id, drawn at random. Default false.
    pub with_id: bool,
    /// `sasl.oauthbearer.assertion.template.file` (librdkafka: `sasl.oauthbearer.assertion.jwt.template.file`): a JSON file with the objects
    /// `header` and `payload`, which are added. Default none.
    pub template: Option<PathBuf>,
}

impl Default for AssertionConfig {
    fn default() -> Self {
        Self {
            file: None,
            key: None,
            key_password: None,
            algorithm: AssertionAlgorithm::default(),
            audience: None,
            issuer: None,
            subject: None,
            lifetime: Duration::from_secs(300),
            not_before: Duration::from_secs(60),
            with_id: false,
            template: None,
        }
    }
}

/// How an assertion is signed (RFC 7518).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AssertionAlgorithm {
    /// `RS256`: an RSA key, PKCS#1 1.5 with SHA-256.
    #[default]
    Rs256,
    /// `ES256`: a key on the curve P-256, with SHA-256.
    Es256,
}

impl AssertionAlgorithm {
    /// The name in a JWT's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

impl FromStr for AssertionAlgorithm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Rs256, Self::Es256];
        let named = all
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(text));
        named.ok_or(())
    }
}

pub(super) const ALGORITHM: Kind<AssertionAlgorithm> = Kind::any("RS256 or ES256");

pub(super) const PATH: Kind<PathBuf> = Kind {
    allowed: "the path of a file",
    read: |text| Some(PathBuf::from(text.trim())),
    holds: |path| !path.as_os_str().is_empty(),
    show: |path| quoted(&path.to_string_lossy()),
    is_secret: false,
};

/// SASL extensions (KIP-342): names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OAuthExtensions(pub Vec<(String, String)>);

/// `sasl.login.refresh.*`: when a token is asked for anew, while the last one is still good. Java's names and defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokenRefresh {
    /// `sasl.login.refresh.window.factor`: after what part of its life, from 0.5 to 1. Default 0.8.
    pub window_factor: f64,
    /// `sasl.login.refresh.window.jitter`: what part of its life is added at random, at the most, from 0 to 0.25. Default 0.05.
    pub window_jitter: f64,
    /// `sasl.login.refresh.min.period.seconds`: how old it is at the least, up to 900 s. Default 60 s.
    pub min_period: Duration,
    /// `sasl.login.refresh.buffer.seconds`: how long it is still good then, up to 3600 s. Default 300 s. Both are ignored for a token that
    /// lives for less than the two together.
    pub buffer: Duration,
}

impl Default for TokenRefresh {
    fn default() -> Self {
        Self {
            window_factor: 0.8,
            window_jitter: 0.05,
            min_period: Duration::from_secs(60),
            buffer: Duration::from_secs(300),
        }
    }
}

/// `sasl.login.callback.handler.class`: where tokens for OAUTHBEARER come from, when no provider of the user's own brings them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenSource {
    /// An OpenID provider, or a file: see [`OAuthConfig`].
    #[default]
    OAuth,
    /// Credentials of AWS, for Amazon MSK: see [`MskIamConfig`](super::MskIamConfig).
    MskIam,
}

impl OAuthConfig {
    /// `client_id`, or what the login's text says.
    pub(crate) fn client_id<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        self.client_id
            .as_deref()
            .or_else(|| login.option("clientId"))
    }

    /// `client_secret`, or what the login's text says.
    pub(crate) fn client_secret<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        let configured = self.client_secret.as_ref().map(Secret::reveal);
        configured.or_else(|| login.option("clientSecret"))
    }

    /// `scope`, or what the login's text says.
    #[cfg(feature = "oauth-oidc")]
    pub(crate) fn scope<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        let scope = self.scope.as_deref().or_else(|| login.option("scope"));
        scope.map(str::trim).filter(|scope| !scope.is_empty())
    }

    /// The extensions, those of the login's text first.
    pub(crate) fn extensions(&self, login: &SaslLogin) -> Vec<(String, String)> {
        let said = login.options.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("extension_")?;
            Some((name.to_string(), value.reveal().to_string()))
        });
        said.chain(self.extensions.0.iter().cloned()).collect()
    }

    /// Whether an assertion is shown instead of a secret: as in Java, when there is a file of one, or a name for who says so.
    pub(crate) fn has_assertion(&self) -> bool {
        self.assertion.file.is_some() || self.assertion.issuer.is_some()
    }

    /// The file in which a token stands, if that is what the URL names.
    pub(crate) fn file(&self) -> Option<&str> {
        let path = self.token_endpoint_url.as_deref()?.strip_prefix("file:")?;
        Some(path.strip_prefix("//").unwrap_or(path))
    }

    /// What is missing, to complete "OAUTHBEARER …".
    pub(super) fn lacks(&self, login: &SaslLogin) -> Option<&'static str> {
        if self.token_endpoint_url.is_none() {
            return Some(
                "needs tokens: set sasl.oauthbearer.token.endpoint.url, or SaslConfig::token_provider",
            );
        }
        if self.file().is_some() {
            return None;
        }
        if cfg!(not(feature = "oauth-oidc")) {
            return Some(
                "asks a token endpoint, and this program was built without: build it with the feature oauth-oidc",
            );
        }
        if self.grant == OAuthGrant::JwtBearer || self.has_assertion() {
            return self.assertion.lacks();
        }
        let has_secret = self.client_id(login).is_some() && self.client_secret(login).is_some();
        (!has_secret).then_some(
            "needs to say to the token endpoint who it is: set sasl.oauthbearer.client.credentials.client.id and \
             sasl.oauthbearer.client.credentials.client.secret, or clientId and clientSecret in sasl.jaas.config",
        )
    }
}

impl AssertionConfig {
    /// What is missing, to complete "OAUTHBEARER …".
    fn lacks(&self) -> Option<&'static str> {
        if self.file.is_some() {
            return None;
        }
        if cfg!(not(feature = "tls-rustls")) {
            return Some(
                "signs assertions by TLS's cryptography, which this program was built without: build it with the feature tls, tls-ring or \
                 tls-aws-lc-rs",
            );
        }
        self.key.is_none().then_some(
            "shows an assertion: set sasl.oauthbearer.assertion.private.key.file, or sasl.oauthbearer.assertion.file",
        )
    }
}

pub(super) const TOKEN_URL: Kind<String> = Kind {
    allowed: "a URL that begins with https://, http:// or file:, without a user's name in it",
    read: |text| Some(text.trim().to_string()),
    holds: |text| {
        let has_user = |rest: &str| {
            rest.split(['/', '?'])
                .next()
                .is_some_and(|it| it.contains('@'))
        };
        let begins = |scheme: &str| {
            text.get(..scheme.len())
                .is_some_and(|it| it.eq_ignore_ascii_case(scheme))
        };
        match text.split_once("://") {
            Some((_, rest)) if begins("https://") || begins("http://") => {
                !rest.is_empty() && !has_user(rest)
            }
            _ => text.len() > 5 && begins("file:"),
        }
    },
    // It may hold a user's password, for all that we know.
    show: |_| Secret::HIDDEN.to_string(),
    is_secret: true,
};

impl FromStr for OAuthGrant {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.rsplit('.').next().unwrap_or(text) {
            "ClientCredentialsJwtRetriever"
            | "DefaultJwtRetriever"
            | "FileJwtRetriever"
            | "client_credentials" => Ok(Self::ClientCredentials),
            "JwtBearerJwtRetriever" | "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                Ok(Self::JwtBearer)
            }
            _ => Err(()),
        }
    }
}

pub(super) const GRANT: Kind<OAuthGrant> = Kind::any(
    "client_credentials or urn:ietf:params:oauth:grant-type:jwt-bearer, or Kafka's DefaultJwtRetriever, ClientCredentialsJwtRetriever, \
     JwtBearerJwtRetriever or FileJwtRetriever",
);

impl FromStr for TokenSource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.rsplit('.').next().unwrap_or(text) {
            "OAuthBearerLoginCallbackHandler" => Ok(Self::OAuth),
            "IAMOAuthBearerLoginCallbackHandler" | "IAMClientCallbackHandler" => Ok(Self::MskIam),
            _ => Err(()),
        }
    }
}

pub(super) const HANDLER: Kind<TokenSource> = Kind::any(
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler, or \
     software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler or IAMClientCallbackHandler; a provider of tokens of your own is set as \
     SaslConfig::token_provider",
);

impl FromStr for OAuthExtensions {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let pair = |item: String| {
            let (name, value) = item.split_once('=')?;
            Some((name.trim().to_string(), value.trim().to_string()))
        };
        let pairs: Option<Vec<_>> = list(text).into_iter().map(pair).collect();
        pairs.map(Self).ok_or(())
    }
}

pub(super) const EXTENSIONS: Kind<OAuthExtensions> =
    Kind::any("name=value, commas between several");

pub(super) const WINDOW_FACTOR: Kind<f64> = Kind {
    holds: |factor| (0.5..=1.0).contains(factor),
    ..Kind::any("a number from 0.5 to 1.0")
};

pub(super) const WINDOW_JITTER: Kind<f64> = Kind {
    holds: |jitter| (0.0..=0.25).contains(jitter),
    ..Kind::any("a number from 0.0 to 0.25")
};

pub(super) const MIN_PERIOD: Kind<Duration> = Kind {
    allowed: "a number of seconds from 0 to 900",
    holds: |period| *period <= Duration::from_secs(900),
    ..SECONDS
};

pub(super) const BUFFER: Kind<Duration> = Kind {
    allowed: "a number of seconds from 0 to 3600",
    holds: |buffer| *buffer <= Duration::from_secs(3_600),
    ..SECONDS
};

pub(super) const SECONDS: Kind<Duration> = Kind {
    allowed: "a number of seconds from 0 to 2147483",
    read: |text| text.trim().parse().ok().map(Duration::from_secs),
    holds: |seconds| *seconds <= Duration::from_secs(2_147_483),
    show: |seconds| seconds.as_secs().to_string(),
    is_secret: false,
};
