//! Applications that write in transactions, in some of the runs: beside all others, on topics of their own.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `plan` | what is drawn of them |
//! | `events` | what is noted of them |
//! | `applications` | all of them: started, and waited for |
//! | `writers` | transactional producers, one instance after the other under an id, now and then two at once |
//! | `plain` | a producer without transactions, on the same partitions |
//! | `loops` | `exactly_once`, untyped and typed: members of one group that read what the writers write |
//! | `reader` | a reader of what is committed |
//! | `faults` | coordinators that move, requests of transactions that meet faults |
//! | `log` | what the logs have |

mod applications;
mod events;
mod faults;
mod log;
mod loops;
mod plain;
mod plan;
mod reader;
mod writers;

pub use applications::{Applications, FIRST_PLAIN};
pub use events::{Ended, Topic, TransactionEvent, number_of, offset_of, place_of, transaction_of};
pub use faults::inject_faults;
pub use log::{LogEntry, Logged};
pub use plan::Transactional;
