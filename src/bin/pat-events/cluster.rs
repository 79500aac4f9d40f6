//! The options by which every command finds its cluster. In: flags and the environment. Out: any of the client's configurations.

use clap::Args;
use pat_events::kafka::config::variable_name;
use pat_events::kafka::{Configuration, Result};

/// Where the cluster is, and what else the client is told.
#[derive(Args, Clone, Debug)]
pub struct Cluster {
    /// Brokers to find the cluster by, as host:port with commas between several.
    #[arg(
        short,
        long,
        global = true,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        default_value = "localhost:9092"
    )]
    brokers: String,
    #[command(flatten)]
    options: Options,
}

/// What the client is told beyond the flags of the command.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// An option of the client by its Java-style name; may be given several times.
    #[arg(short = 'X', global = true, value_name = "NAME=VALUE", value_parser = property)]
    options: Vec<(String, String)>,
}

impl Cluster {
    /// As [`Options::config`], for the brokers of the command line.
    pub fn config<C: Configuration>(&self, given: &[(&str, &str)]) -> Result<C> {
        self.options.config(&self.brokers, given)
    }
}

impl Options {
    /// The defaults, changed by environment variables (`KAFKA_LINGER_MS`), by `brokers` and what the command has `given`, and by what
    /// the user said with `-X`: the last one counts.
    pub fn config<C: Configuration>(&self, brokers: &str, given: &[(&str, &str)]) -> Result<C> {
        let given = [&[("bootstrap.servers", brokers)], given].concat();
        let mut config = C::from_variables(|variable| {
            let given = given
                .iter()
                .find(|(name, _)| variable_name(name) == variable);
            given
                .map(|(_, value)| (*value).to_owned())
                .or_else(|| std::env::var(variable).ok())
        })?;
        for (name, value) in &self.options {
            config.set(name, value)?;
        }
        config.validate()?;
        Ok(config)
    }
}

/// Reads `name=value`.
pub fn property(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as linger.ms=20".to_owned()),
    }
}
