//! What the tests against a real Kafka stand on. In: a JDK 17+ and Maven on this machine. Out: running brokers, their
//! addresses, and Java programs to compare with; or the reason why there are none.
//!
//! - [`apicurio`]: a schema registry
//! - [`certificates`]: certificates made for a test
//! - [`java`]: the JDK, Kafka's jars (fetched once into `target/kafka`), single-file Java programs
//! - [`kafka`]: a cluster of one or three brokers that a test may kill and restart
//! - [`guarded`]: child processes that cannot outlive the test
//! - [`python`]: Python with librdkafka's client, and programs for it
//! - [`probe`]: asks a broker over its own protocol whether it is ready
//!
//! `commands`, `connections`, `copying`, `cut`, `embedded`, `in_memory` and `process_status` stand alone: tests take them by their paths.

pub mod apicurio;
pub mod certificates;
pub mod guarded;
pub mod java;
pub mod kafka;
pub mod probe;
pub mod python;
