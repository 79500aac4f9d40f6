//! `pat-events schema check`: whether a change of a schema keeps what a mode asks for. In: two schemas. Out: what breaks, and a status.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use pat_events::events::schema::Mode;
use serde_json::json;

use super::{Pair, as_json};
use crate::Outcome;

/// Say what a change of a schema breaks.
///
/// The exit status is 0 when nothing breaks, 1 when something does, and 2 when a schema cannot be read.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    pair: Pair,
    /// What has to hold: new readers of old records, old readers of new records, or both.
    #[arg(long, value_enum, default_value_t = Asked::Full)]
    mode: Asked,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Asked {
    Backward,
    Forward,
    Full,
}

impl Check {
    pub fn run(&self) -> Outcome<ExitCode> {
        let report = match self.pair.compare() {
            Ok(report) => report,
            Err(status) => return Ok(status),
        };
        let (mode, name) = match self.mode {
            Asked::Backward => (Mode::Backward, "backward"),
            Asked::Forward => (Mode::Forward, "forward"),
            Asked::Full => (Mode::Full, "full"),
        };
        let is_compatible = report.is_compatible(mode);
        let mut out = io::stdout().lock();
        if self.json {
            let findings: Vec<_> = report.breaking(mode).map(as_json).collect();
            let told = json!({ "mode": name, "compatible": is_compatible, "findings": findings });
            writeln!(out, "{told}")?;
        } else {
            for finding in report.breaking(mode) {
                writeln!(out, "{finding}")?;
            }
            match report.breaking(mode).count() {
                0 => writeln!(out, "compatible ({name})")?,
                many => writeln!(out, "incompatible ({name}): {many} to mend")?,
            }
        }
        Ok(match is_compatible {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
