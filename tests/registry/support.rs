//! What the tests with real programs stand on, as far as a registry needs it: see `tests/support/mod.rs`.

#[path = "../support/apicurio.rs"]
pub mod apicurio;
#[path = "../support/guarded.rs"]
pub mod guarded;
#[path = "../support/java.rs"]
pub mod java;
#[path = "../support/kafka.rs"]
pub mod kafka;
#[path = "../support/probe.rs"]
pub mod probe;
