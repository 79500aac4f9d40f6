//! The services that give out credentials: STS, the container's, the instance's (IMDSv2).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answers::{from_json, from_xml};
use super::environment::Environment;
use super::sigv4::{self, Signing};
use crate::kafka::config::Secret;
use crate::kafka::config::security::{AwsCredentials, TlsConfig};
use crate::kafka::net::auth::oidc::read_secret;
use crate::kafka::net::http::{HttpClient, HttpRequest, Retries, Url, encode};
use crate::kafka::{Error, ErrorKind, Random, Result};

/// How long a service on this machine may take: elsewhere there is none, and nobody says so.
const LOCAL: Duration = Duration::from_secs(1);
/// How long such a service is asked again.
const LOCAL_RETRIES: Duration = Duration::from_secs(3);
/// How long STS may take to be connected to, and to answer.
const REMOTE: Duration = Duration::from_secs(5);
/// The first pause before a service is asked again.
const BACKOFF: Duration = Duration::from_millis(100);
/// The version of STS's API.
const STS: (&str, &str) = ("Version", "2011-06-15");

/// Speaks with them.
#[derive(Debug)]
pub(super) struct Services {
    local: HttpClient,
    remote: HttpClient,
    limit: Duration,
}

/// A role to be assumed.
pub(super) struct Role<'a> {
    pub arn: &'a str,
    pub session_name: &'a str,
    pub external_id: Option<&'a str>,
    /// Where STS is asked; its global endpoint without.
    pub region: Option<&'a str>,
}

impl Services {
    pub fn new(mut random: Random, limit: Duration) -> Self {
        let mut client = |timeout| {
            let random = Random::seeded(random.next_u64());
            HttpClient::new(TlsConfig::default(), timeout, timeout, random)
        };
        Self {
            local: client(LOCAL),
            remote: client(REMOTE),
            limit,
        }
    }

    /// AssumeRole, with credentials that may do so.
    pub async fn assume_role(
        &self,
        environment: &Environment,
        role: &Role<'_>,
        credentials: &AwsCredentials,
    ) -> Result<AwsCredentials> {
        let endpoint = sts_endpoint(environment, role.region)?;
        let mut parameters = vec![
            ("Action", "AssumeRole"),
            STS,
            ("RoleArn", role.arn),
            ("RoleSessionName", role.session_name),
        ];
        parameters.extend(role.external_id.map(|id| ("ExternalId", id)));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let signing = Signing {
            credentials,
            region: role.region.unwrap_or("us-east-1"),
            service: "sts",
            seconds: now.unwrap_or_default().as_secs(),
        };
        let query = signing.query(&endpoint.authority, &parameters);
        let target = format!("/?{}", *sigv4::written(&query));
        let request = HttpRequest::get(Url { target, ..endpoint });
        let request = sigv4::secrets(&query).fold(request, |it, secret| it.secret(secret.reveal()));
        self.sts(request, "AssumeRole").await
    }

    /// AssumeRoleWithWebIdentity, with the token that stands in a file.
    pub async fn assume_role_with_web_identity(
        &self,
        environment: &Environment,
        role: &Role<'_>,
        token_file: &str,
    ) -> Result<AwsCredentials> {
        let token = read_secret(token_file.into(), "the web identity's token").await?;
        let form = Zeroizing::new(format!(
            "Action=AssumeRoleWithWebIdentity&{}={}&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            STS.0,
            STS.1,
            encode(role.arn),
            encode(role.session_name),
            encode(token.reveal())
        ));
        let endpoint = sts_endpoint(environment, role.region)?;
        let request = HttpRequest::form(endpoint, form).secret(token.reveal());
        self.sts(request, "AssumeRoleWithWebIdentity").await
    }

    async fn sts(&self, request: HttpRequest, action: &'static str) -> Result<AwsCredentials> {
        let retries = self.retries(self.limit);
        let answer = self.remote.send(&request, retries).await;
        let answer = answer.map_err(|error| error.prefixed(action))?;
        from_xml(&answer).map_err(|why| wrong(format!("{action}: {why}")))
    }

