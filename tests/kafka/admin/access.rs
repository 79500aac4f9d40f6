//! Who may do what: rules, users of SCRAM, quotas, delegation tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pat_events::kafka::admin::{
    AclBinding, AclBindingFilter, AclOperation, AclPatternFilter, AclResource, AclResourceKind,
    AlterScramCredential, CreateDelegationTokenOptions, KafkaPrincipal, QuotaEntity, QuotaFilter,
    QuotaMatch, ScramMechanism, ScramUpsertion,
};
use pat_events::kafka::{Admin, ClientConfig, ErrorCode, ErrorKind, Secret};
use tokio::time::Instant;

use super::{POLL, code};
use crate::acls::{LISTENER, PASSWORD};
use crate::support::kafka::Kafka;

/// How long a broker may take to hear of what the controller has done.
const SPREAD: Duration = Duration::from_secs(10);

/// The one who may do everything, over the plain listener.
pub(super) async fn admin(kafka: &Kafka) -> Admin {
    let connected = Admin::connect(ClientConfig::new(&kafka.bootstrap())).await;
    connected.expect("connected")
}

/// The user of this name.
pub(super) async fn logged_in(kafka: &Kafka, user: &str) -> Admin {
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{user}\" password=\"{PASSWORD}\";"
    );
    let servers = kafka.secured_bootstrap(LISTENER);
    let config = ClientConfig::from_properties([
        ("bootstrap.servers", &*servers),
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.jaas.config", &*jaas),
    ]);
    let connected = Admin::connect(config.expect("good properties")).await;
    connected.expect("connected")
}

/// Waits until it is so.
pub(super) async fn soon(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + SPREAD;
    while !holds().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(POLL / 4).await;
    }
}

pub(super) async fn access_is_altered(kafka: &Kafka) {
    let admin = admin(kafka).await;
    let nobody = logged_in(kafka, "nobody").await;
    rules_are_altered(&admin, &nobody).await;
    users_are_altered(&admin, &nobody).await;
    quotas_are_altered(&admin, &nobody).await;
    tokens_are_altered(&admin, &logged_in(kafka, "admin").await).await;
}

async fn rules_are_altered(admin: &Admin, nobody: &Admin) {
    let read = AclBinding::allow(
        "User:admin-reader",
        AclOperation::Read,
        AclResource::topic("admin-rules"),
    );
    let prefixed = AclBinding::deny(
        "User:admin-writer",
        AclOperation::Write,
        AclResource::topic("admin-ru").prefixed(),
    )
    .host("10.1.2.3");
    let tokens = AclBinding::allow(
        "User:admin-reader",
        AclOperation::CreateTokens,
        AclResource::new(AclResourceKind::User, "User:someone"),
    );
    // Clusters have no records to read.
    let wrong = AclBinding::allow("no principal", AclOperation::Read, AclResource::cluster());
    let rules = [
        read.clone(),
        prefixed.clone(),
        tokens.clone(),
        wrong.clone(),
    ];
    let created = admin.create_acls(&rules).await.expect("answered");
    assert!(created[&read].is_ok() && created[&prefixed].is_ok() && created[&tokens].is_ok());
    assert_eq!(
        code(&created[&wrong]),
        Some(ErrorCode::INVALID_REQUEST),
        "{created:?}"
    );
    let error = nobody
        .create_acls(std::slice::from_ref(&read))
        .await
        .expect("answered");
    let error = error[&read].as_ref().expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Authorization, "{error}");
    let error = nobody.describe_acls(&AclBindingFilter::default()).await;
    assert_eq!(error.expect_err("refused").kind(), ErrorKind::Authorization);

    let all = AclBindingFilter::default;
    let of_reader = all().principal("User:admin-reader");
    soon("rules are there", async || {
        let described = admin.describe_acls(&of_reader).await.expect("described");
        described == BTreeSet::from([read.clone(), tokens.clone()])
    })
    .await;
    let matching = all()
        .resource_kind(AclResourceKind::Topic)
        .resource_name("admin-rules")
        .pattern(AclPatternFilter::Match);
    let described = admin.describe_acls(&matching).await.expect("described");
    assert!(described.is_superset(&BTreeSet::from([read.clone(), prefixed.clone()])));
    let literal = matching.clone().pattern(AclPatternFilter::Literal);
    let described = admin.describe_acls(&literal).await.expect("described");
    assert_eq!(described, BTreeSet::from([read.clone()]));

    let exactly = AclBindingFilter::exactly(&prefixed);
    let none = all().principal("User:admin-nobody");
    let filters = [of_reader.clone(), exactly.clone(), none.clone()];
    let deleted = admin.delete_acls(&filters).await.expect("answered");
    let of = |filter| {
        let deleted = deleted[filter].as_ref().expect("deleted");
        assert!(deleted.values().all(Result::is_ok), "{deleted:?}");
        deleted.keys().cloned().collect::<BTreeSet<_>>()
    };
    assert_eq!(of(&of_reader), BTreeSet::from([read.clone(), tokens]));
    assert_eq!(of(&exactly), BTreeSet::from([prefixed]));
    assert!(of(&none).is_empty());
    soon("rules are gone", async || {
        let described = admin.describe_acls(&of_reader).await.expect("described");
        described.is_empty()
    })
    .await;
}

