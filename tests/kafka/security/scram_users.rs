//! SCRAM's users, altered and described (KIP-554): one table of requests and answers, for Kafka and for an embedded broker alike.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pat_events::kafka::wire::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use pat_events::kafka::wire::messages::describe_user_scram_credentials_request::UserName;
use pat_events::kafka::wire::messages::{
    AlterUserScramCredentialsRequest, DescribeUserScramCredentialsRequest,
};
use pat_events::kafka::{Client, ErrorCode, Target};
use tokio::time::Instant;

use super::listeners::{Listeners, PASSWORD, alice, config};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;
/// The password `pencil` as RFC 7677 has it: its salt, and what 4,096 iterations make of it.
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const SALTED: [u8; 32] = [
    0xc4, 0xa4, 0x95, 0x10, 0x32, 0x3a, 0xb4, 0xf9, 0x52, 0xca, 0xc1, 0xfa, 0x99, 0x44, 0x19, 0x39,
    0xe7, 0x8e, 0xa7, 0x4d, 0x6b, 0xe8, 0x1d, 0xdf, 0x70, 0x96, 0xe8, 0x75, 0x13, 0xdc, 0x61, 0x5d,
];
/// How long a broker may take to hear of what the controller has done.
const SPREAD: Duration = Duration::from_secs(10);

/// Whom to delete, by mechanism; whom to set, with how many iterations; and what is answered.
type Row = (
    &'static [(&'static str, i8)],
    &'static [(&'static str, i8, i32)],
    &'static [&'static str],
);

const REFUSED: &[Row] = &[
    (&[], &[], &[]),
    (
        &[("bob", SHA_256), ("", SHA_256), ("carol", 0)],
        &[],
        &[
            ": UNACCEPTABLE_CREDENTIAL Username must not be empty",
            "bob: RESOURCE_NOT_FOUND Attempt to delete a user credential that does not exist",
            "carol: UNSUPPORTED_SASL_MECHANISM Unknown SCRAM mechanism",
        ],
    ),
    (
        &[],
        &[
            ("", SHA_512, 4_096),
            ("bob", 3, 4_096),
            ("carol", SHA_256, 4_095),
            ("dave", SHA_512, 16_385),
            ("erin", SHA_256, -1),
        ],
        &[
            ": UNACCEPTABLE_CREDENTIAL Username must not be empty",
            "bob: UNSUPPORTED_SASL_MECHANISM Unknown SCRAM mechanism",
            "carol: UNACCEPTABLE_CREDENTIAL Too few iterations",
            "dave: UNACCEPTABLE_CREDENTIAL Too many iterations",
            "erin: UNACCEPTABLE_CREDENTIAL Too few iterations",
        ],
    ),
    (
        &[("alice", SHA_256)],
        &[
            ("alice", SHA_512, 4_096),
            ("bob", SHA_256, 4_096),
            ("bob", SHA_512, 4_096),
            ("carol", SHA_256, 1),
            ("carol", SHA_256, 4_096),
        ],
        &[
            "alice: DUPLICATE_RESOURCE A user credential cannot be altered twice in the same request",
            "bob: DUPLICATE_RESOURCE A user credential cannot be altered twice in the same request",
            "carol: UNACCEPTABLE_CREDENTIAL Too few iterations",
        ],
    ),
];

