//! Clients that say who they are, in raw messages; those that do not; and rules, in every version.

use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

use pat_events::broker::{Acl, AclOperation, AclResource, Broker, BrokerBuilder};
use protocol::ErrorCode;
use protocol::messages::alter_user_scram_credentials_request::ScramCredentialDeletion;
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::delete_acls_request::DeleteAclsFilter;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::*;

use crate::raw::Raw;
use crate::versions::ask_in_every_version;

fn broker(build: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Broker {
    let broker = build(Broker::builder().seed(7)).start_in_memory();
    broker.expect("an in-memory broker starts")
}

fn with_plain(builder: BrokerBuilder) -> BrokerBuilder {
    builder.sasl_plain("alice", "secret")
}

async fn handshake(raw: &mut Raw, version: i16, mechanism: &str) -> (ErrorCode, Vec<String>) {
    let mechanism = mechanism.to_owned();
    let request = SaslHandshakeRequest {
        mechanism,
        ..Default::default()
    };
    let response = raw.call(version, &request).await.expect("an answer");
    (response.error_code, response.mechanisms)
}

async fn authenticate(raw: &mut Raw, message: &[u8]) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest {
        auth_bytes: message.to_vec().into(),
        ..Default::default()
    };
    raw.call(2, &request).await.expect("an answer")
}

async fn is_closed(raw: &mut Raw) -> bool {
    let answer = raw.receive_frame().await;
    answer.map(|_| ()).map_err(|error| error.kind()) == Err(ErrorKind::UnexpectedEof)
}

#[tokio::test]
async fn a_client_that_has_said_who_it_is_is_served() {
    let broker = broker(with_plain);
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let offered = vec!["PLAIN".to_owned()];
    let versions = ApiVersionsRequest::default();
    raw.call(2, &versions).await.expect("an answer");
    let answer = handshake(&mut raw, 1, "PLAIN").await;
    assert_eq!(answer, (ErrorCode::NONE, offered.clone()));
    let response = authenticate(&mut raw, b"\0alice\0secret").await;
    assert_eq!(response.error_code, ErrorCode::NONE, "{response:?}");
    assert_eq!(response.session_lifetime_ms, 0);
    let metadata = MetadataRequest::default();
    raw.call(12, &metadata).await.expect("an answer");
}

