//! What goes wrong in a run, by name: each fault that is about to happen asks here, so that a run can be had again with fewer of them. In: where a
//! fault comes from, and what it is. Out: whether it happens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The faults of one run.
#[derive(Clone, Debug, Default)]
pub struct Script(Arc<Mutex<Faults>>);

#[derive(Debug, Default)]
struct Faults {
    /// How many have come from where.
    counts: BTreeMap<String, u32>,
    /// The only ones that happen, by name; all of them where there is no list.
    only: Option<BTreeSet<String>>,
    happened: Vec<Happened>,
}

/// A fault that has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    /// Where it came from, and as the how-manieth from there.
    pub name: String,
    pub what: String,
}

impl Script {
    /// Only those of these names happen.
    pub fn new(only: Option<BTreeSet<String>>) -> Self {
        Self(Arc::new(Mutex::new(Faults {
            only,
            ..Faults::default()
        })))
    }

    /// Whether the next fault from there happens. It counts as one either way: what is drawn after it keeps its name.
    pub fn happens(&self, source: &str, what: &str) -> bool {
        let mut faults = self.0.lock().expect("no holder panics");
        let count = faults.counts.entry(source.to_owned()).or_default();
        *count += 1;
        let name = format!("{source}-{count}");
        let happens = (faults.only.as_ref()).is_none_or(|only| only.contains(&name));
        if happens {
            let what = what.to_owned();
            faults.happened.push(Happened { name, what });
        }
        happens
    }

    /// What has happened so far.
    pub fn happened(&self) -> Vec<Happened> {
        let faults = self.0.lock().expect("no holder panics");
        faults.happened.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_leaves_the_names_of_the_others() {
        let only = BTreeSet::from(["chaos-2".to_owned(), "network-1".to_owned()]);
        let script = Script::new(Some(only));
        let happens = |source| script.happens(source, "it");
        assert!(!happens("chaos") && happens("chaos") && happens("network"));
        assert!(!happens("chaos"));
        let names = script.happened().into_iter().map(|it| it.name);
        assert_eq!(names.collect::<Vec<_>>(), ["chaos-2", "network-1"]);
        assert!(Script::default().happens("chaos", "it"));
    }
}
