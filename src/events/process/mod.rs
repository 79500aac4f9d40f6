//! Typed events in transactions.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `producer` | events in, CloudEvents out, all of a transaction or nothing |
//! | `exactly_once` | events in, events out, each handled exactly once |

mod exactly_once;
mod producer;

pub use exactly_once::{EventOutputs, EventTransform, ExactlyOnceConfig, exactly_once};
pub use producer::{EventTransaction, TransactionalEventProducer};
