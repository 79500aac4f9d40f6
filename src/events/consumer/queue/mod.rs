//! Events as the jobs of a queue: read by a share group (KIP-932), each handled by itself and acknowledged by itself.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `event_queue` | the queue as the application holds it: start, wait, stop |
//! | `config` | the options of a queue |
//! | `queue_loop` | the loop that polls, lets handlers work, and acknowledges |
//! | `delivery` | one delivery of an event: its handler, and what becomes of it |

mod config;
mod delivery;
mod event_queue;
mod queue_loop;

pub use config::QueueConfig;
pub use event_queue::{EventQueue, QueueMetrics};
