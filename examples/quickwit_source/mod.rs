//! What the tests on Kafka run of the example.

pub mod scenario;
pub mod source;
