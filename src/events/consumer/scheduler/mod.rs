//! Which record is handled next, by whom, and how much may be in flight: one structure for order, concurrency, fairness, retries and memory.
//!
//! In: records of a poll, copied together into batches. Out: calls of the handler. What has one key is handled in its order, one at a time; a
//! key that is slow, stuck or waits for its next attempt holds back itself and nobody else; tenants that have something ready take turns.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `queues` | the decision: queues by key, their states, delays. Sans-IO |
//! | `key_queue` | many queues in one allocation |
//! | `fairness` | keys that are ready, by tenant, in turns |
//! | `work_batch` | records copied together, and the memory that they hold |
//! | `memory` | the byte budget of what is in flight, and each partition's part of it |
//! | `workers` | the tasks that call the handler |
//! | `outcome` | what becomes of a record that is not handled now, or whose handler has failed |
//! | `batches` | the same with several records at once |
//! | `leaving` | records on their way to a dead-letter topic or a retry topic |

mod batches;
mod fairness;
mod key_queue;
mod leaving;
mod memory;
mod outcome;
mod queues;
mod work_batch;
mod workers;

pub(crate) use leaving::Writers;
pub(crate) use memory::Memory;
pub(crate) use work_batch::WorkBatchBuilder;
pub(crate) use workers::{Shared, Worker, Workers};
