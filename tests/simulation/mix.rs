//! What is really drawn: in how many runs each plan, each application and each fault occurs, and how often in all. In: what happens in runs. Out: a
//! table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// How often things have happened in one run, by what they are called: `kind: name`.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<Mutex<BTreeMap<String, Arc<AtomicU64>>>>);

impl Tally {
    /// Where `what` is counted.
    pub fn counter(&self, what: impl Into<String>) -> Arc<AtomicU64> {
        let mut counters = self.0.lock().expect("no count panics");
        counters.entry(what.into()).or_default().clone()
    }

    /// It has happened once.
    pub fn count(&self, what: impl Into<String>) {
        self.add(what, 1);
    }

    pub fn add(&self, what: impl Into<String>, times: u64) {
        self.counter(what).fetch_add(times, Ordering::Relaxed);
    }

    fn all(&self) -> Vec<(String, u64)> {
        let counters = self.0.lock().expect("no count panics");
        let all = counters.iter();
        all.map(|(what, times)| (what.clone(), times.load(Ordering::Relaxed)))
            .collect()
    }
}

/// The tallies of many runs.
#[derive(Debug, Default)]
pub struct Mix {
    runs: u64,
    /// In how many runs, and how often.
    counts: BTreeMap<String, (u64, u64)>,
}

impl Mix {
    pub fn add(&mut self, tally: &Tally) {
        self.runs += 1;
        for (what, times) in tally.all() {
            let (runs, all) = self.counts.entry(what).or_default();
            *runs += u64::from(times > 0);
            *all += times;
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        for (what, (runs, times)) in other.counts {
            let known = self.counts.entry(what).or_default();
            (known.0, known.1) = (known.0 + runs, known.1 + times);
        }
    }
}

/// A table for each kind, in Markdown.
impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for (what, (runs, times)) in &self.counts {
            let (kind, name) = what.split_once(": ").unwrap_or(("", what));
            if before.replace(kind) != Some(kind) {
                writeln!(f, "\n| {kind} | of {} runs | times |", self.runs)?;
                writeln!(f, "| --- | --: | --: |")?;
            }
            let percent = 100.0 * *runs as f64 / self.runs.max(1) as f64;
            writeln!(f, "| {name} | {runs} ({percent:.1} %) | {times} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_times_are_told_apart() {
        let (mut mix, mut other) = (Mix::default(), Mix::default());
        for (of, times) in [(&mut mix, 3), (&mut other, 0)] {
            let tally = Tally::default();
            tally.add("network: cut", times);
            tally.count("plan: calm");
            of.add(&tally);
        }
        mix.merge(other);
        let table = mix.to_string();
        assert!(table.contains("| cut | 1 (50.0 %) | 3 |"), "{table}");
        assert!(table.contains("| calm | 2 (100.0 %) | 2 |"), "{table}");
        assert!(table.contains("| network | of 2 runs |"), "{table}");
    }
}
