//! DescribeClientQuotas, AlterClientQuotas: what clients are to keep to (KIP-546). It is kept while the broker runs, and told; what clients may
//! produce is limited by the broker's settings alone.

use std::collections::BTreeMap;

use protocol::ErrorCode;
use protocol::messages::alter_client_quotas_request as altering;
use protocol::messages::alter_client_quotas_response as altered;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::describe_client_quotas_response as described;
use protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};

use super::{Api, Context, Reply};
use crate::broker::lock;
use crate::broker::security::AclOperation;

/// A name by sort, or the default of the sort.
type Entity = BTreeMap<String, Option<String>>;

/// What each entity is to keep to, by the quota's name.
pub(in crate::broker) type ClientQuotas = BTreeMap<Entity, BTreeMap<String, f64>>;

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
const SORTS: [&str; 3] = [USER, CLIENT_ID, IP];

const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

impl Api for DescribeClientQuotasRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeClientQuotasResponse> {
        if !context.allows_cluster(AclOperation::DescribeConfigs) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let sorts: Vec<&str> = self.components.iter().map(|it| &*it.entity_type).collect();
        let is_known = self.components.iter().all(|it| match it.match_type {
            EXACT => it.r#match.is_some(),
            DEFAULT | ANY => it.r#match.is_none(),
            _ => false,
        });
        if sorts.iter().any(|sort| !SORTS.contains(sort)) {
            return Reply::Message(self.refusal(context.version, ErrorCode::UNSUPPORTED_VERSION));
        }
        if !is_known || !can_be(&sorts) {
            return Reply::Message(self.refusal(context.version, ErrorCode::INVALID_REQUEST));
        }
        let quotas = lock(&context.cluster.client_quotas);
        let matching = quotas.iter().filter(|(entity, _)| {
            let has = |it: &ComponentData| match entity.get(&it.entity_type) {
                None => false,
                Some(name) => match it.match_type {
                    ANY => true,
                    _ => *name == it.r#match,
                },
            };
            self.components.iter().all(has)
                && (!self.strict || entity.len() == self.components.len())
        });
        let entries = matching.map(|(entity, values)| described::EntryData {
            entity: (entity.iter())
                .map(|(sort, name)| described::EntityData {
                    entity_type: sort.clone(),
                    entity_name: name.clone(),
                    ..Default::default()
                })
                .collect(),
            values: (values.iter())
                .map(|(key, value)| described::ValueData {
                    key: key.clone(),
                    value: *value,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        });
        Reply::Message(DescribeClientQuotasResponse {
            entries: Some(entries.collect()),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error_code: ErrorCode) -> DescribeClientQuotasResponse {
        DescribeClientQuotasResponse {
            error_code,
            entries: None,
            ..Default::default()
        }
    }
}

impl Api for AlterClientQuotasRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<AlterClientQuotasResponse> {
        if !context.allows_cluster(AclOperation::AlterConfigs) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let mut quotas = lock(&context.cluster.client_quotas);
        let entries = self.entries.iter().map(|entry| {
            let error = match check(entry) {
                Err(error) => error,
                Ok(entity) => {
                    if !self.validate_only {
                        alter(&mut quotas, entity, &entry.ops);
                    }
                    ErrorCode::NONE
                }
            };
            answer(entry, error)
        });
        Reply::Message(AlterClientQuotasResponse {
            entries: entries.collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> AlterClientQuotasResponse {
        AlterClientQuotasResponse {
            entries: self.entries.iter().map(|it| answer(it, error)).collect(),
            ..Default::default()
        }
    }

    fn can_be_refused(&self, _: i16) -> bool {
        !self.entries.is_empty()
    }
}

fn answer(entry: &altering::EntryData, error_code: ErrorCode) -> altered::EntryData {
    let entity = entry.entity.iter().map(|it| altered::EntityData {
        entity_type: it.entity_type.clone(),
        entity_name: it.entity_name.clone(),
        ..Default::default()
    });
    altered::EntryData {
        error_code,
        entity: entity.collect(),
        ..Default::default()
    }
}

/// Whether there can be something of these sorts: users, client ids, both, or addresses; none twice.
fn can_be(sorts: &[&str]) -> bool {
    let is_known = |sort: &&str| SORTS.contains(sort);
    let twice = super::create_topics::duplicates(sorts.iter());
    sorts.iter().all(is_known) && twice.is_empty() && (!sorts.contains(&IP) || sorts.len() == 1)
}

/// The entity, where it can be, and its quotas as well.
fn check(entry: &altering::EntryData) -> Result<Entity, ErrorCode> {
    let sorts: Vec<&str> = entry.entity.iter().map(|it| &*it.entity_type).collect();
    let names: &[&str] = match sorts.contains(&IP) {
        true => &["connection_creation_rate"],
        false => &[
            "consumer_byte_rate",
            "controller_mutation_rate",
            "producer_byte_rate",
            "request_percentage",
        ],
    };
    let is_named = |it: &altering::EntityData| it.entity_name.as_deref() != Some("");
    let may_be = |it: &altering::OpData| {
        names.contains(&&*it.key) && (it.remove || it.value > 0.0 && it.value.is_finite())
    };
    let all_may_be = !sorts.is_empty()
        && can_be(&sorts)
        && entry.entity.iter().all(is_named)
        && entry.ops.iter().all(may_be);
    if !all_may_be {
        return Err(ErrorCode::INVALID_REQUEST);
    }
    let names = entry.entity.iter();
    Ok(names
        .map(|it| (it.entity_type.clone(), it.entity_name.clone()))
        .collect())
}

fn alter(quotas: &mut ClientQuotas, entity: Entity, ops: &[altering::OpData]) {
    let mut values = quotas.remove(&entity).unwrap_or_default();
    for op in ops {
        match op.remove {
            true => values.remove(&op.key),
            false => values.insert(op.key.clone(), op.value),
        };
    }
    if !values.is_empty() {
        quotas.insert(entity, values);
    }
}
