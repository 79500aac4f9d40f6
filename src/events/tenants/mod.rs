//! Whose events: which tenants a consumer handles, how much of it each may take, what is counted of each, and which topic theirs go to.
//!
//! The tenant of an event travels as `ce_tenantid`, which is read before anything is decoded.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `filter` | whose events are handled |
//! | `limits` | what a tenant may take of a consumer, changed while it runs |
//! | `applied` | limits as the events of tenants say |
//! | `counts` | what is counted of each tenant, of the busiest by name |
//! | `routing` | which topic a tenant's events are written to |

mod applied;
mod counts;
mod filter;
mod limits;
mod routing;

pub(crate) use counts::TenantCounts;
pub use counts::TenantMetrics;
pub use filter::TenantFilter;
pub(crate) use limits::KnownLimits;
pub use limits::{TenantLimits, Tenants};
pub use routing::TenantRouting;

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};

/// A tenant, by its hash; [`NOBODY`] where there is none.
pub(crate) type TenantId = u64;
/// Whose events are nobody's.
pub(crate) const NOBODY: TenantId = 0;
/// For maps whose keys are hashes.
pub(crate) type ByHash = BuildHasherDefault<Hashed>;

/// The id of the tenant that is called so.
pub(crate) fn tenant_id(name: Option<&[u8]>) -> TenantId {
    name.map_or(NOBODY, |name| hash_of(&name))
}

/// The hasher's keys are fixed: a simulation handles the same records in the same order in every run.
pub(crate) fn hash_of(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Passes on what is a hash already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
