//! The consumer, from the bytes in the log to its API, against the embedded broker in memory, on a paused clock.
//!
//! - `harness`: a broker, batches for its logs, a consumer, and what it read
//! - `reading`: positions, seeks, pauses, resets, codecs, lag
//! - `buffers`: what is fetched ahead, within its memory, and what holds up nothing else
//! - `transactions`: what read_committed shows
//! - `acks`: commits of what the application says is finished; ends of partitions
//! - `groups`: membership, rebalances, commits
//! - `consumer_protocol`: membership where the broker assigns (KIP-848)
//! - `coordinator`: whatever the group's coordinator answers, or does not
//! - `partitions`: a stream per partition, and streams
//! - `patterns`: topics that come to a pattern and go
//! - `outage`: all brokers away, in each state of the client
//! - `share`: members of share groups, which acknowledge records one by one (KIP-932)
//! - `staying`: what a rebalance leaves alone
//! - `subscription`: topics that do not exist
//! - `faults`: lost answers, throttles, moved leaders, brokers that are away
//! - `corruption`: batches that cannot be read
//! - `repetitions`: what a broker answers once, and for ever
//! - `recreated`: topics that are deleted and re-created under the same name

mod acks;
mod buffers;
mod consumer_protocol;
mod coordinator;
mod corruption;
#[path = "../support/embedded.rs"]
mod embedded;
mod faults;
mod groups;
mod harness;
#[path = "../support/in_memory.rs"]
mod in_memory;
mod outage;
mod partitions;
mod patterns;
mod reading;
mod recreated;
mod repetitions;
mod share;
mod staying;
mod subscription;
mod transactions;
