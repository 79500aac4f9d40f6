//! The configurations of groups that this broker honours (KIP-848, KIP-932), and what follows from a group's own.

use std::time::Duration;

use protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

use super::description::{Given, Source, described};
use super::values::INT;
use super::{Config, Own, Schema, Values};
use crate::broker::groups::GroupSettings;
use crate::broker::share::ShareSettings;

const CONSUMER_SESSION: &str = "consumer.session.timeout.ms";
const CONSUMER_HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const SHARE_SESSION: &str = "share.session.timeout.ms";
const SHARE_HEARTBEAT: &str = "share.heartbeat.interval.ms";
const LOCK_DURATION: &str = "share.record.lock.duration.ms";
const DELIVERY_COUNT: &str = "share.delivery.count.limit";
const RECORD_LOCKS: &str = "share.partition.max.record.locks";
const OFFSET_RESET: &str = "share.auto.offset.reset";

#[rustfmt::skip]
const CONFIGS: &[Config] = &[
    Config::under(CONSUMER_HEARTBEAT, Values::Int(1, INT), "5000", "group.consumer.heartbeat.interval.ms", "How often the members of a consumer group are to send heartbeats."),
    Config::under(CONSUMER_SESSION, Values::Int(1, INT), "45000", "group.consumer.session.timeout.ms", "For how long a member of a consumer group may be silent."),
    Config::under(OFFSET_RESET, Values::OneOf(&["latest", "earliest"]), "latest", "share.auto.offset.reset", "Where a share group begins that has been nowhere yet."),
    Config::under(DELIVERY_COUNT, Values::Int(2, 10), "5", "group.share.delivery.count.limit", "How often a share group delivers a record at the most."),
    Config::under(SHARE_HEARTBEAT, Values::Int(1, INT), "5000", "group.share.heartbeat.interval.ms", "How often the members of a share group are to send heartbeats."),
    Config::under(RECORD_LOCKS, Values::Int(100, 10_000), "2000", "group.share.partition.max.record.locks", "How many records of a partition a share group may have acquired at once."),
    Config::under(LOCK_DURATION, Values::Int(1_000, 3_600_000), "30000", "group.share.record.lock.duration.ms", "For how long a record is locked for the member of a share group that has acquired it."),
    Config::under(SHARE_SESSION, Values::Int(1, INT), "45000", "group.share.session.timeout.ms", "For how long a member of a share group may be silent."),
];

/// The configurations of groups.
pub(crate) fn schema() -> Schema {
    Schema {
        sort: "group",
        configs: CONFIGS,
    }
}

/// What a group sets for itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct GroupConfig(Own);

impl GroupConfig {
    /// What a client sets for a group; the error is for people.
    pub(crate) fn new(own: Own, of_broker: &GroupSettings) -> Result<Self, String> {
        for (name, value) in &own {
            schema().check(name, value)?;
        }
        let config = Self(own);
        let GroupSettings {
            consumer_session_timeout,
            consumer_heartbeat_interval,
            share_session_timeout,
            share_heartbeat_interval,
            ..
        } = config.group(of_broker);
        for (session, heartbeat, names) in [
            (
                consumer_session_timeout,
                consumer_heartbeat_interval,
                (CONSUMER_SESSION, CONSUMER_HEARTBEAT),
            ),
            (
                share_session_timeout,
                share_heartbeat_interval,
                (SHARE_SESSION, SHARE_HEARTBEAT),
            ),
        ] {
            // What the broker was set to is not this group's affair.
            let is_own = config.0.contains_key(names.0) || config.0.contains_key(names.1);
            if is_own && session <= heartbeat {
                return Err(format!("{} must be greater than {}", names.0, names.1));
            }
        }
        Ok(config)
    }

    /// As it was kept, or is to be.
    pub(crate) fn of(own: Own) -> Self {
        Self(own)
    }

    pub(crate) fn own(&self) -> &Own {
        &self.0
    }

    /// How the group delivers, if it is a share group.
    pub(crate) fn share(&self, of_broker: &ShareSettings) -> ShareSettings {
        let small = |name, default| {
            self.number(name)
                .and_then(|it| it.try_into().ok())
                .unwrap_or(default)
        };
        let reset = self.0.get(OFFSET_RESET);
        ShareSettings {
            record_lock_duration: self.millis(LOCK_DURATION, of_broker.record_lock_duration),
            delivery_count_limit: small(DELIVERY_COUNT, of_broker.delivery_count_limit),
            partition_max_record_locks: (self.number(RECORD_LOCKS))
                .unwrap_or(of_broker.partition_max_record_locks),
            from_earliest: reset.map_or(of_broker.from_earliest, |reset| reset == "earliest"),
        }
    }

