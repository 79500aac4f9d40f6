//! What users write compiles, or is refused with a reason, in a crate of their own: one that depends on this one and nothing that this one
//! depends on.
//!
//! - `crates`: such a crate
//! - `event_sets`: declarations of event sets that are right, and those that are wrong

mod crates;
mod event_sets;

use crates::{blocks, check, read, root};

/// The pages of the guide.
fn pages() -> Vec<String> {
    let guide = std::fs::read_dir(root().join("src/guide")).expect("the guide");
    let mut pages: Vec<_> = guide.map(|file| file.expect("a file").path()).collect();
    pages.retain(|path| path.extension().is_some_and(|it| it == "md"));
    pages.sort();
    assert!(pages.len() >= 15, "{pages:?}");
    let text = |path| std::fs::read_to_string(path).expect("text");
    pages.into_iter().map(text).collect()
}

/// The runnable examples in the documentation of a source file, what rustdoc hides of them included.
fn documented(source: &str) -> Vec<String> {
    let docs = source.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))?;
        Some(format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
    });
    programs(&docs.collect::<String>())
}

/// The programs among the examples of a page.
fn programs(page: &str) -> Vec<String> {
    let shown = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_string() + "\n";
    blocks(page, "")
        .iter()
        .filter(|code| code.contains("fn main()"))
        .map(|code| code.lines().map(shown).collect())
        .collect()
}

#[test]
fn each_example_compiles_in_a_crate_of_its_own() {
    let mut examples = blocks(&read("README.md"), "rust");
    assert_eq!(examples.len(), 3, "the README's examples");
    for file in ["src/lib.rs", "src/events/mod.rs", "src/events/set.rs"] {
        let found = documented(&read(file));
        assert!(!found.is_empty(), "{file}");
        examples.extend(found);
    }
    examples.extend(pages().iter().flat_map(|page| programs(page)));
    let programs: Vec<_> = (0..)
        .zip(examples)
        .map(|(number, example)| (format!("example_{number}"), example))
        .collect();
    let (home, checked) = check("documented", &programs, &[]);
    let output = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "in {}:\n{output}", home.display());
}
