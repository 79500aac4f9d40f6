//! Records that a broker does not take, among others that it does: the ones fail, with the reason, and the others are written at once and in
//! order.

use pat_events::broker::{Fault, FaultAction};
use pat_events::kafka::{Compression, ErrorKind, Record, RecordMetadata, WriteOutcome};
use protocol::compression::Codec;
use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use crate::harness::*;
use crate::proxy::{Asked, Meddling, Proxy, refusal, refusing_records};

fn is_wrong(value: &[u8]) -> bool {
    value.ends_with(b"wrong")
}

/// Hands in `count` records, of which those in `wrong` are; returns what became of each.
async fn send_some_wrong(
    producer: &pat_events::kafka::Producer,
    count: u32,
    wrong: impl Fn(u32) -> bool,
) -> Vec<pat_events::kafka::Result<RecordMetadata>> {
    let mut deliveries = Vec::new();
    for number in 0..count {
        let mut value = number.to_be_bytes().to_vec();
        if wrong(number) {
            value.extend(b"wrong");
        }
        let record = Record::new("t").partition(0).value(&value);
        deliveries.push(producer.enqueue(record).await.expect("accepted"));
    }
    let mut fates = Vec::new();
    for delivery in deliveries {
        fates.push(delivery.await);
    }
    fates
}

