//! SCRAM (RFC 5802, RFC 7677): both sides prove that they know the password, which never crosses the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::exchange::{Exchange, Step};
use super::hash::HashFunctions;
use crate::kafka::config::Secret;
use crate::kafka::config::security::SaslLogin;
use crate::kafka::error::sanitised;
use crate::kafka::{Error, ErrorKind, Result};

/// The fewest iterations that a broker may ask for (RFC 5802): with fewer, an eavesdropper guesses faster.
const FEWEST_ITERATIONS: u32 = 4_096;
/// The most: Kafka stores no more than 16,384, and they cost the client time, about a tenth of a second for this many.
const MOST_ITERATIONS: u32 = 100_000;
/// The longest salt, in bytes.
const LONGEST_SALT: usize = 1_024;
/// The longest nonce, in bytes.
const LONGEST_NONCE: usize = 1_024;
/// Random bytes in the client's nonce.
const NONCE_BYTES: usize = 24;
/// No channel binding, in base64: `n,,`.
const NO_BINDING: &str = "c=biws";

/// What brokers keep of a password, as it is sent to them to set it: hashed with the salt so often. Fails for a password with letters that
/// SCRAM does not allow.
pub(super) fn salted_password(
    functions: &HashFunctions,
    password: &Secret,
    salt: &[u8],
    iterations: u32,
) -> Result<Zeroizing<Vec<u8>>> {
    let password = Secret::new(prepared(password.reveal(), "the password")?);
    Ok((functions.salted)(
        password.reveal().as_bytes(),
        salt,
        iterations,
    ))
}

/// One authentication.
pub(super) struct Scram {
    functions: &'static HashFunctions,
    password: Secret,
    nonce: String,
    /// The client's first message without its header.
    first_bare: String,
    state: State,
}

enum State {
    /// The broker says its nonce, salt and iterations next.
    Challenge,
    /// The broker proves next that it knows the password: with the signature of this text by this key.
    Proof {
        server_key: Zeroizing<Vec<u8>>,
        text: String,
    },
    Done,
}

impl Scram {
    pub fn new(functions: &'static HashFunctions, login: &SaslLogin) -> Result<Self> {
        let mut random = [0; NONCE_BYTES];
        getrandom::fill(&mut random).map_err(|error| {
            let message = "the operating system has no random numbers for SCRAM";
            Error::new(ErrorKind::Authentication, message).because(error)
        })?;
        Self::with_nonce(functions, login, STANDARD.encode(random))
    }

    pub(super) fn with_nonce(
        functions: &'static HashFunctions,
        login: &SaslLogin,
        nonce: String,
    ) -> Result<Self> {
        let user = login.username.as_deref().unwrap_or_default();
        let user = prepared(user, "the user's name")?;
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let password = login.password.as_ref().map_or("", Secret::reveal);
        let password = Secret::new(prepared(password, "the password")?);
        let extension = match login.delegation_token {
            true => ",tokenauth=true",
            false => "",
        };
        Ok(Self {
            functions,
            password,
            first_bare: format!("n={user},r={nonce}{extension}"),
            nonce,
            state: State::Challenge,
        })
    }

    /// Answers the broker's first message with the client's proof.
    fn prove(&mut self, message: &str) -> Result<Step> {
        let challenge = Challenge::read(message)?;
        if challenge.nonce.len() <= self.nonce.len() || !challenge.nonce.starts_with(&self.nonce) {
            return Err(dishonest(
                "its nonce is not one that goes on from the client's: somebody repeats an old exchange",
            ));
        }
        let HashFunctions {
            hash, hmac, salted, ..
        } = self.functions;
        let password = self.password.reveal().as_bytes();
        let salted_password = salted(password, &challenge.salt, challenge.iterations);
        let client_key = hmac(&salted_password, b"Client Key");
        let stored_key = hash(&client_key);
        let without_proof = format!("{NO_BINDING},r={}", challenge.nonce);
        let text = format!("{},{message},{without_proof}", self.first_bare);
        let signature = hmac(&stored_key, text.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&*signature)
            .map(|(a, b)| a ^ b)
            .collect();
        let proof = Zeroizing::new(proof);
        self.state = State::Proof {
            server_key: hmac(&salted_password, b"Server Key"),
            text,
        };
        let last = format!("{without_proof},p={}", STANDARD.encode(&*proof));
        Ok(Step::Send(Zeroizing::new(last.into_bytes())))
    }
}

impl Exchange for Scram {
    fn first(&mut self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(format!("n,,{}", self.first_bare).into_bytes())
    }

