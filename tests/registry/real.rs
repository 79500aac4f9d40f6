//! The real registry: one process for all tests, started when the first asks for it. It ends with this process.

use std::env;
use std::future::Future;
use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::apicurio::Apicurio;
use crate::support::java::Jdk;

/// Apicurio's serdes, of the last version that Maven has whole. They speak an older API of the registry, which it has as well.
const SERDES: [(&str, &str, &str); 3] = [
    (
        "io.apicurio",
        "apicurio-registry-serdes-avro-serde",
        "2.6.13.Final",
    ),
    (
        "io.apicurio",
        "apicurio-registry-serdes-jsonschema-serde",
        "2.6.13.Final",
    ),
    (
        "io.apicurio",
        "apicurio-registry-serdes-protobuf-serde",
        "2.6.13.Final",
    ),
];

/// A trial of a case that is told the URL of a real registry. Where none can be had it is ignored with the reason; with `CI=true` it fails.
pub fn on_registry<F>(name: &str, case: fn(String) -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    trial(
        name,
        || Ok(()),
        move |url, ()| {
            crate::block_on(case(url));
        },
    )
}

/// The same, of a case that runs Java with Apicurio's serdes beside it.
pub fn on_registry_with_java<F>(name: &str, case: fn(String, Jdk) -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    let java = || Jdk::find()?.with("serdes-2.6.13", &SERDES);
    trial(name, java, move |url, jdk| crate::block_on(case(url, jdk)))
}

fn trial<T>(
    name: &str,
    needs: impl FnOnce() -> Result<T, String> + Send + 'static,
    case: impl FnOnce(String, T) + Send + 'static,
) -> Trial {
    static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
    static REGISTRY: OnceLock<Result<Apicurio, String>> = OnceLock::new();
    Trial::ignorable_test(format!("apicurio::{name}"), move || {
        let available = AVAILABLE.get_or_init(Apicurio::available).clone();
        let needed = match available.and_then(|()| needs()) {
            Ok(needed) => needed,
            Err(reason) => {
                return match env::var_os("CI").is_some_and(|ci| ci == "true") {
                    true => Err(Failed::from(reason)),
                    false => Ok(Completion::ignored_with(reason)),
                };
            }
        };
        let registry = REGISTRY.get_or_init(Apicurio::start);
        case(registry.as_ref().map_err(Failed::from)?.url(), needed);
        Ok(Completion::Completed)
    })
}
