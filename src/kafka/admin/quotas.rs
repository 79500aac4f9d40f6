//! Quotas of clients (KIP-546): described by filters, set and removed. In: entities, filters, values. Out: values, a result for each entity.

use std::collections::BTreeMap;
use std::fmt;

use protocol::messages::alter_client_quotas_request as alter;
use protocol::messages::describe_client_quotas_request::ComponentData;
use protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::Admin;
use super::each::{Ask, Round, Route, checked};
use crate::kafka::Result;
use crate::kafka::cluster::Answer;

/// Kafka's names of the sorts of entities.
const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";

/// Whom a quota limits: a user, a client id, both together, or an address (KIP-612). A name of `None` is the default of all that have no
/// quota of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct QuotaEntity {
    /// The name, by sort: `user`, `client-id` or `ip`.
    pub names: BTreeMap<String, Option<String>>,
}

impl QuotaEntity {
    /// This user, by the name of its principal.
    pub fn user(name: impl Into<String>) -> Self {
        Self::default().with(USER, Some(name.into()))
    }

    /// All users without a quota of their own.
    pub fn default_user() -> Self {
        Self::default().with(USER, None)
    }

    /// This client id, of any user.
    pub fn client_id(id: impl Into<String>) -> Self {
        Self::default().with(CLIENT_ID, Some(id.into()))
    }

    /// All client ids without a quota of their own.
    pub fn default_client_id() -> Self {
        Self::default().with(CLIENT_ID, None)
    }

    /// This address, for the rate of its connections (KIP-612).
    pub fn ip(address: impl Into<String>) -> Self {
        Self::default().with(IP, Some(address.into()))
    }

    /// All addresses without a quota of their own.
    pub fn default_ip() -> Self {
        Self::default().with(IP, None)
    }

    /// Where it is of this name as well: such as a client id of a user. `None` is the default of the sort.
    pub fn with(mut self, sort: impl Into<String>, name: Option<String>) -> Self {
        self.names.insert(sort.into(), name);
        self
    }

    /// With this client id alone.
    pub fn and_client_id(self, id: impl Into<String>) -> Self {
        self.with(CLIENT_ID, Some(id.into()))
    }

    /// With each client id that has no quota of its own.
    pub fn and_default_client_id(self) -> Self {
        self.with(CLIENT_ID, None)
    }
}

/// Such as `user alice, client-id <default>`.
impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (sort, name)) in self.names.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            let name = name.as_deref().unwrap_or("<default>");
            write!(f, "{comma}{sort} {name}")?;
        }
        Ok(())
    }
}

/// Which names of a sort are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaMatch {
    /// This one.
    Name(String),
    /// The default of the sort.
    Default,
    /// All, the default included.
    Any,
}

/// Which entities are meant: [`Default`] means all, each method fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaFilter {
    /// What is to be of each sort: `user`, `client-id` or `ip`.
    pub components: BTreeMap<String, QuotaMatch>,
    /// Whether entities of further sorts are left out.
    pub strict: bool,
}

impl QuotaFilter {
    /// Where there is a user, and it is this one.
    pub fn user(self, user: QuotaMatch) -> Self {
        self.component(USER, user)
    }

    /// Where there is a client id, and it is this one.
    pub fn client_id(self, id: QuotaMatch) -> Self {
        self.component(CLIENT_ID, id)
    }

    /// Where there is an address, and it is this one.
    pub fn ip(self, address: QuotaMatch) -> Self {
        self.component(IP, address)
    }

    /// Where there is something of this sort, and it is this one.
    pub fn component(mut self, sort: impl Into<String>, what: QuotaMatch) -> Self {
        self.components.insert(sort.into(), what);
        self
    }

    /// Where there is nothing of another sort: not the client ids of a user, when users are asked for.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }
}

