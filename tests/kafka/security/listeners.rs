//! Listeners that want TLS or SASL or both, of a Kafka broker and of embedded ones. In: nothing. Out: their addresses, and how to connect to each.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pat_events::broker::{Broker, BrokerBuilder, BrokerTls};
use pat_events::kafka::net::BoxFuture;
use pat_events::kafka::{BearerToken, ClientConfig, Pem, TokenError, TokenProvider};
use rcgen::date_time_ymd;

use crate::support::certificates::{Authority, Identity};
use crate::support::java::folder;
use crate::support::kafka::{Kafka, Secured};

pub const PASSWORD: &str = "alice-secret";
/// How long a session lasts on the listener where they end.
pub const SESSION: Duration = Duration::from_secs(5);
/// The name and `security.protocol` of each: what it asks of clients, or what is wrong with its certificate.
const LISTENERS: [(&str, &str); 8] = [
    ("TLS", "SSL"),
    ("MUTUAL", "SSL"),
    ("SASL", "SASL_SSL"),
    ("OPEN", "SASL_PLAINTEXT"),
    ("OIDC", "SASL_SSL"),
    ("EXPIRED", "SSL"),
    ("FUTURE", "SSL"),
    ("ELSEWHERE", "SSL"),
];

/// Certificates that the trials have made once.
pub struct Material {
    pub authority: Authority,
    /// Nobody trusts it.
    pub stranger: Authority,
    pub client: Identity,
    /// What brokers show, by listener; the others show the first one.
    brokers: BTreeMap<&'static str, Identity>,
    folder: PathBuf,
}

pub fn material() -> &'static Material {
    static MATERIAL: OnceLock<Material> = OnceLock::new();
    MATERIAL.get_or_init(|| {
        let authority = Authority::new("the tests' authority");
        let folder = folder().join(format!("certificates-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let expired = authority.issue_as(&["localhost"], |it| {
            it.not_before = date_time_ymd(2020, 1, 1);
            it.not_after = date_time_ymd(2021, 2, 3);
        });
        let future = authority.issue_as(&["localhost"], |it| {
            it.not_before = date_time_ymd(2094, 5, 6);
            it.not_after = date_time_ymd(2095, 1, 1);
        });
        let brokers = BTreeMap::from([
            ("TLS", authority.issue(&["localhost"])),
            ("EXPIRED", expired),
            ("FUTURE", future),
            ("ELSEWHERE", authority.issue(&["elsewhere.example"])),
        ]);
        for (name, identity) in &brokers {
            let store = format!("{}{}", identity.key_pem, identity.certificate_pem);
            fs::write(folder.join(store_name(name)), store).expect("written");
        }
        fs::write(folder.join("authority.pem"), authority.pem()).expect("written");
        Material {
            client: authority.issue(&["alice"]),
            stranger: Authority::new("a stranger"),
            authority,
            brokers,
            folder,
        }
    })
}

fn store_name(listener: &str) -> String {
    format!("broker-{}.pem", listener.to_lowercase())
}

/// Where files for the broker and the clients are.
pub fn material_folder() -> PathBuf {
    material().folder.clone()
}

/// The brokers' certificate and key, in one file.
pub fn broker_file() -> PathBuf {
    material().folder.join(store_name("TLS"))
}

/// Who signs the listeners' certificates.
pub fn authority_file() -> PathBuf {
    material().folder.join("authority.pem")
}

/// The listeners of a Kafka broker.
pub fn secured() -> Secured {
    let material = material();
    let folder = &material.folder;
    let module = "org.apache.kafka.common.security";
    let own_stores: String = (material.brokers.keys())
        .map(|name| {
            let (listener, store) = (name.to_lowercase(), folder.join(store_name(name)));
            let store = store.display();
            format!("listener.name.{listener}.ssl.keystore.location={store}\n")
        })
        .collect();
    Secured {
        listeners: LISTENERS.to_vec(),
        properties: format!(
            "ssl.keystore.type=PEM
ssl.keystore.location={broker}
ssl.truststore.type=PEM
ssl.truststore.location={folder}/authority.pem
ssl.enabled.protocols=TLSv1.2,TLSv1.3
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
delegation.token.secret.key={PASSWORD}
listener.name.open.sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";
listener.name.sasl.scram-sha-256.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";
listener.name.open.plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_alice=\"{PASSWORD}\";
listener.name.open.plain.connections.max.reauth.ms={session}
{own_stores}{oidc}",
            broker = broker_file().display(),
            folder = folder.display(),
            session = SESSION.as_millis(),
            oidc = crate::tokens::properties(folder),
        ),
        scram: vec![
            format!("SCRAM-SHA-256=[name=alice,password={PASSWORD}]"),
            format!("SCRAM-SHA-512=[name=alice,password={PASSWORD}]"),
        ],
        flags: crate::tokens::flags(folder),
    }
}

/// Where the listeners are, by name; `PLAINTEXT` is one more.
pub struct Listeners {
    addresses: BTreeMap<&'static str, String>,
    /// They end with it. Embedded brokers have one listener each, and are clusters of their own.
    _brokers: Vec<Broker>,
}

impl Listeners {
    pub fn of(kafka: &Kafka) -> Self {
        let secured = LISTENERS.map(|(name, _)| (name, kafka.secured_bootstrap(name)));
        let mut addresses = BTreeMap::from(secured);
        addresses.insert("PLAINTEXT", kafka.bootstrap());
        Self {
            addresses,
            _brokers: Vec::new(),
        }
    }

