//! Topics created, altered, deleted, listed and described.

use serde_json::json;

use crate::{json_lines, place, texts};

#[test]
fn each_topic_has_its_own_result_and_the_exit_status_says_that_some_failed() {
    let place = place();
    place.topic("there", 1, "");
    let ended = place.end_of(
        "topics",
        &["create", "new", "there", "also-new", "-p", "2"],
        b"",
    );
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert_eq!(ended.text(), "created: also-new\ncreated: new\n");
    assert!(ended.errors.contains("TOPIC_ALREADY_EXISTS"), "{ended:?}");
    assert!(ended.errors.contains("error: 1 of 3 failed"), "{ended:?}");
    let ended = place.end_of("topics", &["delete", "new", "missing", "--json"], b"");
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let lines = json_lines(&ended.text());
    assert_eq!(lines[0], json!({"topic": "new", "deleted": true}));
    assert_eq!(lines[1]["error_code"], "UNKNOWN_TOPIC_OR_PARTITION");
    let ended = place.end_of("topics", &["delete", "missing"], b"");
    assert_eq!(ended.status, Some(1), "nothing was done: {ended:?}");
    assert!(ended.errors.contains("missing"), "{ended:?}");
}

#[test]
fn what_may_be_there_or_missing_is_no_failure() {
    let place = place();
    let create = ["create", "t", "-p", "3", "--if-not-exists"];
    assert_eq!(place.run("topics", &create), "created: t\n");
    assert_eq!(place.run("topics", &create), "there already: t\n");
    assert_eq!(place.broker.log("t", 2).map(|log| log.end_offset), Some(0));
    let delete = ["delete", "t", "missing", "--if-exists"];
    assert_eq!(place.run("topics", &delete), "deleted: t\n");
    assert_eq!(place.run("topics", &delete), "");
}

#[test]
fn a_pattern_names_topics_and_a_dry_run_changes_none() {
    let place = place();
    for name in ["mails", "mails.dlq", "orders"] {
        place.topic(name, 1, "");
    }
    let listed = place.run("topics", &["list", "^mails"]);
    assert_eq!(listed, "mails\nmails.dlq\n");
    let dry = ["delete", "^mails", "--dry-run"];
    assert_eq!(
        place.run("topics", &dry),
        "would be deleted: mails\nwould be deleted: mails.dlq\n"
    );
    assert_eq!(place.run("topics", &["list"]), "mails\nmails.dlq\norders\n");
    let created = place.run(
        "topics",
        &["create", "dry", "--dry-run", "-p", "2", "-r", "1"],
    );
    assert_eq!(created, "could be created: dry\n");
    place.run("topics", &["delete", r"^mails(\.dlq)?$"]);
    assert_eq!(place.run("topics", &["list"]), "orders\n");
}

#[test]
fn topics_are_described_as_tables_and_as_json() {
    let place = place();
    place.topic("a", 2, "");
    let table = place.run("topics", &["describe", "a"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("TOPIC  PARTITION  LEADER  REPLICAS"),
        "{table}"
    );
    assert_eq!(lines.len(), 3, "{table}");
    let json = place.json("topics", &["describe", "a"]);
    assert_eq!(json[0]["partitions"][1]["partition"], 1);
    assert_eq!(json[0]["replication_factor"], 1);
    let long = place.run("topics", &["list", "--long"]);
    assert!(long.starts_with("TOPIC  PARTITIONS  REPLICAS"), "{long}");
    // All replicas are in sync, and each partition has a leader.
    for filter in ["--under-replicated", "--unavailable"] {
        assert_eq!(place.run("topics", &["describe", filter]), "");
    }
    assert_eq!(texts(&place.json("topics", &["list"]), "topic"), ["a"]);
}

#[test]
fn what_is_wrong_with_the_command_line_is_told_before_brokers_are_looked_for() {
    for (arguments, words) in [
        (&["topics", "alter", "t"][..], "nothing to change"),
        (
            &["topics", "alter", "t", "-c", "a=1", "--unset", "a"],
            "a is to be changed twice",
        ),
        (
            &["groups", "reset-offsets", "g", "--to-earliest"],
            "--topic TOPIC[:PARTITIONS]",
        ),
        (
            &["delete-records", "--offset-json-file", "/no/such/file"],
            "/no/such/file: ",
        ),
        (
            &["configs", "describe", "broker", "one"],
            "\"one\" is no id of a broker",
        ),
    ] {
        let ended = crate::end_of(
            &[arguments, &["-F", "none", "-b", "127.0.0.1:1"]].concat(),
            b"",
        );
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.errors.contains(words), "{arguments:?}: {ended:?}");
    }
}
