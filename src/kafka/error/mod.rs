//! What can go wrong.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `error` | the one error type: what failed, where, why, and whether it may have happened |
//! | `may_pass` | which failures of a question may be different next time |
//! | `rights` | which right a call needed that was refused |

#[expect(clippy::module_inception, reason = "the error, among what is about it")]
mod error;
mod may_pass;
mod rights;

pub(crate) use error::sanitised;
pub use error::{Error, ErrorKind, Result, WriteOutcome};
pub(crate) use may_pass::may_pass;
