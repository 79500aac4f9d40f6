//! OAUTHBEARER (RFC 7628, KIP-255): a token that somebody else has signed, with extensions (KIP-342).

use zeroize::Zeroizing;

use super::exchange::{Exchange, Step};
use crate::kafka::config::security::BearerToken;
use crate::kafka::error::sanitised;
use crate::kafka::{Error, ErrorKind, Result};

pub(super) struct OAuthBearer {
    first: Zeroizing<Vec<u8>>,
    /// What the broker had against the token.
    refused: Option<String>,
}

impl OAuthBearer {
    /// Fails when the token or an extension has letters that cannot be sent.
    pub fn new(token: &BearerToken) -> Result<Self> {
        let value = token.value.reveal();
        let is_token = |letter: char| letter.is_ascii_alphanumeric() || "-._~+/=".contains(letter);
        if value.is_empty() || !value.chars().all(is_token) {
            return Err(wrong(
                "the token provider returned no bearer token: allowed are letters, digits and -._~+/=",
            ));
        }
        let mut first = Zeroizing::new(b"n,,\x01auth=Bearer ".to_vec());
        first.extend_from_slice(value.as_bytes());
        first.push(1);
        for (name, text) in &token.extensions {
            let is_name = !name.is_empty() && name.chars().all(|it| it.is_ascii_alphabetic());
            let is_text = |it: char| it.is_ascii_graphic() || " \t\r\n".contains(it);
            if !is_name || name == "auth" || !text.chars().all(is_text) {
                return Err(wrong(
                    "the token provider returned a SASL extension that cannot be: names are letters other than \"auth\", values printable ASCII",
                ));
            }
            first.extend_from_slice(format!("{name}={text}\x01").as_bytes());
        }
        first.push(1);
        Ok(Self {
            first,
            refused: None,
        })
    }
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::Authentication, message)
}

impl Exchange for OAuthBearer {
    fn first(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.first)
    }

    fn next(&mut self, message: &[u8]) -> Result<Step> {
        if let Some(refused) = &self.refused {
            // A broker that says so and goes on.
            let message = format!("the broker does not accept the token: {refused}");
            return Err(Error::new(ErrorKind::Authentication, message));
        }
        if message.is_empty() {
            return Ok(Step::Done);
        }
        // A JSON object that says why not. The broker fails the authentication once this is acknowledged (RFC 7628, 3.2.3).
        self.refused = Some(sanitised(&String::from_utf8_lossy(message)));
        Ok(Step::Send(Zeroizing::new(vec![1])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(value: &str, extensions: &[(&str, &str)]) -> BearerToken {
        let mut token = BearerToken::new(value, None);
        let owned = |(name, text): &(&str, &str)| (name.to_string(), text.to_string());
        token.extensions = extensions.iter().map(owned).collect();
        token
    }

    #[test]
    fn the_token_and_its_extensions_are_sent() {
        let token = token("ab.c-d", &[("traceId", "1 2")]);
        let mut exchange = OAuthBearer::new(&token).expect("a token");
        let first = exchange.first();
        assert_eq!(
            **first,
            *b"n,,\x01auth=Bearer ab.c-d\x01traceId=1 2\x01\x01"
        );
        assert!(matches!(exchange.next(b""), Ok(Step::Done)));
    }

    #[test]
    fn a_refusal_is_acknowledged_and_then_ends_it() {
        let mut exchange = OAuthBearer::new(&token("t", &[])).expect("a token");
        let refusal = br#"{"status":"invalid_token"}"#;
        let Ok(Step::Send(answer)) = exchange.next(refusal) else {
            panic!("an acknowledgement");
        };
        assert_eq!(**answer, *b"\x01");
        let error = exchange.next(b"").err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.to_string().contains("invalid_token"), "{error}");
    }

    #[test]
    fn what_would_break_out_of_the_message_is_refused() {
        for token in [
            token("", &[]),
            token("a b", &[]),
            token("a\x01auth=x", &[]),
            token("a", &[("auth", "x")]),
            token("a", &[("", "x")]),
            token("a", &[("n1", "x")]),
            token("a", &[("n", "x\x01y=z")]),
        ] {
            let error = OAuthBearer::new(&token).err().expect("refused");
            assert!(!error.to_string().contains("x\x01"), "{error}");
        }
    }
}
