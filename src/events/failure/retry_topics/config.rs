//! Which retry topics there are, what they are called, and their creation.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::kafka::config::values::{Kind, list};
use crate::kafka::{Client, Error, ErrorCode, ErrorKind, NewTopic, Result};

/// The most retry topics of one topic.
const MOST_LEVELS: usize = 16;
/// For how long a topic that was just created may be unknown to brokers, and how often they are asked.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
const TOPIC: &str = "{topic}";
const GROUP: &str = "{group}";
const DELAY: &str = "{delay}";

/// The topics in which events wait whose attempts in place are used up, each for longer than the one before. None by default: then
/// [`OnFailure`](crate::events::OnFailure) decides at once.
///
/// Each topic that is read has retry topics of its own, with at least as many partitions; a consumer does not start without them.
/// As everywhere, an event may come again after a member died; what came for the first time is in the order of its key.
/// After its time in each a failed event has one attempt; what waited only for others of its key has all of its own.
/// [`create`](RetryTopics::create) creates them. Of a partition that is added later nothing is handled until they have it as well. They keep records
/// until these are due at least (`retention.ms`), and are not compacted. When one is deleted and re-created, what waited in it is gone; what came
/// behind that goes on, in the order of its key. [`ClientEvent::RetryTopicFailed`](crate::kafka::observe::ClientEvent::RetryTopicFailed) tells of both.
///
/// ```
/// use std::time::Duration;
/// use pat_events::events::{ConsumerConfig, RetryTopics};
///
/// let config = ConsumerConfig::from_properties([
///     ("bootstrap.servers", "localhost:9092"),
///     ("topics", "emails"),
///     ("group.id", "indexer"),
///     ("retry.topics", "5s,1m"),
/// ])?;
/// let delays = [5, 60].map(Duration::from_secs);
/// assert_eq!(config.retry_topics, RetryTopics::after(delays));
/// assert_eq!(
///     config.retry_topics.names("emails", "indexer"),
///     ["emails.retry.5s", "emails.retry.1m"],
/// );
/// # Ok::<(), pat_events::kafka::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryTopics {
    /// `retry.topics`: how long an event waits in each, such as `5s,1m`: growing, in whole `ms`, `s`, `m`, `h` or `d`, 16 at the most. Default none.
    pub delays: Vec<Duration>,
    /// `retry.topic.name`: what they are called.
    pub name: RetryTopicName,
    /// `retry.pending.max`: the most events of one partition that are under way in its retry topics, from 1 to 10,000,000; each takes about 50 bytes
    /// of memory. What would be beyond waits where it is: a failed event is retried in place, and others of its key wait behind it. A consumer ends
    /// with an error that finds more than twice as many. Default 50,000.
    pub max_pending: usize,
}

/// What retry topics are called: a text with `{topic}`, `{delay}` and maybe `{group}` in it. Default `{topic}.retry.{delay}`.
///
/// Groups that read one topic may share its retry topics, where each passes over what is another's. With `{group}` in the name each has its own,
/// and reads nothing for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryTopicName(String);

impl Default for RetryTopicName {
    fn default() -> Self {
        Self(format!("{TOPIC}.retry.{DELAY}"))
    }
}

impl FromStr for RetryTopicName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let name = text.trim();
        let once = |part: &str| name.matches(part).count();
        match (once(TOPIC), once(DELAY), once(GROUP)) {
            (1, 1, 0 | 1) => Ok(Self(name.to_string())),
            _ => Err(NAME_PATTERN.refusal("retry.topic.name", text)),
        }
    }
}

impl fmt::Display for RetryTopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) const NAME_PATTERN: Kind<RetryTopicName> =
    Kind::any("a text with {topic} and {delay} in it, once each, and {group} once at the most");

pub(crate) const PENDING: Kind<usize> =
    Kind::number::<1, 10_000_000>("a number from 1 to 10000000");

pub(crate) const DELAYS: Kind<Vec<Duration>> = Kind {
    allowed: "growing times such as 5s,1m,30m (ms, s, m, h, d), 16 at the most",
    read: |text| list(text).iter().map(|one| read_delay(one)).collect(),
    holds: |delays| {
        delays.len() <= MOST_LEVELS
            && delays
                .iter()
                .all(|delay| *delay >= Duration::from_millis(1))
            && delays.is_sorted_by(|one, next| one < next)
    },
    show: |delays| {
        let texts: Vec<_> = delays.iter().map(|delay| show_delay(*delay)).collect();
        format!("{:?}", texts.join(","))
    },
    is_secret: false,
};

