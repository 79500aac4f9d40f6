//! Certificates and keys in PEM (RFC 7468): a file, or the text itself.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::kafka::config::values::Kind;
use crate::kafka::config::{Secret, read_bounded};
use crate::kafka::model::names::quoted;

/// The longest file that is read, in bytes: far more than any bundle of certificates has.
const LONGEST: u64 = 16 << 20;

/// Certificates or a key, in PEM.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pem {
    /// In this file. It is read again when it changes: new connections use what it holds then, open ones stay.
    File(PathBuf),
    /// This text.
    Text(Secret),
}

impl Pem {
    /// What is in this file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File(path.into())
    }

    /// This text, from `-----BEGIN` on.
    pub fn text(text: impl Into<Secret>) -> Self {
        Self::Text(text.into())
    }

    /// The text. Of a file, also of what is no regular one, such as a pipe, never more than the longest.
    pub(crate) fn read(&self) -> io::Result<Zeroizing<String>> {
        let path = match self {
            Self::Text(text) => return Ok(Zeroizing::new(text.reveal().to_string())),
            Self::File(path) => path,
        };
        let bytes = read_bounded(path, LONGEST)?.ok_or_else(|| {
            let message = format!("it has more than {LONGEST} bytes");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Zeroizing::new(text.to_string()))
    }

    /// The file, if it is one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Text(_) => None,
        }
    }
}

/// Where it is, for errors: never what it is.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", quoted(&path.to_string_lossy())),
            Self::Text(_) => f.write_str("the PEM text"),
        }
    }
}

/// Shows a path, never a text.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(text) => f.debug_tuple("Text").field(text).finish(),
        }
    }
}

pub(crate) const PEM_FILE: Kind<Pem> = Kind {
    allowed: "the path of a PEM file",
    read: |text| Some(Pem::file(text.trim())),
    // A key that was put where its path belongs would be shown as one.
    holds: |pem| {
        let is_path = |path: &Path| {
            !path.as_os_str().is_empty() && !path.to_string_lossy().contains("-----BEGIN")
        };
        pem.path().is_none_or(is_path)
    },
    show: |pem| pem.to_string(),
    is_secret: false,
};

pub(crate) const PEM_TEXT: Kind<Pem> = Kind {
    allowed: "PEM: -----BEGIN CERTIFICATE-----, lines of base64, -----END CERTIFICATE-----",
    // Escaped line ends come from environment variables and properties files.
    read: |text| Some(Pem::text(text.trim().replace("\\n", "\n"))),
    holds: |pem| match pem {
        Pem::Text(text) => text.reveal().contains("-----BEGIN "),
        Pem::File(_) => (PEM_FILE.holds)(pem),
    },
    // The key may stand beside the certificates.
    is_secret: true,
    ..PEM_FILE
};

pub(crate) const PEM_KEY: Kind<Pem> = Kind {
    allowed: "PEM: -----BEGIN PRIVATE KEY-----, lines of base64, -----END PRIVATE KEY-----",
    ..PEM_TEXT
};
