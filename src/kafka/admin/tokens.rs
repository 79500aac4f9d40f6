//! Delegation tokens (KIP-48, KIP-373): created, renewed, expired and described. In: owners and renewers. Out: tokens, and how long they are
//! good for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use protocol::messages::create_delegation_token_request::CreatableRenewers;
use protocol::messages::describe_delegation_token_request::DescribeDelegationTokenOwner;
use protocol::messages::describe_delegation_token_response::DescribedDelegationToken;
use protocol::messages::{
    CreateDelegationTokenRequest, DescribeDelegationTokenRequest, ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
};

use super::Admin;
use super::each::{Round, Route, checked};
use crate::kafka::cluster::Answer;
use crate::kafka::config::Secret;
use crate::kafka::{Error, ErrorKind, Result};

/// Who somebody is to brokers, such as `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct KafkaPrincipal {
    /// Of which sort: `User` by all authenticators of Kafka's own.
    pub kind: String,
    /// The name.
    pub name: String,
}

impl KafkaPrincipal {
    /// The user of this name.
    pub fn user(name: impl Into<String>) -> Self {
        Self {
            kind: "User".to_owned(),
            name: name.into(),
        }
    }
}

impl fmt::Display for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

/// From such as `User:alice`.
impl FromStr for KafkaPrincipal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once(':');
        let parts = parts.filter(|(kind, name)| !kind.is_empty() && !name.is_empty());
        let (kind, name) = parts.ok_or_else(|| {
            let message = format!("{text:?} is no principal: one is such as User:alice");
            Error::new(ErrorKind::Config, message)
        })?;
        Ok(Self {
            kind: kind.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// How a token is created: [`Default`] is a token of the client's own, as long as brokers let tokens live.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreateDelegationTokenOptions {
    /// Whose it is to be: the client's own where there is none (KIP-373; brokers from Kafka 3.3 on).
    pub owner: Option<KafkaPrincipal>,
    /// Who may renew it, beside its owner.
    pub renewers: Vec<KafkaPrincipal>,
    /// How long it may live, renewals included, to the millisecond; as long as brokers allow (`delegation.token.max.lifetime.ms`) where there
    /// is none.
    pub max_lifetime: Option<Duration>,
}

impl CreateDelegationTokenOptions {
    /// It is to be this one's.
    pub fn owner(mut self, owner: KafkaPrincipal) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Who may renew it, beside its owner.
    pub fn renewers(mut self, renewers: impl IntoIterator<Item = KafkaPrincipal>) -> Self {
        self.renewers.extend(renewers);
        self
    }

    /// How long it may live, renewals included.
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = Some(lifetime);
        self
    }
}

/// A delegation token: who has it is its owner to brokers, by SCRAM with [`id`](Self::id) as user and [`hmac`](Self::hmac) as password, and
/// `tokenauth` ([`SaslLogin::delegation_token`](crate::kafka::SaslLogin)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DelegationToken {
    /// Its id.
    pub id: String,
    /// What proves it, in base64.
    pub hmac: Secret,
    /// Whose it is.
    pub owner: KafkaPrincipal,
    /// Who asked for it; `None` from brokers before Kafka 3.3.
    pub requester: Option<KafkaPrincipal>,
    /// Who may renew it, beside its owner; of one that was just created, what was asked for.
    pub renewers: Vec<KafkaPrincipal>,
    /// When it was created, in milliseconds since 1970.
    pub issued_ms: i64,
    /// When it expires unless it is renewed, likewise.
    pub expires_ms: i64,
    /// When it expires for good, likewise.
    pub ends_ms: i64,
}

