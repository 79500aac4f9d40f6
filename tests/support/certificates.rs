//! Certificates made for a test, by an authority of its own. In: whom a certificate is for. Out: PEM.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::{EncodePrivateKey, LineEnding};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod,
    PublicKeyData, SignatureAlgorithm,
};

/// Who signs the certificates of a test.
pub struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, Key>,
}

/// A certificate and its key.
pub struct Identity {
    pub certificate_pem: String,
    pub key_pem: String,
}

struct Key {
    secret: SigningKey,
    public: Vec<u8>,
}

impl Key {
    fn random() -> Self {
        loop {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).expect("random numbers");
            // One in 2^32 is not on the curve's order.
            if let Ok(secret) = SigningKey::from_slice(&bytes) {
                let public = secret.verifying_key().to_sec1_point(false);
                let public = public.as_bytes().to_vec();
                return Self { secret, public };
            }
        }
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature: DerSignature = self.secret.sign(message);
        Ok(signature.as_bytes().to_vec())
    }
}

/// With a serial number and a key's identifier, which no two have in common.
fn numbered(mut params: CertificateParams) -> CertificateParams {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("random numbers");
    params.serial_number =
        Some((u64::from_be_bytes(*bytes.first_chunk().expect("16 bytes")) >> 1).into());
    params.key_identifier_method = KeyIdMethod::PreSpecified(bytes.to_vec());
    params
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = numbered(CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = Key::random();
        let certificate = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        Self {
            certificate,
            issuer,
        }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A certificate for these hosts, addresses or names; the first is its common name too.
    pub fn issue(&self, hosts: &[&str]) -> Identity {
        self.issue_as(hosts, |_| ())
    }

    /// As [`issue`](Self::issue), with what `change` makes of it.
    pub fn issue_as(
        &self,
        hosts: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
        let common_name = hosts.first().cloned().unwrap_or_default();
        let mut params = numbered(CertificateParams::new(hosts).expect("names and addresses"));
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        change(&mut params);
        let key = Key::random();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let pem = key.secret.to_pkcs8_pem(LineEnding::LF).expect("a key");
        Identity {
            certificate_pem: certificate.pem(),
            key_pem: pem.to_string(),
        }
    }
}
