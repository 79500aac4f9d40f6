//! Options, profiles, completions, manual pages.

use std::fs;

use crate::{end_of, place};

#[test]
fn a_profile_says_where_the_brokers_are() {
    let place = place();
    place.topic("t", 1, "");
    let file =
        std::env::temp_dir().join(format!("pat-events-profiles-{}.conf", std::process::id()));
    let brokers = place.broker.bootstrap_servers();
    let text = format!("bootstrap.servers=127.0.0.1:1\nprofile.test.bootstrap.servers={brokers}\n");
    fs::write(&file, text).expect("written");
    let path = file.display().to_string();
    let listed = end_of(&["topics", "list", "-F", &path, "--profile", "test"], b"");
    let unknown = end_of(&["topics", "list", "-F", &path, "--profile", "prod"], b"");
    fs::remove_file(&file).expect("removed");
    assert_eq!(
        (listed.status, listed.text().as_str()),
        (Some(0), "t\n"),
        "{listed:?}"
    );
    assert_eq!(unknown.status, Some(1));
    assert!(
        unknown.errors.contains("there is no profile \"prod\""),
        "{unknown:?}"
    );
    assert!(unknown.errors.contains("it has test"), "{unknown:?}");
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = end_of(&["completions", shell], b"").text();
        for word in ["reset-offsets", "delete-records", "if-not-exists"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let page = end_of(&["man"], b"").text();
    assert!(
        page.starts_with(".ie") && page.contains("pat\\-events"),
        "{page}"
    );
    let folder = std::env::temp_dir().join(format!("pat-events-man-{}", std::process::id()));
    let path = folder.display().to_string();
    assert_eq!(end_of(&["man", "--out", &path], b"").status, Some(0));
    for name in [
        "pat-events",
        "pat-events-groups-reset-offsets",
        "pat-events-consume",
    ] {
        let page = fs::read_to_string(folder.join(format!("{name}.1"))).expect(name);
        assert!(page.contains(".SH OPTIONS"), "{name}");
    }
    fs::remove_dir_all(&folder).expect("removed");
}

#[test]
fn help_says_how_commands_end_and_what_they_read_of_the_environment() {
    let help = end_of(&["--help"], b"").text();
    for word in [
        "Exit status:",
        "KAFKA_BOOTSTRAP_SERVERS",
        "PAT_EVENTS_PROFILE",
        "NO_COLOR",
    ] {
        assert!(help.contains(word), "{help}");
    }
    let help = end_of(&["groups", "reset-offsets", "--help"], b"").text();
    assert!(help.contains("some of several things failed"), "{help}");
}

#[test]
fn a_wrong_value_is_refused_with_what_is_allowed() {
    for (arguments, words) in [
        (
            &["consume", "-t", "t", "-o", "yesterday"][..],
            "beginning, end, stored",
        ),
        (&["consume", "-t", "t", "-o", "s@yesterday"], "1h30m"),
        (&["consume", "-t", "t", "-p", "x"], "such as 0,3-5"),
        (&["consume", "-t", "^("], "no regular expression"),
        (&["consume", "-t", "t", "-s", "key=xyz"], "b B (8 bits)"),
        (
            &["topics", "create", "t", "--replica-assignment", "a"],
            "such as 1:2,2:3",
        ),
        (
            &["topics", "create", "t", "-c", "retention"],
            "expected NAME=VALUE",
        ),
        (&["offsets", "t:x"], "such as 0,3-5"),
        (
            &[
                "groups",
                "reset-offsets",
                "g",
                "--all-topics",
                "--by-duration",
                "long",
            ],
            "P1DT2H",
        ),
        (&["produce", "-t", "t", "--rate", "0"], "1.."),
    ] {
        let ended = end_of(&[arguments, &["-b", "127.0.0.1:1"]].concat(), b"");
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.errors.contains(words), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn what_is_said_beside_the_output_can_be_left_out_or_be_more() {
    let place = place();
    place.topic("t", 1, "1\n");
    let read = |more: &[&str]| {
        place.end_of(
            "consume",
            &[&["-t", "t", "-e", "-o", "7"], more].concat(),
            b"",
        )
    };
    assert!(read(&[]).errors.contains("warning: t-0 ends at offset 1"));
    assert_eq!(read(&["-q"]).errors, "");
    let loud = read(&["-vv"]).errors;
    assert!(loud.contains("DEBUG") || loud.contains("INFO"), "{loud}");
    // Why it failed is said in any case.
    let ended = place.end_of("consume", &["-q", "-t", "missing", "-e"], b"");
    assert_eq!(ended.status, Some(1));
    assert!(ended.errors.contains("missing"), "{ended:?}");
}
