//! `check` on listeners that want TLS, a certificate of the client, or a token.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use pat_events::broker::{Broker, BrokerTls};

use crate::certificates::{Authority, Identity};
use crate::{Checked, check, start};

/// Files for one test, until it ends.
struct Files(PathBuf);

impl Files {
    fn new(name: &str) -> Self {
        let folder = format!("pat-events-check-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    /// The option that names a file with this text.
    fn option(&self, option: &str, text: &str) -> String {
        let path = self.0.join(option);
        fs::write(&path, text).expect("written");
        format!("{option}={}", path.display())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn check_with(servers: &str, options: &[String]) -> Checked {
    let options = options.iter().flat_map(|option| ["-X", option]);
    let command: Vec<_> = ["-b", servers].into_iter().chain(options).collect();
    check(&command)
}

fn tls(identity: &Identity) -> BrokerTls {
    BrokerTls::new(identity.certificate_pem.as_str(), identity.key_pem.as_str())
}

#[test]
fn a_clients_certificate_is_taken_missed_or_refused() {
    let (ours, stranger) = (Authority::new("ours"), Authority::new("a stranger"));
    let files = Files::new("mutual");
    let tls = tls(&ours.issue(&["127.0.0.1"])).require_client_certificates(ours.pem());
    let (broker, _runtime) = start(Broker::builder().tls(tls));
    let servers = broker.bootstrap_servers();
    // With TLS 1.3 the broker looks at it when the client takes the encryption for done.
    for (version, step) in [("TLSv1.2", "TLS"), ("TLSv1.3", "ApiVersions")] {
        let options = |identity: Option<&Identity>| {
            let common = [
                "security.protocol=SSL".to_owned(),
                format!("ssl.enabled.protocols={version}"),
                files.option("ssl.ca.location", &ours.pem()),
            ];
            let own = identity.map(|it| {
                [
                    files.option("ssl.certificate.location", &it.certificate_pem),
                    files.option("ssl.key.location", &it.key_pem),
                ]
            });
            let own = own.into_iter().flatten();
            common.into_iter().chain(own).collect::<Vec<_>>()
        };
        let right = check_with(&servers, &options(Some(&ours.issue(&["alice"]))));
        assert_eq!(right.status, Some(0), "{}{}", right.text, right.errors);
        assert!(
            right.text.contains(&format!("{version}, ")),
            "{}",
            right.text
        );
        let missing = check_with(&servers, &options(None));
        missing.failed_at(step, &["wants the client's certificate", "ssl.keystore"]);
        let untrusted = check_with(&servers, &options(Some(&stranger.issue(&["alice"]))));
        untrusted.failed_at(step, &["does not accept the client's certificate"]);
    }
}

#[test]
fn a_certificate_that_is_not_for_the_advertised_name_says_for_whom_it_is() {
    let ours = Authority::new("ours");
    let files = Files::new("elsewhere");
    let builder = Broker::builder().tls(tls(&ours.issue(&["localhost"])));
    let (broker, _runtime) = start(builder);
    let advertised = broker.bootstrap_servers();
    let options = [
        "security.protocol=SSL".to_owned(),
        files.option("ssl.ca.location", &ours.pem()),
    ];
    let checked = check_with(&advertised.replace("127.0.0.1", "localhost"), &options);
    let words = [
        "not for 127.0.0.1, but for localhost",
        "advertised.listeners",
    ];
    checked.failed_at("TLS", &words);
    let whose = format!("{advertised}, which broker 1 advertises");
    assert!(checked.text.contains(&whose), "{}", checked.text);
}

/// Returns a token for each request, and counts them. Ends with this process.
fn token_endpoint() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/token", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|it| it > 2) {
                let header = line.to_ascii_lowercase();
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            counted.fetch_add(1, Ordering::Relaxed);
            // Its parts are texts that say nothing: the broker's validator knows it by sight.
            let body = r#"{"access_token":"e30.e30.good","token_type":"Bearer","expires_in":600}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn one_token_serves_all_addresses() {
    let validate = |token: &str| {
        let end = SystemTime::now() + Duration::from_secs(600);
        (token == "e30.e30.good").then(|| ("alice".to_owned(), end))
    };
    let builder = Broker::builder().nodes(3).oauth_bearer(validate);
    let (broker, _runtime) = start(builder);
    let (url, asked) = token_endpoint();
    let options = [
        "security.protocol=SASL_PLAINTEXT".to_owned(),
        "sasl.mechanism=OAUTHBEARER".to_owned(),
        format!("sasl.oauthbearer.token.endpoint.url={url}"),
        "sasl.oauthbearer.client.id=checker".to_owned(),
        "sasl.oauthbearer.client.secret=endpoint-secret".to_owned(),
    ];
    let servers = broker.bootstrap_servers();
    let (first, _) = servers.split_once(',').expect("three brokers");
    let checked = check_with(first, &options);
    assert_eq!(
        checked.status,
        Some(0),
        "{}{}",
        checked.text,
        checked.errors
    );
    assert_eq!(
        checked.text.matches("OAUTHBEARER, for ").count(),
        3,
        "{}",
        checked.text
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
