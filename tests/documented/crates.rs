//! A crate of a user's own: depends on this one as the README says, has a program for each source file given, and is checked by cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect("a file of the repository")
}

/// The code blocks of `text` whose info string begins with `language`.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
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

/// Runs `cargo check` with `arguments` on a crate called `name` that has these programs, each by its name and source. Where it is, and
/// what cargo said.
pub fn check(name: &str, programs: &[(String, String)], arguments: &[&str]) -> (PathBuf, Output) {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("within the target directory");
    let home = target.join("tmp").join(name);
    let dependencies = blocks(&read("README.md"), "toml");
    let dependencies = dependencies.first().expect("what to depend on");
    let ours = format!(
        "pat-events = {{ path = {:?}, features = [\"broker\"]",
        root()
    );
    let dependencies = dependencies.replace("pat-events = { version = \"0.1\"", &ours);
    assert!(dependencies.contains(&ours), "{dependencies}");
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[features]\ndefault = [\"broker\"]\nbroker = []\n\n\
         [profile.dev]\ndebug = \"line-tables-only\"\n\n{dependencies}"
    );
    let bin = home.join("src/bin");
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&bin).expect("a directory");
    fs::write(home.join("Cargo.toml"), manifest).expect("written");
    fs::copy(root().join("Cargo.lock"), home.join("Cargo.lock")).expect("copied");
    for (program, source) in programs {
        fs::write(bin.join(format!("{program}.rs")), source).expect("written");
    }
    let output = Command::new(env::var_os("CARGO").expect("run by cargo"))
        .args(["check", "--offline", "--quiet", "--bins"])
        .args(arguments)
        .current_dir(&home)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    (home, output)
}
