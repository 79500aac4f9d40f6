//! The error codes are Kafka's: number, name, and whether a retry makes sense.

use std::time::Duration;

use pat_kafka_protocol::ErrorCode;

use crate::support::java::Jdk;

const JAVA_WITHIN: Duration = Duration::from_secs(60);

pub fn compare(jdk: &Jdk) {
    let printed = jdk
        .run("ListErrors", &[], JAVA_WITHIN)
        .expect("Java prints its error codes");
    let line = |code: ErrorCode| format!("{} {} {}", code.0, code.name(), code.is_retriable());
    let ours: Vec<String> = ErrorCode::all().map(line).collect();
    let mut theirs: Vec<&str> = printed.lines().collect();
    theirs.sort_by_key(|line| {
        line.split(' ')
            .next()
            .and_then(|code| code.parse::<i16>().ok())
    });
    assert_eq!(ours, theirs);
    println!("error codes: {} compared", ours.len());
}
