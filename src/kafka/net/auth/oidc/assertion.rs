//! Assertions: what a client says of itself to a token endpoint, signed with its key (RFC 7523), by the TLS provider's cryptography.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::file::read_secret;
use crate::kafka::config::Secret;
use crate::kafka::config::security::{AssertionAlgorithm, AssertionConfig};
use crate::kafka::net::tls;
use crate::kafka::{Error, ErrorKind, Result};

/// Random bytes in an assertion's id.
const ID_BYTES: usize = 16;

/// An assertion that is good at `now`, in seconds since 1970: out of its file, or signed here.
pub(super) async fn assertion(config: &AssertionConfig, now: u64) -> Result<Secret> {
    if let Some(path) = &config.file {
        return read_secret(path.clone(), "the assertion").await;
    }
    let template = match &config.template {
        Some(path) => Some(read_template(path.clone()).await?),
        None => None,
    };
    let text = unsigned(config, template.unwrap_or_default(), now, &random_id()?);
    let config = config.clone();
    let signing = tokio::task::spawn_blocking(move || sign(&config, text));
    signing.await.unwrap_or_else(|lost| {
        let message = "signing the assertion ended early";
        Err(Error::new(ErrorKind::Internal, message).because(lost))
    })
}

/// What a template adds to the assertion.
#[derive(Debug, Default)]
pub(in crate::kafka::net::auth) struct Template {
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

/// A template's text: an object with the objects `header` and `payload`, either of which may be missing.
pub(in crate::kafka::net::auth) fn template(text: &str) -> Result<Template, &'static str> {
    let Ok(Value::Object(mut all)) = serde_json::from_str(text) else {
        return Err("it is no JSON object");
    };
    let mut part = |name| match all.remove(name) {
        Some(Value::Object(part)) => Ok(part),
        Some(_) => Err("its header and its payload must be objects"),
        None => Ok(Map::new()),
    };
    Ok(Template {
        header: part("header")?,
        payload: part("payload")?,
    })
}

async fn read_template(path: PathBuf) -> Result<Template> {
    let text = read_secret(path, "the assertion's template").await?;
    template(text.reveal()).map_err(|why| {
        let message = format!("sasl.oauthbearer.assertion.template.file: {why}");
        Error::new(ErrorKind::Config, message)
    })
}

/// Header and claims in base64, a dot between. As in Java, what the configuration says comes first, then the template, and what has to do
/// with time and algorithm counts last.
fn unsigned(config: &AssertionConfig, template: Template, now: u64, id: &str) -> String {
    let mut claims = Map::new();
    for (name, value) in [
        ("aud", &config.audience),
        ("iss", &config.issuer),
        ("sub", &config.subject),
    ] {
        if let Some(value) = value {
            claims.insert(name.to_string(), value.as_str().into());
        }
    }
    claims.extend(template.payload);
    claims.insert("iat".to_string(), now.into());
    claims.insert("exp".to_string(), (now + config.lifetime.as_secs()).into());
    let not_before = now.saturating_sub(config.not_before.as_secs());
    claims.insert("nbf".to_string(), not_before.into());
    if config.with_id {
        claims.insert("jti".to_string(), id.into());
    }
    let mut header = template.header;
    header.insert("alg".to_string(), config.algorithm.name().into());
    header.insert("typ".to_string(), "JWT".into());
    let encoded = |part| URL_SAFE_NO_PAD.encode(Value::Object(part).to_string());
    format!("{}.{}", encoded(header), encoded(claims))
}

/// The text and its signature. Blocks.
fn sign(config: &AssertionConfig, mut text: String) -> Result<Secret> {
    let Some(key) = &config.key else {
        let message = "an assertion needs sasl.oauthbearer.assertion.private.key.file";
        return Err(Error::new(ErrorKind::Config, message));
    };
    let is_elliptic = config.algorithm == AssertionAlgorithm::Es256;
    let signature = tls::sign(
        key,
        config.key_password.as_ref(),
        is_elliptic,
        text.as_bytes(),
    )?;
    let signature = match is_elliptic {
        true => concatenated(&signature).ok_or_else(|| {
            let message = "the signature of the assertion has another form than ES256 wants";
            Error::new(ErrorKind::Internal, message)
        })?,
        false => signature,
    };
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    Ok(Secret::new(text))
}

