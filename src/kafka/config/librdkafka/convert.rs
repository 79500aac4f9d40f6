//! Values that mean the same and are written otherwise. In: what was given, and the text. Out: the text that our option takes; `None` when
//! librdkafka would refuse it too.

use super::{Given, KeyFate, Role};

/// The longest time that an option takes, in milliseconds: stands for "never".
const LONGEST_MS: &str = "2147483647";

/// Texts of options that are chosen from a few.
pub(super) fn lower(_: &Given, text: &str) -> Option<String> {
    Some(text.to_ascii_lowercase())
}

pub(super) fn upper(_: &Given, text: &str) -> Option<String> {
    Some(text.to_ascii_uppercase())
}

pub(super) fn flag(_: &Given, text: &str) -> Option<String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some("true".to_string()),
        "false" | "f" | "0" => Some("false".to_string()),
        _ => None,
    }
}

/// Brokers, commas between them; the port may be left out, and `PLAINTEXT://` stand in front; what is spoken is the property's to say.
pub(super) fn brokers(_: &Given, text: &str) -> Option<String> {
    let broker = |text: &str| {
        let host = match text.split_once("://") {
            Some((protocol, host)) if protocol.eq_ignore_ascii_case("plaintext") => host,
            Some(_) => return None,
            None => text,
        };
        let has_port = match host.rsplit_once(']') {
            Some((_, port)) => !port.is_empty(),
            None => host.contains(':'),
        };
        Some(match has_port {
            true => host.to_string(),
            false => format!("{host}:9092"),
        })
    };
    let items = text.split(',').map(str::trim);
    let brokers: Option<Vec<_>> = items.filter(|item| !item.is_empty()).map(broker).collect();
    Some(brokers?.join(","))
}

/// Milliseconds, of which there may be a part; a part of one counts as one.
pub(super) fn millis(_: &Given, text: &str) -> Option<String> {
    let millis: f64 = text.parse().ok()?;
    let is_allowed = (0.0..=900_000.0).contains(&millis);
    is_allowed.then(|| format!("{:.0}", millis.ceil()))
}

/// Milliseconds, of which none, or less, is for ever.
pub(super) fn millis_or_for_ever(_: &Given, text: &str) -> Option<String> {
    let millis: i32 = text.parse().ok()?;
    match millis {
        ..-1 => None,
        -1 | 0 => Some(LONGEST_MS.to_string()),
        millis => Some(millis.to_string()),
    }
}

/// Kilobytes as bytes, as many as we count.
pub(super) fn kilobytes(_: &Given, text: &str) -> Option<String> {
    let kilobytes: u32 = text
        .parse()
        .ok()
        .filter(|n| (1..=i32::MAX as u32).contains(n))?;
    let bytes = (u64::from(kilobytes) * 1_024).min(u64::from(u32::MAX));
    Some(bytes.to_string())
}

/// As [`kilobytes`], where no more can be held than one fetch.
pub(super) fn kilobytes_of_a_consumer(given: &Given, text: &str) -> Option<String> {
    let bytes: u64 = kilobytes(given, text)?.parse().ok()?;
    Some(bytes.min(i32::MAX as u64).to_string())
}

/// Requests in flight. librdkafka's default is a million, five with idempotence.
pub(super) fn in_flight(given: &Given, text: &str) -> Option<String> {
    let requests: u32 = text.parse().ok().filter(|n| (1..=1_000_000).contains(n))?;
    let idempotent = given.named("enable.idempotence", Role::Producer);
    let is_idempotent = idempotent.is_some_and(|text| flag(given, text).as_deref() == Some("true"));
    // Asked for by name, more than five are refused with idempotence; the default gives way.
    let most = match (is_idempotent, requests) {
        (true, 1_000_000) => 5,
        _ => 256,
    };
    Some(requests.min(most).to_string())
}

pub(super) fn acks(_: &Given, text: &str) -> Option<String> {
    matches!(text, "-1" | "all" | "0" | "1").then(|| text.to_string())
}

/// The codec, with the level that another key names, where the codec has levels here.
pub(super) fn compression(given: &Given, text: &str) -> Option<String> {
    let codec = text.to_ascii_lowercase();
    let level = given.named("compression.level", Role::Producer);
    let level = level.filter(|level| *level != "-1");
    match (codec.as_str(), level) {
        ("gzip", Some(level)) | ("zstd", Some(level)) => Some(format!("{codec}:{level}")),
        ("none" | "gzip" | "snappy" | "lz4" | "zstd", _) => Some(codec),
        _ => None,
    }
}

pub(super) fn compression_level(given: &Given, text: &str) -> KeyFate {
    let codec = given.named("compression.codec", Role::Producer);
    let value = codec.and_then(|codec| compression(given, codec));
    match value.filter(|value| text != "-1" && value.contains(':')) {
        Some(value) => KeyFate::Translated {
            property: "compression.type",
            value,
        },
        None => KeyFate::Ignored {
            reason: "the codec has one level here, or takes its own default",
        },
    }
}

pub(super) fn offset_reset(_: &Given, text: &str) -> Option<String> {
    let place = match text.to_ascii_lowercase().as_str() {
        "smallest" | "earliest" | "beginning" => "earliest",
        "largest" | "latest" | "end" => "latest",
        // The second is Java's word for it.
        "error" | "none" => "none",
        _ => return None,
    };
    Some(place.to_string())
}

/// Commits happen by themselves where librdkafka's would: in a group, at an interval.
pub(super) fn auto_commit(given: &Given, text: &str) -> Option<String> {
    let asked = flag(given, text)? == "true";
    let consumer = |name| given.named(name, Role::Consumer);
    let is_in_group = consumer("group.id").is_some_and(|group| !group.is_empty());
    let has_interval = consumer("auto.commit.interval.ms") != Some("0");
    Some((asked && is_in_group && has_interval).to_string())
}

pub(super) fn ca_location(_: &Given, text: &str) -> KeyFate {
    authorities("ssl.ca.location", text)
}

pub(super) fn https_ca_location(_: &Given, text: &str) -> KeyFate {
    authorities("https.ca.location", text)
}

fn authorities(property: &'static str, text: &str) -> KeyFate {
    match text {
        "probe" => KeyFate::Ignored {
            reason: "whom the system trusts is looked up in any case",
        },
        path => KeyFate::Translated {
            property,
            value: path.to_string(),
        },
    }
}

/// Where the application stores what it has finished, committing what was handed out would lose records.
pub(super) fn auto_offset_store(given: &Given, text: &str) -> KeyFate {
    match flag(given, text).as_deref() {
        Some("false") => KeyFate::Translated {
            property: "commit.source",
            value: "stored".to_string(),
        },
        _ => KeyFate::Ignored {
            reason: "what a poll returned is what the next one commits",
        },
    }
}

pub(super) fn commit_interval(_: &Given, text: &str) -> Option<String> {
    Some(if text == "0" { "5000" } else { text }.to_string())
}
