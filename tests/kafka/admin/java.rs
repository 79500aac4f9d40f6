//! Kafka's own Admin beside ours: each sees what the other did, and each of its operations is in the table of `kafka::admin`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pat_events::kafka::admin::{
    AclBinding, AclBindingFilter, AclOperation, AclPatternFilter, AclPermission, AclResource,
    AclResourceKind, AlterConfig, AlterScramCredential, ConfigResource, ConfigResourceKind,
    CreateDelegationTokenOptions, KafkaPrincipal, OffsetSpec, QuotaEntity, QuotaFilter, QuotaMatch,
    ScramMechanism, ScramUpsertion, TransactionState,
};
use pat_events::kafka::{Admin, ErrorKind, NewTopic, OffsetAndMetadata, Record};
use tokio::task::block_in_place;

use super::access::{admin, logged_in, soon};
use super::at;
use super::streams::Streaming;
use crate::acls::{LISTENER, PASSWORD};
use crate::fleet::Target;
use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

const JAVA_WITHIN: Duration = Duration::from_secs(60);
/// The table of Java's operations is the documentation of this module.
const TABLE: &str = include_str!("../../../src/kafka/admin/mod.rs");

pub(super) async fn each_sees_what_the_other_did(jdk: &Jdk, kafka: &Kafka) {
    let (admin, known) = (admin(kafka).await, logged_in(kafka, "admin").await);
    let target = Target {
        bootstrap: kafka.bootstrap(),
    };
    let hmac = we_act(&admin, &known).await;
    we_stream(&target, &admin).await;
    let mut producer = target.transactional("ours", &[]).await;
    let transaction = producer.begin().await.expect("begun");
    for _ in 0..5 {
        let record = Record::new("ours").partition(0).value(b"x");
        transaction.send(record).await.expect("written");
    }
    let features = admin.describe_features(None).await.expect("described");
    let level = features.finalized["metadata.version"].max;

    let (plain, secured) = (kafka.bootstrap(), kafka.secured_bootstrap(LISTENER));
    let arguments = [&*plain, &*secured, PASSWORD];
    let said = block_in_place(|| jdk.run("AdminOperations", &arguments, JAVA_WITHIN));
    let said = said.expect("Java's Admin");
    let (methods, seen): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.starts_with("method "));
    assert_eq!(
        seen,
        [
            "topic 3 12345".to_owned(),
            "rule TOPIC PREFIXED ours- WRITE ALLOW 10.0.0.8".to_owned(),
            "user SCRAM-SHA-256 8192".to_owned(),
            "quota {user=ours} {producer_byte_rate=1024.0}".to_owned(),
            "offset ours-2 0 from us".to_owned(),
            "streams Empty 0 [0[ours]]".to_owned(),
            "kept ours-2 1".to_owned(),
            "transaction Ongoing".to_owned(),
            format!("token User:admin [User:ours] {hmac}"),
            "metrics ours".to_owned(),
            "replica true".to_owned(),
            format!("features {level}"),
            "quorum 1".to_owned(),
            "moving 0".to_owned(),
            "done".to_owned(),
        ]
    );
    let error = transaction.commit().await.expect_err("Java has fenced it");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    we_see(&admin, &known).await;
    every_operation_is_in_the_table(&methods);
}

