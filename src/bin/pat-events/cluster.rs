//! The options by which every command finds its cluster and says who it is. In: flags, files and the environment. Out: any of the client's
//! configurations.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use pat_events::kafka::config::{PropertiesFile, variable_name};
use pat_events::kafka::{Admin, Result};
use pat_events::{events, kafka};

use crate::Outcome;
use crate::waiting::explained;

/// The option that says where brokers are, and where they are looked for when nobody says.
const SERVERS: &str = "bootstrap.servers";
const LOCAL: &str = "localhost:9092";
/// The file that is read when none is named, and the name that stands for none.
const DEFAULT_FILE: &str = "pat-events.conf";
const NO_FILE: &str = "none";

/// Where the cluster is, and what else the client is told.
#[derive(Args, Clone)]
pub struct Cluster {
    /// Brokers to find the cluster by, as host:port with commas between several. Without it, what bootstrap.servers says elsewhere
    /// (KAFKA_BOOTSTRAP_SERVERS in the environment); otherwise localhost:9092.
    #[arg(short, long, global = true)]
    brokers: Option<String>,
    #[command(flatten)]
    options: Options,
}

/// What the client is told beyond the flags of the command: TLS and SASL among it.
#[derive(Args, Clone)]
pub struct Options {
    /// A file of the client's options, as Kafka's own tools and kcat take it: a line NAME=VALUE for each. Without it, pat-events.conf in
    /// $XDG_CONFIG_HOME (~/.config), if it is there; "none" reads none.
    ///
    /// The syntax is that of Java's .properties, names are Java's or librdkafka's. What is for other commands is passed over. Of two settings
    /// the later counts: the default file, the environment (KAFKA_SASL_PASSWORD for sasl.password), the file that is named, the command line.
    #[arg(
        short = 'F',
        long,
        alias = "command-config",
        global = true,
        value_name = "FILE"
    )]
    config_file: Option<PathBuf>,
    /// An option of the client by its Java-style name; may be given several times.
    ///
    /// Whoever is on this machine sees command lines: secrets belong in a file or in the environment.
    // Read later: what is wrong would be shown here, and may be a secret.
    #[arg(short = 'X', global = true, value_name = "NAME=VALUE")]
    options: Vec<String>,
    /// The profile of the file: its lines profile.PROFILE.NAME=VALUE count as NAME=VALUE, and more than those without a profile.
    #[arg(
        long,
        global = true,
        value_name = "PROFILE",
        env = "PAT_EVENTS_PROFILE"
    )]
    profile: Option<String>,
    #[arg(skip)]
    own_broker: bool,
    /// The file, once it was read: a pipe (-F <(command)) can be read only once.
    #[arg(skip)]
    read: Arc<OnceLock<PropertiesFile>>,
}

/// Somebody who says something.
enum Said<'a> {
    File(FileAndProfile<'a>),
    Environment,
    CommandLine(Vec<(&'a str, &'a str)>),
}

/// A file, of which one profile counts.
struct FileAndProfile<'a> {
    file: &'a PropertiesFile,
    profile: Option<&'a str>,
}

impl FileAndProfile<'_> {
    /// Hands on what is said without a profile, then what the profile says. Fails when there is no such profile.
    fn each(&self, mut set: impl FnMut(&str, &str) -> Result<()>) -> Outcome {
        let mut profiles = BTreeSet::new();
        self.file.each(|name, value| match of_profile(name) {
            Some((profile, _)) => {
                profiles.insert(profile.to_owned());
                Ok(())
            }
            None => set(name, value),
        })?;
        let Some(wanted) = self.profile else {
            return Ok(());
        };
        if !profiles.contains(wanted) {
            let known = match profiles.is_empty() {
                true => "it has none: a profile is lines profile.PROFILE.NAME=VALUE".to_owned(),
                false => format!("it has {}", Vec::from_iter(profiles).join(", ")),
            };
            return Err(
                format!("there is no profile {wanted:?} in the file of options: {known}").into(),
            );
        }
        Ok(self.file.each(|name, value| match of_profile(name) {
            Some((profile, name)) if profile == wanted => set(name, value),
            _ => Ok(()),
        })?)
    }
}

/// The profile that an option is of, and its name: of `profile.test.acks`, `test` and `acks`.
fn of_profile(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("profile.")?.split_once('.')
}

