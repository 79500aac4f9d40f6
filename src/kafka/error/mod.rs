//! What can go wrong.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `codes` | what a broker's code means |
//! | `error` | the one error type: what failed, where, why, and whether it may have happened |
//! | `may_pass` | which failures of a question may be different next time |
//! | `rights` | which right a call needed that was refused |
//! | `sanitised` | text from elsewhere, made fit to be shown |

mod codes;
#[expect(clippy::module_inception, reason = "the error, among what is about it")]
mod error;
mod may_pass;
mod rights;
mod sanitised;

pub use error::{Error, ErrorKind, Result, WriteOutcome};
pub(crate) use may_pass::may_pass;
pub(crate) use sanitised::sanitised;
