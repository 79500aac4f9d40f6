//! `pat-events transactions`: transactions listed, described and ended. In: ids. Out: a line for each.

use clap::Subcommand;
use pat_events::kafka::TopicPartition;
use pat_events::kafka::admin::{HangingTransaction, TransactionFilter, TransactionState};
use serde_json::json;

use super::Administered;
use crate::Outcome;
use crate::listing::Listing;
use crate::times;

#[derive(Subcommand)]
pub enum Action {
    /// Print the transactional ids that brokers know, and what each is doing.
    List {
        /// Only those in this state, such as Ongoing; may be given several times.
        #[arg(short, long = "state", value_name = "STATE")]
        states: Vec<String>,
    },
    /// Print all of transactions: producer, epoch, timeout, when it began, partitions.
    Describe {
        /// Transactional ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// Abort a transaction that hangs in one partition, by its producer.
    Abort {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The producer's id.
        #[arg(long)]
        producer_id: i64,
        /// The producer's epoch.
        #[arg(long)]
        producer_epoch: i16,
        /// The epoch of the coordinator, where it is known.
        #[arg(long)]
        coordinator_epoch: Option<i32>,
    },
    /// End what is open under transactional ids: their producers can go on no more.
    Terminate {
        /// Transactional ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        match &self.action {
            Action::List { states } => {
                let states = states.iter().map(|state| TransactionState::named(state));
                let listed = admin
                    .list_transactions(&TransactionFilter::default().states(states))
                    .await?;
                let columns = [
                    ("TRANSACTIONAL ID", "transactional_id"),
                    ("PRODUCER ID", "producer_id"),
                    ("STATE", "state"),
                    ("COORDINATOR", "coordinator"),
                ];
                let mut listing = Listing::new(self.form, &columns);
                for it in listed.transactions.values() {
                    listing.add(json!({
                        "transactional_id": it.transactional_id,
                        "producer_id": it.producer_id,
                        "state": it.state.as_str(),
                        "coordinator": it.coordinator,
                    }));
                }
                for (broker, error) in &listed.failures {
                    listing.failed(json!({"broker": broker}), error);
                }
                listing.end()
            }
            Action::Describe { ids } => {
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                let columns = [
                    ("TRANSACTIONAL ID", "transactional_id"),
                    ("STATE", "state"),
                    ("PRODUCER ID", "producer_id"),
                    ("EPOCH", "producer_epoch"),
                    ("TIMEOUT MS", "timeout_ms"),
                    ("BEGAN", "started"),
                    ("COORDINATOR", "coordinator"),
                    ("PARTITIONS", "partitions"),
                ];
                let mut listing = Listing::new(self.form, &columns);
                for (id, described) in admin.describe_transactions(&ids).await? {
                    match described {
                        Ok(it) => listing.add(json!({
                            "transactional_id": id,
                            "state": it.state.as_str(),
                            "producer_id": it.producer_id,
                            "producer_epoch": it.producer_epoch,
                            "timeout_ms": it.timeout.as_millis() as u64,
                            "started_ms": it.started_ms,
                            "started": it.started_ms.map(times::show),
                            "coordinator": it.coordinator,
                            "partitions": it.partitions.iter().map(TopicPartition::to_string).collect::<Vec<_>>(),
                        })),
                        Err(error) => listing.failed(json!({"transactional_id": id}), &error),
                    }
                }
                listing.end()
            }
            Action::Abort {
                topic,
                partition,
                producer_id,
                producer_epoch,
                coordinator_epoch,
            } => {
                let at = TopicPartition::new(topic.as_str(), *partition);
                let mut hanging =
                    HangingTransaction::new(at.clone(), *producer_id, *producer_epoch);
                if let Some(epoch) = coordinator_epoch {
                    hanging = hanging.coordinator_epoch(*epoch);
                }
                let mut listing = Listing::new(self.form, &[]);
                let thing =
                    json!({"topic": topic, "partition": partition, "producer_id": producer_id});
                let result = admin.abort_transaction(&hanging).await;
                listing.result(
                    thing,
                    result,
                    format!("aborted: producer {producer_id} in {at}"),
                );
                listing.end()
            }
            Action::Terminate { ids } => {
                let mut listing = Listing::new(self.form, &[]);
                for id in ids {
                    let result = admin.force_terminate_transaction(id).await;
                    listing.result(
                        json!({"transactional_id": id}),
                        result,
                        format!("ended: {id}"),
                    );
                }
                listing.end()
            }
        }
    }
}
