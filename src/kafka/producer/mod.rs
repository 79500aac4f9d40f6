//! The producer: records in, acknowledgements out.
mod accumulator;
mod buffers;
mod config;
mod delivery;
mod node;
mod parcel;
mod partitioner;
mod queue;
mod sequences;
mod topics;
mod verdict;

pub use config::{Acks, ProducerConfig};
pub use delivery::{Delivery, RecordMetadata};
pub use partitioner::{Partition, Partitioner, murmur2, partition_of_key};
