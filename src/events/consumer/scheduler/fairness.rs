//! Keys that are ready, by tenant. Tenants take turns, one key each: who has much to do takes no more turns than who has little.

use std::collections::{HashMap, VecDeque};

use super::queues::{ByHash, KeyId, TenantId};

/// The tenants that have keys that are ready, and those keys.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tenants: HashMap<TenantId, VecDeque<KeyId>, ByHash>,
    /// In the order of their turns.
    order: VecDeque<TenantId>,
    /// Empty lists, pooled.
    spare: Vec<VecDeque<KeyId>>,
}

impl Turns {
    /// `key` is ready, and its next record is `tenant`'s.
    pub(super) fn push(&mut self, tenant: TenantId, key: KeyId) {
        let keys = self.tenants.entry(tenant).or_insert_with(|| {
            self.order.push_back(tenant);
            self.spare.pop().unwrap_or_default()
        });
        keys.push_back(key);
    }

    /// The key that has been ready for longest, of the tenant whose turn it is.
    pub(super) fn pop(&mut self) -> Option<KeyId> {
        let tenant = self.order.pop_front()?;
        let keys = self.tenants.get_mut(&tenant)?;
        let key = keys.pop_front();
        if !keys.is_empty() {
            self.order.push_back(tenant);
        } else if let Some(keys) = self.tenants.remove(&tenant) {
            self.spare.push(keys);
        }
        key
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
impl Turns {
    /// Whether `tenant` has a key that is ready.
    pub(super) fn has(&self, tenant: TenantId) -> bool {
        self.tenants.contains_key(&tenant)
    }
}
