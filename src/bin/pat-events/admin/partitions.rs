//! Partitions as people name them. In: `orders`, `orders:0,3-5`, `^orders\.`. Out: the partitions that there are of these names.

use std::collections::BTreeMap;
use std::str::FromStr;

use pat_events::kafka::{Admin, TopicDescription, TopicPartition};
use regex_lite::Regex;
use serde_json::{Value, json};

use crate::Outcome;
use crate::listing::Listing;

/// The most partitions of one topic that a command line can name.
const MOST_PARTITIONS: usize = 100_000;

/// Partitions of a topic, or of all topics that match a pattern.
#[derive(Clone, Debug)]
pub struct Named {
    pub topics: TopicName,
    /// All where none is named.
    pub partitions: Option<Vec<i32>>,
}

/// A topic, or all that match a pattern.
#[derive(Clone, Debug)]
pub enum TopicName {
    Exactly(String),
    Matching(Regex),
}

impl FromStr for TopicName {
    type Err = String;

    /// A name that begins with `^` is a pattern, as for consumers.
    fn from_str(text: &str) -> Result<TopicName, String> {
        if !text.starts_with('^') {
            return match text {
                "" => Err("a topic has a name".to_owned()),
                name => Ok(TopicName::Exactly(name.to_owned())),
            };
        }
        Regex::new(text)
            .map(TopicName::Matching)
            .map_err(|error| format!("{text:?} is no regular expression: {error}"))
    }
}

impl TopicName {
    pub fn matches(&self, name: &str) -> bool {
        match self {
            TopicName::Exactly(exactly) => exactly == name,
            TopicName::Matching(pattern) => pattern.is_match(name),
        }
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Named, String> {
        // A pattern may have colons of its own, and is about whole topics.
        let (topics, partitions) = match text.rsplit_once(':') {
            Some((topic, partitions)) if !text.starts_with('^') => {
                (topic, Some(numbers(partitions)?))
            }
            _ => (text, None),
        };
        Ok(Named {
            topics: topics.parse()?,
            partitions,
        })
    }
}

/// Reads `0,3-5`.
pub fn numbers(text: &str) -> Result<Vec<i32>, String> {
    let wrong = || format!("{text:?} are no partitions: write numbers and ranges, such as 0,3-5");
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<i32>().ok().filter(|number| *number >= 0);
        let (first, last) = number(first).zip(number(last)).ok_or_else(wrong)?;
        if first > last || (last - first) as usize >= MOST_PARTITIONS - numbers.len() {
            return Err(wrong());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

/// The topics of these names; all but the brokers' own where there are no names. What there is not is told as a failure, and so is what cannot be
/// described.
pub async fn topics(
    admin: &Admin,
    names: &[TopicName],
    with_internal: bool,
    listing: &mut Listing,
) -> Outcome<BTreeMap<String, TopicDescription>> {
    let exact: Option<Vec<&str>> = names
        .iter()
        .map(|name| match name {
            TopicName::Exactly(name) => Some(name.as_str()),
            TopicName::Matching(_) => None,
        })
        .collect();
    let described = match exact {
        Some(names) if !names.is_empty() => admin.describe_topics(&names).await?,
        _ => admin.list_topics().await?,
    };
    let mut topics = BTreeMap::new();
    for (name, topic) in &described {
        let is_meant = match names.is_empty() {
            true => topic
                .as_ref()
                .is_ok_and(|it| with_internal || !it.is_internal),
            false => names.iter().any(|it| match it {
                TopicName::Exactly(exactly) => exactly == name,
                TopicName::Matching(pattern) => {
                    let is_shown = topic
                        .as_ref()
                        .is_ok_and(|it| with_internal || !it.is_internal);
                    is_shown && pattern.is_match(name)
                }
            }),
        };
        match topic {
            Ok(topic) if is_meant => drop(topics.insert(name.clone(), topic.clone())),
            Err(error) if is_meant || names.is_empty() => {
                listing.failed(json!({"topic": name}), error);
            }
            _ => {}
        }
    }
    for name in names {
        if let TopicName::Exactly(name) = name
            && !described.contains_key(name)
        {
            listing.wrong(json!({"topic": name}), format!("there is no topic {name}"));
        }
    }
    Ok(topics)
}

/// The partitions of these names. What there is not is told as a failure.
pub async fn partitions(
    admin: &Admin,
    named: &[Named],
    with_internal: bool,
    listing: &mut Listing,
) -> Outcome<Vec<TopicPartition>> {
    let names: Vec<_> = named.iter().map(|it| it.topics.clone()).collect();
    let topics = topics(admin, &names, with_internal, listing).await?;
    let mut found = Vec::new();
    for (name, topic) in &topics {
        let about: Vec<_> = named.iter().filter(|it| it.topics.matches(name)).collect();
        let is_whole = about.is_empty() || about.iter().any(|it| it.partitions.is_none());
        let all = topic.partitions.iter().map(|it| it.partition);
        if is_whole {
            found.extend(all.map(|number| TopicPartition::new(name.as_str(), number)));
            continue;
        }
        let all: Vec<i32> = all.collect();
        let mut wanted: Vec<i32> = about
            .iter()
            .flat_map(|it| it.partitions.iter().flatten().copied())
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        for number in wanted {
            match all.contains(&number) {
                true => found.push(TopicPartition::new(name.as_str(), number)),
                false => listing.wrong(
                    json!({"topic": name, "partition": number}),
                    format!(
                        "{name} has {} partitions, and none is number {number}",
                        all.len()
                    ),
                ),
            }
        }
    }
    Ok(found)
}

/// What names a partition in JSON and in tables.
pub fn place(partition: &TopicPartition) -> Value {
    json!({"topic": &*partition.topic, "partition": partition.partition})
}

/// An object with what another has, too.
pub fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_named_by_numbers_and_ranges() {
        assert_eq!(numbers("0,3-5"), Ok(vec![0, 3, 4, 5]));
        assert_eq!(numbers("7"), Ok(vec![7]));
        for wrong in ["", "a", "-1", "3-1", "1,", "0-2147483647", "1-2-3"] {
            let error = numbers(wrong).expect_err(wrong);
            assert!(error.contains("such as 0,3-5"), "{error}");
        }
    }

    #[test]
    fn a_topic_is_named_alone_with_partitions_or_by_a_pattern() {
        let named = |text: &str| text.parse::<Named>().expect(text);
        assert!(named("orders").partitions.is_none());
        assert_eq!(named("orders:1").partitions, Some(vec![1]));
        let pattern = named("^(?:orders|mails)$");
        assert!(pattern.partitions.is_none());
        assert!(pattern.topics.matches("mails") && !pattern.topics.matches("mails2"));
        for wrong in ["", ":1", "^(", "orders:x"] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }
}
