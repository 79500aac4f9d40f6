//! Stands for TLS in a program that was built without: the configuration refuses it before anything is dialled.

use super::{Address, BoxStream};
#[cfg(feature = "oauth-oidc")]
use crate::kafka::config::Secret;
#[cfg(feature = "oauth-oidc")]
use crate::kafka::config::security::Pem;
use crate::kafka::config::security::TlsConfig;
use crate::kafka::{Error, ErrorKind, Result};

#[derive(Debug)]
pub(super) struct TlsConnector;

impl TlsConnector {
    pub fn new(_: TlsConfig) -> Self {
        Self
    }

    pub async fn examine(
        &self,
        address: &Address,
        stream: BoxStream,
        _: &mut Vec<Vec<u8>>,
    ) -> Result<(BoxStream, String, String)> {
        let stream = self.connect(address, stream).await?;
        Ok((stream, String::new(), String::new()))
    }

    pub async fn connect(&self, _: &Address, _: BoxStream) -> Result<BoxStream> {
        let message = "this program was built without TLS";
        Err(Error::new(ErrorKind::Config, message))
    }

    #[cfg(feature = "http")]
    pub async fn connect_server(&self, address: &Address, stream: BoxStream) -> Result<BoxStream> {
        self.connect(address, stream).await
    }
}

/// Nothing means anything of TLS here.
pub(super) fn explain_later(_: &Address, _: &std::io::Error) -> Option<Error> {
    None
}

/// Texts are signed by TLS's cryptography.
#[cfg(feature = "oauth-oidc")]
pub(super) fn sign(_: &Pem, _: Option<&Secret>, _: bool, _: &[u8]) -> Result<Vec<u8>> {
    Err(Error::new(
        ErrorKind::Config,
        "this program was built without TLS, by whose cryptography assertions are signed",
    ))
}
