//! What a cluster can do by its features' levels (KIP-584, KIP-778): described, raised and lowered. In: levels. Out: levels, a result for each
//! feature.

use std::collections::BTreeMap;

use protocol::messages::update_features_request::FeatureUpdateKey;
use protocol::messages::{ApiVersionsRequest, UpdateFeaturesRequest};
use protocol::{ErrorCode, VersionRange};

use super::Admin;
use super::each::{Ask, Round, Route, checked};
use super::names::kafka_names;
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result};

/// What a broker says of features.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeatureDescription {
    /// The levels that the cluster has settled on, first and last, by the feature's name, such as `metadata.version`. A feature at level 0 is
    /// left out.
    pub finalized: BTreeMap<String, VersionRange>,
    /// How often they were settled; `None` where the broker did not say.
    pub finalized_epoch: Option<i64>,
    /// The levels that this broker supports, first and last.
    pub supported: BTreeMap<String, VersionRange>,
}

/// Which way a level may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FeatureUpgradeType {
    /// Up.
    Upgrade,
    /// Down, where nothing is lost by it.
    SafeDowngrade,
    /// Down, also where metadata is lost by it.
    UnsafeDowngrade,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(FeatureUpgradeType, "way of a level", {
    Upgrade = 1 "UPGRADE",
    SafeDowngrade = 2 "SAFE_DOWNGRADE",
    UnsafeDowngrade = 3 "UNSAFE_DOWNGRADE",
});

/// The level that a feature is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FeatureUpdate {
    /// The level; 0 switches the feature off, which is a downgrade.
    pub level: i16,
    /// Which way it may go.
    pub upgrade_type: FeatureUpgradeType,
}

impl FeatureUpdate {
    /// Up to this level.
    pub fn upgrade(level: i16) -> Self {
        Self {
            level,
            upgrade_type: FeatureUpgradeType::Upgrade,
        }
    }

    /// Down to this level, where nothing is lost by it.
    pub fn safe_downgrade(level: i16) -> Self {
        Self {
            upgrade_type: FeatureUpgradeType::SafeDowngrade,
            ..Self::upgrade(level)
        }
    }

    /// Down to this level, also where metadata is lost by it.
    pub fn unsafe_downgrade(level: i16) -> Self {
        Self {
            upgrade_type: FeatureUpgradeType::UnsafeDowngrade,
            ..Self::upgrade(level)
        }
    }
}

impl Admin {
    /// The levels of features that the cluster has settled on, and those that a broker supports: of the broker of this id, or of any. Brokers
    /// before Kafka 2.7 know of none. Cancel safe: nothing is changed.
    pub async fn describe_features(&self, broker: Option<i32>) -> Result<FeatureDescription> {
        let route = match broker {
            Some(broker) => Route::Broker(Box::new(move |_: &()| broker)),
            None => Route::Any,
        };
        let build = |_: &mut Round<()>| {
            Ok(ApiVersionsRequest {
                client_software_name: env!("CARGO_PKG_NAME").to_owned(),
                client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ApiVersionsRequest>, round: &Round<()>| {
            let response = &answer.response;
            let described = || FeatureDescription {
                finalized: (response.finalized_features.iter())
                    .map(|it| {
                        (
                            it.name.clone(),
                            range(it.min_version_level, it.max_version_level),
                        )
                    })
                    .collect(),
                finalized_epoch: Some(response.finalized_features_epoch).filter(|it| *it >= 0),
                supported: (response.supported_features.iter())
                    .map(|it| (it.name.clone(), range(it.min_version, it.max_version)))
                    .collect(),
            };
            round.all(checked(answer, response.error_code, None, described))
        };
        self.one(route, build, read).await
    }

    /// Raises and lowers the levels of features: a result for each. Brokers from Kafka 4.0 on do all or none; with `validate_only` (from Kafka
    /// 3.3 on) they only say what would become of it.
    ///
    /// Errors by feature: `INVALID_UPDATE_VERSION` for a level that cannot be, `FEATURE_UPDATE_FAILED`, an authorization error where the client
    /// may not (`ALTER` on the cluster), [`ErrorKind::UnsupportedVersion`] for what a broker is too old for. A call that is dropped may still
    /// be carried out.
    pub async fn update_features(
        &self,
        updates: &BTreeMap<&str, FeatureUpdate>,
        validate_only: bool,
    ) -> Result<BTreeMap<String, Result<()>>> {
        let build = |round: &mut Round<String>| {
            let is_old = round.version < 1;
            if is_old && validate_only {
                let message = "this broker is older than Kafka 3.3 and cannot only say what would become of features";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            if is_old {
                round.refuse(|name| {
                    let unsafely = FeatureUpgradeType::UnsafeDowngrade;
                    let message =
                        "this broker is older than Kafka 3.3 and knows no unsafe downgrade";
                    (updates[&**name].upgrade_type == unsafely)
                        .then(|| Error::new(ErrorKind::UnsupportedVersion, message))
                });
            }
            let names = round.items.iter();
            let feature_updates = names.map(|name| {
                let FeatureUpdate {
                    level,
                    upgrade_type,
                } = updates[&**name];
                let new = FeatureUpdateKey {
                    feature: name.clone(),
                    max_version_level: level,
                    ..Default::default()
                };
                match is_old {
                    true => FeatureUpdateKey {
                        allow_downgrade: upgrade_type == FeatureUpgradeType::SafeDowngrade,
                        ..new
                    },
                    false => FeatureUpdateKey {
                        upgrade_type: upgrade_type.number(),
                        ..new
                    },
                }
            });
            Ok(UpdateFeaturesRequest {
                timeout_ms: round.timeout_ms,
                feature_updates: feature_updates.collect(),
                validate_only,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<UpdateFeaturesRequest>, round: &Round<String>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            if response.error_code != ErrorCode::NONE || answer.version >= 2 {
                return round.all(checked(answer, response.error_code, message, || ()));
            }
            let results = response.results.iter();
            results
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    (it.feature.clone(), result)
                })
                .collect()
        };
        let items = updates.keys().map(|name| name.to_string()).collect();
        let ask = Ask::new(Route::Controller, items, |name: &String, error| {
            error.prefixed(&format!("feature {name}"))
        });
        self.each(ask, build, read).await
    }
}

fn range(min: i16, max: i16) -> VersionRange {
    VersionRange { min, max }
}
