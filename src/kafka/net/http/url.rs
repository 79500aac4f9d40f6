//! Scheme, address and path of a URL (RFC 3986), as far as `http` and `https` go.

use std::fmt::{self, Write};

use crate::kafka::net::Address;
use crate::kafka::{Error, ErrorKind, Result};

/// A URL of `http` or `https`. [`Display`](fmt::Display) leaves out the query: secrets may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub is_tls: bool,
    pub address: Address,
    /// Host, and the port where it is not the scheme's own.
    pub authority: String,
    /// Path and query, from the `/` on.
    pub target: String,
}

impl Url {
    /// Reads `text`. The error does not repeat it, for it may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!(
                "a URL cannot be used: {why}; allowed is https://host/path, with a port if you like"
            );
            Error::new(ErrorKind::Config, message)
        };
        let (scheme, rest) = text
            .trim()
            .split_once("://")
            .ok_or_else(|| wrong("it has no scheme"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("its scheme is neither https nor http")),
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(wrong("a user's name in it is not sent"));
        }
        let is_sent = |text: &str| text.bytes().all(|it| it.is_ascii_graphic());
        if !is_sent(authority) || !is_sent(target) {
            return Err(wrong("it has letters that must be written as %XX"));
        }
        let usual = if is_tls { 443 } else { 80 };
        let after_host = authority.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match authority[after_host..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_host + colon);
                let port: u16 = port[1..]
                    .parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| wrong("its port is no number from 1 to 65535"))?;
                (host, port)
            }
            None => (authority, usual),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let bare = bare.unwrap_or(host);
        if bare.is_empty() || bare.contains(['[', ']']) {
            return Err(wrong("it has no host"));
        }
        let target = match target.starts_with('/') {
            true => target.to_string(),
            false => format!("/{target}"),
        };
        Ok(Self {
            is_tls,
            address: Address::new(bare, port),
            authority: if port == usual { host } else { authority }.to_string(),
            target,
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let path = self
            .target
            .split_once('?')
            .map_or(&*self.target, |(path, _)| path);
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// `text` with everything but letters, digits and `-._~` as `%XX` (RFC 3986).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => encoded.push(char::from(byte)),
            false => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_without_their_query() {
        for (text, is_tls, address, authority, target, shown) in [
            (
                "https://a.example/t",
                true,
                "a.example:443",
                "a.example",
                "/t",
                "https://a.example/t",
            ),
            (
                "HTTP://a:8080?x=secret",
                false,
                "a:8080",
                "a:8080",
                "/?x=secret",
                "http://a:8080/",
            ),
            (
                "https://[::1]:9/t#f",
                true,
                "[::1]:9",
                "[::1]:9",
                "/t",
                "https://[::1]:9/t",
            ),
            ("http://a:80", false, "a:80", "a", "/", "http://a/"),
        ] {
            let url = Url::parse(text).expect(text);
            assert_eq!(
                (url.is_tls, url.authority.as_str(), url.target.as_str()),
                (is_tls, authority, target)
            );
            assert_eq!(url.address.to_string(), address);
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for text in [
            "",
            "secret",
            "ftp://secret/",
            "https://",
            "https://u:secret@a/",
            "https://secret:0/",
            "https://secret:65536/",
            "https://:1/",
            "https://a/secret path",
            "https://a\u{e9}/secret",
            "https://[::1/secret",
        ] {
            let error = Url::parse(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