async fn users_are_altered(admin: &Admin, nobody: &Admin) {
    let upsert = |mechanism, password: &str| ScramUpsertion::new(mechanism, password);
    let long = upsert(ScramMechanism::Sha512, "a secret").iterations(8_192);
    let alterations = BTreeMap::from([
        (
            "admin-alice",
            AlterScramCredential::Upsert(upsert(ScramMechanism::Sha256, "another")),
        ),
        ("admin-bob", AlterScramCredential::Upsert(long)),
        (
            "admin-carol",
            AlterScramCredential::Delete(ScramMechanism::Sha256),
        ),
        (
            "admin-dave",
            AlterScramCredential::Upsert(upsert(ScramMechanism::Sha256, "weak").iterations(1)),
        ),
    ]);
    let altered = admin.alter_user_scram_credentials(&alterations).await;
    let altered = altered.expect("answered");
    assert!(
        altered["admin-alice"].is_ok() && altered["admin-bob"].is_ok(),
        "{altered:?}"
    );
    let missing = ErrorCode::RESOURCE_NOT_FOUND;
    assert_eq!(code(&altered["admin-carol"]), Some(missing));
    let weak = altered["admin-dave"].as_ref().expect_err("too few");
    assert_eq!(weak.kind(), ErrorKind::Config, "{weak}");
    let refused = nobody.alter_user_scram_credentials(&alterations).await;
    let refused = refused.expect("answered");
    let refused = refused["admin-alice"].as_ref().expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Authorization);

    let users = ["admin-alice", "admin-bob", "admin-carol"];
    soon("users are there", async || {
        let described = admin.describe_user_scram_credentials(&users).await;
        let described = described.expect("described");
        assert_eq!(code(&described["admin-carol"]), Some(missing));
        let Ok(bob) = &described["admin-bob"] else {
            return false;
        };
        assert_eq!(
            (bob[0].mechanism, bob[0].iterations),
            (ScramMechanism::Sha512, 8_192)
        );
        described["admin-alice"].is_ok()
    })
    .await;
    let all = admin.describe_user_scram_credentials(&[]).await;
    let all = all.expect("described");
    assert!(all.contains_key("admin-alice") && !all.contains_key("admin-carol"));
    let delete = |mechanism| AlterScramCredential::Delete(mechanism);
    let deletions = BTreeMap::from([
        ("admin-alice", delete(ScramMechanism::Sha256)),
        ("admin-bob", delete(ScramMechanism::Sha256)),
    ]);
    let altered = admin.alter_user_scram_credentials(&deletions).await;
    let altered = altered.expect("answered");
    assert!(altered["admin-alice"].is_ok());
    assert_eq!(code(&altered["admin-bob"]), Some(missing));
    let error = nobody.describe_user_scram_credentials(&[]).await;
    assert_eq!(error.expect_err("refused").kind(), ErrorKind::Authorization);
}

