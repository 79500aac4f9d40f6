//! Events with a schema registry: a stand-in that has troubles, and a real Apicurio Registry where a JDK 21+ and Maven are there to bring one
//! up. Without them its tests are ignored and say why, and with `CI=true` they fail.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `apicurio` | our events in all three encodings, registered in a real registry and read through it |
//! | `java` | Java's serdes read what we write, and we what they write |
//! | `mutual_tls` | a registry that wants to see a certificate |
//! | `real` | the real registry that these tests share |
//! | `references` | schemas of Avro that refer to others |
//! | `stand_in` | a registry that does what a test wants of it |
//! | `support` | what the tests with real programs stand on |
//! | `troubles` | what becomes of events when the registry is down, slow, wrong, or another one |
//! | `verdicts` | the table of changes of schemas, judged by the real registry |

// Of what the tests with a real Kafka stand on no more than a registry needs.
#[allow(dead_code)]
mod support;

/// A trial for each of these async functions, by their names.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        vec![$(libtest_mimic::Trial::test(concat!(module_path!(), "::", stringify!($name)), || {
            crate::block_on($name());
            Ok(())
        })),*]
    };
}

mod apicurio;
mod java;
#[cfg(feature = "tls")]
mod mutual_tls;
mod real;
mod references;
mod stand_in;
mod troubles;
mod verdicts;

use std::future::Future;

use libtest_mimic::Arguments;

fn main() {
    let trials = [
        apicurio::trials(),
        java::trials(),
        #[cfg(feature = "tls")]
        mutual_tls::trials(),
        references::trials(),
        troubles::trials(),
        verdicts::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}

/// Runs a case on a runtime of its own.
fn block_on(case: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all();
    builder.build().expect("a runtime").block_on(case);
}
