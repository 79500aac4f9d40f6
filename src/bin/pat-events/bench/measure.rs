//! The measured window: wall clock, CPU time and memory of this process. In: what was done in it. Out: a line of JSON, or of a table.

use std::fmt;
use std::time::{Duration, Instant};

use super::usage::Usage;
use crate::Outcome;
use crate::table::grouped;

/// From `start` to `end`.
#[derive(Debug)]
pub struct Window {
    start: Instant,
    usage: Usage,
}

/// What was done in the window.
#[derive(Debug, Default)]
pub struct Done {
    pub records: u64,
    /// Keys plus values.
    pub bytes: u64,
    /// What clients are compared by: see each mode.
    pub check: u64,
    pub latencies_ns: Vec<u64>,
    /// How many records a transaction had, where they were written in transactions: there is a latency of each.
    pub transaction: Option<u64>,
    /// How many records were done by when, in seconds.
    pub timeline: Vec<(f64, u64)>,
}

/// The least time between two moments of a timeline, in seconds.
const MOMENTS: f64 = 0.05;

impl Done {
    /// So many records are done after this time. Costs next to nothing.
    pub fn mark(&mut self, after: Duration, records: u64) {
        let after = after.as_secs_f64();
        if self
            .timeline
            .last()
            .is_none_or(|(last, _)| after - last >= MOMENTS)
        {
            self.timeline.push((after, records));
        }
    }
}

/// What one run came to.
#[derive(Debug)]
pub struct Measured {
    pub mode: &'static str,
    pub compression: String,
    pub done: Done,
    wall_s: f64,
    /// Of the process itself, and of the system on its behalf.
    cpu_s: Option<(f64, f64)>,
    peak_resident_mb: Option<f64>,
}

impl Window {
    pub fn start() -> Outcome<Window> {
        Ok(Window {
            start: Instant::now(),
            usage: Usage::now()?,
        })
    }

    /// What was done between the start and now.
    pub fn end(&self, mode: &'static str, compression: &str, mut done: Done) -> Outcome<Measured> {
        let wall_s = self.start.elapsed().as_secs_f64();
        let usage = Usage::now()?;
        let spent = |(before, now): ((f64, f64), (f64, f64))| (now.0 - before.0, now.1 - before.1);
        done.latencies_ns.sort_unstable();
        Ok(Measured {
            mode,
            compression: compression.to_owned(),
            done,
            wall_s,
            cpu_s: self.usage.cpu_s.zip(usage.cpu_s).map(spent),
            peak_resident_mb: usage.peak_resident_mb,
        })
    }
}

impl Measured {
    /// One line of JSON, as the benchmark programs of all clients print it. What the system does not tell is null.
    pub fn json(&self) -> String {
        let Done {
            records,
            bytes,
            check,
            ..
        } = self.done;
        let number = |value: Option<f64>, places: usize| match value {
            Some(value) => format!("{value:.places$}"),
            None => "null".to_owned(),
        };
        let [user, sys] = [
            self.cpu_s.map(|(user, _)| user),
            self.cpu_s.map(|(_, sys)| sys),
        ];
        let cpu = self.cpu_s.map(|(user, sys)| user + sys);
        let us = |part| percentile(&self.done.latencies_ns, part) as f64 / 1e3;
        let transactions = self.done.transaction.map_or(String::new(), |size| {
            let count = self.done.latencies_ns.len();
            let per_s = count as f64 / self.wall_s.max(1e-9);
            format!(
                r#","transaction":{size},"transactions":{count},"transactions_per_s":{per_s:.1}"#
            )
        });
        [
            format!(
                r#"{{"client":"pat-events","version":"{}","mode":"{}","compression":"{}","records":{records},"bytes":{bytes},"check":{check}"#,
                env!("CARGO_PKG_VERSION"),
                self.mode,
                self.compression,
            ),
            transactions,
            format!(
                r#","wall_s":{:.6},"user_s":{},"sys_s":{},"cpu_s":{},"rss_mb":{}"#,
                self.wall_s,
                number(user, 6),
                number(sys, 6),
                number(cpu, 6),
                number(self.peak_resident_mb, 1),
            ),
            format!(
                r#","p50_us":{:.1},"p99_us":{:.1},"p999_us":{:.1},"max_us":{:.1}}}"#,
                us(0.5),
                us(0.99),
                us(0.999),
                us(1.0),
            ),
        ]
        .concat()
    }

    /// The titles of the columns of a table.
    pub fn titles() -> [&'static str; 9] {
        [
            "",
            "records",
            "records/s",
            "MB/s",
            "CPU µs/record",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
            "max µs",
        ]
    }

    /// The first line of a table.
    pub fn header() -> String {
        line(Self::titles())
    }

    /// What stands in the columns.
    pub fn cells(&self) -> [String; 9] {
        let records = self.done.records as f64;
        let per_s = |count: f64| count / self.wall_s.max(1e-9);
        let cpu = self
            .cpu_s
            .map(|(user, sys)| (user + sys) / records.max(1.0) * 1e6);
        let us = |part| match self.done.latencies_ns.is_empty() {
            true => "-".to_owned(),
            false => grouped(percentile(&self.done.latencies_ns, part) / 1_000),
        };
        [
            self.mode.to_owned(),
            grouped(self.done.records),
            grouped(per_s(records) as u64),
            format!("{:.1}", per_s(self.done.bytes as f64) / 1e6),
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.3}")),
            us(0.5),
            us(0.99),
            us(0.999),
            us(1.0),
        ]
    }
}

/// A line of the table.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells = self.cells();
        f.write_str(&line(cells.each_ref().map(String::as_str)))
    }
}

fn line(cells: [&str; 9]) -> String {
    let [name, numbers @ ..] = cells;
    let numbers = numbers.map(|number| format!("{number:>14}"));
    format!("{name:<12}{}", numbers.concat())
}

/// The value below which this part of sorted values lies; 0 when there are none.
pub fn percentile(sorted: &[u64], part: f64) -> u64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at).or(sorted.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), 51);
        assert_eq!(percentile(&values, 0.99), 100);
        assert_eq!(percentile(&values, 1.0), 100);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn the_line_is_json_also_where_the_system_tells_nothing() {
        for cpu_s in [None, Some((1.0, 0.5))] {
            let measured = Measured {
                mode: "produce",
                compression: "none".into(),
                done: Done {
                    records: 10,
                    ..Done::default()
                },
                wall_s: 2.0,
                cpu_s,
                peak_resident_mb: cpu_s.map(|_| 7.0),
            };
            let line: serde_json::Value = serde_json::from_str(&measured.json()).expect("JSON");
            assert_eq!(line["records"], 10);
            assert_eq!(line["cpu_s"].as_f64(), cpu_s.map(|(user, sys)| user + sys));
            let columns = |line: &str| line.chars().count();
            assert_eq!(columns(&measured.to_string()), columns(&Measured::header()));
        }
    }
}
