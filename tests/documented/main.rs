//! What the documentation shows compiles as it stands, in a crate of a user's own.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The code blocks of `text` whose info string begins with `language`.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.starts_with(language), String::new())),
            (Some(_), Some(_)) => {
                blocks.extend(
                    open.take()
                        .and_then(|(wanted, code)| wanted.then_some(code)),
                );
            }
            (Some((_, code)), None) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
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
    let shown = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_string() + "\n";
    blocks(&docs.collect::<String>(), "")
        .iter()
        .filter(|code| code.contains("fn main()"))
        .map(|code| code.lines().map(shown).collect())
        .collect()
}

#[test]
fn each_example_compiles_in_a_crate_of_its_own() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("within the target directory");
    let home = target.join("tmp/documented");
    let read = |file: &str| fs::read_to_string(root.join(file)).expect("a file of the repository");
    let readme = read("README.md");
    let dependencies = blocks(&readme, "toml");
    let dependencies = dependencies.first().expect("what to depend on");
    let ours = format!("pat-events = {{ path = {root:?}, features = [\"broker\"]");
    let dependencies = dependencies.replace("pat-events = { version = \"0.1\"", &ours);
    assert!(dependencies.contains(&ours), "{dependencies}");
    let manifest = format!(
        "[package]\nname = \"documented\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[features]\ndefault = [\"broker\"]\nbroker = []\n\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n\n{dependencies}"
    );
    let bin = home.join("src/bin");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&bin).expect("a directory");
    fs::write(home.join("Cargo.toml"), manifest).expect("written");
    fs::copy(root.join("Cargo.lock"), home.join("Cargo.lock")).expect("copied");
    let mut examples = blocks(&readme, "rust");
    assert_eq!(examples.len(), 2, "the README's examples");
    for file in ["src/events/mod.rs", "src/events/set.rs"] {
        let found = documented(&read(file));
        assert!(!found.is_empty(), "{file}");
        examples.extend(found);
    }
    for (number, example) in examples.iter().enumerate() {
        fs::write(bin.join(format!("example_{number}.rs")), example).expect("written");
    }
    let checked = Command::new(env::var_os("CARGO").expect("run by cargo"))
        .args(["check", "--offline", "--quiet", "--bins"])
        .current_dir(&home)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "in {}:\n{told}", home.display());
}
