//! `pat-events schema diff`: everything that differs between two schemas. In: two schemas. Out: the differences, and a status.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::{Pair, as_json};
use crate::Outcome;

/// List what differs between two schemas, compatible or not.
///
/// The exit status is 0 when nothing differs, 1 when something does, and 2 when a schema cannot be read.
#[derive(Args)]
pub struct Diff {
    #[command(flatten)]
    pair: Pair,
    /// Print one JSON array.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(&self) -> Outcome<ExitCode> {
        let report = match self.pair.compare() {
            Ok(report) => report,
            Err(status) => return Ok(status),
        };
        let mut out = io::stdout().lock();
        if self.json {
            let findings: Value = report.findings.iter().map(as_json).collect();
            writeln!(out, "{findings}")?;
        } else {
            for finding in &report.findings {
                writeln!(out, "{finding}")?;
            }
        }
        Ok(match report.findings.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
