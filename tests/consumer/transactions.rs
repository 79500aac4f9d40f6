//! What is shown of a log with transactions.

use pat_events::kafka::IsolationLevel;
use protocol::compression::Compression;
use protocol::records::SealOptions;

use crate::harness::*;

fn transactional(producer_id: i64) -> SealOptions {
    SealOptions {
        producer_id,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn read_committed_shows_exactly_the_committed_records_and_read_uncommitted_all() {
    let broker = one_broker(1);
    let append = |bytes| assert_eq!(broker.append_unchecked("t", 0, bytes), 1);
    let data = |range, producer| batch(range, Compression::NONE, &transactional(producer));
    append(data(0..10, 1)); // aborted
    append(data(10..20, 2)); // committed
    append(batch(20..30, Compression::NONE, &SealOptions::default()));
    append(marker(1, false)); // 30
    append(data(31..41, 1)); // committed
    append(marker(2, true)); // 41
    append(marker(1, true)); // 42
    append(marker(2, false)); // 43: an empty one, aborted
    append(data(44..50, 2)); // committed
    append(marker(2, true)); // 50
    let mut consumer = reader(&broker, 1, |_| {}).await;
    let all: Vec<u32> = (0..30).chain(31..41).chain(44..50).collect();
    assert_eq!(read(&mut consumer, 46).await, all);
    assert!(consumer.poll(ms(1_000)).await.expect("a poll").is_empty());
    assert_eq!(
        consumer.position(&tp(0)),
        Some(51),
        "the position passes the markers"
    );

    let mut consumer = reader(&broker, 1, |config| {
        config.isolation_level = IsolationLevel::ReadCommitted;
    })
    .await;
    let committed: Vec<u32> = (10..30).chain(31..41).chain(44..50).collect();
    assert_eq!(read(&mut consumer, 36).await, committed);
    assert!(consumer.poll(ms(1_000)).await.expect("a poll").is_empty());
    assert_eq!(
        consumer.position(&tp(0)),
        Some(51),
        "the position passes what is hidden"
    );
    assert_eq!(consumer.lag(&tp(0)), Some(0));
}

#[tokio::test(start_paused = true)]
async fn records_carry_the_position_after_them_and_after_what_is_not_shown() {
    let broker = one_broker(2);
    fill(&broker, 0, 0..10, 10);
    for bytes in [
        batch(0..5, Compression::NONE, &transactional(7)),
        marker(7, false),
    ] {
        broker.append_unchecked("t", 0, bytes);
    }
    let mut consumer = reader(&broker, 2, |config| {
        config.isolation_level = IsolationLevel::ReadCommitted;
    })
    .await;
    let records = consumer.poll(ms(5_000)).await.expect("records");
    assert_eq!(numbers(&records), (0..10).collect::<Vec<u32>>());
    let next = records.next_offsets();
    assert_eq!(next.keys().collect::<Vec<_>>(), [&tp(0)]);
    assert_eq!(next[&tp(0)].offset, 16);
    assert_eq!(
        consumer.position_to_commit(&tp(0)).as_ref(),
        Some(&next[&tp(0)])
    );
}
