//! The ground floor: what clients speak of. Imports nothing of the rest but the error.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `address` | host and port, as text and back |
//! | `names` | names of topics, and texts in requests, by Kafka's rules |
//! | `record` | a record on its way out |
//! | `topic_id` | the id of a topic |
//! | `topic_pattern` | patterns of topics' names |
//! | `topic_partition` | the names of topics and partitions |

mod address;
pub(crate) mod names;
mod record;
mod topic_id;
mod topic_partition;
mod topic_pattern;

pub use address::Address;
pub use record::{Header, Record};
pub use topic_id::TopicId;
pub use topic_partition::TopicPartition;
pub(crate) use topic_partition::check_topic_name;
pub(crate) use topic_pattern::TopicPattern;
