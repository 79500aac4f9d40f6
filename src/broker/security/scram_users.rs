//! Who may be let in by SCRAM, with what a server knows of each. In: passwords from the settings, and what is altered later. Out: credentials.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use super::scram::ITERATIONS;
use super::{Credential, Hash};
use crate::broker::lock;
use crate::broker::random::Random;

/// By hash and name.
#[derive(Default)]
pub(crate) struct ScramUsers(BTreeMap<(Hash, String), Known>);

enum Known {
    /// Until it is first needed: to derive a credential takes some milliseconds.
    Password(String),
    Credential(Credential),
}

/// Names alone.
impl fmt::Debug for ScramUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ScramUsers {
    pub(super) fn new(passwords: BTreeMap<(Hash, String), String>) -> Self {
        let known = |(user, password)| (user, Known::Password(password));
        Self(passwords.into_iter().map(known).collect())
    }

    pub(super) fn credential(
        &mut self,
        hash: Hash,
        user: &str,
        random: &Mutex<Random>,
    ) -> Option<Credential> {
        let known = self.0.get_mut(&(hash, user.to_owned()))?;
        if let Known::Password(password) = known {
            let derived = Credential::derive(hash, password, &mut lock(random));
            *known = Known::Credential(derived);
        }
        match known {
            Known::Credential(credential) => Some(credential.clone()),
            Known::Password(_) => None,
        }
    }

    /// How often the user's password is hashed; none where there is no such user.
    pub(crate) fn iterations(&self, hash: Hash, user: &str) -> Option<u32> {
        Some(match self.0.get(&(hash, user.to_owned()))? {
            Known::Password(_) => ITERATIONS,
            Known::Credential(credential) => credential.iterations,
        })
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.0.keys().map(|(_, user)| user.clone()).collect()
    }

    pub(crate) fn set(&mut self, hash: Hash, user: String, credential: Credential) {
        self.0.insert((hash, user), Known::Credential(credential));
    }

    pub(crate) fn delete(&mut self, hash: Hash, user: String) {
        self.0.remove(&(hash, user));
    }
}
