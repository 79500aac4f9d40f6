//! What is in flight when the producer ends.

use protocol::records::BatchBuilder;

use super::*;
use crate::kafka::producer::config::ProducerConfig;
use crate::kafka::producer::delivery::Delivery;
use crate::kafka::producer::partition::sequenced::Discipline;
use crate::kafka::producer::sender::ready::Enough;
use crate::kafka::producer::topic_settings::TopicRules;
use crate::kafka::{ErrorKind, WriteOutcome};

const SECOND: Duration = Duration::from_secs(1);

fn queue() -> Arc<PartitionQueue> {
    let limits = Limits {
        batch_bytes: 1_000,
        batch_records: 1,
    };
    let rules = Rules {
        discipline: Discipline::OneByOne,
        max_in_flight: 5,
        retries: u32::MAX,
    };
    let settings = TopicRules::of(&ProducerConfig::default(), "t").partition;
    Arc::new(PartitionQueue::new(
        "t".into(),
        0,
        Uuid::ZERO,
        limits,
        settings,
        rules,
    ))
}

fn lead(queue: &Arc<PartitionQueue>, id: i32) -> Arc<BrokerQueue> {
    let broker = Arc::new(BrokerQueue::new(
        id,
        Enough {
            least: 1_000,
            most: 1_000,
        },
    ));
    let leader = Leader {
        node: id,
        epoch: id,
    };
    queue.reroute(Some(Route {
        broker: broker.clone(),
        leader,
    }));
    broker
}

fn put(queue: &PartitionQueue, memory: &MemoryBudget) -> Delivery {
    let write = |builder: &mut BatchBuilder| builder.append(0, None, Some(b"v"), []).ok();
    let mut state = queue.lock();
    let appended = state
        .accumulator
        .append(100, memory, None, Instant::now, write)
        .expect("there is room");
    queue.publish(&mut state);
    Delivery::new(appended.completion, appended.index, 0)
}

/// The answer came between the end of the producer and its sender's hearing of it: the batch was put back to be repeated by nobody.
#[test]
fn what_is_in_flight_when_everything_ends_is_not_put_back() {
    let (queue, memory) = (queue(), MemoryBudget::new(1 << 20, 1_000));
    let broker = lead(&queue, 1);
    let deliveries = [put(&queue, &memory), put(&queue, &memory)];
    let taken = queue.take(&broker, Instant::now(), usize::MAX, SECOND, &memory);
    let batch = taken.expect("a batch").batch;
    let closed = Error::new(ErrorKind::Closed, "the producer is closed");
    let (given_up, in_flight) = queue.abandon(&closed, &memory);
    assert_eq!((given_up.records(), given_up.not_written()), (1, 1));
    assert_eq!(in_flight, 1);
    let gone = Error::new(ErrorKind::Disconnected, "gone");
    let outcome = ProduceOutcome::Retry(WriteOutcome::Unknown);
    let given_up = queue.failed(batch, outcome, gone, Instant::now(), SECOND, &memory);
    assert_eq!((given_up.records(), given_up.not_written()), (1, 0));
    let outcomes = deliveries.map(|delivery| {
        let error = delivery
            .outcome()
            .expect("nobody waits for ever")
            .unwrap_err();
        (error.kind(), error.outcome())
    });
    assert_eq!(
        outcomes,
        [
            (ErrorKind::Closed, WriteOutcome::Unknown),
            (ErrorKind::Closed, WriteOutcome::NotWritten)
        ]
    );
    assert_eq!(memory.charged(), 0);
}
