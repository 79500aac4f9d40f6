//! A registry that wants to see a certificate. In: one of the client's, or none. Out: an event with a schema's id, or an error that says where.

use std::sync::Arc;

use libtest_mimic::Trial;
use pat_events::events::codec::{Codec, Confluent, Payload, Prepared, Protobuf, RegistryConfig};
use pat_events::events::email::EmailDeleted;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::stand_in::StandIn;
use crate::troubles::{config, deleted};

// Made by `tests/support/tls/renew`.
const AUTHORITY: &str = include_str!("../support/tls/authority.pem");
const CERTIFICATE: &str = include_str!("../support/tls/broker.pem");
const KEY: &str = include_str!("../support/tls/broker.key");
const CLIENT_CERTIFICATE: &str = include_str!("../support/tls/client.pem");
const CLIENT_KEY: &str = include_str!("../support/tls/client.key");

pub fn trials() -> Vec<Trial> {
    trials![
        who_shows_its_certificate_is_served,
        who_shows_none_or_trusts_nobody_is_told_and_nothing_is_asked,
    ]
}

/// Serves whoever shows a certificate of the authority.
async fn registry() -> StandIn {
    let provider = Arc::new(rustls_graviola::default_provider());
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(AUTHORITY.as_bytes()).expect("PEM");
    roots.add(authority).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).expect("PEM");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain, key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let accept = move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    };
    StandIn::start_over("https", accept).await
}

fn with(registry: &StandIn, pairs: &[(&str, &str)]) -> RegistryConfig {
    let mut config = config(&registry.url());
    // The certificate is of another host: who shows what to whom is the matter here.
    let by_name = "schema.registry.ssl.endpoint.identification.algorithm";
    config.set(by_name, "").expect("allowed");
    for (name, value) in pairs {
        let set = config.set(name, value);
        set.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    config
}

const TRUSTED: (&str, &str) = ("schema.registry.ssl.truststore.certificates", AUTHORITY);

async fn who_shows_its_certificate_is_served() {
    let registry = registry().await;
    let pairs = [
        TRUSTED,
        (
            "schema.registry.ssl.keystore.certificate.chain",
            CLIENT_CERTIFICATE,
        ),
        ("schema.registry.ssl.keystore.key", CLIENT_KEY),
    ];
    let codec = Confluent::new(Protobuf, with(&registry, &pairs)).expect("complete");
    let prepared = codec.prepare("emails", &deleted()).await.expect("an id");
    let mut data = vec![0; prepared.encoded_len()];
    codec.write(&deleted(), &prepared, &mut data);
    let reader = Confluent::new(Protobuf, with(&registry, &pairs)).expect("complete");
    let read = Codec::<EmailDeleted>::decode(&reader, &Payload::new(&data)).await;
    assert_eq!(read, Ok(deleted()));
    assert!(!registry.requests().is_empty());
}

async fn who_shows_none_or_trusts_nobody_is_told_and_nothing_is_asked() {
    let registry = registry().await;
    for pairs in [&[TRUSTED][..], &[]] {
        let mut config = with(&registry, pairs);
        config.max_retries = 0;
        let codec = Confluent::new(Protobuf, config).expect("complete");
        let error = codec.prepare("emails", &deleted()).await;
        let error = error.expect_err("not let in").to_string();
        assert!(error.contains("127.0.0.1"), "{error}");
        assert!(!error.contains("PRIVATE KEY"), "{error}");
    }
    assert_eq!(registry.requests().len(), 0);
}
