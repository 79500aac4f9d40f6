//! AlterUserScramCredentials, DescribeUserScramCredentials: whom SCRAM lets in (KIP-554).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::ErrorCode;
use protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use protocol::messages::{AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest};

use super::{Api, Context, Reply};
use crate::broker::security::{AclOperation, Credential, Hash, ITERATIONS, ScramUsers};
use crate::broker::storage::{Change, Key, ScramNote};

const MOST_ITERATIONS: u32 = 16_384;

/// Why a user is left as it is: the error, and Kafka's words for it.
type Refusal = (ErrorCode, &'static str);

const NO_NAME: Refusal = (
    ErrorCode::UNACCEPTABLE_CREDENTIAL,
    "Username must not be empty",
);
const NO_SUCH_MECHANISM: Refusal = (
    ErrorCode::UNSUPPORTED_SASL_MECHANISM,
    "Unknown SCRAM mechanism",
);
const NO_SUCH_USER: Refusal = (
    ErrorCode::RESOURCE_NOT_FOUND,
    "Attempt to delete a user credential that does not exist",
);
const TOO_FEW: Refusal = (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too few iterations");
const TOO_MANY: Refusal = (ErrorCode::UNACCEPTABLE_CREDENTIAL, "Too many iterations");
const TWICE: Refusal = (
    ErrorCode::DUPLICATE_RESOURCE,
    "A user credential cannot be altered twice in the same request",
);

const NOT_KEPT: &str = "The disk of the broker failed";

/// What becomes of a user, of its credential for one hash.
enum Alteration {
    Delete(Hash),
    Set(Hash, Credential),
}

impl Alteration {
    /// As it is kept: without a value, that there is no such user, even where the settings name one.
    fn change(&self, user: &str) -> Change {
        let key = |hash: &Hash| Key::ScramUser(hash.code(), user.to_owned());
        match self {
            Alteration::Delete(hash) => Change::put(&key(hash), &[]),
            Alteration::Set(hash, credential) => {
                Change::put(&key(hash), &ScramNote::from(credential).to_bytes())
            }
        }
    }
}

/// What becomes of each user that a request names.
#[derive(Default)]
struct Alterations(BTreeMap<String, Result<Alteration, Refusal>>);

impl Alterations {
    /// What the first error says of a user stays; each may be named once.
    fn note(&mut self, user: String, checked: Result<Alteration, Refusal>) {
        match self.0.entry(user) {
            Entry::Vacant(entry) => {
                entry.insert(checked);
            }
            Entry::Occupied(entry) => {
                let noted = entry.into_mut();
                if noted.is_ok() {
                    *noted = Err(TWICE);
                }
            }
        }
    }
}

fn hash(user: &str, mechanism: i8) -> Result<Hash, Refusal> {
    let hash = Hash::ALL.into_iter().find(|it| it.code() == mechanism);
    match user {
        "" => Err(NO_NAME),
        _ => hash.ok_or(NO_SUCH_MECHANISM),
    }
}

fn deletion(users: &ScramUsers, asked: &ScramCredentialDeletion) -> Result<Alteration, Refusal> {
    let hash = hash(&asked.name, asked.mechanism)?;
    match users.iterations(hash, &asked.name) {
        Some(_) => Ok(Alteration::Delete(hash)),
        None => Err(NO_SUCH_USER),
    }
}

fn upsertion(asked: &ScramCredentialUpsertion) -> Result<Alteration, Refusal> {
    let hash = hash(&asked.name, asked.mechanism)?;
    match u32::try_from(asked.iterations).unwrap_or(0) {
        ..ITERATIONS => Err(TOO_FEW),
        iterations @ ITERATIONS..=MOST_ITERATIONS => {
            let (salt, salted) = (asked.salt.to_vec(), &asked.salted_password);
            let credential = Credential::salted(hash, salt, iterations, salted);
            Ok(Alteration::Set(hash, credential))
        }
        _ => Err(TOO_MANY),
    }
}

impl Api for AlterUserScramCredentialsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<AlterUserScramCredentialsResponse> {
        if !context.allows_cluster(AclOperation::Alter) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let mut users = context.cluster.security.scram_users();
        let mut alterations = Alterations::default();
        for asked in self.deletions {
            let checked = deletion(&users, &asked);
            alterations.note(asked.name, checked);
        }
        for asked in self.upsertions {
            let checked = upsertion(&asked);
            alterations.note(asked.name, checked);
        }
        let alter = |(user, altered): (String, Result<Alteration, Refusal>)| {
            let kept = altered.and_then(|alteration| {
                let change = alteration.change(&user);
                let kept = context.cluster.keep(&[change]);
                kept.map(|()| alteration).map_err(|error| (error, NOT_KEPT))
            });
            let refusal = match kept {
                Ok(Alteration::Delete(hash)) => {
                    users.delete(hash, user.clone());
                    None
                }
                Ok(Alteration::Set(hash, credential)) => {
                    users.set(hash, user.clone(), credential);
                    None
                }
                Err(refusal) => Some(refusal),
            };
            AlterUserScramCredentialsResult {
                user,
                error_code: refusal.map_or(ErrorCode::NONE, |(error, _)| error),
                error_message: refusal.map(|(_, message)| message.to_owned()),
                ..Default::default()
            }
        };
        Reply::Message(AlterUserScramCredentialsResponse {
            results: alterations.0.into_iter().map(alter).collect(),
            ..Default::default()
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> AlterUserScramCredentialsResponse {
        let deleted = self.deletions.iter().map(|it| &it.name);
        let users: BTreeMap<_, _> = deleted
            .chain(self.upsertions.iter().map(|it| &it.name))
            .map(|user| (user, error))
            .collect();
        let refused = |(user, error_code): (&String, ErrorCode)| AlterUserScramCredentialsResult {
            user: user.clone(),
            error_code,
            ..Default::default()
        };
        AlterUserScramCredentialsResponse {
            results: users.into_iter().map(refused).collect(),
            ..Default::default()
        }
    }
}

impl Api for DescribeUserScramCredentialsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeUserScramCredentialsResponse> {
        if !context.allows_cluster(AclOperation::Describe) {
            let error = ErrorCode::CLUSTER_AUTHORIZATION_FAILED;
            return Reply::Message(self.refusal(context.version, error));
        }
        let users = context.cluster.security.scram_users();
        // Each user, and how often it was asked for.
        let mut asked: BTreeMap<String, usize> = BTreeMap::new();
        for user in self.users.into_iter().flatten() {
            *asked.entry(user.name).or_default() += 1;
        }
        if asked.is_empty() {
            asked.extend(users.names().into_iter().map(|name| (name, 1)));
        }
        let described = asked.into_iter().map(|(user, times)| match times {
            1 => described(&users, user),
            _ => {
                let what =
                    "Cannot describe SCRAM credentials for the same user twice in a single request";
                undescribed(user, ErrorCode::DUPLICATE_RESOURCE, what)
            }
        });
        Reply::Message(DescribeUserScramCredentialsResponse {
            results: described.collect(),
            ..Default::default()
        })
    }
}

fn described(users: &ScramUsers, user: String) -> DescribeUserScramCredentialsResult {
    let infos = Hash::ALL.into_iter().filter_map(|hash| {
        let iterations = users.iterations(hash, &user)?;
        Some(CredentialInfo {
            mechanism: hash.code(),
            iterations: iterations.cast_signed(),
            ..Default::default()
        })
    });
    let credential_infos: Vec<_> = infos.collect();
    match credential_infos.is_empty() {
        true => {
            let what = "Attempt to describe a user credential that does not exist";
            undescribed(user, ErrorCode::RESOURCE_NOT_FOUND, what)
        }
        false => DescribeUserScramCredentialsResult {
            user,
            credential_infos,
            ..Default::default()
        },
    }
}

fn undescribed(
    user: String,
    error_code: ErrorCode,
    what: &str,
) -> DescribeUserScramCredentialsResult {
    DescribeUserScramCredentialsResult {
        error_code,
        error_message: Some(format!("{what}: {user}")),
        user,
        ..Default::default()
    }
}
