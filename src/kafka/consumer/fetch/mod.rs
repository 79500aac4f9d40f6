//! Fetching: one task per broker, and what becomes of its responses.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `fetcher` | the task that fetches from one broker |
//! | `next_fetch` | what it does next, by what the budget has left |
//! | `response` | what its responses do |
//! | `session` | what changed since the last request (KIP-227) |
//! | `buffer` | what was fetched and not yet read, partition by partition |
//! | `batch_reader` | one partition's part of a response, read on from poll to poll |
//! | `aborted` | which batches belong to aborted transactions |
//! | `memory` | the one byte budget |

mod aborted;
pub(super) mod batch_reader;
pub(super) mod buffer;
pub(super) mod fetcher;
pub(super) mod memory;
mod next_fetch;
mod response;
mod session;

pub(super) use response::FrameMemory;
