//! What a broker answers once, and what it goes on answering: one bad answer ends nothing, and whatever is repeated is repeated at a pace.

use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    Consumer, ErrorKind, OffsetAndMetadata, OffsetReset, ResetCause, StartOffset, WriteOutcome,
};
use protocol::compression::Compression;
use protocol::records::SealOptions;
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;

const PATIENCE: std::time::Duration = ms(5_000);

/// A reader of `t`-0 that begins where its group has committed, 0.
async fn group_reader(broker: &Broker) -> Consumer {
    let mut consumer = consumer(broker, |config| {
        config.group_id = Some("g".to_string());
        config.client.request_timeout = PATIENCE;
        config.max_partition_fetch_bytes = 1_000;
    })
    .await;
    consumer
        .assign(&[(tp(0), StartOffset::Committed)])
        .await
        .expect("assigned");
    consumer
}

/// Every code that Kafka has for what goes wrong, and one that it has not.
fn codes() -> impl Iterator<Item = ErrorCode> {
    ErrorCode::all()
        .filter(|code| *code != ErrorCode::NONE)
        .chain([ErrorCode(31_999)])
}

const READS: [ApiKey; 3] = [ApiKey::FETCH, ApiKey::LIST_OFFSETS, ApiKey::OFFSET_FETCH];