async fn quotas_are_altered(admin: &Admin, nobody: &Admin) {
    let alice = QuotaEntity::user("admin-alice");
    let at_work = QuotaEntity::user("admin-alice").and_client_id("work");
    let others = QuotaEntity::default_client_id();
    let wrong = QuotaEntity::user("admin-bob");
    let rate = |value| BTreeMap::from([("producer_byte_rate".to_owned(), value)]);
    let both = BTreeMap::from([
        ("producer_byte_rate".to_owned(), Some(1_048_576.0)),
        ("request_percentage".to_owned(), Some(12.5)),
    ]);
    let unknown = BTreeMap::from([("no_such_rate".to_owned(), Some(1.0))]);
    let alterations = BTreeMap::from([
        (alice.clone(), both.clone()),
        (at_work.clone(), rate(Some(1_000.0))),
        (others.clone(), rate(Some(2_000.0))),
        (wrong.clone(), unknown),
    ]);
    let of_alice = QuotaFilter::default().user(QuotaMatch::Name("admin-alice".to_owned()));
    for validate_only in [true, false] {
        let altered = admin.alter_client_quotas(&alterations, validate_only).await;
        let altered = altered.expect("answered");
        assert_eq!(
            code(&altered[&wrong]),
            Some(ErrorCode::INVALID_REQUEST),
            "{altered:?}"
        );
        let good = [&alice, &at_work, &others];
        assert!(good.iter().all(|it| altered[*it].is_ok()), "{altered:?}");
        if validate_only {
            let described = admin.describe_client_quotas(&of_alice).await;
            assert!(described.expect("described").is_empty());
        }
    }
    let refused = nobody.alter_client_quotas(&alterations, true).await;
    let refused = refused.expect("answered");
    let refused = refused[&alice].as_ref().expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::Authorization);
    soon("quotas are there", async || {
        let described = admin.describe_client_quotas(&of_alice).await;
        let described = described.expect("described");
        described.len() == 2
            && described[&alice]["request_percentage"] == 12.5
            && described[&at_work]["producer_byte_rate"] == 1_000.0
    })
    .await;
    let strict = of_alice.clone().strict();
    let strict = admin.describe_client_quotas(&strict).await;
    let strict = strict.expect("described");
    assert_eq!(strict.keys().collect::<Vec<_>>(), [&alice]);
    let defaults = QuotaFilter::default().client_id(QuotaMatch::Default);
    let described = admin.describe_client_quotas(&defaults).await;
    assert!(described.expect("described").contains_key(&others));
    let with_client = QuotaFilter::default()
        .user(QuotaMatch::Any)
        .client_id(QuotaMatch::Any);
    let described = admin.describe_client_quotas(&with_client).await;
    assert_eq!(
        described.expect("described").keys().collect::<Vec<_>>(),
        [&at_work]
    );
    let impossible = QuotaFilter::default()
        .ip(QuotaMatch::Any)
        .user(QuotaMatch::Any);
    let error = admin.describe_client_quotas(&impossible).await;
    assert_eq!(code(&error), Some(ErrorCode::INVALID_REQUEST));
    let removed = BTreeMap::from([
        (alice, both.into_keys().map(|name| (name, None)).collect()),
        (at_work, rate(None)),
        (others, rate(None)),
    ]);
    let removed = admin.alter_client_quotas(&removed, false).await;
    assert!(removed.expect("answered").values().all(Result::is_ok));
    soon("quotas are gone", async || {
        let described = admin.describe_client_quotas(&QuotaFilter::default()).await;
        described.expect("described").is_empty()
    })
    .await;
}

async fn tokens_are_altered(plain: &Admin, admin: &Admin) {
    let renewer = KafkaPrincipal::user("reader");
    let options = CreateDelegationTokenOptions::default()
        .renewers([renewer.clone()])
        .max_lifetime(Duration::from_secs(3_600));
    // Nobody knows whose it would be.
    let error = plain.create_delegation_token(&options).await;
    let refused = ErrorCode::DELEGATION_TOKEN_REQUEST_NOT_ALLOWED;
    assert_eq!(code(&error), Some(refused));
    let own = admin.create_delegation_token(&options).await;
    let own = own.expect("created");
    assert_eq!(own.owner, KafkaPrincipal::user("admin"));
    assert_eq!(own.ends_ms - own.issued_ms, 3_600_000);
    // Who is neither owner nor renewer cannot end it.
    let myself = KafkaPrincipal::user("admin");
    let for_other = options.clone().owner(KafkaPrincipal::user("member"));
    let for_other = for_other.renewers([myself.clone()]);
    let other = admin.create_delegation_token(&for_other).await;
    let other = other.expect("created");
    assert_eq!(other.owner, KafkaPrincipal::user("member"));
    assert_eq!(other.requester, Some(KafkaPrincipal::user("admin")));
    soon("tokens are there", async || {
        let described = admin.describe_delegation_tokens(None).await;
        let described = described.expect("described");
        let ids: Vec<_> = described.iter().map(|it| it.id.as_str()).collect();
        ids.contains(&&*own.id) && ids.contains(&&*other.id)
    })
    .await;
    let owners = [KafkaPrincipal::user("member")];
    let described = admin.describe_delegation_tokens(Some(&owners)).await;
    let described = described.expect("described");
    let [described] = &*described else {
        panic!("one token: {described:?}");
    };
    assert_eq!((&described.id, &described.hmac), (&other.id, &other.hmac));
    assert_eq!(described.renewers, [renewer, myself]);
    let hour = Some(Duration::from_secs(1_800));
    let expires = admin.renew_delegation_token(&own.hmac, hour).await;
    let expires = expires.expect("renewed");
    assert!(expires < own.ends_ms && expires > own.issued_ms + 1_700_000);
    let nobodys = Secret::new("bm9ib2R5");
    let error = admin.renew_delegation_token(&nobodys, None).await;
    assert_eq!(code(&error), Some(ErrorCode::DELEGATION_TOKEN_NOT_FOUND));
    for hmac in [&own.hmac, &other.hmac] {
        let expired = admin.expire_delegation_token(hmac, None).await;
        expired.expect("expired");
    }
    soon("tokens are gone", async || {
        let described = admin.describe_delegation_tokens(None).await;
        described.expect("described").is_empty()
    })
    .await;
}
