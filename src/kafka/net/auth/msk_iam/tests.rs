//! Tokens beside those of the published signer, and every source of credentials, played by a server on the loopback.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::super::exchange::{Exchange, Step};
use super::*;
use crate::kafka::config::Secret;
use crate::kafka::config::security::AwsCredentialsProvider;
use crate::kafka::net::http::stand_in::StandIn;

const PUBLISHED: &str = include_str!("published.tsv");
const PAYLOADS: &str = include_str!("payloads.tsv");
const PUBLISHED_AGENT: &str = "aws-msk-iam-sasl-signer-python/1.0.2";

#[test]
fn tokens_equal_those_of_the_published_signer() {
    let mut compared = 0;
    for line in PUBLISHED.lines().filter(|line| !line.starts_with("# ")) {
        let fields: Vec<_> = line.split('\t').collect();
        let [seconds, region, key, secret, session, expected] = fields[..] else {
            panic!("six fields: {line}");
        };
        let mut credentials = AwsCredentials::new(key, secret);
        credentials.session_token = (!session.is_empty()).then(|| Secret::new(session));
        let token = token(
            region,
            &credentials,
            seconds.parse().expect("a number"),
            PUBLISHED_AGENT,
        );
        assert_eq!(hash(&token), expected, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 320);
}

fn hash(text: &str) -> String {
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn payloads_equal_those_of_amazons_module() {
    let mut compared = 0;
    for line in PAYLOADS.lines().filter(|line| !line.starts_with("# ")) {
        let fields: Vec<_> = line.split('\t').collect();
        let [seconds, host, region, key, secret, session, expected] = fields[..] else {
            panic!("seven fields: {line}");
        };
        let mut credentials = AwsCredentials::new(key, secret);
        credentials.session_token = (!session.is_empty()).then(|| Secret::new(session));
        let signing = Signing {
            credentials: &credentials,
            region,
            service: SERVICE,
            seconds: seconds.parse().expect("a number"),
        };
        assert_eq!(region_of(host).as_deref(), Some(region), "{host}");
        let first = MskIamExchange::new(host, &signing).first();
        let mut said: BTreeMap<String, String> = serde_json::from_slice(&first).expect("JSON");
        said.remove("user-agent").expect("who it is made by");
        let said: String = (said.iter())
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        assert_eq!(hash(&said), expected, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 299);
}

#[test]
fn the_region_is_in_the_names_of_brokers() {
    for (name, region) in [
        (
            "b-1.demo.abc123.c2.kafka.us-east-1.amazonaws.com:9098",
            Some("us-east-1"),
        ),
        (
            "boot-x.c1.kafka-serverless.eu-west-3.amazonaws.com:9098",
            Some("eu-west-3"),
        ),
        (
            "b-1.demo.c2.kafka.cn-north-1.amazonaws.com.cn:9098",
            Some("cn-north-1"),
        ),
        ("kafka.internal:9098", None),
        ("kafka.eu-west-1.example.com:9098", None),
        ("kafka", None),
        ("", None),
    ] {
        assert_eq!(region_of(name).as_deref(), region, "{name}");
    }
}

/// What the process is started with in a test: variables, and profile files.
struct Started {
    variables: BTreeMap<String, String>,
    folder: PathBuf,
    container_base: String,
}

impl Started {
    fn new(name: &str, variables: &[(&str, &str)]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("pat-events-aws-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join(".aws")).expect("a folder");
        let owned = |(name, value): &(&str, &str)| (name.to_string(), value.to_string());
        let mut variables: BTreeMap<_, _> = variables.iter().map(owned).collect();
        variables.insert("HOME".to_string(), folder.display().to_string());
        variables.insert("AWS_EC2_METADATA_DISABLED".to_string(), "true".to_string());
        Self {
            variables,
            folder,
            container_base: Environment::default().container_base,
        }
    }

    fn container(mut self, base: &str) -> Self {
        self.container_base = base.to_string();
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        std::fs::write(self.folder.join(name), text).expect("written");
        self
    }

    fn iam(&self, change: impl FnOnce(&mut ClientConfig)) -> MskIam {
        let mut config = ClientConfig::new("b-1.c2.kafka.us-east-1.amazonaws.com:9098");
        change(&mut config);
        let environment = Environment {
            variables: Some(self.variables.clone()),
            container_base: self.container_base.clone(),
        };
        MskIam::with_environment(&config, Duration::from_secs(3), environment)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn found(iam: &MskIam) -> (String, String, Option<String>) {
    let found = iam.credentials.credentials().await.expect("credentials");
    let token = found
        .session_token
        .as_ref()
        .map(|it| it.reveal().to_string());
    (
        found.access_key_id.clone(),
        found.secret_access_key.reveal().to_string(),
        token,
    )
}

fn triple(key: &str, secret: &str, token: Option<&str>) -> (String, String, Option<String>) {
    (
        key.to_string(),
        secret.to_string(),
        token.map(str::to_string),
    )
}

const NEVER: &str = "2999-01-01T00:00:00Z";

fn sts_answer() -> String {
    format!(
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
         <SessionToken>role-token</SessionToken><Expiration>{NEVER}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
    )
}

fn metadata_answer() -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"META","SecretAccessKey":"meta-secret","Token":"meta-token","Expiration":"{NEVER}"}}"#
    )
}

#[tokio::test]
async fn the_environment_comes_first() {
    let started = Started::new(
        "environment",
        &[
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "session"),
        ],
    )
    .file(
        ".aws/credentials",
        "[default]\naws_access_key_id=P\naws_secret_access_key=p\n",
    );
    let iam = started.iam(|_| {});
    assert_eq!(found(&iam).await, triple("AK", "secret", Some("session")));
    let token = iam.token().await.expect("a token");
    let url = URL_SAFE_NO_PAD
        .decode(token.value.reveal())
        .expect("base64");
    let url = String::from_utf8(url).expect("a URL");
    assert!(
        url.starts_with("https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect&"),
        "{url}"
    );
    assert!(url.contains("&X-Amz-Security-Token=session&"), "{url}");
    assert!(
        url.ends_with(&format!(
            "&User-Agent=pat-events%2F{}",
            env!("CARGO_PKG_VERSION")
        )),
        "{url}"
    );
    let life = token
        .expires_at
        .expect("an end")
        .duration_since(SystemTime::now())
        .expect("ahead");
    assert!((890..=900).contains(&life.as_secs()));
    assert!(!format!("{iam:?}").contains("secret"));
}

#[tokio::test]
async fn profiles_have_keys_roles_and_regions() {
    let sts = StandIn::start(|request| {
        assert!(request.starts_with("GET /?Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"), "{request}");
        assert!(request.contains("&X-Amz-Credential=BASE%2F"), "{request}");
        assert!(request.contains("&ExternalId=ext&"), "{request}");
        (200, sts_answer())
    })
    .await;
    let endpoint = sts.address("");
    let started = Started::new("profiles", &[("AWS_ENDPOINT_URL_STS", &endpoint)])
        .file(".aws/credentials", "[default]\naws_access_key_id=DEF\naws_secret_access_key=def-secret\n[base]\naws_access_key_id=BASE\naws_secret_access_key=base-secret\naws_session_token=t\n")
        .file(".aws/config", "[default]\nregion=eu-west-1\n[profile role]\nrole_arn=arn:aws:iam::1:role/r\nsource_profile=base\nexternal_id=ext\nregion=eu-north-1\n[profile loop]\nrole_arn=a\nsource_profile=loop2\n[profile loop2]\nrole_arn=a\nsource_profile=loop\n[profile sso]\nsso_session=x\n[profile gone]\nrole_arn=a\nsource_profile=nobody\n");
    let iam = started.iam(|config| config.bootstrap_servers = vec!["localhost:9098".to_string()]);
    assert_eq!(found(&iam).await, triple("DEF", "def-secret", None));
    assert_eq!(iam.region(None).await.expect("a region"), "eu-west-1");
    let named = |name: &str| {
        let name = name.to_string();
        started.iam(|config| config.security.sasl.msk_iam.profile = Some(name))
    };
    assert_eq!(
        found(&named("base")).await,
        triple("BASE", "base-secret", Some("t"))
    );
    let role = named("role");
    for _ in 0..3 {
        assert_eq!(
            found(&role).await,
            triple("ASIA", "role-secret", Some("role-token"))
        );
    }
    assert_eq!(sts.requests(), 1, "kept until shortly before they end");
    for (name, expected) in [
        ("loop", "without end"),
        ("sso", "sso_session"),
        ("gone", "nobody"),
        ("missing", "no profile"),
    ] {
        let error = named(name).token().await.expect_err(name);
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_role_is_assumed_as_the_jaas_text_says() {
    let sts = StandIn::start(|request| {
        assert!(
            request.contains("&RoleArn=arn%3Ar&RoleSessionName=me&"),
            "{request}"
        );
        assert!(
            request.contains("%2Feu-west-2%2Fsts%2Faws4_request"),
            "{request}"
        );
        (200, sts_answer())
    })
    .await;
    let endpoint = sts.address("");
    let variables = [
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let started = Started::new("role", &variables);
    let iam = started.iam(|config| {
        let jaas = "software.amazon.msk.auth.iam.IAMLoginModule required awsRoleArn=\"arn:r\" awsRoleSessionName=\"me\" \
                    awsStsRegion=\"eu-west-2\";";
        config.set("sasl.jaas.config", jaas).expect("a text");
    });
    assert_eq!(
        found(&iam).await,
        triple("ASIA", "role-secret", Some("role-token"))
    );
}

#[tokio::test]
async fn a_web_identity_is_shown_to_sts() {
    let sts = StandIn::start(|request| {
        let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aw&RoleSessionName=pod&WebIdentityToken=the.jwt";
        match request.starts_with("POST / HTTP/1.1") && request.ends_with(form) {
            true => (200, sts_answer()),
            false => (400, request.to_string()),
        }
    })
    .await;
    let endpoint = sts.address("/");
    let mut started = Started::new(
        "web",
        &[
            ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
            ("AWS_ROLE_ARN", "arn:w"),
            ("AWS_ROLE_SESSION_NAME", "pod"),
        ],
    )
    .file("token", "the.jwt\n");
    let file = started.folder.join("token").display().to_string();
    started
        .variables
        .insert("AWS_WEB_IDENTITY_TOKEN_FILE".to_string(), file);
    let iam = started.iam(|_| {});
    assert_eq!(
        found(&iam).await,
        triple("ASIA", "role-secret", Some("role-token"))
    );
}

#[tokio::test]
async fn sts_refusals_are_told_without_secrets() {
    let sts = StandIn::start(|request| (403, format!("<Code>AccessDenied</Code> {request}"))).await;
    let endpoint = sts.address("");
    let variables = [
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "session+hunter2"),
    ];
    let started = Started::new("refused", &variables);
    let iam =
        started.iam(|config| config.security.sasl.msk_iam.role_arn = Some("arn:r".to_string()));
    let error = iam.token().await.expect_err("refused");
    let shown = format!("{error} {error:?} {iam:?}");
    assert!(
        shown.contains("AssumeRole") && shown.contains("AccessDenied"),
        "{shown}"
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let error = error.downcast::<Error>().expect("ours");
    assert_eq!(error.kind(), ErrorKind::Authentication);
}

#[tokio::test]
async fn the_container_is_asked_with_the_token_of_its_file() {
    let container = StandIn::start(|request| {
        let is_right = request.starts_with("GET /creds HTTP/1.1")
            && request.contains("authorization: pod-token\r\n");
        match is_right {
            true => (200, metadata_answer()),
            false => (400, String::new()),
        }
    })
    .await;
    let url = container.address("/creds");
    let mut started = Started::new("container", &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)])
        .file("token", "pod-token");
    let file = started.folder.join("token").display().to_string();
    started
        .variables
        .insert("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_string(), file);
    assert_eq!(
        found(&started.iam(|_| {})).await,
        triple("META", "meta-secret", Some("meta-token"))
    );
    let elsewhere = "http://example.com/creds".to_string();
    started
        .variables
        .insert("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_string(), elsewhere);
    let error = started
        .iam(|_| {})
        .token()
        .await
        .expect_err("not of this machine");
    assert!(error.to_string().contains("of this machine"), "{error}");
}

#[tokio::test]
async fn a_container_of_ecs_is_asked_where_its_relative_uri_says() {
    let container =
        StandIn::start(
            |request| match request.starts_with("GET /v2/credentials/1-2 HTTP/1.1") {
                true => (200, metadata_answer()),
                false => (404, String::new()),
            },
        )
        .await;
    let base = container.address("");
    for path in ["/v2/credentials/1-2", "v2/credentials/1-2"] {
        let variables = [
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", path),
            // The relative one goes before it.
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://example.com/no",
            ),
        ];
        let started = Started::new("ecs", &variables).container(&base);
        assert_eq!(
            found(&started.iam(|_| {})).await,
            triple("META", "meta-secret", Some("meta-token"))
        );
    }
    assert_eq!(
        Environment::default().container_base,
        "http://169.254.170.2"
    );
}

#[tokio::test]
async fn a_profiles_role_is_assumed_with_the_credentials_of_its_source() {
    let container = StandIn::start(|_| (200, metadata_answer())).await;
    let instance = instance().await;
    let sts = StandIn::start(|request| {
        let by = |key: &str| request.contains(&format!("&X-Amz-Credential={key}%2F"));
        let role = |name: &str| request.contains(&format!("&RoleArn=arn%3A{name}&"));
        let is_right = match role("environment") {
            true => by("AK"),
            false => by("META") && (role("container") || role("instance")),
        };
        match is_right {
            true => (200, sts_answer()),
            false => (400, request.to_string()),
        }
    })
    .await;
    let (sts, base, metadata) = (sts.address(""), container.address(""), instance.address(""));
    let variables = [
        ("AWS_ENDPOINT_URL_STS", sts.as_str()),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata),
        ("AWS_ACCESS_KEY_ID", "AK"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let config = "[profile environment]\nrole_arn=arn:environment\ncredential_source=Environment\n\
                  [profile container]\nrole_arn=arn:container\ncredential_source=EcsContainer\n\
                  [profile instance]\nrole_arn=arn:instance\ncredential_source=Ec2InstanceMetadata\n\
                  [profile other]\nrole_arn=arn:other\ncredential_source=Elsewhere\n";
    let started = Started::new("sources", &variables)
        .container(&base)
        .file(".aws/config", config);
    let named = |name: &str| {
        let name = name.to_string();
        started.iam(|config| config.security.sasl.msk_iam.profile = Some(name))
    };
    for name in ["environment", "container", "instance"] {
        let expected = triple("ASIA", "role-secret", Some("role-token"));
        assert_eq!(found(&named(name)).await, expected, "{name}");
    }
    assert_eq!((container.requests(), instance.requests()), (1, 3));
    let error = named("other").token().await.expect_err("no such source");
    assert!(error.to_string().contains("credential_source"), "{error}");
    let without = Started::new("no-sources", &[]).file(".aws/config", config);
    for (name, says) in [
        ("environment", "AWS_ACCESS_KEY_ID"),
        ("container", "container"),
    ] {
        let name = name.to_string();
        let iam = without.iam(|config| config.security.sasl.msk_iam.profile = Some(name));
        let error = iam.token().await.expect_err("there is none");
        assert!(error.to_string().contains(says), "{error}");
    }
}

/// An instance's metadata service, in version 2.
async fn instance() -> StandIn {
    StandIn::start(|request| {
        let head = request.lines().next().unwrap_or_default();
        let shows = request.contains("\r\nx-aws-ec2-metadata-token: session-token\r\n");
        match (head, shows) {
            ("PUT /latest/api/token HTTP/1.1", _)
                if request.contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n") =>
            {
                (200, "session-token".to_string())
            }
            ("GET /latest/meta-data/iam/security-credentials/ HTTP/1.1", true) => {
                (200, "my-role\n".to_string())
            }
            ("GET /latest/meta-data/iam/security-credentials/my-role HTTP/1.1", true) => {
                (200, metadata_answer())
            }
            _ => (401, String::new()),
        }
    })
    .await
}

#[tokio::test]
async fn the_instance_is_asked_last_and_in_version_2() {
    let instance = instance().await;
    let endpoint = instance.address("/");
    let mut started = Started::new(
        "instance",
        &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &endpoint)],
    );
    let error = started
        .iam(|_| {})
        .token()
        .await
        .expect_err("it is not asked");
    assert!(
        error.to_string().contains("AWS_EC2_METADATA_DISABLED"),
        "{error}"
    );
    started.variables.remove("AWS_EC2_METADATA_DISABLED");
    assert_eq!(
        found(&started.iam(|_| {})).await,
        triple("META", "meta-secret", Some("meta-token"))
    );
    assert_eq!(instance.requests(), 3);
}

#[tokio::test]
async fn a_provider_of_the_users_own_is_used_and_its_end_is_the_tokens() {
    #[derive(Debug)]
    struct Own;
    impl AwsCredentialsProvider for Own {
        fn credentials(&self) -> BoxFuture<'_, Result<AwsCredentials, TokenError>> {
            let mut own = AwsCredentials::new("OWN", "own-secret");
            own.expires_at = Some(SystemTime::now() + Duration::from_secs(300));
            Box::pin(async { Ok(own) })
        }
    }
    let started = Started::new(
        "own",
        &[
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ],
    );
    let iam = started
        .iam(|config| config.security.sasl.msk_iam.credentials = Some(std::sync::Arc::new(Own)));
    assert_eq!(found(&iam).await, triple("OWN", "own-secret", None));
    let token = iam.token().await.expect("a token");
    let life = token
        .expires_at
        .expect("an end")
        .duration_since(SystemTime::now())
        .expect("ahead");
    assert!(life.as_secs() <= 300, "{life:?}");
}

#[tokio::test]
async fn the_mechanism_of_its_own_says_what_amazons_module_says() {
    let started = Started::new(
        "mechanism",
        &[
            ("AWS_ACCESS_KEY_ID", "AK"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "session"),
        ],
    );
    let host = "b-2.c2.kafka.us-east-1.amazonaws.com";
    let mut exchange = started.iam(|_| {}).begin(host).await.expect("credentials");
    let first: BTreeMap<String, String> = serde_json::from_slice(&exchange.first()).expect("JSON");
    let names: Vec<_> = first.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "action",
            "host",
            "user-agent",
            "version",
            "x-amz-algorithm",
            "x-amz-credential",
            "x-amz-date",
            "x-amz-expires",
            "x-amz-security-token",
            "x-amz-signature",
            "x-amz-signedheaders",
        ]
    );
    assert_eq!(first["version"], "2020_10_22");
    assert_eq!(first["host"], host);
    assert_eq!(first["action"], "kafka-cluster:Connect");
    assert_eq!(first["x-amz-expires"], "900");
    assert!(first["x-amz-credential"].ends_with("/us-east-1/kafka-cluster/aws4_request"));
    assert_eq!(first["x-amz-signature"].len(), 64);
    assert!(matches!(
        exchange.next(br#"{"version":"2020_10_22","request-id":"1"}"#),
        Ok(Step::Done)
    ));
    for answer in [&b""[..], b"{}", br#"{"version":"2021"}"#, b"\xff"] {
        assert!(exchange.next(answer).is_err());
    }
}
