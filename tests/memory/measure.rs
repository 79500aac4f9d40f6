//! Measures how much memory a client takes at most. In: the name of a case, and the address of a broker that lives in the process of the test.
//! Out: the peak of a process of its own, this test program once more, that runs only the case; so that neither the broker nor another test
//! counts.

use std::process::Command;
use std::time::Duration;

use crate::process_status::kilobytes;

/// Tells the child which case to run, and against which broker.
const CASE: &str = "PAT_EVENTS_MEMORY_CASE";
const BROKER: &str = "PAT_EVENTS_MEMORY_BROKER";
/// How long a case may take: it is there to be found hanging. For each GiB that it reads, so much more.
const LIMIT: Duration = Duration::from_secs(50);
const LIMIT_A_GIB: Duration = Duration::from_secs(120);
const MARK: &str = "peak of the case in kB: ";

/// What a process may take beyond its budget, whatever the case: stacks that are touched for the first time, what is kept in pools of frames and
/// of buffers, the codecs' own state, and what the allocator keeps. The program's own pages are not counted: their number is a matter of how it
/// was built, and they are a file's.
const CONSTANT: usize = 8 << 20;
/// With several threads glibc's allocator keeps more the longer it goes on: an arena for each, and in it buffers of megabytes once one was freed. It
/// is told not to: what the client takes is measured, not that. Without it the same cases took 44 to 76 MiB.
const ALLOCATOR: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "262144");
/// How the names of cases begin that have several threads.
const THREADS: &str = "threads: ";

/// Runs `case` in a process of its own against `broker`, and fails when its peak is above `budget` and the constant.
pub async fn stays_within(budget: usize, case: &'static str, broker: String) {
    if !cfg!(target_os = "linux") {
        eprintln!("SKIPPED, {case}: the peak is read from /proc/self/status, which is Linux's");
        return;
    }
    let child = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().expect("this program"));
        if case.starts_with(THREADS) {
            child.env(ALLOCATOR.0, ALLOCATOR.1);
        }
        child
            .args(["child", "--exact", "--nocapture"])
            .env(CASE, case)
            .env(BROKER, broker)
            .output()
            .expect("it runs once more")
    });
    let output = child.await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{case}: {said}{errors}");
    let peak = said.split(MARK).nth(1).and_then(|rest| rest.lines().next());
    let peak: usize = peak.and_then(|kb| kb.trim().parse().ok()).expect("a peak");
    let (peak_mib, most_mib) = (peak >> 10, (budget + CONSTANT) >> 20);
    println!("{case}: {peak_mib} MiB beyond the start, at most {most_mib}");
    assert!(
        peak_mib <= most_mib,
        "{case}: {peak_mib} MiB, over {most_mib}"
    );
}

/// How many GiB the cases that read for long are to read, where that was said.
pub fn gib() -> Option<u32> {
    let said = std::env::var("MEMORY_GIB").ok()?;
    Some(said.parse().expect("MEMORY_GIB is a number"))
}

/// In the child: runs the case that it was started for with `run`, and says what it took. Does nothing in the parent.
pub fn child(run: impl AsyncFnOnce(&str, &str)) {
    let (Ok(case), Ok(broker)) = (std::env::var(CASE), std::env::var(BROKER)) else {
        return;
    };
    let mut runtime = match case.starts_with(THREADS) {
        true => tokio::runtime::Builder::new_multi_thread(),
        false => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.enable_all().build().expect("a runtime");
    let before = kilobytes("VmRSS:");
    let program_before = kilobytes("RssFile:");
    runtime.block_on(async {
        let limit = LIMIT + LIMIT_A_GIB * gib().unwrap_or(0);
        tokio::time::timeout(limit, run(&case, &broker))
            .await
            .expect("in time");
    });
    let program = kilobytes("RssFile:").saturating_sub(program_before);
    println!(
        "{MARK}{}",
        kilobytes("VmHWM:").saturating_sub(before + program)
    );
}
