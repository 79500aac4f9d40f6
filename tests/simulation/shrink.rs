//! A seed that fails is reduced to the fewest faults, applications and records that still fail in the same way. In: the seed. Out: what may be left
//! out, as variables by which the rest runs again.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::harness::{Outcome, run_reduced};
use crate::plan::{Plan, Work};
use crate::script::Happened;

/// What a run can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The producers and readers of the topic that all others are about.
    Others,
    Transactions,
    Loops,
    /// All transactional ids of writers but one.
    Writers,
    Sharing,
    Security,
    Failures,
    SlowWork,
    Growth,
    Cancellations,
    AnyError,
    StaticMembers,
    /// What holds up bytes on their way.
    Delays,
}

impl Part {
    const ALL: [Self; 13] = [
        Self::Others,
        Self::Transactions,
        Self::Sharing,
        Self::Security,
        Self::Loops,
        Self::Writers,
        Self::Failures,
        Self::SlowWork,
        Self::Growth,
        Self::Cancellations,
        Self::AnyError,
        Self::StaticMembers,
        Self::Delays,
    ];

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// What is left out of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduction {
    pub without: BTreeSet<Part>,
    /// The only faults that happen, by name; all of them where there is no list.
    pub only: Option<BTreeSet<String>>,
    /// The most records of each producer, and the most transactions of each writer.
    pub records: Option<u32>,
}

const WITHOUT: &str = "WITHOUT";
const ONLY: &str = "ONLY";
const RECORDS: &str = "RECORDS";

impl Reduction {
    /// As these variables say, which are as [`Display`](fmt::Display) writes them.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let list = |text: String| -> BTreeSet<String> {
            let words = text.split(',').map(str::trim);
            words
                .filter(|it| !it.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let part = |name: &String| {
            let found = Part::ALL.into_iter().find(|part| part.name() == *name);
            found.unwrap_or_else(|| panic!("{WITHOUT}: no part of a run is called {name:?}"))
        };
        let without = variable(WITHOUT).map(list).unwrap_or_default();
        Self {
            without: without.iter().map(part).collect(),
            only: variable(ONLY).map(list),
            records: variable(RECORDS).map(|text| {
                text.parse()
                    .unwrap_or_else(|_| panic!("{RECORDS}={text:?} is not a number"))
            }),
        }
    }

    pub fn is_without(&self, part: Part) -> bool {
        self.without.contains(&part)
    }

    /// Takes out of a plan what is left out.
    pub fn apply(&self, plan: &mut Plan) {
        for part in &self.without {
            match part {
                Part::Others => plan.others = false,
                Part::Transactions => plan.transactions = None,
                Part::Loops => {
                    if let Some(transactions) = &mut plan.transactions {
                        transactions.loops = 0;
                    }
                }
                Part::Writers => {
                    if let Some(transactions) = &mut plan.transactions {
                        transactions.writers = 1;
                    }
                }
                Part::Sharing => plan.sharing = None,
                Part::Security => plan.security = Default::default(),
                Part::Failures => {
                    plan.failing = None;
                    plan.retry_delays.clear();
                }
                Part::SlowWork => {
                    plan.work = Work::NONE;
                    plan.listener_delay = Duration::ZERO;
                }
                Part::Growth => plan.grows = false,
                Part::Cancellations => plan.cancelled_percent = 0,
                Part::AnyError => plan.any_error = false,
                Part::StaticMembers => plan.is_static = false,
                // Of the network, not of the plan.
                Part::Delays => {}
            }
        }
        if let (Some(most), Some(transactions)) = (self.records, &mut plan.transactions) {
            transactions.transactions = transactions.transactions.min(most);
        }
    }
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if !self.without.is_empty() {
            let names: Vec<_> = self.without.iter().map(|part| part.name()).collect();
            words.push(format!("{WITHOUT}={}", names.join(",")));
        }
        if let Some(only) = &self.only {
            let names: Vec<_> = only.iter().map(String::as_str).collect();
            words.push(format!("{ONLY}={}", names.join(",")));
        }
        if let Some(records) = self.records {
            words.push(format!("{RECORDS}={records}"));
        }
        f.write_str(&words.join(" "))
    }
}

/// A seed that was reduced.
#[derive(Debug)]
pub struct Shrunk {
    pub seed: u64,
    pub reduction: Reduction,
    /// In which way it fails.
    pub failure: String,
    pub faults_before: usize,
    pub faults: Vec<Happened>,
    pub runs: u32,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            reduction,
            failure,
            faults_before,
            faults,
            runs,
        } = self;
        writeln!(
            f,
            "seed {seed} fails by {failure}: {} faults instead of {faults_before}, after {runs} runs",
            faults.len()
        )?;
        for Happened { name, what } in faults {
            writeln!(f, "    {name}: {what}")?;
        }
        write!(
            f,
            "run it again with: SEED={seed} {reduction} cargo test --test simulation nothing -- --nocapture"
        )
    }
}

/// In which way a run fails: what is stuck, or the rule that is broken first.
fn failure(outcome: &Outcome) -> Option<String> {
    failures(outcome).into_iter().next()
}

