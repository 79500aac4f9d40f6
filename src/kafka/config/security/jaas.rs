//! `sasl.jaas.config`: Java's way to name user and password, or what else a login needs, in one text. In: the text. Out: the login, if the text is one that is understood.

use std::iter::Peekable;
use std::str::Chars;

use super::{SaslLogin, aws};
use crate::kafka::config::Secret;
use crate::kafka::config::values::Kind;

/// Whether a login module takes an option of this name.
type Takes = fn(&str) -> bool;

/// The login modules.
const MODULES: [(&str, Takes); 4] = [
    (
        "org.apache.kafka.common.security.plain.PlainLoginModule",
        is_login,
    ),
    (
        "org.apache.kafka.common.security.scram.ScramLoginModule",
        is_login,
    ),
    (
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule",
        |option| {
            ["clientId", "clientSecret", "scope"].contains(&option)
                || option.starts_with("extension_")
                || aws::is_option(option)
        },
    ),
    (
        "software.amazon.msk.auth.iam.IAMLoginModule",
        aws::is_option,
    ),
];

fn is_login(option: &str) -> bool {
    ["username", "password", "tokenauth"].contains(&option)
}

pub(super) const JAAS: Kind<SaslLogin> = Kind {
    allowed: "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"…\" password=\"…\"; or the same with \
              org.apache.kafka.common.security.scram.ScramLoginModule, where tokenauth=\"true\" may be added; or \
              org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule with clientId, clientSecret, scope and extension_NAME; or \
              software.amazon.msk.auth.iam.IAMLoginModule with awsProfileName, awsRoleArn, awsRoleSessionName, awsRoleExternalId and awsStsRegion",
    read: login,
    holds: |_| true,
    show: |_| Secret::HIDDEN.to_string(),
    is_secret: true,
};

fn login(text: &str) -> Option<SaslLogin> {
    let mut tokens = Tokens(text.chars().peekable());
    let Token::Word(module) = tokens.next()? else {
        return None;
    };
    let Token::Word(flag) = tokens.next()? else {
        return None;
    };
    let is_flag = ["required", "requisite", "sufficient", "optional"]
        .iter()
        .any(|it| flag.eq_ignore_ascii_case(it));
    let (_, takes) = MODULES.iter().find(|(name, _)| *name == module)?;
    if !is_flag {
        return None;
    }
    let mut login = SaslLogin::default();
    loop {
        match tokens.next()? {
            // Java wants the semicolon; whatever stands after it is a second module, of which there is none.
            Token::End => return tokens.next().is_none().then_some(login),
            Token::Word(key) => {
                let (Token::Equals, Token::Word(value)) = (tokens.next()?, tokens.next()?) else {
                    return None;
                };
                match key.as_str() {
                    key if !takes(key) => return None,
                    "username" => login.username = Some(value),
                    "password" => login.password = Some(Secret::new(value)),
                    "tokenauth" => login.delegation_token = value.eq_ignore_ascii_case("true"),
                    _ => login.options.push((key, Secret::new(value))),
                }
            }
            Token::Equals => return None,
        }
    }
}

enum Token {
    /// Bare or in quotes.
    Word(String),
    Equals,
    /// The semicolon.
    End,
}

struct Tokens<'a>(Peekable<Chars<'a>>);

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        while self.0.next_if(|letter| letter.is_whitespace()).is_some() {}
        match self.0.next()? {
            ';' => Some(Token::End),
            '=' => Some(Token::Equals),
            quote @ ('"' | '\'') => self.quoted(quote).map(Token::Word),
            first => {
                let mut word = String::from(first);
                let goes_on = |letter: &char| !letter.is_whitespace() && !"=;\"'".contains(*letter);
                while let Some(letter) = self.0.next_if(goes_on) {
                    word.push(letter);
                }
                Some(Token::Word(word))
            }
        }
    }
}

impl Tokens<'_> {
    /// What stands up to the closing quote; `None` when there is none.
    fn quoted(&mut self, quote: char) -> Option<String> {
        let mut word = String::new();
        loop {
            match self.0.next()? {
                letter if letter == quote => return Some(word),
                '\\' => word.push(match self.0.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    letter => letter,
                }),
                letter => word.push(letter),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_are_read_as_java_reads_them() {
        let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"alice\" password=\"a;b=\\\"c\\\\\";";
        let read = login(plain).expect("a login");
        assert_eq!(read.username.as_deref(), Some("alice"));
        assert_eq!(
            read.password.as_ref().map(Secret::reveal),
            Some("a;b=\"c\\")
        );
        assert!(!read.delegation_token);
        let scram = " org.apache.kafka.common.security.scram.ScramLoginModule\n  REQUIRED\n username=bob\n password='p w' tokenauth=\"true\" ; ";
        let read = login(scram).expect("a login");
        assert_eq!(read.username.as_deref(), Some("bob"));
        assert_eq!(read.password.as_ref().map(Secret::reveal), Some("p w"));
        assert!(read.delegation_token);
    }

    #[test]
    fn options_of_other_modules_are_kept_by_name() {
        let text = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='a' clientSecret='b' \
                    extension_traceId='c';";
        let read = login(text).expect("a login");
        assert_eq!(read.option("clientId"), Some("a"));
        assert_eq!(read.option("clientSecret"), Some("b"));
        assert_eq!(read.option("extension_traceId"), Some("c"));
        assert_eq!((read.username, read.password), (None, None));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            ";",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\"",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a;",
            "org.apache.kafka.common.security.plain.PlainLoginModule username=\"a\";",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username;",
            "org.apache.kafka.common.security.plain.PlainLoginModule required user=\"a\";",
            "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;",
            "org.apache.kafka.common.security.plain.PlainLoginModule required; another required;",
            "org.apache.kafka.common.security.plain.PlainLoginModule required clientId=\"a\";",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required username=\"a\";",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"a\";",
        ] {
            assert_eq!(login(text), None, "{text}");
        }
    }
}
