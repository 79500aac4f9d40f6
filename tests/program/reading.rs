//! `consume`: what is read, and how it is shown.

use serde_json::json;

use crate::{Place, json_lines, place};

const DATED: &[u8] = br#"{"value":"a","timestamp_ms":1000,"key":"k1","headers":[["h","1"]]}
{"value":"b","timestamp_ms":2000,"key":"k2","headers":[["h","2"]]}
{"value":"c","timestamp_ms":3000,"key":"other"}
"#;

fn dated() -> Place {
    let place = place();
    place.topic("t", 1, "");
    place.run_with("produce", &["-t", "t", "-J"], DATED);
    place
}

#[test]
fn several_topics_partitions_and_patterns_are_read() {
    let place = place();
    for (topic, partition, line) in [
        ("a.1", "0", "one"),
        ("a.1", "1", "two"),
        ("a.2", "0", "three"),
        ("b", "0", "four"),
    ] {
        if partition == "0" {
            place.topic(topic, 2, "");
        }
        place.run_with("produce", &["-t", topic, "-p", partition], line.as_bytes());
    }
    let read = |arguments: &[&str]| {
        let text = place.run("consume", &[arguments, &["-e"]].concat());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines.join(" ")
    };
    assert_eq!(read(&["-t", "a.1:1", "-t", "b"]), "four two");
    assert_eq!(read(&["a.1", "b", "-p", "0"]), "four one");
    assert_eq!(read(&["-t", r"^a\."]), "one three two");
    assert_eq!(read(&["-t", r"^a\.", "-G", "g"]), "one three two");
    assert_eq!(read(&["-t", r"^a\.", "-G", "g"]), "", "it was committed");
    let ended = place.end_of("consume", &["-t", "a.1:7", "-e"], b"");
    assert_eq!(ended.status, Some(1));
    assert!(
        ended
            .errors
            .contains("a.1 has 2 partitions, and none is number 7"),
        "{ended:?}"
    );
    let ended = place.end_of("consume", &["-t", "a.1:0", "-G", "g", "-e"], b"");
    assert!(
        ended.errors.contains("a group shares out all partitions"),
        "{ended:?}"
    );
}

#[test]
fn what_is_read_starts_and_stops_at_times() {
    let place = dated();
    let read = |places: &[&str]| {
        let places: Vec<&str> = places.iter().flat_map(|it| ["-o", it]).collect();
        place.run(
            "consume",
            &[&["-t", "t", "-f", "%s "], &places[..]].concat(),
        )
    };
    assert_eq!(read(&["s@2000", "e@3000"]), "b ");
    assert_eq!(read(&["s@1970-01-01T00:00:02Z", "e@-1h"]), "b c ");
    assert_eq!(read(&["e@2000"]), "a ");
    assert_eq!(read(&["-1", "e@now"]), "c ");
    for (places, words) in [
        (["s@1", "s@2"], "twice"),
        (["s@5", "e@2"], "before it starts"),
    ] {
        let arguments = ["-t", "t", "-o", places[0], "-o", places[1]];
        let ended = place.end_of("consume", &arguments, b"");
        assert_eq!(ended.status, Some(1));
        assert!(ended.errors.contains(words), "{ended:?}");
    }
}

#[test]
fn a_group_that_stops_at_a_time_goes_on_from_there() {
    let place = dated();
    let group = ["-t", "t", "-G", "g", "-f", "%s "];
    assert_eq!(
        place.run("consume", &[&group[..], &["-o", "e@2500"]].concat()),
        "a b "
    );
    assert_eq!(place.broker.committed_offset("g", "t", 0), Some(2));
    assert_eq!(place.run("consume", &[&group[..], &["-e"]].concat()), "c ");
}

#[test]
fn records_are_chosen_by_key_header_value_and_what_their_json_says() {
    let place = dated();
    let read = |arguments: &[&str]| {
        place.run(
            "consume",
            &[&["-t", "t", "-e", "-f", "%s "], arguments].concat(),
        )
    };
    assert_eq!(read(&["--key", "k2"]), "b ");
    assert_eq!(read(&["--key-matches", "^k"]), "a b ");
    assert_eq!(read(&["--with-header", "h"]), "a b ");
    assert_eq!(read(&["--with-header", "h=2"]), "b ");
    assert_eq!(
        read(&["--value-matches", "[bc]", "--key-matches", "^k"]),
        "b "
    );
    place.topic(
        "json",
        1,
        "{\"user\":{\"id\":7}}\nno JSON\n{\"user\":{\"id\":8}}\n",
    );
    let read = |condition: &str| {
        place.run(
            "consume",
            &["-t", "json", "-e", "-f", "%o ", "--where", condition],
        )
    };
    assert_eq!(read("$.user.id > 7"), "2 ");
    assert_eq!(read("$.user"), "0 2 ");
    let one = place.run(
        "consume",
        &[
            "-t",
            "json",
            "-c",
            "1",
            "-f",
            "%o ",
            "--where",
            "$.user.id = 8",
        ],
    );
    assert_eq!(one, "2 ", "those that are printed are counted");
    let ended = place.end_of("consume", &["-t", "json", "--where", "user"], b"");
    assert_eq!(ended.status, Some(2));
    assert!(ended.errors.contains("$.user.id"), "{ended:?}");
}

#[test]
fn bytes_are_unpacked_and_lengths_are_written_in_binary() {
    let place = place();
    place.topic("t", 1, "");
    let line = br#"{"key":{"hex":"0000000000000007"},"value":{"hex":"fffe0161"}}"#;
    place.run_with("produce", &["-t", "t", "-J"], line);
    let read = |arguments: &[&str]| {
        place.end_of("consume", &[&["-t", "t", "-e"], arguments].concat(), b"")
    };
    assert_eq!(
        read(&["-s", "key=q", "-s", "value=<h b s", "-f", "%k=%s"]).text(),
        "7=-257 1 a"
    );
    let json = json_lines(&read(&["-s", "key=>q", "-J"]).text());
    assert_eq!(json[0]["key"], json!(7));
    assert_eq!(read(&["-f", "%R"]).output, [0, 0, 0, 4]);
    assert_eq!(read(&["-D", ";", "-s", "value=b"]).text(), "-1;");
    let ended = read(&["-s", "value=q", "-f", "%S\n"]);
    assert_eq!(
        (ended.status, ended.text().as_str()),
        (Some(1), "4\n"),
        "it is shown all the same"
    );
    assert!(
        ended
            .errors
            .contains("the value of t-0@0 is shown as it is: it ends after 4 bytes"),
        "{ended:?}"
    );
    let ended = read(&["-s", "value=registry", "-r", "http://127.0.0.1:1"]);
    assert_eq!(ended.status, Some(1), "it names no schema");
}
