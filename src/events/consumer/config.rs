//! The options of a consumer of events: by field, by Java-style property, by environment variable.

use std::time::Duration;

use super::CommitPolicy;
use crate::events::failure::{Chain, DELAYS, FailurePolicy, NAME_PATTERN, PENDING};
use crate::events::{
    BatchPolicy, CircuitPolicy, Classify, DEAD_LETTER_SUFFIX, FailureClass, OnFailure, OnTooLarge,
    OnUnknown, RetryPolicy, RetryTopics, TenantFilter, Tenants,
};
use crate::kafka::config::values::{
    ADDRESSES, BYTES, COUNT, FLAG, Kind, MAX_BYTES, MILLIS, NAME, POSITIVE_MILLIS, TEXT, TOPICS,
    list,
};
use crate::kafka::config::{Configuration, Property, properties, set_by_name};
use crate::kafka::consumer::LeftOutTopics;
use crate::kafka::{self, Client, Error, ErrorKind, OffsetReset, Result, TopicPartition};

/// Where a consumer of events reads, as a member of which group, and how it hands events to its handler.
///
/// The named fields go before what [`kafka`](ConsumerConfig::kafka) says of the same thing; everything else is taken from there.
///
/// ```
/// use pat_events::events::ConsumerConfig;
///
/// let config = ConsumerConfig::from_properties([
///     ("bootstrap.servers", "kafka-1:9092"),
///     ("topics", "emails,tenants"),
///     ("group.id", "indexer"),
///     ("auto.offset.reset", "earliest"),
/// ])?;
/// assert_eq!(config.topics, ["emails", "tenants"]);
/// # Ok::<(), pat_events::kafka::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// `bootstrap.servers`: addresses (`host:port`) to find the cluster by. Needed.
    pub brokers: Vec<String>,
    /// `topics`: the topics to read, by name, or by a pattern that begins with `^`, as for
    /// [`Consumer::subscribe`](crate::kafka::Consumer::subscribe). The topic of this consumer's own dead letters is none that a pattern
    /// matches. Needed.
    pub topics: Vec<String>,
    /// `group.id`: the group that shares the partitions and has the commits. Needed.
    pub group_id: String,
    /// `auto.offset.reset`: where to begin without a commit: `earliest`, `latest` or `none`. Default latest.
    pub auto_offset_reset: OffsetReset,
    /// `session.timeout.ms`: a member that is silent for so long is dead to the group. Default 10 s. With `group.protocol` = `consumer` the
    /// brokers decide that, and it cannot be set.
    pub session_timeout: Duration,
    /// `max.poll.interval.ms`: for so long the group waits for this member in a rebalance, and lets handlers at work finish for a quarter of
    /// it (for [`shutdown_timeout`](ConsumerConfig::shutdown_timeout), if that is longer). Slow handlers do not cost the place in the
    /// group: polling goes on while they run. Default 5 min.
    pub max_poll_interval: Duration,
    /// `enable.auto.commit`, `auto.commit.interval.ms`, `commit.interval.ms`: when finished offsets are committed. Default: soon after their
    /// handlers have finished, every 100 ms at most.
    pub commit: CommitPolicy,
    /// `concurrency`: how many handlers run at once. Default 16.
    pub concurrency: usize,
    /// `queue.bytes`: the most bytes of records that wait for handlers or are being handled, to which one record may add; a partition takes
    /// up no more than it leaves to the others. Default 16 MiB.
    pub queue_bytes: usize,
    /// `shutdown.timeout.ms`: the longest that [`stop`](super::EventConsumer::stop) takes, whatever handlers and brokers do. Of it a quarter,
    /// 5 s at most, is kept for the last commit and for leaving the group, the rest is for handlers at work. Below `max.poll.interval.ms`.
    /// Default 30 s.
    pub shutdown_timeout: Duration,
    /// `handler.retries`, `handler.retry.backoff.ms`, `handler.retry.backoff.max.ms`, `handler.retry.timeout.ms`, `retry.budget.…`: how an event is retried
    /// whose handler fails with something transient. Default: up to 10 times, after 100 ms to 10 s, for 5 min.
    pub retry: RetryPolicy,
    /// `retry.topics`, `retry.topic.name`, `retry.pending.max`: where an event waits whose attempts in place are used up, before it is handled once
    /// more: for long, and without a place in memory. Its key stays in order. Default: nowhere.
    pub retry_topics: RetryTopics,
    /// `on.failure`: what becomes of an event that is not retried any more. Default: the consumer stops and says why.
    pub on_failure: OnFailure,
    /// `dead.letter.topic`: where [`OnFailure::DeadLetter`] writes to; the topic has to exist, or brokers have to create it. With
    /// as many partitions as the topic itself dead letters are spread alike. Default: the name of the record's own topic, with
    /// [`.dlq`](crate::events::DEAD_LETTER_SUFFIX) behind it.
    pub dead_letter_topic: Option<String>,
    /// `dead.letters.per.second`: how many dead letters may be written in a second, up to ten seconds' of them at once; what is beyond waits.
    /// Default 1,000.
    pub dead_letters_per_second: usize,
    /// `dead.letter.too.large`: what becomes of a dead letter that is larger than its topic takes. Default: it is written without the value.
    pub on_too_large: OnTooLarge,
    /// `circuit.failure.percent`, `circuit.failures`, `circuit.window.ms`, `circuit.pause.ms`: when nothing more is taken in for a while, because
    /// nearly all handlers fail. Default: when 90 % fail, 50 at the least, in 10 s; for 5 s.
    pub circuit: CircuitPolicy,
    /// `on.unknown`: what becomes of an event whose type is not in the set. Default: it goes to `handle_unknown`, which skips it unless
    /// implemented.
    pub on_unknown: OnUnknown,
    /// `on.panic`: of what class a panic of a handler is: `transient`, `poison` or `fatal`. Default poison.
    pub on_panic: FailureClass,
    /// Of what class errors are that do not say so themselves. Default: transient.
    pub classify: Classify,
    /// `handler.timeout.ms`: how long a call of a handler may take; then it is dropped, which counts as a transient failure. A handler that
    /// never yields to others cannot be dropped. Default: no limit.
    pub handler_timeout: Option<Duration>,
    /// `handler.deaths`: how many processes an event may take with it before it is not handled any more, as one whose handler aborts or takes all
    /// memory does: then it goes where [`on_failure`](ConsumerConfig::on_failure) says, as poison. Who takes a partition over twice in a row from
    /// members that did not end by themselves, and finished no event before the first that waits, handles its events one at a time, each after a commit that
    /// names it, so that it is known which one kills; for 10,000 events or five minutes at the most. A stop and a rebalance are ends. 0: that is not
    /// counted, and no commit is made before the first event. Default 3.
    pub handler_deaths: usize,
    /// `handler.batch.events`, `handler.batch.bytes`, `handler.batch.linger.ms`: how many events a [`BatchHandler`](crate::events::BatchHandler)
    /// is called with. Default: what there is, 500 events or 1 MiB at the most.
    pub batch: BatchPolicy,
    /// Where spans go of what is handled. Default nowhere.
    #[cfg(feature = "otel")]
    pub tracer: Option<crate::events::observe::Tracer>,
    /// What each tenant may take of this consumer. Clones share the limits: they can be changed while it runs. Default: everybody the same,
    /// without limits.
    pub tenants: Tenants,
    /// Whose events are handled; those of others are skipped and counted. Default: everybody's.
    pub tenant_filter: TenantFilter,
    /// `tenants.named`: how many tenants the [metrics](super::ConsumerMetrics::tenants) name, those that most events came for; all others are
    /// counted together. What is shown to Prometheus and others names the same ones for as long as the consumer runs, 512 at the most. Default 20.
    pub tenants_named: usize,
    /// Everything else: fetch sizes, isolation, heartbeats, and what all clients share. Here `max_poll_records` is 5,000 by default.
    pub kafka: kafka::ConsumerConfig,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            topics: Vec::new(),
            group_id: String::new(),
            auto_offset_reset: OffsetReset::Latest,
            session_timeout: Duration::from_secs(10),
            max_poll_interval: Duration::from_secs(300),
            commit: CommitPolicy::default(),
            concurrency: 16,
            queue_bytes: 16 << 20,
            shutdown_timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            retry_topics: RetryTopics::default(),
            on_failure: OnFailure::Stop,
            dead_letter_topic: None,
            dead_letters_per_second: 1_000,
            on_too_large: OnTooLarge::default(),
            circuit: CircuitPolicy::default(),
            on_unknown: OnUnknown::default(),
            on_panic: FailureClass::Poison,
            classify: Classify::default(),
            handler_timeout: None,
            handler_deaths: 3,
            batch: BatchPolicy::default(),
            #[cfg(feature = "otel")]
            tracer: None,
            tenants: Tenants::default(),
            tenant_filter: TenantFilter::default(),
            tenants_named: 20,
            kafka: kafka::ConsumerConfig {
                // A poll hands each queue its share: with many records the handing out is cheap.
                max_poll_records: 5_000,
                ..kafka::ConsumerConfig::default()
            },
        }
    }
}

