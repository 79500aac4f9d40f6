//! What the demo comes to. In: what was sent and what the handler saw. Out: a table, a line of JSON, a verdict.

use std::fmt;
use std::time::Duration;

use pat_events::events::EventSet;
use pat_events::events::email::EmailEvents;
use serde_json::{Map, Value, json};

use super::delivery_checker::Counts;
use super::histogram::Histogram;
use super::progress::MOST_UNDER_WAY;
use super::send_outcomes::Lost;
use super::verifying_handler::Findings;
use crate::Outcome;
use crate::table::{Table, grouped};

/// How long the longest bar of the histogram is.
const BAR: u64 = 48;

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
    phases: Vec<Phase>,
    lost: Lost,
    problems: Vec<String>,
}

/// How fast events went, all that could go or so many a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phase {
    pub rate: Option<u64>,
    pub sent: u64,
    pub sent_in: Duration,
    pub handled: u64,
    pub handled_in: Duration,
}

impl Phase {
    /// What a phase at this rate is called.
    pub fn name_of(rate: Option<u64>) -> String {
        match rate {
            Some(rate) => format!("{} events/s", grouped(rate)),
            None => "full speed".to_owned(),
        }
    }

    fn sent_per_s(&self) -> f64 {
        self.sent as f64 / self.sent_in.as_secs_f64().max(1e-9)
    }

    fn handled_per_s(&self) -> f64 {
        self.handled as f64 / self.handled_in.as_secs_f64().max(1e-9)
    }
}

