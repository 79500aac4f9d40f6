//! What a cluster is set to. Its debug output names users, and no passwords.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Acls, Hash};

#[derive(Clone, Default)]
pub(crate) struct SecuritySettings {
    /// Passwords, by user.
    pub(crate) plain: BTreeMap<String, String>,
    pub(crate) scram: BTreeMap<(Hash, String), String>,
    pub(crate) bearer: Option<TokenValidator>,
    /// Kafka's `connections.max.reauth.ms`.
    pub(crate) max_reauth: Option<Duration>,
    /// Who may do what; none where everybody may do everything.
    pub(crate) acls: Option<Acls>,
}

impl fmt::Debug for SecuritySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecuritySettings")
            .field("plain", &self.plain.keys())
            .field("scram", &self.scram.keys())
            .field("bearer", &self.bearer)
            .field("max_reauth", &self.max_reauth)
            .field("acls", &self.acls)
            .finish()
    }
}

/// Says whose a token is and until when it is good; nothing if it is no good.
#[derive(Clone)]
pub(crate) struct TokenValidator(pub(crate) Arc<Validate>);

pub(crate) type Validate = dyn Fn(&str) -> Option<(String, SystemTime)> + Send + Sync;

impl fmt::Debug for TokenValidator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenValidator")
    }
}