impl Admin {
    /// The quotas that entities have by themselves, by name, such as `producer_byte_rate` in bytes a second. Cancel safe: nothing is changed.
    ///
    /// Errors: `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`DESCRIBE_CONFIGS` on the cluster), `INVALID_REQUEST` for a filter that
    /// cannot be: an address together with a user. Needs Kafka 2.6.
    pub async fn describe_client_quotas(
        &self,
        filter: &QuotaFilter,
    ) -> Result<BTreeMap<QuotaEntity, BTreeMap<String, f64>>> {
        let build = |_: &mut Round<()>| {
            let components = filter.components.iter().map(|(sort, what)| {
                let (match_type, name) = match what {
                    QuotaMatch::Name(name) => (0, Some(name.clone())),
                    QuotaMatch::Default => (1, None),
                    QuotaMatch::Any => (2, None),
                };
                ComponentData {
                    entity_type: sort.clone(),
                    match_type,
                    r#match: name,
                    ..Default::default()
                }
            });
            Ok(DescribeClientQuotasRequest {
                components: components.collect(),
                strict: filter.strict,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeClientQuotasRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            let described = || -> BTreeMap<_, _> {
                let entries = response.entries.iter().flatten();
                entries
                    .map(|it| {
                        let names = it.entity.iter();
                        let names =
                            names.map(|it| (it.entity_type.clone(), it.entity_name.clone()));
                        let names = names.collect();
                        let values = it.values.iter().map(|it| (it.key.clone(), it.value));
                        (QuotaEntity { names }, values.collect())
                    })
                    .collect()
            };
            round.all(checked(answer, response.error_code, message, described))
        };
        self.one(Route::Any, build, read).await
    }

    /// Sets quotas by name, and removes those whose value is `None`: a result for each entity, whose alterations are done together or not at
    /// all. Names that are not given stay as they are.
    ///
    /// Names of users and client ids: `producer_byte_rate` and `consumer_byte_rate` (bytes a second and broker), `request_percentage` (of the
    /// time of one thread), `controller_mutation_rate` (KIP-599); of addresses: `connection_creation_rate`. With `validate_only` brokers only
    /// say what would become of it.
    ///
    /// Errors by entity: `INVALID_REQUEST` for what cannot be, `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`ALTER_CONFIGS` on the
    /// cluster). A call that is dropped may still be carried out. Needs Kafka 2.6.
    pub async fn alter_client_quotas(
        &self,
        alterations: &BTreeMap<QuotaEntity, BTreeMap<String, Option<f64>>>,
        validate_only: bool,
    ) -> Result<BTreeMap<QuotaEntity, Result<()>>> {
        let build = |round: &mut Round<QuotaEntity>| {
            let entries = round.items.iter();
            let entries = entries.map(|entity| entry(entity, &alterations[entity]));
            Ok(AlterClientQuotasRequest {
                entries: entries.collect(),
                validate_only,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AlterClientQuotasRequest>, _: &Round<QuotaEntity>| {
            let entries = answer.response.entries.iter();
            entries
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    let names = it.entity.iter();
                    let names = names.map(|it| (it.entity_type.clone(), it.entity_name.clone()));
                    let names = names.collect();
                    (QuotaEntity { names }, result)
                })
                .collect()
        };
        let items = alterations.keys().cloned().collect();
        let ask = Ask::new(Route::Controller, items, |entity: &QuotaEntity, error| {
            error.prefixed(&format!("quota of {entity}"))
        });
        self.each(ask, build, read).await
    }
}

fn entry(entity: &QuotaEntity, values: &BTreeMap<String, Option<f64>>) -> alter::EntryData {
    let names = entity.names.iter().map(|(sort, name)| alter::EntityData {
        entity_type: sort.clone(),
        entity_name: name.clone(),
        ..Default::default()
    });
    let ops = values.iter().map(|(key, value)| alter::OpData {
        key: key.clone(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
        ..Default::default()
    });
    alter::EntryData {
        entity: names.collect(),
        ops: ops.collect(),
        ..Default::default()
    }
}
