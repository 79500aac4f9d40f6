//! The brokers that the trials share. In: what a trial asks for. Out: a running cluster, started when it is first asked
//! for, and a [`Trial`] that is ignored with the reason when there can be none.

use std::env;
use std::sync::{Arc, Mutex, OnceLock};

use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};
use pat_events::broker::Broker;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

/// Longer than the longest wait within a case, so that it is this one that says what did not come.
const CASE_WITHIN: Duration = Duration::from_secs(300);

/// What the trials share.
#[derive(Default)]
pub struct Fleet {
    embedded: OnceLock<Embedded>,
    jdk: OnceLock<Result<Arc<Jdk>, String>>,
    one: Shared,
    three: Shared,
    secured: Shared,
    guarded: Shared,
    two_phase: Shared,
}

/// A cluster that several trials use one after the other: one of them may be killing its brokers.
type Shared = Mutex<Option<Result<Arc<Kafka>, String>>>;

/// The embedded broker, over TCP, on threads of its own: trials come and go with theirs.
struct Embedded {
    broker: Broker,
    _runtime: Runtime,
}

impl Embedded {
    fn start() -> Embedded {
        let runtime = runtime();
        let broker = Broker::builder()
            .default_partitions(6)
            .consumer_group_heartbeat_interval(Duration::from_millis(500))
            .share_group_heartbeat_interval(Duration::from_millis(500))
            .start_tcp("127.0.0.1:0");
        let broker = runtime.block_on(broker).expect("a free port");
        Embedded {
            broker,
            _runtime: runtime,
        }
    }
}

/// What a case of the suite runs against.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port` of its brokers.
    pub bootstrap: String,
}

/// Runs a case on a runtime of its own; a case that gets stuck fails.
pub fn block_on(case: impl Future<Output = ()>) {
    block_on_for(Duration::ZERO, case);
}

