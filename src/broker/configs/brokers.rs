//! The configurations of brokers that mean something here, as a node was set up. None of them can be altered while it runs.

use std::time::Duration;

use protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsSynonym,
};

use super::description::{Source, result, synonym};
use super::topics::of_broker;
use super::values::INT;
use super::{Config, Values, topic_schema};
use crate::broker::cluster::Settings;
use crate::broker::groups::MigrationPolicy;

/// A configuration, and what a node's is.
type Row = (Config, fn(&Settings) -> String);

const fn row(
    name: &'static str,
    values: Values,
    default: &'static str,
    about: &'static str,
    value: fn(&Settings) -> String,
) -> Row {
    (Config::new(name, values, default, about), value)
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

const POSITIVE: Values = Values::Int(1, INT);
const POLICIES: &[&str] = &["disabled", "downgrade", "upgrade", "bidirectional"];

#[rustfmt::skip]
const CONFIGS: &[Row] = &[
    row("auto.create.topics.enable", Values::Flag, "true", "Whether asking for a topic that there is not creates it.", |it| it.auto_create_topics.to_string()),
    row("default.replication.factor", POSITIVE, "1", "How many replicas a topic gets that is created without a number.", |it| it.default_replication_factor.to_string()),
    row("fetch.max.bytes", Values::Int(1024, INT), "57671680", "The most bytes of records in one answer to a fetch.", |it| it.fetch_max_bytes.to_string()),
    row("group.consumer.heartbeat.interval.ms", POSITIVE, "5000", "How often the members of consumer groups are to send heartbeats.", |it| millis(it.groups.consumer_heartbeat_interval)),
    row("group.consumer.migration.policy", Values::OneOf(POLICIES), "bidirectional", "Which groups with members may change over to the other protocol.", |it| policy(it.groups.migration_policy).to_owned()),
    row("group.consumer.session.timeout.ms", POSITIVE, "45000", "For how long a member of a consumer group may be silent.", |it| millis(it.groups.consumer_session_timeout)),
    row("group.initial.rebalance.delay.ms", Values::Int(0, INT), "3000", "How long the first rebalance of an empty group waits for more members.", |it| millis(it.groups.initial_rebalance_delay)),
    row("group.max.session.timeout.ms", POSITIVE, "1800000", "The longest session that a member of a classic group may ask for.", |it| millis(it.groups.max_session_timeout)),
    row("group.min.session.timeout.ms", POSITIVE, "6000", "The shortest session that a member of a classic group may ask for.", |it| millis(it.groups.min_session_timeout)),
    row("group.share.delivery.count.limit", Values::Int(2, 10), "5", "How often share groups deliver a record at the most.", |it| it.shares.delivery_count_limit.to_string()),
    row("group.share.heartbeat.interval.ms", POSITIVE, "5000", "How often the members of share groups are to send heartbeats.", |it| millis(it.groups.share_heartbeat_interval)),
    row("group.share.partition.max.record.locks", Values::Int(100, 10_000), "2000", "How many records of a partition a share group may have acquired at once.", |it| it.shares.partition_max_record_locks.to_string()),
    row("group.share.record.lock.duration.ms", Values::Int(1_000, 3_600_000), "30000", "For how long a record is locked for the member of a share group that has acquired it.", |it| millis(it.shares.record_lock_duration)),
    row("group.share.session.timeout.ms", POSITIVE, "45000", "For how long a member of a share group may be silent.", |it| millis(it.groups.share_session_timeout)),
    row("num.partitions", POSITIVE, "1", "How many partitions a topic gets that is created without a number.", |it| it.default_partitions.to_string()),
    row("offset.metadata.max.bytes", Values::Int(0, INT), "4096", "The most bytes of metadata that a commit may have for a partition.", |it| it.offset_metadata_max_bytes.to_string()),
    row("producer.id.expiration.ms", POSITIVE, "86400000", "For how long partitions remember a producer that does not write.", |it| millis(it.transactions.producer_id_expiration)),
    row("socket.request.max.bytes", POSITIVE, "104857600", "The largest request; a longer one ends its connection.", |it| it.max_request_bytes.to_string()),
    row("transaction.max.timeout.ms", POSITIVE, "900000", "The longest timeout that a transaction may have.", |it| millis(it.transactions.max_timeout)),
    row("transaction.two.phase.commit.enable", Values::Flag, "false", "Whether others may coordinate transactions, which have no timeout then.", |it| it.transactions.two_phase_commit.to_string()),
    row("transactional.id.expiration.ms", POSITIVE, "604800000", "For how long a transactional id is remembered that nobody uses.", |it| millis(it.transactions.id_expiration)),
];

const NODE: [&str; 2] = ["broker.id", "node.id"];

fn policy(policy: MigrationPolicy) -> &'static str {
    match policy {
        MigrationPolicy::Bidirectional => "bidirectional",
        MigrationPolicy::Upgrade => "upgrade",
        MigrationPolicy::Downgrade => "downgrade",
        MigrationPolicy::Disabled => "disabled",
    }
}

/// All configurations of a node, by name.
pub(crate) fn describe(node: i32, settings: &Settings) -> Vec<DescribeConfigsResourceResult> {
    let ids = NODE.into_iter().map(|name| {
        let config = Config::new(name, Values::Int(0, INT), "-1", "The number of this node.");
        result(
            &config,
            [synonym(name, &node.to_string(), Source::StaticBroker)],
        )
    });
    let own = CONFIGS.iter().map(|(config, value)| {
        let synonyms = set_up(config.name, &value(settings), config.default);
        result(config, synonyms)
    });
    let given = of_broker(&settings.topic);
    // What stands for a topic's configurations, under the broker's names.
    let of_topics = topic_schema().configs.iter().filter_map(|topic| {
        let given = given.iter().find(|given| given.of == topic.name);
        let name = topic.of_broker.or(given.map(|given| given.name))?;
        let (config, default) = (Config { name, ..*topic }, topic.default);
        let value = given.map_or(default, |given| given.value.as_str());
        let mut synonyms = set_up(name, value, default);
        if topic.of_broker.is_none() {
            // It has no default of its own.
            synonyms.truncate(1);
        }
        Some(result(&config, synonyms))
    });
    let mut all: Vec<_> = ids.chain(own).chain(of_topics).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all.iter_mut().for_each(|it| it.read_only = true);
    all
}

/// What a node was started with, if that is not the default, and the default.
fn set_up(name: &str, value: &str, default: &str) -> Vec<DescribeConfigsSynonym> {
    let given = (value != default).then(|| synonym(name, value, Source::StaticBroker));
    let default = synonym(name, default, Source::Default);
    given.into_iter().chain([default]).collect()
}
