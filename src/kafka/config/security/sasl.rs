//! Who the client is: the mechanism and what it needs.

use std::error::Error as StdError;
use std::fmt::{self, Debug};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use super::{MskIamConfig, OAuthConfig, TokenRefresh, TokenSource};
use crate::kafka::config::Secret;
use crate::kafka::config::values::Kind;
use crate::kafka::net::BoxFuture;
use crate::kafka::{Error, ErrorKind, Result};

/// Who the client is.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SaslConfig {
    /// `sasl.mechanism`: how the client proves who it is. Default none, and one is needed with SASL in `security.protocol`.
    pub mechanism: Option<SaslMechanism>,
    /// `sasl.username` and `sasl.password` (librdkafka's names), or `sasl.jaas.config`: for PLAIN and SCRAM.
    pub login: SaslLogin,
    /// A provider of tokens of the user's own, for OAUTHBEARER. Default none: they come from where `token_source` says.
    pub token_provider: Option<Arc<dyn TokenProvider>>,
    /// `sasl.login.callback.handler.class`: where tokens come from without a provider of the user's own. Default [`TokenSource::OAuth`].
    pub token_source: TokenSource,
    /// `sasl.oauthbearer.*`: how a token is got from a token endpoint.
    pub oauth: OAuthConfig,
    /// Amazon MSK's IAM: whose credentials sign.
    pub msk_iam: MskIamConfig,
    /// `sasl.login.refresh.*`: when a token is asked for anew.
    pub refresh: TokenRefresh,
}

/// User and password, or what else `sasl.jaas.config` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaslLogin {
    /// The user; of a delegation token its id.
    pub username: Option<String>,
    /// The password; of a delegation token its HMAC.
    pub password: Option<Secret>,
    /// With SCRAM: this is a delegation token (KIP-48). Default false.
    pub delegation_token: bool,
    /// The options that `sasl.jaas.config` gives to another login module, by name: `clientId`, `clientSecret`, `scope` and
    /// `extension_NAME` to `OAuthBearerLoginModule`, `awsProfileName` and the like to Amazon's `IAMLoginModule`. Default none.
    pub options: Vec<(String, Secret)>,
}

impl SaslLogin {
    /// The option called `name`, the last one if there are several.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let option = self.options.iter().rfind(|(key, _)| key == name);
        option.map(|(_, value)| value.reveal())
    }
}

/// `sasl.mechanism`: how the client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SaslMechanism {
    /// `PLAIN` (RFC 4616): the password itself goes to the broker.
    Plain,
    /// `SCRAM-SHA-256` (RFC 7677): the broker proves that it knows the password as well.
    ScramSha256,
    /// `SCRAM-SHA-512`: the same with the longer hash.
    ScramSha512,
    /// `OAUTHBEARER` (RFC 7628, KIP-255): a token that somebody else has signed.
    OAuthBearer,
    /// `AWS_MSK_IAM`: Amazon MSK's own, signed with credentials of AWS.
    AwsMskIam,
}

impl SaslMechanism {
    /// Whether a user and a password are what it needs.
    pub(crate) fn has_login(self) -> bool {
        !matches!(self, Self::OAuthBearer | Self::AwsMskIam)
    }

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::AwsMskIam => "AWS_MSK_IAM",
        }
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for SaslMechanism {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [
            Self::Plain,
            Self::ScramSha256,
            Self::ScramSha512,
            Self::OAuthBearer,
            Self::AwsMskIam,
        ];
        let named = all
            .into_iter()
            .find(|it| it.name().eq_ignore_ascii_case(text));
        named.ok_or(())
    }
}

pub(super) const MECHANISM: Kind<SaslMechanism> = Kind::any(
    "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM; GSSAPI (Kerberos) is not there: no well-kept library speaks it without C",
);

/// Where tokens for OAUTHBEARER come from.
///
/// It is asked for a token when a connection opens and none that is still good is at hand; one question serves all connections that wait.
/// The caller puts a deadline around it; dropping the future must abandon the attempt.
pub trait TokenProvider: Debug + Send + Sync + 'static {
    /// A token that is good for now.
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>>;
}

/// Why there is no token. One that is a [`std::io::Error`], or came from one, counts as a failure of the network and is tried again;
/// any other as a refusal, which the call returns at once.
pub type TokenError = Box<dyn StdError + Send + Sync>;

/// A token that says who the client is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BearerToken {
    /// The token itself.
    pub value: Secret,
    /// Until when it is good; it is asked for anew before. `None`: for one connection.
    pub expires_at: Option<SystemTime>,
    /// SASL extensions (KIP-342), by name.
    pub extensions: Vec<(String, String)>,
}

impl BearerToken {
    /// The token `value`, good until `expires_at`, without extensions.
    pub fn new(value: impl Into<Secret>, expires_at: Option<SystemTime>) -> Self {
        Self {
            value: value.into(),
            expires_at,
            extensions: Vec::new(),
        }
    }
}

impl SaslConfig {
    /// Checks what no single value can show.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        let Some(mechanism) = self.mechanism else {
            return wrong(format!(
                "security.protocol wants SASL: sasl.mechanism must be set; allowed is {}",
                MECHANISM.allowed
            ));
        };
        match mechanism {
            SaslMechanism::OAuthBearer if self.token_provider.is_some() => Ok(()),
            SaslMechanism::AwsMskIam | SaslMechanism::OAuthBearer
                if mechanism == SaslMechanism::AwsMskIam
                    || self.token_source == TokenSource::MskIam =>
            {
                match cfg!(feature = "msk-iam") {
                    true => Ok(()),
                    false => wrong(format!(
                        "sasl.mechanism = {mechanism} wants what this program was built without: build it with the feature msk-iam"
                    )),
                }
            }
            SaslMechanism::OAuthBearer => match self.oauth.lacks(&self.login) {
                Some(lacking) => wrong(format!("sasl.mechanism = OAUTHBEARER {lacking}")),
                None => Ok(()),
            },
            _ if self.login.username.is_none() || self.login.password.is_none() => wrong(format!(
                "sasl.mechanism = {mechanism} needs a user and a password: set sasl.username and sasl.password, or sasl.jaas.config"
            )),
            _ => Ok(()),
        }
    }
}
