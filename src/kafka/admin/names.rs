//! Enumerations by Kafka's numbers and names: read from messages, written into them, printed and parsed, said once. In: a row for each
//! variant. Out: methods of the enumeration, which has a variant `Other` for what this version does not know.

/// Gives an enumeration its numbers and names.
macro_rules! kafka_names {
    ($Kind:ident, $what:literal, { $($Variant:ident = $number:literal $name:literal,)* }) => {
        impl $Kind {
            /// Kafka's name of it; `UNKNOWN` where this version knows none.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)*
                    Self::Other(_) => "UNKNOWN",
                }
            }

            pub(super) fn number(self) -> i8 {
                match self {
                    $(Self::$Variant => $number,)*
                    Self::Other(number) => number,
                }
            }

            #[allow(dead_code, reason = "some are only written")]
            pub(super) fn from_number(number: i8) -> Self {
                match number {
                    $($number => Self::$Variant,)*
                    number => Self::Other(number),
                }
            }
        }

        impl std::fmt::Display for $Kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        /// By Kafka's name, in letters of either case; `-` and `_` are the same.
        impl std::str::FromStr for $Kind {
            type Err = $crate::kafka::Error;

            fn from_str(text: &str) -> $crate::kafka::Result<Self> {
                let same = |name: &str| {
                    let plain = |it: &str| it.replace('-', "_");
                    plain(name).eq_ignore_ascii_case(&plain(text))
                };
                $(
                    if same($name) {
                        return Ok(Self::$Variant);
                    }
                )*
                let known: &[&str] = &[$($name),*];
                let message = format!("{text:?} is no {}: there are {}", $what, known.join(", "));
                Err($crate::kafka::Error::new($crate::kafka::ErrorKind::Config, message))
            }
        }
    };
}

/// Gives an enumeration its names alone, as brokers say them: `Other` keeps a name that this version does not know.
macro_rules! kafka_words {
    ($Kind:ident, { $($Variant:ident = $name:literal,)* }) => {
        impl $Kind {
            /// Kafka's name of it.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$Variant => $name,)*
                    Self::Other(name) => name,
                }
            }

            /// The one of this name, as Kafka writes it.
            pub fn named(name: &str) -> Self {
                match name {
                    $($name => Self::$Variant,)*
                    name => Self::Other(name.to_string()),
                }
            }
        }

        impl std::fmt::Display for $Kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

pub(super) use {kafka_names, kafka_words};
