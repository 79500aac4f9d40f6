//! The measured window: wall clock, CPU time and memory of this process. In: what was done in it. Out: the line of JSON.

use std::fmt::Write;
use std::time::Instant;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::Bench;
use crate::Outcome;

/// From `start` to `report`.
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
}

impl Window {
    pub fn start() -> Outcome<Window> {
        Ok(Window {
            start: Instant::now(),
            usage: getrusage(UsageWho::RUSAGE_SELF)?,
        })
    }

    /// The line for what was done between the start and now.
    pub fn report(&self, bench: &Bench, mut done: Done) -> Outcome<String> {
        let wall_s = self.start.elapsed().as_secs_f64();
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let user_s = seconds(usage.user_time()) - seconds(self.usage.user_time());
        let sys_s = seconds(usage.system_time()) - seconds(self.usage.system_time());
        done.latencies_ns.sort_unstable();
        let us = |part| percentile(&done.latencies_ns, part) as f64 / 1e3;
        let mut line = String::new();
        write!(
            line,
            "{{\"client\":\"pat-events\",\"version\":\"{}\",\"mode\":\"{}\",\"compression\":\"{}\",\"records\":{},\"bytes\":{},\"check\":{}",
            env!("CARGO_PKG_VERSION"),
            format!("{:?}", bench.mode).to_lowercase(),
            bench.compression,
            done.records,
            done.bytes,
            done.check,
        )?;
        write!(
            line,
            ",\"wall_s\":{wall_s:.6},\"user_s\":{user_s:.6},\"sys_s\":{sys_s:.6},\"cpu_s\":{:.6},\"rss_mb\":{:.1}",
            user_s + sys_s,
            peak_resident_mb(&usage),
        )?;
        write!(
            line,
            ",\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1},\"max_us\":{:.1}}}",
            us(0.5),
            us(0.99),
            us(0.999),
            us(1.0),
        )?;
        Ok(line)
    }
}

/// The value below which this part of sorted values lies; 0 when there are none.
pub fn percentile(sorted: &[u64], part: f64) -> u64 {
    let at = (sorted.len() as f64 * part) as usize;
    sorted.get(at).or(sorted.last()).copied().unwrap_or(0)
}

fn seconds(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// What Linux calls `VmHWM`; `ru_maxrss` (KiB) where there is no such file. They differ after a fork: a child inherits the latter.
fn peak_resident_mb(usage: &Usage) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = kib.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(usage.max_rss() as f64) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u64> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), 51);
        assert_eq!(percentile(&values, 0.99), 100);
        assert_eq!(percentile(&values, 1.0), 100);
        assert_eq!(percentile(&[], 0.5), 0);
    }
}
