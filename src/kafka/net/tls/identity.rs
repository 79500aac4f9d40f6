//! Certificates and keys out of PEM.

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::kafka::config::Secret;
use crate::kafka::config::security::{Pem, TlsConfig};
use crate::kafka::{Error, ErrorKind, Result};

/// A certificate, and those that it was signed with after it.
type Chain = Vec<CertificateDer<'static>>;

const BEGIN_ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const END_ENCRYPTED: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// The client's certificates and key, if it has any.
pub(in crate::kafka::net) fn identity(
    config: &TlsConfig,
) -> Result<Option<(Chain, PrivateKeyDer<'static>)>> {
    let Some(certificates) = &config.certificates else {
        return Ok(None);
    };
    let chain = read_certificates(certificates, "the client's certificate")?;
    let key = config.key.as_ref().unwrap_or(certificates);
    let password = config.key_password.as_ref();
    let key = read_key(key, password, "the client's key", "ssl.key.password")?;
    Ok(Some((chain, key)))
}

/// The certificates in `pem`, at least one.
pub(super) fn read_certificates(pem: &Pem, whose: &str) -> Result<Chain> {
    let text = read(pem, whose)?;
    let all: Result<Chain, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::new(
            ErrorKind::Config,
            format!("{whose}: {pem} has no -----BEGIN CERTIFICATE-----"),
        )),
        Err(error) => Err(Error::new(
            ErrorKind::Config,
            format!("{whose}: {pem} cannot be read as PEM"),
        )
        .because(error)),
    }
}

/// The key in `pem`. `whose` it is and the `option` that its password is set by are for errors.
pub(super) fn read_key(
    pem: &Pem,
    password: Option<&Secret>,
    whose: &str,
    option: &str,
) -> Result<PrivateKeyDer<'static>> {
    let text = read(pem, whose)?;
    let wrong = |message: String| Error::new(ErrorKind::Config, format!("{whose}: {message}"));
    if let Some((_, rest)) = text.split_once(BEGIN_ENCRYPTED) {
        let Some((body, _)) = rest.split_once(END_ENCRYPTED) else {
            return Err(wrong(format!("{pem} has no {END_ENCRYPTED}")));
        };
        let Some(password) = password else {
            return Err(wrong(format!("{pem} is encrypted: set {option}")));
        };
        let section = Zeroizing::new(format!("{BEGIN_ENCRYPTED}{body}{END_ENCRYPTED}\n"));
        return decrypt(&section, password)
            .map(|key| PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into())
            .map_err(|error| {
                wrong(format!(
                    "{pem} cannot be decrypted: {error}; is {option} right?"
                ))
            });
    }
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(wrong(format!(
            "{pem} is encrypted in the way of old: convert it with openssl pkcs8 -topk8 -in OLD -out NEW"
        )));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        wrong(format!(
            "{pem} has no key that can be read: allowed are -----BEGIN PRIVATE KEY-----, ENCRYPTED PRIVATE KEY, RSA PRIVATE KEY and EC PRIVATE KEY"
        ))
        .because(error)
    })
}

fn decrypt(section: &str, password: &Secret) -> Result<SecretDocument, pkcs8::Error> {
    let (_, document) = SecretDocument::from_pem(section)?;
    EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())?.decrypt(password.reveal())
}

fn read(pem: &Pem, whose: &str) -> Result<Zeroizing<String>> {
    pem.read().map_err(|error| {
        Error::new(ErrorKind::Config, format!("{whose}: {pem} cannot be read")).because(error)
    })
}
