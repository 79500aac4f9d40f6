//! One case: a tampering, and a workload that runs under it. In: the case. Out: what was wrong, and the measures of the run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::panic;
use std::time::Duration;

use allocation_counter::measure;
use protocol::ApiKey;

use crate::checks::check;
use crate::harness::{Harness, Notes, Violation};
use crate::proxy::Count;
use crate::tamperer::Tamperer;
use crate::tampering::{FrameTampering, Tampering, What, tamperings};
use crate::workloads::Workload;

#[derive(Clone, Debug)]
pub struct Case {
    pub tampering: Tampering,
    pub workload: Workload,
    /// The honest answers do not have what is tampered with: it is made.
    make: bool,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tampering, self.workload)
    }
}

/// What came of a case.
#[derive(Debug)]
pub struct Outcome {
    pub violations: Vec<Violation>,
    pub notes: Notes,
    pub counts: BTreeMap<&'static str, Count>,
    pub times_applied: u64,
    pub peak_bytes: u64,
    pub took: Duration,
}

/// What the honest broker's answers to a workload have: by API the version and the fields.
type Seen = BTreeMap<ApiKey, (i16, Vec<String>)>;

thread_local! {
    /// The panics of this thread, on which a case runs with all of its tasks.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what panics say, also those of tasks, which nobody else would see.
pub fn watch_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(WORKER) {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
        } else {
            before(info);
        }
    }));
}

/// The name of the threads that cases run on.
pub const WORKER: &str = "hostile";

/// Runs the workload under the tampering, or under none.
fn play(workload: Workload, tamperer: Option<Tamperer>) -> (Harness, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let mut played = None;
    let allocated = measure(|| {
        played = Some(runtime.block_on(async {
            let mut harness = Harness::new(tamperer);
            workload.run(&mut harness).await;
            harness
        }));
    });
    drop(runtime);
    (played.expect("played"), allocated.bytes_max)
}

/// What a workload sees of an honest broker.
pub fn survey(workload: Workload) -> (Seen, Outcome) {
    let started = std::time::Instant::now();
    let (harness, peak_bytes) = play(workload, None);
    let outcome = Outcome {
        violations: harness.notes.violations.clone(),
        counts: harness.proxy.counts(),
        times_applied: 0,
        peak_bytes,
        took: started.elapsed(),
        notes: harness.notes,
    };
    (harness.proxy.seen(), outcome)
}

/// Every case of a workload, of what it sees.
pub fn cases(workload: Workload, seen: &Seen) -> Vec<Case> {
    let mut cases = Vec::new();
    for (api, (version, fields)) in seen {
        for tampering in tamperings(*api, *version) {
            if let What::Frame(
                FrameTampering::CutBefore(field) | FrameTampering::ShortBefore(field),
            ) = &tampering.what
                && !fields.contains(field)
            {
                continue;
            }
            let make = match &tampering.what {
                What::Field(place, _) | What::Code(place, _) => !fields.contains(&place.name),
                _ => false,
            };
            let case = Case {
                tampering,
                workload,
                make,
            };
            if case.is_worth_its_time() {
                cases.push(case);
            }
        }
    }
    cases
}

impl Case {
    /// What is asked in the same way by others is not tampered with for each of them.
    /// What all clients share is tampered with to all of them, but not with every code: only some of them read answers differently.
    fn is_worth_its_time(&self) -> bool {
        const HEARTBEAT: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;
        let is_code = matches!(self.tampering.what, What::Code(..));
        let home = match self.tampering.api {
            ApiKey::API_VERSIONS => &[Workload::Producer, Workload::Reader, Workload::Auto][..],
            ApiKey::METADATA => &[
                Workload::Producer,
                Workload::Reader,
                Workload::Pattern,
                Workload::Consumer,
            ],
            ApiKey::FETCH | ApiKey::LIST_OFFSETS => &[Workload::Reader, Workload::Typed],
            _ => &Workload::ALL,
        };
        let api = self.tampering.api;
        let is_about = match self.workload {
            Workload::Plain => api == ApiKey::PRODUCE,
            Workload::Pattern => api == ApiKey::METADATA,
            Workload::Consumer => matches!(
                api,
                HEARTBEAT
                    | ApiKey::OFFSET_COMMIT
                    | ApiKey::OFFSET_FETCH
                    | ApiKey::FIND_COORDINATOR
                    | ApiKey::METADATA
            ),
            Workload::Auto => matches!(api, ApiKey::API_VERSIONS | ApiKey::FIND_COORDINATOR),
            Workload::BrokerPattern => matches!(api, HEARTBEAT | ApiKey::METADATA),
            Workload::TypedConsumer => api == HEARTBEAT,
            Workload::Admin => api != HEARTBEAT,
            Workload::Share => matches!(
                api,
                ApiKey::SHARE_GROUP_HEARTBEAT
                    | ApiKey::SHARE_FETCH
                    | ApiKey::SHARE_ACKNOWLEDGE
                    | ApiKey::FIND_COORDINATOR
                    | ApiKey::METADATA
            ),
            Workload::Producer | Workload::Reader | Workload::Member | Workload::Typed => true,
        };
        is_about && (!is_code || home.contains(&self.workload))
    }

    pub fn run(&self) -> Outcome {
        PANICS.take();
        let started = std::time::Instant::now();
        let make = self.make;
        let played = panic::catch_unwind(|| {
            play(
                self.workload,
                Some(Tamperer::new(self.tampering.clone(), make)),
            )
        });
        let panics = PANICS.take();
        match played {
            Ok((harness, peak_bytes)) => {
                let times_applied = harness.proxy.times_applied();
                let counts = harness.proxy.counts();
                let violations = check(self, &harness, panics, peak_bytes);
                Outcome {
                    violations,
                    notes: harness.notes,
                    counts,
                    times_applied,
                    peak_bytes,
                    took: started.elapsed(),
                }
            }
            Err(_) => Outcome {
                violations: panics.into_iter().map(Violation::Panicked).collect(),
                notes: Notes::default(),
                counts: BTreeMap::new(),
                times_applied: 0,
                peak_bytes: 0,
                took: started.elapsed(),
            },
        }
    }
}
