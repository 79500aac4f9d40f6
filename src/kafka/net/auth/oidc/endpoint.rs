//! A token endpoint is asked for a token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answer::token_answer;
use super::assertion::assertion;
use crate::kafka::config::security::{
    BearerToken, OAuthConfig, OAuthGrant, SaslLogin, TlsConfig, TokenError, TokenProvider,
};
use crate::kafka::net::BoxFuture;
use crate::kafka::net::http::{HttpClient, HttpRequest, Retries, Url, encode};
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// The grant and the kind of assertion by RFC 7523.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// What part of the time that a connection has is used at the most, so that the last error is told rather than that time was out.
const PART: f64 = 0.9;

/// Asks the endpoint that the configuration names.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    http: HttpClient,
    config: OAuthConfig,
    login: SaslLogin,
    limit: Duration,
}

impl TokenEndpoint {
    pub fn new(config: &ClientConfig, limit: Duration) -> Self {
        let sasl = &config.security.sasl;
        let tls = TlsConfig {
            roots: sasl.oauth.roots.clone(),
            ..TlsConfig::default()
        };
        let OAuthConfig {
            connect_timeout,
            read_timeout,
            ..
        } = sasl.oauth;
        Self {
            http: HttpClient::new(
                tls,
                connect_timeout,
                read_timeout,
                config.random("token endpoint"),
            ),
            config: sasl.oauth.clone(),
            login: sasl.login.clone(),
            limit: limit.mul_f64(PART),
        }
    }

    async fn ask(&self) -> Result<BearerToken> {
        let text = self
            .config
            .token_endpoint_url
            .as_deref()
            .unwrap_or_default();
        let url = Url::parse(text)
            .map_err(|error| error.prefixed("sasl.oauthbearer.token.endpoint.url"))?;
        let shown = url.to_string();
        let request = self.request(url).await?;
        let retries = Retries {
            backoff: self.config.retry_backoff,
            until: Instant::now() + self.limit.min(self.config.retry_backoff_max),
        };
        let body = self.http.send(&request, retries).await?;
        let answer = token_answer(&body, SystemTime::now())
            .map_err(|why| Error::new(ErrorKind::Authentication, format!("{shown}: {why}")))?;
        let mut token = BearerToken::new(answer.value, answer.expires_at);
        token.extensions = self.config.extensions(&self.login);
        Ok(token)
    }

    async fn request(&self, url: Url) -> Result<HttpRequest> {
        let (config, login) = (&self.config, &self.login);
        let mut form = Zeroizing::new(String::new());
        let is_jwt_bearer = config.grant == OAuthGrant::JwtBearer;
        let assertion = match is_jwt_bearer || config.has_assertion() {
            true => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let now = now.unwrap_or_default().as_secs();
                Some(assertion(&config.assertion, now).await?)
            }
            false => None,
        };
        match &assertion {
            // Both forms with room for what is added: a buffer that grows leaves copies behind.
            Some(assertion) => {
                form.reserve(assertion.reveal().len() * 3 + 1_024);
                if is_jwt_bearer {
                    form.push_str(&format!("grant_type={}&assertion=", encode(JWT_BEARER)));
                } else {
                    form.push_str(&format!(
                        "grant_type=client_credentials&client_assertion_type={}",
                        encode(CLIENT_ASSERTION)
                    ));
                    if let Some(id) = config.client_id(login) {
                        form.push_str(&format!("&client_id={}", encode(id)));
                    }
                    form.push_str("&client_assertion=");
                }
                form.push_str(&Zeroizing::new(encode(assertion.reveal())));
            }
            None => form.push_str("grant_type=client_credentials"),
        }
        if let Some(scope) = config.scope(login) {
            form.push_str(&format!("&scope={}", encode(scope)));
        }
        let request = HttpRequest::form(url, form)
            .header("accept", "application/json")
            .header("cache-control", "no-cache");
        if let Some(assertion) = assertion {
            return Ok(request.secret(assertion.reveal()));
        }
        let id = config.client_id(login).unwrap_or_default();
        let secret = config.client_secret(login).unwrap_or_default();
        let encoded = Zeroizing::new(encode(secret));
        let both = Zeroizing::new(match config.url_encoded_header {
            true => format!("{}:{}", encode(id), *encoded),
            false => format!("{id}:{secret}"),
        });
        let basic = Zeroizing::new(STANDARD.encode(both.as_bytes()));
        Ok(request
            .header("authorization", format!("Basic {}", *basic))
            .secret(&basic)
            .secret(secret)
            .secret(&encoded))
    }
}

