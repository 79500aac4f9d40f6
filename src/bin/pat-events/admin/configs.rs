//! `pat-events configs`: configuration of topics, brokers, groups and client metrics. In: resources, and what is to change. Out: a line for each
//! setting, or for each resource.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pat_events::kafka::Admin;
use pat_events::kafka::admin::{
    AlterConfig, ConfigDescription, ConfigKind, ConfigResource, ConfigResourceKind, ConfigSource,
    DescribeConfigsOptions,
};
use pat_events::kafka::config::PropertiesFile;
use serde_json::{Value, json};

use super::Administered;
use super::partitions::with;
use crate::Outcome;
use crate::listing::Listing;

#[derive(Subcommand)]
pub enum Action {
    /// Print the names of what has a configuration of its own, or may have one.
    List {
        /// Of this kind only.
        kind: Option<Kind>,
    },
    /// Print settings: those that somebody has made, or all.
    Describe {
        #[command(flatten)]
        resources: Resources,
        /// Defaults, too.
        #[arg(short, long)]
        all: bool,
        /// Only settings of these names; may be given several times.
        #[arg(short, long = "name", value_name = "NAME")]
        names: Vec<String>,
        /// What each setting is for, too.
        #[arg(long)]
        documentation: bool,
        /// What would have set each setting, the strongest first, too.
        #[arg(long)]
        synonyms: bool,
    },
    /// Change settings, and leave all others as they are. Of each resource either all changes are made or none.
    Alter {
        #[command(flatten)]
        resources: Resources,
        #[command(flatten)]
        changes: Changes,
        /// Only ask whether it could be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
pub struct Resources {
    /// What has the settings.
    kind: Kind,
    /// Their names: of topics, groups and client metrics; of brokers their ids.
    #[arg(required_unless_present = "default")]
    resources: Vec<String>,
    /// What brokers take that have no value of their own.
    #[arg(long)]
    default: bool,
}

/// What is to change.
#[derive(Args)]
pub struct Changes {
    /// Set this; may be given several times.
    #[arg(short = 'c', long = "set", visible_alias = "config", value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    set: Vec<(String, String)>,
    /// Set what this file says: a line NAME=VALUE for each.
    #[arg(long, value_name = "FILE")]
    set_from: Option<PathBuf>,
    /// Take the default again; may be given several times.
    #[arg(long, visible_alias = "delete-config", value_name = "NAME")]
    unset: Vec<String>,
    /// Add a value to a list; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    append: Vec<(String, String)>,
    /// Take a value out of a list; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
    subtract: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    #[value(alias = "topics")]
    Topic,
    #[value(alias = "brokers")]
    Broker,
    #[value(alias = "broker-loggers")]
    BrokerLogger,
    #[value(alias = "groups")]
    Group,
    ClientMetrics,
}

impl Kind {
    fn resource(self) -> ConfigResourceKind {
        match self {
            Kind::Topic => ConfigResourceKind::Topic,
            Kind::Broker => ConfigResourceKind::Broker,
            Kind::BrokerLogger => ConfigResourceKind::BrokerLogger,
            Kind::Group => ConfigResourceKind::Group,
            Kind::ClientMetrics => ConfigResourceKind::ClientMetrics,
        }
    }
}

/// The name of a kind of resource.
fn name_of(kind: ConfigResourceKind) -> String {
    match kind {
        ConfigResourceKind::Topic => "topic".to_owned(),
        ConfigResourceKind::Broker => "broker".to_owned(),
        ConfigResourceKind::BrokerLogger => "broker-logger".to_owned(),
        ConfigResourceKind::Group => "group".to_owned(),
        ConfigResourceKind::ClientMetrics => "client-metrics".to_owned(),
        ConfigResourceKind::Other(number) => format!("type {number}"),
        _ => "unknown".to_owned(),
    }
}

/// Kafka's name of where a value comes from.
fn source(source: ConfigSource) -> &'static str {
    match source {
        ConfigSource::Topic => "topic",
        ConfigSource::DynamicBroker => "broker",
        ConfigSource::DynamicDefaultBroker => "all brokers",
        ConfigSource::StaticBroker => "broker's file",
        ConfigSource::Default => "default",
        ConfigSource::DynamicBrokerLogger => "broker logger",
        ConfigSource::ClientMetrics => "client metrics",
        ConfigSource::Group => "group",
        _ => "unknown",
    }
}

fn kind(kind: ConfigKind) -> String {
    format!("{kind:?}").to_lowercase()
}

impl Resources {
    fn named(&self) -> Outcome<Vec<ConfigResource>> {
        let kind = self.kind.resource();
        let is_of_brokers = matches!(self.kind, Kind::Broker | Kind::BrokerLogger);
        if self.default && self.kind != Kind::Broker {
            return Err("--default is what all brokers take: only broker has it".into());
        }
        let wrong = self.resources.iter().find(|it| it.parse::<i32>().is_err());
        if let Some(wrong) = wrong.filter(|_| is_of_brokers) {
            return Err(format!("{wrong:?} is no id of a broker, such as 1").into());
        }
        let mut named: Vec<_> = self
            .resources
            .iter()
            .map(|name| ConfigResource::new(kind, name))
            .collect();
        if self.default {
            named.push(ConfigResource::all_brokers());
        }
        Ok(named)
    }
}

impl Changes {
    /// Each alteration by its name. Fails when there is none, and when a name is altered in two ways.
    pub fn read(&self) -> Outcome<Vec<(String, AlterConfig)>> {
        let mut changes = self.given()?;
        if changes.is_empty() {
            return Err("nothing to change: say -c NAME=VALUE, --set-from FILE, --unset NAME, --append or --subtract NAME=VALUE".into());
        }
        changes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let twice = changes.windows(2).find(|pair| pair[0].0 == pair[1].0);
        match twice {
            Some(pair) => Err(format!(
                "{} is to be changed twice: say once what it is to be",
                pair[0].0
            )
            .into()),
            None => Ok(changes),
        }
    }

