//! Which of the sources has credentials: asked in the order of AWS's SDKs, kept until shortly before they end.

use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use super::environment::Environment;
use super::profiles::Profile;
use super::services::{Role, Services};
use crate::kafka::config::Secret;
use crate::kafka::config::security::{AwsCredentials, MskIamConfig, SaslLogin};
use crate::kafka::model::names::quoted;
use crate::kafka::{Error, ErrorKind, Random, Result};

/// Credentials are asked for anew when they are good for less than this, or than a quarter of their life: a token lives no longer.
const SPARE: Duration = Duration::from_secs(900);
/// How many profiles may name each other, one after the other.
const MOST_PROFILES: usize = 5;
const SESSION_NAME: &str = "pat-events";

#[derive(Debug)]
pub(super) struct CredentialsChain {
    config: MskIamConfig,
    login: SaslLogin,
    environment: Environment,
    services: Services,
    /// Held while they are asked for. Nothing else is done under this lock.
    last: Mutex<Option<(AwsCredentials, SystemTime)>>,
}

impl CredentialsChain {
    pub fn new(
        config: &MskIamConfig,
        login: &SaslLogin,
        environment: Environment,
        random: Random,
        limit: Duration,
    ) -> Self {
        Self {
            config: config.clone(),
            login: login.clone(),
            environment,
            services: Services::new(random, limit),
            last: Mutex::default(),
        }
    }

    /// Credentials that are good for now. Cancel safe: whoever waits next asks.
    pub async fn credentials(&self) -> Result<AwsCredentials> {
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some((known, until)) = &*last
            && now < *until
        {
            return Ok(known.clone());
        }
        let found = self.find().await?;
        *last = found.expires_at.map(|expires_at| {
            let life = expires_at.duration_since(now).unwrap_or_default();
            (
                found.clone(),
                now + life.saturating_sub(SPARE.min(life / 4)),
            )
        });
        Ok(found)
    }

    /// The region that the environment names, or the profile.
    pub async fn region(&self) -> Option<String> {
        if let Some(region) = self.environment.region() {
            return Some(region);
        }
        let profiles = self.environment.profiles().await;
        let region = profiles.get(&self.profile_name())?.get("region")?;
        Some(region.reveal().to_string())
    }

    fn profile_name(&self) -> String {
        let named = self.config.profile(&self.login).map(str::to_string);
        let named = named.or_else(|| self.environment.variable("AWS_PROFILE"));
        named.unwrap_or_else(|| "default".to_string())
    }

    async fn find(&self) -> Result<AwsCredentials> {
        let (config, login) = (&self.config, &self.login);
        let found = match (&config.credentials, config.profile(login)) {
            (Some(own), _) => own.credentials().await.map_err(|error| {
                let message = "the provider of AWS credentials has none";
                Error::new(ErrorKind::Authentication, message).because(error)
            })?,
            (None, Some(_)) => self.of_profile(true).await?.ok_or_else(|| {
                let name = quoted(&self.profile_name());
                wrong(format!("the profile {name} has no credentials of AWS"))
            })?,
            (None, None) => self.first().await?,
        };
        let Some(arn) = config.role_arn(login) else {
            return Ok(found);
        };
        let region = config.sts_region(login).map(str::to_string);
        let region = region.or_else(|| self.environment.region());
        let role = Role {
            arn,
            session_name: config.role_session_name(login).unwrap_or(SESSION_NAME),
            external_id: config.role_external_id(login),
            region: region.as_deref(),
        };
        self.services
            .assume_role(&self.environment, &role, &found)
            .await
    }

