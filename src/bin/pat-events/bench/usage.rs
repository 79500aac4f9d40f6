//! What the system says of this process: CPU time and memory. In: nothing. Out: figures, or none where the system is not asked.

/// What the process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of the process itself, and of the system on its behalf, in seconds.
    pub cpu_s: Option<(f64, f64)>,
    /// The most memory that was resident, in MiB.
    pub peak_resident_mb: Option<f64>,
}

impl Usage {
    #[cfg(unix)]
    pub fn now() -> std::io::Result<Usage> {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeVal;

        /// `ru_maxrss` counts KiB, but on Apple's systems bytes.
        const MAX_RSS_PER_MB: f64 = if cfg!(target_vendor = "apple") {
            1024.0 * 1024.0
        } else {
            1024.0
        };
        let usage = getrusage(UsageWho::RUSAGE_SELF)?;
        let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        // What Linux calls `VmHWM`, where there is such a file. They differ after a fork: a child inherits the other.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = kib.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        let resident_mb = match kib {
            Some(kib) => kib / 1024.0,
            None => usage.max_rss() as f64 / MAX_RSS_PER_MB,
        };
        Ok(Usage {
            cpu_s: Some((seconds(usage.user_time()), seconds(usage.system_time()))),
            peak_resident_mb: Some(resident_mb),
        })
    }

    #[cfg(not(unix))]
    pub fn now() -> std::io::Result<Usage> {
        Ok(Usage::default())
    }
}
