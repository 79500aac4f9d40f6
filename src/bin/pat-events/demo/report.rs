//! What the demo comes to. In: what was sent and what the handler saw. Out: a table, a line of JSON, a verdict.

use std::fmt;
use std::time::Duration;

use pat_events::events::EventSet;
use pat_events::events::email::EmailEvents;
use serde_json::{Map, Value, json};

use super::delivery_checker::Counts;
use super::histogram::Histogram;
use super::send_outcomes::Lost;
use super::verifying_handler::Findings;
use crate::Outcome;

/// What one run came to.
#[derive(Debug)]
pub struct Report {
    sent: u64,
    counts: Counts,
    unreadable: u64,
    by_type: [u64; EmailEvents::TYPES.len()],
    lag: Histogram,
    /// Of the events that were sent at a steady pace.
    paced_lag: Histogram,
    produce_events_per_s: f64,
    consume_events_per_s: f64,
    lost: Lost,
    problems: Vec<String>,
}

/// How fast events went before the steady pace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    pub sent: u64,
    pub produced_in: Duration,
    pub handled: u64,
    pub handled_in: Duration,
}

impl Report {
    pub fn new(sent: u64, findings: &Findings, speed: Speed, lost: Lost) -> Report {
        let per_s = |events: u64, time: Duration| events as f64 / time.as_secs_f64().max(1e-9);
        Report {
            sent,
            counts: findings.counts(),
            unreadable: findings.unreadable,
            by_type: findings.by_type,
            lag: findings.lag.clone(),
            paced_lag: findings.paced_lag.clone(),
            produce_events_per_s: per_s(speed.sent, speed.produced_in),
            consume_events_per_s: per_s(speed.handled, speed.handled_in),
            lost,
            problems: Vec::new(),
        }
    }

    /// Adds what went wrong beside the events.
    pub fn add_problem(&mut self, problem: String) {
        self.problems.push(problem);
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
            "paced_events": self.paced_lag.count(),
            "paced_lag_p50_ms": self.paced_lag.percentile_ms(0.5),
            "paced_lag_p99_ms": self.paced_lag.percentile_ms(0.99),
            "paced_lag_max_ms": self.paced_lag.max_ms(),
            "not_written": self.lost.not_written,
            "unknown_outcome": self.lost.unknown,
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
        let mut wrong = self.problems.clone();
        let (missing, unreadable) = (self.missing(), self.unreadable);
        if (missing, duplicates, out_of_order, unreadable) != (0, 0, 0, 0) {
            wrong.push(format!("{missing} events missing, {duplicates} doubled, {out_of_order} out of order, {unreadable} unreadable"));
        }
        let Lost {
            not_written,
            unknown,
            first,
        } = &self.lost;
        if let Some(first) = first {
            wrong.push(format!("of what was sent {not_written} events were not written, and {unknown} may or may not have been: {first}"));
        } else if *unknown > 0 {
            wrong.push(format!(
                "of what was sent {unknown} events may or may not have been written"
            ));
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
        let all = match self.paced_lag.count() {
            0 => "lag",
            _ => "lag at full speed",
        };
        for (what, lag) in [(all, &self.lag), ("lag at a steady pace", &self.paced_lag)] {
            if lag.count() == 0 {
                continue;
            }
            for (part, ms) in [
                ("p50", lag.percentile_ms(0.5)),
                ("p99", lag.percentile_ms(0.99)),
                ("max", lag.max_ms()),
            ] {
                let name = format!("{what} {part}, ms");
                writeln!(f, "{name:<42}{ms:>14.3}")?;
            }
        }
        let Counts {
            duplicates,
            out_of_order,
            ..
        } = self.counts;
        writeln!(f, "{:<42}{:>14}", "missing", self.missing())?;
        if self.lost.unknown > 0 {
            writeln!(f, "{:<42}{:>14}", "of unknown outcome", self.lost.unknown)?;
        }
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
            paced_lag: Histogram::default(),
            lost: Lost::default(),
            produce_events_per_s: 1.0,
            consume_events_per_s: 1.0,
            problems: Vec::new(),
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
    fn a_problem_is_told_before_what_came_of_it() {
        let mut report = report(Counts {
            distinct: 9,
            ..Counts::default()
        });
        report.add_problem("the consumer stopped".into());
        let verdict = report.verdict().expect_err("a problem").to_string();
        assert!(
            verdict.starts_with("the consumer stopped; 1 events missing"),
            "{verdict}"
        );
    }

    #[test]
    fn what_is_missing_is_told_with_what_the_producer_knows_of_it() {
        let mut report = report(Counts {
            distinct: 7,
            ..Counts::default()
        });
        report.lost = Lost {
            not_written: 1,
            unknown: 2,
            first: Some("the connection was reset".into()),
        };
        let verdict = report.verdict().expect_err("missing events").to_string();
        for part in [
            "3 events missing",
            "1 events were not written",
            "2 may or may not",
            "reset",
        ] {
            assert!(verdict.contains(part), "{verdict}");
        }
        assert_eq!(report.json()["unknown_outcome"], 2);
        assert!(report.to_string().contains("of unknown outcome"));
    }
}
