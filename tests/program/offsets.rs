//! Where logs begin and end, and what is deleted of them.

use std::fs;

use serde_json::json;

use crate::place;

/// Three records, one a second after the other.
const DATED: &[u8] = br#"{"value":"a","timestamp_ms":1000}
{"value":"b","timestamp_ms":2000}
{"value":"c","timestamp_ms":3000}
"#;

#[test]
fn watermarks_and_times_are_found_for_the_partitions_that_are_named() {
    let place = place();
    place.topic("t", 3, "");
    place.topic("other", 1, "x\n");
    place.run_with("produce", &["-t", "t", "-p", "1", "-J"], DATED);
    let of = |arguments: &[&str], name: &str| {
        let lines = place.json("offsets", arguments);
        lines
            .iter()
            .map(|line| (line["partition"].clone(), line[name].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&["t:0,1"], "latest"),
        [(json!(0), json!(0)), (json!(1), json!(3))]
    );
    assert_eq!(
        of(&["t:1", "--time", "1500"], "offset"),
        [(json!(1), json!(1))]
    );
    assert_eq!(
        of(&["t:1", "--time", "1970-01-01T00:00:03Z"], "offset"),
        [(json!(1), json!(2))]
    );
    assert_eq!(
        of(&["t:1", "--time", "-1h"], "offset"),
        [(json!(1), json!(null))]
    );
    assert_eq!(
        of(&["t:1", "--time", "max-timestamp"], "timestamp_ms"),
        [(json!(1), json!(3000))]
    );
    assert_eq!(of(&["^oth"], "offsets"), [(json!(0), json!(1))]);
    assert_eq!(of(&[], "earliest").len(), 4);
    let table = place.run("offsets", &["t:1"]);
    assert_eq!(
        table,
        "TOPIC  PARTITION  EARLIEST  LATEST  OFFSETS\nt              1         0       3        3\n"
    );
    let ended = place.end_of("offsets", &["t:1,7"], b"");
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(
        ended
            .errors
            .contains("t has 3 partitions, and none is number 7"),
        "{ended:?}"
    );
}

#[test]
fn records_are_deleted_before_an_offset_a_time_or_all_and_not_by_a_dry_run() {
    let place = place();
    place.topic("t", 2, "");
    place.run_with("produce", &["-t", "t", "-p", "0", "-J"], DATED);
    let begins = || place.broker.log("t", 0).expect("a log").start_offset;
    place.run("delete-records", &["t:0", "--offset", "1", "--dry-run"]);
    assert_eq!(begins(), 0);
    let deleted = place.json("delete-records", &["t:0", "--offset", "1"]);
    assert_eq!(deleted[0]["log_start"], 1);
    place.run("delete-records", &["t:0", "--before", "2500"]);
    assert_eq!(begins(), 2);
    let file = std::env::temp_dir().join(format!("pat-events-offsets-{}.json", std::process::id()));
    let text = r#"{"partitions":[{"topic":"t","partition":0,"offset":-1}],"version":1}"#;
    fs::write(&file, text).expect("written");
    let path = file.display().to_string();
    place.run("delete-records", &["--offset-json-file", &path]);
    fs::remove_file(&file).expect("removed");
    assert_eq!(begins(), 3);
    let ended = place.end_of("delete-records", &["t:0,1", "--offset", "3"], b"");
    // The other one has no three records.
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.errors.contains("OFFSET_OUT_OF_RANGE"), "{ended:?}");
}
