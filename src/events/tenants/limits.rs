//! What a tenant may take of a consumer. In: limits, set at any time. Out: a version that changes with them, and a copy for the scheduler.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ByHash, NOBODY, TenantId, tenant_id};
use crate::kafka::runtime::Mutex;

/// What one tenant may take of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantLimits {
    /// How many turns it gets for each one of a tenant with weight 1, while both have events that wait. Default 1; 0 counts as 1.
    pub weight: u32,
    /// The most of its keys that are handled at once; 0 counts as 1. Default: as many as there are handlers.
    pub concurrency: Option<u32>,
    /// The most calls of handlers for its events in a second, repeated ones included; up to a second's of them at once. 0 counts as
    /// 1. Default: no limit.
    pub per_second: Option<u32>,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            weight: 1,
            concurrency: None,
            per_second: None,
        }
    }
}

/// The limits of tenants. Clones share them: set here, they are in force in the consumers that were configured with them within a second.
///
/// What a tenant has over its limits waits: it stays in flight, takes up memory ([`queue_bytes`](crate::events::ConsumerConfig::queue_bytes)) and
/// holds back the commits of its partition. Once that memory is full, partitions are read no further, whoever wrote to them: who may write
/// much more than is handled needs a topic [of its own](crate::events::ProducerConfig::route).
///
/// ```
/// use pat_events::events::{ConsumerConfig, TenantLimits, Tenants};
///
/// let tenants = Tenants::default();
/// let mut config = ConsumerConfig::new("localhost:9092", "emails", "indexer");
/// config.tenants = tenants.clone();
/// let mut limits = TenantLimits::default();
/// limits.concurrency = Some(4);
/// tenants.set_default(limits);
/// limits.weight = 3;
/// tenants.set("acme", limits);
/// assert_eq!(tenants.of("acme").weight, 3);
/// assert_eq!(tenants.of("globex").concurrency, Some(4));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Tenants(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    version: AtomicU64,
    known: Mutex<KnownLimits>,
}

/// All limits at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLimits {
    others: TenantLimits,
    by_tenant: HashMap<TenantId, TenantLimits, ByHash>,
}

impl Tenants {
    /// Sets the limits of one tenant.
    pub fn set(&self, tenant: &str, limits: TenantLimits) {
        self.change(|known| {
            known.by_tenant.insert(id(tenant), limits);
        });
    }

    /// Forgets the limits of one tenant: it has the default ones.
    pub fn reset(&self, tenant: &str) {
        self.change(|known| {
            known.by_tenant.remove(&id(tenant));
        });
    }

    /// Sets the limits that each tenant has for which none are set.
    pub fn set_default(&self, limits: TenantLimits) {
        self.change(|known| known.others = limits);
    }

    /// The limits of this tenant.
    pub fn of(&self, tenant: &str) -> TenantLimits {
        self.0.known.lock().of(id(tenant))
    }

    fn change(&self, change: impl FnOnce(&mut KnownLimits)) {
        change(&mut self.0.known.lock());
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// A number that changes with the limits, from 0.
    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    pub(crate) fn known(&self) -> KnownLimits {
        self.0.known.lock().clone()
    }
}

impl KnownLimits {
    /// What events of nobody have no limits by.
    pub(crate) fn of(&self, tenant: TenantId) -> TenantLimits {
        match tenant {
            NOBODY => TenantLimits::default(),
            tenant => self.by_tenant.get(&tenant).copied().unwrap_or(self.others),
        }
    }

    /// Whether nobody has any.
    pub(crate) fn are_none(&self) -> bool {
        self.by_tenant.is_empty() && self.others == TenantLimits::default()
    }
}

fn id(tenant: &str) -> TenantId {
    tenant_id(Some(tenant.as_bytes()))
}
