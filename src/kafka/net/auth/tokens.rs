//! Tokens, asked for once for many connections, and again before they expire.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Mutex;

use crate::kafka::config::security::{BearerToken, TokenProvider};
use crate::kafka::{Error, ErrorKind, Result};

/// A token that is good for less than this is not used for a new connection.
const SPARE: Duration = Duration::from_secs(10);
/// What part of a token's life is left unused, so that it outlives the connections that begin with it by some.
const LAST_PART: u32 = 5;

/// The provider, and the token that it last returned.
#[derive(Debug)]
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    /// Held while a new one is asked for: the other connections wait for what comes of it. Nothing else is done under this lock.
    last: Mutex<Option<Fresh>>,
}

#[derive(Debug)]
struct Fresh {
    token: BearerToken,
    /// Until when it is used for new connections.
    until: SystemTime,
}

impl Tokens {
    pub fn new(provider: Arc<dyn TokenProvider>) -> Self {
        Self {
            provider,
            last: Mutex::default(),
        }
    }

    /// A token that is good for now. Cancel safe: whoever waits next asks.
    pub async fn token(&self) -> Result<BearerToken> {
        let mut last = self.last.lock().await;
        let now = SystemTime::now();
        if let Some(fresh) = &*last
            && now < fresh.until
        {
            return Ok(fresh.token.clone());
        }
        let token = self.provider.token().await.map_err(|error| {
            let message = "the token provider has no token";
            Error::new(ErrorKind::Authentication, message).because(error)
        })?;
        *last = match token.expires_at {
            Some(expires_at) => {
                let life = expires_at.duration_since(now).map_err(|_| {
                    let message = "the token provider returned a token that has expired: is the clock of this machine right?";
                    Error::new(ErrorKind::Authentication, message)
                })?;
                let until = now + life.saturating_sub(SPARE.max(life / LAST_PART));
                Some(Fresh {
                    token: token.clone(),
                    until,
                })
            }
            None => None,
        };
        Ok(token)
    }
}
