//! IncrementalAlterConfigs, of groups alone (KIP-1071, KIP-932): what a share group sets for itself. Configurations of other resources cannot be
//! altered here.

use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;
use crate::broker::share::GroupConfig;
use crate::broker::storage::{Change, Key};

/// The type of resource that a group is.
const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;

type Refusal = (ErrorCode, String);

impl Api for IncrementalAlterConfigsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<IncrementalAlterConfigsResponse> {
        let responses = self.resources.iter().map(|resource| {
            let altered = alter(resource, self.validate_only, context);
            let (error_code, error_message) = match altered {
                Ok(()) => (ErrorCode::NONE, None),
                Err((code, text)) => (code, Some(text).filter(|text| !text.is_empty())),
            };
            answer(resource, error_code, error_message)
        });
        Reply::Message(IncrementalAlterConfigsResponse {
            responses: responses.collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> IncrementalAlterConfigsResponse {
        let resources = self.resources.iter();
        IncrementalAlterConfigsResponse {
            responses: resources
                .map(|resource| answer(resource, error, None))
                .collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.resources.is_empty()
    }
}

fn answer(
    resource: &AlterConfigsResource,
    error_code: ErrorCode,
    error_message: Option<String>,
) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse {
        error_code,
        error_message,
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        ..Default::default()
    }
}

fn alter(
    resource: &AlterConfigsResource,
    validate_only: bool,
    context: &Context<'_>,
) -> Result<(), Refusal> {
    if resource.resource_type != GROUP {
        let text = "Only configurations of groups can be altered here.".to_owned();
        return Err((ErrorCode::INVALID_REQUEST, text));
    }
    let group = &resource.resource_name;
    let may = context.check_group(AclOperation::AlterConfigs, group);
    may.map_err(|error| (error, String::new()))?;
    let mut shares = lock(&context.cluster.shares);
    let mut config = shares.config(group).clone();
    for change in &resource.configs {
        apply(&mut config, change)?;
    }
    if !validate_only {
        let key = Key::GroupConfig(group.clone());
        let change = Change::put(&key, &config.note().to_bytes());
        let kept = context.cluster.keep(&[change]);
        kept.map_err(|error| (error, String::new()))?;
        *shares.config(group) = config;
    }
    Ok(())
}

fn apply(config: &mut GroupConfig, change: &AlterableConfig) -> Result<(), Refusal> {
    let value = match (change.config_operation, &change.value) {
        (SET, Some(value)) => Some(value.as_str()),
        (DELETE, _) => None,
        _ => return Err(invalid(change)),
    };
    let number = |least: i64, most: i64| match value {
        None => Ok(None),
        Some(value) => {
            let number = value
                .parse()
                .ok()
                .filter(|number| (least..=most).contains(number));
            number.map(Some).ok_or_else(|| invalid(change))
        }
    };
    match change.name.as_str() {
        "share.record.lock.duration.ms" => {
            let millis = number(1_000, 3_600_000)?;
            let millis = millis.and_then(|millis| u64::try_from(millis).ok());
            config.record_lock_duration = millis.map(Duration::from_millis);
        }
        "share.delivery.count.limit" => {
            let limit = number(2, 10)?;
            config.delivery_count_limit = limit.and_then(|limit| i16::try_from(limit).ok());
        }
        "share.partition.max.record.locks" => {
            config.partition_max_record_locks = number(100, 10_000)?;
        }
        "share.auto.offset.reset" => {
            config.from_earliest = match value {
                None => None,
                Some("earliest") => Some(true),
                Some("latest") => Some(false),
                Some(_) => return Err(invalid(change)),
            };
        }
        _ => return Err(invalid(change)),
    }
    Ok(())
}

fn invalid(change: &AlterableConfig) -> Refusal {
    let AlterableConfig { name, value, .. } = change;
    let value = value.as_deref().unwrap_or("null");
    let text = format!("Invalid value {value} for configuration {name}.");
    (ErrorCode::INVALID_CONFIG, text)
}
