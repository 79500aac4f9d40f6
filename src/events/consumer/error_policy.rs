//! What a consumer of events does about an error: goes on, with a pause, as long as it can heal; ends when somebody has to do something.
//!
//! One bad response never ends a consumer, whatever its code: [`Refusals`] waits until it was returned again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::ApiKey;
use tokio::time::Instant;

use super::config::ConsumerConfig;
use crate::kafka::consumer::ConsumerHandle;
use crate::kafka::{Backoff, Error, ErrorCode, ErrorKind, Random, Records, TopicPartition};

/// How often a batch that cannot be read is fetched again: it may have been harmed on its way.
const REREADS: u32 = 2;
/// How often at least something is refused before that ends a consumer.
const CONFIRMED: u32 = 3;
/// After how many request timeouts without another refusal the one before counts as over. What lasts is reported once per request timeout, and
/// the attempt in between may take as long again.
const OVER_AFTER: u32 = 3;

/// What can be expected after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlook {
    /// Polling or committing again can get over it.
    Heals,
    /// It says the same until somebody has done something, unless it is one bad response.
    MayNotHeal,
    /// No repetition changes it.
    Final,
}

/// Codes are about the broker's state, which heals, but for those that say that this client may not, or is set up in a way that cannot work;
/// even these come from brokers that are starting, or wrong. What the client itself found out is final when it is about the client: closed,
/// a panic, its configuration, or a policy not to go on without being told where.
fn outlook(error: &Error, is_static: bool) -> Outlook {
    match (error.kind(), error.server_error()) {
        (ErrorKind::Fenced, Some(ErrorCode::FENCED_INSTANCE_ID)) => {
            match is_static && error.is_fatal() && is_about_membership(error) {
                true => Outlook::Final,
                false => Outlook::MayNotHeal,
            }
        }
        // To a consumer it says no more than any other code that makes no sense.
        (ErrorKind::Fenced, Some(_)) => Outlook::Heals,
        (ErrorKind::Authorization | ErrorKind::Authentication, _)
        | (ErrorKind::UnsupportedVersion, _) => Outlook::MayNotHeal,
        (_, Some(code)) if is_about_the_configuration(code) => Outlook::MayNotHeal,
        (_, Some(_)) => Outlook::Heals,
        (
            ErrorKind::Config
            | ErrorKind::OffsetOutOfRange
            | ErrorKind::NoOffset
            | ErrorKind::CorruptBatch,
            None,
        ) => Outlook::Final,
        (_, None) if error.is_fatal() => Outlook::Final,
        (_, None) => Outlook::Heals,
    }
}

/// Codes that say the same until somebody changes the configuration.
fn is_about_the_configuration(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INVALID_TOPIC_EXCEPTION
            | ErrorCode::INVALID_GROUP_ID
            | ErrorCode::INVALID_SESSION_TIMEOUT
    )
}

/// Whether it comes from where the group's coordinator knows its members by name.
fn is_about_membership(error: &Error) -> bool {
    matches!(
        error.api_key(),
        Some(ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP | ApiKey::HEARTBEAT | ApiKey::OFFSET_COMMIT)
    )
}

/// What was refused and may not heal, and for how long nothing has come of it.
pub(super) struct Refusals {
    /// `request.timeout.ms`
    patience: Duration,
    is_static: bool,
    open: BTreeMap<Subject, Refusal>,
}

/// What a refusal is about: records of another topic are no success of this one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Everything,
    Topic(Arc<str>),
    Partition(TopicPartition),
}

impl Subject {
    fn of(error: &Error) -> Self {
        match (error.partition(), error.topic_name()) {
            (Some(partition), _) => Self::Partition(partition.clone()),
            (None, Some(topic)) => Self::Topic(topic.clone()),
            (None, None) => Self::Everything,
        }
    }
}

struct Refusal {
    since: Instant,
    last: Instant,
    times: u32,
}

