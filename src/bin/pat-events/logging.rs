//! What the client says beyond the command's output, on the standard error. In: -v, -q, `RUST_LOG`. Out: a line for each event of the levels asked
//! for; warnings and errors where nothing is asked for.

use std::env;
use std::io;

use clap::{ArgAction, Args};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Outcome;
use crate::notes;

/// How much is said on the standard error.
#[derive(Args, Clone, Copy, Debug)]
pub struct Verbosity {
    /// Say on the standard error what the client does; -vv and -vvv say more. RUST_LOG in the environment says it for parts of it.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Say nothing on the standard error but why the command failed.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Verbosity {
    /// What the flags ask for; `None` where they are not there.
    fn level(self) -> Option<LevelFilter> {
        match (self.quiet, self.verbose) {
            (true, _) => Some(LevelFilter::OFF),
            (_, 0) => None,
            (_, 1) => Some(LevelFilter::INFO),
            (_, 2) => Some(LevelFilter::DEBUG),
            _ => Some(LevelFilter::TRACE),
        }
    }
}

/// From now on, what happens is logged.
pub fn start(verbosity: Verbosity) -> Outcome {
    if verbosity.quiet {
        notes::be_quiet();
    }
    let asked = env::var("RUST_LOG").unwrap_or_default();
    let filter = match (verbosity.level(), asked.trim()) {
        (Some(level), _) => Targets::new().with_default(level),
        (None, "") => Targets::new().with_default(LevelFilter::WARN),
        (None, asked) => asked.parse().map_err(|error| {
            format!("RUST_LOG = {asked:?} is not allowed: {error}; allowed is a level (off, error, warn, info, debug, trace), or target=level with commas between")
        })?,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(notes::has_colours(&io::stderr()))
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}