#[tokio::test]
async fn the_oldest_handshake_has_bare_messages_after_it() {
    let broker = broker(with_plain);
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    assert_eq!(handshake(&mut raw, 0, "PLAIN").await.0, ErrorCode::NONE);
    raw.send_bytes(b"\0\0\0\x0d\0alice\0secret")
        .await
        .expect("sent");
    assert!(raw.receive_frame().await.expect("an answer").is_empty());
    raw.call(12, &MetadataRequest::default())
        .await
        .expect("an answer");
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    handshake(&mut raw, 0, "PLAIN").await;
    raw.send_bytes(b"\0\0\0\x0c\0alice\0wrong")
        .await
        .expect("sent");
    assert!(is_closed(&mut raw).await);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_cut_off() {
    let broker = broker(with_plain);
    let connect = || Raw::dial(&broker, 1).expect("a connection");
    let mut raw = connect();
    let answer = raw.call(12, &MetadataRequest::default()).await;
    assert_eq!(answer.expect_err("closed").kind(), ErrorKind::UnexpectedEof);
    let mut raw = connect();
    let (error, offered) = handshake(&mut raw, 1, "SCRAM-SHA-256").await;
    assert_eq!(error, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
    assert_eq!(offered, ["PLAIN"]);
    assert!(is_closed(&mut raw).await);
    let mut raw = connect();
    handshake(&mut raw, 1, "PLAIN").await;
    let response = authenticate(&mut raw, b"\0alice\0wrong").await;
    assert_eq!(response.error_code, ErrorCode::SASL_AUTHENTICATION_FAILED);
    assert!(is_closed(&mut raw).await);
    let mut raw = connect();
    handshake(&mut raw, 1, "PLAIN").await;
    let request = FindCoordinatorRequest::default();
    let response = raw.call(3, &request).await.expect("an answer");
    assert_eq!(response.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    assert!(is_closed(&mut raw).await);
    // A frame that is longer than anybody needs to say who it is.
    let mut raw = connect();
    raw.send_bytes(&(600_000_i32).to_be_bytes())
        .await
        .expect("sent");
    assert!(is_closed(&mut raw).await);
}

#[tokio::test]
async fn where_nobody_has_to_say_who_it_is_it_is_the_wrong_thing_to_say() {
    let broker = broker(|builder| builder);
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let answer = handshake(&mut raw, 1, "PLAIN").await;
    assert_eq!(answer, (ErrorCode::ILLEGAL_SASL_STATE, vec![]));
    let response = authenticate(&mut raw, b"").await;
    assert_eq!(response.error_code, ErrorCode::ILLEGAL_SASL_STATE);
    raw.call(12, &MetadataRequest::default())
        .await
        .expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_the_token_does_or_sooner() {
    let minute = Duration::from_secs(60);
    let validate = move |token: &str| {
        (token == "good").then(|| ("alice".to_owned(), SystemTime::UNIX_EPOCH + minute))
    };
    for (max_session, expected) in [(minute / 2, 30_000), (minute * 2, 60_000)] {
        let broker = broker(|builder| {
            builder
                .simulated_time_ms(0)
                .max_session(max_session)
                .oauth_bearer(validate)
        });
        let mut raw = Raw::dial(&broker, 1).expect("a connection");
        handshake(&mut raw, 1, "OAUTHBEARER").await;
        let response = authenticate(&mut raw, b"n,,\x01auth=Bearer good\x01\x01").await;
        assert_eq!(response.session_lifetime_ms, expected);
        let metadata = MetadataRequest::default();
        raw.call(12, &metadata).await.expect("an answer");
        tokio::time::sleep(Duration::from_millis(expected as u64 + 1)).await;
        let answer = raw.call(12, &metadata).await;
        assert_eq!(answer.expect_err("closed").kind(), ErrorKind::UnexpectedEof);
    }
}

#[tokio::test]
async fn rules_of_the_builder_hold_for_clients_by_their_names() {
    let broker = broker(|builder| {
        let topic = AclResource::topic("t");
        with_plain(builder)
            .sasl_plain("admin", "secret")
            .super_user("User:admin")
            .acl(Acl::allow("User:alice", AclOperation::Describe, topic).from_host("127.0.0.1"))
    });
    broker.create_topic("t", 1).expect("a new topic");
    broker.create_topic("u", 1).expect("a new topic");
    for (user, visible) in [("alice", &["t"][..]), ("admin", &["t", "u"])] {
        let mut raw = Raw::dial(&broker, 1).expect("a connection");
        handshake(&mut raw, 1, "PLAIN").await;
        authenticate(&mut raw, format!("\0{user}\0secret").as_bytes()).await;
        let all = MetadataRequest {
            topics: None,
            ..Default::default()
        };
        let response = raw.call(12, &all).await.expect("an answer");
        let names: Vec<_> = response
            .topics
            .iter()
            .filter_map(|it| it.name.as_deref())
            .collect();
        assert_eq!(names, visible);
        let named = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some("u".into()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        let response = raw.call(12, &named).await.expect("an answer");
        let refused = response.topics[0].error_code == ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        assert_eq!(refused, user == "alice");
    }
}

#[tokio::test]
async fn rules_are_served_in_every_version() {
    let broker = broker(|builder| builder.super_user("User:ANONYMOUS"));
    ask_in_every_version(&broker, 1..=3, |_| CreateAclsRequest {
        creations: vec![AclCreation {
            resource_type: 2,
            resource_name: "t".into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: 3,
            permission_type: 3,
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
    ask_in_every_version(&broker, 1..=3, |_| DescribeAclsRequest {
        resource_type_filter: 1,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    })
    .await;
    let filter = || DeleteAclsFilter {
        resource_type_filter: 1,
        resource_name_filter: None,
        principal_filter: None,
        host_filter: None,
        operation: 1,
        permission_type: 1,
        ..Default::default()
    };
    let delete = || DeleteAclsRequest {
        filters: vec![filter()],
        ..Default::default()
    };
    let mut raw = Raw::dial(&broker, 1).expect("a connection");
    let deleted = raw.call(3, &delete()).await;
    let matching = &deleted.expect("an answer").filter_results[0].matching_acls;
    assert_eq!(matching.len(), 1, "one rule, however often it was created");
    ask_in_every_version(&broker, 1..=3, |_| delete()).await;
}

#[tokio::test]
async fn users_of_scram_are_served_in_every_version() {
    let broker = broker(|builder| builder);
    ask_in_every_version(&broker, 0..=0, |_| {
        DescribeUserScramCredentialsRequest::default()
    })
    .await;
    ask_in_every_version(&broker, 0..=0, |_| AlterUserScramCredentialsRequest {
        deletions: vec![ScramCredentialDeletion {
            name: "alice".into(),
            mechanism: 1,
            ..Default::default()
        }],
        ..Default::default()
    })
    .await;
}
