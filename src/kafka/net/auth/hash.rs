//! SHA-256 and SHA-512, their HMACs, and PBKDF2 over them; what they return is overwritten when it is dropped.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};
use zeroize::Zeroizing;

/// A hash function, and what is made of it.
pub(super) struct HashFunctions {
    pub hash: fn(&[u8]) -> Zeroizing<Vec<u8>>,
    pub hmac: fn(&[u8], &[u8]) -> Zeroizing<Vec<u8>>,
    /// Whether the last one is the HMAC of the other two, in a time that does not depend on where they differ.
    pub verify: fn(&[u8], &[u8], &[u8]) -> bool,
    pub salted: Salted,
}

/// What PBKDF2 makes of password, salt and a count of iterations.
type Salted = fn(&[u8], &[u8], u32) -> Zeroizing<Vec<u8>>;

macro_rules! hash_functions {
    ($hash:ty) => {
        HashFunctions {
            hash: |data| Zeroizing::new(<$hash>::digest(data).to_vec()),
            hmac: |key, data| {
                let mac = keyed::<Hmac<$hash>>(key, data);
                Zeroizing::new(mac.finalize().into_bytes().to_vec())
            },
            verify: |key, data, expected| {
                let mac = keyed::<Hmac<$hash>>(key, data);
                mac.verify_slice(expected).is_ok()
            },
            salted: |password, salt, iterations| {
                let mut salted = Zeroizing::new(vec![0; <$hash>::output_size()]);
                pbkdf2::pbkdf2_hmac::<$hash>(password, salt, iterations, &mut salted);
                salted
            },
        }
    };
}

pub(super) static SHA_256: HashFunctions = hash_functions!(Sha256);
pub(super) static SHA_512: HashFunctions = hash_functions!(Sha512);

fn keyed<M: Mac + KeyInit>(key: &[u8], data: &[u8]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(data);
    mac
}
