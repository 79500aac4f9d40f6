//! The brokers that the trials share. In: what a trial asks for. Out: a running cluster, started when it is first asked
//! for, and a [`Trial`] that is ignored with the reason when there can be none.

use std::env;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

/// What the trials share.
#[derive(Debug, Default)]
pub struct Fleet {
    jdk: OnceLock<Result<Arc<Jdk>, String>>,
    one: Shared,
    three: Shared,
}

/// A cluster that several trials use one after the other: one of them may be killing its brokers.
type Shared = Mutex<Option<Result<Arc<Kafka>, String>>>;

impl Fleet {
    /// A trial that needs a single Kafka broker.
    pub fn on_one(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.trial(format!("kafka::{name}"), |fleet| &fleet.one, 1, case)
    }

    /// A trial that needs a Kafka of three brokers, and has it for itself while it runs.
    pub fn on_three(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.trial(format!("kafka3::{name}"), |fleet| &fleet.three, 3, case)
    }

    /// Ends every broker; keeps their logs when a trial failed.
    pub fn end(&self, failed: bool) {
        for shared in [&self.one, &self.three] {
            let cluster = shared.lock().unwrap_or_else(|e| e.into_inner()).take();
            if let Some(Ok(kafka)) = cluster
                && failed
            {
                kafka.keep_logs();
            }
        }
    }

    fn trial(
        self: &Arc<Self>,
        name: String,
        which: fn(&Fleet) -> &Shared,
        nodes: usize,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let fleet = Arc::clone(self);
        Trial::ignorable_test(name, move || {
            let jdk = match fleet.jdk.get_or_init(|| Jdk::find().map(Arc::new)) {
                Ok(jdk) => jdk,
                Err(reason) if env::var_os("CI").is_some_and(|ci| ci == "true") => {
                    return Err(Failed::from(reason));
                }
                Err(reason) => return Ok(Completion::ignored_with(reason)),
            };
            // A trial that panicked leaves a usable cluster, or one whose next user says what is wrong with it.
            let mut shared = which(&fleet).lock().unwrap_or_else(|e| e.into_inner());
            let started =
                shared.get_or_insert_with(|| Kafka::start(Arc::clone(jdk), nodes).map(Arc::new));
            let kafka = started.as_ref().map_err(Failed::from)?;
            case(jdk, kafka);
            Ok(Completion::Completed)
        })
    }
}
