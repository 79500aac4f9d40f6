//! The producer: records in, acknowledgements out.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `producer` | the handle: admission of records, flush, close |
//! | `config` | what a producer can be told |
//! | `partitioner` | which partition a record goes to |
//! | `accumulator` | one partition's records on their way into batches |
//! | `buffers` | the memory of batches: a byte budget with fair admission, and buffers that are used again |
//! | `parcel` | a batch's bytes: sealed, stamped, cut up, given back |
//! | `sequences` | the order of one partition's batches, whatever the brokers do |
//! | `verdict` | what an answer means: written, not written, or nobody knows |
//! | `delivery` | how a record's fate gets back to the application |
//! | `queue` | one partition behind one short lock |
//! | `topics` | the topics that were written to, found without a lock |
//! | `node` | one broker: what waits for it, and when its sender is woken |
//! | `sender` | the task that keeps requests in flight to one broker |
//! | `request` | Produce requests and responses |
//! | `steward` | the task that follows metadata and deadlines |
//! | `timestamps` | wall time, read once a millisecond |
//! | `shared` | what all of them share |
//! | `metrics` | what is counted |

mod accumulator;
mod buffers;
mod config;
mod delivery;
mod metrics;
mod node;
mod parcel;
mod partitioner;
#[expect(
    clippy::module_inception,
    reason = "the handle is what the folder is about"
)]
mod producer;
mod queue;
mod request;
mod sender;
mod sequences;
mod shared;
mod steward;
mod timestamps;
mod topics;
mod verdict;

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivery, RecordMetadata};
pub use metrics::ProducerMetrics;
pub use partitioner::{Partition, Partitioner, murmur2, partition_of_key};
pub use producer::Producer;
