//! `pat-events check`: how far a connection gets. In: the cluster and what the client is told. Out: a line for each step to each address, with what
//! to change where one fails; 0 when all is well.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `certificate` | what a certificate says |
//! | `report` | what the steps found, for people and as JSON |

mod certificate;
mod report;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use pat_events::kafka::net::{Diagnoser, Diagnosis, Finding};
use pat_events::kafka::{Address, ClientConfig};
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout};

use crate::Outcome;
use crate::cluster::Cluster;

/// The most addresses that are looked at at once.
const MOST_AT_ONCE: usize = 16;

/// Say step by step how far a connection to each broker gets, and what to change where it ends.
///
/// For each of the brokers named and each address that they advertise: the name in the DNS, TCP, TLS with the certificates that the broker
/// shows, what both sides speak, SASL, the cluster, and how far the clocks are apart. The exit status is 0 when all is well.
#[derive(Args)]
pub struct Check {
    #[command(flatten)]
    cluster: Cluster,
    /// One JSON object a line for each address.
    #[arg(short = 'J', long)]
    json: bool,
}

/// An address, and how far a connection to it gets.
struct Checked {
    address: Address,
    /// The broker that advertises it; `None` for one that the user named.
    advertised_by: Option<i32>,
    resolved: io::Result<Vec<SocketAddr>>,
    resolving: Duration,
    /// None where the name has no address.
    diagnosis: Option<Diagnosis>,
}

impl Check {
    pub async fn run(&self) -> Outcome {
        let config: ClientConfig = self.cluster.config(&[])?;
        let mut out = io::stdout();
        let mut problems = 0;
        let looker = Arc::new(Looker::new(&config)?);
        let mut named: BTreeMap<Address, Option<i32>> = BTreeMap::new();
        named.extend(
            config
                .bootstrap_addresses()?
                .into_iter()
                .map(|it| (it, None)),
        );
        let checked = check_all(&looker, named.clone()).await?;
        let mut advertised = BTreeMap::new();
        for checked in &checked {
            problems += self.print(checked, &mut out)?;
            for (broker, address) in checked.brokers() {
                if !named.contains_key(address) {
                    advertised.insert(address.clone(), Some(*broker));
                }
            }
        }
        let ids: Vec<_> = checked.iter().filter_map(Checked::cluster_id).collect();
        if let Some(other) = ids.iter().find(|id| **id != ids[0]) {
            eprintln!(
                "the brokers named belong to different clusters: {} and {other}",
                ids[0]
            );
            problems += 1;
        }
        let mut count = checked.len();
        for checked in check_all(&looker, advertised).await? {
            problems += self.print(&checked, &mut out)?;
            count += 1;
        }
        match problems {
            0 if self.json => Ok(()),
            0 if count == 1 => Ok(writeln!(out, "all is well at this address")?),
            0 => Ok(writeln!(out, "all is well at each of {count} addresses")?),
            problems => {
                let plural = if count == 1 { "" } else { "es" };
                Err(
                    format!("problems found: {problems}, at {count} address{plural} looked at")
                        .into(),
                )
            }
        }
    }

    /// Prints what came of one address, and returns how many problems there are.
    fn print(&self, checked: &Checked, out: &mut impl Write) -> Outcome<usize> {
        let lines = report::lines(checked);
        match self.json {
            true => writeln!(out, "{}", report::json(checked, &lines))?,
            false => report::print(checked, &lines, out)?,
        }
        Ok(lines.iter().filter(|line| line.is_problem).count())
    }
}

impl Checked {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        let steps = self.diagnosis.iter().flat_map(|it| &it.steps);
        steps.filter_map(|step| step.result.as_ref().ok())
    }

    /// The brokers that this one knows, and where they say to be.
    fn brokers(&self) -> &[(i32, Address)] {
        let brokers = self.findings().find_map(|found| match found {
            Finding::Cluster { brokers, .. } => Some(&**brokers),
            _ => None,
        });
        brokers.unwrap_or_default()
    }

    fn cluster_id(&self) -> Option<&str> {
        self.findings().find_map(|found| match found {
            Finding::Cluster { id, .. } => id.as_deref(),
            _ => None,
        })
    }
}

/// All `addresses`, some at once, in their order.
async fn check_all(
    looker: &Arc<Looker>,
    addresses: BTreeMap<Address, Option<i32>>,
) -> Outcome<Vec<Checked>> {
    let mut waiting = addresses.into_iter();
    let mut running = JoinSet::new();
    let mut checked = BTreeMap::new();
    loop {
        while running.len() < MOST_AT_ONCE
            && let Some((address, advertised_by)) = waiting.next()
        {
            let looker = looker.clone();
            running.spawn(async move { looker.check(address, advertised_by).await });
        }
        let Some(done) = running.join_next().await else {
            return Ok(checked.into_values().collect());
        };
        let done = done?;
        checked.insert(done.address.clone(), done);
    }
}

/// Looks at one address after the other, with one token for all of them.
struct Looker {
    diagnoser: Diagnoser,
    /// How long a name may take to be resolved.
    patience: Duration,
}

impl Looker {
    fn new(config: &ClientConfig) -> Outcome<Self> {
        Ok(Self {
            diagnoser: Diagnoser::new(config.clone())?,
            patience: config.connect_timeout,
        })
    }

    async fn check(&self, address: Address, advertised_by: Option<i32>) -> Checked {
        let began = Instant::now();
        let looking = async {
            let found: Vec<_> = lookup_host((address.host(), address.port()))
                .await?
                .collect();
            match found.is_empty() {
                true => Err(io::Error::new(io::ErrorKind::NotFound, "it has no address")),
                false => Ok(found),
            }
        };
        let resolved = match timeout(self.patience, looking).await {
            Ok(resolved) => resolved,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody knows it in time",
            )),
        };
        let resolving = began.elapsed();
        let diagnosis = match &resolved {
            Ok(_) => Some(self.diagnoser.diagnose(&address).await),
            Err(_) => None,
        };
        Checked {
            address,
            advertised_by,
            resolved,
            resolving,
            diagnosis,
        }
    }
}
