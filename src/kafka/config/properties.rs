//! The mechanism that lets Java-style names (`linger.ms`) and environment variables (`KAFKA_LINGER_MS`) set any configuration: one table
//! row per name. In: pairs of text. Out: a configuration, or an error that names the key, the value and what is allowed.

use super::{Secret, librdkafka};
use crate::kafka::model::names::quoted;
use crate::kafka::{Error, ErrorKind, Result};

/// One row: a Java-style name, what is allowed, and how to set it.
#[derive(Debug)]
pub(crate) struct Property<C> {
    /// The name, as Java spells it: `bootstrap.servers`.
    pub name: &'static str,
    /// What is allowed, to complete "allowed is …".
    pub allowed: &'static str,
    /// Reads the text and sets the value; `None` when the text is not allowed.
    pub set: fn(&mut C, &str) -> Option<()>,
    /// Whether values are secrets, which no error and no `Debug` may show.
    pub is_secret: bool,
    /// The value, to be shown, when it is not allowed: a field can be given any.
    pub wrong: fn(&C) -> Option<String>,
}

/// The rows of a configuration: name, kind of value, field.
macro_rules! properties {
    ($($name:literal: $kind:expr => $($field:ident).+;)*) => {
        &[$($crate::kafka::config::Property {
            name: $name,
            allowed: $kind.allowed,
            is_secret: $kind.is_secret,
            set: |config, text| {
                config.$($field).+ = $kind.read(text)?.into();
                Some(())
            },
            wrong: |config| $kind.wrong(&config.$($field).+),
        },)*]
    };
}
pub(crate) use properties;

/// A configuration that can be set by name.
///
/// A configuration may rest on another one, its base: names that it does not have itself are looked up there. Users see what [`set_by_name`]
/// makes of it.
pub(crate) trait Configuration: Default + 'static {
    /// What this one rests on; `Self` when it rests on nothing.
    type Base: Configuration;

    /// The rows of this configuration, without those of its base.
    const PROPERTIES: &'static [Property<Self>];

    /// The base; `None` when it rests on nothing.
    fn base(&mut self) -> Option<&mut Self::Base>;

    /// Whether a name that is in no row is an option all the same: one of many alike.
    fn is_alike(_name: &str) -> bool {
        false
    }

    /// Sets such an option; `None` if `name` is none.
    fn set_alike(&mut self, _name: &str, _value: &str) -> Option<Result<()>> {
        None
    }

    /// Checks what no single value can show, and the base.
    fn check(&self) -> Result<()>;

    /// Checks everything.
    fn validate(&self) -> Result<()> {
        self.check()?;
        let mut rows = Self::PROPERTIES.iter();
        match rows.find_map(|row| Some((row, (row.wrong)(self)?))) {
            Some((row, value)) => Err(not_allowed(row, &value)),
            None => Ok(()),
        }
    }

    /// Sets the property that Java calls `name`.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match set_known(self, name, value) {
            Some(result) => result,
            None => match librdkafka::in_any_case(name) {
                Some((only, _)) if value.trim().eq_ignore_ascii_case(only) => Ok(()),
                Some((only, reason)) => {
                    let allowed = format!("{only}; {reason}");
                    Err(refused(name, &quoted(value), false, &allowed))
                }
                None => Err(unknown::<Self>(name)),
            },
        }
    }
}

