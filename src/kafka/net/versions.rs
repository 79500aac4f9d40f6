//! Which version of an API to speak: the newest that both sides know.

use std::collections::BTreeSet;

use protocol::messages::{ApiVersionsResponse, EndTxnRequest, ProduceRequest};
use protocol::{ApiKey, Request, VersionRange};

use crate::kafka::{Error, ErrorKind, Result};

/// The feature whose level 1 means groups of the consumer protocol.
const GROUP_VERSION: &str = "group.version";
/// The feature whose level 2 means that each transaction has an epoch of its own (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";

/// An API and the versions of it that both sides speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiVersions {
    /// Which API: its number, and its name as far as this client knows it.
    pub key: ApiKey,
    /// The versions that this client speaks.
    pub client: Option<VersionRange>,
    /// The versions that the broker speaks.
    pub broker: Option<VersionRange>,
}

impl ApiVersions {
    /// The version that is spoken: the newest that both know.
    pub fn chosen(&self) -> Option<i16> {
        let common = self.client?.intersection(self.broker?)?;
        Some(common.max)
    }
}

/// What a broker said it speaks.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerVersions {
    /// API, first and last version; sorted by API.
    ranges: Vec<(ApiKey, i16, i16)>,
    /// The cluster's level of the feature that says which kinds of groups there are; 0 where it is not said.
    group_version: i16,
    /// The cluster's level of the feature that says how transactions go; 0 where it is not said.
    transaction_version: i16,
}

impl BrokerVersions {
    /// What `response` says. Fails when that cannot be: the next connection may get a better response.
    pub fn of(response: &ApiVersionsResponse) -> Result<Self> {
        let ranges = response.api_keys.iter();
        let mut ranges: Vec<_> = ranges
            .map(|api| (ApiKey(api.api_key), api.min_version, api.max_version))
            .collect();
        ranges.sort_unstable();
        let impossible = ranges
            .iter()
            .find(|(api, first, last)| api.0 < 0 || *first < 0 || first > last);
        if let Some((api, first, last)) = impossible {
            return Err(implausible(format!("versions {first} to {last} of {api}")));
        }
        if let Some([(api, ..), _]) = ranges.array_windows().find(|[one, next]| one.0 == next.0) {
            return Err(implausible(format!("{api} twice")));
        }
        let level = |name: &str| {
            let features = response.finalized_features.iter();
            features
                .filter(|feature| feature.name == name)
                .map(|feature| feature.max_version_level)
                .max()
                .unwrap_or_default()
        };
        Ok(Self {
            ranges,
            group_version: level(GROUP_VERSION),
            transaction_version: level(TRANSACTION_VERSION),
        })
    }

    /// Whether there are groups of the consumer protocol (KIP-848).
    pub fn has_consumer_groups(&self) -> bool {
        self.group_version >= 1 && self.range(ApiKey::CONSUMER_GROUP_HEARTBEAT).is_some()
    }

    /// Whether each transaction has an epoch of its own, and partitions are added to it by writing to them (KIP-890).
    pub fn has_epochs_of_transactions(&self) -> bool {
        let speaks = |api, version| self.range(api).is_some_and(|(_, last)| last >= version);
        self.transaction_version >= 2
            && speaks(ApiKey::END_TXN, EndTxnRequest::NEXT_EPOCH_FROM)
            && speaks(ApiKey::PRODUCE, ProduceRequest::ADDS_PARTITIONS_FROM)
    }

    /// The first and last version of `api` that the broker speaks; `None` when it does not know the API.
    pub fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        let index = self
            .ranges
            .binary_search_by_key(&api, |range| range.0)
            .ok()?;
        let (_, first, last) = self.ranges[index];
        Some((first, last))
    }

    /// Every API that the broker speaks or this client does, by number.
    pub fn beside_ours(&self) -> Vec<ApiVersions> {
        let ours = protocol::messages::APIS.iter().map(|api| api.key);
        let theirs = self.ranges.iter().map(|range| range.0);
        let keys: BTreeSet<_> = ours.chain(theirs).collect();
        let versions = keys.into_iter().map(|key| ApiVersions {
            key,
            client: key.versions(),
            broker: (self.range(key)).map(|(first, last)| VersionRange::new(first, last)),
        });
        versions.collect()
    }

    /// The newest version that both sides know, or an error that names the API and both ranges.
    pub fn choose<R: Request>(&self) -> Result<i16> {
        let (first, last) = (R::VERSIONS.min, R::VERSIONS.max);
        let theirs = self.range(R::KEY);
        if let Some((their_first, their_last)) = theirs {
            let newest = last.min(their_last);
            if newest >= first.max(their_first) {
                return Ok(newest);
            }
        }
        let theirs = match theirs {
            Some((first, last)) => format!("the broker speaks versions {first} to {last}"),
            None => "the broker does not have it".to_string(),
        };
        Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("{theirs}, this client versions {first} to {last}"),
        )
        .api(R::KEY))
    }
}

fn implausible(what: String) -> Error {
    let message =
        format!("the broker says that it speaks {what}: it is asked again on another connection");
    Error::new(ErrorKind::Connect, message).api(ApiKey::API_VERSIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Message as _;
    use protocol::messages::api_versions_response::ApiVersion;
    use protocol::messages::{FetchRequest, ProduceRequest};

    fn broker(ranges: &[(ApiKey, i16, i16)]) -> BrokerVersions {
        BrokerVersions {
            ranges: ranges.to_vec(),
            group_version: 1,
            transaction_version: 2,
        }
    }

    #[test]
    fn the_newest_version_that_both_know_is_chosen() {
        let broker = broker(&[(ApiKey::PRODUCE, 0, 7), (ApiKey::FETCH, 4, 99)]);
        assert_eq!(broker.choose::<ProduceRequest>().ok(), Some(7));
        let newest = FetchRequest::VERSIONS.max;
        assert_eq!(broker.choose::<FetchRequest>().ok(), Some(newest));
    }

    #[test]
    fn ranges_that_cannot_be_are_named_and_may_pass() {
        let of = |ranges: &[(i16, i16, i16)]| {
            let api_keys = ranges.iter().map(|(key, first, last)| ApiVersion {
                api_key: *key,
                min_version: *first,
                max_version: *last,
                ..Default::default()
            });
            BrokerVersions::of(&ApiVersionsResponse {
                api_keys: api_keys.collect(),
                ..Default::default()
            })
        };
        of(&[(1, 0, 0), (0, 3, 9), (31_000, 0, 1)]).expect("an API that is not known is one");
        for (ranges, named) in [
            (&[(0, 4, 3)][..], "versions 4 to 3 of Produce"),
            (&[(0, -1, 3)], "versions -1 to 3"),
            (&[(-1, 0, 3)], "versions 0 to 3"),
            (&[(0, 0, 3), (0, 0, 4)], "Produce twice"),
        ] {
            let error = of(ranges).expect_err(named);
            assert!(error.to_string().contains(named), "{error}");
            assert!(error.is_retriable() && !error.is_fatal(), "{error}");
        }
    }

    #[test]
    fn what_a_broker_lacks_is_named_with_its_range() {
        let old = broker(&[(ApiKey::PRODUCE, 0, 1)]);
        let error = old.choose::<ProduceRequest>().expect_err("too old");
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        let text = error.to_string();
        assert!(
            text.starts_with("Produce: the broker speaks versions 0 to 1"),
            "{text}"
        );
        let error = old.choose::<FetchRequest>().expect_err("not there");
        assert!(error.to_string().contains("does not have it"), "{error}");
    }
}
