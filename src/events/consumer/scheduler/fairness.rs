//! Keys that are ready, by tenant. Tenants take turns, as many keys each as its weight says: who has much to do takes no more turns than who
//! has little. Who is at a limit of its own takes none until that is over, and holds up nobody.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::queues::KeyId;
use crate::events::tenants::{ByHash, KnownLimits, TenantId, TenantLimits};

/// The burst that a rate allows.
const BURST: Duration = Duration::from_secs(1);

/// The tenants that have keys that are ready, or anything to remember, and those keys.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tenants: HashMap<TenantId, Tenant, ByHash>,
    /// In the order of their turns.
    order: VecDeque<TenantId>,
    /// Tenants that wait for their rate, the first of them on top.
    waiting: BinaryHeap<Reverse<(Instant, TenantId)>>,
    /// Whether there is a new one on top of them.
    waits_anew: bool,
    /// Empty lists, pooled.
    spare: Vec<VecDeque<KeyId>>,
    /// `None` while nobody has limits: then nothing is counted.
    limits: Option<KnownLimits>,
}

#[derive(Debug, Default)]
struct Tenant {
    keys: VecDeque<KeyId>,
    place: Place,
    /// How many turns it has had since its last place at the end.
    turns: u32,
    /// How many of its keys are with workers.
    at_work: u32,
    /// When all that was taken would have been handled, at the rate that it is limited to.
    paid_until: Option<Instant>,
}

/// Where a tenant stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// It has nothing to do, or as much as it may with workers.
    #[default]
    Nowhere,
    InOrder,
    Waiting,
}

impl Turns {
    /// From now on these are the limits.
    pub(super) fn set_limits(&mut self, limits: KnownLimits, now: Instant) {
        self.limits = (!limits.are_none()).then_some(limits);
        self.waiting.clear();
        let tenants: Vec<_> = self.tenants.keys().copied().collect();
        for id in tenants {
            if let Some(tenant) = self.tenants.get_mut(&id)
                && tenant.place == Place::Waiting
            {
                tenant.place = Place::Nowhere;
            }
            self.place(id, now);
        }
    }

    /// `key` is ready, and its next record is `tenant`'s.
    pub(super) fn push(&mut self, tenant: TenantId, key: KeyId) {
        let state = self.tenants.entry(tenant).or_insert_with(|| Tenant {
            keys: self.spare.pop().unwrap_or_default(),
            ..Tenant::default()
        });
        state.keys.push_back(key);
        if state.place == Place::Nowhere {
            // Whoever takes it looks at its rate.
            let limits = limits_of(&self.limits, tenant);
            if !is_full(state, &limits) {
                state.place = Place::InOrder;
                self.order.push_back(tenant);
            }
        }
    }

    /// The key that has been ready for longest, of the tenant whose turn it is. It is with a worker until it is [released](Turns::release).
    pub(super) fn pop(&mut self, now: Instant) -> Option<(TenantId, KeyId)> {
        self.wake(now);
        while let Some(id) = self.order.pop_front() {
            let Some(tenant) = self.tenants.get_mut(&id) else {
                continue;
            };
            tenant.place = Place::Nowhere;
            let limits = limits_of(&self.limits, id);
            if is_full(tenant, &limits) || free_at(tenant, &limits).is_some_and(|at| at > now) {
                self.place(id, now);
                continue;
            }
            let key = tenant.keys.pop_front();
            tenant.at_work += u32::from(self.limits.is_some());
            tenant.turns += 1;
            let goes_on = tenant.turns < limits.weight;
            if !goes_on {
                tenant.turns = 0;
            }
            self.place(id, now);
            // Its next turn comes at once: it was put at the end.
            if goes_on && self.order.back() == Some(&id) {
                self.order.rotate_right(1);
            }
            if let Some(key) = key {
                return Some((id, key));
            }
        }
        None
    }