/// The methods by which users set each `config` by name: of its own, so that the trait stays ours to change.
macro_rules! set_by_name {
    ($config:ident) => {
        impl $config {
            /// Every name that [`set`](Self::set) takes: those of its own first, then those that all clients share.
            pub fn property_names() -> Vec<&'static str> {
                $crate::kafka::config::property_names::<Self>()
            }

            /// Sets the property that Java calls `name`, such as `client.id`.
            ///
            /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) when the name is unknown, with advice, or the value is not
            /// allowed, with what is.
            pub fn set(&mut self, name: &str, value: &str) -> crate::kafka::Result<()> {
                crate::kafka::config::Configuration::set(self, name, value)
            }

            /// Checks everything, after all was set; whatever is created with a configuration does so before it begins.
            ///
            /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) and names what is not allowed.
            pub fn validate(&self) -> crate::kafka::Result<()> {
                crate::kafka::config::Configuration::validate(self)
            }

            /// The defaults, changed by `pairs` of Java-style name and value, and [checked](Self::validate).
            pub fn from_properties<K: AsRef<str>, V: AsRef<str>>(
                pairs: impl IntoIterator<Item = (K, V)>,
            ) -> crate::kafka::Result<Self> {
                let mut config = Self::default();
                for (name, value) in pairs {
                    config.set(name.as_ref(), value.as_ref())?;
                }
                config.validate()?;
                Ok(config)
            }

            /// The defaults, changed by a file of [properties](crate::kafka::config::PropertiesFile), and [checked](Self::validate). What is for other
            /// clients is passed over: one file may serve all. Blocks.
            ///
            /// Fails with [`ErrorKind::Config`](crate::kafka::ErrorKind::Config) and names the file and the line.
            pub fn from_properties_file(
                path: impl AsRef<std::path::Path>,
            ) -> crate::kafka::Result<Self> {
                let mut config = Self::default();
                let file = crate::kafka::config::PropertiesFile::read(path)?;
                file.each(|name, value| {
                    let is_own = crate::kafka::config::is_option::<Self>(name);
                    match !is_own && crate::kafka::config::is_of_another(name) {
                        true => Ok(()),
                        false => config.set(name, value),
                    }
                })?;
                config.validate()?;
                Ok(config)
            }

            /// The defaults, changed by environment variables, and [checked](Self::validate): `KAFKA_CLIENT_ID` sets `client.id`, and so on.
            /// Variables whose name is no property are none of our business.
            pub fn from_env() -> crate::kafka::Result<Self> {
                Self::from_variables(|name| std::env::var(name).ok())
            }

            /// As [`from_env`](Self::from_env), with the variables that `lookup` knows.
            pub fn from_variables(
                lookup: impl Fn(&str) -> Option<String>,
            ) -> crate::kafka::Result<Self> {
                let mut config = Self::default();
                for name in Self::property_names() {
                    if let Some(value) = lookup(&$crate::kafka::config::variable_name(name)) {
                        config.set(name, &value)?;
                    }
                }
                config.validate()?;
                Ok(config)
            }
        }
    };
}
pub(crate) use set_by_name;

/// Every name that `C` and its bases know, its own first.
pub(crate) fn property_names<C: Configuration>() -> Vec<&'static str> {
    let mut names: Vec<_> = C::PROPERTIES.iter().map(|row| row.name).collect();
    if C::default().base().is_some() {
        names.extend(property_names::<C::Base>());
    }
    names
}

/// Whether `C`, or one of its bases, has an option called `name`.
pub(crate) fn is_option<C: Configuration>(name: &str) -> bool {
    C::PROPERTIES.iter().any(|row| row.name == name)
        || C::is_alike(name)
        || (C::default().base().is_some() && is_option::<C::Base>(name))
}

/// Whether the values of the property called `name` are secrets.
pub(super) fn is_secret<C: Configuration>(name: &str) -> bool {
    match C::PROPERTIES.iter().find(|row| row.name == name) {
        Some(row) => row.is_secret,
        None => C::default().base().is_some() && is_secret::<C::Base>(name),
    }
}

/// The environment variable that sets a property: `linger.ms` → `KAFKA_LINGER_MS`.
pub fn variable_name(name: &str) -> String {
    format!("KAFKA_{}", name.to_ascii_uppercase().replace('.', "_"))
}

fn set_known<C: Configuration>(config: &mut C, name: &str, value: &str) -> Option<Result<()>> {
    if let Some(row) = C::PROPERTIES.iter().find(|row| row.name == name) {
        return Some(set_property(config, row, name, value));
    }
    if let Some(result) = config.set_alike(name, value) {
        return Some(result);
    }
    set_known(config.base()?, name, value)
}

/// Sets the property of this row, which the user called `name`.
pub(crate) fn set_property<C>(
    config: &mut C,
    row: &Property<C>,
    name: &str,
    value: &str,
) -> Result<()> {
    (row.set)(config, value)
        .ok_or_else(|| refused(name, &quoted(value), row.is_secret, row.allowed))
}

fn not_allowed<C>(row: &Property<C>, value: &str) -> Error {
    refused(row.name, value, row.is_secret, row.allowed)
}

