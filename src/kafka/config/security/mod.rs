//! How a connection is protected, and who the client says it is.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `aws` | whose credentials of AWS sign for Amazon MSK |
//! | `jaas` | Java's way to name user and password in one text |
//! | `oauth` | token endpoints, and when tokens are asked for anew |
//! | `pem` | certificates and keys: a file, or the text itself |
//! | `sasl` | the mechanism and what it needs |
//! | `tls` | whom to trust, which certificate to show |

mod aws;
mod jaas;
mod oauth;
mod pem;
mod sasl;
mod tls;

use std::fmt;
use std::str::FromStr;

use self::jaas::JAAS;
use self::oauth::{
    ALGORITHM, BUFFER, EXTENSIONS, GRANT, HANDLER, MIN_PERIOD, PATH, SECONDS, TOKEN_URL,
    WINDOW_FACTOR, WINDOW_JITTER,
};
pub(crate) use self::pem::{PEM_FILE, PEM_KEY, PEM_TEXT};
use self::sasl::MECHANISM;
pub(crate) use self::tls::{CERTIFICATE, HOST_NAME, STORE_TYPE, TLS_VERSIONS};
use super::values::{FLAG, Kind, POSITIVE_MILLIS, SECRET, TEXT};
use super::{Configuration, Property};
use crate::kafka::Result;

pub use aws::{AwsCredentials, AwsCredentialsProvider, MskIamConfig};
pub use oauth::{
    AssertionAlgorithm, AssertionConfig, OAuthConfig, OAuthExtensions, OAuthGrant, TokenRefresh,
    TokenSource,
};
pub use pem::Pem;
pub use sasl::{BearerToken, SaslConfig, SaslLogin, SaslMechanism, TokenError, TokenProvider};
pub use tls::{CertificateCheck, HostNameCheck, StoreType, TlsConfig, TlsVersions, TrustedRoots};

/// How connections are protected, and who the client says it is. Default: plaintext, nobody.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SecurityConfig {
    /// `security.protocol`: what is spoken below Kafka's protocol. Default `PLAINTEXT`.
    pub protocol: SecurityProtocol,
    /// `ssl.*`: whom to trust and which certificate to show. Of no effect without TLS in the protocol.
    pub tls: TlsConfig,
    /// `sasl.*`: who the client is. Of no effect without SASL in the protocol.
    pub sasl: SaslConfig,
}

/// `security.protocol`: what is spoken below Kafka's protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecurityProtocol {
    /// `PLAINTEXT`: neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// `SSL`: TLS; the client is known by its certificate, if it shows one.
    Ssl,
    /// `SASL_PLAINTEXT`: authenticated, but not encrypted: whoever listens reads everything, with `PLAIN` also the password.
    SaslPlaintext,
    /// `SASL_SSL`: TLS, and authenticated through SASL.
    SaslSsl,
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    pub fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether the client authenticates through SASL.
    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        })
    }
}

/// Reads Java's spelling, or librdkafka's, which is the same in small letters.
impl FromStr for SecurityProtocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Ok(Self::Plaintext),
            "SSL" => Ok(Self::Ssl),
            "SASL_PLAINTEXT" => Ok(Self::SaslPlaintext),
            "SASL_SSL" => Ok(Self::SaslSsl),
            _ => Err(()),
        }
    }
}

