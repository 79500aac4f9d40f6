//! The brokers that the trials share. In: what a trial asks for. Out: a running cluster, started when it is first asked
//! for, and a [`Trial`] that is ignored with the reason when there can be none.

use std::collections::HashSet;
use std::env;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use pat_events::broker::Broker;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

/// Longer than the longest wait within a case, so that it is this one that says what did not come.
const CASE_WITHIN: Duration = Duration::from_secs(300);
/// For how long brokers believe in a member of a newer group that says nothing, the tests' Kafka as well: the shortest that a classic member may have.
pub const SESSION: Duration = Duration::from_secs(6);
/// How many trials a core has at once: most of the time they wait, for a session to time out or a broker to start.
const OF_EACH_CORE: usize = 2;
/// For how many trials there is a thread while they wait for their turn.
pub const WAITING: usize = 64;
/// Of how many trials it is said how long they took.
const LONGEST: usize = 25;

/// What the trials share.
pub struct Fleet {
    turns: Turns,
    /// How long each trial took, without the wait for its turn.
    took: Mutex<Vec<(Duration, String)>>,
    /// The trials that have a cluster for themselves.
    alone: Mutex<HashSet<String>>,
    embedded: OnceLock<Embedded>,
    jdk: OnceLock<Result<Arc<Jdk>, String>>,
    one: Shared,
    three: Shared,
    secured: Shared,
    guarded: Shared,
    two_phase: Shared,
}

/// A cluster that several trials use: beside each other, or one alone that kills its brokers or looks at all that there is.
#[derive(Default)]
struct Shared {
    started: Mutex<Option<Result<Arc<Kafka>, String>>>,
    in_use: RwLock<()>,
}

impl Shared {
    /// The cluster, started for whoever comes first.
    fn get(&self, start: impl FnOnce() -> Result<Kafka, String>) -> Result<Arc<Kafka>, String> {
        let mut started = lock(&self.started);
        started.get_or_insert_with(|| start().map(Arc::new)).clone()
    }
}

/// How a trial uses a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    BesideOthers,
    Alone,
}

/// How many trials may run now. Those that have a cluster for themselves come first: others wait for it.
struct Turns {
    left: Mutex<Left>,
    changed: Condvar,
}

struct Left {
    turns: usize,
    /// Trials that have a cluster for themselves, and no turn yet.
    first: usize,
}

/// A trial's turn, given back when it is dropped.
struct Turn<'a>(&'a Turns);

impl Turns {
    fn take(&self, used: Use) -> Turn<'_> {
        let mut left = lock(&self.left);
        let comes_first = used == Use::Alone;
        left.first += usize::from(comes_first);
        while left.turns == 0 || (left.first > 0 && !comes_first) {
            left = self
                .changed
                .wait(left)
                .unwrap_or_else(PoisonError::into_inner);
        }
        left.first -= usize::from(comes_first);
        left.turns -= 1;
        if comes_first && left.turns > 0 {
            self.changed.notify_all();
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.0.left).turns += 1;
        self.0.changed.notify_all();
    }
}

