//! Who the client is, said to a broker: SASL (RFC 4422) in Kafka's frames (KIP-43, KIP-152).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `exchange` | the seam: messages of a mechanism, one after the other |
//! | `fuzzing` | the way of the fuzz targets to what reads answers |
//! | `hash` | hash functions, and what is made of them |
//! | `msk_iam` | Amazon MSK's IAM (feature `msk-iam`) |
//! | `oauth_bearer` | a token that somebody else has signed |
//! | `oidc` | tokens from a token endpoint, or from a file |
//! | `plain` | user and password as they are |
//! | `scram` | both sides prove that they know the password |
//! | `secret_json` | JSON that holds secrets |
//! | `tokens` | tokens, asked for once for many connections |

mod exchange;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod hash;
#[cfg(feature = "msk-iam")]
mod msk_iam;
mod oauth_bearer;
mod oidc;
mod plain;
mod scram;
#[cfg(any(feature = "oauth-oidc", feature = "msk-iam"))]
mod secret_json;
mod tokens;

use zeroize::Zeroizing;

use self::exchange::Exchange;
pub(super) use self::exchange::{MAX_ROUNDS, Step};
use self::tokens::Tokens;
use crate::kafka::config::Secret;
use crate::kafka::config::security::{SaslLogin, SaslMechanism, TokenSource};
use crate::kafka::net::Address;
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// A password as it is sent to brokers to set it for this mechanism of SCRAM, hashed with the salt so often. Takes a tenth of a second for
/// 100,000 iterations.
pub(crate) fn salted_password(
    mechanism: SaslMechanism,
    password: &Secret,
    salt: &[u8],
    iterations: u32,
) -> Result<Zeroizing<Vec<u8>>> {
    let functions = match mechanism {
        SaslMechanism::ScramSha512 => &hash::SHA_512,
        _ => &hash::SHA_256,
    };
    scram::salted_password(functions, password, salt, iterations)
}

/// What part of the time that a connection has may pass before there is a token.
const TOKEN_PART: f64 = 0.8;

/// Begins the exchange of the configured mechanism, for each connection anew.
#[derive(Debug)]
pub(super) struct Authenticator {
    mechanism: SaslMechanism,
    login: SaslLogin,
    tokens: Option<Tokens>,
    #[cfg(feature = "msk-iam")]
    msk_iam: Option<msk_iam::MskIam>,
}

impl Authenticator {
    /// For a configuration that was checked; none where clients do not say who they are.
    pub fn new(config: &ClientConfig) -> Option<Self> {
        if !config.security.protocol.uses_sasl() {
            return None;
        }
        let sasl = &config.security.sasl;
        let mechanism = sasl.mechanism?;
        let limit = config.connect_timeout.mul_f64(TOKEN_PART);
        let provider = match mechanism {
            SaslMechanism::OAuthBearer => {
                let own = sasl.token_provider.clone();
                own.or_else(|| match sasl.token_source {
                    TokenSource::OAuth => oidc::provider(config, limit),
                    #[cfg(feature = "msk-iam")]
                    TokenSource::MskIam => {
                        Some(std::sync::Arc::new(msk_iam::MskIam::new(config, limit)))
                    }
                    #[cfg(not(feature = "msk-iam"))]
                    TokenSource::MskIam => None,
                })
            }
            _ => None,
        };
        let random = config.random("tokens");
        let tokens = provider.map(|it| Tokens::new(it, sasl.refresh, config.clock, limit, random));
        Some(Self {
            mechanism,
            login: sasl.login.clone(),
            tokens,
            #[cfg(feature = "msk-iam")]
            msk_iam: (mechanism == SaslMechanism::AwsMskIam)
                .then(|| msk_iam::MskIam::new(config, limit)),
        })
    }

    pub fn mechanism(&self) -> SaslMechanism {
        self.mechanism
    }

    /// Whom the client says to be, for errors: never what proves it.
    pub fn who(&self) -> String {
        match &self.login.username {
            Some(user) if self.mechanism.has_login() => {
                format!(
                    "{} as {}",
                    self.mechanism,
                    crate::kafka::model::names::quoted(user)
                )
            }
            _ => self.mechanism.to_string(),
        }
    }

    /// The exchange for one connection to the broker at `address`. The caller sets the deadline.
    #[cfg_attr(not(feature = "msk-iam"), expect(unused_variables))]
    pub async fn begin(&self, address: &Address) -> Result<Box<dyn Exchange>> {
        let user = self.login.username.as_deref().unwrap_or_default();
        let nothing = Secret::default();
        let password = self.login.password.as_ref().unwrap_or(&nothing);
        Ok(match self.mechanism {
            SaslMechanism::Plain => Box::new(plain::Plain::new(user, password)),
            SaslMechanism::ScramSha256 => Box::new(scram::Scram::new(&hash::SHA_256, &self.login)?),
            SaslMechanism::ScramSha512 => Box::new(scram::Scram::new(&hash::SHA_512, &self.login)?),
            SaslMechanism::OAuthBearer => {
                let Some(tokens) = &self.tokens else {
                    let message = "OAUTHBEARER has no token provider";
                    return Err(Error::new(ErrorKind::Config, message));
                };
                Box::new(oauth_bearer::OAuthBearer::new(&tokens.token().await?)?)
            }
            #[cfg(feature = "msk-iam")]
            SaslMechanism::AwsMskIam if let Some(iam) = &self.msk_iam => {
                Box::new(iam.begin(address.host()).await?)
            }
            SaslMechanism::AwsMskIam => {
                let message = "AWS_MSK_IAM is not in this program";
                return Err(Error::new(ErrorKind::Config, message));
            }
        })
    }
}
