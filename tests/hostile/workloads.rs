//! What clients do under a tampering: little, but of everything. Each workload works for a while under the tampering, then the tampering ends, and then
//! everything has to work. In: a harness. Out: its notes.

mod administer;
mod produce;
mod read;
mod share;

use std::fmt;
use std::time::Duration;

use pat_events::kafka::{GroupProtocol, Result};
use tokio::time::{Instant, sleep};

use self::administer::administer;
use self::produce::produce;
use self::read::{Reading, read};
use self::share::share;
use crate::harness::{Harness, REQUEST_TIMEOUT, TAMPERING, TOPIC};
use crate::typed;

/// How many records there are while the tampering lasts.
pub const RECORDS: u32 = 30;
/// And after it.
pub const MORE: u32 = 3;
const BLOCK: Duration = Duration::from_secs(4);
const DELIVERY: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_millis(100);
/// How long after the tampering something new is written again, for readers.
pub const WRITE_AGAIN: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    /// An idempotent producer.
    Producer,
    /// A producer without idempotence.
    Plain,
    /// A consumer by assignment.
    Reader,
    /// A consumer in a group, with commits.
    Member,
    /// The same, subscribed to a pattern: it asks for the list of all topics.
    Pattern,
    /// A member by the consumer protocol (KIP-848), with commits.
    Consumer,
    /// A member by whichever protocol the brokers say that they have.
    Auto,
    /// A member by the consumer protocol whose pattern the brokers match.
    BrokerPattern,
    /// A consumer of typed events.
    Typed,
    /// The same, by the consumer protocol.
    TypedConsumer,
    /// A member of a share group (KIP-932).
    Share,
    Admin,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Workload::Producer => "producer",
            Workload::Plain => "plain-producer",
            Workload::Reader => "reader",
            Workload::Member => "member",
            Workload::Pattern => "pattern",
            Workload::Consumer => "consumer",
            Workload::Auto => "auto",
            Workload::BrokerPattern => "broker-pattern",
            Workload::Typed => "typed",
            Workload::TypedConsumer => "typed-consumer",
            Workload::Share => "share",
            Workload::Admin => "admin",
        })
    }
}

impl Workload {
    pub const ALL: [Workload; 12] = [
        Workload::Producer,
        Workload::Plain,
        Workload::Reader,
        Workload::Member,
        Workload::Pattern,
        Workload::Consumer,
        Workload::Auto,
        Workload::BrokerPattern,
        Workload::Typed,
        Workload::TypedConsumer,
        Workload::Share,
        Workload::Admin,
    ];

    pub async fn run(self, harness: &mut Harness) {
        use GroupProtocol::{Auto, Classic, Consumer};
        match self {
            Workload::Producer => produce(harness, true).await,
            Workload::Plain => produce(harness, false).await,
            Workload::Reader => read(harness, Reading::Assigned).await,
            Workload::Member => read(harness, Reading::topics(TOPIC, Classic)).await,
            Workload::Pattern => read(harness, Reading::topics("^t$", Classic)).await,
            Workload::Consumer => read(harness, Reading::topics(TOPIC, Consumer)).await,
            Workload::Auto => read(harness, Reading::topics(TOPIC, Auto)).await,
            Workload::BrokerPattern => read(harness, Reading::BrokerPattern("t|u")).await,
            Workload::Typed => typed::handle(harness, Classic).await,
            Workload::TypedConsumer => typed::handle(harness, Consumer).await,
            Workload::Share => share(harness).await,
            Workload::Admin => administer(harness).await,
        }
    }
}

/// Makes a call that must end within the request timeout, and waits a moment where it fails: it is made again. `None` when it did not end at all.
async fn attempt<T>(
    harness: &mut Harness,
    name: &'static str,
    call: impl Future<Output = Result<T>>,
) -> Option<Option<T>> {
    match harness.call(name, REQUEST_TIMEOUT, call).await? {
        Ok(done) => Some(Some(done)),
        Err(error) => {
            harness.error(name, &error);
            sleep(PAUSE).await;
            Some(None)
        }
    }
}

/// Connects, again and again while the tampering lasts; after it, for as long as healing may take.
async fn connect<T, F>(harness: &mut Harness, bound: Duration, connect: impl Fn() -> F) -> Option<T>
where
    F: Future<Output = Result<T>>,
{
    let until = Instant::now()
        + if harness.is_tampering() {
            TAMPERING
        } else {
            harness.healing()
        };
    loop {
        match harness.call("connect", bound, connect()).await? {
            Ok(client) => return Some(client),
            Err(error) => harness.error("connect", &error),
        }
        if Instant::now() >= until {
            return None;
        }
        sleep(PAUSE).await;
    }
}
