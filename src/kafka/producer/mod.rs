//! Writing records: the producer, its options, and what becomes of a record.
//!
//! [`Producer`] accepts records into batches and returns a [`Delivery`] for each,
//! which resolves to where it was written, or to an error that says whether it may
//! have been. It is idempotent unless told otherwise, keeps the order of what one
//! task hands in for one partition, and is bounded by bytes.
//! [`TransactionalProducer`] writes to several partitions at once or not at all.
//! In tests [`MockProducer`](crate::kafka::testing::MockProducer) stands in for it.

// | file | what lives there |
// | --- | --- |
// | `producer` | the handle: flush, close, metrics |
// | `admission` | the handle's other half: how a record is accepted |
// | `any_producer` | a producer as a trait object: this one, or a fake |
// | `permit` | room for a record, reserved before it is there |
// | `config` | what a producer can be told |
// | `topic_settings` | what is otherwise for some topics |
// | `partitioner` | which partition a record goes to |
// | `memory` | the memory budget of batches, with fair admission, and pooled buffers |
// | `delivery` | how a record's outcome gets back to the application |
// | `completion` | what is known of the records of a batch |
// | `topics` | the topics that were written to, found without a lock |
// | `partition/` | one partition: its accumulator, its sequencer, its batches, behind one short lock |
// | `sender/` | one broker: the task that drains partitions into requests and handles the responses |
// | `producer_id` | producer id and epoch, and how to obtain them |
// | `transaction/` | the transactional producer |
// | `maintenance` | the task that follows metadata and deadlines |
// | `timestamps` | wall time, read once a millisecond |
// | `unsent` | what is left of its records when a producer is closed |
// | `state` | what all of them share |
// | `metrics` | what is counted |

mod admission;
mod any_producer;
mod completion;
mod config;
mod delivery;
mod maintenance;
mod memory;
mod metrics;
mod partition;
mod partitioner;
mod permit;
#[expect(
    clippy::module_inception,
    reason = "the handle is what the folder is about"
)]
mod producer;
mod producer_id;
mod sender;
mod state;
mod timestamps;
mod topic_settings;
mod topics;
mod transaction;
mod unsent;

pub use any_producer::AnyProducer;
pub use config::{Acks, ProducerConfig};
pub(crate) use delivery::Undecided;
pub use delivery::{Delivery, RecordMetadata};
pub use metrics::ProducerMetrics;
pub use partitioner::{Partition, Partitioner, murmur2, partition_of_key};
pub use permit::Permit;
pub use producer::Producer;
pub(crate) use producer::not_transactional;
pub use topic_settings::TopicSettings;
pub(crate) use topic_settings::is_of_topic;
pub use transaction::{
    PreparedTransaction, Transaction, TransactionMetrics, TransactionalProducer,
};
pub use unsent::{CloseReport, UnsentRecords};
