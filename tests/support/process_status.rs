//! How much memory this process takes, as Linux counts it.

/// A line of `/proc/self/status` that is a number of kB: `VmHWM:` is the peak, `VmRSS:` what it takes now.
pub fn kilobytes(line: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let value = status.lines().find_map(|text| text.strip_prefix(line));
    let number = value.and_then(|value| value.split_whitespace().next());
    number
        .and_then(|kb| kb.parse().ok())
        .expect("a number of kB")
}