    fn next(&mut self, message: &[u8]) -> Result<Step> {
        let message =
            std::str::from_utf8(message).map_err(|_| dishonest("its message is not text"))?;
        if let Some(reason) = message.strip_prefix("e=") {
            let message = format!("the broker refused: {}", sanitised(reason));
            return Err(Error::new(ErrorKind::Authentication, message));
        }
        match std::mem::replace(&mut self.state, State::Done) {
            State::Challenge => self.prove(message),
            State::Proof { server_key, text } => {
                let signature = attribute(message.split(',').next(), 'v')?;
                let signature = decoded(signature)?;
                match (self.functions.verify)(&server_key, text.as_bytes(), &signature) {
                    true => Ok(Step::Done),
                    false => Err(dishonest(
                        "its signature is wrong: it does not know the password, and is not the broker that it claims to be",
                    )),
                }
            }
            State::Done => Err(dishonest("it goes on after the end")),
        }
    }
}

/// The broker's first message.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn read(message: &'a str) -> Result<Self> {
        let mut attributes = message.split(',');
        // An extension that must be understood would come first, as `m=`: there is none that we know.
        let nonce = attribute(attributes.next(), 'r')?;
        let is_nonce =
            nonce.len() <= LONGEST_NONCE && nonce.bytes().all(|it| it.is_ascii_graphic());
        if !is_nonce {
            return Err(dishonest("its nonce cannot be one"));
        }
        let salt = decoded(attribute(attributes.next(), 's')?)?;
        if salt.is_empty() || salt.len() > LONGEST_SALT {
            return Err(dishonest("its salt cannot be one"));
        }
        let iterations = attribute(attributes.next(), 'i')?;
        let iterations: u32 = iterations.parse().unwrap_or(0);
        if !(FEWEST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations) {
            return Err(dishonest(
                "the number of iterations that it wants is not between 4096 and 100000",
            ));
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

fn attribute(text: Option<&str>, name: char) -> Result<&str> {
    let value = text.and_then(|text| text.strip_prefix(name)?.strip_prefix('='));
    value.ok_or_else(|| dishonest("its message is none of SCRAM"))
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    STANDARD
        .decode(text)
        .map_err(|_| dishonest("its message has bytes that are no base64"))
}

/// The text as SASL compares it (RFC 4013).
fn prepared(text: &str, what: &str) -> Result<String> {
    let prepared = stringprep::saslprep(text).map_err(|error| {
        let message = format!("{what} has letters that SCRAM does not allow");
        Error::new(ErrorKind::Config, message).because(error)
    })?;
    Ok(prepared.into_owned())
}

fn dishonest(why: &'static str) -> Error {
    let message = format!("the peer does not speak SCRAM as the broker should: {why}");
    Error::new(ErrorKind::Authentication, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::net::auth::hash::{SHA_256, SHA_512};

    fn login(user: &str, password: &str) -> SaslLogin {
        SaslLogin {
            username: Some(user.to_string()),
            password: Some(Secret::new(password)),
            ..SaslLogin::default()
        }
    }

    /// The example of RFC 7677.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const PROOF: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn example() -> Scram {
        Scram::with_nonce(&SHA_256, &login("user", "pencil"), NONCE.to_string()).expect("a login")
    }

    #[test]
    fn the_example_of_the_rfc_comes_out_as_it_stands_there() {
        let mut scram = example();
        assert_eq!(**scram.first(), *b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let Ok(Step::Send(proof)) = scram.next(CHALLENGE) else {
            panic!("a proof");
        };
        assert_eq!(**proof, *PROOF);
        assert!(matches!(scram.next(SIGNATURE), Ok(Step::Done)));
        assert!(scram.next(SIGNATURE).is_err(), "it is over");
    }

    #[test]
    fn names_are_escaped_and_tokens_are_told() {
        let mut token = login("a=b,c", "secret");
        token.delegation_token = true;
        let mut scram = Scram::with_nonce(&SHA_512, &token, "N".to_string()).expect("a login");
        assert_eq!(**scram.first(), *b"n,,n=a=3Db=2Cc,r=N,tokenauth=true");
    }

    #[test]
    fn a_dishonest_peer_is_refused() {
        for challenge in [
            &b""[..],
            b"\xff",
            b"r=",
            b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=anotherNonceAltogether,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4294967295",
            b"r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=-4096",
            b"m=ext,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"e=other-error",
        ] {
            let error = example().next(challenge).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::Authentication);
        }
        for signature in [
            &b""[..],
            b"v=",
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
            b"v=AAAA",
            b"e=invalid-proof",
            CHALLENGE,
        ] {
            let mut scram = example();
            scram.next(CHALLENGE).map(|_| ()).expect("a proof");
            assert!(scram.next(signature).is_err(), "{signature:?}");
        }
    }

    #[test]
    fn passwords_are_prepared_as_the_rfc_says() {
        // A soft hyphen goes, a Roman numeral becomes letters, a control character is refused.
        assert_eq!(prepared("I\u{ad}X", "it").expect("allowed"), "IX");
        assert_eq!(prepared("\u{2168}", "it").expect("allowed"), "IX");
        assert!(prepared("\u{7}", "it").is_err());
    }
}
