//! How groups behave: what the broker is set to, and what single groups set for themselves.

use std::collections::BTreeMap;
use std::time::Duration;

/// How groups behave; names and defaults are Kafka's `group.*` settings, but for the initial delay.
#[derive(Clone, Debug)]
pub(crate) struct GroupSettings {
    /// How long the first rebalance of an empty group waits for more members; Kafka has 3 s, here it is 0.
    pub(crate) initial_rebalance_delay: Duration,
    pub(crate) min_session_timeout: Duration,
    pub(crate) max_session_timeout: Duration,
    pub(crate) consumer_session_timeout: Duration,
    pub(crate) consumer_heartbeat_interval: Duration,
    pub(crate) share_session_timeout: Duration,
    pub(crate) share_heartbeat_interval: Duration,
    pub(crate) migration_policy: MigrationPolicy,
}

/// Which groups with members may change over to the other protocol (`group.consumer.migration.policy`). One without members always may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigrationPolicy {
    /// Classic groups to consumer groups (KIP-848) when a member of that protocol joins, and back when the last such member is gone. The
    /// default, as in Kafka.
    #[default]
    Bidirectional,
    /// Classic groups to consumer groups only.
    Upgrade,
    /// Consumer groups to classic groups only.
    Downgrade,
    /// None.
    Disabled,
}

impl MigrationPolicy {
    pub(super) fn upgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Upgrade)
    }

    pub(super) fn downgrades(self) -> bool {
        matches!(self, Self::Bidirectional | Self::Downgrade)
    }
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::ZERO,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            share_session_timeout: Duration::from_secs(45),
            share_heartbeat_interval: Duration::from_secs(5),
            migration_policy: MigrationPolicy::default(),
        }
    }
}

/// What each group is set to.
#[derive(Clone, Debug, Default)]
pub(super) struct SettingsByGroup {
    /// Those that set nothing for themselves.
    pub(super) others: GroupSettings,
    own: BTreeMap<String, GroupSettings>,
}

impl SettingsByGroup {
    pub(super) fn new(others: GroupSettings) -> Self {
        Self {
            others,
            own: BTreeMap::new(),
        }
    }

    pub(super) fn of(&self, group_id: &str) -> &GroupSettings {
        self.own.get(group_id).unwrap_or(&self.others)
    }

    pub(super) fn set(&mut self, group_id: &str, own: Option<GroupSettings>) {
        match own {
            Some(own) => drop(self.own.insert(group_id.to_owned(), own)),
            None => drop(self.own.remove(group_id)),
        }
    }
}
