//! A token that stands in a file, which somebody else renews.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::kafka::config::Secret;
use crate::kafka::config::security::{BearerToken, Pem, TokenError, TokenProvider};
use crate::kafka::model::names::quoted;
use crate::kafka::net::BoxFuture;
use crate::kafka::{Error, ErrorKind, Result};

/// How long a token that says of no end is used before the file is read again.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// The file is read whenever a token is asked for.
#[derive(Debug)]
pub(super) struct TokenFile {
    path: PathBuf,
    extensions: Vec<(String, String)>,
}

impl TokenFile {
    pub fn new(path: &str, extensions: Vec<(String, String)>) -> Self {
        Self {
            path: PathBuf::from(path),
            extensions,
        }
    }
}

/// A text of a file that is read off the runtime, without what surrounds it. `what` says what it holds, for errors.
pub(in crate::kafka::net::auth) async fn read_secret(
    path: PathBuf,
    what: &'static str,
) -> Result<Secret> {
    let shown = quoted(&path.to_string_lossy());
    let wrong = move |why: &str| {
        let message = format!("{what}: the file {shown} {why}");
        Error::new(ErrorKind::Config, message)
    };
    // With the same bound as files of certificates.
    let read = tokio::task::spawn_blocking(move || Pem::file(path).read());
    match read.await {
        Ok(Ok(text)) if !text.trim().is_empty() => Ok(Secret::new(text.trim())),
        Ok(Ok(_)) => Err(wrong("is empty")),
        Ok(Err(error)) => Err(wrong("cannot be read").because(error)),
        Err(lost) => Err(wrong("was not read to its end").because(lost)),
    }
}

impl TokenProvider for TokenFile {
    fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
        Box::pin(async {
            let value = read_secret(self.path.clone(), "the token").await?;
            #[cfg(feature = "oauth-oidc")]
            let expires_at = super::answer::expires_at(value.reveal());
            #[cfg(not(feature = "oauth-oidc"))]
            let expires_at = None;
            let expires_at = expires_at.or_else(|| Some(SystemTime::now() + READ_AGAIN));
            let mut token = BearerToken::new(value, expires_at);
            token.extensions = self.extensions.clone();
            Ok(token)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_token_is_the_text_of_the_file() {
        let path = std::env::temp_dir().join(format!("pat-events-token-{}", std::process::id()));
        std::fs::write(&path, " opaque\n").expect("written");
        let extensions = vec![("a".to_string(), "b".to_string())];
        let file = TokenFile::new(path.to_str().expect("Unicode"), extensions.clone());
        let token = file.token().await.expect("a token");
        assert_eq!(token.value.reveal(), "opaque");
        assert_eq!(token.extensions, extensions);
        assert!(token.expires_at.is_some());
        std::fs::write(&path, "\n").expect("written");
        let error = file.token().await.expect_err("empty");
        assert!(error.to_string().contains("is empty"), "{error}");
        std::fs::remove_file(&path).expect("removed");
        let error = file.token().await.expect_err("gone");
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }
}
