//! The options by which every command finds its cluster. In: flags and the environment. Out: any of the client's configurations.

use clap::Args;
use pat_events::kafka::Result;
use pat_events::kafka::config::variable_name;
use pat_events::{events, kafka};

use crate::waiting::explained;

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
    /// Waits for what needs the brokers, and says on the standard error what they do when that takes long.
    pub async fn explained<T>(&self, work: impl Future<Output = T>) -> T {
        explained(&self.brokers, work).await
    }

    /// As [`Options::config`], for the brokers of the command line.
    pub fn config<C: Configuration>(&self, given: &[(&str, &str)]) -> Result<C> {
        self.options.config(&self.brokers, given)
    }
}

impl Options {
    /// The defaults, changed by environment variables (`KAFKA_LINGER_MS`), by `brokers` and what the command has `given`, and by what
    /// the user said with `-X`: the last one counts.
    pub fn config<C: Configuration>(&self, brokers: &str, given: &[(&str, &str)]) -> Result<C> {
        self.config_beside::<C, C>(brokers, given)
    }

    /// As [`Options::config`], for a command that has an `Other` configuration as well: what only that one knows is not for this one.
    pub fn config_beside<C: Configuration, Other: Configuration>(
        &self,
        brokers: &str,
        given: &[(&str, &str)],
    ) -> Result<C> {
        let mut pairs = [&[("bootstrap.servers", brokers)], given].concat();
        let mut trial = C::default();
        let knows = |names: Vec<&str>, name: &str| names.contains(&name);
        for (name, value) in &self.options {
            if knows(C::names(), name) || !knows(Other::names(), name) {
                // What is misspelt or wrong is found here: variables are only looked up.
                trial.change(name, value)?;
                pairs.push((name, value));
            }
        }
        C::from_lookup(&|variable| {
            let mut latest_first = pairs.iter().rev();
            match latest_first.find(|(name, _)| variable_name(name) == variable) {
                Some((_, value)) => Some((*value).to_owned()),
                None => std::env::var(variable).ok(),
            }
        })
    }
}

/// What the configurations of the client have in common.
pub trait Configuration: Default {
    /// The names of the options.
    fn names() -> Vec<&'static str>;
    /// Sets an option.
    fn change(&mut self, name: &str, value: &str) -> Result<()>;
    /// The defaults, changed by the variables that `lookup` knows.
    fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self>;
}

macro_rules! configurations {
    ($($config:ty),*) => {
        $(impl Configuration for $config {
            fn names() -> Vec<&'static str> {
                Self::property_names()
            }

            fn change(&mut self, name: &str, value: &str) -> Result<()> {
                self.set(name, value)
            }

            fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
                Self::from_variables(lookup)
            }
        })*
    };
}

configurations!(
    kafka::ClientConfig,
    kafka::ProducerConfig,
    kafka::ConsumerConfig,
    events::ProducerConfig,
    events::ConsumerConfig
);

/// Reads `name=value`.
pub fn property(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as linger.ms=20".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use pat_events::kafka::{Acks, ConsumerConfig, ErrorKind, ProducerConfig};

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let options = pairs
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()));
        Options {
            options: options.collect(),
        }
    }

    #[test]
    fn an_option_completes_what_is_not_allowed_without_it() {
        let config: ConsumerConfig = options(&[("group.id", "g")])
            .config("a:1", &[("enable.auto.commit", "true")])
            .expect("a group to commit in");
        assert_eq!(config.group_id.as_deref(), Some("g"));
    }

    #[test]
    fn the_last_word_counts() {
        let config: ProducerConfig = options(&[("retries", "2"), ("retries", "3")])
            .config("a:1", &[("retries", "1")])
            .expect("numbers");
        assert_eq!(config.retries, 3);
    }

    #[test]
    fn an_option_goes_to_the_configurations_that_know_it() {
        let options = options(&[
            ("fetch.min.bytes", "7"),
            ("acks", "all"),
            ("client.id", "x"),
        ]);
        let consumer = options.config_beside::<ConsumerConfig, ProducerConfig>("a:1", &[]);
        let producer = options.config_beside::<ProducerConfig, ConsumerConfig>("a:1", &[]);
        let (consumer, producer) = (consumer.expect("its own"), producer.expect("its own"));
        assert_eq!((consumer.fetch_min_bytes, producer.acks), (7, Acks::All));
        assert_eq!(
            [consumer.client.client_id, producer.client.client_id],
            ["x", "x"]
        );
    }

    #[test]
    fn an_option_that_no_configuration_knows_is_an_error() {
        let options = options(&[("fetch_min_bytes", "7")]);
        let config = options.config_beside::<ConsumerConfig, ProducerConfig>("a:1", &[]);
        assert_eq!(config.expect_err("misspelt").kind(), ErrorKind::Config);
    }
}