fn refused(name: &str, value: &str, is_secret: bool, allowed: &str) -> Error {
    let value = match is_secret || is_misplaced_secret(value) {
        true => Secret::HIDDEN,
        false => value,
    };
    Error::new(
        ErrorKind::Config,
        format!("{name} = {value} is not allowed: allowed is {allowed}"),
    )
}

/// Whether `value` looks like a secret, wherever it was put: a key, or a text that has a password in it.
pub(super) fn is_misplaced_secret(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value.contains("-----begin") || value.contains("password")
}

fn unknown<C: Configuration>(name: &str) -> Error {
    let names = property_names::<C>();
    let advice = match librdkafka::advice(name, |property| names.contains(&property)) {
        Some(advice) => format!(": {advice}"),
        None => nearest(names, name).map_or_else(String::new, |it| format!("; did you mean {it}?")),
    };
    Error::new(
        ErrorKind::Config,
        format!("there is no option {}{advice}", quoted(name)),
    )
}

/// The one of `names` that is `name` but for a unit left out, or for a slip of the pen: two letters, in a name that has more.
pub(super) fn nearest<'a>(names: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    let slips = |known: &str| match known.strip_prefix(name) {
        Some(".ms" | ".bytes") => 0,
        _ => distance(known, name),
    };
    let nearest = names.into_iter().min_by_key(|known| slips(known))?;
    (slips(nearest) <= 2 && name.len() > 4).then_some(nearest)
}

