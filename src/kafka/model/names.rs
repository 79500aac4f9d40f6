//! Names by Kafka's rules, checked before anybody is asked for them: a broker would refuse a wrong one, or close the connection.

use crate::kafka::{Error, ErrorKind, Result};

/// The longest name of a topic.
const MAX_TOPIC_LEN: usize = 249;

/// The most bytes of a text in a request: older versions count them in 16 bits.
pub(crate) const MAX_TEXT_BYTES: usize = i16::MAX as usize;

/// Whether a topic can have this name.
pub(crate) fn is_topic(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_TOPIC_LEN
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Fails when no topic can have this name.
pub(crate) fn check_topic(name: &str) -> Result<()> {
    if is_topic(name) {
        return Ok(());
    }
    let message = format!(
        "{} cannot be the name of a topic: allowed are 1 to {MAX_TOPIC_LEN} letters (a-z, A-Z), digits, '.', '_' and '-', but not \".\" and \"..\"",
        quoted(name)
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// Fails when no request can hold the text; `what` names it.
pub(crate) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() <= MAX_TEXT_BYTES {
        return Ok(());
    }
    let message = format!(
        "{what} {} has {} bytes: allowed are up to {MAX_TEXT_BYTES}",
        quoted(text),
        text.len()
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The beginning of `text` in quotes, without anything that a terminal or a log takes for its own.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}… ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_by_kafkas_rules() {
        let longest = "t".repeat(MAX_TOPIC_LEN);
        for name in ["t", "a.b_c-D9", "...", "__consumer_offsets", &longest] {
            assert!(check_topic(name).is_ok(), "{name}");
        }
        let too_long = "t".repeat(MAX_TOPIC_LEN + 1);
        let absurd = "ü".repeat(40_000);
        for name in [
            "", ".", "..", "a b", "a/b", "é", "a\n", "a,b", &too_long, &absurd,
        ] {
            let error = check_topic(name).expect_err("no name");
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(!error.is_retriable());
            let text = error.to_string();
            assert!(text.len() < 600 && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_text_that_no_request_can_hold_is_refused() {
        assert!(check_text("group.id", &"g".repeat(MAX_TEXT_BYTES)).is_ok());
        let error = check_text("group.id", &"g".repeat(MAX_TEXT_BYTES + 1)).expect_err("too long");
        assert!(error.to_string().starts_with("group.id \"ggg"), "{error}");
    }
}
