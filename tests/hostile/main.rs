//! The client against a broker that lies: an honest broker behind a proxy that is honest but for one tampering.
//!
//! A tampering is drawn from a table: each API and each error code, each field of each answer mutated in every way that its type allows, frames cut,
//! garbled, slow or doubled, batches and assignments that cannot be; applied once, three times, or for ever. The table is made of the tables of
//! the messages, so no field is left out. Under each tampering small workloads run, on a paused clock, and then the tampering ends. For each case:
//! nothing panics; no call takes longer than its deadline; nothing is repeated without a pause; memory stays bounded; nothing is lost,
//! doubled or reordered; what goes on for ever is an error that names what was wrong, in time; and what is over is forgotten: everything
//! works again.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `value` | a message as a tree that can be mutated |
//! | `tampering` | the table of tamperings |
//! | `tamperer` | how an honest answer becomes another by one of them |
//! | `corruption` | what it does to one value |
//! | `proxy` | the tampering broker |
//! | `harness` | one case's cluster, configuration and notes |
//! | `workloads` | what clients do under a tampering |
//! | `typed` | the same for typed events |
//! | `case` | one case, run |
//! | `checks` | whether what the client did was right, and what it cannot be blamed for |
//! | `known_failures` | failures that are not mended yet |
//!
//! `cargo test --test hostile` runs a fixed sample. `HOSTILE=all` runs everything, `HOSTILE=strict` and `HOSTILE=all,strict` count known
//! failures as failures; `CASE=...` runs the cases whose name has this in it, and prints what they saw. A case that fails is printed with
//! how to run it alone.

mod case;
mod checks;
mod corruption;
mod harness;
mod known_failures;
mod proxy;
mod tamperer;
mod tampering;
mod typed;
mod value;
mod workloads;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use case::{Case, Outcome, WORKER};
use harness::Violation;
use protocol::ApiKey;
use tampering::What;
use workloads::Workload;

/// A plain run takes one of so many cases about error codes, and of the others.
const ONE_OF_CODES: u64 = 32;
const ONE_OF_OTHERS: u64 = 8;
/// A case takes some milliseconds; one that takes so long will never end.
const STUCK: Duration = Duration::from_secs(60);

#[test]
fn no_lie_of_a_broker_does_harm() {
    case::watch_panics();
    let all: Vec<Case> = Workload::ALL.into_iter().flat_map(honest).collect();
    let only = std::env::var("CASE").ok();
    let mode = std::env::var("HOSTILE").unwrap_or_default();
    let everything = mode.contains("all");
    let chosen: Vec<Case> = all
        .into_iter()
        .filter(|case| match &only {
            Some(only) => case.to_string().contains(only.as_str()),
            None => everything || is_sampled(case),
        })
        .collect();
    assert!(!chosen.is_empty(), "no case is called {only:?}");
    let mut summary = Summary {
        // Who runs a case alone wants to see what is wrong with it.
        is_strict: only.is_some() || mode.contains("strict"),
        ..Summary::default()
    };
    run_all(&chosen, |case, outcome| {
        if only.is_some() && chosen.len() <= 40 {
            say(&details(case, &outcome));
        }
        summary.add(case, outcome);
    });
    say(&summary.to_string());
    assert!(
        summary.failed.is_empty(),
        "{} of {} cases failed",
        summary.failed.len(),
        summary.cases
    );
}

/// The cases of a workload that goes well without tampering.
fn honest(workload: Workload) -> Vec<Case> {
    let (seen, outcome) = std::thread::Builder::new()
        .name(WORKER.to_owned())
        .spawn(move || case::survey(workload))
        .expect("a thread")
        .join()
        .unwrap_or_else(|_| panic!("{workload} does not work with an honest broker"));
    assert!(
        outcome.violations.is_empty() && outcome.notes.errors.is_empty(),
        "{workload} does not work with an honest broker: {outcome:?}"
    );
    case::cases(workload, &seen)
}

fn is_sampled(case: &Case) -> bool {
    // What a coordinator may say of the group to a consumer that goes on by itself is little enough to be tried whole.
    let is_about_the_group = match case.workload {
        Workload::Typed => {
            matches!(case.tampering.api, ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP)
        }
        Workload::Consumer => case.tampering.api == ApiKey::CONSUMER_GROUP_HEARTBEAT,
        Workload::Share => match &case.tampering.what {
            // Nor what a leader may say of what it has acquired, and who it is.
            What::Field(place, _) => [
                "assignment",
                "responses.partitions.records",
                "responses.partitions.acquired_records",
                "topics.partitions.leader_id",
            ]
            .iter()
            .any(|name| place.name.starts_with(name)),
            _ => false,
        },
        _ => false,
    };
    if is_about_the_group
        && matches!(
            case.tampering.what,
            What::Assignment(_) | What::Subscription(_) | What::Field(..)
        )
    {
        return true;
    }
    // DefaultHasher::new() has fixed keys: the same sample in every run.
    let mut hasher = DefaultHasher::new();
    case.to_string().hash(&mut hasher);
    let one_of = match case.tampering.what {
        What::Code(..) => ONE_OF_CODES,
        _ => ONE_OF_OTHERS,
    };
    hasher.finish().is_multiple_of(one_of)
}

