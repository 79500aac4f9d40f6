//! Events with a schema registry: a stand-in that has troubles, and a real Apicurio Registry where a JDK 21+ and Maven are there to bring one
//! up. Without them its tests say so and pass; with `CI=true` they fail.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `apicurio` | our events in all three encodings, registered in a real registry and read through it |
//! | `stand_in` | a registry that does what a test wants of it |
//! | `support` | what the tests with real programs stand on |
//! | `troubles` | what becomes of events when the registry is down, slow, wrong, or another one |

// Of what the tests with a real Kafka stand on no more than a registry needs.
#[allow(dead_code)]
mod support;

mod apicurio;
mod stand_in;
mod troubles;
