//! One partition of one topic, as its producer sees it.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `queue` | the partition behind one short lock |
//! | `accumulator` | records on their way into batches |
//! | `batch` | a batch's bytes: sealed, numbered, split, released |
//! | `given_up` | batches that are not sent any more, and what is told of them |
//! | `sequenced` | a batch with its sequence number, and the rules that keep batches in order |
//! | `sequencer` | the order of the batches and their sequence numbers, whatever the brokers do |

pub(crate) mod accumulator;
pub(crate) mod batch;
pub(crate) mod given_up;
pub(crate) mod queue;
pub(crate) mod sequenced;
pub(crate) mod sequencer;
