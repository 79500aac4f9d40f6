//! Event sets as users declare them. Each file in `event_sets/accepted` compiles. Each in `event_sets/refused` does not: where it has a
//! comment `//~ text`, the compiler reports an error with this text at this line. Only these texts are compared, which are ours wherever the
//! compiler lets us choose them: the rest of what a compiler prints changes from version to version.

use std::fs;

use serde_json::Value;

use crate::crates::{check, root};

/// The programs in a folder, by their names.
fn programs(folder: &str) -> Vec<(String, String)> {
    let folder = root().join("tests/documented/event_sets").join(folder);
    let files = fs::read_dir(&folder).expect("a folder");
    let mut programs: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read_to_string(&path).expect("text"))
        })
        .collect();
    programs.sort();
    assert!(!programs.is_empty(), "{}", folder.display());
    programs
}

#[test]
fn nothing_of_the_users_gets_in_the_way_of_an_event_set() {
    let (home, checked) = check("accepted", &programs("accepted"), &[]);
    let output = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "in {}:\n{output}", home.display());
}

#[test]
fn a_wrong_event_set_is_refused_at_the_users_line_with_what_to_do() {
    let programs = programs("refused");
    let arguments = ["--keep-going", "--message-format=json"];
    let (_, checked) = check("refused", &programs, &arguments);
    let output = String::from_utf8_lossy(&checked.stdout);
    let errors: Vec<Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|message: &Value| message["message"]["level"] == "error")
        .collect();
    for (name, source) in &programs {
        let expected = expected(source);
        assert!(!expected.is_empty(), "{name} expects nothing");
        let errors: Vec<&Value> = errors
            .iter()
            .filter(|error| error["target"]["name"] == name.as_str())
            .map(|error| &error["message"])
            .collect();
        let printed: String = errors
            .iter()
            .filter_map(|error| error["rendered"].as_str())
            .collect();
        for (line, text) in expected {
            let is_reported = errors.iter().any(|error| {
                let rendered = error["rendered"].as_str().unwrap_or_default();
                rendered.contains(text) && is_at(error, line, name)
            });
            assert!(is_reported, "{name}:{line} expects {text:?}:\n{printed}");
        }
    }
}

/// The comments `//~ text` in `source`, with their lines.
fn expected(source: &str) -> Vec<(u64, &str)> {
    (1..)
        .zip(source.lines())
        .filter_map(|(line, text)| Some((line, text.split_once("//~ ")?.1)))
        .collect()
}

/// Whether `error` points at this line of the program, be it from within a macro that was called there.
fn is_at(error: &Value, line: u64, program: &str) -> bool {
    let spans = error["spans"].as_array().into_iter().flatten();
    spans.filter(|span| span["is_primary"] == true).any(|span| {
        let mut span = span;
        while !span.is_null() {
            let file = span["file_name"].as_str().unwrap_or_default();
            let (first, last) = (span["line_start"].as_u64(), span["line_end"].as_u64());
            if file.ends_with(&format!("{program}.rs")) && first <= Some(line) && last >= Some(line)
            {
                return true;
            }
            span = &span["expansion"]["span"];
        }
        false
    })
}
