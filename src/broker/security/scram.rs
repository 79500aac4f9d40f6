//! SCRAM (RFC 5802) as a server speaks it: it proves that it knows the user's keys, and lets in who proves to know the password.

use std::fmt;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::sasl::{Login, Step};
use crate::broker::lock;
use crate::broker::random::Random;
use crate::broker::storage::ScramNote;

/// The fewest iterations that Kafka takes, and as many as its tools choose.
pub(crate) const ITERATIONS: u32 = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    pub(crate) const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The mechanism's number in requests about users.
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    fn hash(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn keyed<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            let mut mac = <M as KeyInit>::new_from_slice(key)
                .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, data),
            Self::Sha512 => keyed::<Hmac<Sha512>>(key, data),
        }
    }

    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        match self {
            Self::Sha256 => {
                pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, iterations).to_vec()
            }
            Self::Sha512 => {
                pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, iterations).to_vec()
            }
        }
    }
}

/// What a server knows of a user: enough to check the password, not enough to say it.
#[derive(Clone)]
pub(crate) struct Credential {
    pub(crate) salt: Vec<u8>,
    pub(crate) iterations: u32,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

impl Credential {
    pub(crate) fn derive(hash: Hash, password: &str, random: &mut Random) -> Self {
        let salt = [random.next_u64(), random.next_u64()];
        let salt: Vec<u8> = salt.iter().flat_map(|it| it.to_be_bytes()).collect();
        let salted = hash.salted(password.as_bytes(), &salt, ITERATIONS);
        Self::salted(hash, salt, ITERATIONS, &salted)
    }

    /// As it was kept.
    pub(crate) fn of(note: ScramNote) -> Self {
        let ScramNote {
            salt,
            iterations,
            stored_key,
            server_key,
        } = note;
        Self {
            salt,
            iterations,
            stored_key,
            server_key,
        }
    }