impl ConsumerConfig {
    /// The defaults, with `brokers` (`host:port`) and `topics` (commas between several of either) and `group_id`.
    pub fn new(brokers: &str, topics: &str, group_id: &str) -> Self {
        Self {
            brokers: list(brokers),
            topics: list(topics),
            group_id: group_id.to_string(),
            ..Self::default()
        }
    }

    /// The same, beginning at the earliest event where the group has committed nothing, instead of behind the latest.
    ///
    /// ```
    /// use pat_events::events::ConsumerConfig;
    /// use pat_events::kafka::OffsetReset;
    ///
    /// let config = ConsumerConfig::new("localhost:9092", "emails", "indexer").earliest();
    /// assert_eq!(config.auto_offset_reset, OffsetReset::Earliest);
    /// ```
    #[must_use]
    pub fn earliest(mut self) -> Self {
        self.auto_offset_reset = OffsetReset::Earliest;
        self
    }

    /// The same, writing what cannot be handled to a dead-letter topic ([`dead_letter_topic`](Self::dead_letter_topic), which has to exist) instead
    /// of stopping over it.
    ///
    /// ```
    /// use pat_events::events::{ConsumerConfig, OnFailure};
    ///
    /// let config = ConsumerConfig::new("localhost:9092", "emails", "indexer").dead_letters();
    /// assert!(matches!(config.on_failure, OnFailure::DeadLetter));
    /// ```
    #[must_use]
    pub fn dead_letters(mut self) -> Self {
        self.on_failure = OnFailure::DeadLetter;
        self
    }

