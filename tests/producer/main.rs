//! The producer, from its API to the bytes in the log, against the embedded broker in memory, on a paused clock.
//!
//! - `harness`: a broker, a producer, and what is in the logs
//! - `proxy`: answers that are made up, changed or cut short between the two
//! - `admission`: which records are taken in, and what a caller that gives up leaves behind
//! - `closing`: what a close leaves behind
//! - `codes`: every error code, once, for a while and for ever
//! - `committed`: what of a log with transactions counts
//! - `created`: topics that are just created, or created anew
//! - `delivery`: acknowledgements, order, flush, close
//! - `exactly_once`: loops whose transactions come to nothing
//! - `unknown_outcomes`: responses that settle nothing
//! - `faults`: lost responses, forgotten producers, limits
//! - `interceptor`: what an observer sees of records
//! - `leaders`: leaders that move, resign or are missing
//! - `permits`: room that is reserved before the record is there
//! - `refusals`: records that a broker does not take, among others that it does
//! - `topic_settings`: topics that are written otherwise
//! - `transactions`: what is committed whole, or not at all
//! - `waiting`: brokers that are away, or ask for a pause

mod admission;
mod closing;
mod codes;
mod committed;
#[path = "../support/copying.rs"]
mod copying;
mod created;
mod delivery;
#[path = "../support/embedded.rs"]
mod embedded;
mod exactly_once;
mod faults;
mod harness;
#[path = "../support/in_memory.rs"]
mod in_memory;
mod interceptor;
mod leaders;
mod permits;
mod proxy;
mod refusals;
mod topic_settings;
mod transactions;
mod unknown_outcomes;
mod waiting;