    /// Whether anything is to change.
    pub fn are_given(&self) -> bool {
        let lists = [
            self.set.is_empty(),
            self.append.is_empty(),
            self.subtract.is_empty(),
        ];
        lists.contains(&false) || !self.unset.is_empty() || self.set_from.is_some()
    }

    fn given(&self) -> Outcome<Vec<(String, AlterConfig)>> {
        let mut changes = Vec::new();
        if let Some(path) = &self.set_from {
            // The last of two lines counts, as with Java's properties.
            let mut of_file = BTreeMap::new();
            PropertiesFile::read(path)?.each(|name, value| {
                of_file.insert(name.to_owned(), value.to_owned());
                Ok(())
            })?;
            let of_file = of_file.into_iter();
            changes.extend(of_file.map(|(name, value)| (name, AlterConfig::Set(value))));
        }
        type Change = fn(String) -> AlterConfig;
        let lists: [(&Vec<(String, String)>, Change); 3] = [
            (&self.set, AlterConfig::Set),
            (&self.append, AlterConfig::Append),
            (&self.subtract, AlterConfig::Subtract),
        ];
        for (list, change) in lists {
            let pairs = list.iter().cloned();
            changes.extend(pairs.map(|(name, value)| (name, change(value))));
        }
        let unset = self.unset.iter().cloned();
        changes.extend(unset.map(|name| (name, AlterConfig::Delete)));
        Ok(changes)
    }
}

/// Makes changes of each of these resources, and tells what came of each.
pub async fn alter(
    admin: &Admin,
    resources: &[ConfigResource],
    changes: &[(String, AlterConfig)],
    dry_run: bool,
    listing: &mut Listing,
) -> Outcome {
    let alterations = resources
        .iter()
        .map(|it| (it.clone(), changes.to_vec()))
        .collect();
    let done = if dry_run {
        "could be altered"
    } else {
        "altered"
    };
    let names: Vec<&str> = changes.iter().map(|(name, _)| name.as_str()).collect();
    for (resource, result) in admin
        .incremental_alter_configs(&alterations, dry_run)
        .await?
    {
        let thing = with(
            object(&resource),
            json!({"altered": names, "dry_run": dry_run}),
        );
        listing.result(thing, result, format!("{done}: {resource}"));
    }
    Ok(())
}

/// What names a resource in JSON.
fn object(resource: &ConfigResource) -> Value {
    json!({"kind": name_of(resource.kind), "resource": resource.name})
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        match &self.action {
            Action::List { kind } => self.list(*kind).await,
            Action::Describe {
                resources,
                all,
                names,
                documentation,
                synonyms,
            } => {
                let mut options = DescribeConfigsOptions::default();
                options.include_documentation = *documentation;
                options.include_synonyms = *synonyms;
                let shown = Shown {
                    all: *all,
                    names: names.iter().cloned().collect(),
                };
                self.describe(&resources.named()?, &options, &shown).await
            }
            Action::Alter {
                resources,
                changes,
                dry_run,
            } => {
                let (resources, changes) = (resources.named()?, changes.read()?);
                let admin = self.cluster.admin().await?;
                let mut listing = Listing::new(self.form, &[]);
                alter(&admin, &resources, &changes, *dry_run, &mut listing).await?;
                listing.end()
            }
        }
    }

