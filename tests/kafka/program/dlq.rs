//! Dead letters looked at, replayed and deleted.

use super::*;

pub async fn dead_letters_are_listed_shown_replayed_and_purged(target: Target) {
    let brokers = target.bootstrap.as_str();
    for topic in ["buried", "buried.dlq"] {
        let create = ["topics", "-b", brokers, "create", topic, "-p", "1"];
        run(&create, None);
    }
    let letter = |key: &str, offset: usize, class: &str| {
        format!(
            r#"{{"key":"{key}","value":"{offset}","headers":[["ce_type","odd\u001bType"],["dlq.origin.topic","buried"],["dlq.origin.partition","0"],["dlq.origin.offset","{offset}"],["dlq.error.class","{class}"],["dlq.error.message","it is {class}"],["dlq.attempts","3"],["dlq.last.failure","1795698000000"]]}}"#
        )
    };
    let letters = [
        letter("a", 0, "poison"),
        letter("b", 1, "transient"),
        letter("a", 2, "poison"),
        r#"{"key":"a","value":"plain"}"#.to_string(),
    ];
    run(
        &["produce", "-b", brokers, "-t", "buried.dlq", "--json"],
        Some(&letters.join("\n")),
    );
    let dlq = |arguments: &[&str]| run(&[&["dlq", "-b", brokers], arguments].concat(), None);
    let table = dlq(&["list", "buried.dlq"]);
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 4, "{table}");
    for part in [
        "2026-11-26T13:00:00Z",
        "transient",
        "buried-0@1",
        r"odd\x1bType",
    ] {
        assert!(lines[2].contains(part), "{part} in {table}");
    }
    let json = dlq(&["list", "buried.dlq", "--json", "--key", "a", "-n", "1"]);
    assert!(json.contains(r#""error":"it is poison""#), "{json}");
    assert_eq!(json.lines().count(), 1, "{json}");
    assert_eq!(dlq(&["list", "buried.dlq", "--json", "--since", "10s"]), "");
    let shown = dlq(&["show", "buried.dlq", "0", "2"]);
    for part in [
        "buried partition 0 offset 2",
        "attempts       3",
        "value          2",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let error = fails(
        &["dlq", "-b", brokers, "show", "buried.dlq", "0", "3"],
        None,
    );
    assert!(error.contains("no dead letter"), "{error}");
    let dry = dlq(&["replay", "buried.dlq", "--dry-run"]);
    assert!(
        dry.starts_with("3 of 4 records would be replayed\n"),
        "{dry}"
    );
    let replayed = dlq(&["replay", "buried.dlq", "--class", "poison"]);
    assert!(
        replayed.starts_with("2 of 4 records replayed\n"),
        "{replayed}"
    );
    let purged = dlq(&["purge", "buried.dlq", "--replayed"]);
    assert_eq!(purged, "buried.dlq-0: offsets 0 to 0 deleted\n");
    let rest = dlq(&["replay", "buried.dlq", "--json"]);
    assert!(
        rest.contains(r#""replayed":1,"replayed_before":1,"#),
        "{rest}"
    );
    let read = ["consume", "-b", brokers, "-t", "buried", "-e"];
    let format = ["-f", r"%k %s %h\n"];
    let marked =
        |key: &str, value: &str| format!("{key} {value} ce_type=odd\u{1b}Type,dlq.replays=1\n");
    let wanted = [marked("a", "0"), marked("a", "2"), marked("b", "1")].concat();
    assert_eq!(run(&[&read[..], &format].concat(), None), wanted);
    let would = dlq(&["purge", "buried.dlq", "--all", "--dry-run", "--json"]);
    assert_eq!(
        would,
        "{\"dry_run\":true,\"purged\":{\"buried.dlq-0\":{\"from\":1,\"to\":4}}}\n"
    );
    dlq(&["purge", "buried.dlq", "--before", "0"]);
    dlq(&["purge", "buried.dlq", "--all"]);
    assert_eq!(dlq(&["list", "buried.dlq"]).lines().count(), 1);
}
