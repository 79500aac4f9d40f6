//! The real registry: one process for all tests, started when the first asks for it. It ends with this process.

use std::env;
use std::future::Future;
use std::sync::OnceLock;

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::apicurio::Apicurio;

/// A trial of a case that is told the URL of a real registry. Where none can be had it is ignored with the reason; with `CI=true` it fails.
pub fn on_registry<F>(name: &str, case: fn(String) -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    static AVAILABLE: OnceLock<Result<(), String>> = OnceLock::new();
    static REGISTRY: OnceLock<Result<Apicurio, String>> = OnceLock::new();
    Trial::ignorable_test(format!("apicurio::{name}"), move || {
        if let Err(reason) = AVAILABLE.get_or_init(Apicurio::available) {
            return match env::var_os("CI").is_some_and(|ci| ci == "true") {
                true => Err(Failed::from(reason)),
                false => Ok(Completion::ignored_with(reason)),
            };
        }
        let registry = REGISTRY.get_or_init(Apicurio::start);
        crate::block_on(case(registry.as_ref().map_err(Failed::from)?.url()));
        Ok(Completion::Completed)
    })
}
