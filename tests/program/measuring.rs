//! `demo` and `bench`: what they print of runs, for people, for machines, and as a page.

use std::fs;

use crate::{end_of, json_lines};

#[test]
fn the_demo_tells_how_far_it_is_and_ends_with_a_table() {
    let ended = end_of(&["demo", "--events", "12000", "-F", "none"], b"");
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let text = ended.text();
    for line in [
        "EVENT                                   HANDLED",
        "all                                      12,000",
        "1,000 events/s   1,200",
        "full speed      10,800",
        "Lag at 1,000 events/s, from the creation of an event to its handling:",
        "LAG, ms",
        "█",
        "At full speed up to 100,000 events wait at once",
        "sent 12,000, missing 0, duplicates 0, out of order 0",
        "Each event was handled once, and those of a key in their order.",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    // No terminal: lines, and nothing that steers one.
    for line in [
        "full speed: 10,800 of 12,000 events handled, sent ",
        "1,000 events/s: 12,000 of 12,000 events handled, sent ",
        "/s, lag ",
    ] {
        assert!(ended.errors.contains(line), "{line} in\n{}", ended.errors);
    }
    assert!(!ended.errors.contains('\x1b') && !text.contains('\x1b'));
    let quiet = end_of(
        &[
            "demo", "--events", "200", "--rate", "1000", "-q", "-F", "none",
        ],
        b"",
    );
    assert_eq!((quiet.status, quiet.errors.as_str()), (Some(0), ""));
    assert!(!quiet.text().contains("At full speed"), "{quiet:?}");
}

#[test]
fn the_demo_prints_one_line_for_machines() {
    // What goes wrong is told without being asked for, and nothing does: the broker goes when its clients have gone.
    let ended = end_of(&["demo", "--events", "2000", "--json", "-F", "none"], b"");
    assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""));
    let [told] = &json_lines(&ended.text())[..] else {
        panic!("{ended:?}");
    };
    for name in [
        "events_sent",
        "events_handled",
        "missing",
        "duplicates",
        "out_of_order",
        "unreadable",
        "produce_events_per_s",
        "consume_events_per_s",
        "lag_p50_ms",
        "lag_p99_ms",
        "lag_max_ms",
        "paced_events",
        "paced_lag_p50_ms",
        "paced_lag_p99_ms",
        "paced_lag_max_ms",
        "not_written",
        "unknown_outcome",
    ] {
        assert!(told[name].is_number(), "{name} in {told}");
    }
    assert_eq!(
        (&told["events_sent"], &told["paced_events"]),
        (&2_000.into(), &200.into())
    );
    let bars = told["lag_histogram"].as_array().expect("bars");
    let events: u64 = bars.iter().filter_map(|bar| bar["events"].as_u64()).sum();
    assert_eq!(events, 200);
}

#[test]
fn a_bare_bench_measures_everything_on_a_broker_of_its_own() {
    let page = std::env::temp_dir().join(format!("pat-events-bench-{}.html", std::process::id()));
    let path = page.display().to_string();
    // Less of it than without options, which would take a test too long.
    let less = [
        "bench",
        "-q",
        "--records",
        "3000",
        "--secs",
        "1",
        "--rate",
        "2000",
        "-F",
        "none",
    ];
    let ended = end_of(&[&less[..], &["--report", &path]].concat(), b"");
    let written = fs::read_to_string(&page);
    let _ = fs::remove_file(&page);
    assert_eq!(
        (ended.status, ended.errors.as_str()),
        (Some(0), ""),
        "{ended:?}"
    );
    let text = ended.text();
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some("on an embedded broker, 6 partitions, compression none")
    );
    let titles = lines.nth(1).expect("titles");
    for title in ["records", "records/s", "MB/s", "p50 µs", "p99.9 µs"] {
        assert!(titles.contains(title), "{titles}");
    }
    let lines: Vec<&str> = lines.collect();
    let modes: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(modes, ["produce", "consume", "latency", "pingpong"]);
    let records: Vec<_> = lines
        .iter()
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert_eq!(records, ["3,000", "3,000", "2,000", "3,000"]);
    let written = written.expect("a page");
    assert!(written.starts_with("<!doctype html>") && written.contains("<td>pingpong</td>"));
    let ended = end_of(&[&less[..], &["--mode", "produce", "--json"]].concat(), b"");
    let [told] = &json_lines(&ended.text())[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(
        (&told["mode"], &told["records"]),
        (&"produce".into(), &3_000.into())
    );
    assert_eq!(told["transactions"], serde_json::Value::Null);
}

#[test]
fn a_bench_writes_in_transactions_of_as_many_records_as_it_is_told() {
    let bench = |more: &[&str]| {
        let all = [&["bench", "-q", "--records", "2050", "-F", "none"], more].concat();
        end_of(&all, b"")
    };
    let ended = bench(&[
        "--mode",
        "produce",
        "--transaction",
        "100",
        "--warmup",
        "10",
    ]);
    assert_eq!((ended.status, ended.errors.as_str()), (Some(0), ""));
    let text = ended.text();
    let row = text.lines().last().expect("a row");
    let words: Vec<_> = row.split_whitespace().collect();
    assert_eq!(words[..2], ["transactions", "2,050"], "{text}");
    assert!(words[5..].iter().all(|it| *it != "-"), "{row}");
    let ended = bench(&["--mode", "produce", "--transaction", "100", "--json"]);
    let [told] = &json_lines(&ended.text())[..] else {
        panic!("{ended:?}");
    };
    for (name, value) in [
        ("mode", "transactions".into()),
        ("records", 2_050.into()),
        ("check", 2_050.into()),
        ("transaction", 100.into()),
        ("transactions", serde_json::Value::from(21)),
    ] {
        assert_eq!(told[name], value, "{name} in {told}");
    }
    assert!(told["transactions_per_s"].as_f64() > Some(0.0), "{told}");
    // What is read of them is what was written, and no more.
    let ended = bench(&["--transaction", "1000", "--secs", "1", "--rate", "100"]);
    let text = ended.text();
    let rows = text.lines().skip(3).map(|row| row.split_whitespace());
    let rows: Vec<Vec<_>> = rows.map(|row| row.take(2).collect()).collect();
    assert_eq!(
        rows[..2],
        [["transactions", "2,050"], ["consume", "2,050"]],
        "{text}"
    );
    for wrong in [
        ["--mode", "consume", "--transaction", "5"],
        ["--mode", "produce", "--transaction", "0"],
    ] {
        let ended = bench(&wrong);
        assert!(ended.status.is_some_and(|it| it != 0), "{ended:?}");
        assert!(ended.errors.contains("--transaction"), "{ended:?}");
    }
}