    /// Of a password that was salted elsewhere.
    pub(crate) fn salted(hash: Hash, salt: Vec<u8>, iterations: u32, salted: &[u8]) -> Self {
        Self {
            salt,
            iterations,
            stored_key: hash.hash(&hash.hmac(salted, b"Client Key")),
            server_key: hash.hmac(salted, b"Server Key"),
        }
    }
}

/// As it is kept.
impl From<&Credential> for ScramNote {
    fn from(credential: &Credential) -> Self {
        Self {
            salt: credential.salt.clone(),
            iterations: credential.iterations,
            stored_key: credential.stored_key.clone(),
            server_key: credential.server_key.clone(),
        }
    }
}

/// One client's authentication.
#[derive(Debug)]
pub(super) struct Server {
    hash: Hash,
    challenged: Option<Challenged>,
}

#[derive(Debug)]
struct Challenged {
    user: String,
    credential: Credential,
    /// What the client says of channels, to be repeated.
    header: String,
    nonce: String,
    /// The first messages of both, as they are signed.
    text: String,
}

impl Server {
    pub(super) fn new(hash: Hash) -> Self {
        Self {
            hash,
            challenged: None,
        }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// What follows a message of the client. Why it fails is not told.
    pub(super) fn next(
        &mut self,
        message: &[u8],
        find: impl Fn(&str) -> Option<Credential>,
        random: &Mutex<Random>,
    ) -> Result<Step, ()> {
        let message = std::str::from_utf8(message).map_err(|_| ())?;
        match self.challenged.take() {
            None => {
                let (challenged, challenge) = challenge(message, find, random).ok_or(())?;
                self.challenged = Some(challenged);
                Ok(Step::Challenge(challenge.into_bytes()))
            }
            Some(challenged) => challenged.verify(self.hash, message).ok_or(()),
        }
    }
}

/// Reads `n,[a=user],n=user,r=nonce[,extensions]`.
fn challenge(
    message: &str,
    find: impl Fn(&str) -> Option<Credential>,
    random: &Mutex<Random>,
) -> Option<(Challenged, String)> {
    let (authorization_id, bare) = message.strip_prefix("n,")?.split_once(',')?;
    let header = &message[..message.len() - bare.len()];
    let mut attributes = bare.split(',');
    let name = attributes.next()?.strip_prefix("n=")?;
    let client_nonce = attributes.next()?.strip_prefix("r=")?;
    let user = unescaped(name)?;
    if client_nonce.is_empty() || !["", &format!("a={name}")].contains(&authorization_id) {
        return None;
    }
    let credential = find(&user)?;
    let ours = {
        let mut random = lock(random);
        [random.next_u64(), random.next_u64()]
    };
    let nonce = format!("{client_nonce}{:016x}{:016x}", ours[0], ours[1]);
    let salt = STANDARD.encode(&credential.salt);
    let challenge = format!("r={nonce},s={salt},i={}", credential.iterations);
    let challenged = Challenged {
        user,
        credential,
        header: header.to_owned(),
        nonce,
        text: format!("{bare},{challenge}"),
    };
    Some((challenged, challenge))
}

impl Challenged {
    /// Reads `c=header,r=nonce[,extensions],p=proof`.
    fn verify(self, hash: Hash, message: &str) -> Option<Step> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let header = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if header != STANDARD.encode(&self.header) || nonce != self.nonce {
            return None;
        }
        let proof = STANDARD.decode(proof).ok()?;
        let text = format!("{},{without_proof}", self.text);
        let signature = hash.hmac(&self.credential.stored_key, text.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let is_right =
            proof.len() == signature.len() && hash.hash(&client_key) == self.credential.stored_key;
        let signature = hash.hmac(&self.credential.server_key, text.as_bytes());
        let last = format!("v={}", STANDARD.encode(signature));
        let login = Login {
            user: self.user,
            expires_ms: None,
        };
        is_right.then(|| Step::Done(last.into_bytes(), login))
    }
}

/// A name in which `=2C` stands for a comma and `=3D` for an equals sign.
fn unescaped(name: &str) -> Option<String> {
    let name = name.replace("=2C", ",");
    let rest = name.replace("=3D", "");
    (!name.is_empty() && !rest.contains('=')).then(|| name.replace("=3D", "="))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, with a nonce of the server that is not its own.
    #[test]
    fn who_knows_the_password_is_let_in_and_nobody_else() {
        let hash = Hash::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = hash.salted(b"pencil", &salt, ITERATIONS);
        let credential = Credential::salted(hash, salt, ITERATIONS, &salted);
        let find = |user: &str| (user == "user").then(|| credential.clone());
        let random = Mutex::new(Random::new(1));
        let begin = |first: &[u8]| {
            let mut server = Server::new(hash);
            let step = server.next(first, find, &random);
            match step {
                Ok(Step::Challenge(challenge)) => {
                    Some((server, String::from_utf8(challenge).expect("text")))
                }
                _ => None,
            }
        };
        let first = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let last = |challenge: &str, password: &[u8]| {
            let nonce = challenge.split(',').next().expect("a nonce");
            let without_proof = format!("c=biws,{nonce}");
            let text = format!("{first},{challenge},{without_proof}");
            let salted = hash.salted(password, &credential.salt, ITERATIONS);
            let key = hash.hmac(&salted, b"Client Key");
            let signature = hash.hmac(&hash.hash(&key), text.as_bytes());
            let proof: Vec<u8> = key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
            (
                format!("{without_proof},p={}", STANDARD.encode(proof)),
                text,
            )
        };
        let (mut server, challenge) = begin(format!("n,,{first}").as_bytes()).expect("a challenge");
        assert!(
            challenge.starts_with("r=rOprNGfwEbeRWgbNEkqO"),
            "{challenge}"
        );
        assert!(
            challenge.ends_with(",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            "{challenge}"
        );
        let (proof, text) = last(&challenge, b"pencil");
        let Ok(Step::Done(signature, login)) = server.next(proof.as_bytes(), find, &random) else {
            panic!("let in");
        };
        assert_eq!(login.user, "user");
        let expected = hash.hmac(&hash.hmac(&salted, b"Server Key"), text.as_bytes());
        assert_eq!(
            signature,
            format!("v={}", STANDARD.encode(expected)).into_bytes()
        );
        for spoil in [
            |proof: String| proof.replace("c=biws", "c=eSws"),
            |proof: String| proof.replace("r=rO", "r=RO"),
            |proof: String| proof.replace(",p=", ",q="),
            |proof: String| format!("{proof}AAAA"),
            |_| String::new(),
        ] {
            let (mut server, challenge) =
                begin(format!("n,,{first}").as_bytes()).expect("a challenge");
            let proof = spoil(last(&challenge, b"pencil").0);
            assert!(
                server.next(proof.as_bytes(), find, &random).is_err(),
                "{proof}"
            );
        }
        let (mut server, challenge) = begin(format!("n,,{first}").as_bytes()).expect("a challenge");
        let (proof, _) = last(&challenge, b"pen");
        assert!(server.next(proof.as_bytes(), find, &random).is_err());
        for first in [
            &b"n,,n=nobody,r=x"[..],
            b"n,,n=user,r=",
            b"n,,n=us=er,r=x",
            b"n,a=other,n=user,r=x",
            b"y,,n=user,r=x",
            b"n,,n=user",
            b"",
            b"\xff",
        ] {
            assert!(begin(first).is_none(), "{first:?}");
        }
        assert!(begin(b"n,a=user,n=user,r=x,tokenauth=true").is_some());
        assert_eq!(unescaped("a=2Cb=3D2C").as_deref(), Some("a,b=2C"));
    }
}
