//! The configurations of topics that Kafka 4.4 knows, and what a topic's are.

use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::description::{Given, Source, described};
use super::values::INT;
use super::{Config, Own, Schema, Values};
use crate::broker::topic_settings::TopicSettings;

/// The largest batch, where nothing else is said.
pub(crate) const DEFAULT_MAX_MESSAGE_BYTES: usize = 1024 * 1024 + 12;

const FOREVER: &str = "9223372036854775807";

#[rustfmt::skip]
const CONFIGS: &[Config] = &[
    Config::under("cleanup.policy", Values::AnyOf(&["compact", "delete"]), "delete", "log.cleanup.policy", "What becomes of old records: they are deleted, only the newest of each key stays, or both."),
    Config::under("compression.gzip.level", Values::Level(1, 9), "-1", "compression.gzip.level", "The level at which the broker compresses with gzip."),
    Config::under("compression.lz4.level", Values::Int(1, 17), "9", "compression.lz4.level", "The level at which the broker compresses with lz4."),
    Config::under("compression.type", Values::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer", "compression.type", "The codec in which batches are kept; that of their producers with `producer`."),
    Config::under("compression.zstd.level", Values::Int(-131_072, 22), "3", "compression.zstd.level", "The level at which the broker compresses with zstd."),
    Config::under("delete.retention.ms", Values::Long(0), "86400000", "log.cleaner.delete.retention.ms", "For how long a compacted log keeps that a key was deleted."),
    Config::under("errors.deadletterqueue.group.enable", Values::Flag, "false", "", "Whether share groups may write to the topic what they give up."),
    Config::under("file.delete.delay.ms", Values::Long(0), "60000", "log.segment.delete.delay.ms", "How long a file waits before it is deleted."),
    Config::under("flush.messages", Values::Long(1), FOREVER, "log.flush.interval.messages", "After how many records they are brought to the disk."),
    Config::under("flush.ms", Values::Long(0), FOREVER, "", "After what time records are brought to the disk."),
    Config::under("follower.replication.throttled.replicas", Values::Replicas, "", "", "The replicas whose copying is throttled at those that follow."),
    Config::under("index.interval.bytes", Values::Int(0, INT), "4096", "log.index.interval.bytes", "After how many bytes of records the index gets an entry."),
    Config::under("leader.replication.throttled.replicas", Values::Replicas, "", "", "The replicas whose copying is throttled at the leader."),
    Config::under("local.retention.bytes", Values::Long(-2), "-2", "log.local.retention.bytes", "How many bytes of a partition stay on the broker where storage is tiered."),
    Config::under("local.retention.ms", Values::Long(-2), "-2", "log.local.retention.ms", "For how long records stay on the broker where storage is tiered."),
    Config::under("max.compaction.lag.ms", Values::Long(1), FOREVER, "log.cleaner.max.compaction.lag.ms", "When a record of a compacted topic is compacted at the latest."),
    Config::under("max.decompressed.message.bytes", Values::Int(1, INT), "2147483639", "max.decompressed.message.bytes", "How many bytes a batch may have when it is decompressed."),
    Config::under("max.message.bytes", Values::Int(0, INT), "1048588", "message.max.bytes", "The largest batch that is taken, in bytes, as compressed."),
    Config::under("message.timestamp.after.max.ms", Values::Long(0), "3600000", "log.message.timestamp.after.max.ms", "How far a record's timestamp may lie after the time at which it is appended."),
    Config::under("message.timestamp.before.max.ms", Values::Long(0), FOREVER, "log.message.timestamp.before.max.ms", "How far a record's timestamp may lie before the time at which it is appended."),
    Config::under("message.timestamp.type", Values::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime", "log.message.timestamp.type", "Whether records keep the time of their producer, or get that at which they are appended."),
    Config::under("min.cleanable.dirty.ratio", Values::Share, "0.5", "log.cleaner.min.cleanable.ratio", "What part of a log has to be new before it is compacted."),
    Config::under("min.compaction.lag.ms", Values::Long(0), "0", "log.cleaner.min.compaction.lag.ms", "For how long a record of a compacted topic stays whatever comes after it."),
    Config::under("min.insync.replicas", Values::Int(1, INT), "1", "min.insync.replicas", "How many replicas have to be in sync for a write with acks=all."),
    Config::under("preallocate", Values::Flag, "false", "log.preallocate", "Whether files get their whole size at once."),
    Config::under("remote.copy.lag.bytes", Values::Long(-1), "-1", "log.remote.copy.lag.bytes", "How many bytes of a partition wait before they are copied to tiered storage."),
    Config::under("remote.copy.lag.ms", Values::Long(-1), "0", "log.remote.copy.lag.ms", "How long records wait before they are copied to tiered storage."),
    Config::under("remote.log.copy.disable", Values::Flag, "false", "", "Whether a topic with tiered storage is copied no more."),
    Config::under("remote.log.delete.on.disable", Values::Flag, "false", "", "Whether what is in tiered storage is deleted when a topic has it no more."),
    Config::under("remote.storage.enable", Values::Flag, "false", "", "Whether a topic has tiered storage."),
    Config::under("retention.bytes", Values::Long(i64::MIN), "-1", "log.retention.bytes", "How many bytes each partition keeps where old records are deleted; -1 is no bound."),
    Config::under("retention.ms", Values::Long(-1), "604800000", "", "For how long records are kept where old ones are deleted; -1 is no bound."),
    Config::under("segment.bytes", Values::Int(1 << 20, INT), "1073741824", "log.segment.bytes", "How large a file of the log gets."),
    Config::under("segment.index.bytes", Values::Int(4, INT), "10485760", "log.index.size.max.bytes", "How large the index of a file gets."),
    Config::under("segment.jitter.ms", Values::Long(0), "0", "", "By how much the time of segment.ms is shortened at random."),
    Config::under("segment.ms", Values::Long(1), "604800000", "", "After what time another file is begun."),
    Config::under("unclean.leader.election.enable", Values::Flag, "false", "unclean.leader.election.enable", "Whether a replica that is not in sync may lead where no other can."),
];

/// The configurations of topics.
pub(crate) fn schema() -> Schema {
    Schema {
        sort: "topic",
        configs: CONFIGS,
    }
}

/// What the broker itself is set to, where that is not Kafka's default: its own configuration, and the value. Records are kept by size alone here.
pub(super) fn of_broker(broker: &TopicSettings) -> Vec<Given> {
    let given = |of, name, value: String| Given { of, name, value };
    let retention = i64::try_from(broker.retention_bytes).unwrap_or(-1);
    let min_in_sync = broker.min_in_sync_replicas.to_string();
    let max_message = broker.max_message_bytes.to_string();
    let mut all = vec![
        given("retention.ms", "log.retention.ms", "-1".to_owned()),
        given(
            "retention.bytes",
            "log.retention.bytes",
            retention.to_string(),
        ),
        given("max.message.bytes", "message.max.bytes", max_message),
        given("min.insync.replicas", "min.insync.replicas", min_in_sync),
    ];
    all.retain(|given| {
        let default = schema().find(given.of).map(|config| config.default);
        default != Some(&given.value)
    });
    all
}

/// All configurations of a topic that has these itself.
pub(crate) fn describe(own: &Own, broker: &TopicSettings) -> Vec<DescribeConfigsResourceResult> {
    let of_broker = of_broker(broker);
    let described = CONFIGS.iter().map(|config| {
        let given = of_broker.iter().find(|given| given.of == config.name);
        described(config, (own.get(config.name), Source::Topic), given)
    });
    described.collect()
}