/// The same for a case that means to take so long.
pub fn block_on_for(meant: Duration, case: impl Future<Output = ()>) {
    runtime().block_on(async {
        timeout(meant + CASE_WITHIN, case)
            .await
            .expect("the case ends in time")
    });
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

impl Fleet {
    /// A trial that needs a single Kafka broker.
    pub fn on_one(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start(jdk, 1);
        self.trial(format!("kafka::{name}"), |fleet| &fleet.one, start, case)
    }

    /// A trial that needs a Kafka of three brokers, and has it for itself while it runs.
    pub fn on_three(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start(jdk, 3);
        self.trial(format!("kafka3::{name}"), |fleet| &fleet.three, start, case)
    }

    /// A trial that needs a Kafka broker with listeners for TLS and SASL.
    pub fn on_secured(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start_secured(jdk, 1, crate::security::secured());
        let case = |_: &Jdk, kafka: &Kafka| case(kafka);
        self.trial(
            format!("secured::{name}"),
            |fleet| &fleet.secured,
            start,
            case,
        )
    }

    /// A trial that needs a Kafka broker where principals may do only what rules allow.
    pub fn on_guarded(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start_secured(jdk, 1, crate::acls::secured());
        let name = format!("guarded::{name}");
        self.trial(name, |fleet| &fleet.guarded, start, case)
    }

    /// A trial that needs a Kafka broker with two-phase commits.
    pub fn on_two_phase(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start_secured(jdk, 1, crate::transactions::allowed());
        let case = |_: &Jdk, kafka: &Kafka| case(kafka);
        let name = format!("two_phase::{name}");
        self.trial(name, |fleet| &fleet.two_phase, start, case)
    }

    /// Ends every broker; keeps their logs when a trial failed.
    pub fn end(&self, failed: bool) {
        for shared in [
            &self.one,
            &self.three,
            &self.secured,
            &self.guarded,
            &self.two_phase,
        ] {
            let cluster = shared.lock().unwrap_or_else(|e| e.into_inner()).take();
            if let Some(Ok(kafka)) = cluster
                && failed
            {
                kafka.keep_logs();
            }
        }
    }

    /// Trials of one case: on the embedded broker, and on a single Kafka broker.
    pub fn on_both<F>(self: &Arc<Self>, name: &str, case: fn(Target) -> F) -> [Trial; 2]
    where
        F: Future<Output = ()> + 'static,
    {
        let fleet = Arc::clone(self);
        let embedded = Trial::test(format!("embedded::{name}"), move || {
            let bootstrap = fleet
                .embedded
                .get_or_init(Embedded::start)
                .broker
                .bootstrap_servers();
            block_on(case(Target { bootstrap }));
            Ok(())
        });
        let on_kafka = self.on_one(name, move |_, kafka| {
            let target = Target {
                bootstrap: kafka.bootstrap(),
            };
            block_on(case(target));
        });
        [embedded, on_kafka]
    }

    /// As [`on_both`](Self::on_both), for a case that means to take so long, on an embedded broker of its own; it is told which broker it is.
    pub fn on_both_apart<F>(
        self: &Arc<Self>,
        name: &str,
        meant: Duration,
        case: fn(Target, &'static str) -> F,
    ) -> [Trial; 2]
    where
        F: Future<Output = ()> + 'static,
    {
        let embedded = Trial::test(format!("embedded::{name}"), move || {
            block_on_for(meant, async move {
                let broker = Broker::builder().start_tcp("127.0.0.1:0");
                let broker = broker.await.expect("a free port");
                let bootstrap = broker.bootstrap_servers();
                case(Target { bootstrap }, "embedded").await;
            });
            Ok(())
        });
        let on_kafka = self.on_one(name, move |_, kafka| {
            let bootstrap = kafka.bootstrap();
            block_on_for(meant, case(Target { bootstrap }, "kafka"));
        });
        [embedded, on_kafka]
    }

    /// Trials of one case that needs a JDK on either: on the embedded broker, and on a single Kafka broker.
    pub fn on_both_with_jdk(
        self: &Arc<Self>,
        name: &str,
        case: fn(&Jdk, Target) -> Ran,
    ) -> [Trial; 2] {
        let fleet = Arc::clone(self);
        let embedded = Trial::ignorable_test(format!("embedded::{name}"), move || {
            fleet.with_jdk(|jdk| {
                let embedded = fleet.embedded.get_or_init(Embedded::start);
                let bootstrap = embedded.broker.bootstrap_servers();
                case(jdk, Target { bootstrap })
            })
        });
        let start = |jdk| Kafka::start(jdk, 1);
        let on_kafka = move |jdk: &Jdk, kafka: &Kafka| {
            let bootstrap = kafka.bootstrap();
            case(jdk, Target { bootstrap })
        };
        let name = format!("kafka::{name}");
        let on_kafka = self.ignorable(name, |fleet| &fleet.one, start, on_kafka);
        [embedded, on_kafka]
    }

    fn trial(
        self: &Arc<Self>,
        name: String,
        which: fn(&Fleet) -> &Shared,
        start: fn(Arc<Jdk>) -> Result<Kafka, String>,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.ignorable(name, which, start, |jdk, kafka| {
            case(jdk, kafka);
            Ok(Completion::Completed)
        })
    }

    fn ignorable(
        self: &Arc<Self>,
        name: String,
        which: fn(&Fleet) -> &Shared,
        start: fn(Arc<Jdk>) -> Result<Kafka, String>,
        case: impl FnOnce(&Jdk, &Kafka) -> Ran + Send + 'static,
    ) -> Trial {
        let fleet = Arc::clone(self);
        Trial::ignorable_test(name, move || {
            fleet.with_jdk(|jdk| {
                // A trial that panicked leaves a usable cluster, or one whose next user says what is wrong with it.
                let mut shared = which(&fleet).lock().unwrap_or_else(|e| e.into_inner());
                let started = shared.get_or_insert_with(|| start(Arc::clone(jdk)).map(Arc::new));
                let kafka = started.as_ref().map_err(Failed::from)?;
                case(jdk, kafka)
            })
        })
    }

    fn with_jdk(&self, run: impl FnOnce(&Arc<Jdk>) -> Ran) -> Ran {
        match self.jdk.get_or_init(|| Jdk::find().map(Arc::new)) {
            Ok(jdk) => run(jdk),
            Err(reason) => not_here(reason.clone()),
        }
    }
}

/// How a trial went, if it did not panic.
pub type Ran = Result<Completion, Failed>;

/// What a trial needs is not there: it is ignored and says why, and with `CI=true` it fails.
pub fn not_here(reason: String) -> Ran {
    match env::var_os("CI").is_some_and(|ci| ci == "true") {
        true => Err(Failed::from(reason)),
        false => Ok(Completion::ignored_with(reason)),
    }
}