fn failures(outcome: &Outcome) -> Vec<String> {
    // Numbers and names of one run are another one's of the next.
    let words = |text: &str| -> String {
        let end = text.find([':', '{']).unwrap_or(text.len());
        let letters = text[..end].chars();
        letters.filter(|it| !it.is_numeric()).collect()
    };
    let kind = |text: String| -> String {
        let text = text.strip_prefix("InTransactions(").unwrap_or(&text);
        let end = text.find(|it: char| !it.is_alphabetic());
        text[..end.unwrap_or(text.len())].to_owned()
    };
    let violations = outcome.violations.iter();
    let stuck = outcome.stuck.iter().map(|text| words(text));
    (violations.map(|it| kind(format!("{it:?}"))))
        .chain(stuck)
        .collect()
}

/// Reduces a seed that fails, in so many runs at the most; `None` where it does not fail.
pub fn shrink(seed: u64, most_runs: u32) -> Option<Shrunk> {
    let first = run_reduced(seed, &Reduction::default());
    let mut shrinking = Shrinking {
        seed,
        failure: failure(&first)?,
        faults: first.happened,
        reduction: Reduction::default(),
        left: most_runs,
    };
    let faults_before = shrinking.faults.len();
    loop {
        let before = shrinking.reduction.clone();
        shrinking.without_parts();
        shrinking.with_fewer_records();
        shrinking.with_fewer_faults();
        if shrinking.left == 0 || shrinking.reduction == before {
            break;
        }
    }
    Some(Shrunk {
        seed,
        reduction: shrinking.reduction,
        failure: shrinking.failure,
        faults_before,
        faults: shrinking.faults,
        runs: most_runs - shrinking.left + 1,
    })
}

struct Shrinking {
    seed: u64,
    failure: String,
    /// What happens in the run that is reduced so far.
    faults: Vec<Happened>,
    reduction: Reduction,
    left: u32,
}

impl Shrinking {
    /// Whether the seed fails with this reduction, too: it is the one to go on from then.
    fn accepts(&mut self, reduction: Reduction) -> bool {
        if self.left == 0 || reduction == self.reduction {
            return false;
        }
        self.left -= 1;
        let outcome = run_reduced(self.seed, &reduction);
        let fails = failures(&outcome).contains(&self.failure);
        if fails {
            self.faults = outcome.happened;
            self.reduction = reduction;
        }
        fails
    }

    fn without_parts(&mut self) {
        for part in Part::ALL {
            let mut reduction = self.reduction.clone();
            reduction.without.insert(part);
            self.accepts(reduction);
        }
    }

    fn with_fewer_records(&mut self) {
        let mut records = self.reduction.records.unwrap_or(400);
        while records > 1 {
            records /= 2;
            let reduction = Reduction {
                records: Some(records),
                ..self.reduction.clone()
            };
            if !self.accepts(reduction) {
                break;
            }
        }
    }

    fn with_fewer_faults(&mut self) {
        let names = self.faults.iter().map(|it| it.name.clone()).collect();
        minimise(names, |names| {
            let reduction = Reduction {
                only: Some(names.iter().cloned().collect()),
                ..self.reduction.clone()
            };
            let fails = self.accepts(reduction);
            fails.then(|| self.faults.iter().map(|it| it.name.clone()).collect())
        });
    }
}

/// Takes away as many of `names` as it can: first all, then halves, quarters, and in the end each. `fails` says which are left of those that it
/// was tried with, if that still fails.
fn minimise(
    names: Vec<String>,
    mut fails: impl FnMut(&[String]) -> Option<Vec<String>>,
) -> Vec<String> {
    let (mut kept, mut step) = (names, usize::MAX);
    loop {
        step = step.min(kept.len()).max(1);
        let mut at = 0;
        while at < kept.len() {
            let end = (at + step).min(kept.len());
            let fewer = [&kept[..at], &kept[end..]].concat();
            match fails(&fewer) {
                Some(left) => kept = left,
                None => at = end,
            }
        }
        if step == 1 {
            return kept;
        }
        step = step.div_ceil(2).min(step - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_it_takes() {
        let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let mut runs = 0;
        let left = minimise(names, |names| {
            runs += 1;
            let has = |name: &str| names.iter().any(|it| it == name);
            (has("17") && has("80")).then(|| names.to_vec())
        });
        assert_eq!(left, ["17", "80"]);
        assert!(runs < 60, "{runs} runs");
    }

    #[test]
    fn what_takes_nothing_is_left_with_nothing() {
        let names = vec!["1".to_owned(), "2".to_owned()];
        assert!(minimise(names, |names| Some(names.to_vec())).is_empty());
        assert!(minimise(Vec::new(), |_| None).is_empty());
    }

    #[test]
    fn a_reduction_is_read_as_it_is_written() {
        let reductions = [
            Reduction::default(),
            Reduction {
                only: Some(BTreeSet::new()),
                ..Reduction::default()
            },
            Reduction {
                without: BTreeSet::from([Part::Sharing, Part::SlowWork]),
                only: Some(BTreeSet::from(["a-1".to_owned(), "b-2".to_owned()])),
                records: Some(7),
            },
        ];
        for reduction in reductions {
            let text = reduction.to_string();
            let read = Reduction::of(|name| {
                let mut words = text.split(' ');
                words.find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
            });
            assert_eq!(read, reduction, "{text}");
        }
    }
}