impl Refusals {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        let kafka = &config.kafka;
        Self {
            patience: kafka.client.request_timeout,
            is_static: kafka.group_instance_id.is_some(),
            open: BTreeMap::new(),
        }
    }

    /// Whether `error`, returned now, ends the consumer: at once if it is final; else if it may not heal, and was returned several times and
    /// for the request timeout without a success in between.
    pub(super) fn ends(&mut self, error: &Error, now: Instant) -> bool {
        match outlook(error, self.is_static) {
            Outlook::Heals => return false,
            Outlook::Final => return true,
            Outlook::MayNotHeal => {}
        }
        let known = self.open.entry(Subject::of(error));
        let refusal = known.or_insert(Refusal {
            since: now,
            last: now,
            times: 0,
        });
        refusal.last = now;
        refusal.times = refusal.times.saturating_add(1);
        refusal.times >= CONFIRMED && now.duration_since(refusal.since) >= self.patience
    }

    /// Everything that was refused has been taken.
    pub(super) fn succeeded(&mut self) {
        self.open.clear();
    }

    /// A poll has returned `records`: a success of their partitions, and of what concerns all of them. A poll without any is none, as what is
    /// refused is reported now and then only; what was not reported again for a long while is over.
    pub(super) fn polled(&mut self, records: &Records, now: Instant) {
        if !self.open.is_empty() {
            self.read(records.partitions().map(|run| run.partition()), now);
        }
    }

    fn read<'a>(&mut self, partitions: impl Iterator<Item = &'a TopicPartition>, now: Instant) {
        for partition in partitions {
            self.open.remove(&Subject::Partition(partition.clone()));
            self.open.remove(&Subject::Topic(partition.topic.clone()));
            self.open.remove(&Subject::Everything);
        }
        let over = self.patience.saturating_mul(OVER_AFTER);
        self.open
            .retain(|_, refusal| now.duration_since(refusal.last) < over);
    }
}

/// The pauses between repetitions of one thing.
pub(super) fn retry_backoff(config: &ConsumerConfig, of: &str) -> (Backoff, Random) {
    let client = &config.kafka.client;
    (
        Backoff::new(client.retry_backoff, client.retry_backoff_max),
        client.random(of),
    )
}

/// The batches that could not be read, and how often they were fetched again.
#[derive(Default)]
pub(super) struct Rereads(BTreeMap<TopicPartition, (i64, u32)>);

impl Rereads {
    /// Where `error` is that a batch cannot be read: fetches it once more, unless that was done often enough.
    pub(super) fn once_more(&mut self, consumer: &ConsumerHandle, error: &Error) -> bool {
        let (ErrorKind::CorruptBatch, Some(name), Some(offset)) =
            (error.kind(), error.partition(), error.failed_offset())
        else {
            return false;
        };
        self.counts(name, offset) && consumer.seek(name, offset).is_ok()
    }

    fn counts(&mut self, name: &TopicPartition, offset: i64) -> bool {
        let known = self.0.entry(name.clone()).or_insert((offset, 0));
        if known.0 != offset {
            *known = (offset, 0);
        }
        known.1 += 1;
        known.1 <= REREADS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn refusals(is_static: bool) -> Refusals {
        let mut config = ConsumerConfig::new("localhost:9092", "t", "g");
        config.kafka.client.request_timeout = PATIENCE;
        config.kafka.group_instance_id = is_static.then(|| "a".to_owned());
        Refusals::new(&config)
    }

    fn all_codes() -> impl Iterator<Item = ErrorCode> {
        ErrorCode::all().chain([ErrorCode(31_999)])
    }

    fn codes_of(wanted: Outlook, is_static: bool, api: ApiKey) -> Vec<&'static str> {
        all_codes()
            .filter(|code| outlook(&Error::server(*code, None).api(api), is_static) == wanted)
            .map(ErrorCode::name)
            .collect()
    }

    #[test]
    fn every_code_heals_but_those_that_somebody_has_to_do_something_about() {
        assert_eq!(
            codes_of(Outlook::MayNotHeal, false, ApiKey::OFFSET_COMMIT),
            [
                "INVALID_TOPIC_EXCEPTION",
                "INVALID_GROUP_ID",
                "INVALID_SESSION_TIMEOUT",
                "TOPIC_AUTHORIZATION_FAILED",
                "GROUP_AUTHORIZATION_FAILED",
                "CLUSTER_AUTHORIZATION_FAILED",
                "UNSUPPORTED_SASL_MECHANISM",
                "ILLEGAL_SASL_STATE",
                "UNSUPPORTED_VERSION",
                "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
                "SASL_AUTHENTICATION_FAILED",
                "FENCED_INSTANCE_ID",
            ]
        );
    }

    #[test]
    fn only_the_fencing_of_a_static_member_by_its_coordinator_is_final() {
        for (api, is_static) in [
            (ApiKey::OFFSET_COMMIT, false),
            (ApiKey::FETCH, true),
            (ApiKey::FIND_COORDINATOR, true),
        ] {
            assert!(
                codes_of(Outlook::Final, is_static, api).is_empty(),
                "{api:?}"
            );
        }
        for api in [ApiKey::OFFSET_COMMIT, ApiKey::HEARTBEAT, ApiKey::JOIN_GROUP] {
            assert_eq!(codes_of(Outlook::Final, true, api), ["FENCED_INSTANCE_ID"]);
        }
    }