async fn alter(client: &Client, (deletions, upsertions, expected): &Row) {
    let deletions = deletions.iter().map(|(name, mechanism)| {
        let (name, mechanism) = (name.to_string(), *mechanism);
        ScramCredentialDeletion {
            name,
            mechanism,
            ..Default::default()
        }
    });
    let salt = STANDARD.decode(SALT).expect("base64");
    let upsertions =
        upsertions
            .iter()
            .map(|(name, mechanism, iterations)| ScramCredentialUpsertion {
                name: name.to_string(),
                mechanism: *mechanism,
                iterations: *iterations,
                salt: salt.clone().into(),
                salted_password: SALTED.to_vec().into(),
                ..Default::default()
            });
    let request = AlterUserScramCredentialsRequest {
        deletions: deletions.collect(),
        upsertions: upsertions.collect(),
        ..Default::default()
    };
    let response = client.request(Target::Controller, &request).await;
    let response = response.expect("an answer");
    let told = response.results.into_iter().map(|result| {
        let message = result.error_message.unwrap_or_default();
        let told = format!("{}: {} {message}", result.user, result.error_code.name());
        told.trim_end().to_owned()
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    assert_eq!(told, *expected);
}

/// What is told of these users, or of all; as soon as it is what is expected.
async fn described(client: &Client, users: Option<&[&str]>, expected: &[&str]) {
    let until = Instant::now() + SPREAD;
    loop {
        let users = users.map(|users| {
            let name = |user: &&str| UserName {
                name: user.to_string(),
                ..Default::default()
            };
            users.iter().map(name).collect()
        });
        let request = DescribeUserScramCredentialsRequest {
            users,
            ..Default::default()
        };
        let response = client.request(Target::Any, &request).await;
        let response = response.expect("an answer");
        assert_eq!(response.error_code, ErrorCode::NONE);
        let told = response.results.into_iter().map(|mut result| {
            result.credential_infos.sort_by_key(|info| info.mechanism);
            let infos = result.credential_infos.iter();
            let infos: String = infos
                .map(|info| format!(" {}/{}", info.mechanism, info.iterations))
                .collect();
            let message = result.error_message.unwrap_or_default();
            match result.error_code {
                ErrorCode::NONE => format!("{}:{infos}", result.user),
                error => format!("{}: {message}", error.name()),
            }
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        if told == expected {
            return;
        }
        assert!(Instant::now() < until, "{told:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn users_of_scram_are_altered_and_described_alike(listeners: Listeners) {
    let login = alice("SASL_SSL", "PLAIN", PASSWORD);
    let client = Client::lazy(config(&listeners, "SASL", &login)).expect("a client");
    for row in REFUSED {
        alter(&client, row).await;
    }
    described(&client, None, &["alice: 1/4096 2/4096"]).await;
    let create: Row = (
        &[],
        &[("bob", SHA_256, 4_096), ("carol", SHA_512, 16_384)],
        &["bob: NONE", "carol: NONE"],
    );
    alter(&client, &create).await;
    let all = ["alice: 1/4096 2/4096", "bob: 1/4096", "carol: 2/16384"];
    described(&client, None, &all).await;
    described(&client, Some(&[]), &all).await;
    let some = [
        "DUPLICATE_RESOURCE: Cannot describe SCRAM credentials for the same user twice in a single request: bob",
        "RESOURCE_NOT_FOUND: Attempt to describe a user credential that does not exist: dave",
        "carol: 2/16384",
    ];
    described(&client, Some(&["bob", "carol", "dave", "bob"]), &some).await;
    let bob = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "bob"),
        ("sasl.password", "pencil"),
    ];
    let bob = async || {
        let client = Client::lazy(config(&listeners, "SASL", &bob)).expect("a client");
        client.admin().list_topics().await
    };
    bob().await.expect("let in");
    let change: Row = (
        &[("bob", SHA_256)],
        &[("carol", SHA_256, 8_192)],
        &["bob: NONE", "carol: NONE"],
    );
    alter(&client, &change).await;
    let left = ["alice: 1/4096 2/4096", "carol: 1/8192 2/16384"];
    described(&client, None, &left).await;
    bob().await.expect_err("not let in any more");
    let tidy: Row = (&[("carol", SHA_256)], &[], &["carol: NONE"]);
    alter(&client, &tidy).await;
    let tidy: Row = (&[("carol", SHA_512)], &[], &["carol: NONE"]);
    alter(&client, &tidy).await;
    described(&client, None, &["alice: 1/4096 2/4096"]).await;
}
