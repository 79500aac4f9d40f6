//! Which topic a tenant's events are written to.

use std::fmt;
use std::sync::Arc;

/// Chooses the topic of an event by its tenant: one that writes much more than others gets a topic of its own, and does not hold up theirs.
///
/// The events of a tenant keep their order only as long as they go to one topic. Whoever routes has to return the same topic for the same
/// tenant, in every process.
///
/// ```
/// use pat_events::events::{ProducerConfig, TenantRouting};
///
/// let mut config = ProducerConfig::new("localhost:9092", "emails");
/// config.route = TenantRouting::to([("acme", "emails.acme")]);
/// assert_eq!(config.route.topic("acme").as_deref(), Some("emails.acme"));
/// assert_eq!(config.route.topic("globex"), None, "to the producer's own topic");
/// ```
#[derive(Clone, Default)]
pub struct TenantRouting(Option<Route>);

type Route = Arc<dyn Fn(&str) -> Option<Arc<str>> + Send + Sync>;

impl TenantRouting {
    /// To the topics that `topic` returns; to the producer's own where it returns none. It is called for each event that has a tenant.
    pub fn by(topic: impl Fn(&str) -> Option<Arc<str>> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(topic)))
    }

    /// For each of these tenants to its topic.
    pub fn to(topics: impl IntoIterator<Item = (impl Into<String>, impl Into<Arc<str>>)>) -> Self {
        let topics = topics.into_iter();
        let topics: std::collections::HashMap<String, Arc<str>> = topics
            .map(|(tenant, topic)| (tenant.into(), topic.into()))
            .collect();
        Self::by(move |tenant| topics.get(tenant).cloned())
    }

    /// The topic of this tenant's events; `None` is the producer's own.
    pub fn topic(&self, tenant: &str) -> Option<Arc<str>> {
        self.0.as_ref()?(tenant)
    }
}

impl fmt::Debug for TenantRouting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantRouting").finish_non_exhaustive()
    }
}
