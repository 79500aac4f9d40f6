//! The producer, from its API to the bytes in the log, against the embedded broker in memory, on a paused clock.
//!
//! - `world`: a broker, a producer, and what is in the logs
//! - `delivery`: acknowledgements, order, flush, close
//! - `faults`: lost answers, moved leaders, forgotten producers, limits

mod delivery;
mod faults;
mod world;