/// Whether or not a trial panicked while it had it: that leaves a usable cluster, or one whose next user says what is wrong with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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
            .consumer_group_session_timeout(SESSION)
            .share_group_heartbeat_interval(Duration::from_millis(500))
            .share_group_session_timeout(SESSION)
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
    /// For so many trials at once; as many as the machine's cores have by default.
    pub fn new(at_once: Option<usize>) -> Self {
        let by_cores = || available_parallelism().map_or(1, usize::from) * OF_EACH_CORE;
        let turns = at_once.unwrap_or_else(by_cores).max(1);
        Fleet {
            turns: Turns {
                left: Mutex::new(Left { turns, first: 0 }),
                changed: Condvar::new(),
            },
            took: Mutex::default(),
            alone: Mutex::default(),
            embedded: OnceLock::new(),
            jdk: OnceLock::new(),
            one: Shared::default(),
            three: Shared::default(),
            secured: Shared::default(),
            guarded: Shared::default(),
            two_phase: Shared::default(),
        }
    }

    /// A trial that needs a single Kafka broker, and shares it with others while it runs.
    pub fn on_one(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.on_one_used(name, Use::BesideOthers, case)
    }

    /// The same, of a trial that has the broker for itself while it runs: it changes, or looks at, what is the whole cluster's.
    pub fn on_one_alone(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.on_one_used(name, Use::Alone, case)
    }

    fn on_one_used(
        self: &Arc<Self>,
        name: &str,
        how: Use,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start(jdk, 1);
        let name = format!("kafka::{name}");
        self.trial(name, |fleet| &fleet.one, how, start, case)
    }

    /// A trial that needs a Kafka of three brokers, and has it for itself while it runs.
    pub fn on_three(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start(jdk, 3);
        let name = format!("kafka3::{name}");
        self.trial(name, |fleet| &fleet.three, Use::Alone, start, case)
    }

    /// A trial that needs a Kafka broker with listeners for TLS and SASL.
    pub fn on_secured(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start_secured(jdk, 1, crate::security::secured());
        let case = |_: &Jdk, kafka: &Kafka| case(kafka);
        let name = format!("secured::{name}");
        self.trial(name, |fleet| &fleet.secured, Use::Alone, start, case)
    }

    /// A trial that needs a Kafka broker where principals may do only what rules allow.
    pub fn on_guarded(
        self: &Arc<Self>,
        name: &str,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        let start = |jdk| Kafka::start_secured(jdk, 1, crate::acls::secured());
        let name = format!("guarded::{name}");
        self.trial(name, |fleet| &fleet.guarded, Use::Alone, start, case)
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
        self.trial(name, |fleet| &fleet.two_phase, Use::Alone, start, case)
    }

    /// Trials that have a cluster for themselves before all others: what takes longest is that they run one after the other.
    pub fn in_order(&self, mut trials: Vec<Trial>) -> Vec<Trial> {
        let alone = lock(&self.alone);
        trials.sort_by_key(|trial| !alone.contains(trial.name()));
        trials
    }

    /// A trial that brings its own broker.
    pub fn apart(self: &Arc<Self>, name: String, case: impl FnOnce() + Send + 'static) -> Trial {
        self.in_turn(name, || {
            case();
            Ok(Completion::Completed)
        })
    }

    /// Ends every broker; keeps their logs when a trial failed. Says which trials took longest.
    pub fn end(&self, failed: bool) {
        let mut took = std::mem::take(&mut *lock(&self.took));
        took.sort_unstable();
        for (took, name) in took.iter().rev().take(LONGEST) {
            println!("{:4} s {name}", took.as_secs());
        }
        for shared in [
            &self.one,
            &self.three,
            &self.secured,
            &self.guarded,
            &self.two_phase,
        ] {
            let cluster = lock(&shared.started).take();
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
        let embedded = self.apart(format!("embedded::{name}"), move || {
            let embedded = fleet.embedded.get_or_init(Embedded::start);
            let bootstrap = embedded.broker.bootstrap_servers();
            block_on(case(Target { bootstrap }));
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
        let embedded = self.apart(format!("embedded::{name}"), move || {
            block_on_for(meant, async move {
                let broker = Broker::builder().start_tcp("127.0.0.1:0");
                let broker = broker.await.expect("a free port");
                let bootstrap = broker.bootstrap_servers();
                case(Target { bootstrap }, "embedded").await;
            });
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
        let embedded = self.in_turn(format!("embedded::{name}"), move || {
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
        let used = Use::BesideOthers;
        let on_kafka = self.ignorable(name, |fleet| &fleet.one, used, start, on_kafka);
        [embedded, on_kafka]
    }

    fn trial(
        self: &Arc<Self>,
        name: String,
        which: fn(&Fleet) -> &Shared,
        used: Use,
        start: fn(Arc<Jdk>) -> Result<Kafka, String>,
        case: impl FnOnce(&Jdk, &Kafka) + Send + 'static,
    ) -> Trial {
        self.ignorable(name, which, used, start, |jdk, kafka| {
            case(jdk, kafka);
            Ok(Completion::Completed)
        })
    }

    fn ignorable(
        self: &Arc<Self>,
        name: String,
        which: fn(&Fleet) -> &Shared,
        used: Use,
        start: fn(Arc<Jdk>) -> Result<Kafka, String>,
        case: impl FnOnce(&Jdk, &Kafka) -> Ran + Send + 'static,
    ) -> Trial {
        let (fleet, noted) = (Arc::clone(self), name.clone());
        if used == Use::Alone {
            lock(&self.alone).insert(name.clone());
        }
        Trial::ignorable_test(name, move || {
            let shared = which(&fleet);
            // The cluster before the turn: who waits for a cluster takes nobody's turn.
            let (_others, _alone) = match used {
                Use::BesideOthers => (Some(shared.in_use.read()), None),
                Use::Alone => (None, Some(shared.in_use.write())),
            };
            fleet.timed(noted, used, || {
                fleet.with_jdk(|jdk| {
                    let kafka = shared.get(|| start(Arc::clone(jdk)))?;
                    case(jdk, &kafka)
                })
            })
        })
    }

    /// A trial that needs no cluster of Kafka, in its turn.
    fn in_turn(
        self: &Arc<Self>,
        name: String,
        trial: impl FnOnce() -> Ran + Send + 'static,
    ) -> Trial {
        let (fleet, noted) = (Arc::clone(self), name.clone());
        Trial::ignorable_test(name, move || fleet.timed(noted, Use::BesideOthers, trial))
    }

    /// Runs a trial when its turn comes, and notes how long it took.
    fn timed(&self, name: String, used: Use, trial: impl FnOnce() -> Ran) -> Ran {
        let _turn = self.turns.take(used);
        let began = Instant::now();
        let ran = trial();
        lock(&self.took).push((began.elapsed(), name));
        ran
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