    /// On this client: what it says of the cluster goes before what is said here.
    pub(super) fn on(mut self, client: &Client) -> Self {
        self.brokers.clone_from(&client.config().bootstrap_servers);
        self.kafka.client = client.config().clone();
        self
    }

    /// What is done about failures.
    pub(super) fn failure_policy(&self) -> FailurePolicy {
        FailurePolicy {
            retry: self.retry,
            on_failure: self.on_failure.clone(),
            on_unknown: self.on_unknown,
            on_panic: self.on_panic,
            classify: self.classify.clone(),
            handler_timeout: self.handler_timeout,
            circuit: self.circuit,
            dead_letters_per_second: self.dead_letters_per_second,
            on_too_large: self.on_too_large,
            retry_delays: self.retry_topics.delays.clone(),
        }
    }

    /// What no pattern matches: this consumer's own retry topics and dead letters.
    pub(super) fn left_out(&self) -> LeftOutTopics {
        let retries = self.retry_topics.around(&self.group_id).into_iter();
        let retries = retries.map(|(before, behind)| LeftOutTopics::Around(before, behind));
        LeftOutTopics::All(retries.chain([self.dead_letters_left_out()]).collect())
    }

    fn dead_letters_left_out(&self) -> LeftOutTopics {
        match (&self.on_failure, &self.dead_letter_topic) {
            (OnFailure::DeadLetter, Some(topic)) => LeftOutTopics::Named(topic.clone()),
            (OnFailure::DeadLetter, None) => LeftOutTopics::Behind(DEAD_LETTER_SUFFIX),
            _ => LeftOutTopics::None,
        }
    }

