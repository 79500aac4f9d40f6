//! For users' own tests: what their code sends, their handlers without a broker, and a broker where one is wanted.
//!
//! Code that sends takes the producer's trait of the set (`&impl EmailEventProducer`), and a test gives it a [`Recorder`]. [`handle`] hands an event to a
//! handler by way of its bytes and headers.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `recorder` | a producer that remembers |
//! | `handling` | one event, handled |
//! | `mod` | a broker |

mod handling;
mod recorder;

pub use handling::handle;
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
