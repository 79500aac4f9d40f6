//! Recognises a peer that is no Kafka broker by the first bytes it sends, so that the error can say so.

use crate::kafka::{Error, ErrorKind};

/// What `first_bytes` (at least four) show, if they are not the start of a Kafka response.
pub(super) fn not_kafka(first_bytes: &[u8]) -> Option<Error> {
    let message = match first_bytes {
        [b'H', b'T', b'T', b'P', ..] | [b'<', b'h' | b'H' | b'!', ..] => {
            "the peer speaks HTTP, not Kafka: is it the right port?"
        }
        // A TLS record: alert or handshake, version 3.x.
        [0x15 | 0x16, 0x03, 0x00..=0x04, ..] => {
            "the peer speaks TLS: for this listener security.protocol is SSL or SASL_SSL"
        }
        [b'S', b'S', b'H', b'-', ..] => "the peer speaks SSH, not Kafka: is it the right port?",
        _ => return None,
    };
    Some(Error::new(ErrorKind::Protocol, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_tls_and_ssh_are_recognised() {
        for (bytes, name) in [
            (&b"HTTP/1.1 400 Bad Request"[..], "HTTP"),
            (b"<html>", "HTTP"),
            (&[0x15, 3, 3, 0, 2, 2, 70], "TLS"),
            (b"SSH-2.0-OpenSSH", "SSH"),
        ] {
            let error = not_kafka(bytes).expect("no Kafka");
            assert!(error.to_string().contains(name), "{error}");
        }
        assert!(not_kafka(&[0, 0, 1, 0x2c, 0, 0, 0, 1]).is_none());
    }
}
