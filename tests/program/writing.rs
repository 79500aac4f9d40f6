//! `produce`: what becomes a record.

use std::fs;
use std::time::{Duration, Instant};

use crate::place;

#[test]
fn records_end_with_whatever_is_said_or_with_their_files() {
    let place = place();
    place.topic("t", 1, "");
    let read = || {
        let text = place.run("consume", &["-t", "t", "-e", "-D", "|"]);
        place.broker.delete_topic("t");
        place.topic("t", 1, "");
        text
    };
    place.run_with("produce", &["-t", "t", "-D", ";"], b"a\nb;c");
    assert_eq!(read(), "a\nb|c|");
    place.run_with("produce", &["-t", "t", "-D", r"\0", "-Z"], b"a\0\0b");
    assert_eq!(read(), "a||b|");
    let folder = std::env::temp_dir().join(format!("pat-events-files-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let [one, two] = ["one", "two"].map(|name| folder.join(name).display().to_string());
    fs::write(&one, "1\n2\n").expect("written");
    fs::write(&two, "3").expect("written");
    place.run("produce", &["-t", "t", &one, &two]);
    assert_eq!(read(), "1|2|3|");
    place.run("produce", &["-t", "t", "-w", &one, &two]);
    assert_eq!(read(), "1\n2\n|3|");
    place.run_with("produce", &["-t", "t", &two, "-"], b"4\n");
    assert_eq!(read(), "3|4|");
    let ended = place.end_of("produce", &["-t", "t", &two, "/no/such/file"], b"");
    fs::remove_dir_all(&folder).expect("removed");
    assert_eq!(ended.status, Some(1));
    assert!(ended.errors.contains("/no/such/file: "), "{ended:?}");
    assert_eq!(read(), "3|", "what came before it was written");
}

#[test]
fn a_template_makes_records_of_nothing_or_of_lines() {
    let place = place();
    place.topic("t", 1, "");
    place.run(
        "produce",
        &[
            "-t",
            "t",
            "--template",
            r#"{"n":{{n}}}"#,
            "--key-template",
            "k{{n}}",
            "-c",
            "3",
        ],
    );
    let read = place.run("consume", &["-t", "t", "-e", "-K", "="]);
    assert_eq!(read, "k1={\"n\":1}\nk2={\"n\":2}\nk3={\"n\":3}\n");
    place.run_with(
        "produce",
        &["-t", "t", "--template", "<{{line}}>", "-c", "1"],
        b"a\nb\n",
    );
    assert_eq!(place.run("consume", &["-t", "t", "-o", "3", "-e"]), "<a>\n");
    let ended = place.end_of("produce", &["-t", "t", "--template", "{{n}}"], b"");
    assert_eq!(ended.status, Some(1));
    assert!(ended.errors.contains("say with -c how many"), "{ended:?}");
    let ended = place.end_of("produce", &["-t", "t", "--template", "{{x}}"], b"");
    assert_eq!(ended.status, Some(2));
    assert!(ended.errors.contains("{{now_ms}}"), "{ended:?}");
}

#[test]
fn no_more_records_a_second_are_written_than_were_asked_for() {
    let place = place();
    place.topic("t", 1, "");
    let start = Instant::now();
    place.run(
        "produce",
        &["-t", "t", "--template", "x", "-c", "21", "--rate", "20"],
    );
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(place.broker.log("t", 0).expect("a log").end_offset, 21);
}
