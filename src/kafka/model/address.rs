//! Host and port: parsed from `bootstrap.servers` and from metadata, printed in errors.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::kafka::error::sanitised;
use crate::kafka::model::names::quoted;
use crate::kafka::{Error, ErrorKind};

/// No name in the DNS is longer, in bytes.
const LONGEST_HOST: usize = 255;

/// A host, by name or number, and a port. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    host: Arc<str>,
    port: u16,
}

impl Address {
    /// The address of `host` at `port`.
    pub fn new(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// The host's name, or its number without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Metadata names hosts as well: no broker may write into our log what it likes, nor as much.
        let is_plain = self.host.len() <= LONGEST_HOST && self.host.chars().all(is_shown_as_is);
        let host = match is_plain {
            true => Cow::Borrowed(&*self.host),
            false => Cow::Owned(sanitised(&self.host)),
        };
        if host.contains(':') {
            write!(f, "[{host}]:{}", self.port)
        } else {
            write!(f, "{host}:{}", self.port)
        }
    }
}

fn is_shown_as_is(letter: char) -> bool {
    letter.is_alphanumeric() || letter.is_ascii_punctuation()
}

/// Reads `host:port` and `[v6]:port`. A port must be given, as in Java.
impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(
                ErrorKind::Config,
                format!(
                    "{} is no address: allowed is host:port, such as kafka-1:9092 or [::1]:9092",
                    quoted(text)
                ),
            )
        };
        let trimmed = text.trim();
        // Java allows a listener name in front, as in PLAINTEXT://host:9092.
        let rest = trimmed.split_once("://").map_or(trimmed, |(_, rest)| rest);
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(wrong)?,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if host.is_empty() || port == 0 || host.contains(char::is_whitespace) {
            return Err(wrong());
        }
        Ok(Self::new(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_printed_alike() {
        for text in ["kafka-1:9092", "10.0.0.7:19092", "[::1]:9092"] {
            let address: Address = text.parse().expect("a good address");
            assert_eq!(address.to_string(), text);
        }
        let named: Address = "PLAINTEXT://kafka:9092".parse().expect("a good address");
        assert_eq!(named, Address::new("kafka", 9092));
    }

    #[test]
    fn a_host_is_printed_in_one_line_of_bounded_length() {
        for host in [
            "k".repeat(60_000),
            "k\n\u{202e}".repeat(9_000),
            " ".repeat(300),
        ] {
            let printed = Address::new(host, 9092).to_string();
            assert!(printed.len() < 10_000, "{} bytes", printed.len());
            assert!(!printed.contains(['\n', '\u{202e}']), "{printed}");
        }
    }

    #[test]
    fn a_wrong_address_is_named_with_what_is_allowed() {
        for text in [
            "",
            "kafka",
            "kafka:",
            ":9092",
            "kafka:0",
            "kafka:99999",
            "::1:9092",
            "a b:1",
        ] {
            let error = text.parse::<Address>().expect_err("a wrong address");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.to_string().contains("allowed is host:port"),
                "{error}"
            );
        }
    }
}
