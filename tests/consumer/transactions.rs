//! What is shown of a log with transactions. What read_committed hides is tested beside the filter: the broker lists no aborted ones.

use protocol::compression::Compression;
use protocol::records::SealOptions;

use crate::world::*;

fn transactional(producer_id: i64) -> SealOptions {
    SealOptions {
        producer_id,
        producer_epoch: 0,
        transactional: true,
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn read_uncommitted_shows_everything_but_the_markers() {
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
}
