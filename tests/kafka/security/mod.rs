//! Brokers whose listeners want TLS or SASL or both: what gets in does all that a plain client does; what does not is told what to change.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `exercise` | what is done on each listener |
//! | `listeners` | the listeners of Kafka and of embedded brokers, and the ways in |
//! | `refusals` | who does not get in, and what is said of it |
//! | `scram_users` | SCRAM's users, altered and described |
//! | `sessions` | sessions that end meanwhile |

mod exercise;
mod listeners;
mod refusals;
mod scram_users;
mod sessions;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libtest_mimic::Trial;
use pat_events::kafka::wire::messages::CreateDelegationTokenRequest;
use pat_events::kafka::{Client, ErrorCode, ErrorKind, Target, TlsVersions};
use tokio::time::{Instant, timeout};

use crate::fleet::{Fleet, block_on, block_on_for};

pub use exercise::exercise;
pub use listeners::{
    Listeners, PASSWORD, authority_file, broker_file, config, material, material_folder, secured,
};
use listeners::{alice, ways_in};
use refusals::{refused, who_does_not_get_in_is_told_what_to_change};
use scram_users::users_of_scram_are_altered_and_described_alike;
use sessions::{sessions_end, sessions_seconds};

/// How long all that is done on one listener may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let on_both = [
        on_both(
            fleet,
            "every_listener_serves_producers_groups_admins_and_events",
            every_listener_serves_producers_groups_admins_and_events,
        ),
        on_both(
            fleet,
            "who_does_not_get_in_is_told_what_to_change",
            who_does_not_get_in_is_told_what_to_change,
        ),
        on_both(
            fleet,
            "users_of_scram_are_altered_and_described_alike",
            users_of_scram_are_altered_and_described_alike,
        ),
    ];
    let on_kafka = [
        fleet.on_secured("a_delegation_token_stands_for_its_owner", |kafka| {
            block_on(a_delegation_token_stands_for_its_owner(Listeners::of(
                kafka,
            )));
        }),
        fleet.on_secured("sessions_end_and_nobody_notices", |kafka| {
            let seconds = sessions_seconds();
            let meant = Duration::from_secs(seconds);
            block_on_for(meant, sessions_end(Listeners::of(kafka), seconds));
        }),
    ];
    on_both.into_iter().flatten().chain(on_kafka).collect()
}

/// Trials of one case: on embedded brokers, and on Kafka.
fn on_both<F>(fleet: &Arc<Fleet>, name: &str, case: fn(Listeners) -> F) -> [Trial; 2]
where
    F: Future<Output = ()> + 'static,
{
    let embedded = fleet.apart(format!("embedded::secured::{name}"), move || {
        block_on(async { case(Listeners::embedded().await).await });
    });
    let on_kafka = fleet.on_secured(name, move |kafka| block_on(case(Listeners::of(kafka))));
    [embedded, on_kafka]
}

/// Whose cryptography TLS uses in this program.
const PROVIDER: &str = match (cfg!(feature = "tls-aws-lc-rs"), cfg!(feature = "tls-ring")) {
    (true, _) => "aws-lc-rs",
    (_, true) => "ring",
    _ => "graviola",
};

async fn every_listener_serves_producers_groups_admins_and_events(listeners: Listeners) {
    for (name, config) in ways_in(&listeners) {
        for versions in [TlsVersions::Tls12, TlsVersions::Tls13] {
            let mut config = config.clone();
            config.security.tls.versions = versions;
            if !config.security.protocol.uses_tls() && versions == TlsVersions::Tls12 {
                continue;
            }
            let topic = format!("secured-{name}-{versions:?}");
            let began = Instant::now();
            timeout(PATIENCE, exercise(config, &topic))
                .await
                .unwrap_or_else(|_| panic!("{topic} comes to an end"));
            let took = began.elapsed().as_millis();
            println!("{PROVIDER}: {topic}: {took} ms");
        }
    }
}

/// Asks for a token over one listener, and is let in with it over another (KIP-48).
async fn a_delegation_token_stands_for_its_owner(listeners: Listeners) {
    let login = alice("SASL_SSL", "PLAIN", PASSWORD);
    let client = Client::lazy(config(&listeners, "SASL", &login)).expect("a client");
    let request = CreateDelegationTokenRequest {
        owner_principal_type: None,
        owner_principal_name: None,
        max_lifetime_ms: -1,
        ..Default::default()
    };
    let token = client.request(Target::Controller, &request).await;
    let token = token.expect("an answer");
    assert_eq!(token.error_code, ErrorCode::NONE);
    let hmac = STANDARD.encode(&token.hmac);
    let jaas = format!(
        "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"{}\" password=\"{hmac}\" tokenauth=\"true\";",
        token.token_id
    );
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &jaas),
    ];
    // The broker learns of it a moment after it was created.
    let began = Instant::now();
    let known = async || {
        let client = Client::lazy(config(&listeners, "SASL", &login)).expect("a client");
        client.admin().list_topics().await
    };
    while let Err(error) = known().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    exercise(config(&listeners, "SASL", &login), "secured-token").await;
    // The same without tokenauth is a user that nobody knows.
    let user = jaas.replace(" tokenauth=\"true\"", "");
    let login = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.jaas.config", &user),
    ];
    let (error, _) = refused(config(&listeners, "SASL", &login)).await;
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
    assert!(!error.to_string().contains(&hmac), "{error}");
}
