//! Who reads what is committed, of all topics, while it is written. In: what all of it shares. Out: each record, as it came.

use std::sync::Arc;
use std::time::Duration;

use pat_events::kafka::{Consumer, ConsumerConfig, StartOffset, TopicPartition};

use super::history::Identity;
use super::{PARTITIONS, Shared};

const POLL: Duration = Duration::from_millis(250);

pub(super) async fn read(shared: Arc<Shared>, topics: [&'static str; 3]) {
    let properties = [
        ("bootstrap.servers", shared.bootstrap.as_str()),
        ("isolation.level", "read_committed"),
    ];
    let mut config = ConsumerConfig::from_properties(properties).expect("good properties");
    config.client.transport = Arc::new(shared.network.clone());
    let mut consumer = Consumer::connect(config).await.expect("connected");
    let all = topics.iter().flat_map(|topic| {
        (0..PARTITIONS).map(|it| (TopicPartition::new(*topic, it), StartOffset::Earliest))
    });
    let all: Vec<_> = all.collect();
    consumer.assign(&all).await.expect("assigned");
    while !shared.is_read() {
        let records = match consumer.poll(POLL).await {
            Ok(records) => records,
            Err(error) if !error.is_fatal() => {
                shared.count(format!("poll failed: {:?}", error.kind()));
                continue;
            }
            Err(error) => panic!("the reader is of no use any more: {error}"),
        };
        let mut history = shared.history();
        for record in &records {
            let what = Identity::of(record.value.expect("a value"));
            history.saw(record.topic, record.partition, record.offset, what);
        }
    }
}