    /// The container's credentials, if variables say that it has some.
    pub async fn container(&self, environment: &Environment) -> Result<Option<AwsCredentials>> {
        let relative = environment.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let full = environment.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI");
        let url = match (relative, full) {
            (Some(path), _) => {
                let base = &environment.container_base;
                format!("{base}/{}", path.trim_start_matches('/'))
            }
            (None, Some(url)) => url,
            (None, None) => return Ok(None),
        };
        let url = Url::parse(&url)
            .map_err(|error| error.prefixed("AWS_CONTAINER_CREDENTIALS_FULL_URI"))?;
        // Whoever listens there gets the token, and says who we are.
        let is_here = |host: &str| {
            let is_loopback = host
                .parse()
                .is_ok_and(|it: std::net::IpAddr| it.is_loopback());
            is_loopback
                || [
                    "localhost",
                    "169.254.170.2",
                    "169.254.170.23",
                    "fd00:ec2::23",
                ]
                .contains(&host)
        };
        if !url.is_tls && !is_here(url.address.host()) {
            return Err(wrong(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or of this machine".to_string(),
            ));
        }
        let token = match environment.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => Some(read_secret(path.into(), "the container's token").await?),
            None => environment
                .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(Secret::from),
        };
        let mut request = HttpRequest::get(url);
        if let Some(token) = &token {
            request = request
                .header("authorization", token.reveal())
                .secret(token.reveal());
        }
        let answer = self
            .local
            .send(&request, self.retries(LOCAL_RETRIES))
            .await?;
        let read = from_json(&answer);
        read.map(Some)
            .map_err(|why| wrong(format!("the container's credentials: {why}")))
    }

    /// The credentials of the instance's role.
    pub async fn instance(&self, environment: &Environment) -> Result<AwsCredentials> {
        let base = environment.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        let base = base.unwrap_or_else(|| "http://169.254.169.254".to_string());
        let base = base.trim_end_matches('/');
        let url = |path: &str| Url::parse(&format!("{base}{path}"));
        let retries = self.retries(LOCAL_RETRIES);
        let ask = HttpRequest::get(url("/latest/api/token")?)
            .put()
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        let token = text(self.local.send(&ask, retries).await?)?;
        let get = |url| {
            HttpRequest::get(url)
                .header("x-aws-ec2-metadata-token", token.reveal())
                .secret(token.reveal())
        };
        let roles = "/latest/meta-data/iam/security-credentials/";
        let role = text(self.local.send(&get(url(roles)?), retries).await?)?;
        let role = role.reveal().lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(wrong("the instance has no role".to_string()));
        }
        let role = url(&format!("{roles}{}", encode(role)))?;
        let answer = self.local.send(&get(role), retries).await?;
        from_json(&answer).map_err(|why| wrong(format!("the instance's credentials: {why}")))
    }

    fn retries(&self, limit: Duration) -> Retries {
        Retries {
            backoff: BACKOFF,
            until: Instant::now() + limit.min(self.limit),
        }
    }
}

fn sts_endpoint(environment: &Environment, region: Option<&str>) -> Result<Url> {
    let configured = environment.variable("AWS_ENDPOINT_URL_STS");
    let endpoint = configured.unwrap_or_else(|| match region {
        Some(region) if region.starts_with("cn-") => {
            format!("https://sts.{region}.amazonaws.com.cn")
        }
        Some(region) => format!("https://sts.{region}.amazonaws.com"),
        None => "https://sts.amazonaws.com".to_string(),
    });
    let url = Url::parse(&endpoint).map_err(|error| error.prefixed("the endpoint of STS"))?;
    match url.target == "/" {
        true => Ok(url),
        false => Err(wrong("the endpoint of STS has a path".to_string())),
    }
}

fn text(answer: Zeroizing<Vec<u8>>) -> Result<Secret> {
    let text = std::str::from_utf8(&answer).map(|text| Secret::new(text.trim()));
    text.map_err(|_| wrong("the metadata service answered with what is no text".to_string()))
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Authentication, message)
}
