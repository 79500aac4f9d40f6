//! Retry topics: where events wait that failed too often in place, without a handler, a worker or a place in memory.
//!
//! An event whose attempts in place are used up is written to the first retry topic, with headers that say where it stood, why it failed and
//! when it is due; then it counts as finished in its own topic. The member that has the origin partition also reads the partitions of the same
//! number in the retry topics: beside the group, which never assigns them, and commits them as the group's, so that a member that lost the
//! origin cannot. An event that fails again goes to the next topic, and after the last where [`OnFailure`](super::OnFailure) says; one that only
//! waited for others of its key begins with its attempts in place.
//!
//! Events of one key stay in order: while one is under way, those behind it are sent behind it. What is under way is in a book, one for each
//! origin partition, which is found again in the retry topics before any event of a partition is handled that was assigned.
//!
//! What a member writes that has lost the origin meanwhile, without knowing it, is a copy of something that its successor handles itself: the book
//! knows it for that. One case is left in which an event comes again behind later ones of its key: such a copy arrives after the successor has
//! looked, and the successor dies before it has come to the copy. The next member cannot tell it from what is under way.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `config` | which topics there are, what they are called, and their creation |
//! | `book` | what is under way, and whose turn it is: a pure decision |
//! | `chain` | the book of each origin partition, as tasks share it |
//! | `envelope` | what the headers of a retry record say |
//! | `writer` | records on their way to a retry topic |

mod book;
mod chain;
mod config;
mod envelope;
mod writer;

pub(crate) use book::Turn;
pub(crate) use chain::{Chain, Chains, EventAt};
pub(crate) use config::{DELAYS, NAME_PATTERN, PENDING};
pub use config::{RetryTopicName, RetryTopics};
pub(crate) use envelope::{Envelope, Retried, ToRetry};
pub(crate) use writer::RetryWriter;
