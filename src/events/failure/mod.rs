//! What becomes of a record whose handler fails: retried while its key waits, written to a dead-letter topic, skipped, or the end of the
//! consumer.
//!
//! In: what a handler returned, and how often it has failed for the record. Out: what is done next, and when. Who calls handlers and holds
//! keys back is the consumer's scheduler.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `class` | kinds of failures: transient, poison, fatal; and who says which one it is |
//! | `policy` | what is done after a failure: a pure decision |
//! | [`dead_letter`] | what a dead letter says of its origin and its failure, and by which headers |
//! | `dead_letter_writer` | dead letters on their way to their topic |
//! | `dead_letters` | dead letters after the fact: read, replayed, deleted |
//! | `retry_topics` | where events wait that failed too often in place |
//! | `budget` | how many retries and dead letters there may be in a second |
//! | `circuit` | when nothing more is taken in, because nearly everything fails |
//! | `handling` | the decision put to use for a consumer, and told to its observer |

mod budget;
mod circuit;
mod class;
pub mod dead_letter;
mod dead_letter_writer;
mod dead_letters;
mod handling;
mod policy;
mod retry_topics;

pub(crate) use circuit::Gate;
pub use circuit::{CircuitPolicy, CircuitState};
pub use class::{Classify, FailureClass};
pub use dead_letter::{DeadLetter, LeftOut};
pub use dead_letter_writer::DEAD_LETTER_SUFFIX;
pub(crate) use dead_letter_writer::DeadLetterWriter;
pub use dead_letters::{
    DeadLetterCounts, DeadLetterFilter, DeadLetters, PurgeUpTo, Purged, ReplayOptions, Replayed,
};
pub(crate) use handling::{FailureHandling, Fate, Room};
pub(crate) use policy::{FailurePolicy, Failures};
pub use policy::{OnFailure, OnSkipped, OnTooLarge, OnUnknown, RetryPolicy};
pub(crate) use retry_topics::{
    Chain, Chains, DELAYS, Envelope, EventAt, NAME_PATTERN, PENDING, Retried, RetryWriter, ToRetry,
    Turn,
};
pub use retry_topics::{RetryTopicName, RetryTopics};
