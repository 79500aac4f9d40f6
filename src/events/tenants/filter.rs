//! Whose events a consumer handles. In: the tenant of a record, before it is decoded. Out: whether it is handled.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// Whose events a consumer hands to its handler. Those of others are skipped: their offsets are committed as if they had been handled.
///
/// ```
/// use pat_events::events::TenantFilter;
///
/// let filter = TenantFilter::allow(["acme", "globex"]);
/// assert!(filter.takes(Some("acme")) && !filter.takes(Some("initech")));
/// assert!(!filter.takes(None), "nobody's event is none of theirs");
/// assert!(TenantFilter::deny(["acme"]).takes(None));
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum TenantFilter {
    /// Everybody's.
    #[default]
    All,
    /// Only those of these tenants.
    Allow(BTreeSet<String>),
    /// All but those of these tenants.
    Deny(BTreeSet<String>),
    /// Those for which a function returns true. It is called for each record, with its tenant if it has one, and has to be quick.
    By(TenantPredicate),
}

/// Which tenants are meant.
type TenantPredicate = Arc<dyn Fn(Option<&str>) -> bool + Send + Sync>;

impl TenantFilter {
    /// Only those of these tenants.
    pub fn allow(tenants: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Allow(tenants.into_iter().map(Into::into).collect())
    }

    /// All but those of these tenants.
    pub fn deny(tenants: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Deny(tenants.into_iter().map(Into::into).collect())
    }

    /// Those for which `takes` returns true.
    pub fn by(takes: impl Fn(Option<&str>) -> bool + Send + Sync + 'static) -> Self {
        Self::By(Arc::new(takes))
    }

    /// Whether events of this tenant are handled; `None` is an event of nobody.
    pub fn takes(&self, tenant: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Allow(tenants) => tenant.is_some_and(|tenant| tenants.contains(tenant)),
            Self::Deny(tenants) => tenant.is_none_or(|tenant| !tenants.contains(tenant)),
            Self::By(takes) => takes(tenant),
        }
    }

    pub(crate) fn takes_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

impl fmt::Debug for TenantFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Allow(tenants) => f.debug_tuple("Allow").field(tenants).finish(),
            Self::Deny(tenants) => f.debug_tuple("Deny").field(tenants).finish(),
            Self::By(_) => f.write_str("By"),
        }
    }
}
