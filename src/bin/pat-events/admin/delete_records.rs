//! `pat-events delete-records`: records deleted from the front of partitions. In: for each partition the first offset that stays. Out: where its log
//! begins now.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::Args;
use pat_events::kafka::admin::OffsetSpec;
use pat_events::kafka::{Admin, TopicPartition};
use serde_json::{Value, json};

use super::offsets::listed;
use super::partitions::{Named, partitions, place, with};
use crate::Outcome;
use crate::cluster::Cluster;
use crate::listing::{Form, Listing};
use crate::times;

/// What brokers take for the end of a log.
const END: i64 = -1;

/// Delete the records of partitions before an offset, before a time, or all that are there now. They are gone for all readers.
#[derive(Args)]
pub struct DeleteRecords {
    #[command(flatten)]
    cluster: Cluster,
    /// Topics, partitions or patterns: orders, orders:0,3-5, ^orders\. (a regular expression).
    #[arg(required_unless_present = "offset_json_file")]
    topics: Vec<Named>,
    #[command(flatten)]
    before: Before,
    /// Only print what would be deleted.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    form: Form,
}

/// What stays.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Before {
    /// Delete what is before this offset.
    #[arg(short, long, value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// Delete what is before the first record of this time or later: 2026-11-26T13:00:00Z, milliseconds since 1970, or as 7d, 12h, 30m ago.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = times::read)]
    before: Option<i64>,
    /// Delete everything that is there now.
    #[arg(long)]
    all: bool,
    /// Delete what a file says, as Kafka's own script takes it: {"partitions":[{"topic":"orders","partition":0,"offset":7}],"version":1}; an offset
    /// of -1 is the end.
    #[arg(long, value_name = "FILE", conflicts_with = "topics")]
    offset_json_file: Option<PathBuf>,
}

impl DeleteRecords {
    pub async fn run(&self) -> Outcome {
        let columns = [
            ("TOPIC", "topic"),
            ("PARTITION", "partition"),
            ("DELETED BEFORE", "before"),
            ("LOG BEGINS AT", "log_start"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        // What is wrong with a file is told before brokers are looked for.
        let of_file = match &self.before.offset_json_file {
            Some(path) => {
                let text = fs::read_to_string(path);
                let read = text.map_err(|error| error.to_string());
                let read = read.and_then(|text| of_json(&text));
                Some(read.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => None,
        };
        let admin = self.cluster.admin().await?;
        let before = match of_file {
            Some(before) => before,
            None => self.offsets(&admin, &mut listing).await?,
        };
        let end = |before: i64| match before {
            END => json!("end"),
            before => json!(before),
        };
        if self.dry_run {
            for (partition, before) in &before {
                listing.add(with(place(partition), json!({"before": end(*before)})));
            }
            return listing.end();
        }
        for (partition, deleted) in admin.delete_records(&before).await? {
            match deleted {
                Ok(log_start) => {
                    let deleted =
                        json!({"before": end(before[&partition]), "log_start": log_start});
                    listing.add(with(place(&partition), deleted));
                }
                Err(error) => listing.failed(place(&partition), &error),
            }
        }
        listing.end()
    }

    async fn offsets(
        &self,
        admin: &Admin,
        listing: &mut Listing,
    ) -> Outcome<BTreeMap<TopicPartition, i64>> {
        let named = partitions(admin, &self.topics, false, listing).await?;
        let Some(time) = self.before.before else {
            let before = self.before.offset.unwrap_or(END);
            return Ok(named.into_iter().map(|at| (at, before)).collect());
        };
        let mut before = BTreeMap::new();
        for (partition, found) in listed(admin, &named, OffsetSpec::Timestamp(time), false).await? {
            match found {
                // All that is there is older.
                Ok(found) => drop(before.insert(partition, found.offset.unwrap_or(END))),
                Err(error) => listing.failed(place(&partition), &error),
            }
        }
        Ok(before)
    }
}

/// Reads the file of Kafka's script.
fn of_json(text: &str) -> Result<BTreeMap<TopicPartition, i64>, String> {
    const SHAPE: &str = r#"expected {"partitions":[{"topic":"orders","partition":0,"offset":7}]}"#;
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let partitions = value["partitions"].as_array().ok_or(SHAPE)?;
    let mut before = BTreeMap::new();
    for entry in partitions {
        let topic = entry["topic"].as_str();
        let partition = entry["partition"]
            .as_i64()
            .and_then(|it| i32::try_from(it).ok());
        let offset = entry["offset"].as_i64().filter(|offset| *offset >= END);
        let (Some(topic), Some(partition), Some(offset)) = (topic, partition, offset) else {
            return Err(format!("{SHAPE}, not {entry}"));
        };
        if before
            .insert(TopicPartition::new(topic, partition), offset)
            .is_some()
        {
            return Err(format!("partition {partition} of {topic} is there twice"));
        }
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_kafkas_script_is_read_as_a_whole_or_refused() {
        let read =
            of_json(r#"{"partitions":[{"topic":"t","partition":1,"offset":7}],"version":1}"#);
        assert_eq!(read, Ok(BTreeMap::from([(TopicPartition::new("t", 1), 7)])));
        for wrong in [
            "",
            "{}",
            r#"{"partitions":[{"topic":"t","partition":1}]}"#,
            r#"{"partitions":[{"topic":"t","partition":1,"offset":-2}]}"#,
            r#"{"partitions":[{"topic":"t","partition":4294967296,"offset":1}]}"#,
            r#"{"partitions":[{"topic":"t","partition":1,"offset":1},{"topic":"t","partition":1,"offset":2}]}"#,
        ] {
            assert!(of_json(wrong).is_err(), "{wrong}");
        }
    }
}
