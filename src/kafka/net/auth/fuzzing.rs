//! The way of the fuzz targets to what reads the messages of mechanisms, and the answers of token endpoints and of AWS's services. Built with
//! `--cfg fuzzing` alone.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::exchange::{Exchange, MAX_ROUNDS, Step};
use super::hash::{SHA_256, SHA_512};
use super::msk_iam::{self, answers, profiles};
use super::oauth_bearer::OAuthBearer;
use super::oidc::{answer, assertion};
use super::scram::Scram;
use crate::kafka::config::Secret;
use crate::kafka::config::security::{BearerToken, SaslLogin};
use crate::kafka::net::http::Url;

/// How many kinds of answers there are.
pub const KINDS: u8 = 8;

/// Reads `data` as one of the kinds: it may be refused, but no more than that.
pub fn answers(kind: u8, data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match kind % KINDS {
        0 => {
            let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
            if let Ok(answer) = answer::token_answer(data, now) {
                assert!(!answer.value.reveal().trim().is_empty());
                let token = BearerToken::new(answer.value, answer.expires_at);
                // It is sent as it is, or refused.
                if let Ok(mut exchange) = OAuthBearer::new(&token) {
                    let first = exchange.first();
                    assert_eq!(first.iter().filter(|byte| **byte == 1).count(), 3);
                }
            }
        }
        1 => drop(answer::expires_at(&text)),
        2 => drop(assertion::template(&text)),
        3 => drop(assertion::concatenated(data).inspect(|both| assert_eq!(both.len(), 64))),
        4 | 5 => {
            let read = match kind % KINDS {
                4 => answers::from_json(data),
                _ => answers::from_xml(data),
            };
            if let Ok(read) = read {
                assert!(
                    !read.access_key_id.is_empty() && !read.secret_access_key.reveal().is_empty()
                );
                let token = msk_iam::token("eu-west-1", &read, 1_700_000_000, "fuzz");
                let token = BearerToken::new(Secret::new(token.as_str()), None);
                OAuthBearer::new(&token)
                    .map(drop)
                    .expect("a token can be sent");
            }
        }
        6 => {
            let mut read = BTreeMap::new();
            profiles::read(&text, false, &mut read);
            profiles::read(&text, true, &mut read);
        }
        _ => {
            if let Ok(url) = Url::parse(&text) {
                let shown = url.to_string();
                assert_eq!(
                    Url::parse(&shown).ok().map(|it| it.address),
                    Some(url.address)
                );
            }
        }
    }
}

/// An exchange by one of the mechanisms with a broker that says the lines of `data`: it comes to an end.
pub fn exchange(mechanism: u8, data: &[u8]) {
    let login = SaslLogin {
        username: Some("u".to_string()),
        password: Some(Secret::new("p")),
        ..SaslLogin::default()
    };
    let scram = |functions| Scram::with_nonce(functions, &login, "N".to_string());
    let mut exchange: Box<dyn Exchange> = match mechanism % 3 {
        0 => Box::new(scram(&SHA_256).expect("a login")),
        1 => Box::new(scram(&SHA_512).expect("a login")),
        _ => Box::new(OAuthBearer::new(&BearerToken::new("t", None)).expect("a token")),
    };
    assert!(!exchange.first().is_empty());
    for message in data.split(|byte| *byte == b'\n').take(MAX_ROUNDS) {
        match exchange.next(message) {
            Ok(Step::Send(next)) => assert!(!next.is_empty()),
            Ok(Step::Done) | Err(_) => return,
        }
    }
}