impl<'a> Said<'a> {
    /// The names of what the command line says.
    fn on_command_line(&self) -> Vec<&'a str> {
        match self {
            Self::CommandLine(pairs) => pairs.iter().map(|(name, _)| *name).collect(),
            _ => Vec::new(),
        }
    }
}

impl Cluster {
    /// A client for administration, once a broker has answered.
    pub async fn admin(&self) -> Outcome<Admin> {
        let connecting = Admin::connect(self.config(&[])?);
        Ok(self.explained(connecting).await?)
    }

    /// Waits for what needs the brokers, and says on the standard error what they do when that takes long.
    pub async fn explained<T>(&self, work: impl Future<Output = T>) -> T {
        explained(&self.brokers().unwrap_or_default(), work).await
    }

    /// As [`Options::config`], for the brokers that were named.
    pub fn config<C: Configuration>(&self, given: &[(&str, &str)]) -> Outcome<C> {
        self.options.config(&self.brokers()?, given)
    }

    fn brokers(&self) -> Outcome<String> {
        let named = self.options.brokers(self.brokers.as_deref(), |_| true)?;
        Ok(named.unwrap_or_else(|| LOCAL.to_owned()))
    }
}

impl Options {
    /// For a command that brings a broker of its own where the command line names none: the brokers that it names, by flag (`named`), -X or
    /// -F, and what to tell the client. What the environment and the default file say is meant for other clusters.
    pub fn brokers_or_own(&self, named: Option<&str>) -> Outcome<(Option<String>, Options)> {
        let mut options = self.clone();
        options.own_broker = true;
        let is_explicit = |said: &Said<'_>| !matches!(said, Said::Environment);
        let brokers = options.brokers(named, is_explicit)?;
        options.own_broker = brokers.is_none();
        Ok((brokers, options))
    }

    /// The defaults, changed by what was said: in the default file, in the environment, in the file that was named; by `brokers` and what the
    /// command has `given`; with -X. Of two the later counts.
    pub fn config<C: Configuration>(&self, brokers: &str, given: &[(&str, &str)]) -> Outcome<C> {
        self.configured(brokers, given, false)
    }

    /// As [`Options::config`], for a command that has other configurations as well: what only those know is not for this one.
    pub fn config_beside<C: Configuration>(
        &self,
        brokers: &str,
        given: &[(&str, &str)],
    ) -> Outcome<C> {
        self.configured(brokers, given, true)
    }

    fn configured<C: Configuration>(
        &self,
        brokers: &str,
        given: &[(&str, &str)],
        beside: bool,
    ) -> Outcome<C> {
        let names = C::names();
        let is_for_others = |name: &str| !names.contains(&name) && is_known(name);
        let mut config = C::default();
        let said = self.said(&[&[(SERVERS, brokers)], given].concat())?;
        // A variable that the command line overrides is not even looked at: it may be wrong, or for others.
        let overridden: Vec<_> = said.iter().flat_map(Said::on_command_line).collect();
        for said in said {
            match said {
                Said::File(file) => file.each(|name, value| match is_for_others(name) {
                    true => Ok(()),
                    false => config.change(name, value),
                })?,
                Said::Environment => {
                    for name in names.iter().filter(|it| !overridden.contains(it)) {
                        if let Ok(value) = env::var(variable_name(name)) {
                            config.change(name, &value)?;
                        }
                    }
                }
                Said::CommandLine(pairs) => {
                    for (name, value) in pairs {
                        if !(beside && is_for_others(name)) {
                            config.change(name, value)?;
                        }
                    }
                }
            }
        }
        config.check()?;
        Ok(config)
    }

