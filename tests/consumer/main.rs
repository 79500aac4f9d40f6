//! The consumer, from the bytes in the log to its API, against the embedded broker in memory, on a paused clock.
//!
//! - `world`: a broker, batches for its logs, a consumer, and what it read
//! - `reading`: positions, seeks, pauses, resets, codecs, lag
//! - `transactions`: what read_committed shows
//! - `groups`: membership, rebalances, commits
//! - `faults`: lost answers, throttles, moved leaders, brokers that are away
//! - `damage`: batches that cannot be read
//! - `repetitions`: what a broker answers once, and for ever
//! - `recreated`: topics that are deleted and re-created under the same name

mod damage;
mod faults;
mod groups;
mod reading;
mod recreated;
mod repetitions;
mod transactions;
mod world;
