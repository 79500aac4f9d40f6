//! Whole transactions: records, markers, offsets, and what readers see of them.

use pat_events::broker::{Broker, BrokerBuilder};
use protocol::ErrorCode;

use super::producer::{Producer, Seen, V1_PRODUCE, V2_PRODUCE};

const OK: ErrorCode = ErrorCode::NONE;

pub fn broker(build: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Broker {
    let builder = Broker::builder().seed(1).simulated_time_ms(1_000_000);
    let broker = build(builder).start_in_memory().expect("a broker");
    broker.create_topic("t", 2).expect("a topic");
    broker
}

#[tokio::test]
async fn a_transaction_of_the_newer_flow_is_seen_once_it_is_committed() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    assert_eq!(producer.epoch, 0);
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.state().await, (OK, "Ongoing".into()));
    assert_eq!(producer.ends("t").await, (1, 0));
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!((producer.epoch, producer.ends("t").await), (1, (3, 3)));
    assert_eq!(producer.state().await, (OK, "CompleteCommit".into()));
    // The next one is aborted.
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    let open = producer.read("t", 0).await;
    assert_eq!((open.last_stable_offset, open.batches), (3, 3));
    assert_eq!(producer.end(5, false).await, OK);
    let seen = Seen {
        last_stable_offset: 5,
        batches: 5,
        aborted: vec![(producer.id, 3)],
    };
    assert_eq!(producer.read("t", 0).await, seen);
    assert_eq!(producer.epoch, 2);
}

#[tokio::test]
async fn a_transaction_of_the_older_flow_keeps_its_epoch() {
    let broker = broker(|it| it.transaction_version(1));
    let mut producer = Producer::begun(&broker, 1, "x").await;
    for (round, committed) in [true, false, true].into_iter().enumerate() {
        assert_eq!(producer.add_partition("t", 0).await, OK);
        assert_eq!(producer.produce(V1_PRODUCE, "t", 0).await, OK);
        assert_eq!(producer.end(4, committed).await, OK);
        // The same once more, as one does that has not heard.
        assert_eq!(producer.end(4, committed).await, OK);
        assert_eq!(
            producer.end(4, !committed).await,
            ErrorCode::INVALID_TXN_STATE
        );
        let end = 2 * (round as i64 + 1);
        assert_eq!((producer.epoch, producer.ends("t").await), (0, (end, end)));
    }
    assert_eq!(producer.read("t", 0).await.aborted, [(producer.id, 2)]);
}

#[tokio::test]
async fn records_are_refused_that_no_transaction_covers() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    let refused = producer.produce(V1_PRODUCE, "t", 0).await;
    assert_eq!(refused, ErrorCode::TRANSACTION_ABORTABLE);
    let refused = producer.produce(V1_PRODUCE - 1, "t", 0).await;
    assert_eq!(refused, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(producer.add_partition("t", 0).await, OK);
    assert_eq!(producer.produce(V1_PRODUCE, "t", 0).await, OK);
    let refused = producer.produce(V1_PRODUCE, "t", 1).await;
    assert_eq!(refused, ErrorCode::TRANSACTION_ABORTABLE);
    producer.epoch += 1;
    let refused = producer.produce(V2_PRODUCE, "t", 1).await;
    assert_eq!(refused, ErrorCode::INVALID_PRODUCER_EPOCH);
    producer.id += 100;
    let refused = producer.produce(V2_PRODUCE, "t", 1).await;
    assert_eq!(refused, ErrorCode::INVALID_PRODUCER_ID_MAPPING);
    assert_eq!(producer.ends("t").await, (1, 0));
}

