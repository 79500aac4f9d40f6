//! Whether a broker's certificate is good.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::identity::read_certificates;
use crate::kafka::config::security::{CertificateCheck, HostNameCheck, TlsConfig, TrustedRoots};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result};

/// What decides about brokers' certificates.
pub(super) fn verifier(
    config: &TlsConfig,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    if config.certificate == CertificateCheck::DangerouslyOff {
        return Ok(Arc::new(Anybody(provider)));
    }
    let roots = Arc::new(roots(&config.roots)?);
    let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    let chain = built
        .map_err(|error| Error::new(ErrorKind::Config, "nobody can be trusted").because(error))?;
    match config.host_name {
        HostNameCheck::On => Ok(chain),
        HostNameCheck::Off => Ok(Arc::new(AnyHost(chain))),
    }
}

fn roots(trusted: &TrustedRoots) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match trusted {
        TrustedRoots::Platform => {
            let found = rustls_native_certs::load_native_certs();
            // Among hundreds there are some that no longer can be read: the others count.
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                let why = found.errors.first().map(ToString::to_string);
                let message = format!(
                    "the operating system trusts nobody ({}): name who may sign brokers' certificates in ssl.truststore.location (librdkafka: \
                     ssl.ca.location), or install ca-certificates",
                    why.as_deref().unwrap_or("it has no certificates")
                );
                return Err(Error::new(ErrorKind::Config, message));
            }
        }
        #[cfg(feature = "tls-bundled-roots")]
        TrustedRoots::Bundled => store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        TrustedRoots::Pem(pem) => {
            let whose = "whom to trust";
            for certificate in read_certificates(pem, whose)? {
                store.add(certificate).map_err(|error| {
                    let message =
                        format!("{whose}: {pem} has a certificate that nobody can be trusted by");
                    Error::new(ErrorKind::Config, message).because(error)
                })?;
            }
        }
    }
    Ok(store)
}

/// The certificates that a broker showed, in DER.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Arc<Mutex<Vec<Vec<u8>>>>);

impl Seen {
    /// `inner`, watched.
    pub fn watch(self, inner: Arc<dyn ServerCertVerifier>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Watched { inner, seen: self })
    }

    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Notes what the broker shows before it is judged.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn ServerCertVerifier>,
    seen: Seen,
}

impl ServerCertVerifier for Watched {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let all = std::iter::once(certificate).chain(intermediates);
        *self.seen.0.lock() = all.map(|it| it.to_vec()).collect();
        self.inner
            .verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes a certificate of a trusted signer for that of any host.
#[derive(Debug)]
struct AnyHost(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyHost {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The name is what is looked at last.
        let verified = self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now);
        match verified {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes anybody for the broker who can sign with the key of the certificate that he shows.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
