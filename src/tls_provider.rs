//! Whose cryptography TLS uses, in the client and in the embedded broker: that of the feature that the program was built with.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

#[cfg(feature = "tls-aws-lc-rs")]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    Ok(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(all(
    feature = "tls",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(any(feature = "tls-aws-lc-rs", feature = "tls-ring"))
))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    // Graviola panics on a processor that lacks one of these.
    #[cfg(target_arch = "x86_64")]
    let lacks = [
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("ssse3", is_x86_feature_detected!("ssse3")),
        ("bmi1", is_x86_feature_detected!("bmi1")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ];
    #[cfg(target_arch = "aarch64")]
    let lacks = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("aes", std::arch::is_aarch64_feature_detected!("aes")),
        ("pmull", std::arch::is_aarch64_feature_detected!("pmull")),
        ("sha2", std::arch::is_aarch64_feature_detected!("sha2")),
    ];
    match lacks.iter().find(|(_, is_there)| !is_there) {
        None => Ok(Arc::new(rustls_graviola::default_provider())),
        Some((name, _)) => Err(format!(
            "this processor lacks {name}, which TLS by the feature tls needs: build the program with tls-ring or tls-aws-lc-rs"
        )),
    }
}

#[cfg(not(any(
    feature = "tls-aws-lc-rs",
    feature = "tls-ring",
    all(feature = "tls", any(target_arch = "x86_64", target_arch = "aarch64"))
)))]
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, String> {
    Err("TLS has no cryptography in this program: build it with the feature tls-ring or tls-aws-lc-rs, or, for x86_64 and aarch64, with tls".to_owned())
}