#[tokio::test(start_paused = true)]
async fn a_read_that_is_refused_once_is_read_on_whatever_the_code() {
    for api in READS {
        for code in codes() {
            let broker = one_broker(1);
            fill(&broker, 0, 0..100, 10);
            broker.inject(Fault::on(api, FaultAction::Answer(code)).times(2));
            let mut consumer = group_reader(&broker).await;
            let started = Instant::now();
            let mut next = 0;
            while next < 100 {
                match consumer.poll(ms(1_000)).await {
                    Ok(records) => {
                        for number in numbers(&records) {
                            assert_eq!(number, next, "{api:?} {code}");
                            next += 1;
                        }
                    }
                    // What asking again cannot change is told at once, and asked again nevertheless.
                    Err(error) => assert!(
                        matches!(
                            error.kind(),
                            ErrorKind::Authorization
                                | ErrorKind::Authentication
                                | ErrorKind::Fenced
                                | ErrorKind::TransactionAborted
                                | ErrorKind::Rebalance
                                | ErrorKind::RecordTooLarge
                                | ErrorKind::UnsupportedVersion
                                | ErrorKind::Server(_)
                        ),
                        "{api:?} {code}: {error}"
                    ),
                }
                assert!(started.elapsed() < ms(20_000), "{api:?} {code}: {next}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_refused_for_ever_is_an_error_in_time_and_asked_for_at_a_pace() {
    for api in READS {
        for code in codes() {
            let broker = one_broker(1);
            fill(&broker, 0, 0..10, 10);
            // Far more requests than there can be at a pace, far fewer than without one.
            broker.inject(Fault::on(api, FaultAction::Answer(code)).times(150));
            let mut consumer = group_reader(&broker).await;
            let started = Instant::now();
            let error = loop {
                match consumer.poll(ms(500)).await {
                    Err(error) => break error,
                    Ok(records) => assert!(records.is_empty(), "{api:?} {code}"),
                }
                assert!(started.elapsed() < 3 * PATIENCE, "{api:?} {code}: silent");
            };
            assert_ne!(error.outcome(), WriteOutcome::Unknown, "{api:?} {code}");
            assert!(!error.to_string().contains("may have been applied"));
            tokio::time::sleep(ms(10_000)).await;
            assert_eq!(broker.pending_faults(), 1, "{api:?} {code}: a hot loop");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_once_is_made_unless_the_code_decides() {
    for code in codes() {
        let broker = one_broker(1);
        let consumer = group_reader(&broker).await;
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, FaultAction::Answer(code)));
        let offset = [(tp(0), OffsetAndMetadata::new(7))];
        match consumer.commit(&offset).await {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.server_error(), Some(code));
                consumer
                    .commit(&offset)
                    .await
                    .unwrap_or_else(|error| panic!("{code}, healed: {error}"));
            }
        }
        assert_eq!(broker.committed_offset("g", "t", 0), Some(7), "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_is_refused_for_ever_is_an_error_in_time_and_sent_at_a_pace() {
    for code in codes() {
        let broker = one_broker(1);
        let consumer = group_reader(&broker).await;
        let refusal = FaultAction::Answer(code);
        broker.inject(Fault::on(ApiKey::OFFSET_COMMIT, refusal).times(60));
        let started = Instant::now();
        consumer
            .commit(&[(tp(0), OffsetAndMetadata::new(7))])
            .await
            .expect_err("never confirmed");
        assert!(started.elapsed() <= PATIENCE + ms(100), "{code}");
        assert_eq!(broker.pending_faults(), 1, "{code}: a hot loop");
        assert_eq!(broker.committed_offset("g", "t", 0), None, "{code}");
    }
}

/// Counts requests without changing them.
fn count(broker: &Broker, api: ApiKey, most: u64) {
    broker.inject(Fault::on(api, FaultAction::Delay(ms(0))).times(most));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_cannot_be_read_is_fetched_once_and_its_error_told_until_a_seek() {
    let broker = one_broker(1);
    let mut bad = batch(0..10, Compression::NONE, &SealOptions::default()).to_vec();
    *bad.last_mut().expect("bytes") ^= 1;
    broker.append_unchecked("t", 0, bad.into());
    fill(&broker, 0, 10..20, 10);
    let mut consumer = reader(&broker, 1, |_| {}).await;
    count(&broker, ApiKey::FETCH, 4);
    let started = Instant::now();
    let mut errors = 0;
    while started.elapsed() < ms(30_000) {
        if let Err(error) = consumer.poll(ms(5_000)).await {
            assert_eq!(error.failed_offset(), Some(0), "{error}");
            errors += 1;
        }
    }
    assert!((20..=40).contains(&errors), "{errors} times in 30 s");
    assert_eq!(broker.pending_faults(), 1, "fetched again and again");
    consumer.seek(&tp(0), 10).expect("assigned");
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn every_reset_is_reported_with_what_was_passed_over() {
    for (policy, to) in [(OffsetReset::Earliest, 900), (OffsetReset::Latest, 1_000)] {
        let broker = one_broker(1);
        fill(&broker, 0, 0..1_000, 100);
        let mut consumer = consumer(&broker, |config| {
            config.auto_offset_reset = policy;
            config.max_poll_records = 10;
            config.max_partition_fetch_bytes = 1_000;
            config.fetch_max_wait = ms(100);
        })
        .await;
        consumer
            .assign(&[(tp(0), StartOffset::Offset(0))])
            .await
            .expect("assigned");
        // A slow reader: what it is about to read is deleted.
        assert_eq!(read(&mut consumer, 10).await.len(), 10);
        let size = broker.log("t", 0).expect("a log").size_bytes;
        broker.retain_log("t", 0, size / 10);
        let mut resets = Vec::new();
        let started = Instant::now();
        while resets.is_empty() {
            consumer.poll(ms(200)).await.expect("a poll");
            resets = consumer.take_resets();
            assert!(started.elapsed() < ms(20_000), "never reported");
        }
        let [reset] = &resets[..] else {
            panic!("one reset: {resets:?}");
        };
        let from = reset.from.expect("it had a position");
        assert_eq!(
            (reset.partition.clone(), reset.cause, reset.policy, reset.to),
            (tp(0), ResetCause::OutOfRange, policy, to)
        );
        assert_eq!(reset.passed_over, Some((to - from) as u64));
        let counts = consumer.reset_counts();
        assert_eq!((counts.resets, counts.passed_over), (1, (to - from) as u64));
    }
}
