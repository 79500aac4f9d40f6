//! What principals without rights are told: one table, for Kafka and for the embedded broker alike. In raw messages, as the errors are what
//! counts, field by field.

mod questions;
mod table;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::broker::{Broker, BrokerBuilder};
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::create_topics_request::CreatableTopic;
use protocol::messages::{
    CreateAclsRequest, CreateTopicsRequest, SaslAuthenticateRequest, SaslHandshakeRequest,
};
use protocol::{ErrorCode, Uuid};

use self::questions::ask;
use self::table::TABLE;
use crate::fleet::{Fleet, block_on};
use crate::raw::Raw;
use crate::support::kafka::{Kafka, Secured};

pub const LISTENER: &str = "ACLS";
pub const PASSWORD: &str = "secret";
/// The administrator, who may do everything; nobody, who may do nothing; others, who have the rights in [`RIGHTS`].
const USERS: &[&str] = &[
    "admin",
    "nobody",
    "member",
    "reader",
    "writer",
    "creator",
    "watcher",
    "transactor",
];

/// How long a rule may take to be in force everywhere.
const SPREAD: Duration = Duration::from_secs(2);

const TOPIC: &str = "acls-topic";
/// There is no such topic.
const MISSING: &str = "acls-missing";
const GROUP: &str = "acls-group";
const TRANSACTIONAL_ID: &str = "acls-transaction";
const UNKNOWN_ID: Uuid = Uuid::from_random(7);

const ALLOW: i8 = 3;
const DENY: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const IS_TOPIC: i8 = 2;
const IS_GROUP: i8 = 3;
const IS_TRANSACTIONAL_ID: i8 = 5;

/// (user, permission, operation, kind, pattern, name); operations are READ (3), WRITE (4), CREATE (5), DESCRIBE (8).
const RIGHTS: &[(&str, i8, i8, i8, i8, &str)] = &[
    ("member", ALLOW, 3, IS_GROUP, LITERAL, GROUP),
    ("member", ALLOW, 8, IS_TOPIC, PREFIXED, "acls-"),
    ("reader", ALLOW, 3, IS_TOPIC, LITERAL, "*"),
    ("reader", ALLOW, 3, IS_GROUP, PREFIXED, "acls-"),
    ("writer", ALLOW, 4, IS_TOPIC, LITERAL, "*"),
    ("writer", DENY, 4, IS_TOPIC, PREFIXED, "acls-t"),
    ("creator", ALLOW, 5, IS_TOPIC, PREFIXED, "acls-new"),
    (
        "watcher",
        ALLOW,
        8,
        IS_TRANSACTIONAL_ID,
        LITERAL,
        TRANSACTIONAL_ID,
    ),
    (
        "transactor",
        ALLOW,
        4,
        IS_TRANSACTIONAL_ID,
        LITERAL,
        TRANSACTIONAL_ID,
    ),
];

pub fn secured() -> Secured {
    let users: String = USERS
        .iter()
        .map(|user| format!(" user_{user}=\"{PASSWORD}\""))
        .collect();
    Secured {
        listeners: vec![(LISTENER, "SASL_PLAINTEXT")],
        properties: format!(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
delegation.token.secret.key={PASSWORD}
listener.name.acls.sasl.enabled.mechanisms=PLAIN
listener.name.acls.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
"
        ),
        ..Secured::default()
    }
}

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let name = "who_has_no_rights_is_told_the_same";
    let embedded = fleet.apart(format!("embedded::{name}"), || {
        block_on(async {
            let broker = guarded().start_tcp("127.0.0.1:0").await.expect("a port");
            holds(&broker.bootstrap_servers(), Duration::ZERO).await;
        });
    });
    let on_kafka = fleet.on_guarded(name, |_, kafka: &Kafka| {
        block_on(async {
            holds(&kafka.secured_bootstrap(LISTENER), SPREAD).await;
        });
    });
    let name = "who_may_not_use_a_transactional_id_is_told_which_and_what_for";
    let transactions_embedded = Trial::test(format!("embedded::{name}"), || {
        block_on(async {
            let broker = guarded().start_tcp("127.0.0.1:0").await.expect("a port");
            transactions::who_may_not_is_told(&broker.bootstrap_servers()).await;
        });
        Ok(())
    });
    let transactions_on_kafka = fleet.on_guarded(name, |_, kafka: &Kafka| {
        block_on(transactions::who_may_not_is_told(
            &kafka.secured_bootstrap(LISTENER),
        ));
    });
    vec![
        embedded,
        on_kafka,
        transactions_embedded,
        transactions_on_kafka,
    ]
}

fn guarded() -> BrokerBuilder {
    let builder = Broker::builder().super_user("User:admin");
    let users = USERS.iter();
    users.fold(builder, |builder, user| builder.sasl_plain(*user, PASSWORD))
}

async fn log_in(address: &str, user: &str) -> Raw {
    let mut raw = Raw::connect(address).await.expect("a connection");
    let mechanism = "PLAIN".to_owned();
    let request = SaslHandshakeRequest {
        mechanism,
        ..Default::default()
    };
    raw.call(1, &request).await.expect("an answer");
    let message = format!("\0{user}\0{PASSWORD}");
    let request = SaslAuthenticateRequest {
        auth_bytes: message.into_bytes().into(),
        ..Default::default()
    };
    let response = raw.call(2, &request).await.expect("an answer");
    assert_eq!(response.error_code, ErrorCode::NONE, "{response:?}");
    raw
}

async fn holds(address: &str, spread: Duration) {
    let mut admin = log_in(address, "admin").await;
    let created = admin.call(7, &create_topic(TOPIC)).await;
    let id = created.expect("an answer").topics[0].topic_id;
    let rule =
        |&(user, permission_type, operation, resource_type, pattern, name): &_| AclCreation {
            resource_type,
            resource_name: String::from(name),
            resource_pattern_type: pattern,
            principal: format!("User:{user}"),
            host: "*".to_owned(),
            operation,
            permission_type,
            ..Default::default()
        };
    let creations = RIGHTS.iter().map(rule).collect();
    let request = CreateAclsRequest {
        creations,
        ..Default::default()
    };
    let response = admin.call(3, &request).await.expect("an answer");
    let failed = response
        .results
        .iter()
        .find(|it| it.error_code != ErrorCode::NONE);
    assert!(failed.is_none(), "{failed:?}");
    // The coordinator's topic is created when it is first asked for, and ids are handed out a little after the start.
    for case in [
        "find coordinator of a group",
        "init producer id",
        "find coordinator of a transactional id",
        "init producer id of a transactional id",
    ] {
        while !ask(&mut admin, case, id).await.starts_with("NONE") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    tokio::time::sleep(spread).await;
    let mut wrong = Vec::new();
    for (user, rows) in TABLE {
        for (case, expected) in *rows {
            let mut raw = log_in(address, user).await;
            let said = ask(&mut raw, case, id).await;
            if said != *expected {
                wrong.push(format!("{user}: {case}: {said:?}, not {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn create_topic(name: &str) -> CreateTopicsRequest {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        ..Default::default()
    }
}
