//! PLAIN (RFC 4616): user and password as they are.

use zeroize::Zeroizing;

use super::exchange::{Exchange, Step};
use crate::kafka::Result;
use crate::kafka::config::Secret;

pub(super) struct Plain(Zeroizing<Vec<u8>>);

impl Plain {
    pub fn new(user: &str, password: &Secret) -> Self {
        let message = [b"\0", user.as_bytes(), b"\0", password.reveal().as_bytes()].concat();
        Self(Zeroizing::new(message))
    }
}

impl Exchange for Plain {
    fn first(&mut self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut self.0)
    }

    fn next(&mut self, _: &[u8]) -> Result<Step> {
        Ok(Step::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_stand_behind_a_zero_each() {
        let mut plain = Plain::new("alice", &Secret::new("p\u{e4}ss"));
        assert_eq!(**plain.first(), *"\0alice\0p\u{e4}ss".as_bytes());
        assert!(matches!(plain.next(b""), Ok(Step::Done)));
    }
}