/// The units, the largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

fn read_delay(text: &str) -> Option<Duration> {
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
    let ms = number.parse::<u64>().ok()?.checked_mul(*ms)?;
    // A thousand years of milliseconds fit into all that is counted with them.
    Some(Duration::from_millis(ms)).filter(|it| it.as_secs() < 1_000 * 366 * 86_400)
}

/// In the largest unit that it is a whole number of.
fn show_delay(delay: Duration) -> String {
    let ms = delay.as_millis() as u64;
    let unit = UNITS.iter().find(|(_, unit)| ms.is_multiple_of(*unit));
    let (name, unit) = unit.unwrap_or(&("ms", 1));
    format!("{}{name}", ms / unit)
}

impl Default for RetryTopics {
    fn default() -> Self {
        Self {
            delays: Vec::new(),
            name: RetryTopicName::default(),
            max_pending: 50_000,
        }
    }
}

impl RetryTopics {
    /// One for each of these delays, which grow.
    pub fn after(delays: impl IntoIterator<Item = Duration>) -> Self {
        Self {
            delays: delays.into_iter().collect(),
            ..Self::default()
        }
    }

    /// With other names than the default's.
    pub fn named(mut self, name: RetryTopicName) -> Self {
        self.name = name;
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.delays.is_empty()
    }

    /// The names of those of `topic`, for the group with this id.
    pub fn names(&self, topic: &str, group: &str) -> Vec<String> {
        let named = |delay: &Duration| {
            let name = self.name.0.replace(DELAY, &show_delay(*delay));
            name.replace(GROUP, group).replace(TOPIC, topic)
        };
        self.delays.iter().map(named).collect()
    }

    /// What stands before and behind a topic's name in that of each of its retry topics.
    pub(crate) fn around(&self, group: &str) -> Vec<(String, String)> {
        let parts = |name: String| {
            let (before, behind) = name.split_once('\n')?;
            Some((before.to_string(), behind.to_string()))
        };
        let names = self.names("\n", group).into_iter();
        names.filter_map(parts).collect()
    }

    /// Creates those of `topic` that are not there, for the group with this id, each with as many partitions and copies as `topic` has. Returns the
    /// names of all.
    ///
    /// Fails with [`ErrorKind::UnknownTopicOrPartition`] when there is no `topic`, with what the brokers say of the first that they refuse, and with
    /// [`ErrorKind::Config`] when one that is there has fewer partitions than `topic`.
    /// Dropping the future may leave some of them created.
    pub async fn create(&self, client: &Client, topic: &str, group: &str) -> Result<Vec<String>> {
        let admin = client.admin();
        let names = self.names(topic, group);
        let described = admin.describe_topics(&[topic]).await?;
        let mut described = described.into_values().collect::<Result<Vec<_>>>()?;
        let Some(origin) = described.pop() else {
            return Ok(names);
        };
        let partitions = origin.partitions.len() as i32;
        let copies = origin.partitions.iter().map(|it| it.replicas.len()).max();
        let new = |name: &String| {
            let new = NewTopic::new(name, partitions);
            let new = new.replication_factor(copies.unwrap_or(1) as i16);
            new.config("cleanup.policy", "delete")
        };
        let new: Vec<_> = names.iter().map(new).collect();
        let mut there = Vec::new();
        for (name, created) in admin.create_topics(&new).await? {
            match created {
                Err(error) if is_there(&error) => there.push(name),
                created => created?,
            }
        }
        let there: Vec<&str> = there.iter().map(String::as_str).collect();
        for (name, described) in admin.describe_topics(&there).await? {
            let has = described?.partitions.len();
            if has < origin.partitions.len() {
                return Err(missing(&name, has, topic, origin.partitions.len()));
            }
        }
        Ok(names)
    }

    /// Fails with [`ErrorKind::Config`] when one of those of `topics` is missing, or has too few partitions, and goes on to be for a few seconds: a
    /// topic that was just created is not known to every broker at once.
    pub(crate) async fn check(&self, client: &Client, topics: &[&str], group: &str) -> Result<()> {
        if self.is_empty() || topics.is_empty() {
            return Ok(());
        }
        let give_up = Instant::now() + KNOWN_WITHIN;
        loop {
            match self.check_once(client, topics, group).await {
                Err(error) if error.kind() == ErrorKind::Config && Instant::now() < give_up => {
                    sleep(LOOK_AGAIN).await;
                }
                checked => return checked,
            }
        }
    }

