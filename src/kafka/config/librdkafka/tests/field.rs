//! Every key that programs of the field set, and what becomes of it.

use Role::{Any, Consumer, Producer};

use super::*;

/// What systems in the field set, from their public sources: key, a value as they give it, in which role, and who does.
const FIELD: &[(&str, &str, Role, &str)] = &[
    ("acks", "all", Producer, "Materialize"),
    ("allow.auto.create.topics", "false", Producer, "RisingWave"),
    (
        "auto.commit.interval.ms",
        "5000",
        Consumer,
        "Vector, RisingWave, sea-streamer",
    ),
    (
        "auto.offset.reset",
        "smallest",
        Consumer,
        "Vector, Materialize, RisingWave, Arroyo, sea-streamer, sentry-arroyo",
    ),
    ("batch.num.messages", "1000", Producer, "Vector, RisingWave"),
    ("batch.size", "1000000", Producer, "Vector, RisingWave"),
    ("bootstrap.servers", "kafka:9092", Any, "all"),
    (
        "client.id",
        "vector",
        Any,
        "Vector, Materialize, RisingWave",
    ),
    ("compression.codec", "zstd", Producer, "Vector, RisingWave"),
    (
        "compression.type",
        "lz4",
        Producer,
        "Materialize, sea-streamer",
    ),
    ("enable.auto.commit", "false", Consumer, "all"),
    (
        "enable.auto.offset.store",
        "false",
        Consumer,
        "Vector, sea-streamer",
    ),
    (
        "enable.idempotence",
        "true",
        Producer,
        "Materialize, RisingWave, Arroyo",
    ),
    (
        "enable.partition.eof",
        "true",
        Consumer,
        "Vector, Materialize, RisingWave, Arroyo, Quickwit",
    ),
    (
        "enable.sasl.oauthbearer.unsecure.jwt",
        "true",
        Any,
        "RisingWave",
    ),
    (
        "enable.ssl.certificate.verification",
        "true",
        Any,
        "Vector, RisingWave",
    ),
    ("fetch.error.backoff.ms", "1000", Consumer, "Vector"),
    ("fetch.max.bytes", "52428800", Consumer, "RisingWave"),
    (
        "fetch.message.max.bytes",
        "134217728",
        Consumer,
        "Materialize, RisingWave",
    ),
    ("fetch.min.bytes", "1", Consumer, "RisingWave"),
    ("fetch.queue.backoff.ms", "1000", Consumer, "RisingWave"),
    ("fetch.wait.max.ms", "100", Consumer, "Vector, RisingWave"),
    ("group.id", "g", Consumer, "all"),
    (
        "isolation.level",
        "read_committed",
        Consumer,
        "Materialize, RisingWave, Arroyo",
    ),
    (
        "max.in.flight.requests.per.connection",
        "5",
        Producer,
        "RisingWave",
    ),
    ("max.poll.interval.ms", "300000", Consumer, "sentry-arroyo"),
    ("message.max.bytes", "1000000", Producer, "RisingWave"),
    ("message.send.max.retries", "3", Producer, "RisingWave"),
    (
        "message.timeout.ms",
        "300000",
        Producer,
        "Vector, RisingWave",
    ),
    (
        "queue.buffering.max.kbytes",
        "16777216",
        Producer,
        "Materialize, RisingWave",
    ),
    (
        "queue.buffering.max.messages",
        "10000000",
        Producer,
        "Materialize, RisingWave",
    ),
    (
        "queue.buffering.max.ms",
        "500",
        Producer,
        "Vector, Materialize, RisingWave",
    ),
    (
        "queued.max.messages.kbytes",
        "1000000",
        Consumer,
        "RisingWave, sentry-arroyo",
    ),
    ("queued.min.messages", "100000", Consumer, "RisingWave"),
    ("receive.message.max.bytes", "100000000", Any, "RisingWave"),
    ("reconnect.backoff.max.ms", "10000", Any, "RisingWave"),
    ("reconnect.backoff.ms", "100", Any, "RisingWave"),
    ("request.required.acks", "-1", Producer, "RisingWave"),
    ("retry.backoff.max.ms", "1000", Any, "RisingWave"),
    ("retry.backoff.ms", "100", Any, "RisingWave"),
    ("sasl.kerberos.keytab", "/k", Any, "RisingWave"),
    ("sasl.kerberos.kinit.cmd", "kinit", Any, "RisingWave"),
    ("sasl.kerberos.principal", "p", Any, "RisingWave"),
    ("sasl.kerberos.service.name", "kafka", Any, "RisingWave"),
    (
        "sasl.mechanism",
        "PLAIN",
        Any,
        "Vector, RisingWave, Arroyo, sea-streamer",
    ),
    (
        "sasl.mechanisms",
        "SCRAM-SHA-256",
        Any,
        "Materialize, Quickwit",
    ),
    ("sasl.oauthbearer.config", "c", Any, "RisingWave"),
    ("sasl.password", "p", Any, "all but sentry-arroyo"),
    ("sasl.username", "u", Any, "all but sentry-arroyo"),
    (
        "security.protocol",
        "plaintext",
        Any,
        "all but sentry-arroyo",
    ),
    ("security.protocol", "SSL", Any, "all but sentry-arroyo"),
    (
        "session.timeout.ms",
        "10000",
        Consumer,
        "Vector, sea-streamer, sentry-arroyo",
    ),
    (
        "socket.connection.setup.timeout.ms",
        "30000",
        Any,
        "Materialize, RisingWave",
    ),
    ("socket.keepalive.enable", "true", Any, "Materialize"),
    ("socket.send.buffer.bytes", "100", Any, "Vector"),
    (
        "socket.timeout.ms",
        "60000",
        Any,
        "Vector, Materialize, sea-streamer",
    ),
    (
        "ssl.ca.location",
        "/ca.pem",
        Any,
        "Vector, RisingWave, Quickwit",
    ),
    (
        "ssl.ca.pem",
        "-----BEGIN X-----",
        Any,
        "Vector, Materialize, RisingWave",
    ),
    (
        "ssl.certificate.location",
        "/c.pem",
        Any,
        "Vector, RisingWave, Quickwit",
    ),
    (
        "ssl.certificate.pem",
        "-----BEGIN X-----",
        Any,
        "Vector, Materialize, RisingWave",
    ),
    (
        "ssl.endpoint.identification.algorithm",
        "https",
        Any,
        "Vector, Materialize, RisingWave",
    ),
    (
        "ssl.key.location",
        "/k.pem",
        Any,
        "Vector, RisingWave, Quickwit",
    ),
    ("ssl.key.password", "p", Any, "Vector, RisingWave"),
    (
        "ssl.key.pem",
        "-----BEGIN X-----",
        Any,
        "Vector, Materialize, RisingWave",
    ),
    (
        "statistics.interval.ms",
        "1000",
        Any,
        "Vector, Materialize, RisingWave, sentry-arroyo",
    ),
    (
        "topic.metadata.refresh.interval.ms",
        "30000",
        Any,
        "Materialize",
    ),
    ("transaction.timeout.ms", "60000", Producer, "Materialize"),
    ("transactional.id", "t", Producer, "Materialize, Arroyo"),
];