/// How many letters must be put in, taken out or changed to get from one word to the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(80).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ClientConfig;
    use crate::kafka::config::values::{SECRET, TEXT};
    use std::time::Duration;

    #[test]
    fn a_slip_and_a_unit_left_out_are_guessed_and_nothing_else() {
        let names = ["fetch.max.wait.ms", "fetch.max.bytes", "acks"];
        for (name, expected) in [
            ("fetch.max.wait", Some("fetch.max.wait.ms")),
            ("fetch.max", Some("fetch.max.bytes")),
            ("fetch.max.byts", Some("fetch.max.bytes")),
            ("fetch", None),
            ("ack", None),
        ] {
            assert_eq!(nearest(names, name), expected, "{name}");
        }
    }

    #[test]
    fn properties_set_by_javas_names() {
        let config = ClientConfig::from_properties([
            ("bootstrap.servers", "kafka-1:9092, kafka-2:9092"),
            ("request.timeout.ms", "1500"),
        ])
        .expect("good properties");
        assert_eq!(config.bootstrap_servers, ["kafka-1:9092", "kafka-2:9092"]);
        assert_eq!(config.request_timeout, Duration::from_millis(1500));
    }

    #[test]
    fn environment_variables_set_properties() {
        let config = ClientConfig::from_variables(|name| {
            (name == "KAFKA_CLIENT_ID").then(|| "mailer".to_string())
        })
        .expect("good variables");
        assert_eq!(config.client_id, "mailer");
    }

    #[test]
    fn a_wrong_value_names_the_key_the_value_and_what_is_allowed() {
        let error = ClientConfig::from_properties([("request.timeout.ms", "soon")])
            .expect_err("a wrong value");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.to_string(),
            "request.timeout.ms = \"soon\" is not allowed: allowed is a number of milliseconds from 1 to 2147483647"
        );
    }

    #[test]
    fn a_wrong_field_is_found_before_anything_begins() {
        let config = ClientConfig {
            request_timeout: Duration::MAX,
            ..ClientConfig::new("a:1")
        };
        let error = config.validate().expect_err("no clock goes so far");
        let text = error.to_string();
        assert!(text.starts_with("request.timeout.ms = "), "{text}");
        assert!(text.ends_with("from 1 to 2147483647"), "{text}");
        assert!(ClientConfig::from_properties([("retry.backoff.ms", "2147483648")]).is_err());
    }

    #[test]
    fn a_misspelt_option_suggests_the_nearest() {
        let error =
            ClientConfig::from_properties([("bootstrap.server", "a:1")]).expect_err("no option");
        assert_eq!(
            error.to_string(),
            "there is no option \"bootstrap.server\"; did you mean bootstrap.servers?"
        );
        let error = ClientConfig::from_properties([("zzz", "a")]).expect_err("no option");
        assert_eq!(error.to_string(), "there is no option \"zzz\"");
    }

    #[test]
    fn a_value_that_is_what_happens_in_any_case_is_taken_and_others_are_refused_with_the_reason() {
        let mut config = ClientConfig::default();
        for (name, value) in [
            ("client.dns.lookup", "use_all_dns_ips"),
            ("metadata.recovery.strategy", "rebootstrap"),
        ] {
            config.set(name, value).expect("what happens");
        }
        let value = "resolve_canonical_bootstrap_servers_only";
        let error = config.set("client.dns.lookup", value);
        let text = error.expect_err("no names from addresses").to_string();
        for part in [value, "allowed is use_all_dns_ips", "certificates"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn kerberos_is_refused_with_the_reason() {
        for (name, value) in [
            ("sasl.mechanism", "GSSAPI"),
            ("sasl.kerberos.service.name", "kafka"),
            ("sasl.kerberos.ticket.renew.jitter", "0.05"),
        ] {
            let error = ClientConfig::from_properties([(name, value)]).expect_err("no Kerberos");
            let text = error.to_string();
            assert!(
                text.contains("Kerberos") && text.contains("without C"),
                "{text}"
            );
        }
    }

    #[test]
    fn environment_variables_set_security() {
        let jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";";
        let variables = [
            ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            ("KAFKA_SASL_MECHANISM", "PLAIN"),
            ("KAFKA_SASL_JAAS_CONFIG", jaas),
            ("KAFKA_SSL_CA_LOCATION", "/ca.pem"),
        ];
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_string())
        };
        let security = ClientConfig::from_variables(lookup)
            .expect("good variables")
            .security;
        assert!(security.protocol.uses_sasl() && !security.protocol.uses_tls());
        assert_eq!(security.sasl.login.username.as_deref(), Some("u"));
        assert!(format!("{:?}", security.tls.roots).contains("/ca.pem"));
    }

    #[derive(Clone, Debug, Default)]
    struct Login {
        user: String,
        password: Option<Secret>,
    }

    impl Configuration for Login {
        type Base = Self;

        const PROPERTIES: &'static [Property<Self>] = properties! {
            "login.user": TEXT => user;
            "login.password": SECRET => password;
        };

        fn base(&mut self) -> Option<&mut Self> {
            None
        }

        fn check(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_secret_is_shown_by_no_error_and_no_debug() {
        let mut login = Login::default();
        login.set("login.user", "mailer").expect("a user");
        login
            .set("login.password", " hunter2 ")
            .expect("a password");
        assert_eq!(
            login.password.as_ref().map(Secret::reveal),
            Some(" hunter2 ")
        );
        let shown = format!("{login:?} {login:#?}");
        assert!(
            shown.contains("mailer") && !shown.contains("hunter2"),
            "{shown}"
        );
        // Wrong ones: by name, and in the field.
        let error = login.set("login.password", "").expect_err("empty");
        assert_eq!(
            error.to_string(),
            "login.password = [hidden] is not allowed: allowed is a text that is not empty"
        );
        login.password = Some(Secret::new(""));
        let error = login.validate().expect_err("empty");
        assert!(
            error.to_string().starts_with("login.password = [hidden]"),
            "{error}"
        );
        // Neither when the value of any secret row is refused.
        for row in Login::PROPERTIES.iter().filter(|row| row.is_secret) {
            let text = not_allowed(row, "hunter2").to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
        // A misspelt name is told without its value.
        let error = login.set("login.pasword", "hunter2").expect_err("misspelt");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_wrong_duration_is_shown_in_the_unit_of_its_property() {
        let config = ClientConfig {
            request_timeout: Duration::from_secs(10_000_000),
            ..ClientConfig::new("a:1")
        };
        let text = config.validate().expect_err("too long").to_string();
        assert!(
            text.starts_with("request.timeout.ms = 10000000000 is not allowed"),
            "{text}"
        );
    }

    #[test]
    fn a_wrong_value_is_shown_on_one_line_of_a_length_that_one_reads() {
        let absurd = format!("{}\n\u{1b}", "x".repeat(100_000));
        for (name, value) in [
            ("request.timeout.ms", absurd.as_str()),
            ("client.id", absurd.as_str()),
            (absurd.as_str(), "1"),
        ] {
            let text = ClientConfig::from_properties([(name, value)])
                .expect_err("absurd")
                .to_string();
            assert!(
                text.len() < 400 && !text.contains(char::is_control),
                "{text}"
            );
        }
    }
}
