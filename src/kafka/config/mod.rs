//! What a client can be told.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `client` | the options that producer, consumer and admin share |
//! | `clock` | wall time, from the system or simulated |
//! | `parse` | text to value, for the rows of property tables |
//! | `properties` | the mechanism: one row per Java-style name; from pairs and from the environment |
//! | `random` | seeded random numbers |

mod client;
mod clock;
pub mod parse;
mod properties;
mod random;

pub use client::ClientConfig;
pub use clock::Clock;
pub use properties::{Configuration, Property, variable_name};
pub use random::Random;
