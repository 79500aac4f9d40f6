//! For your own tests: producers, consumers, deliveries and errors without a broker.
//!
//! Code that takes [`AnyProducer`](crate::kafka::AnyProducer) or
//! [`AnyConsumer`](crate::kafka::AnyConsumer) gets a [`MockProducer`] or a
//! [`MockConsumer`] in a test. They keep records in memory, and fail where they are
//! told to. [`written`], [`failed`], [`undecided`] and [`records`] make what the
//! client returns, [`error`] and its neighbours what it fails with.
//!
//! ```
//! use pat_events::kafka::testing::{self, MockProducer};
//! use pat_events::kafka::{AnyProducer, ErrorKind, Record, WriteOutcome};
//!
//! /// The code under test: what is certainly not written is written elsewhere.
//! async fn log(line: &str, producer: &dyn AnyProducer) -> Option<String> {
//!     let record = Record::new("audit").value(line.as_bytes());
//!     match producer.send(record).await {
//!         Err(error) if error.outcome() == WriteOutcome::NotWritten => {
//!             Some(line.to_owned())
//!         }
//!         _ => None,
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let producer = MockProducer::default();
//! assert_eq!(log("one", &producer).await, None);
//! producer.fail_next(testing::error(ErrorKind::RecordTooLarge, "too large"));
//! assert_eq!(log("two", &producer).await.as_deref(), Some("two"));
//! let lost = testing::error(ErrorKind::Timeout, "no answer");
//! producer.fail_next(lost); // it may have been written
//! assert_eq!(log("three", &producer).await, None);
//! assert_eq!(producer.records().len(), 1);
//! # }
//! ```
//!
//! These fakes know no broker: they neither batch nor repeat, and nobody rebalances.
//! What such code does when brokers fail is tested on an embedded broker (feature
//! `broker`), which answers with errors, loses answers and moves leaders on demand.
//! Fakes for typed events are in [`events::testing`](crate::events::testing).

// | file | what lives there |
// | --- | --- |
// | `errors` | errors as the client returns them |
// | `outcomes` | deliveries, and records of a poll |
// | `mock_producer` | a producer that remembers |
// | `mock_consumer` | a consumer of records in memory |

mod errors;
mod mock_consumer;
mod mock_producer;
mod outcomes;

pub use errors::{error, error_at, error_with_outcome, server_error, unreadable};
pub use mock_consumer::MockConsumer;
pub use mock_producer::MockProducer;
pub use outcomes::{UndecidedDelivery, failed, records, undecided, written};
