//! Every key of librdkafka 2, and what it becomes. A row that only some roles have stands before the row of the others.

use super::convert::*;
use super::{Given, KeyFate, Role};
use Fate::{Converted, Decided, Ignored, NotSupported, Refused, Same};
use Role::{Any, Consumer, Producer};

/// One key.
pub(super) struct Row {
    /// Its name, and its other names.
    pub names: &'static [&'static str],
    /// Who uses it.
    pub role: Role,
    /// librdkafka's default, where it has one that counts here.
    pub default: Option<&'static str>,
    pub fate: Fate,
}

/// What a key becomes here.
pub(super) enum Fate {
    /// This property, with the same value.
    Same(&'static str),
    /// This property, with another value; what is allowed.
    Converted(
        &'static str,
        &'static str,
        fn(&Given, &str) -> Option<String>,
    ),
    /// It depends.
    Decided(fn(&Given, &str) -> KeyFate),
    /// Nothing, for this reason.
    Ignored(&'static str),
    /// Nothing; but the first value is what happens in any case.
    NotSupported(Option<&'static str>, &'static str),
    /// An error; but the first value is what happens in any case.
    Refused(Option<&'static str>, &'static str),
}

impl Fate {
    /// The property that it sets.
    pub fn property(&self) -> Option<&'static str> {
        match self {
            Same(property) | Converted(property, ..) => Some(property),
            _ => None,
        }
    }

    /// The value that is what happens in any case, where the others are not to be had.
    pub fn in_any_case(&self) -> Option<&'static str> {
        match self {
            NotSupported(only, _) | Refused(only, _) => *only,
            _ => None,
        }
    }

    /// Why it sets none.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Ignored(reason) | NotSupported(_, reason) | Refused(_, reason) => Some(reason),
            _ => None,
        }
    }
}

/// The rows for a role.
pub(super) fn rows(role: Role) -> impl Iterator<Item = &'static Row> {
    let is_first = move |index: usize| {
        let earlier = TABLE[..index].iter();
        let mut earlier = earlier.filter(|row| row.role == role);
        !earlier.any(|row| row.names[0] == TABLE[index].names[0])
    };
    let rows = TABLE.iter().enumerate();
    let rows = rows.filter(move |(_, row)| row.role == role || row.role == Any);
    rows.filter(move |(index, _)| is_first(*index))
        .map(|(_, row)| row)
}

/// The row of the key called `name`, for a role.
pub(super) fn find(name: &str, role: Role) -> Option<&'static Row> {
    rows(role).find(|row| row.names.contains(&name))
}

const fn row(names: &'static [&'static str], role: Role, default: &'static str, fate: Fate) -> Row {
    Row {
        names,
        role,
        default: match default.is_empty() {
            true => None,
            false => Some(default),
        },
        fate,
    }
}

const BROKERS: &str =
    "host or host:port, commas between several, without a protocol or with PLAINTEXT://";
const FLAG: &str = "true or false";
const KILOBYTES: &str = "a number of kilobytes from 1 to 2147483647";
const MILLIS: &str = "a number of milliseconds from 0 to 900000";
const OR_FOR_EVER: &str = "a number of milliseconds up to 2147483647; 0, and -1, is for ever";

const BY_TEXT: &str = "it is no text, but set by a call of its own";
const CHOSEN: &str = "the client chooses it by itself";
const LOGS: &str =
    "what is logged is chosen where logs are written: see Observer and the feature tracing";
const OVER: &str = "librdkafka does nothing with it any more";
const TOKENS: &str =
    "tokens come from sasl.oauthbearer.token.endpoint.url or SaslConfig::token_provider";
const SHARE: &str = "it is for share groups: set it by its name on a ShareConsumerConfig";
const SOCKET: &str = "the system's own value is used";
const VERSIONS: &str = "brokers are always asked which versions they speak";

