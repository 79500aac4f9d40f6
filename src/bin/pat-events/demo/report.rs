//! What the demo comes to. In: what was sent and what the witness saw. Out: a table, a line of JSON, a verdict.

use std::fmt;
use std::time::Duration;

use pat_events::events::EventSet;
use pat_events::events::email::EmailEvents;
use serde_json::{Map, Value, json};

use super::histogram::Histogram;
use super::ledger::Counts;
use super::witness::Findings;
use crate::Outcome;

/// What one run came to.
#[derive(Debug)]
pub struct Report {
    sent: u64,
    counts: Counts,
    unreadable: u64,
    by_type: [u64; EmailEvents::TYPES.len()],
    lag: Histogram,
    produce_events_per_s: f64,
    consume_events_per_s: f64,
    troubles: Vec<String>,
}

impl Report {
    pub fn new(
        sent: u64,
        findings: &Findings,
        produced_in: Duration,
        handled_in: Duration,
    ) -> Report {
        let per_s = |events: u64, time: Duration| events as f64 / time.as_secs_f64().max(1e-9);
        let counts = findings.counts();
        Report {
            sent,
            counts,
            unreadable: findings.unreadable,
            by_type: findings.by_type,
            lag: findings.lag.clone(),
            produce_events_per_s: per_s(sent, produced_in),
            consume_events_per_s: per_s(counts.distinct, handled_in),
            troubles: Vec::new(),
        }
    }

    /// Adds what went wrong beside the events.
    pub fn add_trouble(&mut self, trouble: String) {
        self.troubles.push(trouble);
    }

    /// One line for machines.
    pub fn json(&self) -> Value {
        let by_type = EmailEvents::TYPES
            .iter()
            .zip(self.by_type)
            .map(|(name, count)| (name.to_string(), count.into()));
        json!({
            "events_sent": self.sent,
            "events_handled": self.counts.distinct + self.counts.duplicates,
            "missing": self.missing(),
            "duplicates": self.counts.duplicates,
            "out_of_order": self.counts.out_of_order,
            "unreadable": self.unreadable,
            "produce_events_per_s": self.produce_events_per_s.round(),
            "consume_events_per_s": self.consume_events_per_s.round(),
            "lag_p50_ms": self.lag.percentile_ms(0.5),
            "lag_p99_ms": self.lag.percentile_ms(0.99),
            "lag_max_ms": self.lag.max_ms(),
            "events_by_type": Map::from_iter(by_type),
        })
    }

    /// An error unless every event was handled once and in the order of its key, and nothing else went wrong.
    pub fn verdict(&self) -> Outcome {
        let Counts {
            duplicates,
            out_of_order,
            ..
        } = self.counts;
        let mut wrong = self.troubles.clone();
        let (missing, unreadable) = (self.missing(), self.unreadable);
        if (missing, duplicates, out_of_order, unreadable) != (0, 0, 0, 0) {
            wrong.push(format!("{missing} events missing, {duplicates} doubled, {out_of_order} out of order, {unreadable} unreadable"));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(wrong.join("; ").into()),
        }
    }

    fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.counts.distinct)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in EmailEvents::TYPES.iter().zip(self.by_type) {
            writeln!(f, "{name:<42}{count:>14}")?;
        }
        writeln!(f)?;
        writeln!(f, "{:<42}{:>14}", "events sent", self.sent)?;
        writeln!(
            f,
            "{:<42}{:>14}",
            "events handled",
            self.counts.distinct + self.counts.duplicates
        )?;
        writeln!(
            f,
            "{:<42}{:>14.0}",
            "produced, events/s", self.produce_events_per_s
        )?;
        writeln!(
            f,
            "{:<42}{:>14.0}",
            "consumed, events/s", self.consume_events_per_s
        )?;
        for (name, ms) in [
            ("lag p50, ms", self.lag.percentile_ms(0.5)),
            ("lag p99, ms", self.lag.percentile_ms(0.99)),
            ("lag max, ms", self.lag.max_ms()),
        ] {
            writeln!(f, "{name:<42}{ms:>14.3}")?;
        }
        let Counts {
            duplicates,
            out_of_order,
            ..
        } = self.counts;
        writeln!(f, "{:<42}{:>14}", "missing", self.missing())?;
        writeln!(f, "{:<42}{duplicates:>14}", "duplicates")?;
        writeln!(f, "{:<42}{out_of_order:>14}", "out of order")?;
        if self.verdict().is_ok() {
            writeln!(
                f,
                "\nEach event was handled once, and those of a key in their order."
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(counts: Counts) -> Report {
        Report {
            sent: 10,
            counts,
            unreadable: 0,
            by_type: Default::default(),
            lag: Histogram::default(),
            produce_events_per_s: 1.0,
            consume_events_per_s: 1.0,
            troubles: Vec::new(),
        }
    }

    #[test]
    fn the_verdict_is_good_only_for_each_event_once_and_in_order() {
        let good = Counts {
            distinct: 10,
            ..Counts::default()
        };
        assert!(report(good).verdict().is_ok());
        assert!(
            report(Counts {
                distinct: 9,
                ..good
            })
            .verdict()
            .is_err()
        );
        assert!(
            report(Counts {
                duplicates: 1,
                ..good
            })
            .verdict()
            .is_err()
        );
        assert!(
            report(Counts {
                out_of_order: 1,
                ..good
            })
            .verdict()
            .is_err()
        );
    }
    #[test]
    fn a_trouble_is_told_before_what_came_of_it() {
        let mut report = report(Counts {
            distinct: 9,
            ..Counts::default()
        });
        report.add_trouble("the consumer stopped".into());
        let verdict = report.verdict().expect_err("a trouble").to_string();
        assert!(
            verdict.starts_with("the consumer stopped; 1 events missing"),
            "{verdict}"
        );
    }
}
