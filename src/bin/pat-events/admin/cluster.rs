//! `pat-events cluster`: who is in the cluster. In: nothing more. Out: a line for each broker.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use crate::Outcome;
use crate::cluster::Cluster;
use crate::listing::{Form, Listing};

/// Print the brokers of the cluster: ids, addresses, racks, and which of them is the controller.
#[derive(Args)]
pub struct ClusterCommand {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
}

impl ClusterCommand {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        let cluster = admin.describe_cluster().await?;
        let columns = [
            ("BROKER", "broker"),
            ("ADDRESS", "address"),
            ("RACK", "rack"),
            ("CONTROLLER", "is_controller"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        if !self.form.json {
            let id = cluster.cluster_id.as_deref().unwrap_or("unknown");
            writeln!(
                io::stdout(),
                "cluster {id}, brokers: {}",
                cluster.brokers.len()
            )?;
        }
        for broker in &cluster.brokers {
            listing.add(json!({
                "cluster": cluster.cluster_id,
                "broker": broker.id,
                "address": broker.address.to_string(),
                "rack": broker.rack,
                "is_controller": cluster.controller == Some(broker.id),
            }));
        }
        listing.end()
    }
}
