//! `pat-events schema`: what changes of schemas break, and the schemas of a registry.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `check` | whether a change keeps what a mode asks for |
//! | `diff` | everything that differs |
//! | `registry` | schemas into a registry, and out of it |

mod check;
mod diff;
mod registry;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use pat_events::events::schema::{self, Finding, Report, Schema};
use serde_json::{Value, json};

use crate::{Outcome, on_all_cores};

/// Compare schemas (Protobuf, Avro, JSON schema), and ask a registry for them.
#[derive(Args)]
pub struct SchemaCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Check),
    Diff(diff::Diff),
    Register(registry::Register),
    Get(registry::Get),
}

impl SchemaCommand {
    pub fn run(self) -> Outcome<ExitCode> {
        match self.command {
            Command::Check(check) => check.run(),
            Command::Diff(diff) => diff.run(),
            Command::Register(register) => on_all_cores(register.run()).map(|()| ExitCode::SUCCESS),
            Command::Get(get) => on_all_cores(get.run()).map(|()| ExitCode::SUCCESS),
        }
    }
}

/// A schema before and after a change.
#[derive(Args)]
struct Pair {
    /// The schema before: a .proto file or a folder of such, an .avsc file, a .json file with a JSON schema, or an encoded file descriptor set.
    old: PathBuf,
    /// The schema after, in the same format.
    new: PathBuf,
}

impl Pair {
    /// What differs; an error, printed here, is status 2.
    fn compare(&self) -> Result<Report, ExitCode> {
        let read = |path: &Path| Schema::read(path);
        let compared = read(&self.old).and_then(|old| schema::compare(&old, &read(&self.new)?));
        compared.map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(2)
        })
    }
}

/// A finding as JSON.
fn as_json(finding: &Finding) -> Value {
    json!({
        "rule": finding.rule,
        "place": finding.place,
        "what": finding.what,
        "fix": finding.fix,
        "breaks_backward": finding.breaks_backward,
        "breaks_forward": finding.breaks_forward,
    })
}
