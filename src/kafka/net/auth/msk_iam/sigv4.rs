//! Queries signed beforehand, as AWS wants them (Signature Version 4). In: what is asked, by whom, when. Out: the query.

use zeroize::Zeroizing;

use crate::kafka::config::Secret;
use crate::kafka::config::security::AwsCredentials;
use crate::kafka::net::auth::hash::SHA_256;
use crate::kafka::net::http::encode;
use crate::kafka::runtime::calendar::date_and_time;

/// How long a signed query is good, in seconds: the most that Amazon MSK takes.
pub(super) const LIFE_SECONDS: u64 = 900;

/// Who signs what for where, and when.
pub(super) struct Signing<'a> {
    pub credentials: &'a AwsCredentials,
    pub region: &'a str,
    pub service: &'a str,
    /// Seconds since 1970.
    pub seconds: u64,
}

/// Names and values, none of them encoded, in the order in which the published signers write them: the signature comes last.
pub(super) type Query = Vec<(&'static str, Zeroizing<String>)>;

impl Signing<'_> {
    /// The query of a GET of `https://{host}/` that asks for `parameters`.
    pub fn query(&self, host: &str, parameters: &[(&'static str, &str)]) -> Query {
        let time = stamp(self.seconds);
        let date = &time[..8];
        let (region, service) = (self.region, self.service);
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let mut query: Query = Vec::new();
        let mut add = |name, value: &str| query.push((name, Zeroizing::new(value.to_string())));
        for (name, value) in parameters {
            add(name, value);
        }
        add("X-Amz-Algorithm", "AWS4-HMAC-SHA256");
        add(
            "X-Amz-Credential",
            &format!("{}/{scope}", self.credentials.access_key_id),
        );
        add("X-Amz-Date", &time);
        add("X-Amz-Expires", &LIFE_SECONDS.to_string());
        add("X-Amz-SignedHeaders", "host");
        if let Some(token) = &self.credentials.session_token {
            add("X-Amz-Security-Token", token.reveal());
        }
        let mut sorted: Vec<_> = query
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect();
        sorted.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let sorted = joined(&sorted);
        let nothing = hex(&(SHA_256.hash)(b""));
        let canonical = Zeroizing::new(format!(
            "GET\n/\n{}\nhost:{host}\n\nhost\n{nothing}",
            *sorted
        ));
        let canonical = hex(&(SHA_256.hash)(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let secret = self.credentials.secret_access_key.reveal();
        let mut key = Zeroizing::new(format!("AWS4{secret}").into_bytes());
        let hmac = SHA_256.hmac;
        for part in [date, region, service, "aws4_request"] {
            key = hmac(&key, part.as_bytes());
        }
        query.push((
            "X-Amz-Signature",
            Zeroizing::new(hex(&hmac(&key, text.as_bytes()))),
        ));
        query
    }
}

/// The query as it stands in a URL.
pub(super) fn written(query: &Query) -> Zeroizing<String> {
    let pairs: Vec<_> = query
        .iter()
        .map(|(name, value)| pair(name, value))
        .collect();
    joined(&pairs)
}

fn joined(pairs: &[Zeroizing<String>]) -> Zeroizing<String> {
    let pairs: Vec<_> = pairs.iter().map(|it| it.as_str()).collect();
    Zeroizing::new(pairs.join("&"))
}

/// What of the query no error may show.
pub(super) fn secrets(query: &Query) -> impl Iterator<Item = Secret> {
    let is_secret = |name: &str| ["X-Amz-Security-Token", "X-Amz-Signature"].contains(&name);
    let secrets = query.iter().filter(move |(name, _)| is_secret(name));
    secrets.flat_map(|(_, value)| [Secret::new(value.as_str()), Secret::new(encode(value))])
}

fn pair(name: &str, value: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("{name}={}", encode(value)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20240229T235959Z`.
fn stamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let ((year, month, day), (hour, minute, second)) = date_and_time(seconds);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}
