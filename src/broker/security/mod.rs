//! Who clients are, and what they may do.
//!
//! - `acl`: what they may do
//! - `principal`: a client's name, as Kafka writes it; `distinguished_name`: that in a certificate
//! - `session`: how far a connection has come with saying who it is, and for how long that is believed
//! - `sasl`: the mechanisms, message by message; `scram`: the one that is not told in a few lines; `scram_users`: whom it lets in
//! - `settings`: what a cluster is set to

mod acl;
#[cfg(feature = "tls-rustls")]
mod distinguished_name;
mod principal;
mod sasl;
mod scram;
mod scram_users;
mod session;
mod settings;

use std::sync::{Mutex, MutexGuard};

use super::lock;
use super::server::Connection;
pub use acl::{Acl, AclOperation, AclResource};
pub(crate) use acl::{Acls, CLUSTER_NAME, ResourceKind};
use acl::{Asker, bits};
#[cfg(feature = "tls-rustls")]
pub(crate) use distinguished_name::subject;
pub(crate) use principal::Principal;
pub(crate) use sasl::Mechanism;
pub(crate) use scram::{Credential, Hash, ITERATIONS};
pub(crate) use scram_users::ScramUsers;
pub(crate) use session::{Admission, Reply as SaslReply, Session};
pub(crate) use settings::{SecuritySettings, TokenValidator};

/// What a cluster knows of its users.
#[derive(Debug)]
pub(crate) struct Security {
    settings: SecuritySettings,
    /// By which clients can say who they are: every one that had a user, or a validator, when the cluster was set up.
    mechanisms: Vec<Mechanism>,
    scram_users: Mutex<ScramUsers>,
    /// None where everybody may do everything.
    acls: Option<Mutex<Acls>>,
}

impl Security {
    pub(crate) fn new(mut settings: SecuritySettings) -> Self {
        let is_offered = |mechanism: &Mechanism| match mechanism {
            Mechanism::Plain => !settings.plain.is_empty(),
            Mechanism::Scram(hash) => settings.scram.keys().any(|(used, _)| used == hash),
            Mechanism::OAuthBearer => settings.bearer.is_some(),
        };
        Self {
            mechanisms: Mechanism::ALL.into_iter().filter(is_offered).collect(),
            scram_users: Mutex::new(ScramUsers::new(std::mem::take(&mut settings.scram))),
            acls: settings.acls.take().map(Mutex::new),
            settings,
        }
    }

    /// Whether clients have to say who they are.
    pub(crate) fn takes_sasl(&self) -> bool {
        !self.mechanisms.is_empty()
    }

    /// The mechanisms by which they can.
    pub(crate) fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        self.mechanisms.iter().copied()
    }

    pub(crate) fn scram_users(&self) -> MutexGuard<'_, ScramUsers> {
        lock(&self.scram_users)
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
}