/// What Java is to see; the token's HMAC.
async fn we_act(admin: &Admin, known: &Admin) -> String {
    let topic = NewTopic::new("ours", 3).config("retention.ms", "12345");
    admin.create_topic(&topic).await.expect("created");
    let resource = AclResource::topic("ours-").prefixed();
    let rule = AclBinding::allow("User:ours", AclOperation::Write, resource).host("10.0.0.8");
    let created = admin
        .create_acls(std::slice::from_ref(&rule))
        .await
        .expect("answered");
    assert!(created[&rule].is_ok(), "{created:?}");
    let upsertion = ScramUpsertion::new(ScramMechanism::Sha256, "a secret").iterations(8_192);
    let users = BTreeMap::from([("ours", AlterScramCredential::Upsert(upsertion))]);
    let set = admin.alter_user_scram_credentials(&users).await;
    assert!(set.expect("answered")["ours"].is_ok());
    let rate = BTreeMap::from([("producer_byte_rate".to_owned(), Some(1_024.0))]);
    let quotas = BTreeMap::from([(QuotaEntity::user("ours"), rate)]);
    let set = admin.alter_client_quotas(&quotas, false).await;
    assert!(set.expect("answered").values().all(Result::is_ok));
    let mut offset = OffsetAndMetadata::new(0);
    offset.metadata = "from us".to_owned();
    let offsets = BTreeMap::from([(at("ours", 2), offset)]);
    soon("the topic is there", async || {
        let set = admin.alter_group_offsets("ours", &offsets).await;
        set.is_ok_and(|set| set.values().all(Result::is_ok))
    })
    .await;
    let interval = (
        "interval.ms".to_owned(),
        AlterConfig::Set("60000".to_owned()),
    );
    let metrics = BTreeMap::from([(ConfigResource::client_metrics("ours"), vec![interval])]);
    let set = admin.incremental_alter_configs(&metrics, false).await;
    assert!(set.expect("answered").values().all(Result::is_ok));
    let options = CreateDelegationTokenOptions::default();
    let options = options.renewers([KafkaPrincipal::user("ours")]);
    let token = known.create_delegation_token(&options).await;
    let token = token.expect("created");
    soon("all is there", async || {
        let users = admin.describe_user_scram_credentials(&["ours"]).await;
        let tokens = known.describe_delegation_tokens(None).await;
        let quotas = admin.describe_client_quotas(&QuotaFilter::default()).await;
        users.expect("described")["ours"].is_ok()
            && tokens.expect("described").len() == 1
            && quotas.expect("described").len() == 1
    })
    .await;
    token.hmac.reveal().to_owned()
}

/// A group of Kafka Streams that has a topology, and no member any more.
async fn we_stream(target: &Target, admin: &Admin) {
    let joined = Streaming::join(target, admin, "ours-streams", "ours").await;
    joined.leave().await;
    let offsets = BTreeMap::from([(at("ours", 2), OffsetAndMetadata::new(1))]);
    let set = admin.alter_group_offsets("ours-streams", &offsets).await;
    assert!(set.expect("answered").values().all(Result::is_ok));
}