/// What becomes of a key of the field in the role that it is set in.
fn fate_of(key: &str, value: &str, role: Role) -> String {
    let pairs = [("group.id", "g"), (key, value)];
    let notes = match role {
        Producer => ProducerConfig::from_librdkafka([(key, value)]).map(|(_, notes)| notes),
        Consumer => ConsumerConfig::from_librdkafka(pairs).map(|(_, notes)| notes),
        Any => ClientConfig::from_librdkafka([(key, value)]).map(|(_, notes)| notes),
    };
    match notes {
        Ok(notes) => {
            let note = notes.last().expect("a note on each key");
            let is_others = matches!(note.fate, KeyFate::OtherRole { .. });
            assert!(!is_others, "{note}");
            note.fate.to_string()
        }
        Err(error) => error.to_string(),
    }
}

fn document() -> String {
    let mut text = String::from(
        "# librdkafka's configuration\n\n\
         `ProducerConfig::from_librdkafka`, and the same of `ConsumerConfig` and `ClientConfig`, take librdkafka's names, aliases and values, and\n\
         its defaults for what is not given, and return a note on each key. Written by a test of `src/kafka/config/librdkafka`; renew it with\n\
         `RENEW=1 cargo test --lib librdkafka`.\n\n\
         Two defaults are not librdkafka's: `check.crcs` is on, and without `group.id` nothing is committed.\n\n\
         ## Every key\n\n| key | for | librdkafka's default | here |\n| --- | --- | --- | --- |\n",
    );
    for row in TABLE {
        let names: Vec<_> = row.names.iter().map(|name| format!("`{name}`")).collect();
        let default = row
            .default
            .map_or("–".to_string(), |text| format!("`{text}`"));
        let here = match &row.fate {
            Fate::Same(property) => format!("`{property}`"),
            Fate::Converted(property, ..) => format!("`{property}`, the value translated"),
            Fate::Decided(_) => "depends on the value: see the note".to_string(),
            Fate::Ignored(reason) => format!("ignored: {reason}"),
            Fate::NotSupported(None, reason) => format!("not supported: {reason}"),
            Fate::NotSupported(Some(harmless), reason) => {
                format!("`{harmless}`; else not supported: {reason}")
            }
            Fate::Refused(None, reason) => format!("refused: {reason}"),
            Fate::Refused(Some(harmless), reason) => {
                format!("`{harmless}`; else refused: {reason}")
            }
        };
        let names = names.join(", ");
        writeln!(text, "| {names} | {} | {default} | {here} |", row.role).unwrap();
    }
    text.push_str("\n## What systems in the field set\n\n| key | value | set by | becomes |\n| --- | --- | --- | --- |\n");
    for (key, value, role, who) in FIELD {
        let becomes = fate_of(key, value, *role);
        writeln!(text, "| `{key}` | `{value}` | {who} | {becomes} |").unwrap();
    }
    text
}

#[test]
fn the_documented_tables_are_these() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/kafka/config/librdkafka/keys.md"
    );
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(path, document()).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap();
    assert!(
        documented == document(),
        "{path} is not what the tables say: RENEW=1 writes it anew"
    );
}

/// What the systems of the field set has a fate of its own, and only what protects, or promises transactions, stops them.
#[test]
fn every_key_of_the_field_is_translated_passed_over_with_a_reason_or_refused_for_safety() {
    let mut words = BTreeMap::<&str, usize>::new();
    for (key, value, role, who) in FIELD {
        let row = find(key, *role).unwrap_or_else(|| panic!("{key} of {who}"));
        let becomes = fate_of(key, value, *role);
        let word = match () {
            () if becomes.starts_with("translated to ") => "translated",
            () if becomes.starts_with("ignored: ") => "ignored",
            () if becomes.starts_with("not supported: ") => "not supported",
            () => {
                let is_refusal = matches!(row.fate, Fate::Refused(..));
                assert!(is_refusal && becomes.starts_with(key), "{key}: {becomes}");
                "refused"
            }
        };
        *words.entry(word).or_default() += 1;
    }
    assert!(
        words["translated"] > 40 && words["refused"] > 5,
        "{words:?}"
    );
}