impl Configuration for SecurityConfig {
    type Base = Self;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "security.protocol": PROTOCOL => protocol;
        "ssl.truststore.location": PEM_FILE => tls.roots;
        "ssl.truststore.certificates": PEM_TEXT => tls.roots;
        "ssl.truststore.type": STORE_TYPE => tls.store_type;
        "ssl.keystore.location": PEM_FILE => tls.certificates;
        "ssl.keystore.certificate.chain": PEM_TEXT => tls.certificates;
        "ssl.keystore.key": PEM_KEY => tls.key;
        "ssl.keystore.type": STORE_TYPE => tls.store_type;
        "ssl.key.password": SECRET => tls.key_password;
        "ssl.endpoint.identification.algorithm": HOST_NAME => tls.host_name;
        "ssl.enabled.protocols": TLS_VERSIONS => tls.versions;
        "ssl.ca.location": PEM_FILE => tls.roots;
        "ssl.ca.pem": PEM_TEXT => tls.roots;
        "ssl.certificate.location": PEM_FILE => tls.certificates;
        "ssl.certificate.pem": PEM_TEXT => tls.certificates;
        "ssl.key.location": PEM_FILE => tls.key;
        "ssl.key.pem": PEM_KEY => tls.key;
        "enable.ssl.certificate.verification": CERTIFICATE => tls.certificate;
        "sasl.mechanism": MECHANISM => sasl.mechanism;
        "sasl.mechanisms": MECHANISM => sasl.mechanism;
        "sasl.username": TEXT => sasl.login.username;
        "sasl.password": SECRET => sasl.login.password;
        "sasl.jaas.config": JAAS => sasl.login;
        "sasl.login.callback.handler.class": HANDLER => sasl.token_source;
        "sasl.client.callback.handler.class": HANDLER => sasl.token_source;
        "sasl.login.refresh.window.factor": WINDOW_FACTOR => sasl.refresh.window_factor;
        "sasl.login.refresh.window.jitter": WINDOW_JITTER => sasl.refresh.window_jitter;
        "sasl.login.refresh.min.period.seconds": MIN_PERIOD => sasl.refresh.min_period;
        "sasl.login.refresh.buffer.seconds": BUFFER => sasl.refresh.buffer;
        "sasl.login.connect.timeout.ms": POSITIVE_MILLIS => sasl.oauth.connect_timeout;
        "sasl.login.read.timeout.ms": POSITIVE_MILLIS => sasl.oauth.read_timeout;
        "sasl.login.retry.backoff.ms": POSITIVE_MILLIS => sasl.oauth.retry_backoff;
        "sasl.login.retry.backoff.max.ms": POSITIVE_MILLIS => sasl.oauth.retry_backoff_max;
        "sasl.oauthbearer.token.endpoint.url": TOKEN_URL => sasl.oauth.token_endpoint_url;
        "sasl.oauthbearer.jwt.retriever.class": GRANT => sasl.oauth.grant;
        "sasl.oauthbearer.grant.type": GRANT => sasl.oauth.grant;
        "sasl.oauthbearer.client.credentials.client.id": TEXT => sasl.oauth.client_id;
        "sasl.oauthbearer.client.credentials.client.secret": SECRET => sasl.oauth.client_secret;
        "sasl.oauthbearer.client.id": TEXT => sasl.oauth.client_id;
        "sasl.oauthbearer.client.secret": SECRET => sasl.oauth.client_secret;
        "sasl.oauthbearer.scope": TEXT => sasl.oauth.scope;
        "sasl.oauthbearer.extensions": EXTENSIONS => sasl.oauth.extensions;
        "sasl.oauthbearer.header.urlencode": FLAG => sasl.oauth.url_encoded_header;
        "sasl.oauthbearer.assertion.algorithm": ALGORITHM => sasl.oauth.assertion.algorithm;
        "sasl.oauthbearer.assertion.claim.aud": TEXT => sasl.oauth.assertion.audience;
        "sasl.oauthbearer.assertion.claim.exp.seconds": SECONDS => sasl.oauth.assertion.lifetime;
        "sasl.oauthbearer.assertion.claim.iss": TEXT => sasl.oauth.assertion.issuer;
        "sasl.oauthbearer.assertion.claim.jti.include": FLAG => sasl.oauth.assertion.with_id;
        "sasl.oauthbearer.assertion.claim.nbf.seconds": SECONDS => sasl.oauth.assertion.not_before;
        "sasl.oauthbearer.assertion.claim.sub": TEXT => sasl.oauth.assertion.subject;
        "sasl.oauthbearer.assertion.file": PATH => sasl.oauth.assertion.file;
        "sasl.oauthbearer.assertion.private.key.file": PEM_FILE => sasl.oauth.assertion.key;
        "sasl.oauthbearer.assertion.private.key.passphrase": SECRET => sasl.oauth.assertion.key_password;
        "sasl.oauthbearer.assertion.private.key.pem": PEM_KEY => sasl.oauth.assertion.key;
        "sasl.oauthbearer.assertion.template.file": PATH => sasl.oauth.assertion.template;
        "https.ca.location": PEM_FILE => sasl.oauth.roots;
        "https.ca.pem": PEM_TEXT => sasl.oauth.roots;
    };

    fn base(&mut self) -> Option<&mut Self> {
        None
    }

    /// Checks what no single value can show.
    fn check(&self) -> Result<()> {
        if self.protocol.uses_tls() {
            self.tls.check()?;
        }
        if self.protocol.uses_sasl() {
            self.sasl.check()?;
        }
        Ok(())
    }
}

const PROTOCOL: Kind<SecurityProtocol> = Kind::any("PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL");
