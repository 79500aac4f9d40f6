//! TLS 1.2 and 1.3 on connections, and whose certificate a client has.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::broker::security::{Principal, subject};
use crate::tls_provider;

/// How a broker encrypts its connections. PEM in, as text.
#[derive(Clone)]
pub struct BrokerTls {
    certificates: String,
    key: String,
    clients: Clients,
}

/// What clients show of themselves.
#[derive(Clone, Debug)]
enum Clients {
    Nothing,
    /// A certificate that this authority has signed; if they have one, or in any case.
    Certificate {
        authority: String,
        required: bool,
    },
}

impl fmt::Debug for BrokerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerTls")
            .field("certificates", &self.certificates)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl BrokerTls {
    /// With the broker's certificate, those that it was signed with after it, and its key (PKCS#8, PKCS#1 or SEC1). Nothing is asked of
    /// clients.
    pub fn new(certificates: impl Into<String>, key: impl Into<String>) -> Self {
        Self {
            certificates: certificates.into(),
            key: key.into(),
            clients: Clients::Nothing,
        }
    }

    /// Refuses clients that have no certificate signed by this authority (`ssl.client.auth = required`). Unless SASL says more, a client is
    /// who its certificate says, in Kafka's form: `User:CN=alice,O=Example`.
    #[must_use]
    pub fn require_client_certificates(self, authority: impl Into<String>) -> Self {
        self.clients(authority.into(), true)
    }

    /// As [`require_client_certificates`](Self::require_client_certificates), but lets in those without any as `User:ANONYMOUS`
    /// (`ssl.client.auth = requested`).
    #[must_use]
    pub fn request_client_certificates(self, authority: impl Into<String>) -> Self {
        self.clients(authority.into(), false)
    }

    fn clients(self, authority: String, required: bool) -> Self {
        let clients = Clients::Certificate {
            authority,
            required,
        };
        Self { clients, ..self }
    }
}

/// Encrypts fresh connections.
pub(crate) struct Acceptor(TlsAcceptor);

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// Fails when something of it can't be read or used.
    pub(crate) fn new(tls: &BrokerTls) -> io::Result<Self> {
        let provider = tls_provider::provider().map_err(invalid)?;
        let chain = read_certificates(&tls.certificates)?;
        let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes()).map_err(invalid)?;
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.map_err(invalid)?;
        let builder = match &tls.clients {
            Clients::Nothing => builder.with_no_client_auth(),
            Clients::Certificate {
                authority,
                required,
            } => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(authority)? {
                    roots.add(certificate).map_err(invalid)?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                let verifier = match required {
                    true => verifier,
                    false => verifier.allow_unauthenticated(),
                };
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(invalid)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// The encrypted stream, and who the client's certificate says that it is; nothing if it speaks no TLS, or shows none that is good.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Option<(TlsStream<S>, Principal)> {
        let stream = self.0.accept(stream).await.ok()?;
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let principal = match certificate {
            Some(certificate) => Principal::user(&subject(certificate)?),
            None => Principal::anonymous(),
        };
        Some((stream, principal))
    }
}

fn read_certificates(pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all.map_err(invalid)? {
        none if none.is_empty() => Err(invalid("the PEM has no certificate")),
        all => Ok(all),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
