//! The mechanisms, message by message: PLAIN (RFC 4616), SCRAM (RFC 5802), OAUTHBEARER (RFC 7628), with Kafka's words for what is refused.

use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use super::{Hash, Security, scram};
use crate::broker::random::Random;

/// How a client says who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Scram(Hash),
    OAuthBearer,
}

impl Mechanism {
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::Scram(Hash::Sha256),
        Self::Scram(Hash::Sha512),
        Self::OAuthBearer,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Self::Scram(Hash::Sha512) => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

/// A mechanism under way.
#[derive(Debug)]
pub(super) enum Exchange {
    Plain,
    Scram(scram::Server),
    /// `refused` once the client was told that its token is no good: it has to say that it has heard.
    OAuthBearer {
        refused: bool,
    },
}

pub(super) enum Step {
    Challenge(Vec<u8>),
    Done(Vec<u8>, Login),
}

/// Who the client is, and until when that is so.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) expires_ms: Option<i64>,
}

const BAD_TOKEN: &str = r#"{"status":"invalid_token"}"#;
/// What a client sends that has heard it.
const HEARD: &[u8] = b"\x01";

impl Exchange {
    pub(super) fn begin(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Scram(hash) => Self::Scram(scram::Server::new(hash)),
            Mechanism::OAuthBearer => Self::OAuthBearer { refused: false },
        }
    }

    /// What follows a message of the client; an error is what the client is told.
    pub(super) fn next(
        &mut self,
        message: &[u8],
        security: &Security,
        random: &Mutex<Random>,
    ) -> Result<Step, String> {
        match self {
            Self::Plain => {
                plain(message, security).map_err(|why| format!("Authentication failed: {why}"))
            }
            Self::Scram(server) => {
                let hash = server.hash();
                let name = Mechanism::Scram(hash).name();
                // The reason might help somebody who guesses.
                let invalid = |()| {
                    format!(
                        "Authentication failed during authentication due to invalid credentials with SASL mechanism {name}"
                    )
                };
                let find = |user: &str| security.scram_users().credential(hash, user, random);
                server.next(message, find, random).map_err(invalid)
            }
            Self::OAuthBearer { refused: true } if message == HEARD => Err(BAD_TOKEN.to_owned()),
            Self::OAuthBearer { refused } => {
                let validate = security.settings.bearer.as_ref();
                let token = bearer(message).ok_or_else(|| {
                    let name = Mechanism::OAuthBearer.name();
                    format!("Authentication failed during authentication due to invalid credentials with SASL mechanism {name}")
                })?;
                let Some((user, expires_at)) = validate.and_then(|validate| (validate.0)(token))
                else {
                    *refused = true;
                    return Ok(Step::Challenge(BAD_TOKEN.as_bytes().to_vec()));
                };
                let since_1970 = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
                let expires_ms = Some(i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX));
                Ok(Step::Done(Vec::new(), Login { user, expires_ms }))
            }
        }
    }
}

fn plain(message: &[u8], security: &Security) -> Result<Step, &'static str> {
    let malformed = "Invalid SASL/PLAIN response: expected 3 tokens";
    let text = std::str::from_utf8(message).map_err(|_| malformed)?;
    let tokens: Vec<&str> = text.splitn(4, '\0').collect();
    let [authorization_id, user, password] = tokens[..] else {
        return Err(malformed);
    };
    if user.is_empty() {
        return Err("username not specified");
    }
    if password.is_empty() {
        return Err("password not specified");
    }
    if security
        .settings
        .plain
        .get(user)
        .is_none_or(|known| known != password)
    {
        return Err("Invalid username or password");
    }
    if !authorization_id.is_empty() && authorization_id != user {
        return Err("Client requested an authorization id that is different from username");
    }
    let login = Login {
        user: user.to_owned(),
        expires_ms: None,
    };
    Ok(Step::Done(Vec::new(), login))
}

/// The token in a client's first message: `n,,`, then pairs with `\x01` after each, and one more at the end.
fn bearer(message: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(message).ok()?;
    let pairs = text.strip_prefix("n,,\x01")?.strip_suffix("\x01\x01")?;
    let mut pairs = pairs.split('\x01');
    pairs.find_map(|pair| pair.strip_prefix("auth=Bearer "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::broker::security::{SecuritySettings, TokenValidator};

    fn ask(exchange: &mut Exchange, message: &[u8]) -> Result<(Vec<u8>, Option<String>), String> {
        let validate = |token: &str| {
            let expires_at = UNIX_EPOCH + Duration::from_millis(5);
            (token == "good").then(|| ("carol".to_owned(), expires_at))
        };
        let settings = SecuritySettings {
            plain: [("alice".to_owned(), "secret".to_owned())].into(),
            bearer: Some(TokenValidator(Arc::new(validate))),
            ..SecuritySettings::default()
        };
        let random = Mutex::new(Random::new(1));
        match exchange.next(message, &Security::new(settings), &random)? {
            Step::Challenge(message) => Ok((message, None)),
            Step::Done(message, login) => Ok((message, Some(login.user))),
        }
    }

    #[test]
    fn plain_takes_a_user_with_its_password_who_acts_for_nobody_else() {
        let ask = |message: &[u8]| ask(&mut Exchange::begin(Mechanism::Plain), message);
        for good in [&b"\0alice\0secret"[..], b"alice\0alice\0secret"] {
            assert_eq!(ask(good), Ok((Vec::new(), Some("alice".to_owned()))));
        }
        for bad in [
            &b""[..],
            b"alice\0secret",
            b"\0alice\0wrong",
            b"\0bob\0secret",
            b"\0\0secret",
            b"\0alice\0",
            b"bob\0alice\0secret",
            b"\0alice\0secret\0",
            b"\0alice\0\xff",
        ] {
            assert!(ask(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_token_is_refused_once_the_client_has_heard() {
        let mut exchange = Exchange::begin(Mechanism::OAuthBearer);
        let good = b"n,,\x01auth=Bearer good\x01trace=1\x01\x01";
        assert_eq!(
            ask(&mut exchange, good),
            Ok((Vec::new(), Some("carol".to_owned())))
        );
        let mut exchange = Exchange::begin(Mechanism::OAuthBearer);
        let bad = b"n,,\x01auth=Bearer bad\x01\x01";
        assert_eq!(
            ask(&mut exchange, bad),
            Ok((BAD_TOKEN.as_bytes().to_vec(), None))
        );
        assert_eq!(ask(&mut exchange, HEARD), Err(BAD_TOKEN.to_owned()));
        assert!(ask(&mut Exchange::begin(Mechanism::OAuthBearer), HEARD).is_err());
    }
}