/// What Java did.
async fn we_see(admin: &Admin, known: &Admin) {
    let described = admin.describe_topics(&["theirs"]).await.expect("answered");
    let topic = described["theirs"].as_ref().expect("described");
    assert_eq!(topic.partitions.len(), 2);
    let (topic, metrics) = (
        ConfigResource::topic("theirs"),
        ConfigResource::client_metrics("theirs"),
    );
    let resources = [topic.clone(), metrics.clone()];
    let configs = admin
        .describe_configs(&resources, &Default::default())
        .await;
    let configs = configs.expect("answered");
    let value = |resource, name: &str| {
        let configs = configs[resource].as_ref().expect("described");
        configs[name].value.clone()
    };
    assert_eq!(value(&topic, "retention.ms").as_deref(), Some("54321"));
    assert_eq!(value(&metrics, "interval.ms").as_deref(), Some("70000"));
    let kinds = [ConfigResourceKind::ClientMetrics];
    let listed = admin.list_config_resources(&kinds).await.expect("listed");
    assert!(listed.contains(&metrics), "{listed:?}");

    let filter = AclBindingFilter::default()
        .principal("User:theirs")
        .resource_kind(AclResourceKind::Group)
        .pattern(AclPatternFilter::Prefixed)
        .permission(AclPermission::Deny);
    let rules = admin.describe_acls(&filter).await.expect("described");
    let group = AclResource::group("theirs-").prefixed();
    let rule = AclBinding::deny("User:theirs", AclOperation::Delete, group).host("10.0.0.9");
    assert_eq!(rules, BTreeSet::from([rule]));
    let users = admin.describe_user_scram_credentials(&["theirs"]).await;
    let users = users.expect("described");
    let [credential] = &**users["theirs"].as_ref().expect("described") else {
        panic!("one credential: {users:?}");
    };
    let seen = (credential.mechanism, credential.iterations);
    assert_eq!(seen, (ScramMechanism::Sha512, 5_000));
    let of_theirs = QuotaFilter::default().user(QuotaMatch::Name("theirs".to_owned()));
    let quotas = admin.describe_client_quotas(&of_theirs).await;
    let quotas = quotas.expect("described");
    let entity = QuotaEntity::user("theirs").and_default_client_id();
    assert_eq!(quotas[&entity]["consumer_byte_rate"], 2_048.0);
    let groups = BTreeMap::from([("theirs", None), ("ours-streams", None)]);
    let listed = admin.list_group_offsets(&groups, &Default::default()).await;
    let listed = listed.expect("answered");
    let offsets = listed["ours-streams"].as_ref().expect("listed");
    let offset = offsets[&at("ours", 1)].as_ref().expect("committed");
    assert_eq!(offset.offset, 4);
    let offsets = listed["theirs"].as_ref().expect("listed");
    let offset = offsets[&at("ours", 1)].as_ref().expect("committed");
    assert_eq!((offset.offset, &*offset.metadata), (3, "from Java"));
    let earliest = BTreeMap::from([(at("ours", 0), OffsetSpec::Earliest)]);
    let listed = admin.list_offsets(&earliest, &Default::default()).await;
    let listed = &listed.expect("answered")[&at("ours", 0)];
    assert_eq!(listed.as_ref().expect("listed").offset, Some(2));
    let described = admin.describe_transactions(&["ours"]).await;
    let described = described.expect("answered");
    let transaction = described["ours"].as_ref().expect("described");
    assert_ne!(transaction.state, TransactionState::Ongoing);

    let tokens = known.describe_delegation_tokens(None).await;
    let tokens = tokens.expect("described");
    let theirs = KafkaPrincipal::user("theirs");
    let of_java = tokens.iter().find(|it| it.renewers == [theirs.clone()]);
    of_java.expect("Java's token");
    for token in &tokens {
        let expired = known.expire_delegation_token(&token.hmac, None).await;
        expired.expect("expired");
    }
    let everybodys =
        ["ours", "theirs"].map(|it| AclBindingFilter::default().principal(format!("User:{it}")));
    let deleted = admin.delete_acls(&everybodys).await.expect("answered");
    assert!(deleted.values().all(Result::is_ok), "{deleted:?}");
    let none = BTreeMap::from([
        (
            QuotaEntity::user("ours"),
            BTreeMap::from([("producer_byte_rate".to_owned(), None)]),
        ),
        (
            entity,
            BTreeMap::from([("consumer_byte_rate".to_owned(), None)]),
        ),
    ]);
    let removed = admin.alter_client_quotas(&none, false).await;
    assert!(removed.expect("answered").values().all(Result::is_ok));
}

/// A method that Kafka adds is a row to be added.
fn every_operation_is_in_the_table(methods: &[&str]) {
    let rows = TABLE.lines().filter_map(|line| {
        let row = line.strip_prefix("//! | `")?;
        row.split('`').next()
    });
    let rows: BTreeSet<&str> = rows.collect();
    let methods: BTreeSet<&str> = methods
        .iter()
        .filter_map(|line| line.strip_prefix("method "))
        .collect();
    assert!(methods.len() > 60, "{methods:?}");
    let missing: Vec<_> = methods.difference(&rows).collect();
    assert!(
        missing.is_empty(),
        "not in the table of kafka::admin: {missing:?}"
    );
    let gone: Vec<_> = rows.difference(&methods).collect();
    assert!(
        gone.is_empty(),
        "Java's Admin has no such operations: {gone:?}"
    );
}
