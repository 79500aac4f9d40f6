//! Keeps the metadata fresh: on wish, when it gets old, and by bootstrapping again when all known brokers are gone (KIP-899).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::ErrorCode;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::pool::{ConnectionPool, Purpose};
use super::{Backoff, Metadata};
use crate::kafka::net::Connection;
use crate::kafka::{Address, ClientConfig, Error, ErrorKind, Random, Result};

/// The metadata and all it takes to renew it.
#[derive(Debug)]
pub(super) struct Refresher {
    config: ClientConfig,
    bootstrap: Vec<Address>,
    connections: ConnectionPool,
    metadata: watch::Sender<Arc<Metadata>>,
    wanted: Mutex<BTreeMap<Arc<str>, Interest>>,
    /// How many refreshes were wished for, ever.
    asked: watch::Sender<Wish>,
    /// The last wish that was fulfilled: by a refresh that started after it.
    fulfilled: watch::Sender<u64>,
    last_error: Mutex<Option<Error>>,
    random: Mutex<Random>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wish {
    number: u64,
    /// The last wish that does not have to wait out the pause: it is about a topic of which nothing is known.
    urgent: u64,
}

/// Who wants a topic's metadata; nobody asks for a topic that none of them does.
#[derive(Clone, Copy, Debug, Default)]
struct Interest {
    /// Somebody wants to hear of it from now on.
    lasting: bool,
    /// How many wait for it to come into being.
    waiting: usize,
}

/// Keeps a topic asked for while somebody waits for it.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    refresher: &'a Refresher,
    topic: &'a str,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut wanted = lock(&self.refresher.wanted);
        if let Some(interest) = wanted.get_mut(self.topic) {
            interest.waiting -= 1;
            if interest.waiting == 0 && !interest.lasting {
                wanted.remove(self.topic);
            }
        }
    }
}