    /// The brokers that the last of those that `count` names, after `named`, which -X alone is above.
    fn brokers(
        &self,
        named: Option<&str>,
        count: impl Fn(&Said<'_>) -> bool,
    ) -> Outcome<Option<String>> {
        let mut brokers = None;
        let mut heard = |name: &str, value: &str| {
            if name == SERVERS {
                brokers = Some(value.to_owned());
            }
            Ok(())
        };
        let given: Vec<_> = named.iter().map(|named| (SERVERS, *named)).collect();
        for said in self.said(&given)?.into_iter().filter(count) {
            match said {
                Said::File(file) => file.each(&mut heard)?,
                Said::Environment => {
                    if let Ok(value) = env::var(variable_name(SERVERS)) {
                        heard(SERVERS, &value)?;
                    }
                }
                Said::CommandLine(pairs) => {
                    pairs
                        .into_iter()
                        .try_for_each(|(name, value)| heard(name, value))?;
                }
            }
        }
        Ok(brokers)
    }

    /// The file that is named, or the default one; none where there is none or it is not for this command.
    fn file(&self) -> Outcome<Option<&PropertiesFile>> {
        let path = match &self.config_file {
            Some(path) => Some(path.clone()).filter(|path| path != Path::new(NO_FILE)),
            None if self.own_broker => None,
            None => default_file().filter(|path| path.exists()),
        };
        let Some(path) = path else {
            return Ok(None);
        };
        if self.read.get().is_none() {
            let read = PropertiesFile::read(path)?;
            self.read.get_or_init(|| read);
        }
        Ok(self.read.get())
    }

    /// Everybody who says something, the weakest first; the flags of the command are `given`.
    fn said<'a>(&'a self, given: &[(&'a str, &'a str)]) -> Outcome<Vec<Said<'a>>> {
        let profile = self.profile.as_deref();
        let file = self.file()?;
        if let (None, Some(profile)) = (file, profile.filter(|_| !self.own_broker)) {
            return Err(format!(
                "there is no file with the profile {profile:?}: name one with -F, or write pat-events.conf in $XDG_CONFIG_HOME (~/.config)"
            )
            .into());
        }
        let file = file.map(|file| Said::File(FileAndProfile { file, profile }));
        let (default, named) = match self.config_file {
            Some(_) => (None, file),
            None => (file, None),
        };
        let environment = [Said::Environment];
        let mut said: Vec<_> = default
            .into_iter()
            .chain(environment)
            .chain(named)
            .collect();
        let mut pairs = Vec::new();
        if self.own_broker {
            pairs.push(("security.protocol", "PLAINTEXT"));
        }
        pairs.extend(given);
        for option in &self.options {
            let pair = option.split_once('=').filter(|(name, _)| !name.is_empty());
            pairs.push(pair.ok_or(
                "-X needs NAME=VALUE, such as linger.ms=20 (what was there is not shown: it may be a secret)",
            )?);
        }
        said.push(Said::CommandLine(pairs));
        Ok(said)
    }
}

/// The file that is read when none is named.
fn default_file() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|path| !path.is_empty());
    let folder = match set("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(&set("HOME")?).join(".config"),
    };
    Some(folder.join(DEFAULT_FILE))
}

/// What the configurations of the client have in common.
pub trait Configuration: Default {
    /// The names of the options.
    fn names() -> Vec<&'static str>;
    /// Sets an option.
    fn change(&mut self, name: &str, value: &str) -> Result<()>;
    /// Checks everything, after all was set.
    fn check(&self) -> Result<()>;
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

