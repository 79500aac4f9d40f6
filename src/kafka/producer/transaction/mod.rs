//! The transactional producer (KIP-98, KIP-447, KIP-890): records of several partitions, and the offsets of what was read for them, are
//! visible to `read_committed` readers together or not at all.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `handle` | what an application has: the producer, and the transaction that is open |
//! | `transactions` | what handles, admission and the task share |
//! | `state` | where the transaction stands, and what is to be sent next: pure |
//! | `markers` | how long a coordinator is left alone after the end of a transaction |
//! | `refusal` | what a coordinator's refusal means |
//! | `requests` | what is asked of coordinators, and what their answers say |
//! | `coordinator` | the task that sends it |
//! | `metrics` | what transactions count |

mod coordinator;
mod handle;
mod markers;
mod metrics;
mod refusal;
mod requests;
mod state;
mod transactions;

pub use handle::{PreparedTransaction, Transaction, TransactionalProducer};
pub(super) use metrics::TransactionCounters;
pub use metrics::TransactionMetrics;
pub(super) use transactions::{Failures, Transactions};
