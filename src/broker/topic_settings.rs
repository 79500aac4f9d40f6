//! Topic settings: what Kafka knows, which values it takes, and what follows from them here.
//!
//! In: names and values as a client gives them. Out: [`TopicSettings`], or what Kafka would refuse, with words for people. What Kafka
//! takes and this broker could not keep to (another codec than the producer's, tiered storage) is refused as well: a setting that is taken
//! holds. Of the settings of files, segments and the times at which Kafka cleans them up `segment.bytes` bounds files in a data directory; the others are taken and change nothing:
//! a log is bounded by `retention.bytes` alone, and a compacted topic keeps what its compaction might have removed.

use std::collections::BTreeMap;

use protocol::Uuid;

use super::configs::{DEFAULT_MAX_MESSAGE_BYTES, Own, items, topic_schema};
use super::storage::PartitionFolder;

/// What is set for a topic, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct TopicSettings {
    /// The largest batch, as it comes.
    pub(crate) max_message_bytes: usize,
    /// The largest batch that fits into a segment.
    pub(crate) segment_bytes: usize,
    /// For each partition.
    pub(crate) retention_bytes: u64,
    pub(crate) min_in_sync_replicas: usize,
    /// Whether records without a key are refused.
    pub(crate) is_compacted: bool,
    /// Whether batches get the time at which they are appended.
    pub(crate) log_append_time: bool,
    /// How far the timestamps of records may lie before the time at which they are appended, and after.
    pub(crate) timestamp_before_max_ms: i64,
    pub(crate) timestamp_after_max_ms: i64,
    /// As they were given.
    pub(crate) configs: Own,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            segment_bytes: 1 << 30,
            retention_bytes: 256 * 1024 * 1024,
            min_in_sync_replicas: 1,
            is_compacted: false,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 60 * 60 * 1000,
            configs: Own::new(),
        }
    }
}

