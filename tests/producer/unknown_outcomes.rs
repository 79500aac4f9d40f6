//! Answers that settle nothing: wrong, garbled, cut short, incomplete. The batch is sent again as it was, and the broker settles it.

use std::sync::Arc;

use pat_events::kafka::WriteOutcome;
use protocol::messages::ProduceResponse;
use protocol::{ApiKey, ErrorCode};

use crate::harness::*;
use crate::proxy::{Meddling, Proxy, refusal};

type Doubt = fn(&crate::proxy::Asked) -> Meddling;

fn doubts() -> Vec<(&'static str, Doubt)> {
    vec![
        ("the answer to another request", |_| {
            Meddling::Changed(|answer| answer[3] ^= 1)
        }),
        ("an answer with nothing in it", |_| {
            Meddling::Changed(|answer| answer.truncate(4))
        }),
        ("an answer that breaks off", |_| {
            Meddling::Changed(|answer| answer.truncate(answer.len() - 3))
        }),
        ("garbage", |_| {
            Meddling::Changed(|answer| answer[4..].fill(0xff))
        }),
        ("a connection that breaks off", |_| Meddling::CutShort),
        ("an answer that leaves the partition out", |_| {
            Meddling::Instead(ProduceResponse::default())
        }),
        ("an answer for another partition", |asked| {
            let request = asked.produce().expect("a Produce request");
            Meddling::Instead(refusal(&request, ErrorCode::NONE, |answer| {
                answer.index += 7
            }))
        }),
        ("a code that nobody knows", |asked| {
            let request = asked.produce().expect("a Produce request");
            Meddling::Instead(refusal(&request, ErrorCode(31_999), |_| {}))
        }),
        ("an unknown server error", |asked| {
            let request = asked.produce().expect("a Produce request");
            Meddling::Instead(refusal(&request, ErrorCode::UNKNOWN_SERVER_ERROR, |_| {}))
        }),
    ]
}

/// An unreadable answer was the end of its batch, as "unknown".
#[tokio::test(start_paused = true)]
async fn every_doubt_about_an_answer_is_settled_by_sending_the_batch_again() {
    for (name, doubt) in doubts() {
        for times in [1, 3] {
            let broker = one_broker(1);
            let (mut met, mut left) = (0, times);
            let proxy = Proxy::new(&broker, move |asked| {
                met += u32::from(asked.api == ApiKey::PRODUCE);
                if asked.api != ApiKey::PRODUCE || left == 0 || met % 2 == 0 {
                    return Meddling::None;
                }
                left -= 1;
                doubt(asked)
            });
            let producer = producer(&broker, |config| {
                config.client.transport = Arc::new(proxy);
                config.batch_bytes = 1_000;
            })
            .await;
            for delivery in enqueue_numbers(&producer, 1, 0..1_000).await {
                delivery
                    .await
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            assert_exactly_once_in_order(&broker, 1, 1_000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_that_lasts_ends_with_the_delivery_timeout_as_unknown() {
    for (name, doubt) in doubts() {
        let broker = one_broker(1);
        let proxy = Proxy::new(&broker, move |asked| match asked.api {
            ApiKey::PRODUCE => doubt(asked),
            _ => Meddling::None,
        });
        let producer = producer(&broker, |config| {
            config.client.transport = Arc::new(proxy);
            config.delivery_timeout = ms(5_000);
        })
        .await;
        let before = tokio::time::Instant::now();
        let error = enqueue_numbers(&producer, 1, 0..1)
            .await
            .remove(0)
            .await
            .unwrap_err();
        assert_eq!(error.outcome(), WriteOutcome::Unknown, "{name}: {error}");
        let took = before.elapsed();
        assert!(took >= ms(4_000) && took < ms(6_500), "{name}: {took:?}");
        let requests = producer.metrics().requests_sent;
        assert!(requests < 40, "{name}: {requests} requests");
    }
}
