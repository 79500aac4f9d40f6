//! A pattern of topics' names, as librdkafka has it: a regular expression that begins with `^`, which no name can contain.

use regex_lite::Regex;

use super::names::quoted;
use crate::kafka::{Error, ErrorKind, Result};

/// How names that are subscribed to begin where they are patterns.
const MARK: char = '^';

/// A pattern. It matches a name that begins as it says, and the whole of a name where it ends with `$`.
#[derive(Clone, Debug)]
pub(crate) struct TopicPattern(Regex);

impl TopicPattern {
    /// Whether `text` is meant as a pattern, not as a name.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// Fails when `text` is no regular expression, with what is wrong, and where.
    pub fn new(text: &str) -> Result<Self> {
        let wrong = match Regex::new(text) {
            Ok(regex) => return Ok(Self(regex)),
            Err(wrong) => wrong,
        };
        // What comes before it would be right.
        let mut ends = text.char_indices().map(|(start, _)| start).rev();
        let right = ends.find(|end| Regex::new(&text[..*end]).is_ok());
        let first = text[..right.unwrap_or(0)].chars().count() + 1;
        let message = format!(
            "the topic pattern {} is no regular expression: {wrong} (from character {first} on)",
            quoted(text)
        );
        Err(Error::new(ErrorKind::Config, message))
    }

    pub fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_from_the_start_of_a_name_and_to_its_end_only_where_it_says_so() {
        let matches = |pattern: &str, name: &str| {
            assert!(TopicPattern::is_meant(pattern) && !TopicPattern::is_meant(name));
            TopicPattern::new(pattern).expect("a pattern").matches(name)
        };
        assert!(matches("^orders", "orders-dlq") && matches("^orders-.*", "orders-1"));
        assert!(!matches("^orders", "my-orders") && !matches("^orders$", "orders-dlq"));
        assert!(matches(r"^a\.[0-9]{2,3}$", "a.123") && !matches(r"^a\.[0-9]$", "ab1"));
        assert!(matches("^(eu|us)-mail$", "us-mail") && matches("^(?i)mail", "Mail"));
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told_with_its_place() {
        for (pattern, at) in [
            ("^orders-(a|b", 9),
            ("^orders)", 8),
            ("^a[0-9", 3),
            (r"^(a)\q(b)", 5),
            ("^a(?=b)c", 3),
            (r"^é\", 3),
        ] {
            let error = TopicPattern::new(pattern).expect_err("no pattern");
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains(&quoted(pattern)), "{text}");
            assert!(
                text.ends_with(&format!("(from character {at} on)")),
                "{text}"
            );
        }
    }
}
