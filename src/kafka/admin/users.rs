//! Whom SCRAM lets in (KIP-554): users described, set and deleted; passwords are salted and hashed here. In: users and passwords. Out: a result
//! for each user.

use std::collections::BTreeMap;

use protocol::ApiKey;
use protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use protocol::messages::describe_user_scram_credentials_request::UserName;
use protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};

use super::Admin;
use super::each::{Ask, Round, Route, checked, unanswered};
use super::names::kafka_names;
use crate::kafka::cluster::Answer;
use crate::kafka::config::Secret;
use crate::kafka::config::security::SaslMechanism;
use crate::kafka::net::salted_password;
use crate::kafka::{Error, ErrorKind, Result};

/// The fewest iterations that Kafka takes.
const FEWEST_ITERATIONS: u32 = 4_096;
/// The most.
const MOST_ITERATIONS: u32 = 16_384;
/// Random bytes in a salt.
const SALT_BYTES: usize = 24;
/// The longest salt of one's own, in bytes.
const LONGEST_SALT: usize = 1_024;

/// By which hash function SCRAM proves that somebody knows a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ScramMechanism {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(ScramMechanism, "mechanism of SCRAM", {
    Sha256 = 1 "SCRAM-SHA-256",
    Sha512 = 2 "SCRAM-SHA-512",
});

/// What brokers tell of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct ScramCredential {
    /// For which mechanism.
    pub mechanism: ScramMechanism,
    /// How often the password was hashed.
    pub iterations: u32,
}

/// How a user's credential is altered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlterScramCredential {
    /// It is set, whether there was one or not.
    Upsert(ScramUpsertion),
    /// The one of this mechanism is deleted.
    Delete(ScramMechanism),
}

/// A password to be set, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScramUpsertion {
    /// For which mechanism.
    pub mechanism: ScramMechanism,
    /// How often it is hashed: 4,096 to 16,384 times. Default: 4,096.
    pub iterations: u32,
    /// The password. It is prepared as RFC 4013 says, which leaves ASCII as it is, and stays in this process.
    pub password: Secret,
    /// What is hashed along with it; `None`, the default, draws 24 random bytes.
    pub salt: Option<Vec<u8>>,
}

impl ScramUpsertion {
    /// This password, with 4,096 iterations and a random salt.
    pub fn new(mechanism: ScramMechanism, password: impl Into<Secret>) -> Self {
        Self {
            mechanism,
            iterations: FEWEST_ITERATIONS,
            password: password.into(),
            salt: None,
        }
    }

    /// Hashed so often: 4,096 to 16,384 times. An eavesdropper guesses as much slower, and each login takes as much longer.
    pub fn iterations(mut self, iterations: u32) -> Self {
        self.iterations = iterations;
        self
    }

    /// With this salt, of 1 to 1,024 bytes: for one and the same user in several clusters.
    pub fn salt(mut self, salt: impl Into<Vec<u8>>) -> Self {
        self.salt = Some(salt.into());
        self
    }

