//! Whom to trust, and which certificate to show.

use std::fmt::Debug;
use std::str::FromStr;

use super::Pem;
use crate::kafka::config::Secret;
use crate::kafka::config::values::{Kind, list};
use crate::kafka::{Error, ErrorKind, Result};

/// Whom to trust, and which certificate to show.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TlsConfig {
    /// `ssl.truststore.location`, `ssl.truststore.certificates` (librdkafka: `ssl.ca.location`, `ssl.ca.pem`): who may have signed a
    /// broker's certificate. Default: whom the operating system trusts.
    pub roots: TrustedRoots,
    /// `ssl.keystore.location`, `ssl.keystore.certificate.chain` (librdkafka: `ssl.certificate.location`, `ssl.certificate.pem`): the
    /// client's certificate, those that it was signed with after it. Default none: the client shows no certificate.
    pub certificates: Option<Pem>,
    /// `ssl.keystore.key` (librdkafka: `ssl.key.location`, `ssl.key.pem`): the key of the client's certificate: PKCS#8, PKCS#1 or SEC1;
    /// PKCS#8 may be encrypted. Default: it stands beside the certificates.
    pub key: Option<Pem>,
    /// `ssl.key.password`: what the key is encrypted with. Default none.
    pub key_password: Option<Secret>,
    /// `ssl.endpoint.identification.algorithm`: whether a broker's certificate must be for the host that was dialled. Default yes.
    pub host_name: HostNameCheck,
    /// `enable.ssl.certificate.verification` (librdkafka's name): whether a broker's certificate is checked at all. Default yes.
    pub certificate: CertificateCheck,
    /// `ssl.enabled.protocols`: the versions of TLS that are offered. Default 1.3 and 1.2.
    pub versions: TlsVersions,
    /// `ssl.truststore.type`, `ssl.keystore.type`: PEM is what there is.
    pub store_type: StoreType,
}

/// Who may have signed a broker's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustedRoots {
    /// Whom the operating system trusts (or `SSL_CERT_FILE` and `SSL_CERT_DIR` name).
    #[default]
    Platform,
    /// Mozilla's list, as it was when the program was built.
    #[cfg(feature = "tls-bundled-roots")]
    Bundled,
    /// These, and nobody else.
    Pem(Pem),
}

impl From<Pem> for TrustedRoots {
    fn from(pem: Pem) -> Self {
        Self::Pem(pem)
    }
}

/// For the mechanism of properties: what was configured, to be checked again.
impl<'a> From<&'a TrustedRoots> for Option<&'a Pem> {
    fn from(roots: &'a TrustedRoots) -> Self {
        match roots {
            TrustedRoots::Pem(pem) => Some(pem),
            _ => None,
        }
    }
}

/// Whether a broker's certificate must be for the host that was dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostNameCheck {
    /// `https`: it must (RFC 9525). The host is the one that the broker advertises, whatever the transport makes of it.
    #[default]
    On,
    /// Empty, or `none`: anybody who has a certificate of a trusted signer is taken for the broker.
    Off,
}

/// Whether a broker's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateCheck {
    /// It must be signed by somebody trusted, and be valid today.
    #[default]
    On,
    /// Anybody at all is taken for the broker, and may read and change everything. For tests.
    DangerouslyOff,
}

/// The versions of TLS that are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsVersions {
    /// TLS 1.3 and 1.2.
    #[default]
    Both,
    /// TLS 1.2 alone (RFC 5246).
    Tls12,
    /// TLS 1.3 alone (RFC 8446).
    Tls13,
}

/// How certificates and keys are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreType {
    /// PEM.
    #[default]
    Pem,
}

impl FromStr for StoreType {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.eq_ignore_ascii_case("PEM") {
            true => Ok(Self::Pem),
            false => Err(()),
        }
    }
}

pub(crate) const STORE_TYPE: Kind<StoreType> = Kind::any(
    "PEM. A JKS or PKCS12 store is converted with keytool -importkeystore -srckeystore STORE -destkeystore store.p12 -deststoretype \
     PKCS12, then openssl pkcs12 -in store.p12 -out store.pem",
);

pub(crate) const HOST_NAME: Kind<HostNameCheck> = Kind {
    read: |text| match text.trim() {
        "" | "none" => Some(HostNameCheck::Off),
        algorithm if algorithm.eq_ignore_ascii_case("https") => Some(HostNameCheck::On),
        _ => None,
    },
    ..shown(
        "https; or nothing, which takes any host for the broker that has a certificate of a trusted signer",
    )
};

pub(crate) const CERTIFICATE: Kind<CertificateCheck> = Kind {
    read: |text| match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(CertificateCheck::On),
        "false" => Some(CertificateCheck::DangerouslyOff),
        _ => None,
    },
    ..shown("true; or false, which takes anybody for the broker")
};

pub(crate) const TLS_VERSIONS: Kind<TlsVersions> = Kind {
    read: |text| {
        let (mut tls12, mut tls13) = (false, false);
        for version in list(text) {
            match version.as_str() {
                "TLSv1.2" => tls12 = true,
                "TLSv1.3" => tls13 = true,
                _ => return None,
            }
        }
        match (tls12, tls13) {
            (true, true) => Some(TlsVersions::Both),
            (true, false) => Some(TlsVersions::Tls12),
            (false, true) => Some(TlsVersions::Tls13),
            (false, false) => None,
        }
    },
    ..shown("TLSv1.2, TLSv1.3, or both with a comma between; older ones are broken")
};

const fn shown<T: Debug>(allowed: &'static str) -> Kind<T> {
    Kind {
        allowed,
        read: |_| None,
        holds: |_| true,
        show: |value| format!("{value:?}"),
        is_secret: false,
    }
}

impl TlsConfig {
    /// Checks what no single value can show. Reads no file.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |message| Err(Error::new(ErrorKind::Config, message));
        if cfg!(not(feature = "tls-rustls")) {
            return wrong(
                "security.protocol wants TLS, and this program was built without: build it with the feature tls, tls-ring or tls-aws-lc-rs",
            );
        }
        if self.key.is_some() && self.certificates.is_none() {
            return wrong(
                "there is a key and no certificate to it: set ssl.keystore.certificate.chain (librdkafka: ssl.certificate.location) as well",
            );
        }
        Ok(())
    }
}