    /// How the group treats its members.
    pub(crate) fn group(&self, of_broker: &GroupSettings) -> GroupSettings {
        let millis = |name, default| self.millis(name, default);
        GroupSettings {
            consumer_session_timeout: millis(CONSUMER_SESSION, of_broker.consumer_session_timeout),
            consumer_heartbeat_interval: millis(
                CONSUMER_HEARTBEAT,
                of_broker.consumer_heartbeat_interval,
            ),
            share_session_timeout: millis(SHARE_SESSION, of_broker.share_session_timeout),
            share_heartbeat_interval: millis(SHARE_HEARTBEAT, of_broker.share_heartbeat_interval),
            ..of_broker.clone()
        }
    }

    fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.parse().ok()
    }

    fn millis(&self, name: &str, default: Duration) -> Duration {
        let own = self
            .number(name)
            .and_then(|millis| u64::try_from(millis).ok());
        own.map_or(default, Duration::from_millis)
    }
}

/// All configurations of a group that has these itself.
pub(crate) fn describe(
    config: &GroupConfig,
    groups: &GroupSettings,
    shares: &ShareSettings,
) -> Vec<DescribeConfigsResourceResult> {
    let of_broker = |name: &str| match name {
        CONSUMER_HEARTBEAT => groups.consumer_heartbeat_interval.as_millis().to_string(),
        CONSUMER_SESSION => groups.consumer_session_timeout.as_millis().to_string(),
        SHARE_HEARTBEAT => groups.share_heartbeat_interval.as_millis().to_string(),
        SHARE_SESSION => groups.share_session_timeout.as_millis().to_string(),
        LOCK_DURATION => shares.record_lock_duration.as_millis().to_string(),
        DELIVERY_COUNT => shares.delivery_count_limit.to_string(),
        RECORD_LOCKS => shares.partition_max_record_locks.to_string(),
        _ if shares.from_earliest => "earliest".to_owned(),
        _ => "latest".to_owned(),
    };
    let all = CONFIGS.iter().map(|row| {
        let value = of_broker(row.name);
        let given = (value != row.default).then(|| Given {
            of: row.name,
            name: row.of_broker.unwrap_or(row.name),
            value,
        });
        described(row, (config.0.get(row.name), Source::Group), given.as_ref())
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(own: &[(&str, &str)]) -> Result<GroupConfig, String> {
        let own = own
            .iter()
            .map(|(name, value)| (String::from(*name), String::from(*value)));
        GroupConfig::new(own.collect(), &GroupSettings::default())
    }

    #[test]
    fn what_follows_from_a_groups_configurations_is_there_and_described() {
        let rows = [
            (CONSUMER_HEARTBEAT, "6000"),
            (CONSUMER_SESSION, "46000"),
            (OFFSET_RESET, "earliest"),
            (DELIVERY_COUNT, "6"),
            (SHARE_HEARTBEAT, "7000"),
            (RECORD_LOCKS, "2001"),
            (LOCK_DURATION, "31000"),
            (SHARE_SESSION, "47000"),
        ];
        let config = config(&rows).expect("allowed");
        let (groups, shares) = (GroupSettings::default(), ShareSettings::default());
        let described = describe(&config, &groups, &shares);
        let values = described
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_deref()));
        let wanted = rows.iter().map(|(name, value)| (*name, Some(*value)));
        assert_eq!(values.collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
        assert!(
            described
                .iter()
                .all(|it| it.config_source == Source::Group as i8)
        );
        // What follows from them is what a broker that is set up so would say.
        let (as_set, shared) = (config.group(&groups), config.share(&shares));
        let of_broker = describe(&GroupConfig::default(), &as_set, &shared);
        for (of_broker, described) in of_broker.iter().zip(&described) {
            assert_eq!(of_broker.value, described.value, "{}", described.name);
            let synonyms = of_broker.synonyms.iter();
            let sources: Vec<_> = synonyms.map(|it| it.source).collect();
            assert_eq!(sources, [Source::StaticBroker as i8, Source::Default as i8]);
        }
        let defaults = describe(&GroupConfig::default(), &groups, &shares);
        for (described, row) in defaults.iter().zip(CONFIGS) {
            assert_eq!(
                described.value.as_deref(),
                Some(row.default),
                "{}",
                row.name
            );
            assert_eq!(described.config_source, Source::Default as i8);
        }
    }

    #[test]
    fn what_no_group_can_have_is_refused() {
        for (name, value) in [
            (LOCK_DURATION, "999"),
            (DELIVERY_COUNT, "11"),
            (OFFSET_RESET, "nowhere"),
            (CONSUMER_SESSION, "5000"),
            (SHARE_HEARTBEAT, "45000"),
            ("no.such.name", "1"),
        ] {
            assert!(config(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
