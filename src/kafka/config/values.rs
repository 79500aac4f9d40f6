//! What properties can be. In: text, or the value of a field. Out: the value, or that it is not allowed; the kind says what is.

use std::fmt::Debug;
use std::str::FromStr;
use std::time::Duration;

use protocol::compression::Compression;

use super::Secret;
use crate::kafka::model::TopicPattern;
use crate::kafka::model::names::{MAX_TEXT_BYTES, is_topic, quoted};
use crate::kafka::net::Address;
use crate::kafka::{Error, ErrorKind};

/// A kind of value: what is allowed, and how it is read.
#[derive(Debug)]
pub(crate) struct Kind<T> {
    /// What is allowed, to complete "allowed is …".
    pub allowed: &'static str,
    pub(crate) read: fn(&str) -> Option<T>,
    pub(crate) holds: fn(&T) -> bool,
    /// How a value that is not allowed is shown.
    pub(crate) show: fn(&T) -> String,
    /// Whether values are secrets: they are shown to nobody, least of all when they are wrong.
    pub is_secret: bool,
}

impl<T> Kind<T> {
    /// Reads `text`; `None` when it is not allowed.
    pub fn read(&self, text: &str) -> Option<T> {
        (self.read)(text).filter(self.holds)
    }

    /// The value, to be shown, when it is not allowed.
    pub fn wrong<'a>(&self, value: impl Into<Option<&'a T>>) -> Option<String>
    where
        T: 'a,
    {
        let value = value.into()?;
        (!(self.holds)(value)).then(|| (self.show)(value))
    }
}

impl<T> Kind<T> {
    /// Why `text` cannot be the value of the property called `name`.
    pub fn refusal(&self, name: &str, text: &str) -> Error {
        let (value, allowed) = (quoted(text), self.allowed);
        Error::new(
            ErrorKind::Config,
            format!("{name} = {value} is not allowed: allowed is {allowed}"),
        )
    }
}

impl<T: FromStr + Debug> Kind<T> {
    /// Whatever the type reads from text, surrounding spaces aside.
    pub const fn any(allowed: &'static str) -> Kind<T> {
        Kind {
            allowed,
            read: |text| text.trim().parse().ok(),
            holds: |_| true,
            show: |value| format!("{value:?}"),
            is_secret: false,
        }
    }
}

impl Kind<usize> {
    /// A number from `MIN` to `MAX`.
    pub const fn number<const MIN: usize, const MAX: usize>(allowed: &'static str) -> Kind<usize> {
        Kind {
            holds: |number| (MIN..=MAX).contains(number),
            ..Kind::any(allowed)
        }
    }
}

/// The longest duration: Java's, for most of its properties. Far below what a clock can be put forward by.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);
pub(crate) const MAX_BYTES: usize = i32::MAX as usize;

pub(crate) const BYTES: Kind<usize> =
    Kind::number::<1, MAX_BYTES>("a number of bytes from 1 to 2147483647");

pub(crate) const COUNT: Kind<usize> = Kind::number::<1, MAX_BYTES>("a number from 1 to 2147483647");

pub(crate) const MILLIS: Kind<Duration> = Kind {
    allowed: "a number of milliseconds from 0 to 2147483647",
    read: |text| text.trim().parse().ok().map(Duration::from_millis),
    holds: |duration| *duration <= LONGEST,
    show: |duration| duration.as_millis().to_string(),
    is_secret: false,
};

pub(crate) const POSITIVE_MILLIS: Kind<Duration> = Kind {
    allowed: "a number of milliseconds from 1 to 2147483647",
    holds: |duration| !duration.is_zero() && *duration <= LONGEST,
    ..MILLIS
};

pub(crate) const FLAG: Kind<bool> = Kind {
    allowed: "true or false",
    read: |text| text.trim().to_ascii_lowercase().parse().ok(),
    ..Kind::any("")
};

pub(crate) const COMPRESSION: Kind<Compression> = Kind::any(
    "none, gzip, snappy, lz4 or zstd; gzip and zstd with a level if you like, as in zstd:7",
);

pub(crate) const TEXT: Kind<String> = Kind {
    allowed: "a text that is not empty, of at most 32767 bytes",
    read: |text| Some(text.trim().to_string()),
    holds: |text| !text.is_empty() && text.len() <= MAX_TEXT_BYTES,
    show: |text| quoted(text),
    is_secret: false,
};

/// A name by the rules for topics, which are those for static members as well.
pub(crate) const NAME: Kind<String> = Kind {
    allowed: "1 to 249 letters (a-z, A-Z), digits, '.', '_' and '-', but not \".\" and \"..\"",
    holds: |text| is_topic(text),
    ..TEXT
};

/// A text that nobody but the broker may see.
pub(crate) const SECRET: Kind<Secret> = Kind {
    allowed: "a text that is not empty",
    // Spaces may belong to it.
    read: |text| Some(Secret::new(text)),
    holds: |secret| !secret.reveal().is_empty(),
    show: |_| Secret::HIDDEN.to_string(),
    is_secret: true,
};

/// Names of topics, and patterns of names. What is wrong with a pattern is told where it is subscribed to.
pub(crate) const TOPICS: Kind<Vec<String>> = Kind {
    allowed: "names of topics, or patterns that begin with '^', commas between several",
    read: |text| Some(list(text)).filter(|names| !names.is_empty()),
    holds: |names| (names.iter()).all(|name| is_topic(name) || TopicPattern::is_meant(name)),
    show: |names| quoted(&names.join(",")),
    is_secret: false,
};

pub(crate) const ADDRESSES: Kind<Vec<String>> = Kind {
    allowed: "host:port, commas between several",
    holds: |addresses| addresses.iter().all(|text| text.parse::<Address>().is_ok()),
    ..TOPICS
};

/// The items between commas, empty ones left out.
pub(crate) fn list(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items.map(str::to_string).collect()
}
