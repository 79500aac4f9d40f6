//! Whose credentials of AWS sign what Amazon MSK's IAM asks for.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

#[cfg(feature = "msk-iam")]
use super::SaslLogin;
use super::TokenError;
use crate::kafka::config::Secret;
use crate::kafka::net::BoxFuture;

/// Amazon MSK's IAM: with `sasl.mechanism` = `AWS_MSK_IAM`, and with `OAUTHBEARER` where `sasl.login.callback.handler.class` names Amazon's
/// handler. Each of the texts may stand in `sasl.jaas.config` as well, under the names that Amazon's `IAMLoginModule` has for it.
///
/// Without anything here, credentials come from the first of: the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
/// `AWS_SESSION_TOKEN`), a web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`), the profile `AWS_PROFILE` or `default` of
/// `~/.aws/credentials` and `~/.aws/config`, the container (`AWS_CONTAINER_CREDENTIALS_…`), the instance (IMDSv2).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct MskIamConfig {
    /// The region of the cluster. Default: the one in the brokers' names, else that of `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile.
    pub region: Option<String>,
    /// `awsProfileName`: the profile whose credentials are used. Default none.
    pub profile: Option<String>,
    /// `awsRoleArn`: the role that is assumed with the credentials that were found. Default none.
    pub role_arn: Option<String>,
    /// `awsRoleSessionName`: what the session is called in that role. Default `pat-events`.
    pub role_session_name: Option<String>,
    /// `awsRoleExternalId`: what the role wants to be told besides. Default none.
    pub role_external_id: Option<String>,
    /// `awsStsRegion`: the region in which the role is assumed. Default: that of `AWS_REGION` or `AWS_DEFAULT_REGION`, else STS's global
    /// endpoint.
    pub sts_region: Option<String>,
    /// A provider of credentials of the user's own, instead of everything else but the role. Default none.
    pub credentials: Option<Arc<dyn AwsCredentialsProvider>>,
}

/// Where credentials of AWS come from.
///
/// It is asked when none that are still good are at hand; one question serves all connections that wait. The caller puts a deadline around
/// it; dropping the future must abandon the attempt.
pub trait AwsCredentialsProvider: Debug + Send + Sync + 'static {
    /// Credentials that are good for now.
    fn credentials(&self) -> BoxFuture<'_, Result<AwsCredentials, TokenError>>;
}

/// Credentials of AWS.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AwsCredentials {
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret of the access key.
    pub secret_access_key: Secret,
    /// The token of the session that they belong to, if it is one.
    pub session_token: Option<Secret>,
    /// Until when they are good; they are asked for anew before. `None`: they are asked for whenever they are needed.
    pub expires_at: Option<SystemTime>,
}

impl AwsCredentials {
    /// A key and its secret, without a session and without an end.
    pub fn new(access_key_id: impl Into<String>, secret_access_key: impl Into<Secret>) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token: None,
            expires_at: None,
        }
    }
}

#[cfg(feature = "msk-iam")]
impl MskIamConfig {
    pub(crate) fn profile<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        self.profile
            .as_deref()
            .or_else(|| login.option("awsProfileName"))
    }

    pub(crate) fn role_arn<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        self.role_arn
            .as_deref()
            .or_else(|| login.option("awsRoleArn"))
    }

    pub(crate) fn role_session_name<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        let name = self.role_session_name.as_deref();
        name.or_else(|| login.option("awsRoleSessionName"))
    }

    pub(crate) fn role_external_id<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        let id = self.role_external_id.as_deref();
        id.or_else(|| login.option("awsRoleExternalId"))
    }

    pub(crate) fn sts_region<'a>(&'a self, login: &'a SaslLogin) -> Option<&'a str> {
        self.sts_region
            .as_deref()
            .or_else(|| login.option("awsStsRegion"))
    }
}

/// The options of a login module that mean something here.
pub(super) fn is_option(name: &str) -> bool {
    [
        "awsProfileName",
        "awsRoleArn",
        "awsRoleSessionName",
        "awsRoleExternalId",
        "awsStsRegion",
    ]
    .contains(&name)
}