/// The two numbers of an ECDSA signature, 32 bytes each (RFC 7518, 3.4), out of their DER (a sequence of two integers).
pub(in crate::kafka::net::auth) fn concatenated(der: &[u8]) -> Option<Vec<u8>> {
    let [0x30, length, rest @ ..] = der else {
        return None;
    };
    let mut rest = (rest.len() == usize::from(*length)).then_some(rest)?;
    let mut both = Vec::with_capacity(64);
    for _ in 0..2 {
        let [0x02, length, more @ ..] = rest else {
            return None;
        };
        let (number, more) = more.split_at_checked(usize::from(*length))?;
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let number = &number[zeros..];
        let missing = 32_usize.checked_sub(number.len())?;
        both.resize(both.len() + missing, 0);
        both.extend_from_slice(number);
        rest = more;
    }
    rest.is_empty().then_some(both)
}

/// A random UUID (RFC 9562, version 4).
fn random_id() -> Result<String> {
    let mut bytes = [0; ID_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        let message = "the operating system has no random numbers for an assertion";
        Error::new(ErrorKind::Authentication, message).because(error)
    })?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&place) {
            id.push('-');
        }
        id.push_str(&format!("{byte:02x}"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_from_the_configuration_the_template_and_the_clock() {
        let config = AssertionConfig {
            audience: Some("https://idp".to_string()),
            issuer: Some("me".to_string()),
            algorithm: AssertionAlgorithm::Es256,
            with_id: true,
            ..AssertionConfig::default()
        };
        let template = template(r#"{"header":{"kid":"k","alg":"none"},"payload":{"iss":"template","exp":1,"team":["a"]}}"#).expect("a template");
        let text = unsigned(&config, template, 1_000, "an-id");
        let parts: Vec<Value> = text
            .split('.')
            .map(|part| {
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64"))
                    .expect("JSON")
            })
            .collect();
        let expected = [
            r#"{"alg":"ES256","kid":"k","typ":"JWT"}"#,
            r#"{"aud":"https://idp","exp":1300,"iat":1000,"iss":"template","jti":"an-id","nbf":940,"team":["a"]}"#,
        ];
        let expected: Vec<Value> = expected
            .iter()
            .map(|text| serde_json::from_str(text).expect("JSON"))
            .collect();
        assert_eq!(parts, expected);
        for text in ["", "[]", "null", r#"{"header":1}"#, r#"{"payload":[]}"#] {
            assert!(super::template(text).is_err(), "{text}");
        }
        assert!(super::template("{}").is_ok());
    }

    #[test]
    fn numbers_of_a_signature_are_put_side_by_side() {
        let small = [0x30, 6, 2, 1, 5, 2, 1, 7];
        let both = concatenated(&small).expect("a signature");
        assert_eq!((both.len(), both[31], both[63]), (64, 5, 7));
        assert_eq!(both.iter().filter(|byte| **byte > 0).count(), 2);
        // With the zero in front that keeps a number positive.
        let mut long = vec![0x30, 38, 2, 33, 0];
        long.extend([0xff; 32]);
        long.extend([2, 1, 1]);
        let both = concatenated(&long).expect("a signature");
        assert_eq!(both[..32], [0xff; 32]);
        let mut longer = vec![0x30, 38, 2, 33];
        longer.extend([0xff; 33]);
        longer.extend([2, 1, 1]);
        for der in [
            &longer[..],
            &[],
            &[0x30],
            &[0x30, 0],
            &[0x31, 6, 2, 1, 5, 2, 1, 7],
            &[0x30, 7, 2, 1, 5, 2, 1, 7],
            &[0x30, 6, 2, 9, 5, 2, 1, 7],
            &[0x30, 6, 3, 1, 5, 2, 1, 7],
            &[0x30, 7, 2, 1, 5, 2, 1, 7, 0],
            &[0x30, 3, 2, 1, 5],
        ] {
            assert_eq!(concatenated(der), None, "{der:?}");
        }
    }

    #[test]
    fn ids_are_random_uuids() {
        let (one, other) = (random_id().expect("an id"), random_id().expect("an id"));
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"), "{one}");
        assert!("89ab".contains(&one[19..20]), "{one}");
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_key_is_told() {
        let config = AssertionConfig {
            key: Some(crate::kafka::Pem::text(
                "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
            )),
            ..AssertionConfig::default()
        };
        let error = assertion(&config, 0).await.expect_err("no key");
        assert_eq!(error.kind(), ErrorKind::Config);
        let shown = format!("{error} {error:?} {config:?}");
        assert!(
            shown.contains("the assertion's key") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
