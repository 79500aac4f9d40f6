//! What Prometheus' own `promtool` says: in: a text of metrics, a file of rules. `PROMTOOL` names the program; without that it is looked for on
//! `PATH`, and where there is none the tests say so and go without.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};

/// Fails where `promtool check metrics` finds anything wrong with `text`: it reads it, and looks at names, units and help.
pub fn check_metrics(text: &str) {
    check(&["check", "metrics"], text);
}

/// Fails where `promtool check rules` does.
pub fn check_rules(file: &str) {
    check(&["check", "rules", file], "");
}

fn check(arguments: &[&str], input: &str) {
    let named = std::env::var("PROMTOOL").ok();
    let program = named.as_deref().unwrap_or("promtool");
    let started = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = match started {
        Ok(running) => running,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => {
            // Not by a macro: what a test prints that passes is not shown.
            let _ = writeln!(
                std::io::stderr(),
                "promtool is not on PATH: `promtool {}` was not run",
                arguments.join(" ")
            );
            return;
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let mut stdin = running.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let said = running.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&said.stdout), text(&said.stderr));
    assert!(said.status.success(), "{arguments:?}: {out}{err}");
}
