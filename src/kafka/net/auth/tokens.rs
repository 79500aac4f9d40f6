//! Tokens, asked for once for many connections, and again before they expire.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::kafka::config::security::{BearerToken, TokenProvider, TokenRefresh};
use crate::kafka::{Clock, Error, ErrorKind, Random, Result};

/// A token that is good for less than this is not used for a new connection.
const SPARE_MS: i64 = 10_000;
/// How long a connection waits for the next token while the last one is still good.
const PATIENCE: Duration = Duration::from_secs(3);
/// When the next token is asked for again, where the last one is still good: Java's pause.
const AGAIN_MS: i64 = 10_000;

/// The provider, and the token that it last returned.
#[derive(Debug)]
pub(super) struct Tokens {
    provider: Arc<dyn TokenProvider>,
    refresh: TokenRefresh,
    clock: Clock,
    /// How long the provider may take: a little less than the connection that waits.
    limit: Duration,
    /// Held while a new one is asked for: the other connections wait for what comes of it. Nothing else is done under this lock.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    last: Option<Fresh>,
}

/// A token, and milliseconds since 1970.
#[derive(Debug)]
struct Fresh {
    token: BearerToken,
    /// From when on another one is asked for.
    refresh_at: i64,
    /// Until when it is used for new connections.
    until: i64,
}

impl Tokens {
    pub fn new(
        provider: Arc<dyn TokenProvider>,
        refresh: TokenRefresh,
        clock: Clock,
        limit: Duration,
        random: Random,
    ) -> Self {
        Self {
            provider,
            refresh,
            clock,
            limit,
            state: Mutex::new(State { random, last: None }),
        }
    }

    /// A token that is good for now. Cancel safe: whoever waits next asks.
    pub async fn token(&self) -> Result<BearerToken> {
        let mut state = self.state.lock().await;
        let State { random, last } = &mut *state;
        let now = self.clock.now_ms();
        match last {
            Some(fresh) if now < fresh.refresh_at => return Ok(fresh.token.clone()),
            Some(fresh) if now < fresh.until => {
                if let Ok(next) = self.ask(PATIENCE.min(self.limit), random).await {
                    return Ok(replace(last, next));
                }
                fresh.refresh_at = now + AGAIN_MS;
                return Ok(fresh.token.clone());
            }
            _ => {}
        }
        *last = None;
        let next = self.ask(self.limit, random).await?;
        Ok(replace(last, next))
    }

    async fn ask(&self, limit: Duration, random: &mut Random) -> Result<Fresh> {
        let asked = timeout(limit, self.provider.token()).await;
        let asked = asked.map_err(|_| {
            let message = format!(
                "the token provider had no token within {} ms",
                limit.as_millis()
            );
            Error::new(ErrorKind::Connect, message)
        })?;
        let token = asked.map_err(|error| match error.downcast::<Error>() {
            // Ours say by their kind whether another try may do better.
            Ok(error) => error.prefixed("no token"),
            Err(error) => {
                let kind = match is_network(&*error) {
                    true => ErrorKind::Connect,
                    false => ErrorKind::Authentication,
                };
                Error::new(kind, "the token provider has no token").because(error)
            }
        })?;
        let now = self.clock.now_ms();
        let life = match token.expires_at {
            Some(expires_at) => {
                let expires_at = expires_at.duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(expires_at.as_millis()).unwrap_or(i64::MAX) - now
            }
            // For this connection.
            None => 1,
        };
        if life <= 0 {
            let message = "the token provider returned a token that has expired: is the clock of this machine right?";
            return Err(Error::new(ErrorKind::Authentication, message));
        }
        let unused = SPARE_MS.min(life / 5).max(1);
        Ok(Fresh {
            token,
            refresh_at: now + refresh_after(life, &self.refresh, random.fraction()),
            until: now + life - unused,
        })
    }
}

