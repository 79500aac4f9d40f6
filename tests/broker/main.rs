//! The embedded broker, spoken to in raw protocol messages: no client in between that could share its misunderstandings.
//!
//! - [`raw`]: a connection that sends requests and decodes answers, and batches to send
//! - [`parity`], [`transcript`]: scenarios whose transcripts must be those of a real Kafka 4.4
//! - [`transactions`]: transactions from their first epoch to what readers see
//! - the others: what Kafka can't be asked to do, or what its transcripts can't show

mod data;
mod faults;
mod fetching;
mod nodes;
mod parity;
mod raw;
mod security;
mod transactions;
mod transcript;
mod versions;
