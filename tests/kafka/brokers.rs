//! The harness's own trials: brokers come up, go down, come back, and never outlive their test.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::fleet::Fleet;
use crate::support::guarded::Guarded;
use crate::support::java::{Jdk, folder};
use crate::support::kafka::Kafka;
use crate::support::probe;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    vec![
        Trial::test("support::a_guarded_process_ends_with_its_handle", || {
            a_guarded_process_ends_with_its_handle();
            Ok(())
        }),
        fleet.on_one("a_single_broker_comes_up", a_single_broker_comes_up),
        fleet.on_three("a_killed_broker_comes_back", a_killed_broker_comes_back),
    ]
}

fn a_guarded_process_ends_with_its_handle() {
    let log = folder().join(format!("guard-{}.log", std::process::id()));
    let script = ["-c", "echo $$; exec sleep 600"];
    let guarded = Guarded::start("sh", &script, &log, &log).expect("sh starts");
    let id = first_line(&log);
    assert!(
        Path::new(&format!("/proc/{id}")).exists(),
        "the command runs"
    );
    drop(guarded);
    assert!(
        !Path::new(&format!("/proc/{id}")).exists(),
        "the command is gone when the handle is"
    );
    fs::remove_file(log).expect("the log was there");
}

/// Waits for the first whole line of a file that a process is about to write.
fn first_line(path: &Path) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Some((line, _)) = text.split_once('\n') {
            return line.to_owned();
        }
        assert!(Instant::now() < end, "no line in {}", path.display());
        sleep(Duration::from_millis(10));
    }
}

fn a_single_broker_comes_up(_: &Jdk, kafka: &Kafka) {
    let (ids, controller) = probe::brokers(&kafka.bootstrap()).expect("it answers");
    assert_eq!((ids, controller), (vec![1], 1));
}

fn a_killed_broker_comes_back(_: &Jdk, kafka: &Kafka) {
    let bootstrap = kafka.bootstrap();
    let addresses: Vec<&str> = bootstrap.split(',').collect();
    assert_eq!(addresses.len(), kafka.len());
    kafka.kill(2);
    assert!(
        probe::brokers(addresses[1]).is_err(),
        "a killed broker does not answer"
    );
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let known = probe::brokers(addresses[0]).map(|(ids, _)| ids);
        if matches!(known.as_deref(), Ok([1, 3])) {
            break;
        }
        assert!(Instant::now() < end, "the others never noticed: {known:?}");
        sleep(Duration::from_millis(100));
    }
    kafka.restart(2).expect("it comes back");
    assert_eq!(
        probe::brokers(addresses[1]).expect("it answers").0,
        [1, 2, 3]
    );
}
