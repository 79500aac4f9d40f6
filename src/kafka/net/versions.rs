//! Which version of an API to speak: the newest that both sides know.

use protocol::messages::ApiVersionsResponse;
use protocol::{ApiKey, Request};

use crate::kafka::{Error, ErrorKind, Result};

/// What a broker said it speaks.
#[derive(Clone, Debug, Default)]
pub(crate) struct BrokerVersions {
    /// API, first and last version; sorted by API.
    ranges: Vec<(ApiKey, i16, i16)>,
}

impl BrokerVersions {
    /// What `response` says.
    pub fn of(response: &ApiVersionsResponse) -> Self {
        let ranges = response.api_keys.iter();
        let mut ranges: Vec<_> = ranges
            .map(|api| (ApiKey(api.api_key), api.min_version, api.max_version))
            .collect();
        ranges.sort_unstable();
        Self { ranges }
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

    /// Every API that the broker speaks.
    pub fn apis(&self) -> impl Iterator<Item = ApiKey> + '_ {
        self.ranges.iter().map(|range| range.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Message as _;
    use protocol::messages::{FetchRequest, ProduceRequest};

    fn broker(ranges: &[(ApiKey, i16, i16)]) -> BrokerVersions {
        BrokerVersions {
            ranges: ranges.to_vec(),
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
