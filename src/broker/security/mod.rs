//! Who clients are, and what they may do.
//!
//! - `acl`: what they may do
//! - `principal`: a client's name, as Kafka writes it; `distinguished_name`: that in a certificate
//! - `session`: how far a connection has come with saying who it is, and for how long that is believed
//! - `sasl`: the mechanisms, message by message; `scram`: the one that is not told in a few lines
//! - `settings`: what a cluster is set to

mod acl;
#[cfg(feature = "tls-rustls")]
mod distinguished_name;
mod principal;
mod sasl;
mod scram;
mod session;
mod settings;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::lock;
use super::random::Random;
use super::server::Connection;
pub use acl::{Acl, AclOperation, AclResource};
pub(crate) use acl::{Acls, CLUSTER_NAME, ResourceKind};
use acl::{Asker, bits};
#[cfg(feature = "tls-rustls")]
pub(crate) use distinguished_name::subject;
pub(crate) use principal::Principal;
pub(crate) use sasl::Mechanism;
pub(crate) use scram::{Credential, Hash};
pub(crate) use session::{Admission, Reply as SaslReply, Session};
pub(crate) use settings::{SecuritySettings, TokenValidator};

/// What a cluster knows of its users.
#[derive(Debug)]
pub(crate) struct Security {
    settings: SecuritySettings,
    /// The keys of SCRAM's users, by hash and name; of those that came with the settings, once they were asked for.
    credentials: Mutex<BTreeMap<(Hash, String), Credential>>,
    /// None where everybody may do everything.
    acls: Option<Mutex<Acls>>,
}

impl Security {
    pub(crate) fn new(mut settings: SecuritySettings) -> Self {
        Self {
            acls: settings.acls.take().map(Mutex::new),
            settings,
            credentials: Mutex::default(),
        }
    }

    /// Whether clients have to say who they are.
    pub(crate) fn takes_sasl(&self) -> bool {
        self.mechanisms().next().is_some()
    }

    /// The mechanisms by which they can.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let settings = &self.settings;
        Mechanism::ALL
            .into_iter()
            .filter(|mechanism| match mechanism {
                Mechanism::Plain => !settings.plain.is_empty(),
                Mechanism::Scram(hash) => settings.scram.keys().any(|(used, _)| used == hash),
                Mechanism::OAuthBearer => settings.bearer.is_some(),
            })
    }

    /// The rules of who may do what.
    pub(crate) fn acls(&self) -> Option<MutexGuard<'_, Acls>> {
        self.acls.as_ref().map(lock)
    }

    /// Whether the client at the other end may do this.
    pub(crate) fn allow(
        &self,
        connection: &Connection,
        operation: AclOperation,
        kind: ResourceKind,
        name: &str,
    ) -> bool {
        self.decide(connection, |acls, asker| {
            acls.allow(asker, operation, kind, name)
        })
        .unwrap_or(true)
    }

    /// Whether it may do this with any resource of the kind.
    pub(crate) fn allow_some(
        &self,
        connection: &Connection,
        operation: AclOperation,
        kind: ResourceKind,
    ) -> bool {
        self.decide(connection, |acls, asker| {
            acls.allow_some(asker, operation, kind)
        })
        .unwrap_or(true)
    }

    /// What it may do with a resource: a bit for each operation's number.
    pub(crate) fn operations(
        &self,
        connection: &Connection,
        kind: ResourceKind,
        name: &str,
    ) -> i32 {
        self.decide(connection, |acls, asker| acls.operations(asker, kind, name))
            .unwrap_or_else(|| bits(kind, |_| true))
    }

    fn decide<T>(
        &self,
        connection: &Connection,
        decide: impl FnOnce(&Acls, &Asker<'_>) -> T,
    ) -> Option<T> {
        let acls = self.acls.as_ref()?;
        let principal = connection.session().principal();
        let asker = Asker {
            principal: principal.as_str(),
            host: &connection.host,
        };
        Some(decide(&lock(acls), &asker))
    }

    /// The key of a user; its derivation from the password, once, takes some milliseconds.
    fn credential(&self, hash: Hash, user: &str, random: &Mutex<Random>) -> Option<Credential> {
        let key = (hash, user.to_owned());
        let mut credentials = lock(&self.credentials);
        if let Some(known) = credentials.get(&key) {
            return Some(known.clone());
        }
        let password = self.settings.scram.get(&key)?;
        let credential = Credential::derive(hash, password, &mut lock(random));
        credentials.insert(key, credential.clone());
        Some(credential)
    }
}
