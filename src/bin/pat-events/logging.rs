//! What the client says beyond the command's output, on the standard error. In: `RUST_LOG`. Out: a line for each event of the levels asked
//! for; warnings and errors where nothing is asked for.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::Outcome;

/// From now on, what happens is logged.
pub fn start() -> Outcome {
    let asked = env::var("RUST_LOG").unwrap_or_default();
    let filter = match asked.trim() {
        "" => Targets::new().with_default(LevelFilter::WARN),
        asked => asked.parse().map_err(|error| {
            format!("RUST_LOG = {asked:?} is not allowed: {error}; allowed is a level (off, error, warn, info, debug, trace), or target=level with commas between")
        })?,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}
