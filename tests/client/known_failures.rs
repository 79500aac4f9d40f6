//! The tests that stand for what other clients have shipped, as `tests/README.md` names them.

use std::path::Path;

/// The paths and names in backticks of a row's last cell: each name is in the file that was named before it.
fn named(cell: &str) -> Vec<(String, String)> {
    let mut file = String::new();
    let mut tests = Vec::new();
    for word in cell.split('`').skip(1).step_by(2) {
        match word.ends_with(".rs") {
            true => file = word.to_string(),
            false => tests.push((file.clone(), word.to_string())),
        }
    }
    tests
}

#[test]
fn each_test_that_stands_for_a_known_failure_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| {
        let text = std::fs::read_to_string(root.join(file));
        text.unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let readme = read("tests/README.md");
    let is_head = |line: &str| line.starts_with("| what") || line.starts_with("| ---");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| ") && !is_head(line));
    let mut count = 0;
    for row in rows {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next();
        let tests = named(cell.expect("a cell"));
        assert!(!tests.is_empty(), "nothing stands for {row}");
        for (file, test) in tests {
            let text = read(&file);
            // Those with planted defects are named by a macro.
            let is_there =
                text.contains(&format!("fn {test}(")) || text.contains(&format!("{test}: "));
            assert!(is_there, "{file} has no {test}");
        }
        count += 1;
    }
    assert_eq!(count, 34, "rows");
}
