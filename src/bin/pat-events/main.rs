//! The `pat-events` program. In: a command line. Out: what the command prints, and 0, 1 (it failed) or 2 (the command line is wrong).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `topics` | lists, creates, deletes, describes |
//! | `cluster` | the options by which commands find their cluster |

mod cluster;
mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Topics(topics::Topics),
}

/// What a command ends with; an error is printed as one line.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    match run(Program::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Outcome {
    match command {
        Command::Topics(topics) => on_all_cores(topics.run()),
    }
}

fn on_all_cores(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