#[rustfmt::skip] // A table is read by lines.
pub(super) static TABLE: &[Row] = &[
    // Finding the cluster, and speaking with it.
    row(&["metadata.broker.list", "bootstrap.servers"], Any, "", Converted("bootstrap.servers", BROKERS, brokers)),
    row(&["client.id"], Any, "rdkafka", Same("client.id")),
    row(&["client.rack"], Consumer, "", Same("client.rack")),
    row(&["client.rack"], Any, "", Ignored("only consumers choose a replica by it")),
    row(&["socket.timeout.ms"], Any, "60000", Same("request.timeout.ms")),
    row(&["socket.connection.setup.timeout.ms"], Any, "30000", Same("socket.connection.setup.timeout.ms")),
    row(&["connections.max.idle.ms"], Any, "0", Converted("connections.max.idle.ms", OR_FOR_EVER, millis_or_for_ever)),
    row(&["reconnect.backoff.ms"], Any, "100", Same("reconnect.backoff.ms")),
    row(&["reconnect.backoff.max.ms"], Any, "10000", Same("reconnect.backoff.max.ms")),
    row(&["retry.backoff.ms"], Any, "100", Same("retry.backoff.ms")),
    row(&["retry.backoff.max.ms"], Any, "1000", Same("retry.backoff.max.ms")),
    row(&["receive.message.max.bytes"], Any, "100000000", Same("receive.message.max.bytes")),
    row(&["topic.metadata.refresh.interval.ms"], Any, "300000", Converted("metadata.max.age.ms", OR_FOR_EVER, millis_or_for_ever)),
    row(&["allow.auto.create.topics"], Producer, "true", Converted("allow.auto.create.topics", FLAG, flag)),
    row(&["allow.auto.create.topics"], Any, "false", Converted("allow.auto.create.topics", FLAG, flag)),
    row(&["message.max.bytes"], Producer, "1000000", Same("max.request.size")),
    row(&["message.max.bytes"], Any, "", Ignored("only what producers write is limited by it")),
    row(&["max.in.flight.requests.per.connection", "max.in.flight"], Producer, "1000000",
        Converted("max.in.flight.requests.per.connection", "a number from 1 to 1000000", in_flight)),
    row(&["max.in.flight.requests.per.connection", "max.in.flight"], Any, "", Ignored("only producers have several requests in flight")),
    // Producers.
    row(&["request.required.acks", "acks"], Producer, "-1", Converted("acks", "-1, all, 0 or 1; brokers know no others", acks)),
    row(&["enable.idempotence"], Producer, "false", Converted("enable.idempotence", FLAG, flag)),
    row(&["compression.codec", "compression.type"], Producer, "none", Converted("compression.type", "none, gzip, snappy, lz4 or zstd", compression)),
    row(&["compression.level"], Producer, "", Decided(compression_level)),
    row(&["batch.size"], Producer, "1000000", Same("batch.size")),
    row(&["batch.num.messages"], Producer, "10000", Same("batch.records")),
    row(&["queue.buffering.max.ms", "linger.ms"], Producer, "5", Converted("linger.ms", MILLIS, millis)),
    row(&["queue.buffering.max.kbytes"], Producer, "1048576", Converted("buffer.memory", KILOBYTES, kilobytes)),
    row(&["message.timeout.ms", "delivery.timeout.ms"], Producer, "300000", Converted("delivery.timeout.ms", OR_FOR_EVER, millis_or_for_ever)),
    row(&["message.send.max.retries", "retries"], Producer, "2147483647", Same("retries")),
    row(&["partitioner"], Producer, "consistent_random", Converted("partitioner", "", lower)),
    row(&["request.timeout.ms"], Producer, "", Ignored("how long a broker may take to gather acknowledgements follows from socket.timeout.ms")),
    row(&["queue.buffering.max.messages"], Producer, "", Ignored("what waits is bounded by bytes: queue.buffering.max.kbytes")),
    row(&["queue.buffering.backpressure.threshold"], Producer, "", Ignored("a batch is closed when its broker has room for a request")),
    row(&["sticky.partitioning.linger.ms"], Producer, "", Ignored("records without a key move to another partition after a share of bytes, not of time")),
    row(&["delivery.report.only.error"], Producer, "", Ignored("each record's delivery can be awaited, or dropped")),
    row(&["produce.offset.report"], Producer, "", Ignored("a delivery always has the offset")),
    row(&["enable.gapless.guarantee"], Producer, "", NotSupported(Some("false"), "a batch that fails ends no producer")),
    row(&["queuing.strategy"], Producer, "", Refused(Some("fifo"), "records leave in the order in which they came")),
    row(&["transactional.id"], Producer, "", Same("transactional.id")),
    row(&["transaction.timeout.ms"], Producer, "60000", Same("transaction.timeout.ms")),
    // Consumers.
    row(&["group.id"], Consumer, "", Same("group.id")),
    row(&["group.instance.id"], Consumer, "", Same("group.instance.id")),
    row(&["auto.offset.reset"], Consumer, "largest",
        Converted("auto.offset.reset", "smallest, earliest, beginning, largest, latest, end or error", offset_reset)),
    row(&["enable.auto.commit", "auto.commit.enable"], Consumer, "true", Converted("enable.auto.commit", FLAG, auto_commit)),
    row(&["auto.commit.interval.ms"], Consumer, "5000", Converted("auto.commit.interval.ms", MILLIS, commit_interval)),
    row(&["enable.auto.offset.store"], Consumer, "", Decided(auto_offset_store)),
    row(&["session.timeout.ms"], Consumer, "45000", Same("session.timeout.ms")),
    row(&["heartbeat.interval.ms"], Consumer, "3000", Same("heartbeat.interval.ms")),
    row(&["max.poll.interval.ms"], Consumer, "300000", Same("max.poll.interval.ms")),
    row(&["isolation.level"], Consumer, "read_committed", Converted("isolation.level", "read_committed or read_uncommitted", lower)),
    row(&["fetch.wait.max.ms"], Consumer, "500", Same("fetch.max.wait.ms")),
    row(&["fetch.min.bytes"], Consumer, "1", Same("fetch.min.bytes")),
    row(&["fetch.max.bytes"], Consumer, "52428800", Same("fetch.max.bytes")),
    row(&["fetch.message.max.bytes", "max.partition.fetch.bytes"], Consumer, "1048576", Same("max.partition.fetch.bytes")),
    row(&["queued.max.messages.kbytes"], Consumer, "65536", Converted("buffer.memory", KILOBYTES, kilobytes_of_a_consumer)),
    // Off in librdkafka, to spare work that costs next to nothing here: on, unless it is turned off by name.
    row(&["check.crcs"], Consumer, "", Converted("check.crcs", FLAG, flag)),
    row(&["max.poll.records"], Consumer, "", Same("max.poll.records")),
    row(&["queued.min.messages"], Consumer, "", Ignored("what is fetched ahead is bounded by bytes: queued.max.messages.kbytes")),
    row(&["fetch.queue.backoff.ms"], Consumer, "", Ignored("the next fetch begins as soon as there is room for it")),
    row(&["fetch.error.backoff.ms"], Consumer, "", Ignored("what failed is repeated after retry.backoff.ms")),
    row(&["partition.assignment.strategy"], Consumer, "range,roundrobin", Same("partition.assignment.strategy")),
    row(&["group.protocol"], Consumer, "", Converted("group.protocol", "classic or consumer", lower)),
    row(&["group.protocol.type"], Consumer, "", Ignored("it is always consumer")),
    row(&["group.remote.assignor"], Consumer, "", Same("group.remote.assignor")),
    row(&["coordinator.query.interval.ms"], Consumer, "", Ignored("the coordinator is asked for when it has moved")),
    row(&["enable.partition.eof"], Consumer, "", Same("enable.partition.eof")),
    row(&["topic.blacklist"], Consumer, "", Same("exclude.topics")),
    row(&["topic.blacklist"], Any, "", Ignored("only consumers match patterns with topics")),
    row(&["consume.callback.max.messages"], Consumer, "", Ignored("there is max.poll.records")),
    row(&["offset.store.method"], Consumer, "", Refused(Some("broker"), "offsets are committed to brokers")),
    row(&["offset.store.path"], Consumer, "", Refused(None, "offsets are committed to brokers, not to a file")),
    row(&["offset.store.sync.interval.ms"], Consumer, "", Ignored("offsets are committed to brokers, not to a file")),
    row(&["share.acknowledgement.mode"], Consumer, "", NotSupported(None, SHARE)),
    // What the client does by itself.
    row(&["metadata.max.age.ms"], Any, "", Ignored("what is known stays until it is refreshed: topic.metadata.refresh.interval.ms")),
    row(&["metadata.recovery.strategy"], Any, "", NotSupported(Some("rebootstrap"), "the client asks the bootstrap servers again when no broker answers")),
    row(&["metadata.recovery.rebootstrap.trigger.ms"], Any, "", Ignored(CHOSEN)),
    row(&["topic.metadata.refresh.fast.interval.ms"], Any, "", Ignored("a leader that moved is asked for at once, and again after retry.backoff.ms")),
    row(&["topic.metadata.refresh.fast.cnt"], Any, "", Ignored(OVER)),
    row(&["topic.metadata.refresh.sparse"], Any, "", Ignored("only topics in use are asked for")),
    row(&["topic.metadata.propagation.max.ms"], Any, "", Ignored("a producer waits for a topic as long as max.block.ms says")),
    row(&["message.copy.max.bytes"], Any, "", Ignored("records are copied once, into their batch")),
    row(&["socket.blocking.max.ms"], Any, "", Ignored(OVER)),
    row(&["socket.send.buffer.bytes"], Any, "", Ignored(SOCKET)),
    row(&["socket.receive.buffer.bytes"], Any, "", Ignored(SOCKET)),
    row(&["socket.keepalive.enable"], Any, "", Ignored("a connection that is dead is found by socket.timeout.ms")),
    row(&["socket.nagle.disable"], Any, "", Ignored("it is disabled")),
    row(&["socket.max.fails"], Any, "", Ignored("a connection ends with its first failure")),
    row(&["broker.address.ttl"], Any, "", Ignored("names are resolved whenever a connection is made")),
    row(&["broker.address.family"], Any, "", NotSupported(Some("any"), "addresses of both families are tried")),
    row(&["client.dns.lookup"], Any, "", NotSupported(Some("use_all_dns_ips"),
        "all addresses of a name are tried, and certificates must be for the name that was given: name brokers as their certificates do")),
    row(&["reconnect.backoff.jitter.ms"], Any, "", Ignored(OVER)),
    row(&["api.version.request"], Any, "", Ignored(VERSIONS)),
    row(&["api.version.request.timeout.ms"], Any, "", Ignored("it is a part of socket.connection.setup.timeout.ms")),
    row(&["api.version.fallback.ms"], Any, "", Ignored(VERSIONS)),
    row(&["broker.version.fallback"], Any, "", Ignored(VERSIONS)),
    row(&["builtin.features"], Any, "", Ignored("there is one build")),
    row(&["enable.random.seed"], Any, "", Ignored("every client draws a seed, unless it is given one")),
    row(&["internal.termination.signal"], Any, "", Ignored("no thread has to be woken")),
    row(&["enable.metrics.push"], Any, "", Converted("enable.metrics.push", FLAG, flag)),
    // What an operator sees.
    row(&["statistics.interval.ms"], Any, "", Ignored("metrics are read whenever they are wanted")),
    row(&["enabled_events"], Any, "", Ignored("see Observer")),
    row(&["debug"], Any, "", Ignored(LOGS)),
    row(&["log_level"], Any, "", Ignored(LOGS)),
    row(&["log.queue"], Any, "", Ignored(LOGS)),
    row(&["log.thread.name"], Any, "", Ignored(LOGS)),
    row(&["log.connection.close"], Any, "", Ignored(LOGS)),
    row(&["plugin.library.paths", "interceptors"], Any, "", Refused(None, "plugins are libraries for librdkafka")),
    row(
        &["error_cb", "throttle_cb", "stats_cb", "log_cb", "background_event_cb", "socket_cb", "connect_cb", "closesocket_cb", "open_cb",
          "resolve_cb", "opaque", "default_topic_conf", "rebalance_cb", "consume_cb", "offset_commit_cb", "dr_cb", "dr_msg_cb",
          "partitioner_cb", "msg_order_cmp"],
        Any, "", Refused(None, BY_TEXT),
    ),
    // Security.
    row(&["security.protocol"], Any, "", Converted("security.protocol", "plaintext, ssl, sasl_plaintext or sasl_ssl", upper)),
    row(&["ssl.ca.location", "ssl_ca"], Any, "", Decided(ca_location)),
    row(&["ssl.ca.pem"], Any, "", Same("ssl.ca.pem")),
    row(&["ssl.certificate.location"], Any, "", Same("ssl.certificate.location")),
    row(&["ssl.certificate.pem"], Any, "", Same("ssl.certificate.pem")),
    row(&["ssl.key.location"], Any, "", Same("ssl.key.location")),
    row(&["ssl.key.pem"], Any, "", Same("ssl.key.pem")),
    row(&["ssl.key.password"], Any, "", Same("ssl.key.password")),
    row(&["ssl.endpoint.identification.algorithm"], Any, "", Converted("ssl.endpoint.identification.algorithm", "https or none", lower)),
    row(&["enable.ssl.certificate.verification"], Any, "", Converted("enable.ssl.certificate.verification", FLAG, flag)),
    row(&["ssl_key", "ssl_certificate", "ssl_engine_callback_data", "ssl.certificate.verify_cb", "oauthbearer_token_refresh_cb"],
        Any, "", Refused(None, BY_TEXT)),
    row(&["ssl.cipher.suites", "ssl.curves.list", "ssl.sigalgs.list"], Any, "", Refused(None, "TLS offers what is safe, and nothing else")),
    row(&["ssl.ca.certificate.stores"], Any, "", Refused(Some("Root"), "what the system trusts is one store")),
    row(&["ssl.crl.location"], Any, "", Refused(None, "lists of revoked certificates are not read")),
    row(&["ssl.keystore.location", "ssl.keystore.password"], Any, "", Refused(None,
        "PKCS#12 is not read: openssl pkcs12 -in STORE -out store.pem makes PEM of it, for ssl.certificate.location and ssl.key.location")),
    row(&["ssl.providers", "ssl.engine.location", "ssl.engine.id"], Any, "", Refused(None, "there is no OpenSSL")),
    row(&["https.ca.location"], Any, "", Decided(https_ca_location)),
    row(&["https.ca.pem"], Any, "", Same("https.ca.pem")),
    row(&["sasl.mechanisms", "sasl.mechanism"], Any, "", Same("sasl.mechanism")),
    row(&["sasl.username"], Any, "", Same("sasl.username")),
    row(&["sasl.password"], Any, "", Same("sasl.password")),
    row(
        &["sasl.kerberos.service.name", "sasl.kerberos.principal", "sasl.kerberos.kinit.cmd", "sasl.kerberos.keytab",
          "sasl.kerberos.min.time.before.relogin"],
        Any, "", Refused(None, "no well-kept library speaks Kerberos without C"),
    ),
    row(&["sasl.oauthbearer.method"], Any, "", Refused(Some("oidc"), TOKENS)),
    row(&["sasl.oauthbearer.token.endpoint.url"], Any, "", Same("sasl.oauthbearer.token.endpoint.url")),
    row(&["sasl.oauthbearer.grant.type"], Any, "", Same("sasl.oauthbearer.grant.type")),
    row(&["sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"], Any, "", Same("sasl.oauthbearer.client.id")),
    row(&["sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"], Any, "",
        Same("sasl.oauthbearer.client.secret")),
    row(&["sasl.oauthbearer.scope"], Any, "", Same("sasl.oauthbearer.scope")),
    row(&["sasl.oauthbearer.extensions"], Any, "", Same("sasl.oauthbearer.extensions")),
    row(&["sasl.oauthbearer.sub.claim.name"], Any, "", Refused(Some("sub"), "what a token says is the broker's to read")),
    row(&["sasl.oauthbearer.assertion.algorithm"], Any, "", Same("sasl.oauthbearer.assertion.algorithm")),
    row(&["sasl.oauthbearer.assertion.claim.aud"], Any, "", Same("sasl.oauthbearer.assertion.claim.aud")),
    row(&["sasl.oauthbearer.assertion.claim.exp.seconds"], Any, "", Same("sasl.oauthbearer.assertion.claim.exp.seconds")),
    row(&["sasl.oauthbearer.assertion.claim.iss"], Any, "", Same("sasl.oauthbearer.assertion.claim.iss")),
    row(&["sasl.oauthbearer.assertion.claim.nbf.seconds"], Any, "", Same("sasl.oauthbearer.assertion.claim.nbf.seconds")),
    row(&["sasl.oauthbearer.assertion.claim.sub"], Any, "", Same("sasl.oauthbearer.assertion.claim.sub")),
    row(&["sasl.oauthbearer.assertion.file"], Any, "", Same("sasl.oauthbearer.assertion.file")),
    row(&["sasl.oauthbearer.assertion.private.key.file"], Any, "", Same("sasl.oauthbearer.assertion.private.key.file")),
    row(&["sasl.oauthbearer.assertion.private.key.passphrase"], Any, "", Same("sasl.oauthbearer.assertion.private.key.passphrase")),
    row(&["sasl.oauthbearer.assertion.private.key.pem"], Any, "", Same("sasl.oauthbearer.assertion.private.key.pem")),
    row(&["sasl.oauthbearer.assertion.claim.jti.include"], Any, "",
        Converted("sasl.oauthbearer.assertion.claim.jti.include", FLAG, flag)),
    row(&["sasl.oauthbearer.assertion.jwt.template.file"], Any, "", Same("sasl.oauthbearer.assertion.template.file")),
    row(&["sasl.oauthbearer.metadata.authentication.type"], Any, "", Refused(Some("none"), "the metadata services of clouds are not asked for tokens")),
    row(
        &["sasl.oauthbearer.config", "enable.sasl.oauthbearer.unsecure.jwt"],
        Any, "", Refused(None, TOKENS),
    ),
];