            fn check(&self) -> Result<()> {
                self.validate()
            }
        })*

        /// Whether any configuration has an option of this name.
        fn is_known(name: &str) -> bool {
            [$(<$config>::property_names()),*].iter().any(|names| names.contains(&name))
        }
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
    use std::fs;

    use pat_events::kafka::{Acks, ClientConfig, ConsumerConfig, ProducerConfig};

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let options = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        Options {
            config_file: Some(PathBuf::from(NO_FILE)),
            options: options.collect(),
            profile: None,
            own_broker: false,
            read: Arc::default(),
        }
    }

    /// With a file of this text, which lives as long as what is returned last.
    fn with_file(text: &str, pairs: &[(&str, &str)]) -> (Options, Temporary) {
        let path = env::temp_dir().join(crate::unique::unique_name("pat-events"));
        fs::write(&path, text).expect("written");
        let mut options = options(pairs);
        options.config_file = Some(path.clone());
        (options, Temporary(path))
    }

    struct Temporary(PathBuf);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
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
    fn the_file_is_read_once_for_all_configurations_as_a_pipe_can_be() {
        let (options, file) = with_file("client.id=from-the-file\n", &[]);
        let first: ClientConfig = options.config("a:1", &[]).expect("a client's");
        drop(file);
        let second: ClientConfig = options.clone().config("a:1", &[]).expect("a client's");
        assert_eq!(&*first.client_id, "from-the-file");
        assert_eq!(second.client_id, first.client_id);
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
        let consumer: ConsumerConfig = options.config_beside("a:1", &[]).expect("its own");
        let producer: ProducerConfig = options.config_beside("a:1", &[]).expect("its own");
        assert_eq!((consumer.fetch_min_bytes, producer.acks), (7, Acks::All));
        assert_eq!(
            [consumer.client.client_id, producer.client.client_id],
            ["x", "x"]
        );
    }

    #[test]
    fn an_option_that_no_configuration_knows_is_an_error() {
        let options = options(&[("fetch_min_bytes", "7")]);
        let config: Outcome<ConsumerConfig> = options.config_beside("a:1", &[]);
        let error = config.map(|_| ()).expect_err("misspelt").to_string();
        assert!(error.contains("fetch_min_bytes"), "{error}");
        let error = options.config::<ConsumerConfig>("a:1", &[]);
        assert!(error.is_err());
    }

    #[test]
    fn the_command_line_counts_before_the_file() {
        let file =
            "client.id=of-the-file\nlinger.ms=7\ngroup.id=g\nssl.ca.location=/file\nretries=1";
        let said = [("ssl.truststore.location", "/line"), ("retries", "3")];
        let (options, _file) = with_file(file, &said);
        let config: ProducerConfig = options
            .config("a:1", &[("linger.ms", "8"), ("retries", "2")])
            .expect("a producer's");
        assert_eq!(config.client.client_id, "of-the-file");
        assert_eq!((config.linger.as_millis(), config.retries), (8, 3));
        // Under another name, too.
        let roots = format!("{:?}", config.client.security.tls.roots);
        assert!(roots.contains("/line"), "{roots}");
    }

    #[test]
    fn an_unknown_option_in_a_file_is_told_with_its_place() {
        let (options, file) = with_file("# mine\nlinger.msec=7", &[]);
        let config: Outcome<ProducerConfig> = options.config("a:1", &[]);
        let error = config.map(|_| ()).expect_err("misspelt").to_string();
        let place = format!("{}:2: there is no option \"linger.msec\"", file.0.display());
        assert!(error.starts_with(&place), "{error}");
    }

    #[test]
    fn a_profile_of_a_file_counts_more_than_what_has_none() {
        let text = "linger.ms=1\nprofile.slow.linger.ms=9\nretries=5\nprofile.fast.linger.ms=2";
        let (mut options, _file) = with_file(text, &[]);
        let linger = |options: &Options| {
            let config: Outcome<ProducerConfig> = options.config("a:1", &[]);
            config.map(|config| (config.linger.as_millis(), config.retries))
        };
        assert_eq!(linger(&options).expect("no profile"), (1, 5));
        options.profile = Some("slow".to_owned());
        assert_eq!(linger(&options).expect("slow"), (9, 5));
        options.profile = Some("other".to_owned());
        let error = linger(&options).expect_err("no such profile").to_string();
        assert!(error.contains("it has fast, slow"), "{error}");
        options.config_file = Some(PathBuf::from(NO_FILE));
        let error = linger(&options).expect_err("no file").to_string();
        assert!(
            error.contains("no file with the profile \"other\""),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_option_is_not_shown() {
        let mut options = options(&[]);
        options.options.push("hunter2".to_owned());
        let config: Outcome<ClientConfig> = options.config("a:1", &[]);
        let error = config.map(|_| ()).expect_err("no value").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn brokers_are_named_by_the_command_line_or_its_file_or_there_is_one_of_its_own() {
        let (in_file, _file) = with_file("bootstrap.servers=f:1\nsecurity.protocol=SSL", &[]);
        let named = |options: &Options, flag| options.brokers_or_own(flag).expect("a file").0;
        assert_eq!(named(&in_file, None).as_deref(), Some("f:1"));
        assert_eq!(named(&in_file, Some("a:1")).as_deref(), Some("a:1"));
        let said = options(&[(SERVERS, "x:1")]);
        assert_eq!(named(&said, Some("a:1")).as_deref(), Some("x:1"));
        // The broker of its own wants no TLS, whatever the file says of others.
        let (elsewhere, _file) = with_file("security.protocol=SSL\nclient.id=x", &[]);
        let (brokers, options) = elsewhere.brokers_or_own(None).expect("a file");
        assert_eq!(brokers, None);
        let config: ClientConfig = options.config("own:1", &[]).expect("a client's");
        assert!(!config.security.protocol.uses_tls());
        assert_eq!(config.client_id, "x");
    }
}