    /// What the first source has that has any.
    async fn first(&self) -> Result<AwsCredentials> {
        let variable = |name| self.environment.variable(name);
        if let Some(found) = self.of_environment() {
            return Ok(found);
        }
        if let (Some(file), Some(arn)) = (
            variable("AWS_WEB_IDENTITY_TOKEN_FILE"),
            variable("AWS_ROLE_ARN"),
        ) {
            let name = variable("AWS_ROLE_SESSION_NAME");
            return self.web_identity(&arn, name.as_deref(), &file, None).await;
        }
        if let Some(found) = self.of_profile(variable("AWS_PROFILE").is_some()).await? {
            return Ok(found);
        }
        if let Some(found) = self.services.container(&self.environment).await? {
            return Ok(found);
        }
        let looked = "there are no credentials of AWS in the environment, in the profile files, or of the container";
        if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true")) {
            return Err(wrong(format!(
                "{looked}, and AWS_EC2_METADATA_DISABLED keeps the instance from being asked"
            )));
        }
        self.services
            .instance(&self.environment)
            .await
            .map_err(|error| {
                let message = format!("{looked}, and the instance has none");
                Error::new(ErrorKind::Authentication, message).because(error)
            })
    }

    /// What the profile has; it must be there if it was named.
    async fn of_profile(&self, is_named: bool) -> Result<Option<AwsCredentials>> {
        let name = self.profile_name();
        let profiles = self.environment.profiles().await;
        if is_named && !profiles.contains_key(&name) {
            let name = quoted(&name);
            return Err(wrong(format!(
                "there is no profile {name} in the profile files of AWS"
            )));
        }
        // From the profile on that is asked for to the one that has a key: the roles on the way are assumed one after the other.
        let mut roles: Vec<&Profile> = Vec::new();
        let mut next = name.as_str();
        let mut found = loop {
            let Some(profile) = profiles.get(next) else {
                if roles.is_empty() {
                    return Ok(None);
                }
                return Err(wrong(format!(
                    "the profile {} that is named as source_profile is not there",
                    quoted(next)
                )));
            };
            let says = |name: &str| profile.get(name).map(Secret::reveal);
            let is_last = roles
                .last()
                .is_some_and(|last| std::ptr::eq(*last, profile));
            if let (Some(arn), false) = (says("role_arn"), is_last) {
                if let Some(file) = says("web_identity_token_file") {
                    let region = says("region");
                    break self
                        .web_identity(arn, says("role_session_name"), file, region)
                        .await?;
                }
                roles.push(profile);
                if roles.len() > MOST_PROFILES {
                    return Err(wrong(format!(
                        "the profile {} names others without end",
                        quoted(&name)
                    )));
                }
                match (says("source_profile"), says("credential_source")) {
                    (Some(source), _) => next = source,
                    (None, Some("Environment")) => {
                        let missing = || {
                            wrong(
                                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"
                                    .to_string(),
                            )
                        };
                        break self.of_environment().ok_or_else(missing)?;
                    }
                    (None, Some("EcsContainer")) => {
                        let found = self.services.container(&self.environment).await?;
                        break found.ok_or_else(|| {
                            wrong("the container has no credentials".to_string())
                        })?;
                    }
                    (None, Some("Ec2InstanceMetadata")) => {
                        break self.services.instance(&self.environment).await?;
                    }
                    (None, _) => {
                        return Err(wrong(format!(
                            "the profile {} has a role_arn, but neither source_profile nor credential_source nor web_identity_token_file",
                            quoted(next)
                        )));
                    }
                }
                continue;
            }
            match (says("aws_access_key_id"), says("aws_secret_access_key")) {
                (Some(key), Some(secret)) => {
                    let mut found = AwsCredentials::new(key, secret);
                    found.session_token = says("aws_session_token").map(Secret::from);
                    break found;
                }
                _ => return self.not_read(next, profile, is_named || !roles.is_empty()),
            }
        };
        for role in roles.into_iter().rev() {
            let says = |name: &str| role.get(name).map(Secret::reveal);
            let region = says("region").map(str::to_string);
            let region = region.or_else(|| self.environment.region());
            let role = Role {
                arn: says("role_arn").unwrap_or_default(),
                session_name: says("role_session_name").unwrap_or(SESSION_NAME),
                external_id: says("external_id"),
                region: region.as_deref(),
            };
            found = self
                .services
                .assume_role(&self.environment, &role, &found)
                .await?;
        }
        Ok(Some(found))
    }

    /// A profile without a key.
    fn not_read(
        &self,
        name: &str,
        profile: &Profile,
        is_wanted: bool,
    ) -> Result<Option<AwsCredentials>> {
        let name = quoted(name);
        for (key, instead) in [
            ("credential_process", "programs are not run"),
            ("sso_session", "single sign-on is not done"),
            ("sso_start_url", "single sign-on is not done"),
        ] {
            if profile.contains_key(key) {
                return Err(wrong(format!(
                    "the profile {name} has {key}: {instead}; aws configure export-credentials writes what it leads to"
                )));
            }
        }
        match is_wanted {
            true => Err(wrong(format!(
                "the profile {name} has no credentials of AWS"
            ))),
            false => Ok(None),
        }
    }

    fn of_environment(&self) -> Option<AwsCredentials> {
        let variable = |name| self.environment.variable(name);
        let mut found = AwsCredentials::new(
            variable("AWS_ACCESS_KEY_ID")?,
            variable("AWS_SECRET_ACCESS_KEY")?,
        );
        found.session_token = variable("AWS_SESSION_TOKEN").map(Secret::from);
        Some(found)
    }

    async fn web_identity(
        &self,
        arn: &str,
        session_name: Option<&str>,
        file: &str,
        region: Option<&str>,
    ) -> Result<AwsCredentials> {
        let region = self
            .config
            .sts_region(&self.login)
            .or(region)
            .map(str::to_string);
        let region = region.or_else(|| self.environment.region());
        let role = Role {
            arn,
            session_name: session_name.unwrap_or(SESSION_NAME),
            external_id: None,
            region: region.as_deref(),
        };
        self.services
            .assume_role_with_web_identity(&self.environment, &role, file)
            .await
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Authentication, message)
}
