//! A reader of what is committed, of all partitions, from their beginning. What it is given must be what was committed, all of it, in order.

use std::time::Duration;

use pat_events::kafka::consumer::Consumer;
use pat_events::kafka::{ConsumerConfig, IsolationLevel, StartOffset, TopicPartition};
use tokio::time::sleep;

use super::applications::{READER, Shared};
use super::events::{Topic, TransactionEvent};
use crate::consumers::{connect, tolerate};
use crate::rng::Rng;

pub(super) async fn read(shared: Shared, rng: Rng) {
    let mut config = ConsumerConfig::new("", "");
    config.group_id = None;
    config.client = shared.harness.client(READER);
    config.isolation_level = IsolationLevel::ReadCommitted;
    config.max_poll_records = *rng.pick(&[3, 500]);
    config.fetch_max_wait = Duration::from_millis(match shared.harness.plan.is_long() {
        true => 2_000,
        false => 200,
    });
    let mut consumer = connect(config).await;
    assign_all(&mut consumer).await;
    loop {
        match consumer.poll(Duration::from_secs(1)).await {
            Ok(records) => {
                for record in records.iter() {
                    let value = record.value.expect("all records have a value");
                    shared.note(TransactionEvent::Sees {
                        topic: Topic::of(record.topic).expect("a topic of these"),
                        partition: record.partition,
                        offset: record.offset,
                        id: (shared.harness.plan.format.id(value)).expect("all values hold an id"),
                    });
                }
            }
            Err(error) => {
                if let Err(error) = tolerate(&shared.harness, READER, error).await {
                    let failure = format!("the reader of what is committed: {error}");
                    return shared.harness.failure.set(failure);
                }
            }
        }
    }
}

async fn assign_all(consumer: &mut Consumer) {
    let of = |topic: Topic| {
        (0..topic.partitions()).map(move |partition| {
            let partition = TopicPartition::new(topic.name(), partition);
            (partition, StartOffset::Earliest)
        })
    };
    let all: Vec<_> = Topic::ALL.into_iter().flat_map(of).collect();
    while consumer.assign(&all).await.is_err() {
        // It waits until it knows the topics.
        sleep(Duration::from_millis(500)).await;
    }
}
