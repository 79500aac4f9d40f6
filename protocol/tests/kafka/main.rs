//! Our tables against Kafka's own. In: a JDK 17+ and Maven, which fetch Kafka's jars. Out: counts of what was compared;
//! without a JDK the cases are ignored and say why, and with `CI=true` they fail.
//!
//! - [`definitions`]: the definitions of all messages, out of `kafka-clients`
//! - [`parity`]: the tables say what the definitions say
//! - [`errors`]: the error codes are Kafka's, and so is what can be retried
//! - [`equality`]: Kafka's classes write and read the same bytes
//! - [`batches`]: Kafka's classes read our record batches, and we read theirs

mod batches;
mod definitions;
mod equality;
mod errors;
mod parity;

/// The JDK and Kafka's jars, found as the tests of the client find them.
#[path = "../../../tests/support"]
mod support {
    pub mod guarded;
    pub mod java;
}

use std::env;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use support::java::Jdk;

type Case = fn(&Jdk);

const CASES: [(&str, Case); 4] = [
    (
        "the_tables_say_what_kafka_s_definitions_say",
        parity::compare,
    ),
    ("java_writes_and_reads_the_same_bytes", equality::compare),
    ("error_codes_are_kafka_s", errors::compare),
    (
        "java_reads_our_record_batches_and_we_java_s",
        batches::compare,
    ),
];

fn main() {
    let arguments = Arguments::from_args();
    let jdk = Arc::new(OnceLock::new());
    let trials = CASES.map(|(name, case)| trial(name, case, &jdk)).into();
    libtest_mimic::run(&arguments, trials).exit()
}

fn trial(name: &str, case: Case, jdk: &Arc<OnceLock<Result<Jdk, String>>>) -> Trial {
    let jdk = Arc::clone(jdk);
    Trial::ignorable_test(name, move || match jdk.get_or_init(Jdk::find) {
        Ok(jdk) => {
            case(jdk);
            Ok(Completion::Completed)
        }
        Err(reason) if env::var_os("CI").is_some_and(|ci| ci == "true") => {
            Err(Failed::from(reason))
        }
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}