    /// The configuration of the client that reads retry topics: beside the group, and only where it is told to. A position that cannot be is an
    /// error: what is under way would not be found any more.
    pub(super) fn retry_client_config(&self) -> kafka::ConsumerConfig {
        let mut config = self.client_config();
        (config.group_id, config.group_instance_id) = (None, None);
        config.auto_offset_reset = OffsetReset::None;
        config
    }

    /// Fails when one of the retry topics is missing of the topics that are read by name.
    pub(super) async fn check_retry_topics(&self, client: &Client) -> Result<()> {
        let is_name = |topic: &&str| !topic.starts_with('^');
        let topics = self.topics.iter().map(String::as_str).filter(is_name);
        let topics: Vec<_> = topics.collect();
        let retries = &self.retry_topics;
        retries.check(client, &topics, &self.group_id).await
    }

    /// The chain of `origin`, a partition that was assigned; `None` when there are no retry topics.
    pub(super) fn chain_of(&self, origin: &TopicPartition) -> Option<Chain> {
        let topics = &self.retry_topics;
        let names = topics.names(&origin.topic, &self.group_id);
        let chain = || Chain::new(origin.clone(), names, topics.max_pending);
        (!topics.is_empty()).then(chain)
    }

    /// How long handlers at work may hold up a rebalance: a good part of the time in which the group expects this member back, so that
    /// slow handlers cost no repetition, and by far not all of it, so that a stuck one costs the member its place even less.
    pub(super) fn patience(&self) -> Duration {
        self.shutdown_timeout.max(self.max_poll_interval / 4)
    }

    /// The configuration of the client beneath.
    pub(super) fn client_config(&self) -> kafka::ConsumerConfig {
        let mut config = self.kafka.clone();
        config.client.bootstrap_servers.clone_from(&self.brokers);
        config.group_id = Some(self.group_id.clone());
        config.auto_offset_reset = self.auto_offset_reset;
        // By the consumer protocol the brokers say how long a session is: what nobody has set says nothing then.
        let is_set = self.session_timeout != Self::default().session_timeout;
        if is_set || config.group_protocol != kafka::GroupProtocol::Consumer {
            config.session_timeout = self.session_timeout;
        }
        config.max_poll_interval = self.max_poll_interval;
        // The client knows what was fetched, not what is finished: this consumer commits.
        config.enable_auto_commit = false;
        config
    }
}

/// Each place has a task and counters of its own: more would only take memory.
const HANDLERS: Kind<usize> = Kind::number::<1, 4_096>("a number of handlers from 1 to 4096");

const RETRIES: Kind<usize> = Kind::number::<0, MAX_BYTES>("a number from 0 to 2147483647");
const PERCENT: Kind<usize> = Kind::number::<0, 100>("a number from 0 to 100");

set_by_name!(ConsumerConfig);

impl Configuration for ConsumerConfig {
    type Base = kafka::ConsumerConfig;

