//! The mechanism AWS_MSK_IAM: one message with what is signed, as JSON; the broker answers with JSON.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::sigv4::Signing;
use super::{ACTION, USER_AGENT};
use crate::kafka::net::auth::exchange::{Exchange, Step};
use crate::kafka::net::auth::secret_json::SecretJson;
use crate::kafka::{Error, ErrorKind, Result};

/// The version of the messages.
const VERSION: &str = "2020_10_22";

/// One authentication.
pub(in crate::kafka::net::auth) struct MskIamExchange {
    first: Zeroizing<Vec<u8>>,
}

impl MskIamExchange {
    pub(super) fn new(host: &str, signing: &Signing<'_>) -> Self {
        let query = signing.query(host, &[ACTION]);
        let mut message = BTreeMap::from([
            ("version".to_string(), VERSION),
            ("host".to_string(), host),
            ("user-agent".to_string(), USER_AGENT),
        ]);
        message.extend(
            query
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str())),
        );
        let first = serde_json::to_vec(&message);
        let first = first.unwrap_or_else(|_| unreachable!("texts by texts are JSON"));
        Self {
            first: Zeroizing::new(first),
        }
    }
}

impl Exchange for MskIamExchange {
    fn first(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.first)
    }

    fn next(&mut self, message: &[u8]) -> Result<Step> {
        let json = SecretJson::parse(message);
        match json.as_ref().and_then(|json| json.text("version")) {
            Some(VERSION) => Ok(Step::Done),
            _ => {
                let message = "the broker's answer is none of AWS_MSK_IAM";
                Err(Error::new(ErrorKind::Authentication, message))
            }
        }
    }
}