impl Refresher {
    pub fn new(config: &ClientConfig, connections: ConnectionPool) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            bootstrap: config.bootstrap_addresses()?,
            connections,
            metadata: watch::Sender::default(),
            wanted: Mutex::default(),
            asked: watch::Sender::default(),
            fulfilled: watch::Sender::default(),
            last_error: Mutex::default(),
            random: Mutex::new(config.random("metadata")),
        })
    }

    pub fn connections(&self) -> &ConnectionPool {
        &self.connections
    }

    pub fn metadata(&self) -> Arc<Metadata> {
        self.metadata.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Arc<Metadata>> {
        self.metadata.subscribe()
    }

    /// Lets those who wait look again: what they wait for does not come any more.
    pub fn wake_all(&self) {
        self.metadata.send_modify(|_| {});
        self.fulfilled.send_modify(|_| {});
    }

    /// Wishes for a refresh; gives the wish's number.
    pub fn ask(&self) -> u64 {
        let mut number = 0;
        self.asked.send_modify(|wish| {
            wish.number += 1;
            number = wish.number;
        });
        number
    }

    pub async fn refreshed(&self, deadline: Instant) -> Result<Arc<Metadata>> {
        let number = self.ask();
        let mut fulfilled = self.fulfilled.subscribe();
        let tasks = self.connections.tasks();
        let waiting = fulfilled.wait_for(|done| *done >= number || tasks.failure().is_some());
        let waited = timeout_at(deadline, waiting).await;
        tasks.check()?;
        match waited {
            Ok(Ok(_)) => Ok(self.metadata()),
            _ => {
                let error = Error::new(ErrorKind::Timeout, "no broker gave fresh metadata in time");
                let last = lock(&self.last_error).clone();
                Err(match last {
                    Some(last) => error.because(last),
                    None => error,
                })
            }
        }
    }

    /// Asks for these topics from now on, at once for those of which nothing is known.
    pub fn track<'a>(&self, topics: impl IntoIterator<Item = &'a str>) {
        self.want(topics, |interest| interest.lasting = true);
    }

    /// Asks for the topic, at once if nothing is known of it, until what is returned is dropped.
    pub fn wait_for<'a>(&'a self, topic: &'a str) -> Wait<'a> {
        self.want([topic], |interest| interest.waiting += 1);
        Wait {
            refresher: self,
            topic,
        }
    }

    fn want<'a>(&self, topics: impl IntoIterator<Item = &'a str>, change: impl Fn(&mut Interest)) {
        let metadata = self.metadata();
        let mut wanted = lock(&self.wanted);
        let (mut is_any_new, mut is_urgent) = (false, false);
        for topic in topics {
            if let Some(interest) = wanted.get_mut(topic) {
                change(interest);
                continue;
            }
            change(wanted.entry(Arc::from(topic)).or_default());
            is_any_new = true;
            // One who asks for what is not there, again and again, gets no more than others do.
            is_urgent |= !metadata.topic_errors.contains_key(topic);
        }
        if is_any_new {
            self.asked.send_modify(|wish| {
                wish.number += 1;
                if is_urgent {
                    wish.urgent = wish.number;
                }
            });
        }
    }

    fn wanted(&self) -> BTreeSet<Arc<str>> {
        lock(&self.wanted).keys().cloned().collect()
    }

    /// Publishes what `news` makes of what is known; false when it makes nothing of it.
    pub fn learn(&self, news: impl FnOnce(&Metadata) -> Option<Metadata>) -> bool {
        self.metadata.send_if_modified(|known| match news(known) {
            Some(next) => {
                *known = Arc::new(next);
                true
            }
            None => false,
        })
    }

    /// The task: refreshes on wish and when the metadata gets old, until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut asked = self.asked.subscribe();
        let mut backoff = Backoff::new(self.config.retry_backoff, self.config.retry_backoff_max);
        let mut refreshed_at = Instant::now();
        loop {
            let done = *self.fulfilled.borrow();
            let wished = asked.wait_for(|wish| wish.number > done);
            // Too old counts as a wish.
            let _ = timeout_at(refreshed_at + self.config.metadata_max_age, wished).await;
            let pause = lock(&self.random).jittered(self.config.retry_backoff);
            let urgent = asked.wait_for(|wish| wish.urgent > done);
            // An urgent wish ends the pause between refreshes early.
            let _ = timeout_at(refreshed_at + pause, urgent).await;
            let number = self.asked.borrow().number;
            let deadline = Instant::now() + self.config.request_timeout;
            match self.refresh(deadline).await {
                Ok(()) => {
                    backoff.succeeded();
                    refreshed_at = Instant::now();
                    self.fulfilled.send_replace(number);
                }
                Err(error) => {
                    *lock(&self.last_error) = Some(error);
                    let pause = backoff.failed(&mut lock(&self.random));
                    sleep(pause).await;
                }
            }
        }
    }

    /// Asks the brokers that are known, then the bootstrap addresses; publishes the first answer.
    async fn refresh(&self, deadline: Instant) -> Result<()> {
        let mut failures = Vec::new();
        for node in self.known_nodes() {
            match self.refresh_from(node, half_way(deadline)).await {
                Ok(()) => return Ok(()),
                Err(error) => failures.push(error),
            }
        }
        match self.refresh_from_bootstrap(deadline).await {
            Ok(()) => Ok(()),
            Err(more) => {
                failures.extend(more);
                Err(all_failed(&failures))
            }
        }
    }

    /// The first refresh of all: from the bootstrap addresses, again and again until the deadline while that may help.
    pub async fn bootstrap(&self, deadline: Instant) -> Result<()> {
        let mut backoff = Backoff::new(
            self.config.reconnect_backoff,
            self.config.reconnect_backoff_max,
        );
        loop {
            let Err(failures) = self.refresh_from_bootstrap(deadline).await else {
                return Ok(());
            };
            let pause = backoff.failed(&mut lock(&self.random));
            let hopeless = !failures.iter().any(Error::is_retriable);
            if hopeless || timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(all_failed(&failures));
            }
        }
    }

    async fn refresh_from(&self, node: i32, deadline: Instant) -> Result<()> {
        let metadata = self.metadata();
        let Some(broker) = metadata.brokers.get(&node) else {
            return Err(super::gone(node));
        };
        let connected = self
            .connections
            .connect(node, Purpose::Other, &broker.address, deadline);
        self.refresh_over(&connected.await?, deadline).await
    }

    async fn refresh_from_bootstrap(&self, deadline: Instant) -> Result<(), Vec<Error>> {
        let mut addresses = self.bootstrap.clone();
        shuffle(&mut addresses, &mut lock(&self.random));
        let mut failures = Vec::new();
        for address in addresses {
            match self
                .refresh_from_address(&address, half_way(deadline))
                .await
            {
                Ok(()) => return Ok(()),
                Err(error) => failures.push(error),
            }
        }
        Err(failures)
    }

    async fn refresh_from_address(&self, address: &Address, deadline: Instant) -> Result<()> {
        let connection = self.connections.dial(-1, address, deadline).await?;
        self.refresh_over(&connection, deadline).await
    }

    async fn refresh_over(&self, connection: &Connection, deadline: Instant) -> Result<()> {
        let wanted = self.wanted();
        let topics = wanted.iter().map(|name| MetadataRequestTopic {
            name: Some(name.to_string()),
            ..Default::default()
        });
        // A topic that was there before and is gone was deleted by somebody: it is not for us to bring it back.
        let metadata = self.metadata();
        let is_any_new = wanted.iter().any(|name| metadata.topic(name).is_none());
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: self.config.allow_auto_create_topics && is_any_new,
            ..Default::default()
        };
        let response = connection.call(&request, deadline).await?;
        self.publish(connection, &response)
    }

    fn publish(&self, connection: &Connection, response: &MetadataResponse) -> Result<()> {
        let (node, address) = connection.broker();
        if response.error_code != ErrorCode::NONE {
            return Err(Error::server(response.error_code, None).broker(node, address));
        }
        if response.brokers.is_empty() {
            return Err(
                Error::new(ErrorKind::Connect, "the broker knows of no live broker yet")
                    .broker(node, address),
            );
        }
        // Topics that were wanted or let go while the question was under way count as they are now.
        let wanted = self.wanted();
        self.learn(|known| Some(known.merged(response, &wanted)));
        let metadata = self.metadata();
        self.connections
            .retain(|node| metadata.brokers.contains_key(&node));
        Ok(())
    }

    pub async fn any_connection(&self, deadline: Instant) -> Result<Connection> {
        let metadata = self.metadata();
        let nodes = self.known_nodes();
        let mut failures = Vec::new();
        for (place, node) in nodes.iter().enumerate() {
            let Some(broker) = metadata.brokers.get(node) else {
                continue;
            };
            let is_last = place + 1 == nodes.len();
            let until = if is_last {
                deadline
            } else {
                half_way(deadline)
            };
            match self
                .connections
                .connect(broker.id, Purpose::Other, &broker.address, until)
                .await
            {
                Ok(connection) => return Ok(connection),
                Err(error) => failures.push(error),
            }
        }
        self.ask();
        Err(all_failed(&failures))
    }

    /// Brokers in the order in which to ask them: those with an open connection first, those that just failed last, else by chance.
    fn known_nodes(&self) -> Vec<i32> {
        let metadata = self.metadata();
        let mut brokers: Vec<_> = metadata.brokers.values().collect();
        shuffle(&mut brokers, &mut lock(&self.random));
        brokers.sort_by_key(|broker| {
            self.connections
                .rank(broker.id, Purpose::Other, &broker.address)
        });
        brokers.iter().map(|broker| broker.id).collect()
    }
}

/// Half of the time that is left: a broker that keeps silent leaves the rest to the next one.
pub(super) fn half_way(deadline: Instant) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / 2
}

fn all_failed(failures: &[Error]) -> Error {
    match failures {
        [one] => one.clone(),
        _ => {
            let each: Vec<_> = failures.iter().map(ToString::to_string).collect();
            Error::new(
                ErrorKind::Connect,
                format!("no broker could be reached: {}", each.join("; ")),
            )
        }
    }
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for end in (1..items.len()).rev() {
        items.swap(end, random.below(end + 1));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
