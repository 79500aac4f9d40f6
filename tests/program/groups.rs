//! Groups, their lag, and where they go on.

use std::fs;
use std::time::Duration;

use pat_events::kafka::{Consumer, ConsumerConfig};
use serde_json::{Value, json};

use crate::{Place, place};

/// A topic of which a group has read three of five records.
fn with_group() -> Place {
    let place = place();
    place.topic("t", 2, "1\n2\n3\n4\n5\n");
    place.run("consume", &["-t", "t", "-G", "g", "-c", "3"]);
    place
}

fn committed(place: &Place) -> Option<i64> {
    place.broker.committed_offset("g", "t", 0)
}

#[test]
fn lag_is_shown_by_partition_and_in_all() {
    let place = with_group();
    let groups = place.json("groups", &["list"]);
    assert_eq!(groups[0]["group"], "g");
    let described = place.json("groups", &["describe", "g"]);
    assert_eq!(
        (&described[0]["lag"], &described[0]["state"]),
        (&json!(2), &json!("Empty"))
    );
    let partition = &described[0]["partitions"][0];
    assert_eq!(
        (&partition["offset"], &partition["end"], &partition["lag"]),
        (&json!(3), &json!(5), &json!(2))
    );
    let table = place.run("groups", &["describe"]);
    assert!(
        table.starts_with("GROUP  TOPIC  PARTITION  OFFSET  END  LAG"),
        "{table}"
    );
    let states = place.run("groups", &["describe", "g", "--state"]);
    assert!(
        states
            .lines()
            .nth(1)
            .is_some_and(|line| line.trim_end().ends_with('2')),
        "{states}"
    );
    let ended = place.end_of("groups", &["list", "--state", "well"], b"");
    assert_eq!(ended.status, Some(2));
    assert!(
        ended.errors.contains("there are Stable, Empty"),
        "{ended:?}"
    );
}

#[test]
fn members_are_shown_with_what_they_have_and_keep_a_group_where_it_is() {
    let place = place();
    place.topic("t", 2, "");
    let config = ConsumerConfig::new(&place.broker.bootstrap_servers(), "g");
    let (described, refused) = place.runtime.block_on(async {
        let mut member = Consumer::connect(config).await.expect("a member");
        member.subscribe(&["t"]).await.expect("a topic");
        while member.assignment().len() < 2 {
            member
                .poll(Duration::from_millis(50))
                .await
                .expect("a poll");
        }
        let seen = tokio::task::block_in_place(|| {
            let described = place.json("groups", &["describe", "g", "--members"]);
            let reset = [
                "reset-offsets",
                "g",
                "-t",
                "t",
                "--to-earliest",
                "--execute",
            ];
            (described, place.end_of("groups", &reset, b""))
        });
        member.close().await.expect("it leaves");
        seen
    });
    let member = &described[0]["members"][0];
    assert_eq!(
        (&member["count"], &member["assignment"]),
        (&json!(2), &json!(["t-0", "t-1"]))
    );
    assert_eq!(refused.status, Some(1), "{refused:?}");
    assert!(
        refused.errors.contains("has 1 members: end them first"),
        "{refused:?}"
    );
}

#[test]
fn a_reset_only_shows_what_it_would_do_unless_it_is_to_be_done() {
    let place = with_group();
    let to = |arguments: &[&str]| {
        let reset = [&["reset-offsets", "g"], arguments].concat();
        let lines = place.json("groups", &reset);
        lines
            .iter()
            .map(|line| line["new_offset"].clone())
            .collect::<Vec<Value>>()
    };
    assert_eq!(to(&["-t", "t:0", "--to-earliest"]), [json!(0)]);
    assert_eq!(committed(&place), Some(3), "it was not to be done");
    assert_eq!(to(&["--all-topics", "--shift-by", "-2"]), [json!(1)]);
    assert_eq!(to(&["-t", "t:0", "--to-offset", "77"]), [json!(5)]);
    assert_eq!(to(&["-t", "t:0", "--by-duration", "PT1H"]), [json!(0)]);
    assert_eq!(
        to(&["-t", "t:0", "--to-datetime", "2100-01-01"]),
        [json!(5)]
    );
    assert_eq!(
        to(&["-t", "t", "--to-latest", "--execute"]),
        [json!(5), json!(0)]
    );
    assert_eq!(committed(&place), Some(5));
    assert_eq!(to(&["-t", "t:0", "--shift-by", "-4", "-x"]), [json!(1)]);
    assert_eq!(committed(&place), Some(1));
    let rest = place.run("consume", &["-t", "t", "-G", "g", "-e"]);
    assert_eq!(rest, "2\n3\n4\n5\n");
    // One that has committed nothing cannot be shifted.
    let ended = place.end_of(
        "groups",
        &["reset-offsets", "new", "-t", "t:0", "--shift-by", "1"],
        b"",
    );
    assert_eq!(ended.status, Some(1), "{ended:?}");
    assert!(
        ended
            .errors
            .contains("committed nothing that could be shifted"),
        "{ended:?}"
    );
}

#[test]
fn offsets_that_were_exported_are_set_again() {
    let place = with_group();
    let export = [
        "reset-offsets",
        "g",
        "--all-topics",
        "--to-current",
        "--export",
    ];
    let exported = place.run("groups", &export);
    assert_eq!(exported, "t,0,3\n");
    place.run(
        "groups",
        &["reset-offsets", "g", "-t", "t:0", "--to-earliest", "-x"],
    );
    assert_eq!(committed(&place), Some(0));
    let file = std::env::temp_dir().join(format!("pat-events-plan-{}.csv", std::process::id()));
    fs::write(&file, exported).expect("written");
    let path = file.display().to_string();
    place.run(
        "groups",
        &["reset-offsets", "g", "--from-file", &path, "-x"],
    );
    assert_eq!(committed(&place), Some(3));
    fs::write(&file, "t,0,x\n").expect("written");
    let ended = place.end_of("groups", &["reset-offsets", "g", "--from-file", &path], b"");
    fs::remove_file(&file).expect("removed");
    assert_eq!(ended.status, Some(1));
    assert!(
        ended
            .errors
            .contains("line 1: \"t,0,x\" is not topic,partition,offset"),
        "{ended:?}"
    );
}