    async fn check_once(&self, client: &Client, topics: &[&str], group: &str) -> Result<()> {
        let admin = client.admin();
        let origins = admin.describe_topics(topics).await?;
        let names: Vec<_> = topics
            .iter()
            .flat_map(|topic| self.names(topic, group))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let there = admin.describe_topics(&names).await?;
        for (topic, origin) in origins {
            // That it is missing is for the subscription to say.
            let Ok(origin) = origin else { continue };
            for name in self.names(&topic, group) {
                let partitions = match there.get(&name) {
                    Some(Ok(retry)) => retry.partitions.len(),
                    Some(Err(error)) if error.kind() == ErrorKind::UnknownTopicOrPartition => 0,
                    Some(Err(error)) => return Err(error.clone()),
                    None => 0,
                };
                if partitions < origin.partitions.len() {
                    return Err(missing(&name, partitions, &topic, origin.partitions.len()));
                }
            }
        }
        Ok(())
    }

    /// Why the configuration cannot be; `None` when it can.
    pub(crate) fn refusal(&self, topics: &[String], group: &str) -> Option<String> {
        if let Some(wrong) = DELAYS.wrong(&self.delays) {
            let allowed = DELAYS.allowed;
            return Some(format!(
                "retry.topics = {wrong} is not allowed: allowed is {allowed}"
            ));
        }
        let names = topics.iter().flat_map(|topic| self.names(topic, group));
        let read = names.into_iter().find(|name| topics.contains(name))?;
        Some(format!(
            "retry.topics: {read} is one of the topics that are read: what waits in it would be handled at once"
        ))
    }
}

fn is_there(error: &Error) -> bool {
    error.server_error() == Some(ErrorCode::TOPIC_ALREADY_EXISTS)
}

fn missing(name: &str, partitions: usize, topic: &str, wanted: usize) -> Error {
    let what = match partitions {
        0 => "does not exist".to_string(),
        _ => format!("has {partitions} partitions"),
    };
    Error::new(
        ErrorKind::Config,
        format!(
            "the retry topic {name} {what}: it has to have at least as many partitions as {topic}, which has {wanted} \
             (RetryTopics::create creates it)"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<u64>> {
        let delays = DELAYS.read(text)?;
        Some(delays.iter().map(|it| it.as_millis() as u64).collect())
    }

    #[test]
    fn delays_are_read_in_all_units_and_have_to_grow() {
        let all = read("250ms, 5s,1m,2h,3d");
        let ms = vec![250, 5_000, 60_000, 7_200_000, 259_200_000];
        assert_eq!(all, Some(ms));
        assert_eq!(read(""), Some(vec![]));
        for wrong in [
            "5",
            "5 parsecs",
            "1m,5s",
            "60s,1m",
            "0s",
            "-5s",
            "99999999999999999999s",
            "9999999999d",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let many = (1..=17).map(|it| format!("{it}s")).collect::<Vec<_>>();
        assert_eq!(read(&many.join(",")), None);
        assert!(read(&many[..16].join(",")).is_some());
    }

    #[test]
    fn topics_are_named_by_delays_in_their_largest_unit() {
        let delays = [1, 90, 60, 86_400].map(Duration::from_secs);
        let mut topics = RetryTopics::after(delays);
        let names = topics.names("emails", "g");
        let expected = [
            "emails.retry.1s",
            "emails.retry.90s",
            "emails.retry.1m",
            "emails.retry.1d",
        ];
        assert_eq!(names, expected);
        topics.name = "{group}-{topic}-again-{delay}".parse().expect("a name");
        assert_eq!(topics.names("emails", "g")[0], "g-emails-again-1s");
        let around = topics.around("g");
        assert_eq!(around[0], ("g-".to_string(), "-again-1s".to_string()));
    }

    #[test]
    fn a_name_needs_topic_and_delay() {
        for wrong in ["retry", "{topic}.retry", "{delay}", "{topic}{topic}{delay}"] {
            let error = wrong.parse::<RetryTopicName>().expect_err("not allowed");
            assert!(error.to_string().starts_with("retry.topic.name"), "{error}");
        }
    }
}