impl Report {
    pub fn new(sent: u64, findings: &Findings, phases: &[Phase], lost: Lost) -> Report {
        Report {
            sent,
            counts: findings.counts(),
            unreadable: findings.unreadable,
            by_type: findings.by_type,
            lag: findings.lag.clone(),
            paced_lag: findings.paced_lag.clone(),
            phases: phases.to_vec(),
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
        let first = self.phases.first().copied().unwrap_or_default();
        let histogram =
            self.figure().bars().into_iter().map(
                |bar| json!({"from_ms": bar.from_ms, "to_ms": bar.to_ms, "events": bar.count}),
            );
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
            "produce_events_per_s": first.sent_per_s().round(),
            "consume_events_per_s": first.handled_per_s().round(),
            "lag_p50_ms": self.lag.percentile_ms(0.5),
            "lag_p99_ms": self.lag.percentile_ms(0.99),
            "lag_max_ms": self.lag.max_ms(),
            "paced_events": self.paced_lag.count(),
            "paced_lag_p50_ms": self.paced_lag.percentile_ms(0.5),
            "paced_lag_p99_ms": self.paced_lag.percentile_ms(0.99),
            "paced_lag_max_ms": self.paced_lag.max_ms(),
            "lag_histogram": histogram.collect::<Vec<_>>(),
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

    /// The lag that people look for: at a steady pace, where there was one.
    fn figure(&self) -> &Histogram {
        match self.paced_lag.count() {
            0 => &self.lag,
            _ => &self.paced_lag,
        }
    }

    /// The events by their types.
    fn types(&self) -> Table {
        let mut table = Table::new(&["EVENT", "HANDLED"]);
        for (name, count) in EmailEvents::TYPES.iter().zip(self.by_type) {
            table.line(vec![name.to_string(), grouped(count)]);
        }
        let handled = self.counts.distinct + self.counts.duplicates;
        table.line(vec!["all".to_owned(), grouped(handled)]);
        table
    }

    /// Rates and lags of each phase, that with the figure first.
    fn speeds(&self) -> Table {
        let titles = [
            "PHASE",
            "EVENTS",
            "SENT/S",
            "HANDLED/S",
            "LAG",
            "P50 ms",
            "P99 ms",
            "MAX ms",
        ];
        let mut table = Table::new(&titles);
        for phase in self.phases.iter().rev() {
            let is_paced = self.phases.len() > 1 && phase.rate.is_some();
            let lag = if is_paced { &self.paced_lag } else { &self.lag };
            let means = match phase.rate {
                Some(_) => "of an event",
                None => "in the queue",
            };
            let ms = |ms: f64| format!("{ms:.2}");
            table.line(vec![
                Phase::name_of(phase.rate),
                grouped(phase.sent),
                grouped(phase.sent_per_s() as u64),
                grouped(phase.handled_per_s() as u64),
                means.to_owned(),
                ms(lag.percentile_ms(0.5)),
                ms(lag.percentile_ms(0.99)),
                ms(lag.max_ms()),
            ]);
        }
        table
    }

    /// How often which lag came.
    fn histogram(&self) -> Table {
        let mut table = Table::new(&["LAG, ms", "EVENTS", ""]);
        let bars = self.figure().bars();
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
        for bar in bars {
            // One at least, where there is any.
            let long = (bar.count * BAR).div_ceil(most) as usize;
            let upto = format!("{} - {}", bar.from_ms, bar.to_ms);
            table.line(vec![upto, grouped(bar.count), "█".repeat(long)]);
        }
        table
    }

    fn missing(&self) -> u64 {
        self.sent.saturating_sub(self.counts.distinct)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}", self.types(), self.speeds())?;
        if self.figure().count() > 0 {
            let of = match self.phases.last().and_then(|phase| phase.rate) {
                Some(rate) => format!("at {}", Phase::name_of(Some(rate))),
                None => "in the queue".to_owned(),
            };
            writeln!(
                f,
                "Lag {of}, from the creation of an event to its handling:\n"
            )?;
            writeln!(f, "{}", self.histogram())?;
        }
        if self.phases.iter().any(|phase| phase.rate.is_none()) {
            let most = grouped(MOST_UNDER_WAY);
            writeln!(
                f,
                "At full speed up to {most} events wait at once: their lag is the length of that queue.\n"
            )?;
        }
        let Counts {
            duplicates,
            out_of_order,
            ..
        } = self.counts;
        let mut found = vec![
            ("sent", self.sent),
            ("missing", self.missing()),
            ("duplicates", duplicates),
            ("out of order", out_of_order),
        ];
        if self.lost.unknown > 0 {
            found.push(("of unknown outcome", self.lost.unknown));
        }
        let found = found
            .into_iter()
            .map(|(what, count)| format!("{what} {}", grouped(count)));
        writeln!(f, "{}", found.collect::<Vec<_>>().join(", "))?;
        if self.verdict().is_ok() {
            writeln!(
                f,
                "Each event was handled once, and those of a key in their order."
            )?;
        }
        Ok(())
    }
}

/// A report of a run that never was.
#[cfg(test)]
pub fn made_up() -> Report {
    let mut report = Report {
        sent: 200_000,
        counts: Counts {
            distinct: 200_000,
            ..Counts::default()
        },
        unreadable: 0,
        by_type: [
            21_875, 25_000, 25_000, 25_000, 25_000, 25_000, 28_125, 25_000,
        ],
        lag: Histogram::default(),
        paced_lag: Histogram::default(),
        phases: vec![
            Phase {
                rate: None,
                sent: 197_000,
                sent_in: Duration::from_millis(412),
                handled: 197_000,
                handled_in: Duration::from_millis(547),
            },
            Phase {
                rate: Some(1_000),
                sent: 3_000,
                sent_in: Duration::from_millis(3_000),
                handled: 3_000,
                handled_in: Duration::from_millis(3_000),
            },
        ],
        lost: Lost::default(),
        problems: Vec::new(),
    };
    (0..197_000).for_each(|event| report.lag.record(2_000 + event * 13 / 16));
    for event in 0..3_000 {
        let part = f64::from(event) / 3_000.0;
        let tail = (1.0 - part).max(1e-3).powf(-0.5);
        report
            .paced_lag
            .record(((230.0 + 260.0 * part) * tail) as u64);
    }
    report
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
            phases: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn a_table_has_heads_and_thousands_and_says_which_lag_is_a_queue() {
        let text = made_up().to_string();
        for line in [
            "EVENT                                   HANDLED",
            "api.events.v1.EmailReceived              21,875",
            "all                                     200,000",
            "PHASE            EVENTS   SENT/S  HANDLED/S  LAG           P50 ms  P99 ms  MAX ms",
            "1,000 events/s    3,000    1,000      1,000  of an event",
            "full speed      197,000",
            "Lag at 1,000 events/s, from the creation of an event to its handling:",
            "At full speed up to 100,000 events wait at once: their lag is the length of that queue.",
            "sent 200,000, missing 0, duplicates 0, out of order 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        let told = made_up().json();
        let bars = told["lag_histogram"].as_array().expect("bars");
        let events: u64 = bars.iter().filter_map(|bar| bar["events"].as_u64()).sum();
        assert_eq!(events, 3_000);
        for name in [
            "produce_events_per_s",
            "consume_events_per_s",
            "lag_p50_ms",
            "paced_lag_max_ms",
        ] {
            assert!(told[name].as_f64().is_some_and(|it| it > 0.0), "{name}");
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
