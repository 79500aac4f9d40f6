//! Pages to read: what is guaranteed, and how to use, tune, test and watch it.
//!
//! | page | answers |
//! | --- | --- |
//! | [`delivery_guarantees`] | Can a record be lost, doubled, reordered? |
//! | [`errors`] | It failed. What now? |
//! | [`memory`] | How much memory does it take, and what happens when that is full? |
//! | [`rebalances`] | What happens to slow handlers when members come and go? |
//! | [`exactly_once`] | How is each record read, transformed and written once? |
//! | [`retries`] | What becomes of an event whose handler fails? |
//! | [`schemas`] | Which encodings are there, and what may change? |
//! | [`security`] | How are connections protected, and what is refused? |
//! | [`tuning`] | What is to be set for latency, and what for throughput? |
//! | [`testing`] | How is code that uses it tested? |
//! | [`observability`] | What is measured, logged and traced, and what is worth an alert? |
//! | [`shutdown`] | How does a process end without losing or repeating much? |
//! | [`from_rdkafka`], [`from_java`], [`from_franz_go`] | What is it called here? |
//!
//! A service from nothing to its end is the [tutorial](crate::events::tutorial).

// A file a page. Each of their examples is a test.

#[doc = include_str!("delivery_guarantees.md")]
pub mod delivery_guarantees {}
#[doc = include_str!("errors.md")]
pub mod errors {}
#[doc = include_str!("exactly_once.md")]
pub mod exactly_once {}
#[doc = include_str!("from_franz_go.md")]
pub mod from_franz_go {}
#[doc = include_str!("from_java.md")]
pub mod from_java {}
#[doc = include_str!("from_rdkafka.md")]
pub mod from_rdkafka {}
#[doc = include_str!("memory.md")]
pub mod memory {}
#[doc = include_str!("observability.md")]
pub mod observability {}
#[doc = include_str!("rebalances.md")]
pub mod rebalances {}
#[doc = include_str!("retries.md")]
pub mod retries {}
#[doc = include_str!("schemas.md")]
pub mod schemas {}
#[doc = include_str!("security.md")]
pub mod security {}
#[doc = include_str!("shutdown.md")]
pub mod shutdown {}
#[doc = include_str!("testing.md")]
pub mod testing {}
#[doc = include_str!("tuning.md")]
pub mod tuning {}