    #[test]
    fn what_the_client_found_out_is_final_when_it_is_about_the_client() {
        for (wanted, kinds) in [
            (
                Outlook::Final,
                &[
                    ErrorKind::Config,
                    ErrorKind::Fenced,
                    ErrorKind::Closed,
                    ErrorKind::Internal,
                    ErrorKind::OffsetOutOfRange,
                    ErrorKind::NoOffset,
                    ErrorKind::CorruptBatch,
                ][..],
            ),
            (
                Outlook::MayNotHeal,
                &[
                    ErrorKind::Authentication,
                    ErrorKind::Authorization,
                    ErrorKind::UnsupportedVersion,
                ],
            ),
            (
                Outlook::Heals,
                &[
                    ErrorKind::Connect,
                    ErrorKind::Disconnected,
                    ErrorKind::Timeout,
                    ErrorKind::Protocol,
                    ErrorKind::BufferFull,
                    ErrorKind::UnknownTopicOrPartition,
                    ErrorKind::TopicRecreated,
                    ErrorKind::Rebalance,
                    ErrorKind::NoLeader,
                ],
            ),
        ] {
            for kind in kinds {
                let error = Error::new(*kind, "found out here");
                assert_eq!(outlook(&error, false), wanted, "{kind:?}");
            }
        }
    }

    #[test]
    fn no_code_ends_a_consumer_before_it_was_returned_three_times_and_for_the_request_timeout() {
        let start = Instant::now();
        for code in all_codes() {
            let error = Error::server(code, None);
            let may_heal = outlook(&error, false) == Outlook::Heals;
            let mut often = refusals(false);
            for second in 0..30 {
                assert!(
                    !often.ends(&error, start + Duration::from_secs(second)),
                    "{code}"
                );
            }
            assert_eq!(often.ends(&error, start + PATIENCE), !may_heal, "{code}");
            let mut long = refusals(false);
            assert!(!long.ends(&error, start), "{code}");
            assert!(!long.ends(&error, start + PATIENCE), "{code}");
            assert_eq!(long.ends(&error, start + 2 * PATIENCE), !may_heal, "{code}");
        }
    }

    #[test]
    fn a_success_in_between_begins_anew() {
        let start = Instant::now();
        let error = Error::server(ErrorCode::GROUP_AUTHORIZATION_FAILED, None);
        let mut refusals = refusals(false);
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            if second % 30 == 29 {
                refusals.succeeded();
            }
            assert!(!refusals.ends(&error, now), "{second}");
        }
    }

    #[test]
    fn records_are_a_success_of_their_partition_and_of_what_concerns_all() {
        let start = Instant::now();
        let error = |partition| {
            Error::server(ErrorCode::TOPIC_AUTHORIZATION_FAILED, None)
                .topic_partition("t", partition)
        };
        let of_all = Error::server(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, None);
        let mut refusals = refusals(false);
        let names = [TopicPartition::new("t", 0)];
        for second in 0..30 {
            let now = start + Duration::from_secs(second);
            for error in [error(0), error(1), of_all.clone()] {
                assert!(!refusals.ends(&error, now), "{second}: {error}");
            }
            refusals.read(names.iter(), now);
        }
        let now = start + PATIENCE;
        assert!(!refusals.ends(&error(0), now));
        assert!(!refusals.ends(&of_all, now));
        assert!(refusals.ends(&error(1), now), "nothing came of this one");
    }

    #[test]
    fn one_bad_response_now_and_then_ends_no_consumer_that_has_nothing_to_read() {
        let start = Instant::now();
        let error = Error::server(ErrorCode::GROUP_AUTHORIZATION_FAILED, None);
        let mut refusals = refusals(false);
        for second in 0..1_000 {
            let now = start + Duration::from_secs(second);
            if second % 100 == 0 {
                assert!(!refusals.ends(&error, now), "{second}");
            }
            refusals.read([].iter(), now);
        }
    }

    #[test]
    fn a_batch_is_read_again_twice_and_another_one_too() {
        let mut rereads = Rereads::default();
        let name = TopicPartition::new("t", 0);
        assert!(rereads.counts(&name, 5));
        assert!(rereads.counts(&name, 5));
        assert!(!rereads.counts(&name, 5));
        assert!(rereads.counts(&name, 9));
        assert!(rereads.counts(&TopicPartition::new("t", 1), 9));
    }

    /// As in Java: a subscribed topic that the client may not see is an error though others are read.
    #[test]
    fn records_of_other_topics_make_up_for_no_topic_that_is_refused() {
        let start = Instant::now();
        let error = Error::server(ErrorCode::TOPIC_AUTHORIZATION_FAILED, None).topic("refused");
        for (read, ends) in [("other", true), ("refused", false)] {
            let read = TopicPartition::new(read, 0);
            let mut refusals = refusals(false);
            let ended = [5, 35, 65].map(|second| {
                let now = start + Duration::from_secs(second);
                let ended = refusals.ends(&error, now);
                refusals.read([&read].into_iter(), now);
                ended
            });
            assert_eq!(ended, [false, false, ends], "{read}");
        }
    }
}