/// A refused record held up its partition for a backoff, though nothing was to be repeated: of 1,800 good ones among 200, 756 were lost.
#[tokio::test(start_paused = true)]
async fn records_that_are_too_large_hold_up_none_of_the_others() {
    for idempotence in [true, false] {
        let broker = cluster(1, |builder| builder.max_message_bytes(1_000));
        broker.create_topic("t", 1).unwrap();
        let producer = producer(&broker, |config| {
            config.idempotence = Some(idempotence);
            config.delivery_timeout = ms(10_000);
        })
        .await;
        let mut deliveries = Vec::new();
        let before = Instant::now();
        for number in 0..2_000u32 {
            let mut value = number.to_be_bytes().to_vec();
            if number % 10 == 3 {
                value.resize(1_500, 0);
            }
            let record = Record::new("t").value(&value);
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for (number, delivery) in (0..).zip(deliveries) {
            let fate = delivery.await;
            if number % 10 == 3 {
                let error = fate.unwrap_err();
                assert_eq!(
                    (error.kind(), error.outcome()),
                    (ErrorKind::RecordTooLarge, WriteOutcome::NotWritten)
                );
                assert!(error.to_string().contains("max.message.bytes"), "{error}");
            } else {
                fate.unwrap();
            }
        }
        let expected: Vec<u32> = (0..2_000).filter(|n| n % 10 != 3).collect();
        assert_eq!(numbers(&broker, 0), expected);
        assert!(before.elapsed() < ms(100), "{:?}", before.elapsed());
    }
}

/// KIP-467: one wrong record failed its whole batch, each record with the same accusation.
#[tokio::test(start_paused = true)]
async fn named_records_fail_with_their_own_reasons_and_the_others_are_written() {
    for (idempotence, codec) in [true, false]
        .into_iter()
        .flat_map(|idempotence| Codec::ALL.map(|codec| (idempotence, codec)))
    {
        for code in [ErrorCode::INVALID_RECORD, ErrorCode::INVALID_TIMESTAMP] {
            let broker = one_broker(1);
            let producer = producer(&broker, |config| {
                config.client.transport = std::sync::Arc::new(Proxy::new(
                    &broker,
                    refusing_records(code, true, is_wrong),
                ));
                config.idempotence = Some(idempotence);
                config.compression = Compression::new(codec);
                config.batch_bytes = 4_000;
            })
            .await;
            let before = Instant::now();
            let wrong = |number: u32| number.is_multiple_of(7) || (500..540).contains(&number);
            let fates = send_some_wrong(&producer, 2_000, wrong).await;
            let mut offset = 0;
            for (number, fate) in (0..).zip(fates) {
                if wrong(number) {
                    let error = fate.unwrap_err();
                    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
                    assert_eq!(error.server_error(), Some(code));
                    let text = error.to_string();
                    assert!(
                        text.contains(" is wrong")
                            && text.contains("t-0")
                            && text.contains("broker "),
                        "{text}"
                    );
                } else {
                    assert_eq!(fate.unwrap().offset, Some(offset));
                    offset += 1;
                }
            }
            let expected: Vec<u32> = (0..2_000).filter(|n| !wrong(*n)).collect();
            assert_eq!(numbers(&broker, 0), expected);
            assert!(before.elapsed() < ms(100), "{:?}", before.elapsed());
            let metrics = producer.metrics();
            assert_eq!(
                metrics.records_delivered + metrics.records_failed,
                2_000,
                "{metrics:?}"
            );
            assert_eq!((metrics.buffer_bytes_used, metrics.splits), (0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refused_records_that_nobody_names_are_found_and_fail_alone() {
    for idempotence in [true, false] {
        for wrong in [
            &[0][..],
            &[999],
            &[77],
            &[0, 1, 2, 500, 999],
            &[10, 20, 30, 31, 32],
        ] {
            let broker = one_broker(1);
            let rule = refusing_records(ErrorCode::INVALID_RECORD, false, is_wrong);
            let producer = producer(&broker, |config| {
                config.client.transport = std::sync::Arc::new(Proxy::new(&broker, rule));
                config.idempotence = Some(idempotence);
            })
            .await;
            let before = Instant::now();
            let fates = send_some_wrong(&producer, 1_000, |number| wrong.contains(&number)).await;
            for (number, fate) in (0..).zip(fates) {
                assert_eq!(fate.is_err(), wrong.contains(&number), "{number}: {fate:?}");
            }
            let expected: Vec<u32> = (0..1_000).filter(|n| !wrong.contains(n)).collect();
            assert_eq!(numbers(&broker, 0), expected);
            assert!(before.elapsed() < ms(100), "{:?}", before.elapsed());
        }
    }
}

/// A broker that takes nothing at all is not asked about each record.
#[tokio::test(start_paused = true)]
async fn a_batch_of_which_nothing_is_taken_fails_after_a_bounded_search() {
    let broker = one_broker(1);
    let rule = refusing_records(ErrorCode::INVALID_RECORD, false, |_| true);
    let producer = producer(&broker, |config| {
        config.client.transport = std::sync::Arc::new(Proxy::new(&broker, rule));
    })
    .await;
    let fates = send_some_wrong(&producer, 5_000, |_| true).await;
    for fate in fates {
        assert_eq!(fate.unwrap_err().outcome(), WriteOutcome::NotWritten);
    }
    let requests = producer.metrics().requests_sent;
    assert!(requests < 200, "{requests} requests");
}

/// A batch that may have been written is refused when it comes again: nobody may say that its records were not written.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_what_may_have_been_written_does_not_claim_that_it_was_not() {
    let broker = one_broker(1);
    let mut produced = 0;
    let mut refuse = refusing_records(ErrorCode::INVALID_RECORD, true, is_wrong);
    // The first records are written, and the answer to that is lost; then the topic's rules change.
    let rule = move |asked: &Asked| {
        if asked.api != ApiKey::PRODUCE {
            return Meddling::None;
        }
        produced += 1;
        match produced {
            1 => Meddling::CutShort,
            _ => refuse(asked),
        }
    };
    let producer = producer(&broker, |config| {
        config.client.transport = std::sync::Arc::new(Proxy::new(&broker, rule));
    })
    .await;
    let fates = send_some_wrong(&producer, 10, |number| number == 4).await;
    let written = numbers(&broker, 0);
    for (number, fate) in (0..).zip(fates) {
        if let Err(error) = fate {
            let there = written.contains(&number);
            assert!(
                !there || error.outcome() == WriteOutcome::Unknown,
                "{error}"
            );
        }
    }
    assert!(
        written.windows(2).all(|pair| pair[0] < pair[1]),
        "{written:?}"
    );
    // And it goes on.
    let delivery = enqueue_numbers(&producer, 1, 100..101).await.remove(0);
    delivery.await.unwrap();
}

/// Every batch was built at the configured size, refused and halved again and again: 139 MB were sent for 57.
#[tokio::test(start_paused = true)]
async fn a_brokers_smaller_limit_is_learnt_at_the_first_refusal() {
    for (limit, codec) in [
        (64 << 10, Codec::None),
        (200_000, Codec::None),
        (16 << 10, Codec::Lz4),
    ] {
        let broker = cluster(1, |builder| builder.max_message_bytes(limit));
        broker.create_topic("t", 3).unwrap();
        let producer = producer(&broker, |config| config.compression = codec.into()).await;
        let mut value = [0u8; 500];
        // Bytes that do not compress.
        let mut state = 5u64;
        let mut noise = move || {
            state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
            (state >> 56) as u8
        };
        let mut deliveries = Vec::new();
        for number in 0..40_000u32 {
            value[8..].fill_with(&mut noise);
            value[..4].copy_from_slice(&number.to_be_bytes());
            let record = Record::new("t").partition(number as i32 % 3).value(&value);
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
        for delivery in deliveries {
            delivery.await.unwrap();
        }
        assert_exactly_once_in_order(&broker, 3, 40_000);
        let metrics = producer.metrics();
        let (sent, delivered) = (metrics.bytes_sent, metrics.bytes_delivered);
        assert!(
            sent < delivered + delivered / 3,
            "{limit}: {sent} bytes sent, {delivered} delivered"
        );
        // What comes later meets no refusal at all.
        for number in 0..3_000u32 {
            value[8..].fill_with(&mut noise);
            let record = Record::new("t").partition(number as i32 % 3).value(&value);
            drop(producer.enqueue(record).await.unwrap());
        }
        producer.flush().await.unwrap();
        assert_eq!(producer.metrics().splits, metrics.splits, "{limit}");
    }
}

/// A limit that was too small for a while left every record with a batch of its own for good.
#[tokio::test(start_paused = true)]
async fn a_limit_that_was_learnt_is_tried_again_after_a_while() {
    let broker = one_broker(1);
    let start = Instant::now();
    let proxy = Proxy::new(&broker, move |asked| match asked.produce() {
        Some(request) if start.elapsed() < ms(60_000) => {
            let refused = refusal(&request, ErrorCode::MESSAGE_TOO_LARGE, |_| {});
            Meddling::Instead(refused)
        }
        _ => Meddling::None,
    });
    let producer = producer(&broker, |config| {
        config.client.transport = std::sync::Arc::new(proxy);
    })
    .await;
    let batches = async |range: std::ops::Range<u32>| {
        let before = producer.metrics().batches_sent;
        drop(enqueue_numbers(&producer, 1, range).await);
        let _ = producer.flush().await;
        producer.metrics().batches_sent - before
    };
    batches(0..100).await;
    tokio::time::sleep(ms(61_000)).await;
    assert_eq!(batches(100..200).await, 100);
    tokio::time::sleep(ms(300_000)).await;
    assert!(batches(200..300).await < 5);
    assert_eq!(numbers(&broker, 0), (100..300).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_all_holds_up_nothing_whatever_its_code() {
    for code in ErrorCode::all().filter(|code| !code.is_retriable()) {
        let broker = one_broker(1);
        let producer = producer(&broker, |config| config.idempotence = Some(false)).await;
        enqueue_numbers(&producer, 1, 0..1)
            .await
            .remove(0)
            .await
            .unwrap();
        broker.inject(Fault::on(ApiKey::PRODUCE, FaultAction::Answer(code)));
        let before = Instant::now();
        let refused = enqueue_numbers(&producer, 1, 1..2).await.remove(0).await;
        let is_repeated = refused.is_ok();
        enqueue_numbers(&producer, 1, 2..3)
            .await
            .remove(0)
            .await
            .unwrap();
        assert!(
            is_repeated || before.elapsed() < ms(20),
            "{}: {:?}",
            code.name(),
            before.elapsed()
        );
    }
}
