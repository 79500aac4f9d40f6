//! Limits as the events of tenants say. In: a `TenantEvent`. Out: the limits of its tenant, set.

use super::{TenantLimits, Tenants};
use crate::events::email::tenant_event::Change;
use crate::events::email::{TenantEvent, TenantSettings};

impl Tenants {
    /// Sets the limits of the event's tenant as it says; where it was removed, it has the default ones. Returns whether the event was about them.
    ///
    /// To be called by a handler of [`TenantEvent`]s, which may be of another consumer, with a group of its own for each process: every
    /// process has to hear of every tenant. A suspension changes no limits: whether the events of a suspended tenant are to be skipped, or
    /// handled later, is the application's to say, as by a [filter](super::TenantFilter::by).
    ///
    /// ```
    /// use pat_events::events::Tenants;
    /// use pat_events::events::email::tenant_event::Change;
    /// use pat_events::events::email::{TenantEvent, TenantLimits};
    /// use pat_events::events::email::{TenantSettings, TenantUpdated};
    ///
    /// let tenants = Tenants::default();
    /// let limits = TenantLimits {
    ///     weight: 3,
    ///     events_per_second: 500,
    ///     ..Default::default()
    /// };
    /// let settings = TenantSettings { limits: Some(limits), ..Default::default() };
    /// let change = Change::Updated(TenantUpdated {
    ///     settings: Some(settings),
    ///     ..Default::default()
    /// });
    /// let event = TenantEvent {
    ///     tenant_id: "acme".into(),
    ///     change: Some(change),
    ///     ..Default::default()
    /// };
    /// assert!(tenants.apply(&event));
    /// let limits = tenants.of("acme");
    /// assert_eq!((limits.weight, limits.per_second), (3, Some(500)));
    /// ```
    pub fn apply(&self, event: &TenantEvent) -> bool {
        match &event.change {
            Some(Change::Created(created)) => self.apply_settings(event, created.settings.as_ref()),
            Some(Change::Updated(updated)) => self.apply_settings(event, updated.settings.as_ref()),
            Some(Change::Removed(_)) => {
                self.reset(&event.tenant_id);
                true
            }
            _ => false,
        }
    }

    fn apply_settings(&self, event: &TenantEvent, settings: Option<&TenantSettings>) -> bool {
        let Some(settings) = settings else {
            return false;
        };
        match &settings.limits {
            Some(said) => {
                let limit = |said: u32| (said > 0).then_some(said);
                let limits = TenantLimits {
                    weight: said.weight.max(1),
                    concurrency: limit(said.concurrent_events),
                    per_second: limit(said.events_per_second),
                };
                self.set(&event.tenant_id, limits);
            }
            None => self.reset(&event.tenant_id),
        }
        true
    }
}
