//! `pat-events offsets`: where logs begin and end, and what stands at a time. In: topics, or partitions. Out: a line for each partition.

use std::collections::BTreeMap;

use clap::Args;
use pat_events::kafka::admin::{ListOffsetsOptions, ListedOffset, OffsetSpec};
use pat_events::kafka::{Admin, Result, TopicPartition};
use serde_json::json;

use super::partitions::{Named, partitions, place, with};
use crate::Outcome;
use crate::cluster::Cluster;
use crate::listing::{Form, Listing};
use crate::times;

/// Print where each partition's log begins and ends, or the offset that stands at a time.
#[derive(Args)]
pub struct Offsets {
    #[command(flatten)]
    cluster: Cluster,
    /// Topics, partitions or patterns: orders, orders:0,3-5, ^orders\. (a regular expression). All topics where none is named.
    topics: Vec<Named>,
    /// Print the first offset of this time or later: 2026-11-26T13:00:00Z, milliseconds since 1970, or as 7d, 12h, 30m, 10s ago; or of a place:
    /// earliest, latest, max-timestamp, earliest-local, latest-tiered, earliest-pending-upload.
    #[arg(short, long, value_name = "TIME|PLACE", allow_hyphen_values = true, value_parser = place_or_time)]
    time: Option<OffsetSpec>,
    /// The ends are those for readers of what is committed: the first record of an open transaction.
    #[arg(long)]
    read_committed: bool,
    /// The topics that brokers keep for themselves, too.
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    form: Form,
}

/// Reads a place of a log, Kafka's number of one, or a time.
pub fn place_or_time(text: &str) -> std::result::Result<OffsetSpec, String> {
    Ok(match text {
        "earliest" | "-2" => OffsetSpec::Earliest,
        "latest" | "-1" => OffsetSpec::Latest,
        "max-timestamp" | "-3" => OffsetSpec::MaxTimestamp,
        "earliest-local" | "-4" => OffsetSpec::EarliestLocal,
        "latest-tiered" | "-5" => OffsetSpec::LatestTiered,
        "earliest-pending-upload" | "-6" => OffsetSpec::EarliestPendingUpload,
        time => OffsetSpec::Timestamp(times::read(time)?),
    })
}

/// What stands at a place of each partition: a question to each leader.
pub async fn listed(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    read_committed: bool,
) -> Result<BTreeMap<TopicPartition, Result<ListedOffset>>> {
    let wanted = partitions.iter().map(|at| (at.clone(), spec)).collect();
    let options = match read_committed {
        true => ListOffsetsOptions::read_committed(),
        false => ListOffsetsOptions::default(),
    };
    admin.list_offsets(&wanted, &options).await
}

impl Offsets {
    pub async fn run(&self) -> Outcome {
        let admin = self.cluster.admin().await?;
        match self.time {
            Some(spec) => self.at(&admin, spec).await,
            None => self.watermarks(&admin).await,
        }
    }

    async fn watermarks(&self, admin: &Admin) -> Outcome {
        let columns = [
            ("TOPIC", "topic"),
            ("PARTITION", "partition"),
            ("EARLIEST", "earliest"),
            ("LATEST", "latest"),
            ("OFFSETS", "offsets"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        let named = partitions(admin, &self.topics, self.internal, &mut listing).await?;
        let earliest = listed(admin, &named, OffsetSpec::Earliest, false);
        let latest = listed(admin, &named, OffsetSpec::Latest, self.read_committed);
        let (earliest, mut latest) = tokio::try_join!(earliest, latest)?;
        for (partition, earliest) in earliest {
            let latest = latest.remove(&partition).transpose();
            let offsets = earliest.and_then(|earliest| Ok((earliest, latest?)));
            match offsets {
                Ok((earliest, latest)) => {
                    let (begin, end) = (earliest.offset, latest.and_then(|it| it.offset));
                    let offsets = begin.zip(end).map(|(begin, end)| end.saturating_sub(begin));
                    let found = json!({"earliest": begin, "latest": end, "offsets": offsets});
                    listing.add(with(place(&partition), found));
                }
                Err(error) => listing.failed(place(&partition), &error),
            }
        }
        listing.end()
    }

    async fn at(&self, admin: &Admin, spec: OffsetSpec) -> Outcome {
        let columns = [
            ("TOPIC", "topic"),
            ("PARTITION", "partition"),
            ("OFFSET", "offset"),
            ("TIME", "time"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        let named = partitions(admin, &self.topics, self.internal, &mut listing).await?;
        for (partition, found) in listed(admin, &named, spec, self.read_committed).await? {
            match found {
                Ok(found) => {
                    let found = json!({
                        "offset": found.offset,
                        "timestamp_ms": found.timestamp_ms,
                        "time": found.timestamp_ms.map(times::show),
                        "leader_epoch": found.leader_epoch,
                    });
                    listing.add(with(place(&partition), found));
                }
                Err(error) => listing.failed(place(&partition), &error),
            }
        }
        listing.end()
    }
}