    const PROPERTIES: &'static [Property<Self>] = properties! {
        "bootstrap.servers": ADDRESSES => brokers;
        "topics": TOPICS => topics;
        "group.id": TEXT => group_id;
        "auto.offset.reset": OffsetReset::KIND => auto_offset_reset;
        "session.timeout.ms": POSITIVE_MILLIS => session_timeout;
        "max.poll.interval.ms": POSITIVE_MILLIS => max_poll_interval;
        "enable.auto.commit": FLAG => commit.is_periodic;
        "auto.commit.interval.ms": POSITIVE_MILLIS => commit.period;
        "commit.interval.ms": POSITIVE_MILLIS => commit.pause;
        "concurrency": HANDLERS => concurrency;
        "queue.bytes": BYTES => queue_bytes;
        "shutdown.timeout.ms": POSITIVE_MILLIS => shutdown_timeout;
        "handler.retries": RETRIES => retry.retries;
        "handler.retry.backoff.ms": POSITIVE_MILLIS => retry.backoff;
        "handler.retry.backoff.max.ms": POSITIVE_MILLIS => retry.backoff_max;
        "handler.retry.timeout.ms": MILLIS => retry.timeout;
        "handler.timeout.ms": POSITIVE_MILLIS => handler_timeout;
        "handler.deaths": RETRIES => handler_deaths;
        "handler.batch.events": COUNT => batch.max_events;
        "handler.batch.bytes": BYTES => batch.max_bytes;
        "handler.batch.linger.ms": MILLIS => batch.linger;
        "on.failure": OnFailure::KIND => on_failure;
        "dead.letter.topic": NAME => dead_letter_topic;
        "dead.letters.per.second": COUNT => dead_letters_per_second;
        "dead.letter.too.large": OnTooLarge::KIND => on_too_large;
        "retry.budget.per.second": COUNT => retry.budget_per_second;
        "retry.budget.percent": RETRIES => retry.budget_percent;
        "retry.topics": DELAYS => retry_topics.delays;
        "retry.topic.name": NAME_PATTERN => retry_topics.name;
        "retry.pending.max": PENDING => retry_topics.max_pending;
        "circuit.failure.percent": PERCENT => circuit.failure_percent;
        "circuit.failures": COUNT => circuit.failures;
        "circuit.window.ms": POSITIVE_MILLIS => circuit.window;
        "circuit.pause.ms": POSITIVE_MILLIS => circuit.pause;
        "on.unknown": OnUnknown::KIND => on_unknown;
        "on.panic": FailureClass::KIND => on_panic;
        "tenants.named": COUNT => tenants_named;
    };

    fn base(&mut self) -> Option<&mut Self::Base> {
        Some(&mut self.kafka)
    }

    fn check(&self) -> Result<()> {
        let wrong = |message: &'static str| Err(Error::new(ErrorKind::Config, message));
        if self.topics.is_empty() {
            return wrong("topics is not set: name the topics to read");
        }
        if self.group_id.is_empty() {
            return wrong("group.id is not set: name the group to read as");
        }
        let reads = |topic: &String| self.topics.contains(topic);
        let own = || {
            let dead = |topic: &String| format!("{topic}{DEAD_LETTER_SUFFIX}");
            let dead = self.topics.iter().map(dead).find(reads);
            dead.filter(|_| matches!(self.on_failure, OnFailure::DeadLetter))
        };
        let dead = match &self.dead_letter_topic {
            Some(dead) => Some(dead.clone()).filter(reads),
            None => own(),
        };
        if let Some(dead) = dead {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "dead.letter.topic = {dead} is one of the topics that are read: dead letters would be handled, and fail, for ever"
                ),
            ));
        }
        if let Some(message) = self.retry_topics.refusal(&self.topics, &self.group_id) {
            return Err(Error::new(ErrorKind::Config, message));
        }
        let (shutdown, poll) = (self.shutdown_timeout, self.max_poll_interval);
        if shutdown >= poll {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "shutdown.timeout.ms = {} must be below max.poll.interval.ms = {}: a member that waits longer for its handlers \
                     has lost its place before it can commit what they finished",
                    shutdown.as_millis(),
                    poll.as_millis()
                ),
            ));
        }
        let config = self.client_config();
        config.client.bootstrap_addresses()?;
        config.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_these() {
        let config = ConsumerConfig::default();
        assert_eq!(config.auto_offset_reset, OffsetReset::Latest);
        assert_eq!(config.session_timeout, Duration::from_secs(10));
        assert_eq!(config.max_poll_interval, Duration::from_secs(300));
        let prompt = CommitPolicy::prompt(Duration::from_millis(100));
        assert_eq!(config.commit, prompt);
        assert_eq!(config.concurrency, 16);
        assert_eq!(config.queue_bytes, 16 << 20);
        assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
        assert!(matches!(config.on_failure, OnFailure::Stop));
        assert_eq!(config.kafka.max_poll_records, 5_000);
    }

    #[test]
    fn the_named_fields_go_before_those_of_the_client() {
        let mut config = ConsumerConfig::new("a:1", "x, y", "g");
        config.kafka.enable_auto_commit = true;
        config.kafka.group_id = Some("other".into());
        assert_eq!(config.topics, ["x", "y"]);
        let client = config.client_config();
        assert!(
            !client.enable_auto_commit,
            "the client would commit what is not finished"
        );
        assert_eq!(client.group_id.as_deref(), Some("g"));
        assert_eq!(client.client.bootstrap_servers, ["a:1"]);
    }

    #[test]
    fn properties_set_events_and_client_alike() {
        let config = ConsumerConfig::from_properties([
            ("bootstrap.servers", "a:1"),
            ("topics", "emails"),
            ("group.id", "g"),
            ("auto.offset.reset", "none"),
            ("session.timeout.ms", "45000"),
            ("concurrency", "3"),
            ("fetch.min.bytes", "7"),
        ])
        .expect("good properties");
        assert_eq!(config.auto_offset_reset, OffsetReset::None);
        assert_eq!(config.session_timeout, Duration::from_secs(45));
        assert_eq!((config.concurrency, config.kafka.fetch_min_bytes), (3, 7));
    }

    #[test]
    fn the_brokers_decide_of_sessions_by_the_consumer_protocol_and_what_is_set_is_refused() {
        let ready = [
            ("bootstrap.servers", "a:1"),
            ("topics", "t"),
            ("group.id", "g"),
            ("group.protocol", "consumer"),
        ];
        let config = ConsumerConfig::from_properties(ready).expect("good properties");
        config.client_config().validate().expect("nothing is set");
        let pairs = [&ready[..], &[("session.timeout.ms", "6000")]].concat();
        let error = match ConsumerConfig::from_properties(pairs) {
            Ok(config) => config.client_config().validate().expect_err("set"),
            Err(error) => error,
        };
        assert!(error.to_string().contains("session.timeout.ms"), "{error}");
    }

    #[test]
    fn the_commit_policy_goes_by_the_names_that_java_has_for_it() {
        let interval = |pairs: &[(&str, &str)]| {
            let ready = [
                ("bootstrap.servers", "a:1"),
                ("topics", "t"),
                ("group.id", "g"),
            ];
            let pairs = [&ready[..], pairs].concat();
            let config = ConsumerConfig::from_properties(pairs).expect("good properties");
            config.commit.interval().as_millis()
        };
        assert_eq!(interval(&[]), 100);
        assert_eq!(interval(&[("commit.interval.ms", "7")]), 7);
        assert_eq!(interval(&[("auto.commit.interval.ms", "7")]), 100);
        assert_eq!(interval(&[("enable.auto.commit", "true")]), 5_000);
        let both = [
            ("auto.commit.interval.ms", "7"),
            ("enable.auto.commit", "true"),
        ];
        assert_eq!(interval(&both), 7);
        assert_eq!(interval(&[both[1], both[0]]), 7, "in any order");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |pairs: &[(&str, &str)]| {
            ConsumerConfig::from_properties(pairs.iter().copied())
                .expect_err("not allowed")
                .to_string()
        };
        assert!(error(&[]).starts_with("topics is not set"));
        assert!(error(&[("topics", "t")]).starts_with("group.id is not set"));
        assert!(
            error(&[("topics", "t"), ("group.id", "g")])
                .starts_with("bootstrap.servers is not set")
        );
        assert_eq!(
            error(&[("auto.offset.reset", "newest")]),
            "auto.offset.reset = \"newest\" is not allowed: allowed is earliest, latest, none, by_duration:PT1H (any duration of ISO 8601) or timestamp:1700000000000 (milliseconds since 1970)"
        );
        let ready = [
            ("bootstrap.servers", "a:1"),
            ("topics", "t"),
            ("group.id", "g"),
        ];
        let late = error(&[&ready[..], &[("max.poll.interval.ms", "30000")]].concat());
        assert!(
            late.starts_with("shutdown.timeout.ms = 30000 must be below max.poll.interval.ms"),
            "{late}"
        );
        assert!(error(&[("groupid", "g")]).contains("did you mean group.id?"));
    }
}