impl Admin {
    /// Creates a delegation token.
    ///
    /// Errors: `DELEGATION_TOKEN_AUTH_DISABLED` where brokers have no secret for them, `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED` on a connection
    /// that says nothing of who the client is, or that was itself authenticated by a token, `INVALID_PRINCIPAL_TYPE` for renewers other than
    /// users, `DELEGATION_TOKEN_AUTHORIZATION_FAILED` where the client may not (`CREATE_TOKENS` on the owner). A call that is dropped may still
    /// be carried out: the token lives, then, until it expires.
    pub async fn create_delegation_token(
        &self,
        options: &CreateDelegationTokenOptions,
    ) -> Result<DelegationToken> {
        let build = |round: &mut Round<()>| {
            if options.owner.is_some() && round.version < 3 {
                let message = "this broker is older than Kafka 3.3 and creates tokens for the client itself alone";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            let owner = options.owner.as_ref();
            let renewers = options.renewers.iter().map(|it| CreatableRenewers {
                principal_type: it.kind.clone(),
                principal_name: it.name.clone(),
                ..Default::default()
            });
            // Null where there is none, from the version on that has the field.
            let absent = || (round.version < 3).then(String::new);
            Ok(CreateDelegationTokenRequest {
                owner_principal_type: owner.map(|it| it.kind.clone()).or_else(absent),
                owner_principal_name: owner.map(|it| it.name.clone()).or_else(absent),
                renewers: renewers.collect(),
                max_lifetime_ms: options.max_lifetime.map_or(-1, milliseconds),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<CreateDelegationTokenRequest>, round: &Round<()>| {
            let it = &answer.response;
            let created = || DelegationToken {
                id: it.token_id.clone(),
                hmac: Secret::new(STANDARD.encode(&it.hmac)),
                owner: principal(&it.principal_type, &it.principal_name),
                requester: (answer.version >= 3).then(|| {
                    let (kind, name) = (
                        &it.token_requester_principal_type,
                        &it.token_requester_principal_name,
                    );
                    principal(kind, name)
                }),
                renewers: options.renewers.clone(),
                issued_ms: it.issue_timestamp_ms,
                expires_ms: it.expiry_timestamp_ms,
                ends_ms: it.max_timestamp_ms,
            };
            round.all(checked(answer, it.error_code, None, created))
        };
        self.one(Route::Controller, build, read).await
    }

    /// Renews a token, known by its HMAC in base64, for so long, to the millisecond, or for as long as brokers do by themselves
    /// (`delegation.token.expiry.time.ms`). Returns when it expires now, in milliseconds since 1970: never later than its end.
    ///
    /// Errors: [`ErrorKind::Config`] for what is no base64, `DELEGATION_TOKEN_NOT_FOUND`, `DELEGATION_TOKEN_EXPIRED`,
    /// `DELEGATION_TOKEN_OWNER_MISMATCH` for who is neither owner nor renewer, and as of
    /// [`create_delegation_token`](Self::create_delegation_token). A call that is dropped may still be carried out; it can be repeated.
    pub async fn renew_delegation_token(
        &self,
        hmac: &Secret,
        period: Option<Duration>,
    ) -> Result<i64> {
        let hmac = decoded(hmac)?;
        let build = |_: &mut Round<()>| {
            Ok(RenewDelegationTokenRequest {
                hmac: hmac.clone(),
                renew_period_ms: period.map_or(-1, milliseconds),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<RenewDelegationTokenRequest>, round: &Round<()>| {
            let it = &answer.response;
            let renewed = || it.expiry_timestamp_ms;
            round.all(checked(answer, it.error_code, None, renewed))
        };
        self.one(Route::Controller, build, read).await
    }

    /// Lets a token, known by its HMAC in base64, expire after so long, to the millisecond, or at once: `None` ends it for good. Returns when
    /// it expires now, in milliseconds since 1970.
    ///
    /// Errors: as of [`renew_delegation_token`](Self::renew_delegation_token). A call that is dropped may still be carried out.
    pub async fn expire_delegation_token(
        &self,
        hmac: &Secret,
        period: Option<Duration>,
    ) -> Result<i64> {
        let hmac = decoded(hmac)?;
        let build = |_: &mut Round<()>| {
            Ok(ExpireDelegationTokenRequest {
                hmac: hmac.clone(),
                expiry_time_period_ms: period.map_or(-1, milliseconds),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ExpireDelegationTokenRequest>, round: &Round<()>| {
            let it = &answer.response;
            let expired = || it.expiry_timestamp_ms;
            round.all(checked(answer, it.error_code, None, expired))
        };
        self.one(Route::Controller, build, read).await
    }

    /// The tokens of these owners, or of all where `None` is given: those that the client may see, which are its own and, with `DESCRIBE` on
    /// the token or `DESCRIBE_TOKENS` on the owner, others'. Cancel safe: nothing is changed.
    ///
    /// Errors: `DELEGATION_TOKEN_AUTH_DISABLED`, `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`.
    pub async fn describe_delegation_tokens(
        &self,
        owners: Option<&[KafkaPrincipal]>,
    ) -> Result<Vec<DelegationToken>> {
        let build = |_: &mut Round<()>| {
            let owner = |it: &KafkaPrincipal| DescribeDelegationTokenOwner {
                principal_type: it.kind.clone(),
                principal_name: it.name.clone(),
                ..Default::default()
            };
            Ok(DescribeDelegationTokenRequest {
                owners: owners.map(|owners| owners.iter().map(owner).collect()),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeDelegationTokenRequest>, round: &Round<()>| {
            let response = &answer.response;
            let described = || {
                let tokens = response.tokens.iter();
                let tokens = tokens.map(|it| described(it, answer.version));
                tokens.collect::<Vec<_>>()
            };
            round.all(checked(answer, response.error_code, None, described))
        };
        self.one(Route::Controller, build, read).await
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn principal(kind: &str, name: &str) -> KafkaPrincipal {
    KafkaPrincipal {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

fn decoded(hmac: &Secret) -> Result<Bytes> {
    let hmac = STANDARD.decode(hmac.reveal()).map_err(|_| {
        let message = "the HMAC of a delegation token is not base64";
        Error::new(ErrorKind::Config, message)
    });
    Ok(hmac?.into())
}

fn described(it: &DescribedDelegationToken, version: i16) -> DelegationToken {
    let renewers = it.renewers.iter();
    DelegationToken {
        id: it.token_id.clone(),
        hmac: Secret::new(STANDARD.encode(&it.hmac)),
        owner: principal(&it.principal_type, &it.principal_name),
        requester: (version >= 3).then(|| {
            let (kind, name) = (
                &it.token_requester_principal_type,
                &it.token_requester_principal_name,
            );
            principal(kind, name)
        }),
        renewers: renewers
            .map(|it| principal(&it.principal_type, &it.principal_name))
            .collect(),
        issued_ms: it.issue_timestamp,
        expires_ms: it.expiry_timestamp,
        ends_ms: it.max_timestamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_are_read_as_they_are_printed() {
        let principal: KafkaPrincipal = "User:a:b".parse().expect("a principal");
        assert_eq!(principal, KafkaPrincipal::user("a:b"));
        assert_eq!(principal.to_string(), "User:a:b");
        for wrong in ["alice", "User:", ":alice", ""] {
            let error = wrong.parse::<KafkaPrincipal>().expect_err("none");
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
        let error = decoded(&Secret::new("s3cret!")).expect_err("no base64");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}
