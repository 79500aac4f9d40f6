//! What is read: partitions, where reading begins in each, and where it stops. In: names and a range. Out: partitions with their bounds.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use pat_events::kafka::{Admin, Consumer, StartOffset, TopicPartition};

use super::start::{Range, Start};
use crate::Outcome;
use crate::admin::{Named, TopicName, partitions};
use crate::listing::{Form, Listing};
use crate::notes::note;

/// The partitions of these names; those of topics without partitions of their own are `only` these. Fails with what there is not.
pub async fn named(admin: &Admin, names: &[Named], only: &[i32]) -> Outcome<Vec<TopicPartition>> {
    let mut names = names.to_vec();
    if !only.is_empty() {
        for name in &mut names {
            name.partitions.get_or_insert_with(|| only.to_vec());
        }
    }
    let mut missing = Listing::new(Form { json: false }, &[]);
    let found = partitions(admin, &names, false, &mut missing).await?;
    missing.end()?;
    Ok(found)
}

/// The names that members of a group subscribe to.
pub fn subscribed(names: &[Named]) -> Vec<&str> {
    let texts = names.iter().map(|name| match &name.topics {
        TopicName::Exactly(name) => name.as_str(),
        TopicName::Matching(pattern) => pattern.as_str(),
    });
    texts.collect()
}

/// Where each partition stops: at the end of its log as it is now, or before the first record of a time.
pub async fn ends(
    consumer: &Consumer,
    partitions: &[TopicPartition],
    stop_ms: Option<i64>,
) -> Outcome<BTreeMap<TopicPartition, i64>> {
    let mut ends = consumer.end_offsets(partitions).await?;
    if let Some(stop_ms) = stop_ms {
        let times: Vec<_> = partitions.iter().map(|at| (at.clone(), stop_ms)).collect();
        for (at, found) in consumer.offsets_for_times(&times).await? {
            ends.insert(at, found.offset);
        }
    }
    Ok(ends)
}

/// Whether that time has passed.
pub fn has_passed(ms: i64) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    now.as_millis() > u128::try_from(ms).unwrap_or(0)
}

/// Begins to read partitions, each where the range says. Returns the offset before which records are passed over.
pub async fn assign(
    consumer: &mut Consumer,
    partitions: &[TopicPartition],
    range: Range,
    is_to_end: bool,
) -> Outcome<i64> {
    let mut least_offset = 0;
    let by_offset = matches!(range.start, Some(Start::BeforeEnd(_) | Start::At(_)));
    let (beginnings, ends) = match by_offset {
        true => tokio::try_join!(
            consumer.beginning_offsets(partitions),
            consumer.end_offsets(partitions)
        )?,
        false => Default::default(),
    };
    if let Some(Start::At(offset)) = range.start {
        least_offset = offset;
        tell_of_gaps(offset, &beginnings, &ends, is_to_end);
    }
    let known = |offsets: &BTreeMap<_, _>, partition| offsets.get(partition).copied();
    let starts = partitions.iter().map(|partition| {
        let log = known(&beginnings, partition).unwrap_or(0)
            ..=known(&ends, partition).unwrap_or(i64::MAX);
        (partition.clone(), start_of(range.start, &log))
    });
    consumer.assign(&starts.collect::<Vec<_>>()).await?;
    Ok(least_offset)
}

/// Says where the offset that was asked for is not in the log.
fn tell_of_gaps(
    offset: i64,
    beginnings: &BTreeMap<TopicPartition, i64>,
    ends: &BTreeMap<TopicPartition, i64>,
    is_to_end: bool,
) {
    for (partition, beginning) in beginnings {
        let end = ends.get(partition).copied().unwrap_or(i64::MAX);
        if offset < *beginning {
            note(format!(
                "warning: {partition} begins at offset {beginning}: what was before it is gone"
            ));
        } else if offset > end {
            let then = match is_to_end {
                true => "it has nothing to print",
                false => "what comes before that offset is not printed",
            };
            note(format!("warning: {partition} ends at offset {end}: {then}"));
        }
    }
}

/// Where reading starts in a partition whose log is known, if that matters, to have these offsets. An offset outside of them would fall
/// under the policy of a reset.
fn start_of(start: Option<Start>, log: &RangeInclusive<i64>) -> StartOffset {
    let within = |offset: i64| StartOffset::Offset(offset.clamp(*log.start(), *log.end()));
    match start.unwrap_or(Start::Beginning) {
        Start::Beginning => StartOffset::Earliest,
        Start::End => StartOffset::Latest,
        Start::Stored => StartOffset::Committed,
        Start::At(offset) => within(offset),
        Start::BeforeEnd(records) => within(log.end().saturating_sub(records)),
        Start::Time(time_ms) => StartOffset::Timestamp(time_ms),
    }
}
