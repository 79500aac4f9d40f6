//! ApiVersions: what is spoken, in which versions (KIP-35, KIP-511, KIP-1242).

use protocol::frame::encode_response;
use protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use protocol::messages::{
    ApiVersionsRequest, ConsumerGroupHeartbeatRequest, ShareGroupHeartbeatRequest,
};
use protocol::{ApiKey, ErrorCode, Message, Request, VersionRange};

use super::{Api, Context, Outcome, Reply, offered};
use crate::broker::cluster::Cluster;

/// The feature whose level 1 means consumer groups (KIP-848).
const GROUP_VERSION: &str = "group.version";
/// The same of share groups (KIP-932).
const SHARE_VERSION: &str = "share.version";
/// The feature whose level 2 means that each transaction has an epoch of its own (KIP-890).
const TRANSACTION_VERSION: &str = "transaction.version";
const TRANSACTION_VERSION_MAX: i16 = 2;
/// From here on clients know features that may be at level 0.
const LEVEL_ZERO_FROM: i16 = 4;

impl Api for ApiVersionsRequest {
    const RESTS_ON_FILES: bool = false;

    async fn handle(self, context: &Context<'_>) -> Reply<ApiVersionsResponse> {
        match (self.cluster_id.as_ref(), self.node_id) {
            (None, -1) => {}
            (None, _) | (Some(_), -1) => {
                return Reply::Message(self.refusal(context.version, ErrorCode::INVALID_REQUEST));
            }
            (Some(id), node) if *id != context.cluster.id || node != context.node => {
                return Reply::Message(
                    self.refusal(context.version, ErrorCode::REBOOTSTRAP_REQUIRED),
                );
            }
            (Some(_), _) => {}
        }
        if context.version >= 3
            && !(is_name(&self.client_software_name) && is_name(&self.client_software_version))
        {
            return Reply::Message(self.refusal(context.version, ErrorCode::INVALID_REQUEST));
        }
        let api_keys = offered(context.cluster)
            .into_iter()
            .map(|(key, range)| api_version(key, range))
            .collect();
        context.connection.session().versions_told();
        let level = |key, spoken| i16::from(context.cluster.versions(key, spoken).is_some());
        let group_version = level(
            ConsumerGroupHeartbeatRequest::KEY,
            ConsumerGroupHeartbeatRequest::VERSIONS,
        );
        let share_version = level(
            ShareGroupHeartbeatRequest::KEY,
            ShareGroupHeartbeatRequest::VERSIONS,
        );
        let transaction_version = context.cluster.settings.transactions.version;
        // What is supported, and what holds.
        let features = [
            (GROUP_VERSION, group_version, group_version),
            (SHARE_VERSION, share_version, share_version),
            (
                TRANSACTION_VERSION,
                TRANSACTION_VERSION_MAX,
                i16::from(transaction_version.0),
            ),
        ];
        Reply::Message(ApiVersionsResponse {
            api_keys,
            // Older clients stumble over a feature whose level may be 0.
            supported_features: (features.iter())
                .filter(|_| context.version >= LEVEL_ZERO_FROM)
                .map(|(name, max, _)| SupportedFeatureKey {
                    name: (*name).to_owned(),
                    max_version: *max,
                    ..Default::default()
                })
                .collect(),
            finalized_features_epoch: 0,
            finalized_features: (features.iter())
                .map(|(name, _, level)| FinalizedFeatureKey {
                    name: (*name).to_owned(),
                    max_version_level: *level,
                    min_version_level: *level,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        })
    }
}

/// Answers a version that is not offered: of ApiVersions in version 0, which every client reads; of all else by closing the connection.
pub(super) fn answer_unsupported(key: ApiKey, cluster: &Cluster, correlation_id: i32) -> Outcome {
    if key != ApiVersionsRequest::KEY {
        return Outcome::Disconnect;
    }
    let ours = offered(cluster)
        .into_iter()
        .filter(|(offered, _)| *offered == key);
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        api_keys: ours.map(|(key, range)| api_version(key, range)).collect(),
        ..Default::default()
    };
    match encode_response(0, correlation_id, &response) {
        Ok(frame) => Outcome::Answer {
            frame,
            mute_until: None,
        },
        Err(_) => Outcome::Disconnect,
    }
}

fn api_version(key: ApiKey, range: VersionRange) -> ApiVersion {
    ApiVersion {
        api_key: key.0,
        min_version: range.min,
        max_version: range.max,
        ..Default::default()
    }
}

/// Names and versions of client software: letters, digits, `-` and `.`, the last two not at the ends.
fn is_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let ends = text.bytes().next().into_iter().chain(text.bytes().last());
    !text.is_empty()
        && text.bytes().all(inner)
        && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
}
