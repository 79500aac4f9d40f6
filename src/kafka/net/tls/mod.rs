//! TLS on a byte stream. In: the stream, the host that was dialled. Out: the encrypted stream, or an error that says what to change.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `explain` | what a failed handshake means, and what to do |
//! | `identity` | certificates and keys out of PEM |
//! | `signature` | other texts signed by the same cryptography |
//! | `verifier` | whether a broker's certificate is good |

mod explain;
mod identity;
#[cfg(feature = "oauth-oidc")]
mod signature;
mod verifier;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::{Address, BoxStream};
use crate::kafka::config::security::{Pem, TlsConfig, TlsVersions, TrustedRoots};
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, ErrorKind, Result};
use crate::tls_provider;

use explain::explain;
pub(super) use explain::explain_later;
#[cfg(fuzzing)]
pub(super) use identity::identity;
#[cfg(feature = "oauth-oidc")]
pub(super) use signature::sign;
use verifier::Seen;

/// How often files are looked at, at the most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Encrypts connections. Reads certificates and keys when it is first needed, and again when their files have changed: connections that are
/// open then are not touched.
#[derive(Debug)]
pub(super) struct TlsConnector {
    config: TlsConfig,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Clone, Debug)]
struct Loaded {
    client: Arc<rustls::ClientConfig>,
    files: Vec<FileState>,
    looked: Instant,
}

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState {
    path: PathBuf,
    /// When it was written and how long it is; `None` when it is not there.
    written: Option<(SystemTime, u64)>,
}

impl TlsConnector {
    pub fn new(config: TlsConfig) -> Self {
        Self {
            config,
            loaded: Mutex::default(),
        }
    }

    /// Encrypts a fresh stream to the broker at `address`. The caller sets the deadline.
    pub async fn connect(&self, address: &Address, stream: BoxStream) -> Result<BoxStream> {
        let client = self.client().await?;
        let encrypted = encrypt(client, address, stream, explain).await?;
        Ok(Box::new(encrypted))
    }

    /// As [`connect`](Self::connect), to a server that is no broker.
    #[cfg(feature = "http")]
    pub async fn connect_server(&self, address: &Address, stream: BoxStream) -> Result<BoxStream> {
        let client = self.client().await?;
        let encrypted = encrypt(client, address, stream, explain::explain_server).await?;
        Ok(Box::new(encrypted))
    }

    /// As [`connect`](Self::connect), for nothing but to look: what is read is read for this alone. Returns the version and the cipher as well;
    /// the certificates that the broker showed are in `shown`, in DER, whatever becomes of it.
    pub async fn examine(
        &self,
        address: &Address,
        stream: BoxStream,
        shown: &mut Vec<Vec<u8>>,
    ) -> Result<(BoxStream, String, String)> {
        let seen = Seen::default();
        let (config, noted) = (self.config.clone(), seen.clone());
        let client = blocking(move || load(&config, Some(noted))).await?;
        let encrypted = encrypt(Arc::new(client), address, stream, explain).await;
        *shown = seen.take();
        let stream = encrypted?;
        let session = stream.get_ref().1;
        let version = session.protocol_version().and_then(|it| it.as_str());
        let version = version.unwrap_or("TLS").replace("TLSv1_", "TLSv1.");
        let cipher = session.negotiated_cipher_suite();
        let cipher = cipher.and_then(|it| it.suite().as_str());
        let cipher = cipher.unwrap_or("a cipher without a name").to_string();
        Ok((Box::new(stream), version, cipher))
    }

    /// What to connect with: as the files say now.
    async fn client(&self) -> Result<Arc<rustls::ClientConfig>> {
        let known = self.loaded.lock().clone();
        let now = Instant::now();
        if let Some(known) = &known
            && (known.looked + LOOK_EVERY > now || known.files == self.files())
        {
            if let Some(loaded) = &mut *self.loaded.lock() {
                loaded.looked = loaded.looked.max(now.min(known.looked + LOOK_EVERY));
            }
            return Ok(known.client.clone());
        }
        // Before the reading: what is written meanwhile is read the next time.
        let files = self.files();
        let config = self.config.clone();
        let loaded = if files.is_empty() && matches!(config.roots, TrustedRoots::Pem(_)) {
            // All of it stands in the configuration: there is nothing to wait for.
            load(&config, None)
        } else {
            blocking(move || load(&config, None)).await
        };
        match (loaded, known) {
            (Ok(client), _) => {
                let client = Arc::new(client);
                *self.loaded.lock() = Some(Loaded {
                    client: client.clone(),
                    files,
                    looked: now,
                });
                Ok(client)
            }
            // Perhaps they are being written just now: what was good still is.
            (Err(_), Some(known)) => Ok(known.client),
            (Err(error), None) => Err(error),
        }
    }

    fn files(&self) -> Vec<FileState> {
        let config = &self.config;
        let roots = match &config.roots {
            TrustedRoots::Pem(pem) => Some(pem),
            _ => None,
        };
        let pems = [roots, config.certificates.as_ref(), config.key.as_ref()];
        let paths = pems.into_iter().flatten().filter_map(Pem::path);
        let state = |path: &std::path::Path| FileState {
            path: path.to_path_buf(),
            written: std::fs::metadata(path)
                .and_then(|it| Ok((it.modified()?, it.len())))
                .ok(),
        };
        paths.map(state).collect()
    }
}

/// The encrypted stream to the peer at `address`; `explain` says what a failed handshake means.
async fn encrypt(
    client: Arc<rustls::ClientConfig>,
    address: &Address,
    stream: BoxStream,
    explain: fn(&Address, io::Error) -> Error,
) -> Result<TlsStream<BoxStream>> {
    let name = ServerName::try_from(address.host().to_string()).map_err(|error| {
        let message = "the broker's host is no name that a certificate could be for";
        Error::new(ErrorKind::Authentication, message).because(error)
    })?;
    let connector = tokio_rustls::TlsConnector::from(client);
    let connected = connector.connect(name, stream).await;
    connected.map_err(|error| explain(address, error))
}

async fn blocking<T: Send + 'static>(
    load: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let loading = tokio::task::spawn_blocking(load);
    loading.await.unwrap_or_else(|lost| {
        let message = "reading certificates and keys ended early";
        Err(Error::new(ErrorKind::Internal, message).because(lost))
    })
}

/// Whose cryptography it is.
fn provider() -> Result<Arc<CryptoProvider>> {
    tls_provider::provider().map_err(|message| Error::new(ErrorKind::Config, message))
}

/// Reads everything that the configuration names; the certificates that brokers show are noted in `seen`. Blocks.
fn load(config: &TlsConfig, seen: Option<Seen>) -> Result<rustls::ClientConfig> {
    let provider = provider()?;
    let versions: &[_] = match config.versions {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Tls12 => &[&TLS12],
        TlsVersions::Tls13 => &[&TLS13],
    };
    let wrong =
        |error: rustls::Error| Error::new(ErrorKind::Config, "TLS cannot be set up").because(error);
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(wrong)?
        .dangerous()
        .with_custom_certificate_verifier(verifier::verifier(config, provider, seen)?);
    match identity::identity(config)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| {
            let message = "the client's certificate and key cannot be used: does the key belong to the first certificate?";
            Error::new(ErrorKind::Config, message).because(error)
        }),
        None => Ok(builder.with_no_client_auth()),
    }
}