    /// What is sent.
    fn salted(&self, user: &str) -> Result<ScramCredentialUpsertion> {
        let mechanism = match self.mechanism {
            ScramMechanism::Sha256 => SaslMechanism::ScramSha256,
            ScramMechanism::Sha512 => SaslMechanism::ScramSha512,
            ScramMechanism::Other(number) => {
                let message = format!("SCRAM has no mechanism {number}");
                return Err(Error::new(ErrorKind::Config, message));
            }
        };
        if !(FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&self.iterations) {
            let message = format!(
                "{} iterations are not between {FEWEST_ITERATIONS} and {MOST_ITERATIONS}",
                self.iterations
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        let salt = match &self.salt {
            Some(salt) if salt.is_empty() || salt.len() > LONGEST_SALT => {
                let message = format!("a salt has 1 to {LONGEST_SALT} bytes");
                return Err(Error::new(ErrorKind::Config, message));
            }
            Some(salt) => salt.clone(),
            None => random_salt()?,
        };
        let salted = salted_password(mechanism, &self.password, &salt, self.iterations)?;
        Ok(ScramCredentialUpsertion {
            name: user.to_owned(),
            mechanism: self.mechanism.number(),
            iterations: self.iterations.cast_signed(),
            salt: salt.into(),
            salted_password: salted.to_vec().into(),
            ..Default::default()
        })
    }
}

fn random_salt() -> Result<Vec<u8>> {
    let mut salt = vec![0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|error| {
        let message = "the operating system has no random numbers for a salt";
        Error::new(ErrorKind::Config, message).because(error)
    })?;
    Ok(salt)
}

impl Admin {
    /// The credentials of users: a result for each name. Without names, those of all users. Secrets are never told. Cancel safe: nothing is
    /// changed.
    ///
    /// Errors by user: `RESOURCE_NOT_FOUND` for one that has none. The call fails with `CLUSTER_AUTHORIZATION_FAILED` where the client may not
    /// (`DESCRIBE` on the cluster).
    pub async fn describe_user_scram_credentials(
        &self,
        users: &[&str],
    ) -> Result<BTreeMap<String, Result<Vec<ScramCredential>>>> {
        let build = |_: &mut Round<()>| {
            let names = users.iter().map(|name| UserName {
                name: name.to_string(),
                ..Default::default()
            });
            // No names are all of them, as null is; Kafka 4.4 does not answer to null where it has to refuse.
            Ok(DescribeUserScramCredentialsRequest {
                users: Some(names.collect()),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeUserScramCredentialsRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            let described = || -> BTreeMap<_, _> {
                let results = response.results.iter();
                results
                    .map(|it| {
                        let message = it.error_message.as_deref();
                        let described = checked(answer, it.error_code, message, || {
                            let infos = it.credential_infos.iter();
                            infos
                                .map(|it| ScramCredential {
                                    mechanism: ScramMechanism::from_number(it.mechanism),
                                    iterations: u32::try_from(it.iterations).unwrap_or(0),
                                })
                                .collect()
                        });
                        let described = described.map_err(|error| about(&it.user, error));
                        (it.user.clone(), described)
                    })
                    .collect()
            };
            round.all(checked(answer, response.error_code, message, described))
        };
        let mut described = self.one(Route::Any, build, read).await?;
        for user in users {
            described.entry(user.to_string()).or_insert_with(|| {
                let error = unanswered().api(ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS);
                Err(about(user, error))
            });
        }
        Ok(described)
    }

    /// Sets and deletes users' credentials: a result for each user, one alteration of each. Passwords are salted and hashed here: some
    /// milliseconds for each in which this task does nothing else. Who sees what is sent can log in as the user: let TLS carry it.
    ///
    /// Errors by user: [`ErrorKind::Config`] for what cannot be set, `RESOURCE_NOT_FOUND` for one to be deleted that is not there,
    /// `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`ALTER` on the cluster). Brokers other than the controller follow a little
    /// later. A call that is dropped may still be carried out.
    pub async fn alter_user_scram_credentials(
        &self,
        alterations: &BTreeMap<&str, AlterScramCredential>,
    ) -> Result<BTreeMap<String, Result<()>>> {
        let mut results = BTreeMap::new();
        let mut deletions = BTreeMap::new();
        let mut upsertions = BTreeMap::new();
        for (user, alteration) in alterations {
            match alteration {
                AlterScramCredential::Delete(mechanism) => {
                    let deletion = ScramCredentialDeletion {
                        name: user.to_string(),
                        mechanism: mechanism.number(),
                        ..Default::default()
                    };
                    deletions.insert(user.to_string(), deletion);
                }
                AlterScramCredential::Upsert(upsertion) => match upsertion.salted(user) {
                    Ok(upsertion) => drop(upsertions.insert(user.to_string(), upsertion)),
                    Err(error) => drop(results.insert(user.to_string(), Err(about(user, error)))),
                },
            }
        }
        let open = deletions.keys().chain(upsertions.keys()).cloned().collect();
        let build = |round: &mut Round<String>| {
            let users = || round.items.iter();
            Ok(AlterUserScramCredentialsRequest {
                deletions: users()
                    .filter_map(|it| deletions.get(it).cloned())
                    .collect(),
                upsertions: users()
                    .filter_map(|it| upsertions.get(it).cloned())
                    .collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<AlterUserScramCredentialsRequest>, _: &Round<String>| {
            let results = answer.response.results.iter();
            results
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    (it.user.clone(), result)
                })
                .collect()
        };
        let ask = Ask::new(Route::Controller, open, |user: &String, error| {
            about(user, error)
        });
        results.extend(self.each(ask, build, read).await?);
        Ok(results)
    }
}

fn about(user: &str, error: Error) -> Error {
    error.prefixed(&format!("user {user}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The password `pencil` of RFC 7677.
    #[test]
    fn a_password_is_salted_as_the_rfc_says_and_stays_here() {
        let salt = [
            0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36,
            0xfa, 0x81,
        ];
        let upsertion = ScramUpsertion::new(ScramMechanism::Sha256, "pencil").salt(salt);
        let sent = upsertion.salted("user").expect("salted");
        assert_eq!((sent.mechanism, sent.iterations), (1, 4_096));
        assert_eq!(&sent.salted_password[..4], [0xc4, 0xa4, 0x95, 0x10]);
        assert!(!format!("{upsertion:?}").contains("pencil"));
        let other = ScramUpsertion::new(ScramMechanism::Sha512, "pencil");
        let (one, two) = (other.salted("user"), other.salted("user"));
        let (one, two) = (one.expect("salted"), two.expect("salted"));
        assert_ne!(one.salt, two.salt);
        assert_eq!(
            (one.salt.len(), one.salted_password.len()),
            (SALT_BYTES, 64)
        );
    }

    #[test]
    fn what_kafka_would_not_take_is_refused_here() {
        let new = || ScramUpsertion::new(ScramMechanism::Sha256, "pencil");
        for wrong in [
            new().iterations(4_095),
            new().iterations(16_385),
            new().salt([]),
            ScramUpsertion::new(ScramMechanism::Other(3), "pencil"),
            ScramUpsertion::new(ScramMechanism::Sha256, "\u{7}"),
        ] {
            let error = wrong.salted("user").expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
            assert!(!error.to_string().contains("pencil"), "{error}");
        }
    }
}
