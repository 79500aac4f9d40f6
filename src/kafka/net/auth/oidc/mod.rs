//! Tokens from an OpenID provider's token endpoint (KIP-768), or from a file.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `answer` | what an endpoint answers, and what a token says |
//! | `assertion` | what a client says of itself, signed |
//! | `endpoint` | an endpoint is asked |
//! | `file` | a token that stands in a file |

#[cfg(feature = "oauth-oidc")]
pub(super) mod answer;
#[cfg(feature = "oauth-oidc")]
pub(super) mod assertion;
#[cfg(feature = "oauth-oidc")]
mod endpoint;
mod file;

#[cfg(feature = "msk-iam")]
pub(super) use file::read_secret;

use std::sync::Arc;
use std::time::Duration;

use crate::kafka::ClientConfig;
use crate::kafka::config::security::TokenProvider;

/// The provider of tokens that the configuration names, which was checked: it takes no longer than `limit`.
pub(super) fn provider(config: &ClientConfig, limit: Duration) -> Option<Arc<dyn TokenProvider>> {
    let oauth = &config.security.sasl.oauth;
    if let Some(path) = oauth.file() {
        let extensions = oauth.extensions(&config.security.sasl.login);
        return Some(Arc::new(file::TokenFile::new(path, extensions)));
    }
    #[cfg(feature = "oauth-oidc")]
    return Some(Arc::new(endpoint::TokenEndpoint::new(config, limit)));
    #[cfg(not(feature = "oauth-oidc"))]
    {
        let _ = limit;
        None
    }
}