    /// Whether one more record of this tenant may be taken; it is paid for then.
    pub(super) fn pay(&mut self, id: TenantId, now: Instant) -> bool {
        if self.limits.is_none() {
            return true;
        }
        let limits = limits_of(&self.limits, id);
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return true;
        };
        if free_at(tenant, &limits).is_some_and(|at| at > now) {
            return false;
        }
        if let Some(each) = each(&limits) {
            let from = tenant.paid_until.map_or(now, |until| until.max(now));
            tenant.paid_until = Some(from + each);
        }
        true
    }

    /// A record that was paid for was not begun.
    pub(super) fn pay_back(&mut self, id: TenantId) {
        if let Some(each) = each(&limits_of(&self.limits, id))
            && let Some(tenant) = self.tenants.get_mut(&id)
        {
            let until = tenant.paid_until.and_then(|until| until.checked_sub(each));
            tenant.paid_until = until;
        }
    }

    /// A key of this tenant is with a worker no more.
    pub(super) fn release(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return;
        };
        tenant.at_work = tenant.at_work.saturating_sub(1);
        if tenant.keys.is_empty() {
            self.forget_idle(id);
        } else if tenant.place == Place::Nowhere {
            // Whoever takes a turn looks at the limits.
            tenant.place = Place::InOrder;
            self.order.push_back(id);
        }
    }

    /// Whether it is counted what is taken.
    pub(super) fn counts(&self) -> bool {
        self.limits.is_some()
    }

    /// Whether anybody may take a turn.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// When the next tenant has waited for long enough.
    pub(super) fn next_wait(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((at, _))| *at)
    }

    /// Whether somebody has to look at that time who has not yet.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.waits_anew)
    }

    /// Puts those in order that have waited for long enough.
    fn wake(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self.waiting.peek().copied()
            && at <= now
        {
            self.waiting.pop();
            if let Some(tenant) = self.tenants.get_mut(&id)
                && tenant.place != Place::InOrder
            {
                tenant.place = Place::Nowhere;
                tenant.paid_until = tenant.paid_until.filter(|until| *until > now);
                self.place(id, now);
            }
        }
    }

    /// Puts a tenant that stands nowhere where it belongs.
    fn place(&mut self, id: TenantId, now: Instant) {
        let limits = limits_of(&self.limits, id);
        let Some(tenant) = self.tenants.get_mut(&id) else {
            return;
        };
        if tenant.place != Place::Nowhere {
            return;
        }
        let waits_until = free_at(tenant, &limits).filter(|at| *at > now);
        if tenant.keys.is_empty() {
            self.forget_idle(id);
        } else if is_full(tenant, &limits) {
            // Until one is released.
        } else if let Some(until) = waits_until {
            tenant.place = Place::Waiting;
            self.waits_anew |= self
                .waiting
                .peek()
                .is_none_or(|Reverse((at, _))| until < *at);
            self.waiting.push(Reverse((until, id)));
        } else {
            tenant.place = Place::InOrder;
            self.order.push_back(id);
        }
    }

    /// Forgets a tenant that has nothing to do, once its rate makes no difference any more.
    fn forget_idle(&mut self, id: TenantId) {
        let Some(tenant) = self.tenants.get(&id) else {
            return;
        };
        if tenant.at_work > 0 {
            return;
        }
        if let Some(until) = tenant.paid_until {
            // It stands nowhere: whatever it has to do meanwhile does not wait for this.
            self.waiting.push(Reverse((until, id)));
        } else if let Some(tenant) = self.tenants.remove(&id) {
            self.spare.push(tenant.keys);
        }
    }
}

fn limits_of(limits: &Option<KnownLimits>, id: TenantId) -> TenantLimits {
    limits
        .as_ref()
        .map_or_else(TenantLimits::default, |limits| limits.of(id))
}

/// Whether it has as many keys with workers as it may.
fn is_full(tenant: &Tenant, limits: &TenantLimits) -> bool {
    let most = limits.concurrency;
    most.is_some_and(|most| tenant.at_work >= most.max(1))
}

/// How long one record takes at the rate that there is.
fn each(limits: &TenantLimits) -> Option<Duration> {
    let per_second = limits.per_second?.max(1);
    Some(Duration::from_secs(1) / per_second)
}

/// From when on one more record is within the rate.
fn free_at(tenant: &Tenant, limits: &TenantLimits) -> Option<Instant> {
    let each = each(limits)?;
    let paid_until = tenant.paid_until? + each;
    // In the first moments of a clock there may be no time that long before.
    paid_until.checked_sub(BURST.max(each))
}

#[cfg(test)]
impl Turns {
    /// Whether `tenant` has a key that is ready.
    pub(super) fn has(&self, tenant: TenantId) -> bool {
        let tenant = self.tenants.get(&tenant);
        tenant.is_some_and(|tenant| !tenant.keys.is_empty())
    }
}
