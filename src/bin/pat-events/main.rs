//! The `pat-events` program. In: a command line. Out: what the command prints, and how it ended: see `EXIT_STATUS`.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `demo` | the main job end to end, checked |
//! | `produce`, `consume` | records from lines or JSON, and back; kcat's habits |
//! | `top` | what goes on in a cluster, live |
//! | `admin` | `cluster`, `topics`, `groups`, `offsets`, `configs`, `delete-records`: the commands of operators |
//! | `dlq` | dead letters: looked at, replayed, deleted |
//! | `broker` | the embedded broker, to develop against |
//! | `api`, `decode` | what brokers speak, and what captured bytes say |
//! | `registered` | keys and values by schemas of a registry |
//! | `messages` | messages of any Protobuf, by files of one's own |
//! | `schema` | what changes of schemas break |
//! | `typed` | events as JSON |
//! | `check` | how far a connection gets, step by step |
//! | `cluster` | the options by which commands find their cluster |
//! | `hex`, `escapes`, `times` | bytes and times as people write them |
//! | `listing`, `table` | what is printed of many things, and how that ends |
//! | `notes` | what is said beside the output |
//! | `picture` | the pictures of the README |
//! | `shell` | completions and manual pages |
//! | `logging` | what happens meanwhile, on the standard error |
//! | `waiting` | what is being waited for, on the standard error |
//! | `signals` | Ctrl-C and the signal that ends a service |
//! | `unique` | names that no other run has |
//! | `bench` | measures producing and consuming, with the flags and the JSON line of other clients' benchmark programs |

mod admin;
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
mod listing;
mod logging;
mod messages;
mod notes;
#[cfg(test)]
mod picture;
mod produce;
mod registered;
mod schema;
mod shell;
mod signals;
mod table;
mod times;
mod top;
mod typed;
mod unique;
mod waiting;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use admin::Administered;
use listing::PartlyFailed;
use logging::Verbosity;

/// How the program ends.
const EXIT_STATUS: &str = "\
Exit status:
  0  it is done, or whoever read its output has seen enough
  1  it failed
  2  the command line is wrong, or names a schema that cannot be read
  3  some of several things failed, each of which was told";

/// What the program reads of its environment.
const ENVIRONMENT: &str = "\
Environment:
  KAFKA_BOOTSTRAP_SERVERS  brokers, where the command line and its file name none
  KAFKA_...                any option of the client: KAFKA_SASL_PASSWORD is sasl.password
  PAT_EVENTS_PROFILE       the profile of the file of options (--profile)
  SCHEMA_REGISTRY_URL      the registry of schemas
  RUST_LOG                 what is logged on the standard error (-v, -q)
  NO_COLOR                 no colours, also on a terminal
  XDG_CONFIG_HOME          the folder of pat-events.conf; ~/.config without it";

/// A Kafka client in pure Rust, with typed events on top.
#[derive(Parser)]
#[command(name = "pat-events", version, propagate_version = true)]
struct Program {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Produce(produce::Produce),
    Consume(consume::Consume),
    /// List, create, alter, delete and describe topics.
    Topics(Administered<admin::topics::Action>),
    /// List and describe groups with their lag, reset their offsets, delete them.
    Groups(Administered<admin::groups::Action>),
    Offsets(admin::offsets::Offsets),
    /// Describe and alter the configuration of topics, brokers, groups and client metrics.
    Configs(Administered<admin::configs::Action>),
    Cluster(admin::cluster::ClusterCommand),
    DeleteRecords(admin::delete_records::DeleteRecords),
    /// List, add and remove access rules.
    Acls(Administered<admin::acls::Action>),
    /// List, set and delete users that brokers know by SCRAM.
    Users(Administered<admin::users::Action>),
    /// List and alter quotas of users, client ids and addresses.
    Quotas(Administered<admin::quotas::Action>),
    /// List and describe transactions, end those that hang, fence producers.
    Transactions(Administered<admin::transactions::Action>),
    Elect(admin::replicas::Elect),
    /// Move partitions to other brokers, see what is on the move, and call it off.
    Reassign(Administered<admin::replicas::Moves>),
    LogDirs(admin::replicas::LogDirs),
    Features(admin::replicas::Features),
    Quorum(admin::replicas::Quorum),
    Top(top::Top),
    Dlq(dlq::Dlq),
    Broker(broker::BrokerCommand),
    Api(api::Api),
    Check(check::Check),
    Decode(decode::Decode),
    Bench(bench::Bench),
    Schema(schema::SchemaCommand),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// What a command ends with; an error is printed as one line.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let matches = documented(Program::command()).get_matches();
    let program = Program::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match logging::start(program.verbosity).and_then(|()| run(program.command)) {
        Ok(status) => status,
        // Whoever read our output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            notes::tell_failure(&error);
            match error.downcast_ref::<PartlyFailed>() {
                Some(failed) if !failed.is_all() => ExitCode::from(3),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The command line, with what is the same for all commands said of each.
fn documented(command: clap::Command) -> clap::Command {
    let has_commands = command.has_subcommands();
    let command = command.mut_subcommands(documented);
    let after = match has_commands {
        true => format!("{EXIT_STATUS}\n\n{ENVIRONMENT}"),
        false => EXIT_STATUS.to_owned(),
    };
    command.after_long_help(after)
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
        Command::Groups(groups) => on_all_cores(groups.run()),
        Command::Offsets(offsets) => on_all_cores(offsets.run()),
        Command::Configs(configs) => on_all_cores(configs.run()),
        Command::Cluster(cluster) => on_all_cores(cluster.run()),
        Command::DeleteRecords(delete) => on_all_cores(delete.run()),
        Command::Acls(acls) => on_all_cores(acls.run()),
        Command::Users(users) => on_all_cores(users.run()),
        Command::Quotas(quotas) => on_all_cores(quotas.run()),
        Command::Transactions(transactions) => on_all_cores(transactions.run()),
        Command::Elect(elect) => on_all_cores(elect.run()),
        Command::Reassign(reassign) => on_all_cores(reassign.run()),
        Command::LogDirs(log_dirs) => on_all_cores(log_dirs.run()),
        Command::Features(features) => on_all_cores(features.run()),
        Command::Quorum(quorum) => on_all_cores(quorum.run()),
        Command::Top(top) => on_all_cores(top.run()),
        Command::Dlq(dlq) => on_all_cores(dlq.run()),
        Command::Broker(broker) => on_all_cores(broker.run()),
        Command::Api(api) => on_all_cores(api.run()),
        Command::Check(check) => on_all_cores(check.run()),
        Command::Decode(decode) => decode.run(),
        // Measured on one thread, as are the clients that it is compared with.
        Command::Bench(bench) => bench.run(),
        Command::Schema(schema) => return schema.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
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
        super::documented(super::Program::command()).debug_assert();
    }
}
