//! Amazon MSK's IAM: who the client is, is said by credentials of AWS. As a token for OAUTHBEARER, or as the mechanism AWS_MSK_IAM.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `answers` | credentials in what services answer |
//! | `credentials` | which of the sources has credentials |
//! | `environment` | variables and files that the process was started with |
//! | `exchange` | the mechanism AWS_MSK_IAM |
//! | `profiles` | AWS's profile files |
//! | `services` | STS, and the metadata of containers and instances |
//! | `sigv4` | queries signed beforehand |
//! | `published.tsv`, `payloads.tsv` | what the published signers make of hundreds of inputs |

pub(super) mod answers;
mod credentials;
mod environment;
mod exchange;
pub(super) mod profiles;
mod services;
mod sigv4;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use self::credentials::CredentialsChain;
use self::environment::Environment;
pub(super) use self::exchange::MskIamExchange;
use self::sigv4::{LIFE_SECONDS, Signing};
use crate::kafka::config::security::{AwsCredentials, BearerToken, TokenError, TokenProvider};
use crate::kafka::net::BoxFuture;
use crate::kafka::net::http::encode;
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

const ACTION: (&str, &str) = ("Action", "kafka-cluster:Connect");
const SERVICE: &str = "kafka-cluster";
const USER_AGENT: &str = concat!("pat-events/", env!("CARGO_PKG_VERSION"));
/// What part of the time that a connection has is used at the most, so that the last error is told rather than that time was out.
const PART: f64 = 0.9;

/// Signs with the credentials that are found.
#[derive(Debug)]
pub(super) struct MskIam {
    credentials: CredentialsChain,
    /// The cluster's region, where it is configured or stands in a bootstrap server's name.
    region: Option<String>,
}

impl MskIam {
    pub fn new(config: &ClientConfig, limit: Duration) -> Self {
        Self::with_environment(config, limit, Environment::default())
    }

    fn with_environment(config: &ClientConfig, limit: Duration, environment: Environment) -> Self {
        let sasl = &config.security.sasl;
        let in_name = || {
            config
                .bootstrap_servers
                .iter()
                .find_map(|name| region_of(name))
        };
        let random = config.random("AWS");
        let limit = limit.mul_f64(PART);
        Self {
            credentials: CredentialsChain::new(
                &sasl.msk_iam,
                &sasl.login,
                environment,
                random,
                limit,
            ),
            region: sasl.msk_iam.region.clone().or_else(in_name),
        }
    }

    /// The region to sign for, when speaking with `host`, if that is known.
    async fn region(&self, host: Option<&str>) -> Result<String> {
        if let Some(region) = self.region.clone().or_else(|| region_of(host?)) {
            return Ok(region);
        }
        self.credentials.region().await.ok_or_else(|| {
            let message = "the region of the cluster is not known: it is in none of the brokers' names; set AWS_REGION, or MskIamConfig::region";
            Error::new(ErrorKind::Config, message)
        })
    }

    async fn signed_token(&self) -> Result<BearerToken> {
        let region = self.region(None).await?;
        let credentials = self.credentials.credentials().await?;
        let now = SystemTime::now();
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = token(&region, &credentials, seconds, USER_AGENT);
        let end = UNIX_EPOCH + Duration::from_secs(seconds + LIFE_SECONDS);
        let end = credentials.expires_at.map_or(end, |it| it.min(end));
        Ok(BearerToken::new(token.to_string(), Some(end)))
    }

    /// What AWS_MSK_IAM begins with on a connection to `host`. In a box: it is the deepest of what a connection waits for.
    pub fn begin<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<MskIamExchange>> {
        Box::pin(async move {
            let region = self.region(Some(host)).await?;
            let credentials = self.credentials.credentials().await?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let signing = Signing {
                credentials: &credentials,
                region: &region,
                service: SERVICE,
                seconds: now.unwrap_or_default().as_secs(),
            };
            Ok(MskIamExchange::new(host, &signing))
        })
    }
}

impl TokenProvider for MskIam {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        Box::pin(async { Ok(self.signed_token().await?) })
    }
}

/// The token: a URL that is signed beforehand, in base64.
pub(super) fn token(
    region: &str,
    credentials: &AwsCredentials,
    seconds: u64,
    user_agent: &str,
) -> Zeroizing<String> {
    let signing = Signing {
        credentials,
        region,
        service: SERVICE,
        seconds,
    };
    let host = format!("kafka.{region}.amazonaws.com");
    let query = sigv4::written(&signing.query(&host, &[ACTION]));
    let user_agent = encode(user_agent);
    let url = Zeroizing::new(format!(
        "https://{host}/?{}&User-Agent={user_agent}",
        *query
    ));
    Zeroizing::new(URL_SAFE_NO_PAD.encode(url.as_bytes()))
}

/// The region in the name of a broker of MSK's, as in `b-1.c.x.c2.kafka.eu-west-1.amazonaws.com:9098`.
fn region_of(name: &str) -> Option<String> {
    let mut labels = name.split(['.', ':']);
    labels.find(|label| ["kafka", "kafka-serverless"].contains(label))?;
    let region = labels.next()?;
    let is_region = region.split('-').count() >= 3;
    (is_region && labels.next()? == "amazonaws").then(|| region.to_string())
}
