//! What a consumer of events does about an error: goes on, with a pause, as long as it can heal; ends when somebody has to do something.

use std::collections::BTreeMap;

use super::config::ConsumerConfig;
use crate::kafka::consumer::ConsumerHandle;
use crate::kafka::{Backoff, Error, ErrorCode, ErrorKind, Random, TopicPartition};

/// How often a batch that cannot be read is fetched again: it may have been harmed on its way.
const REREADS: u32 = 2;

/// Whether polling or committing again can get over `error`.
///
/// One bad answer never ends a consumer, whatever its code: codes are about the broker's state, which heals, but for those that say that
/// this client may not, or is set up in a way that cannot work. What the client itself found out ends it when it is about the client: its
/// configuration, or a policy not to go on without being told where.
pub(super) fn passes(error: &Error) -> bool {
    let code = error.server_error().map(|code| ErrorCode(code.0));
    match error.kind() {
        ErrorKind::Fenced if code.is_some_and(is_about_producers) => true,
        _ if error.is_fatal() => false,
        ErrorKind::Config | ErrorKind::Authorization | ErrorKind::Authentication => false,
        ErrorKind::OffsetOutOfRange | ErrorKind::NoOffset | ErrorKind::CorruptBatch => {
            code.is_some()
        }
        _ => !code.is_some_and(is_about_the_configuration),
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

/// Codes that fence a producer: to a consumer they say no more than any other that makes no sense.
fn is_about_producers(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED
    )
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
    /// Where `error` is that a batch cannot be read: fetches it once more, unless it was often enough.
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

    #[test]
    fn every_code_passes_but_those_that_somebody_has_to_do_something_about() {
        let ends: Vec<&str> = ErrorCode::all()
            .chain([ErrorCode(31_999)])
            .filter(|code| !passes(&Error::server(*code, None)))
            .map(ErrorCode::name)
            .collect();
        assert_eq!(
            ends,
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
    fn what_the_client_found_out_ends_the_consumer_when_it_is_about_the_client() {
        let ends = |kind| !passes(&Error::new(kind, "found out here"));
        for kind in [
            ErrorKind::Config,
            ErrorKind::Authentication,
            ErrorKind::Authorization,
            ErrorKind::UnsupportedVersion,
            ErrorKind::Fenced,
            ErrorKind::Closed,
            ErrorKind::OffsetOutOfRange,
            ErrorKind::NoOffset,
            ErrorKind::CorruptBatch,
        ] {
            assert!(ends(kind), "{kind:?}");
        }
        for kind in [
            ErrorKind::Connect,
            ErrorKind::Disconnected,
            ErrorKind::Timeout,
            ErrorKind::Protocol,
            ErrorKind::BufferFull,
            ErrorKind::UnknownTopicOrPartition,
            ErrorKind::Rebalance,
        ] {
            assert!(!ends(kind), "{kind:?}");
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
}
