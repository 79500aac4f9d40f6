//! How the own configurations of a resource are altered (KIP-339). In: those that it has, and changes. Out: those that it has then.

use protocol::ErrorCode;

use super::{Own, Refusal, Schema};

/// What becomes of one configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Change {
    pub(crate) fn from_number(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Set => "SET",
            Self::Delete => "DELETE",
            Self::Append => "APPEND",
            Self::Subtract => "SUBTRACT",
        }
    }
}

/// A change of one configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alteration {
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) value: String,
}

impl Schema {
    /// These configurations after the alterations. Only what is done to lists is checked.
    pub(crate) fn altered(&self, own: &Own, alterations: &[Alteration]) -> Result<Own, Refusal> {
        let mut altered = own.clone();
        for Alteration {
            name,
            change,
            value,
        } in alterations
        {
            let value = match change {
                Change::Set => value.clone(),
                Change::Delete => {
                    altered.remove(name);
                    continue;
                }
                Change::Append | Change::Subtract => {
                    let config = self.find(name).filter(|config| config.values.is_list());
                    let config = config.ok_or_else(|| {
                        let change = change.name();
                        let text =
                            format!("Can't {change} to key {name} because its type is not LIST.");
                        (ErrorCode::INVALID_CONFIG, Some(text))
                    })?;
                    let old = altered.get(name).map_or(config.default, String::as_str);
                    list(old, *change, value)
                }
            };
            altered.insert(name.clone(), value);
        }
        Ok(altered)
    }
}

fn list(old: &str, change: Change, value: &str) -> String {
    let mut parts: Vec<_> = old.split(',').filter(|part| !part.is_empty()).collect();
    for part in value.split(',') {
        let at = parts.iter().position(|it| *it == part);
        match (change, at) {
            (Change::Append, None) => parts.push(part),
            (Change::Subtract, Some(at)) => drop(parts.remove(at)),
            _ => {}
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::configs::topic_schema;

    fn altered(
        own: &[(&str, &str)],
        (name, change, value): (&str, Change, &str),
    ) -> Result<Own, Refusal> {
        let own = own
            .iter()
            .map(|(name, value)| (String::from(*name), String::from(*value)));
        let alteration = Alteration {
            name: name.to_owned(),
            change,
            value: value.to_owned(),
        };
        topic_schema().altered(&own.collect(), &[alteration])
    }

    #[test]
    fn lists_are_added_to_and_taken_from_beginning_with_the_default() {
        let policy = "cleanup.policy";
        for (own, change, value, wanted) in [
            (&[][..], Change::Append, "compact", "delete,compact"),
            (&[], Change::Append, "delete", "delete"),
            (
                &[(policy, "compact")],
                Change::Append,
                "delete,compact",
                "compact,delete",
            ),
            (
                &[(policy, "compact,delete")],
                Change::Subtract,
                "delete",
                "compact",
            ),
            (
                &[(policy, "compact")],
                Change::Subtract,
                "delete",
                "compact",
            ),
            (&[], Change::Subtract, "delete", ""),
        ] {
            let altered = altered(own, (policy, change, value)).expect("a list");
            assert_eq!(altered[policy], wanted, "{own:?} {change:?} {value}");
        }
    }

    #[test]
    fn nothing_is_added_to_what_is_no_list() {
        for name in ["retention.ms", "no.such.name"] {
            let refused = altered(&[], (name, Change::Append, "1")).expect_err("no list");
            assert_eq!(refused.0, ErrorCode::INVALID_CONFIG);
        }
    }

    #[test]
    fn what_is_set_is_there_and_what_is_deleted_is_not() {
        let own = [("retention.ms", "1"), ("segment.ms", "2")];
        let set = altered(&own, ("retention.ms", Change::Set, "3")).expect("set");
        assert_eq!((set["retention.ms"].as_str(), set.len()), ("3", 2));
        let deleted = altered(&own, ("retention.ms", Change::Delete, "")).expect("deleted");
        assert_eq!(deleted.keys().collect::<Vec<_>>(), ["segment.ms"]);
        let unknown = altered(&own, ("no.such.name", Change::Delete, "")).expect("nothing to do");
        assert_eq!(unknown.len(), 2);
    }
}