    /// All but OIDC, which is about Kafka's own validator.
    pub async fn embedded() -> Self {
        let (mut addresses, mut brokers) = (BTreeMap::new(), Vec::new());
        let secured = LISTENERS.iter().map(|(name, _)| *name);
        for name in secured.chain(["PLAINTEXT"]).filter(|name| *name != "OIDC") {
            let broker = embedded(name).advertised_host("localhost");
            let broker = broker.start_tcp("127.0.0.1:0").await.expect("a port");
            addresses.insert(name, broker.bootstrap_servers());
            brokers.push(broker);
        }
        Self {
            addresses,
            _brokers: brokers,
        }
    }

    pub fn address(&self, listener: &str) -> String {
        self.addresses[listener].clone()
    }
}

fn embedded(listener: &str) -> BrokerBuilder {
    let builder = Broker::builder();
    let plain = |builder: BrokerBuilder| builder.sasl_plain("alice", PASSWORD);
    match listener {
        "PLAINTEXT" => builder,
        "MUTUAL" => {
            let authority = material().authority.pem();
            builder.tls(tls(listener).require_client_certificates(authority))
        }
        "SASL" => plain(builder.tls(tls(listener)))
            .scram_sha_256("alice", PASSWORD)
            .scram_sha_512("alice", PASSWORD)
            .oauth_bearer(whose),
        "OPEN" => plain(builder).max_session(SESSION),
        _ => builder.tls(tls(listener)),
    }
}

fn tls(listener: &str) -> BrokerTls {
    let brokers = &material().brokers;
    let own = brokers.get(listener).unwrap_or(&brokers["TLS"]);
    BrokerTls::new(own.certificate_pem.as_str(), own.key_pem.as_str())
}

/// Whose a token is that nobody has signed, and until when it is good.
fn whose(token: &str) -> Option<(String, SystemTime)> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let expires_at = UNIX_EPOCH + Duration::from_secs(claims["exp"].as_u64()?);
    Some((claims["sub"].as_str()?.to_owned(), expires_at))
}

/// Tokens that nobody has signed, as Kafka takes them where nothing else is configured.
#[derive(Debug)]
struct Unsigned;

impl TokenProvider for Unsigned {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        let now = SystemTime::now();
        let seconds = now
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let claims = format!(
            r#"{{"sub":"alice","iat":{seconds},"exp":{}}}"#,
            seconds + 3_600
        );
        let header = URL_SAFE_NO_PAD.encode(br#"{"alg":"none"}"#);
        let token = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims.as_bytes()));
        let expires_at = Some(now + Duration::from_secs(3_600));
        Box::pin(async move { Ok(BearerToken::new(token, expires_at)) })
    }
}

/// A configuration for one of the listeners, by Java's names.
pub fn config(listeners: &Listeners, listener: &str, pairs: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new(&listeners.address(listener));
    let authority = authority_file();
    let authority = authority.to_str().expect("a path in Unicode");
    config
        .set("ssl.truststore.location", authority)
        .expect("a path");
    for (name, value) in pairs {
        config.set(name, value).expect("a property");
    }
    config
}

/// What alice says of herself by librdkafka's names.
pub fn alice<'a>(
    protocol: &'a str,
    mechanism: &'a str,
    password: &'a str,
) -> [(&'static str, &'a str); 4] {
    [
        ("security.protocol", protocol),
        ("sasl.mechanism", mechanism),
        ("sasl.username", "alice"),
        ("sasl.password", password),
    ]
}

pub fn with_certificate(mut config: ClientConfig, identity: &Identity) -> ClientConfig {
    config.security.tls.certificates = Some(Pem::text(identity.certificate_pem.as_str()));
    config.security.tls.key = Some(Pem::text(identity.key_pem.as_str()));
    config
}

fn login(module: &str) -> String {
    format!(
        "org.apache.kafka.common.security.{module} required username=\"alice\" password=\"{PASSWORD}\";"
    )
}

/// A way in by each listener that lets in, and its name.
pub fn ways_in(listeners: &Listeners) -> Vec<(&'static str, ClientConfig)> {
    let (plain, scram) = (
        login("plain.PlainLoginModule"),
        login("scram.ScramLoginModule"),
    );
    let tls = [("security.protocol", "SSL")];
    let sasl = |mechanism, jaas: Option<&str>| {
        let options = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
        ];
        let jaas = jaas.map(|jaas| ("sasl.jaas.config", jaas));
        let options: Vec<_> = options.into_iter().chain(jaas).collect();
        config(listeners, "SASL", &options)
    };
    let mut token = sasl("OAUTHBEARER", None);
    token.security.sasl.token_provider = Some(Arc::new(Unsigned));
    let mutual = config(listeners, "MUTUAL", &tls);
    let open = alice("SASL_PLAINTEXT", "PLAIN", PASSWORD);
    vec![
        ("tls", config(listeners, "TLS", &tls)),
        ("mutual", with_certificate(mutual, &material().client)),
        ("plain", sasl("PLAIN", Some(&plain))),
        ("scram-256", sasl("SCRAM-SHA-256", Some(&scram))),
        ("scram-512", sasl("SCRAM-SHA-512", Some(&scram))),
        ("oauthbearer", token),
        ("open", config(listeners, "OPEN", &open)),
    ]
}
