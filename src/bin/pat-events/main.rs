//! The `pat-events` program. In: a command line. Out: what the command prints, and 0, 1 (it failed) or 2 (the command line is wrong, or names a schema that cannot be read).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `demo` | the main job end to end, checked |
//! | `produce`, `consume` | records from lines or JSON, and back; kcat's habits |
//! | `top` | what goes on in a cluster, live |
//! | `topics` | lists, creates, deletes, describes |
//! | `dlq` | dead letters: looked at, replayed, deleted |
//! | `broker` | the embedded broker, to develop against |
//! | `api`, `decode` | what brokers speak, and what captured bytes say |
//! | `schema` | what changes of schemas break |
//! | `typed` | events as JSON |
//! | `check` | how far a connection gets, step by step |
//! | `cluster` | the options by which commands find their cluster |
//! | `hex`, `escapes` | bytes as people write them |
//! | `logging` | what happens meanwhile, on the standard error |
//! | `waiting` | what is being waited for, on the standard error |
//! | `signals` | Ctrl-C and the signal that ends a service |
//! | `unique` | names that no other run has |
//! | `bench` | measures producing and consuming, with the flags and the JSON line of other clients' benchmark programs |

mod api;
mod bench;
mod broker;
mod check;
mod cluster;
mod consume;
mod decode;
mod demo;
mod dlq;
mod escapes;
mod hex;
mod logging;
mod produce;
mod schema;
mod signals;
mod top;
mod topics;
mod typed;
mod unique;
mod waiting;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A Kafka client in pure Rust, with typed events on top.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Produce(produce::Produce),
    Consume(consume::Consume),
    Topics(topics::Topics),
    Top(top::Top),
    Dlq(dlq::Dlq),
    Broker(broker::BrokerCommand),
    Api(api::Api),
    Check(check::Check),
    Decode(decode::Decode),
    Bench(bench::Bench),
    Schema(schema::SchemaCommand),
}

/// What a command ends with; an error is printed as one line.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let program = Program::parse();
    match logging::start().and_then(|()| run(program.command)) {
        Ok(status) => status,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(command: Command) -> Outcome<ExitCode> {
    let outcome = match command {
        Command::Demo(demo) => on_all_cores(demo.run()),
        Command::Produce(produce) => on_all_cores(produce.run()),
        Command::Consume(consume) => on_all_cores(consume.run()),
        Command::Topics(topics) => on_all_cores(topics.run()),
        Command::Top(top) => on_all_cores(top.run()),
        Command::Dlq(dlq) => on_all_cores(dlq.run()),
        Command::Broker(broker) => on_all_cores(broker.run()),
        Command::Api(api) => on_all_cores(api.run()),
        Command::Check(check) => on_all_cores(check.run()),
        Command::Decode(decode) => decode.run(),
        // Measured on one thread, as are the clients that it is compared with.
        Command::Bench(bench) => bench.run(),
        Command::Schema(schema) => return schema.run(),
    };
    outcome.map(|()| ExitCode::SUCCESS)
}

fn on_all_cores(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_can_be_asked_for() {
        super::Program::command().debug_assert();
    }
}