#[tokio::test]
async fn offsets_count_once_their_transaction_is_committed_in_both_flows() {
    for (version, end) in [(5, 5), (3, 4)] {
        let broker = broker(|it| it);
        let mut producer = Producer::begun(&broker, 1, "x").await;
        let unstable = (-1, ErrorCode::UNSTABLE_OFFSET_COMMIT);
        for (round, commit) in [true, false, true].into_iter().enumerate() {
            let offset = 10 * (round as i64 + 1);
            if version < 5 {
                assert_eq!(
                    producer.commit_offset(version, "g", "t", offset).await,
                    ErrorCode::INVALID_TXN_STATE
                );
                assert_eq!(producer.add_offsets("g").await, OK);
            }
            let before = producer.committed("g", "t", true).await;
            assert_eq!(producer.commit_offset(version, "g", "t", offset).await, OK);
            assert_eq!(producer.committed("g", "t", true).await, unstable);
            assert_eq!(producer.committed("g", "t", false).await, before);
            assert_eq!(producer.end(end, commit).await, OK);
            let after = match commit {
                true => (offset, OK),
                false => before,
            };
            assert_eq!(producer.committed("g", "t", true).await, after);
        }
        assert_eq!(broker.committed_offset("g", "t", 0), Some(30));
    }
}

#[tokio::test]
async fn an_end_that_was_not_heard_may_be_asked_for_again() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    for commit in [true, false] {
        assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
        let before = producer.epoch;
        assert_eq!(producer.end(5, commit).await, OK);
        assert_eq!(producer.epoch, before + 1);
        // As if the answer had been lost.
        producer.epoch = before;
        let other = producer.end(5, !commit).await;
        assert_eq!(other, ErrorCode::INVALID_TXN_STATE);
        assert_eq!(producer.end(5, commit).await, OK);
        assert_eq!(producer.epoch, before + 1);
    }
    // An abort of nothing takes an epoch, a commit of nothing is an error.
    let before = producer.epoch;
    assert_eq!(producer.end(5, true).await, ErrorCode::INVALID_TXN_STATE);
    assert_eq!(producer.end(5, false).await, OK);
    assert_eq!(producer.epoch, before + 1);
}

#[tokio::test]
async fn an_exhausted_epoch_gets_a_new_producer_id() {
    let broker = broker(|it| it);
    let mut producer = Producer::begun(&broker, 1, "x").await;
    let id = producer.id;
    assert!(broker.skip_to_producer_epoch("x", i16::MAX - 2));
    producer.epoch = i16::MAX - 2;
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!((producer.id, producer.epoch), (id, i16::MAX - 1));
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!((producer.id > id, producer.epoch), (true, 0));
    let next = producer.id;
    // As if the answer had been lost.
    (producer.id, producer.epoch) = (id, i16::MAX - 1);
    assert_eq!(producer.end(5, true).await, OK);
    assert_eq!((producer.id, producer.epoch), (next, 0));
    assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
    assert_eq!(producer.end(5, false).await, OK);
    assert_eq!(producer.ends("t").await, (6, 6));
    // By InitProducerId, likewise.
    broker.skip_to_producer_epoch("x", i16::MAX - 1);
    let before = producer.id;
    assert_eq!(producer.init().await, OK);
    assert_eq!((producer.id > before, producer.epoch), (true, 0));
}

/// Kafka 4.4 gives another id, too, where it aborts a transaction of the last epoch by itself; who wrote it may go on by what it was.
#[tokio::test(start_paused = true)]
async fn an_abort_of_the_coordinator_in_the_last_epoch_gives_a_new_producer_id() {
    for is_late in [true, false] {
        let broker = broker(|it| it);
        let mut producer = Producer::begun(&broker, 1, "x").await;
        let last = (producer.id, i16::MAX - 1);
        assert!(broker.skip_to_producer_epoch("x", last.1));
        producer.epoch = last.1;
        assert_eq!(producer.produce(V2_PRODUCE, "t", 0).await, OK);
        match is_late {
            true => tokio::time::sleep(std::time::Duration::from_secs(61)).await,
            false => {
                let mut other = Producer::new(&broker, 1, "x");
                assert_eq!(other.init().await, ErrorCode::CONCURRENT_TRANSACTIONS);
            }
        }
        assert_eq!(producer.end(5, true).await, ErrorCode::INVALID_TXN_STATE);
        assert_eq!(producer.init_as(last, 60_000).await, OK);
        assert_eq!((producer.id > last.0, producer.epoch), (true, 0));
        assert_eq!(producer.ends("t").await, (2, 2), "the marker is written");
    }
}
