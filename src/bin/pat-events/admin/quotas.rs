//! `pat-events quotas`: what users, clients and addresses may use up. In: whom, and how much. Out: a line for each quota.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use pat_events::kafka::admin::{QuotaEntity, QuotaFilter, QuotaMatch};
use serde_json::{Value, json};

use super::Administered;
use crate::Outcome;
use crate::listing::Listing;

/// The name that stands for whoever has no quota of its own.
const DEFAULT: &str = "<default>";

#[derive(Subcommand)]
pub enum Action {
    /// Print quotas; those of whom is named, or all.
    List(Whom),
    /// Set or take away quotas, such as producer_byte_rate, consumer_byte_rate, request_percentage.
    Alter {
        #[command(flatten)]
        whom: Whom,
        /// Set this quota; may be given several times.
        #[arg(short = 'c', long = "set", value_name = "NAME=NUMBER", value_parser = quota)]
        set: Vec<(String, f64)>,
        /// Take this quota away; may be given several times.
        #[arg(long, value_name = "NAME")]
        unset: Vec<String>,
        /// Only ask whether it could be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
pub struct Whom {
    /// A user; <default> for all without a quota of their own.
    #[arg(long)]
    user: Option<String>,
    /// A client id; <default> likewise.
    #[arg(long)]
    client_id: Option<String>,
    /// An address; <default> likewise.
    #[arg(long, conflicts_with_all = ["user", "client_id"])]
    ip: Option<String>,
}

fn quota(text: &str) -> Result<(String, f64), String> {
    let (name, value) = crate::cluster::property(text)?;
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((name, number)),
        _ => Err(format!(
            "{value:?} is no number, as in producer_byte_rate=1000000"
        )),
    }
}

impl Whom {
    /// Kafka's names of those that are named.
    fn named(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let all = [
            ("user", &self.user),
            ("client-id", &self.client_id),
            ("ip", &self.ip),
        ];
        all.into_iter()
            .filter_map(|(sort, name)| Some((sort, name.as_ref()?)))
    }

    fn filter(&self) -> QuotaFilter {
        self.named()
            .fold(QuotaFilter::default(), |filter, (sort, name)| {
                let what = match name.as_str() {
                    DEFAULT => QuotaMatch::Default,
                    name => QuotaMatch::Name(name.to_owned()),
                };
                filter.component(sort, what)
            })
    }

    fn entity(&self) -> Option<QuotaEntity> {
        let name = |name: &String| Some(name.clone()).filter(|name| name != DEFAULT);
        let mut entity: Option<QuotaEntity> = None;
        for (sort, named) in self.named() {
            let one = match (sort, name(named)) {
                ("user", Some(name)) => QuotaEntity::user(name),
                ("user", None) => QuotaEntity::default_user(),
                ("client-id", Some(name)) => QuotaEntity::client_id(name),
                ("client-id", None) => QuotaEntity::default_client_id(),
                (_, Some(name)) => QuotaEntity::ip(name),
                (_, None) => QuotaEntity::default_ip(),
            };
            entity = Some(match entity {
                Some(entity) => entity.with(sort, name(named)),
                None => one,
            });
        }
        entity
    }
}

fn object(entity: &QuotaEntity) -> Value {
    let shown = |sort: &str| {
        entity
            .names
            .get(sort)
            .map(|name| name.clone().unwrap_or(DEFAULT.to_owned()))
    };
    json!({"user": shown("user"), "client_id": shown("client-id"), "ip": shown("ip")})
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        match &self.action {
            Action::List(whom) => {
                let admin = self.cluster.admin().await?;
                let columns = [
                    ("USER", "user"),
                    ("CLIENT ID", "client_id"),
                    ("IP", "ip"),
                    ("QUOTA", "quota"),
                    ("VALUE", "value"),
                ];
                let mut listing = Listing::new(self.form, &columns);
                for (entity, quotas) in admin.describe_client_quotas(&whom.filter()).await? {
                    for (name, value) in quotas {
                        let mut thing = object(&entity);
                        thing["quota"] = json!(name);
                        thing["value"] = json!(value);
                        listing.add(thing);
                    }
                }
                listing.end()
            }
            Action::Alter {
                whom,
                set,
                unset,
                dry_run,
            } => {
                let entity = whom
                    .entity()
                    .ok_or("whose quota? Say --user, --client-id or --ip")?;
                let set = set.iter().map(|(name, value)| (name.clone(), Some(*value)));
                let changes: BTreeMap<_, _> = set
                    .chain(unset.iter().map(|name| (name.clone(), None)))
                    .collect();
                if changes.is_empty() {
                    return Err("nothing to change: say -c NAME=NUMBER or --unset NAME".into());
                }
                let admin = self.cluster.admin().await?;
                let mut listing = Listing::new(self.form, &[]);
                let changes = BTreeMap::from([(entity, changes)]);
                let done = if *dry_run {
                    "could be altered"
                } else {
                    "altered"
                };
                for (entity, result) in admin.alter_client_quotas(&changes, *dry_run).await? {
                    listing.result(object(&entity), result, format!("{done}: {entity}"));
                }
                listing.end()
            }
        }
    }
}
