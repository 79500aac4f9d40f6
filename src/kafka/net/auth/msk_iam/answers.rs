//! Credentials in what services of AWS answer. In: bytes of somebody else's. Out: credentials, or why there are none, without a secret.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::kafka::config::Secret;
use crate::kafka::config::security::AwsCredentials;
use crate::kafka::net::auth::secret_json::SecretJson;
use crate::kafka::runtime::calendar::Rfc3339;

/// The JSON of the metadata services, and of a `credential_process`, which calls the token otherwise.
pub(in crate::kafka::net::auth) fn from_json(body: &[u8]) -> Result<AwsCredentials, &'static str> {
    let json = SecretJson::parse(body).ok_or("the answer is no JSON")?;
    if json.text("Code").is_some_and(|code| code != "Success") {
        return Err("the answer says that there are no credentials");
    }
    let token = json.text("Token").or_else(|| json.text("SessionToken"));
    credentials(
        json.text("AccessKeyId"),
        json.text("SecretAccessKey"),
        token,
        json.text("Expiration"),
    )
}

/// The XML of STS.
pub(in crate::kafka::net::auth) fn from_xml(body: &[u8]) -> Result<AwsCredentials, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "the answer is no text")?;
    let (_, rest) = text
        .split_once("<Credentials>")
        .ok_or("the answer has no credentials")?;
    let (text, _) = rest
        .split_once("</Credentials>")
        .ok_or("the answer has no credentials")?;
    let element = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (value, _) = rest.split_once(&format!("</{name}>"))?;
        // What stands there is base64, or a time.
        (!value.contains(['<', '&'])).then(|| value.trim())
    };
    credentials(
        element("AccessKeyId"),
        element("SecretAccessKey"),
        element("SessionToken"),
        element("Expiration"),
    )
}

fn credentials(
    key: Option<&str>,
    secret: Option<&str>,
    token: Option<&str>,
    expires: Option<&str>,
) -> Result<AwsCredentials, &'static str> {
    let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_string);
    let key = given(key).ok_or("the answer has no AccessKeyId")?;
    let secret = given(secret).ok_or("the answer has no SecretAccessKey")?;
    let mut credentials = AwsCredentials::new(key, secret);
    credentials.session_token = given(token).map(Secret::new);
    credentials.expires_at = match expires {
        Some(text) => Some(time(text).ok_or("the answer has an Expiration that is no time")?),
        None => None,
    };
    Ok(credentials)
}

/// `2024-02-29T23:59:59Z`, where parts of a second and another offset from UTC may stand (RFC 3339).
fn time(text: &str) -> Option<SystemTime> {
    let seconds = Rfc3339::read(text)?.seconds();
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", at(0)),
            ("2024-02-29T23:59:59Z", at(1_709_251_199)),
            ("2024-02-29T23:59:59.123Z", at(1_709_251_199)),
            ("2024-03-01T01:59:59+02:00", at(1_709_251_199)),
            ("2024-02-29T21:59:59-02:00", at(1_709_251_199)),
            ("2024-02-29T23:59:59", None),
            ("2024-02-29", None),
            ("2024-13-01T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2024-02-29T23:59:5\u{e9}Z", None),
            ("+024-02-29T23:59:59Z", None),
            ("", None),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn credentials_are_read_and_what_is_none_is_refused() {
        let xml = "<R><Credentials>\n<AccessKeyId>AK</AccessKeyId><SecretAccessKey>s/+=</SecretAccessKey><SessionToken>t</SessionToken>\
                   <Expiration>1970-01-01T00:01:00Z</Expiration></Credentials></R>";
        let json = r#"{"Code":"Success","AccessKeyId":"AK","SecretAccessKey":"s/+=","Token":"t","Expiration":"1970-01-01T00:01:00Z"}"#;
        for read in [from_xml(xml.as_bytes()), from_json(json.as_bytes())] {
            let read = read.expect("credentials");
            assert_eq!(read.access_key_id, "AK");
            assert_eq!(read.secret_access_key.reveal(), "s/+=");
            assert_eq!(read.session_token.as_ref().map(Secret::reveal), Some("t"));
            assert_eq!(read.expires_at, at(60));
            assert!(!format!("{read:?}").contains("s/+="));
        }
        let process = from_json(
            br#"{"Version":1,"AccessKeyId":"AK","SecretAccessKey":"s","SessionToken":"t"}"#,
        );
        assert!(process.expect("credentials").session_token.is_some());
        for json in [
            "",
            "[]",
            "{}",
            r#"{"Code":"Failed","AccessKeyId":"AK","SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"AK"}"#,
            r#"{"AccessKeyId":"","SecretAccessKey":"s"}"#,
            r#"{"AccessKeyId":"AK","SecretAccessKey":"s","Expiration":"soon"}"#,
        ] {
            assert!(from_json(json.as_bytes()).is_err(), "{json}");
        }
        for xml in [
            "",
            "<Credentials>",
            "<Credentials></Credentials>",
            "\u{0}",
            "<Credentials><AccessKeyId>AK</AccessKeyId><SecretAccessKey>a&amp;b</SecretAccessKey></Credentials>",
            "<Credentials><AccessKeyId>AK</AccessKeyId></Credentials><SecretAccessKey>s</SecretAccessKey>",
        ] {
            assert!(from_xml(xml.as_bytes()).is_err(), "{xml}");
        }
        assert!(from_xml(b"\xff").is_err());
    }
}