impl TopicSettings {
    /// These settings, changed by what a client gives for a topic; the error is for people.
    pub(crate) fn with<'a>(
        &self,
        configs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut settings = self.clone();
        // Of what is given twice the last counts, as in Kafka.
        for (name, value) in BTreeMap::from_iter(configs) {
            settings.set(name, value.trim())?;
        }
        settings.check_together()?;
        if !settings.deletes() {
            // Nothing is deleted by size; the bound of the broker's memory stays.
            settings.retention_bytes = self.retention_bytes;
        }
        Ok(settings)
    }

    /// Where a partition of a topic with these settings is kept, in a data directory.
    pub(crate) fn folder(&self, topic: &str, topic_id: Uuid, partition: i32) -> PartitionFolder {
        PartitionFolder {
            topic: topic.to_owned(),
            topic_id,
            partition,
            segment_bytes: self.segment_bytes as u64,
            retention_bytes: self.retention_bytes,
        }
    }

    /// Whether old records are deleted, and may be on demand.
    pub(crate) fn deletes(&self) -> bool {
        let policy = self.configs.get("cleanup.policy");
        policy.is_none_or(|policy| items(policy).any(|item| item == "delete"))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let number = topic_schema().check(name, value)?;
        let size = || usize::try_from(number).unwrap_or(usize::MAX);
        match name {
            "max.message.bytes" => self.max_message_bytes = size(),
            "segment.bytes" => self.segment_bytes = size(),
            "min.insync.replicas" => self.min_in_sync_replicas = size(),
            // A negative number is no bound.
            "retention.bytes" => self.retention_bytes = u64::try_from(number).unwrap_or(u64::MAX),
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number,
            "message.timestamp.type" => self.log_append_time = value == "LogAppendTime",
            "cleanup.policy" => self.is_compacted = items(value).any(|item| item == "compact"),
            "compression.type" if value != "producer" => {
                return Err(format!(
                    "Invalid value {value} for configuration {name}: the embedded broker keeps batches as producers send them: only producer is supported"
                ));
            }
            "remote.storage.enable" if value.eq_ignore_ascii_case("true") => {
                return Err("Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.".to_owned());
            }
            _ => {}
        }
        self.configs.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// What only some values of several settings have wrong.
    fn check_together(&self) -> Result<(), String> {
        let lag = |name: &str, default: i64| {
            let value = self.configs.get(name).and_then(|value| value.parse().ok());
            value.unwrap_or(default)
        };
        let (least, most) = (
            lag("min.compaction.lag.ms", 0),
            lag("max.compaction.lag.ms", i64::MAX),
        );
        match least > most {
            true => Err(format!(
                "conflict topic config setting min.compaction.lag.ms ({least}) > max.compaction.lag.ms ({most})"
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::configs::Values;

    fn with(configs: &[(&str, &str)]) -> Result<TopicSettings, String> {
        TopicSettings::default().with(configs.iter().copied())
    }

    #[test]
    fn every_setting_refuses_what_its_type_does_not_hold() {
        for config in topic_schema().configs {
            let (name, values) = (config.name, config.values);
            for nonsense in ["nonsense", "1,2", "--1", "9223372036854775808"] {
                let refused = with(&[(name, nonsense)]).expect_err(name);
                assert!(refused.contains(name), "{refused}");
            }
            let beyond: &[&str] = match values {
                Values::Long(i64::MIN) => &["1.5", "yes"],
                Values::Long(least) | Values::Int(least, _) | Values::Level(least, _) => {
                    &[&(least - 3).to_string(), "1.5", "yes"]
                }
                Values::Share => &["-0.1", "1.1", "NaN"],
                Values::Flag => &["1", "yes", ""],
                Values::OneOf(_) => &["", "Producer", "createtime"],
                Values::AnyOf(_) => &["delete,nonsense", "Compact"],
                Values::Replicas => &["1:", ":1", "1:2:3"],
            };
            for value in beyond {
                assert!(with(&[(name, value)]).is_err(), "{name}={value}");
            }
        }
    }

    #[test]
    fn what_follows_from_a_setting_is_there_once_it_is_taken() {
        let settings = with(&[
            ("cleanup.policy", " compact , delete "),
            ("max.message.bytes", "200"),
            ("segment.bytes", "1048576"),
            ("retention.bytes", "-1"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.before.max.ms", "5"),
            ("message.timestamp.after.max.ms", "6"),
            ("min.insync.replicas", "2"),
        ])
        .expect("allowed");
        assert!(settings.is_compacted && settings.log_append_time);
        let sizes = (
            settings.max_message_bytes,
            settings.segment_bytes,
            settings.retention_bytes,
        );
        assert_eq!(sizes, (200, 1 << 20, u64::MAX));
        let limits = (
            settings.timestamp_before_max_ms,
            settings.timestamp_after_max_ms,
        );
        assert_eq!((limits, settings.min_in_sync_replicas), ((5, 6), 2));
    }

    #[test]
    fn a_topic_that_only_compacts_deletes_nothing_by_size() {
        let settings = with(&[("retention.bytes", "1"), ("cleanup.policy", "compact")]);
        let default = TopicSettings::default().retention_bytes;
        assert_eq!(settings.expect("allowed").retention_bytes, default);
        let both = with(&[
            ("retention.bytes", "1"),
            ("cleanup.policy", "compact,delete"),
        ]);
        assert_eq!(both.expect("allowed").retention_bytes, 1);
    }

    #[test]
    fn what_kafka_keeps_to_and_this_broker_could_not_is_refused() {
        for refused in [
            ("compression.type", "lz4"),
            ("remote.storage.enable", "true"),
        ] {
            assert!(with(&[refused]).is_err(), "{refused:?}");
        }
        let lags = [
            ("min.compaction.lag.ms", "9"),
            ("max.compaction.lag.ms", "8"),
        ];
        assert!(with(&lags).is_err());
        let kept = [
            ("compression.type", "producer"),
            ("remote.storage.enable", "false"),
        ];
        assert!(with(&kept).is_ok());
    }
}
