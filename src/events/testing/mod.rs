//! For your own tests of events: what is sent, handlers without a broker, a broker.
//!
//! Code that sends takes the producer's trait of its set (`&impl EmailEventProducer`);
//! in a test it gets a [`Recorder`]. [`handle`] hands one event to a handler, by way of
//! its bytes and headers. With the feature `broker`, `broker` starts an embedded broker
//! with topics, and `in_memory` connects to one without sockets. Fakes of the client itself are in [`kafka::testing`](crate::kafka::testing).

// | file | what lives there |
// | --- | --- |
// | `recorder` | a producer that remembers |
// | `handling` | one event, handled |
// | `in_memory` | client and broker without sockets |
// | `mod` | a broker |

mod handling;
#[cfg(feature = "broker")]
mod in_memory;
mod recorder;

pub use handling::handle;
#[cfg(feature = "broker")]
pub use in_memory::in_memory;
pub use recorder::Recorder;

/// An embedded broker on a free port of the loopback, with these topics, of three partitions each. It ends when it is dropped.
///
/// For tests: it panics where there is no port to be had, or a name is none of a topic.
#[cfg(feature = "broker")]
pub async fn broker(topics: &[&str]) -> crate::broker::Broker {
    let started = crate::broker::Broker::builder().start_tcp("127.0.0.1:0");
    let broker = match started.await {
        Ok(broker) => broker,
        Err(error) => panic!("no broker for a test: {error}"),
    };
    for topic in topics {
        if let Err(error) = broker.create_topic(topic, 3) {
            panic!("no topic {topic} for a test: {error}");
        }
    }
    broker
}
