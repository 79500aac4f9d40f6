//! A topic read from its beginning to where it ended when that began. Ends: when all is read, or when nothing comes for the request timeout.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::events::DeadLetter;
use crate::kafka::{
    Client, Consumer, ConsumerConfig, Error, ErrorKind, IsolationLevel, OffsetReset, RecordView,
    Records, Result, StartOffset, TopicPartition,
};

/// The longest that one poll waits.
const POLL: Duration = Duration::from_millis(500);

pub(super) struct Reading {
    pub consumer: Consumer,
    /// Where each partition ends, as far as it is to be read.
    pub ends: BTreeMap<TopicPartition, i64>,
    /// Those that are not read to their end, and where each stands.
    open: BTreeMap<TopicPartition, Option<i64>>,
    patience: Duration,
    moved: Instant,
}

impl Reading {
    /// All partitions of `topic`, by a consumer that may commit for `group`.
    pub async fn begin(client: &Client, topic: &str, group: Option<&str>) -> Result<Self> {
        let described = client.admin().describe_topics(&[topic]).await?;
        let described = described.into_values().collect::<Result<Vec<_>>>()?;
        let partitions: Vec<_> = described
            .iter()
            .flat_map(|topic| topic.partitions.iter())
            .map(|partition| TopicPartition::new(topic, partition.partition))
            .collect();
        let mut consumer = client.consumer(ConsumerConfig {
            group_id: group.map(str::to_string),
            auto_offset_reset: OffsetReset::Earliest,
            enable_auto_commit: false,
            isolation_level: IsolationLevel::ReadCommitted,
            ..ConsumerConfig::default()
        })?;
        let begins = consumer.beginning_offsets(&partitions).await?;
        let ends = consumer.end_offsets(&partitions).await?;
        let is_open = |(partition, end): (&TopicPartition, &i64)| {
            let begin = begins.get(partition).copied().unwrap_or(0);
            (begin < *end).then(|| (partition.clone(), None))
        };
        let open: BTreeMap<_, _> = ends.iter().filter_map(is_open).collect();
        let from = open.keys().map(|it| (it.clone(), StartOffset::Earliest));
        consumer.assign(&from.collect::<Vec<_>>()).await?;
        Ok(Self {
            consumer,
            ends,
            open,
            patience: client.config().request_timeout,
            moved: Instant::now(),
        })
    }

    /// What comes next; `None` when all is read.
    pub async fn next(&mut self) -> Result<Option<Records>> {
        loop {
            self.look();
            if self.open.is_empty() {
                return Ok(None);
            }
            let records = self.consumer.poll(POLL).await?;
            if !records.is_empty() {
                return Ok(Some(records));
            }
            self.look();
            if let Some((partition, at)) = self.open.iter().next()
                && self.moved.elapsed() > self.patience
            {
                let message = format!(
                    "nothing came of it for request.timeout.ms: it was read up to {at:?} of {}",
                    self.ends.get(partition).copied().unwrap_or_default()
                );
                return Err(Error::new(ErrorKind::Timeout, message)
                    .topic_partition(partition.topic.clone(), partition.partition));
            }
        }
    }

    /// Whether `record` came after the reading began.
    pub fn is_new(&self, record: &RecordView<'_>) -> bool {
        let end = self.ends.get(record.topic_partition());
        end.is_none_or(|end| record.offset >= *end)
    }

    /// Looks where the consumer stands, and lets go of what is read.
    fn look(&mut self) {
        let (consumer, ends, moved) = (&self.consumer, &self.ends, &mut self.moved);
        self.open.retain(|partition, before| {
            let at = consumer.position(partition);
            if at != *before {
                (*before, *moved) = (at, Instant::now());
            }
            let is_read = at.is_some_and(|at| ends.get(partition).is_none_or(|end| at >= *end));
            if is_read {
                // It is assigned: nothing can be wrong.
                let _ = consumer.pause(std::slice::from_ref(partition));
            }
            !is_read
        });
    }
}

/// What a record says of its failure, if it is a dead letter.
pub(super) fn parse(record: &RecordView<'_>) -> Option<DeadLetter> {
    let headers = record.headers.iter();
    DeadLetter::parse(headers.map(|header| (header.key, header.value)))
}
