//! What a token endpoint answers (RFC 6749, 5.1), and what a token says of its end (RFC 7519). In: bytes of somebody else's. Out: a token, or
//! why there is none, without a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::kafka::config::Secret;
use crate::kafka::net::auth::secret_json::SecretJson;

/// A token is believed to live for no longer than a hundred years.
const LONGEST_LIFE: u64 = 100 * 366 * 24 * 3_600;

/// A token, as an endpoint returned it.
#[derive(Debug)]
pub(in crate::kafka::net::auth) struct TokenAnswer {
    pub value: Secret,
    /// Until when it is good, if it or the endpoint says so.
    pub expires_at: Option<SystemTime>,
}

/// The token in an answer that came at `now`.
pub(in crate::kafka::net::auth) fn token_answer(
    body: &[u8],
    now: SystemTime,
) -> Result<TokenAnswer, &'static str> {
    let json = SecretJson::parse(body).ok_or("the answer is no JSON")?;
    // Java looks for them in this order.
    let token = json.text("access_token").or_else(|| json.text("id_token"));
    let token = token.map(str::trim).filter(|token| !token.is_empty());
    let token = token.ok_or("the answer has no access_token")?;
    let expires_in = json
        .number("expires_in")
        .map(|seconds| seconds.min(LONGEST_LIFE));
    let expires_in = expires_in.map(|seconds| now + Duration::from_secs(seconds));
    Ok(TokenAnswer {
        value: Secret::new(token),
        expires_at: expires_at(token).or(expires_in),
    })
}

/// What a JWT says of its end; `None` when this is none, or it says nothing. The signature is the broker's to check.
pub(in crate::kafka::net::auth) fn expires_at(token: &str) -> Option<SystemTime> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let claims = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
    let seconds = SecretJson::parse(&claims)?.number("exp")?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(4 * LONGEST_LIFE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn a_token_and_its_end_are_read() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let token = jwt(r#"{"exp":2000}"#);
        for (body, value, expires_at) in [
            (
                format!(r#"{{"access_token":"{token}","expires_in":60}}"#),
                token.as_str(),
                at(2_000),
            ),
            (
                r#"{"access_token":" opaque ","expires_in":"60"}"#.to_string(),
                "opaque",
                at(1_060),
            ),
            (
                r#"{"id_token":"opaque","access_token":null}"#.to_string(),
                "opaque",
                None,
            ),
            (
                r#"{"access_token":"o","expires_in":1e300}"#.to_string(),
                "o",
                at(1_000 + LONGEST_LIFE),
            ),
            (
                r#"{"access_token":"o","expires_in":-1}"#.to_string(),
                "o",
                None,
            ),
        ] {
            let answer = token_answer(body.as_bytes(), now).expect("a token");
            assert_eq!(answer.value.reveal(), value);
            assert_eq!(answer.expires_at, expires_at, "{body}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for body in [
            "",
            "secret",
            "[]",
            "null",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":" "}"#,
            r#"{"access_token":7}"#,
            r#"{"access_token":{"a":"b"}}"#,
            r#"{"access_token":"a""#,
        ] {
            let deep = format!("{}{}", body, "[".repeat(10_000));
            for body in [body, &deep] {
                assert!(token_answer(body.as_bytes(), UNIX_EPOCH).is_err(), "{body}");
            }
        }
    }

    #[test]
    fn what_is_no_jwt_has_no_end() {
        for token in [
            "",
            "a",
            "a.b",
            "a.b.c.d",
            "..",
            "a.!.c",
            &jwt("{}"),
            &jwt(r#"{"exp":null}"#),
            &jwt(r#"{"exp":-5}"#),
        ] {
            assert_eq!(expires_at(token), None, "{token}");
        }
        assert_eq!(expires_at(&jwt(r#"{"exp":1.5}"#)), at(1));
        assert!(expires_at(&jwt(r#"{"exp":1e300}"#)).is_some());
    }
}
