//! What a certificate says. In: its DER. Out: its subject, its issuer, its dates and its names, fit to be printed.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// How long before its end a certificate is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);
/// The most names that are printed, and the most letters of a text.
const MOST_NAMES: usize = 20;
const MOST_LETTERS: usize = 200;

/// What a certificate says of itself.
pub struct Described {
    subject: String,
    issuer: String,
    not_before: String,
    not_after: String,
    expires: SystemTime,
    names: Vec<String>,
}

impl Described {
    /// `None` for bytes that are no certificate.
    pub fn of(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let said = certificate.tbs_certificate();
        let names = said.get_extension::<SubjectAltName>().ok().flatten();
        let names = names.map_or_else(Vec::new, |(_, names)| names.0);
        Some(Self {
            subject: printable(&said.subject().to_string()),
            issuer: printable(&said.issuer().to_string()),
            not_before: said.validity().not_before.to_string(),
            not_after: said.validity().not_after.to_string(),
            expires: said.validity().not_after.to_system_time(),
            names: names.iter().filter_map(name).take(MOST_NAMES).collect(),
        })
    }

    pub fn json(&self) -> Value {
        json!({
            "subject": self.subject,
            "issuer": self.issuer,
            "not_before": self.not_before,
            "not_after": self.not_after,
            "names": self.names,
        })
    }

    pub fn text(&self) -> String {
        let names = match self.names.is_empty() {
            true => String::new(),
            false => format!(", for {}", self.names.join(", ")),
        };
        let left = self.expires.duration_since(SystemTime::now());
        let soon = match left {
            Ok(left) if left < SOON => format!(" (in {} days!)", left.as_secs() / 86_400),
            Ok(_) => String::new(),
            Err(_) => " (over!)".to_owned(),
        };
        format!(
            "{}, signed by {}, from {} to {}{soon}{names}",
            self.subject, self.issuer, self.not_before, self.not_after
        )
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(printable(name.as_ref())),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Whoever wrote the certificate may not write what he likes on a terminal.
fn printable(text: &str) -> String {
    let letters = text.chars().take(MOST_LETTERS);
    letters
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}