/// Runs the cases on some threads, and hands in each outcome in the order of the cases.
fn run_all(cases: &[Case], mut done: impl FnMut(&Case, Outcome)) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = std::sync::Arc::new(AtomicUsize::new(0));
    let shared: std::sync::Arc<[Case]> = cases.into();
    let (started, running) = mpsc::channel();
    for thread in 0..threads.min(4) {
        let (next, shared, started) = (next.clone(), shared.clone(), started.clone());
        std::thread::Builder::new()
            .name(WORKER.to_owned())
            .spawn(move || {
                while let Some((at, case)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    shared.get(at).map(|case| (at, case))
                } {
                    // Nobody listens any more when another case was stuck.
                    let _ = started.send((thread, at, None));
                    let _ = started.send((thread, at, Some(case.run())));
                }
            })
            .expect("a thread");
    }
    drop(started);
    let mut at_work: BTreeMap<usize, (usize, Instant)> = BTreeMap::new();
    let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
    let mut reported = 0;
    while reported < cases.len() {
        match running.recv_timeout(Duration::from_secs(1)) {
            Ok((thread, at, None)) => {
                at_work.insert(thread, (at, Instant::now()));
            }
            Ok((thread, at, Some(outcome))) => {
                at_work.remove(&thread);
                outcomes.insert(at, outcome);
                while let Some(outcome) = outcomes.remove(&reported) {
                    done(&cases[reported], outcome);
                    reported += 1;
                }
            }
            Err(_) => {}
        }
        for (at, since) in at_work.values() {
            assert!(
                since.elapsed() < STUCK,
                "stuck without the clock moving: {}",
                rerun(&cases[*at])
            );
        }
    }
}

fn rerun(case: &Case) -> String {
    format!("CASE='{case}' cargo test --test hostile")
}

fn details(case: &Case, outcome: &Outcome) -> String {
    let mut text = format!(
        "{case}: applied {} times, peak {} KiB, took {:?}, done under the tampering: {}\n",
        outcome.times_applied,
        outcome.peak_bytes >> 10,
        outcome.took,
        outcome.notes.is_done_under_tampering
    );
    for (what, count) in &outcome.counts {
        text += &format!(
            "  {what}: {}, at most {}/s\n",
            count.total, count.worst_per_second
        );
    }
    for noted in outcome.notes.errors.iter().take(40) {
        let under = if noted.under_tampering {
            "tampering"
        } else {
            "healed"
        };
        text += &format!(
            "  {:?} ({under}) {}: {:?}\n",
            noted.at, noted.call, noted.error
        );
    }
    for violation in &outcome.violations {
        text += &format!("  WRONG: {violation}\n");
    }
    text
}

/// Writes to standard error past the test harness, which keeps what tests print to itself.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What came of all cases.
#[derive(Default)]
struct Summary {
    cases: usize,
    failed: Vec<String>,
    by_kind: BTreeMap<String, usize>,
    /// Known failures are failures.
    is_strict: bool,
    known: usize,
    /// Entries of the list of known failures that were seen to fail.
    still_known: Vec<usize>,
    times_applied: u64,
    worst_rate: (usize, &'static str, String),
    worst_overrun: (Duration, &'static str, String),
    worst_peak: (u64, String),
    slowest: (Duration, String),
    panics: usize,
    hangs: usize,
    took: Duration,
}

impl Summary {
    fn add(&mut self, case: &Case, outcome: Outcome) {
        self.cases += 1;
        self.times_applied += outcome.times_applied;
        self.took += outcome.took;
        for (what, count) in &outcome.counts {
            if count.worst_per_second > self.worst_rate.0 {
                self.worst_rate = (count.worst_per_second, what, case.to_string());
            }
        }
        let (overrun, call) = outcome.notes.worst_overrun;
        if overrun > self.worst_overrun.0 {
            self.worst_overrun = (overrun, call, case.to_string());
        }
        if outcome.peak_bytes > self.worst_peak.0 {
            self.worst_peak = (outcome.peak_bytes, case.to_string());
        }
        if outcome.took > self.slowest.0 {
            self.slowest = (outcome.took, case.to_string());
        }
        let name = case.to_string();
        let mut wrong = Vec::new();
        for violation in outcome.violations {
            match violation {
                Violation::Panicked(_) => self.panics += 1,
                Violation::Hung(_) => self.hangs += 1,
                _ => {}
            }
            let listed = known_failures::KNOWN.iter().position(|(pattern, kind)| {
                !self.is_strict && *kind == violation.kind() && checks::matches(pattern, &name)
            });
            match listed {
                Some(entry) => {
                    self.known += 1;
                    self.still_known.push(entry);
                }
                None => {
                    *self.by_kind.entry(violation.kind()).or_default() += 1;
                    wrong.push(violation.to_string());
                }
            }
        }
        if !wrong.is_empty() {
            let text = format!("{}\n    {}", rerun(case), wrong.join("\n    "));
            say(&text);
            self.failed.push(text);
        }
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, api, case) = &self.worst_rate;
        writeln!(
            f,
            "{} cases, {} tamperings applied, in {:?} altogether",
            self.cases, self.times_applied, self.took
        )?;
        writeln!(f, "most requests: {rate}/s of {api}: {case}")?;
        let (overrun, call, case) = &self.worst_overrun;
        writeln!(f, "worst overrun: {overrun:?} of {call}: {case}")?;
        let (peak, case) = &self.worst_peak;
        writeln!(f, "peak memory: {} KiB: {case}", peak >> 10)?;
        let (slowest, case) = &self.slowest;
        writeln!(f, "slowest case: {slowest:?}: {case}")?;
        writeln!(f, "panics: {}, hangs: {}", self.panics, self.hangs)?;
        writeln!(f, "known failures seen: {}", self.known)?;
        for (entry, (pattern, kind)) in known_failures::KNOWN.iter().enumerate() {
            if !self.still_known.contains(&entry) {
                writeln!(
                    f,
                    "no case of this run fails so any more, take it off the list if none does: {pattern} {kind}"
                )?;
            }
        }
        write!(
            f,
            "failed: {}, by kind: {:?}",
            self.failed.len(),
            self.by_kind
        )
    }
}
