//! What the client runs on: time, randomness, pauses, tasks.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `awaited` | what is missing of metadata, asked for and told of |
//! | `backoff` | how long to pause before trying again (KIP-580) |
//! | `budget` | bytes that may be in use, by one and by all together |
//! | `calendar` | days since 1970 and dates |
//! | `clock` | wall time, from the system or simulated |
//! | `deadline` | when a time that a caller gives is over |
//! | `decompressors` | what batches are decompressed with, and into |
//! | `random` | seeded random numbers |
//! | `retry` | the pauses between the repetitions of one request |
//! | `sync` | a mutex without poison |
//! | `tasks` | the internal tasks, supervised: none ends unseen |
//! | `watched` | a value, and those who wait for changes of it |

mod awaited;
mod backoff;
mod budget;
pub(crate) mod calendar;
mod clock;
mod deadline;
mod decompressors;
mod random;
mod retry;
mod sync;
pub(crate) mod tasks;
mod watched;

pub(crate) use awaited::Awaited;
pub(crate) use backoff::Backoff;
pub(crate) use budget::{Budget, Excess, Reservation};
pub use clock::Clock;
pub(crate) use deadline::after;
pub(crate) use decompressors::Decompressors;
pub(crate) use random::{Random, SharedRandom};
pub(crate) use retry::Retry;
pub(crate) use sync::Mutex;
pub(crate) use watched::{Watched, Watcher};