    async fn list(&self, kind: Option<Kind>) -> Outcome {
        let admin = self.cluster.admin().await?;
        let kinds: Vec<_> = kind.into_iter().map(Kind::resource).collect();
        let mut listing = Listing::new(self.form, &[("KIND", "kind"), ("NAME", "resource")]);
        for resource in admin.list_config_resources(&kinds).await? {
            listing.add(object(&resource));
        }
        listing.end()
    }

    async fn describe(
        &self,
        resources: &[ConfigResource],
        options: &DescribeConfigsOptions,
        shown: &Shown,
    ) -> Outcome {
        let admin = self.cluster.admin().await?;
        let mut columns = vec![
            ("KIND", "kind"),
            ("OF", "resource"),
            ("NAME", "name"),
            ("VALUE", "value"),
            ("FROM", "source"),
        ];
        if options.include_synonyms {
            columns.push(("SYNONYMS", "synonym_texts"));
        }
        if options.include_documentation {
            columns.push(("DOCUMENTATION", "documentation"));
        }
        let mut listing = Listing::new(self.form, &columns);
        for (resource, configs) in admin.describe_configs(resources, options).await? {
            match configs {
                Ok(configs) => {
                    let lines: Vec<Value> = configs
                        .iter()
                        .filter(|(name, config)| shown.includes(name, config))
                        .map(|(name, config)| with(object(&resource), setting(name, config)))
                        .collect();
                    let thing = with(object(&resource), json!({"configs": lines}));
                    listing.add_with_parts(&thing, &lines);
                }
                Err(error) => listing.failed(object(&resource), &error),
            }
        }
        listing.end()
    }
}

/// Which settings are shown.
struct Shown {
    all: bool,
    names: BTreeSet<String>,
}

impl Shown {
    fn includes(&self, name: &str, config: &ConfigDescription) -> bool {
        match self.names.is_empty() {
            true => self.all || is_own(config),
            false => self.names.contains(name),
        }
    }
}

/// Whether somebody has set it, where it is.
fn is_own(config: &ConfigDescription) -> bool {
    !matches!(
        config.source,
        ConfigSource::Default | ConfigSource::StaticBroker
    )
}

fn setting(name: &str, config: &ConfigDescription) -> Value {
    let shown = |value: &Option<String>, is_secret| match value {
        None if is_secret => json!("(secret)"),
        value => json!(value),
    };
    let synonyms = config.synonyms.iter();
    let texts = config.synonyms.iter().map(|it| {
        let value = it.value.as_deref().unwrap_or("-");
        format!("{}={value} ({})", it.name, source(it.source))
    });
    json!({
        "name": name,
        "value": shown(&config.value, config.is_sensitive),
        "source": source(config.source),
        "type": kind(config.kind),
        "is_read_only": config.is_read_only,
        "is_sensitive": config.is_sensitive,
        "documentation": config.documentation,
        "synonyms": synonyms
            .map(|it| json!({"name": it.name, "value": it.value, "source": source(it.source)}))
            .collect::<Vec<_>>(),
        "synonym_texts": texts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes() -> Changes {
        Changes {
            set: Vec::new(),
            set_from: None,
            unset: Vec::new(),
            append: Vec::new(),
            subtract: Vec::new(),
        }
    }

    #[test]
    fn a_setting_is_changed_in_one_way_or_the_command_line_is_refused() {
        let pair = |value: &str| ("retention.ms".to_owned(), value.to_owned());
        let mut twice = changes();
        twice.set = vec![pair("1")];
        twice.unset = vec!["retention.ms".to_owned()];
        let error = twice.read().expect_err("twice").to_string();
        assert!(
            error.starts_with("retention.ms is to be changed twice"),
            "{error}"
        );
        let nothing = changes().read().expect_err("nothing").to_string();
        assert!(nothing.contains("-c NAME=VALUE"), "{nothing}");
        twice.unset.clear();
        let set = AlterConfig::Set("1".to_owned());
        assert_eq!(
            twice.read().expect("once"),
            [("retention.ms".to_owned(), set)]
        );
    }

    #[test]
    fn brokers_are_named_by_their_ids() {
        let resources = |kind, names: &[&str], default| Resources {
            kind,
            resources: names.iter().map(|name| name.to_string()).collect(),
            default,
        };
        let error = resources(Kind::Broker, &["one"], false)
            .named()
            .expect_err("no id");
        assert!(error.to_string().contains("no id of a broker"));
        assert!(resources(Kind::Topic, &["t"], true).named().is_err());
        let all = resources(Kind::Broker, &[], true).named().expect("all");
        assert_eq!(all, [ConfigResource::all_brokers()]);
    }
}
