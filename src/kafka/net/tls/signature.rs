//! Texts other than TLS's, signed by the same cryptography.

use rustls::SignatureScheme;

use super::identity::read_key;
use super::provider;
use crate::kafka::config::Secret;
use crate::kafka::config::security::Pem;
use crate::kafka::{Error, ErrorKind, Result};

/// The signature of `text` with SHA-256: by ECDSA on P-256, as DER, or by RSA (PKCS#1 1.5). Blocks.
pub(in crate::kafka::net) fn sign(
    pem: &Pem,
    password: Option<&Secret>,
    by_elliptic_curve: bool,
    text: &[u8],
) -> Result<Vec<u8>> {
    let wrong = |why: &str| {
        let message = format!("the assertion's key: {pem} {why}");
        Error::new(ErrorKind::Config, message)
    };
    let option = "sasl.oauthbearer.assertion.private.key.passphrase";
    let key = read_key(pem, password, "the assertion's key", option)?;
    let key = provider()?.key_provider.load_private_key(key);
    let key = key.map_err(|error| wrong("cannot be used").because(error))?;
    let scheme = match by_elliptic_curve {
        true => SignatureScheme::ECDSA_NISTP256_SHA256,
        false => SignatureScheme::RSA_PKCS1_SHA256,
    };
    let signer = key.choose_scheme(&[scheme]).ok_or_else(|| {
        wrong("is of another kind than sasl.oauthbearer.assertion.algorithm wants: RS256 is for RSA keys, ES256 for keys on P-256")
    })?;
    let signed = signer.sign(text);
    signed.map_err(|error| wrong("does not sign").because(error))
}
