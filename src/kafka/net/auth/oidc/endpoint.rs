//! A token endpoint is asked for a token.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::answer::token_answer;
use crate::kafka::config::security::{
    BearerToken, OAuthConfig, SaslLogin, TlsConfig, TokenError, TokenProvider,
};
use crate::kafka::net::BoxFuture;
use crate::kafka::net::http::{HttpClient, HttpRequest, Retries, Url, encode};
use crate::kafka::{ClientConfig, Error, ErrorKind, Result};

/// What a part of the time that a connection has is used at the most, so that the last error is told rather than that time was out.
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
        let mut form = Zeroizing::new("grant_type=client_credentials".to_string());
        if let Some(scope) = config.scope(login) {
            form.push_str(&format!("&scope={}", encode(scope)));
        }
        let id = config.client_id(login).unwrap_or_default();
        let secret = config.client_secret(login).unwrap_or_default();
        let encoded = Zeroizing::new(encode(secret));
        let both = Zeroizing::new(match config.url_encoded_header {
            true => format!("{}:{}", encode(id), *encoded),
            false => format!("{id}:{secret}"),
        });
        let basic = Zeroizing::new(STANDARD.encode(both.as_bytes()));
        Ok(HttpRequest::form(url, form)
            .header("accept", "application/json")
            .header("cache-control", "no-cache")
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
