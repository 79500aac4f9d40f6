//! Whether a broker's certificate is good.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::identity::read_certificates;
use crate::kafka::config::security::{CertificateCheck, HostNameCheck, TlsConfig, TrustedRoots};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result};

/// What decides about brokers' certificates. Those that are shown are noted in `seen`, if somebody wants to see them.
pub(super) fn verifier(
    config: &TlsConfig,
    provider: Arc<CryptoProvider>,
    seen: Option<Seen>,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let algorithms = provider.signature_verification_algorithms;
    let chain = match config.certificate {
        CertificateCheck::DangerouslyOff => None,
        CertificateCheck::On => {
            let roots = Arc::new(roots(&config.roots)?);
            let built = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            Some(built.map_err(|error| {
                Error::new(ErrorKind::Config, "nobody can be trusted").because(error)
            })?)
        }
    };
    Ok(Arc::new(Verifier {
        chain,
        checks_host: config.host_name == HostNameCheck::On,
        algorithms,
        seen,
    }))
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
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock())
    }
}

#[derive(Debug)]
struct Verifier {
    /// Looks at signers, times and names; without it anybody is taken for the broker who can sign with the key of the certificate that he
    /// shows.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Whether a certificate must be for the host that was dialled.
    checks_host: bool,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Option<Seen>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(seen) = &self.seen {
            let all = std::iter::once(certificate).chain(intermediates);
            *seen.0.lock() = all.map(|it| it.to_vec()).collect();
        }
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is what is looked at last.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_host => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