/// Whether it came from the network: then another try may do better.
fn is_network(error: &(dyn StdError + 'static)) -> bool {
    error.is::<io::Error>() || error.source().is_some_and(is_network)
}

fn replace(last: &mut Option<Fresh>, next: Fresh) -> BearerToken {
    last.insert(next).token.clone()
}

/// How long after its beginning a token that lives for `life` is asked for anew, in milliseconds: Java's rule, where `fraction` is at random.
fn refresh_after(life: i64, rules: &TokenRefresh, fraction: f64) -> i64 {
    let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let (least, buffer) = (millis(rules.min_period), millis(rules.buffer));
    let window = (life as f64 * (rules.window_factor + rules.window_jitter * fraction)) as i64;
    match least.saturating_add(buffer) > life {
        true => window.min(life),
        false => window.min(life - buffer).max(least),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::kafka::config::security::TokenError;
    use crate::kafka::net::BoxFuture;

    /// Takes a second for each token, numbers them, and lets them live for so long; fails while it is told to.
    #[derive(Debug)]
    struct Numbered {
        clock: Clock,
        life: Duration,
        asked: AtomicUsize,
        fails: AtomicUsize,
    }

    impl TokenProvider for Numbered {
        fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let number = self.asked.fetch_add(1, Ordering::Relaxed);
                if self.fails.load(Ordering::Relaxed) > 0 {
                    return Err("out of order".into());
                }
                let now = Duration::from_millis(self.clock.now_ms() as u64);
                Ok(BearerToken::new(
                    number.to_string(),
                    Some(UNIX_EPOCH + now + self.life),
                ))
            })
        }
    }

    fn tokens(life: Duration) -> (Arc<Numbered>, Arc<Tokens>) {
        let clock = Clock::simulated(1_700_000_000_000);
        let provider = Arc::new(Numbered {
            clock,
            life,
            asked: AtomicUsize::new(0),
            fails: AtomicUsize::new(0),
        });
        let limit = Duration::from_secs(8);
        let tokens = Tokens::new(
            provider.clone(),
            TokenRefresh::default(),
            clock,
            limit,
            Random::seeded(1),
        );
        (provider, Arc::new(tokens))
    }

    async fn value(tokens: &Tokens) -> String {
        tokens
            .token()
            .await
            .expect("a token")
            .value
            .reveal()
            .to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_connections_ask_once_and_again_ahead_of_expiry() {
        let (provider, tokens) = tokens(Duration::from_secs(3_600));
        for (wait, expected, asked) in [(0, "0", 1), (2_800, "0", 1), (300, "1", 2), (60, "1", 2)] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            let connections: Vec<_> = (0..100)
                .map(|_| {
                    let tokens = tokens.clone();
                    tokio::spawn(async move { value(&tokens).await })
                })
                .collect();
            for connection in connections {
                assert_eq!(connection.await.expect("no panic"), expected);
            }
            assert_eq!(provider.asked.load(Ordering::Relaxed), asked);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_last_token_is_good_a_provider_that_fails_holds_up_nobody() {
        let (provider, tokens) = tokens(Duration::from_secs(3_600));
        assert_eq!(value(&tokens).await, "0");
        provider.fails.store(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3_300)).await;
        for _ in 0..100 {
            assert_eq!(value(&tokens).await, "0");
        }
        assert_eq!(
            provider.asked.load(Ordering::Relaxed),
            2,
            "not for each of them"
        );
        // It is not used to its end.
        tokio::time::sleep(Duration::from_secs(295)).await;
        let error = tokens.token().await.expect_err("none that is good");
        assert_eq!(error.kind(), ErrorKind::Authentication);
        assert!(error.to_string().contains("out of order"), "{error}");
        provider.fails.store(0, Ordering::Relaxed);
        assert_eq!(value(&tokens).await, "3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_without_an_end_is_for_one_connection_and_one_that_has_ended_for_none() {
        let (_, ended) = tokens(Duration::ZERO);
        let error = ended.token().await.expect_err("over");
        assert!(error.to_string().contains("clock"), "{error}");

        #[derive(Debug)]
        struct Endless(AtomicUsize);
        impl TokenProvider for Endless {
            fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
                let number = self.0.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move { Ok(BearerToken::new(number.to_string(), None)) })
            }
        }
        let provider = Arc::new(Endless(AtomicUsize::new(0)));
        let second = Duration::from_secs(1);
        let endless = Tokens::new(
            provider,
            TokenRefresh::default(),
            Clock::simulated(0),
            second,
            Random::seeded(1),
        );
        assert_eq!(value(&endless).await, "0");
        assert_eq!(value(&endless).await, "1");
    }

    #[test]
    fn what_came_from_the_network_is_told_from_what_did_not() {
        let lost = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(is_network(&lost));
        let refused = TokenError::from("out of order");
        assert!(!is_network(&*refused));
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_never_answers_is_given_up() {
        #[derive(Debug)]
        struct Silent;
        impl TokenProvider for Silent {
            fn token(&self) -> BoxFuture<'_, Result<BearerToken, TokenError>> {
                Box::pin(std::future::pending())
            }
        }
        let limit = Duration::from_secs(8);
        let tokens = Tokens::new(
            Arc::new(Silent),
            TokenRefresh::default(),
            Clock::simulated(0),
            limit,
            Random::seeded(1),
        );
        let error = tokens.token().await.expect_err("silence");
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("within 8000 ms"), "{error}");
    }

    #[test]
    fn tokens_are_refreshed_when_java_would() {
        let rules = TokenRefresh::default();
        for (seconds, fraction, after) in [
            (3_600, 0.0, 2_880), // at 80 %
            (3_600, 1.0, 3_060), // at 85 %
            (900, 0.0, 600),     // 300 s before the end
            (400, 0.0, 100),
            (360, 0.0, 60),  // at the least period
            (300, 0.0, 240), // too short for both
            (1, 0.0, 0),
        ] {
            let after_ms = refresh_after(seconds * 1_000, &rules, fraction);
            assert_eq!(after_ms / 1_000, after, "{seconds}");
        }
    }
}
