//! Embedded brokers in memory, as most tests want them. Stands alone: tests take it by its path.

use pat_events::broker::{Broker, BrokerBuilder};

/// A cluster of `nodes`, with what `build` changes.
pub fn cluster(nodes: usize, build: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Broker {
    build(Broker::builder().nodes(nodes).seed(7))
        .start_in_memory()
        .expect("an in-memory cluster starts")
}

/// A single broker with the topic `t` of `partitions`.
pub fn one_broker(partitions: i32) -> Broker {
    let broker = cluster(1, |builder| builder);
    broker.create_topic("t", partitions).expect("a new topic");
    broker
}
