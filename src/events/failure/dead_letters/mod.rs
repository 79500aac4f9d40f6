//! Dead letters after the fact: looked at, replayed into the topics that they came from, and deleted.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `filter` | which of them are meant |
//! | `reading` | a topic read from its beginning to where it ends now |
//! | `replay` | records written to their topics again, in order per key, each once |
//! | `marks` | what was replayed, kept as the commits of a group of its own |
//! | `known` | where the records stood of the letters that were met |
//! | `origin` | what is left out of a dead letter, read where the record stands |
//! | `purge` | records deleted |

mod filter;
mod known;
mod marks;
mod origin;
mod purge;
mod reading;
mod replay;

use std::ops::ControlFlow;

pub use filter::DeadLetterFilter;
pub use purge::{PurgeUpTo, Purged};
pub use replay::{ReplayOptions, Replayed};

use super::DeadLetter;
use crate::kafka::{Client, RecordView, Result};
use reading::{Reading, parse};

/// What is appended to the name of a topic of dead letters for the group that keeps what was replayed.
const REPLAY_SUFFIX: &str = ".replay";

/// The dead letters in a topic: to be looked at, replayed, and deleted.
///
/// ```no_run
/// # async fn example() -> pat_events::kafka::Result<()> {
/// use pat_events::events::{DeadLetters, FailureClass, ReplayOptions};
/// use pat_events::kafka::{Client, ClientConfig};
///
/// let client = Client::connect(ClientConfig::new("localhost:9092")).await?;
/// let letters = DeadLetters::on(&client, "emails.dlq");
/// let mut options = ReplayOptions::default();
/// options.filter.class = Some(FailureClass::Transient);
/// let replayed = letters.replay(&options).await?;
/// println!("{} of {} replayed", replayed.replayed, replayed.selected);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct DeadLetters {
    client: Client,
    topic: String,
    group: String,
}

/// What was found in a topic of dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterCounts {
    /// Records read.
    pub read: u64,
    /// Of these, dead letters that the filter takes.
    pub selected: u64,
    /// Of these, records that are no dead letters.
    pub others: u64,
}

impl DeadLetters {
    /// Those in `topic`. What is replayed is kept as commits of the group that has the topic's name with `.replay` behind it.
    pub fn on(client: &Client, topic: impl Into<String>) -> Self {
        let topic = topic.into();
        Self {
            client: client.clone(),
            group: format!("{topic}{REPLAY_SUFFIX}"),
            topic,
        }
    }

    /// With another group, which knows nothing of what was replayed by the first.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Calls `each` with every dead letter that `filter` takes, from the beginning of each partition to where it ends now, until it breaks off.
    /// One partition is in order, several are mixed. Cancel safe.
    pub async fn read(
        &self,
        filter: &DeadLetterFilter,
        mut each: impl FnMut(&RecordView<'_>, &DeadLetter) -> ControlFlow<()>,
    ) -> Result<DeadLetterCounts> {
        let mut counts = DeadLetterCounts::default();
        let mut reading = Reading::begin(&self.client, &self.topic, None).await?;
        while let Some(records) = reading.next().await? {
            for record in records.iter().filter(|record| !reading.is_new(record)) {
                counts.read += 1;
                let Some(letter) = parse(&record) else {
                    counts.others += 1;
                    continue;
                };
                if filter.takes(&record, &letter) {
                    counts.selected += 1;
                    if each(&record, &letter).is_break() {
                        return Ok(counts);
                    }
                }
            }
        }
        Ok(counts)
    }
}
