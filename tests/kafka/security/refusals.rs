//! Who does not get in, and what is said of it. In: the listeners. Out: for each mistake an error that says what to change, in time.

use std::time::Duration;

use pat_events::kafka::{Client, ClientConfig, Error, ErrorKind, Pem};
use rcgen::date_time_ymd;
use tokio::time::Instant;

use super::listeners::{Listeners, PASSWORD, alice, config, material, with_certificate};

/// The error that a first call ends with, and how long it took.
pub async fn refused(config: ClientConfig) -> (Error, Duration) {
    let began = Instant::now();
    let client = Client::lazy(config).expect("a client");
    let error = client.admin().list_topics().await.expect_err("not let in");
    (error, began.elapsed())
}

/// A mistake, how to make it, and what has to be said of it.
type Case = (&'static str, ClientConfig, &'static [&'static str]);

/// Mistakes that could as well be a broker that is ill: their errors are not those of authentication, and their calls try again.
const MAY_PASS: [&str; 3] = [
    "TLS to a plaintext listener",
    "plaintext to a TLS listener",
    "no SASL where it is wanted",
];

fn with_tls(listeners: &Listeners) -> Vec<Case> {
    let tls = |listener| config(listeners, listener, &[("security.protocol", "SSL")]);
    let mut untrusted = tls("TLS");
    untrusted.security.tls.roots = Pem::text(material().stranger.pem()).into();
    let mut wrong_host = tls("TLS");
    let address = listeners.address("TLS").replace("localhost", "127.0.0.1");
    wrong_host.bootstrap_servers = vec![address];
    let stranger = material().stranger.issue(&["alice"]);
    let expired = material().authority.issue_as(&["alice"], |it| {
        it.not_before = date_time_ymd(2020, 1, 1);
        it.not_after = date_time_ymd(2021, 1, 1);
    });
    let mut cases: Vec<Case> = vec![
        (
            "untrusted",
            untrusted,
            &["signed by nobody", "ssl.truststore.location"],
        ),
        (
            "wrong host",
            wrong_host,
            &["not for 127.0.0.1", "advertised.listeners"],
        ),
        (
            "a certificate for elsewhere",
            tls("ELSEWHERE"),
            &["not for localhost", "elsewhere.example"],
        ),
        (
            "expired",
            tls("EXPIRED"),
            &["has expired", "2021-02-03", "clock"],
        ),
        (
            "not valid yet",
            tls("FUTURE"),
            &["not valid yet", "2094-05-06", "clock"],
        ),
    ];
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let mutual = || {
            let mut config = tls("MUTUAL");
            let set = config.set("ssl.enabled.protocols", versions);
            set.expect("a version");
            config
        };
        cases.extend([
            (
                "no certificate",
                mutual(),
                &["certificate", "ssl.keystore"][..],
            ),
            (
                "a stranger's certificate",
                with_certificate(mutual(), &stranger),
                &["client's certificate"],
            ),
            (
                "a client's certificate that has expired",
                with_certificate(mutual(), &expired),
                &["client's certificate"],
            ),
        ]);
    }
    let mut to_plaintext = tls("TLS");
    to_plaintext.bootstrap_servers = vec![listeners.address("PLAINTEXT")];
    cases.push((
        "TLS to a plaintext listener",
        to_plaintext,
        &["TLS", "PLAINTEXT"],
    ));
    let plaintext = config(listeners, "TLS", &[]);
    cases.push((
        "plaintext to a TLS listener",
        plaintext,
        &["security.protocol"],
    ));
    cases
}

fn with_sasl(listeners: &Listeners) -> Vec<Case> {
    let sasl =
        |mechanism, password| config(listeners, "SASL", &alice("SASL_SSL", mechanism, password));
    let open = |mechanism| {
        let pairs = alice("SASL_PLAINTEXT", mechanism, PASSWORD);
        config(listeners, "OPEN", &pairs)
    };
    let mut to_plaintext = open("PLAIN");
    to_plaintext.bootstrap_servers = vec![listeners.address("PLAINTEXT")];
    vec![
        (
            "wrong password, PLAIN",
            sasl("PLAIN", "wrong-secret"),
            &["SASL PLAIN as \"alice\""],
        ),
        (
            "wrong password, SCRAM",
            sasl("SCRAM-SHA-256", "wrong-secret"),
            &["SASL SCRAM-SHA-256 as \"alice\""],
        ),
        ("mechanism", open("SCRAM-SHA-512"), &["it offers PLAIN"]),
        (
            "no SASL where it is wanted",
            config(listeners, "OPEN", &[]),
            &["security.protocol"],
        ),
        ("SASL where none is", to_plaintext, &["takes no SASL"]),
    ]
}

pub async fn who_does_not_get_in_is_told_what_to_change(listeners: Listeners) {
    let cases = [with_tls(&listeners), with_sasl(&listeners)].concat();
    for (name, config, expected) in cases {
        let (error, took) = refused(config).await;
        let text = error.to_string();
        let millis = took.as_millis();
        println!("{name}: {:?} after {millis} ms: {text}", error.kind());
        for part in expected {
            assert!(text.contains(part), "{name}: no {part:?} in {text}");
        }
        assert!(!text.contains("secret"), "{name}: {text}");
        assert!(took < Duration::from_secs(12), "{name}: {took:?}");
        if !MAY_PASS.contains(&name) {
            assert_eq!(error.kind(), ErrorKind::Authentication, "{name}: {text}");
            assert!(took < Duration::from_secs(5), "{name}: {took:?}");
        }
    }
}
