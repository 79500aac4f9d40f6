//! `pat-events api`: what brokers speak. In: the cluster. Out: for each API this client's versions, the brokers', and the one chosen.

use std::io::{self, Write};

use clap::Args;
use pat_events::kafka::{Admin, ApiVersions, BrokerDescription, VersionRange};
use serde_json::json;

use crate::Outcome;
use crate::cluster::Cluster;

/// List each API with the versions that this client speaks, those that the brokers speak, and the one chosen.
#[derive(Args)]
pub struct Api {
    #[command(flatten)]
    cluster: Cluster,
    /// Ask the broker with this id alone, not all of them.
    #[arg(short = 'i', long, value_name = "ID")]
    broker: Option<i32>,
    /// One JSON object a line, with `brokers`, `key`, `api`, `client`, `broker` and `chosen`.
    #[arg(short = 'J', long)]
    json: bool,
}

impl Api {
    pub async fn run(&self) -> Outcome {
        let admin = Admin::connect(self.cluster.config(&[])?);
        let admin = self.cluster.explained(admin).await?;
        let mut brokers = admin.describe_cluster().await?.brokers;
        if let Some(id) = self.broker {
            brokers.retain(|broker| broker.id == id);
            if brokers.is_empty() {
                return Err(format!("no broker of the cluster has the id {id}").into());
            }
        }
        // Brokers of one version say the same: they share a table.
        let mut tables: Vec<(Vec<BrokerDescription>, Vec<ApiVersions>)> = Vec::new();
        for broker in brokers {
            let spoken = admin.api_versions(broker.id).await?;
            match tables.iter_mut().find(|(_, other)| *other == spoken) {
                Some((brokers, _)) => brokers.push(broker),
                None => tables.push((vec![broker], spoken)),
            }
        }
        let mut out = io::stdout();
        for (brokers, spoken) in &tables {
            match self.json {
                true => print_json(brokers, spoken, &mut out)?,
                false => print_table(brokers, spoken, &mut out)?,
            }
        }
        Ok(())
    }
}

fn print_table(
    brokers: &[BrokerDescription],
    spoken: &[ApiVersions],
    out: &mut impl Write,
) -> io::Result<()> {
    for broker in brokers {
        writeln!(out, "broker {} at {}", broker.id, broker.address)?;
    }
    fn shown(version: Option<impl ToString>) -> String {
        version.map_or("-".to_owned(), |version| version.to_string())
    }
    writeln!(
        out,
        "{:>4}  {:<36} {:>7} {:>7} {:>7}",
        "key", "api", "client", "broker", "chosen"
    )?;
    for api in spoken {
        let (client, broker) = (shown(api.client), shown(api.broker));
        let chosen = shown(api.chosen());
        writeln!(
            out,
            "{:>4}  {:<36} {client:>7} {broker:>7} {chosen:>7}",
            api.key.0,
            api.key.name()
        )?;
    }
    Ok(())
}

fn print_json(
    brokers: &[BrokerDescription],
    spoken: &[ApiVersions],
    out: &mut impl Write,
) -> io::Result<()> {
    let brokers: Vec<i32> = brokers.iter().map(|broker| broker.id).collect();
    let range = |range: Option<VersionRange>| range.map(|range| (range.min, range.max));
    for api in spoken {
        let line = json!({
            "brokers": brokers,
            "key": api.key.0,
            "api": api.key.name(),
            "client": range(api.client),
            "broker": range(api.broker),
            "chosen": api.chosen(),
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
