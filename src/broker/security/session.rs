//! How far a connection has come with saying who it is (KIP-43, KIP-152), and for how long that is believed (KIP-368).
//!
//! In: the requests of a connection, and `now`. Out: whether each is served, and what the answers to those of SASL are. What Kafka's
//! `SaslServerAuthenticator` allows in each of its states is allowed here.

use std::sync::Mutex;
use std::time::Duration;

use protocol::{ApiKey, ErrorCode};
use tokio::time::Instant;

use super::sasl::{Exchange, Login, Step};
use super::{Mechanism, Principal, Security};
use crate::broker::random::Random;

/// How often a connection may say anew who it is, at the most.
const REAUTHENTICATION_INTERVAL: Duration = Duration::from_secs(1);

/// One connection's.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    principal: Principal,
    /// By which mechanism the client has said who it is; none where it does not have to.
    mechanism: Option<Mechanism>,
    expires: Option<Instant>,
    reauthenticated: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Nothing is served but ApiVersions, once, and SaslHandshake.
    Handshake {
        versions_told: bool,
    },
    /// The mechanism's messages come, in requests or as they are.
    Exchange {
        exchange: Exchange,
        wrapped: bool,
    },
    Authenticated,
    /// The connection ends with the answer.
    Failed,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Serve,
    /// It is answered with ILLEGAL_SASL_STATE, the last answer of its connection.
    Refuse,
    Disconnect,
}

/// The answer to a message of a mechanism.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) message: Vec<u8>,
    /// For how long the client is believed, once it is through; zero for good.
    pub(crate) lifetime: Duration,
}

impl Session {
    /// Where clients do not have to say who they are.
    pub(crate) fn open(principal: Principal) -> Self {
        Self {
            state: State::Authenticated,
            principal,
            mechanism: None,
            expires: None,
            reauthenticated: None,
        }
    }

    /// Where they do.
    pub(crate) fn unauthenticated(principal: Principal) -> Self {
        let state = State::Handshake {
            versions_told: false,
        };
        Self {
            state,
            ..Self::open(principal)
        }
    }

    pub(crate) fn principal(&self) -> Principal {
        self.principal.clone()
    }

    pub(crate) fn is_authenticated(&self) -> bool {
        matches!(self.state, State::Authenticated)
    }

    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Whether the next frame is a mechanism's message as it is, as version 0 of the handshake has it.
    pub(crate) fn takes_raw_message(&self) -> bool {
        matches!(self.state, State::Exchange { wrapped: false, .. })
    }

    pub(crate) fn admit(&mut self, api: ApiKey, now: Instant) -> Admission {
        match &self.state {
            State::Handshake { versions_told } => match api {
                ApiKey::API_VERSIONS if !versions_told => Admission::Serve,
                ApiKey::SASL_HANDSHAKE => Admission::Serve,
                _ => Admission::Disconnect,
            },
            State::Exchange { .. } if api == ApiKey::SASL_AUTHENTICATE => Admission::Serve,
            State::Exchange { .. } => {
                self.state = State::Failed;
                Admission::Refuse
            }
            State::Authenticated if api == ApiKey::SASL_HANDSHAKE => Admission::Serve,
            State::Authenticated if self.expires.is_some_and(|at| at < now) => {
                Admission::Disconnect
            }
            State::Authenticated => Admission::Serve,
            State::Failed => Admission::Disconnect,
        }
    }

    /// The client knows now what is spoken.
    pub(crate) fn versions_told(&mut self) {
        if let State::Handshake { versions_told } = &mut self.state {
            *versions_told = true;
        }
    }

    /// SaslHandshake: begins the exchange of a mechanism; anew, where sessions end.
    pub(crate) fn handshake(
        &mut self,
        mechanism: &str,
        version: i16,
        security: &Security,
        now: Instant,
    ) -> ErrorCode {
        let again = matches!(self.state, State::Authenticated);
        if again {
            let lately = self
                .reauthenticated
                .is_some_and(|last| now - last < REAUTHENTICATION_INTERVAL);
            if self.expires.is_none() || lately {
                return ErrorCode::ILLEGAL_SASL_STATE;
            }
            self.reauthenticated = Some(now);
        }
        let chosen = security.mechanisms().find(|it| it.name() == mechanism);
        self.state = match chosen {
            Some(chosen) if !again || self.mechanism == Some(chosen) => State::Exchange {
                exchange: Exchange::begin(chosen),
                wrapped: version > 0,
            },
            _ => State::Failed,
        };
        if !again {
            self.mechanism = chosen;
        }
        match chosen {
            Some(_) => ErrorCode::NONE,
            None => ErrorCode::UNSUPPORTED_SASL_MECHANISM,
        }
    }

    /// A message of the mechanism; an error ends the connection, but for one that comes when nobody asked for it.
    pub(crate) fn authenticate(
        &mut self,
        message: &[u8],
        security: &Security,
        random: &Mutex<Random>,
        now: Instant,
        now_ms: i64,
    ) -> Result<Reply, (ErrorCode, String)> {
        let State::Exchange { exchange, .. } = &mut self.state else {
            let message = "SaslAuthenticate request received after successful authentication";
            return Err((ErrorCode::ILLEGAL_SASL_STATE, message.to_owned()));
        };
        let stepped = exchange.next(message, security, random);
        let done = stepped.and_then(|step| match step {
            Step::Challenge(message) => Ok(Reply {
                message,
                lifetime: Duration::ZERO,
            }),
            Step::Done(message, login) => {
                let lifetime = self.log_in(&login, security.settings.max_reauth, now, now_ms)?;
                Ok(Reply { message, lifetime })
            }
        });
        done.map_err(|message| {
            self.state = State::Failed;
            (ErrorCode::SASL_AUTHENTICATION_FAILED, message)
        })
    }