impl TokenProvider for TokenEndpoint {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        Box::pin(async { Ok(self.ask().await?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::net::http::stand_in::StandIn;

    fn endpoint(pairs: &[(&str, &str)], url: &str) -> TokenEndpoint {
        let mut config = ClientConfig::new("localhost:9092");
        let base = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.oauthbearer.token.endpoint.url", url),
        ];
        for (name, value) in base.iter().chain(pairs) {
            config.set(name, value).expect("a property");
        }
        config.validate().expect("all that is needed");
        TokenEndpoint::new(&config, Duration::from_secs(2))
    }

    #[tokio::test]
    async fn client_credentials_are_shown_as_java_shows_them() {
        let token = r#"{"access_token":"the.token","token_type":"Bearer","expires_in":600}"#;
        let java = [
            ("sasl.oauthbearer.client.credentials.client.id", "kafka"),
            ("sasl.oauthbearer.client.credentials.client.secret", "a b/c"),
            ("sasl.oauthbearer.scope", "read write"),
        ];
        let jaas = [(
            "sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=\"kafka\" clientSecret=\"a b/c\" \
             scope=\"read write\" extension_traceId=\"7\";",
        )];
        let encoded = [
            java[0],
            java[1],
            java[2],
            ("sasl.oauthbearer.header.urlencode", "true"),
        ];
        for (pairs, credentials) in [
            (&java[..], "kafka:a b/c"),
            (&jaas, "kafka:a b/c"),
            (&encoded, "kafka:a%20b%2Fc"),
        ] {
            let expected = format!(
                "\r\nauthorization: Basic {}\r\n",
                STANDARD.encode(credentials)
            );
            let server = StandIn::start(move |request| {
                let is_right = request.starts_with("POST /token HTTP/1.1\r\n")
                    && request.contains(&expected)
                    && request
                        .ends_with("\r\n\r\ngrant_type=client_credentials&scope=read%20write");
                match is_right {
                    true => (200, token.to_string()),
                    false => (400, request.to_string()),
                }
            })
            .await;
            let token = endpoint(pairs, &server.address("/token"))
                .ask()
                .await
                .expect("a token");
            assert_eq!(token.value.reveal(), "the.token");
            let life = token
                .expires_at
                .expect("an end")
                .duration_since(SystemTime::now());
            assert!((590..=600).contains(&life.expect("ahead").as_secs()));
            assert_eq!(token.extensions.len(), usize::from(pairs.len() == 1));
        }
    }

    #[tokio::test]
    async fn an_assertion_of_a_file_is_shown_as_java_shows_it() {
        let path =
            std::env::temp_dir().join(format!("pat-events-assertion-{}", std::process::id()));
        std::fs::write(&path, "the.asser+tion\n").expect("written");
        let file = path.to_str().expect("Unicode");
        for (pairs, form) in [
            (
                &[(
                    "sasl.oauthbearer.grant.type",
                    "urn:ietf:params:oauth:grant-type:jwt-bearer",
                )],
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=the.asser%2Btion&scope=all",
            ),
            (
                &[("sasl.oauthbearer.client.id", "kafka")],
                "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer\
                 &client_id=kafka&client_assertion=the.asser%2Btion&scope=all",
            ),
        ] {
            let server = StandIn::start(move |request| {
                match request.ends_with(&format!("\r\n\r\n{form}"))
                    && !request.contains("authorization:")
                {
                    true => (200, r#"{"access_token":"t"}"#.to_string()),
                    false => (400, request.to_string()),
                }
            })
            .await;
            let more = [
                ("sasl.oauthbearer.scope", "all"),
                ("sasl.oauthbearer.assertion.file", file),
            ];
            let endpoint = endpoint(&[&pairs[..], &more].concat(), &server.address("/"));
            assert_eq!(endpoint.ask().await.expect("a token").value.reveal(), "t");
        }
        std::fs::remove_file(&path).expect("removed");
    }

    #[tokio::test]
    async fn errors_name_the_endpoint_and_show_no_secret() {
        let pairs = [
            ("sasl.oauthbearer.client.id", "kafka"),
            ("sasl.oauthbearer.client.secret", "hunter 2"),
        ];
        let basic = STANDARD.encode("kafka:hunter 2");
        let echo = format!("no: hunter 2 hunter%202 {basic}");
        for (status, body, kind) in [
            (401, echo.as_str(), ErrorKind::Authentication),
            (503, echo.as_str(), ErrorKind::Connect),
            (200, r#"{"error":"hunter 2"}"#, ErrorKind::Authentication),
            (200, "hunter 2", ErrorKind::Authentication),
        ] {
            let server = StandIn::answers([(status, body.to_string())]).await;
            let endpoint = endpoint(&pairs, &server.address("/token?key=x"));
            let error = endpoint.token().await.expect_err("no token");
            let error = error.downcast::<Error>().expect("ours");
            let shown = format!("{error} {error:?} {endpoint:?}");
            assert_eq!(error.kind(), kind, "{error}");
            assert!(
                error.to_string().contains(&server.address("/token")),
                "{error}"
            );
            assert!(
                !shown.contains("hunter") && !shown.contains(&basic),
                "{shown}"
            );
        }
    }
}