    fn log_in(
        &mut self,
        login: &Login,
        max_reauth: Option<Duration>,
        now: Instant,
        now_ms: i64,
    ) -> Result<Duration, String> {
        let principal = Principal::user(&login.user);
        if self.reauthenticated.is_some() && principal != self.principal {
            return Err(format!(
                "Cannot change principals during re-authentication from {}: {principal}",
                self.principal
            ));
        }
        let left = login.expires_ms.map(|at| {
            let left = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0);
            Duration::from_millis(left)
        });
        let lifetime = left.into_iter().chain(max_reauth).min();
        self.principal = principal;
        self.expires = lifetime.map(|lifetime| now + lifetime);
        self.state = State::Authenticated;
        Ok(lifetime.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::security::SecuritySettings;

    const NOW_MS: i64 = 1_000_000;

    fn security(max_reauth: Option<Duration>) -> Security {
        let plain = [("alice", "a"), ("bob", "b")];
        let owned = |(user, password): (&str, &str)| (user.to_owned(), password.to_owned());
        Security::new(SecuritySettings {
            plain: plain.into_iter().map(owned).collect(),
            max_reauth,
            ..SecuritySettings::default()
        })
    }

    struct Client {
        session: Session,
        security: Security,
        random: Mutex<Random>,
        now: Instant,
    }

    impl Client {
        fn new(max_reauth: Option<Duration>) -> Self {
            Self {
                session: Session::unauthenticated(Principal::anonymous()),
                security: security(max_reauth),
                random: Mutex::new(Random::new(1)),
                now: Instant::now(),
            }
        }

        fn admit(&mut self, api: ApiKey) -> Admission {
            self.session.admit(api, self.now)
        }

        fn handshake(&mut self, mechanism: &str) -> ErrorCode {
            assert_eq!(self.admit(ApiKey::SASL_HANDSHAKE), Admission::Serve);
            let session = &mut self.session;
            session.handshake(mechanism, 1, &self.security, self.now)
        }

        fn authenticate(&mut self, message: &[u8]) -> Result<Reply, (ErrorCode, String)> {
            assert_eq!(self.admit(ApiKey::SASL_AUTHENTICATE), Admission::Serve);
            let (security, random) = (&self.security, &self.random);
            let session = &mut self.session;
            session.authenticate(message, security, random, self.now, NOW_MS)
        }
    }

    #[test]
    fn nothing_is_served_before_a_client_has_said_who_it_is() {
        let mut client = Client::new(None);
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Disconnect);
        assert_eq!(
            client.admit(ApiKey::SASL_AUTHENTICATE),
            Admission::Disconnect
        );
        assert_eq!(client.admit(ApiKey::API_VERSIONS), Admission::Serve);
        client.session.versions_told();
        assert_eq!(client.admit(ApiKey::API_VERSIONS), Admission::Disconnect);
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        let reply = client.authenticate(b"\0alice\0a").expect("let in");
        assert_eq!(reply.lifetime, Duration::ZERO);
        assert_eq!(client.session.principal().as_str(), "User:alice");
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Serve);
        // Sessions do not end here: there is nothing to begin anew, and the connection goes on.
        assert_eq!(client.handshake("PLAIN"), ErrorCode::ILLEGAL_SASL_STATE);
        let late = client.authenticate(b"\0alice\0a").map(|_| ());
        assert_eq!(late.expect_err("late").0, ErrorCode::ILLEGAL_SASL_STATE);
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Serve);
    }

    #[test]
    fn another_request_in_the_middle_is_refused_and_ends_the_connection() {
        let mut client = Client::new(None);
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Refuse);
        assert!(client.session.has_failed());
        assert_eq!(
            client.admit(ApiKey::SASL_AUTHENTICATE),
            Admission::Disconnect
        );
    }

    #[test]
    fn a_mechanism_that_is_not_offered_and_a_wrong_password_end_the_connection() {
        let mut client = Client::new(None);
        let refused = ErrorCode::UNSUPPORTED_SASL_MECHANISM;
        assert_eq!(client.handshake("SCRAM-SHA-256"), refused);
        assert!(client.session.has_failed());
        let mut client = Client::new(None);
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        let (error, message) = client.authenticate(b"\0alice\0b").expect_err("refused");
        assert_eq!(error, ErrorCode::SASL_AUTHENTICATION_FAILED);
        assert_eq!(
            message,
            "Authentication failed: Invalid username or password"
        );
        assert!(client.session.has_failed());
    }

    #[test]
    fn a_session_ends_unless_the_same_client_says_anew_who_it_is() {
        let life = Duration::from_secs(10);
        let mut client = Client::new(Some(life));
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        let reply = client.authenticate(b"\0alice\0a").expect("let in");
        assert_eq!(reply.lifetime, life);
        client.now += life;
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Serve);
        client.now += Duration::from_millis(1);
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Disconnect);
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        client.authenticate(b"\0alice\0a").expect("let in");
        assert_eq!(client.admit(ApiKey::METADATA), Admission::Serve);
        assert_eq!(client.handshake("PLAIN"), ErrorCode::ILLEGAL_SASL_STATE);
        client.now += REAUTHENTICATION_INTERVAL;
        assert_eq!(client.handshake("PLAIN"), ErrorCode::NONE);
        let (error, message) = client.authenticate(b"\0bob\0b").expect_err("another one");
        assert_eq!(error, ErrorCode::SASL_AUTHENTICATION_FAILED);
        assert!(message.contains("User:alice"), "{message}");
        assert!(client.session.has_failed());
    }
}
