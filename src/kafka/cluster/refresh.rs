//! Keeps the metadata fresh: on request, when it gets old, and by bootstrapping again when no known broker answers (KIP-899). When to ask, for
//! what and whom first, is the plan's decision; here is what awaits.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use protocol::Request;
use protocol::messages::metadata_request::MetadataRequestTopic;
use protocol::messages::metadata_response::MetadataResponseBroker;
use protocol::messages::{DescribeClusterRequest, MetadataRequest, MetadataResponse};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::changes::tell_changes;
use super::hedge::first_success;
use super::leader_doubts::{LeaderClaim, LeaderDoubts};
use super::pool::{ConnectionPool, Place};
use super::refresh_plan::{Candidate, Next, Refresh, RefreshPlan, Standing, Until, whom_to_ask};
use super::router::{Answer, ask};
use super::{Backoff, Metadata};
use crate::kafka::error::may_pass;
use crate::kafka::net::Connection;
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::{Mutex, Watched, Watcher};
use crate::kafka::{Address, ClientConfig, Error, ErrorKind, Random, Result, WriteOutcome};

/// How long one broker is asked alone, before the next one is asked beside it.
pub(super) const HEAD_START: Duration = Duration::from_millis(500);
/// The same of bootstrap addresses, of which any may be dead.
const BOOTSTRAP_HEAD_START: Duration = Duration::from_millis(250);
/// How often, in a row, all bootstrap addresses may close the connection in the handshake. A broker that is starting, or a proxy without
/// one, does so for a moment; a listener that wants encryption or authentication always does.
const CLOSED_AT_ONCE: u32 = 4;
/// Time that is not worth cutting in halves.
const SHORT: Duration = Duration::from_secs(1);
/// Controllers, not brokers, in DescribeCluster's numbering.
const CONTROLLERS: i8 = 2;
/// How many failures an error lists.
const LISTED: usize = 5;

/// The metadata and all it takes to renew it.
#[derive(Debug)]
pub(super) struct Refresher {
    config: ClientConfig,
    bootstrap: Vec<Address>,
    connections: ConnectionPool,
    metadata: Watched<Arc<Metadata>>,
    /// Locked for the moment of a merge, inside the metadata's own lock.
    doubts: Mutex<LeaderDoubts>,
    plan: Mutex<RefreshPlan>,
    /// Wakes the task: the plan has changed.
    planned: Notify,
    /// The last request that was fulfilled: by a refresh that began after it.
    fulfilled: Watched<u64>,
    /// Held by the one who looks for the cluster: the others wait for what comes of it.
    bootstrapping: Semaphore,
    random: Mutex<Random>,
}

/// Keeps a topic asked for while somebody waits for it.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    refresher: &'a Refresher,
    topic: &'a str,
    came: bool,
}

impl Wait<'_> {
    /// The topic is here.
    pub fn came(&mut self) {
        self.came = true;
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.refresher.plan.lock().waited(self.topic, self.came);
    }
}

/// Keeps all topics asked for, with everything else, as long as it lives.
#[derive(Debug)]
pub(crate) struct ListInterest(Arc<Refresher>);

impl ListInterest {
    pub(super) fn new(refresher: &Arc<Refresher>) -> Self {
        refresher.plan.lock().want_list();
        refresher.planned.notify_one();
        Self(refresher.clone())
    }
}

impl Drop for ListInterest {
    fn drop(&mut self) {
        self.0.plan.lock().release_list();
    }
}

impl Refresher {
    pub fn new(config: &ClientConfig, connections: ConnectionPool) -> Result<Self> {
        Ok(Self {
            config: config.clone(),
            bootstrap: config.bootstrap_addresses()?,
            connections,
            metadata: Watched::default(),
            doubts: Mutex::new(LeaderDoubts::new(config.retry_backoff_max)),
            plan: Mutex::new(RefreshPlan::new(config, Instant::now())),
            planned: Notify::new(),
            fulfilled: Watched::default(),
            bootstrapping: Semaphore::new(1),
            random: Mutex::new(config.random("metadata")),
        })
    }

    pub fn connections(&self) -> &ConnectionPool {
        &self.connections
    }

    pub fn metadata(&self) -> Arc<Metadata> {
        self.metadata.borrow().clone()
    }

    pub fn watch(&self) -> Watcher<Arc<Metadata>> {
        self.metadata.watch()
    }

    /// The refreshes that succeeded, whether they brought anything new or not.
    pub fn refreshes(&self) -> Watcher<u64> {
        self.fulfilled.watch()
    }

    /// Lets those who wait look again: what they wait for does not come any more.
    pub fn wake_all(&self) {
        self.metadata.touch();
        self.fulfilled.touch();
    }

    /// Requests a refresh of everything; returns the request's number.
    pub fn request(&self) -> u64 {
        let number = self.plan.lock().request();
        self.planned.notify_one();
        number
    }

    /// Requests a refresh of one topic, where it is of interest.
    pub fn request_topic(&self, topic: &str) {
        self.plan.lock().request_topic(topic);
        self.planned.notify_one();
    }

    pub async fn refreshed(&self, deadline: Instant) -> Result<Arc<Metadata>> {
        let number = self.request();
        let mut fulfilled = self.fulfilled.watch();
        let tasks = self.connections.tasks();
        let waiting = fulfilled.until(|done| *done >= number || tasks.failure().is_some());
        let waited = timeout_at(deadline, waiting).await;
        tasks.check()?;
        match waited {
            Ok(Ok(_)) => Ok(self.metadata()),
            _ => {
                let message = "no broker returned fresh metadata in time";
                Err(self.not_in_time(Error::new(ErrorKind::Timeout, message)))
            }
        }
    }

    /// `error`, with what the last refresh failed by, if it did.
    pub fn not_in_time(&self, error: Error) -> Error {
        let error = error.with_outcome(WriteOutcome::NotWritten);
        match self.plan.lock().last_error() {
            Some(last) => error.because(last),
            None => error,
        }
    }

    /// What keeps the metadata from being refreshed, and since when.
    pub fn failing(&self) -> Option<(Instant, Error)> {
        self.plan.lock().failing()
    }

    /// One of those who wanted these topics until they release them does so.
    pub fn release(&self, topics: &BTreeSet<String>) {
        let mut plan = self.plan.lock();
        let now = Instant::now();
        topics.iter().for_each(|topic| plan.release(topic, now));
    }

    /// These topics are of interest; those of which nothing is known are asked for at once.
    pub fn want<'a>(&self, topics: impl IntoIterator<Item = &'a str>, until: Until) {
        let metadata = self.metadata();
        let now = Instant::now();
        let mut plan = self.plan.lock();
        for topic in topics {
            let is_known_to_fail = metadata.topic_errors.contains_key(topic);
            plan.want(topic, until, is_known_to_fail, now);
        }
        drop(plan);
        self.planned.notify_one();
    }

    /// Asks for the topic, at once if nothing is known of it, until what is returned is dropped.
    pub fn wait_for<'a>(&'a self, topic: &'a str) -> Wait<'a> {
        self.want([topic], Until::Known);
        Wait {
            refresher: self,
            topic,
            came: false,
        }
    }

    /// Publishes what `news` returns for what is known; false when that is nothing.
    pub fn learn(&self, news: impl FnOnce(&Metadata) -> Option<Metadata>) -> bool {
        let mut change = None;
        let is_news = self.metadata.change(|known| match news(known) {
            Some(next) => {
                let next = Arc::new(next);
                let before = std::mem::replace(known, next.clone());
                change = Some((before, next));
                true
            }
            None => false,
        });
        if let (Some(observer), Some((before, after))) = (&self.config.observer, change) {
            tell_changes(&**observer, &before, &after);
        }
        is_news
    }

    /// The broker refused the partition: if it is the leader that is known, that is in doubt.
    pub fn leader_refused(&self, topic: &str, partition: i32, node: i32) {
        let metadata = self.metadata();
        let known = metadata.topic(topic).and_then(|topic| {
            let index = usize::try_from(partition).ok()?;
            Some((&topic.name, index, topic.partitions.get(index)?))
        });
        if let Some((name, index, known)) = known
            && known.leader == Some(node)
        {
            self.doubts
                .lock()
                .refused(name, index, LeaderClaim::of(known));
        }
    }

    /// The task: refreshes as planned, until it is aborted.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = self.plan.lock().next(Instant::now());
            let refresh = match next {
                Next::Refresh(refresh) => refresh,
                Next::Wait(until) => {
                    tokio::select! {
                        biased;
                        () = self.planned.notified() => {}
                        () = sleep_until(until) => {}
                    }
                    continue;
                }
            };
            let began = Instant::now();
            let refreshed = self
                .refresh(&refresh, began + self.config.request_timeout)
                .await;
            let (mut plan, mut random) = (self.plan.lock(), self.random.lock());
            match refreshed {
                Ok(()) => {
                    plan.succeeded(&refresh, Instant::now(), &mut random);
                    self.fulfilled.set(refresh.number);
                }
                Err(error) => {
                    plan.failed(error.clone(), began, Instant::now(), &mut random);
                    drop((plan, random));
                    self.config
                        .tell(|| ClientEvent::MetadataFailed { error: &error });
                }
            }
        }
    }

    /// Asks known brokers and bootstrap addresses, in the order of the plan; publishes the first answer.
    async fn refresh(&self, refresh: &Refresh, deadline: Instant) -> Result<()> {
        let until = attempt_deadline(deadline);
        let candidates = whom_to_ask(self.standings(), &self.bootstrap, &mut self.random.lock());
        let attempts = candidates
            .into_iter()
            .map(|candidate| self.ask_candidate(candidate, refresh, until));
        let answers = first_success(attempts, HEAD_START)
            .await
            .map_err(|failures| all_failed(&failures))?;
        self.publish(&answers, refresh);
        Ok(())
    }

    /// Returns once the cluster was found: at once, or after the first refresh of all, by this caller or another.
    pub async fn bootstrapped(&self, deadline: Instant) -> Result<()> {
        let is_found = || !self.metadata.borrow().brokers.is_empty();
        if is_found() {
            return Ok(());
        }
        let Ok(permit) = timeout_at(deadline, self.bootstrapping.acquire()).await else {
            let message = "the cluster was not found in time";
            return Err(self.not_in_time(Error::new(ErrorKind::Timeout, message)));
        };
        // The semaphore is never closed: a permit always comes.
        let _permit = permit;
        match is_found() {
            true => Ok(()),
            false => self.bootstrap(deadline).await,
        }
    }

    /// The first refresh of all: from the bootstrap addresses, again and again until the deadline while that may help.
    async fn bootstrap(&self, deadline: Instant) -> Result<()> {
        let mut backoff = Backoff::new(
            self.config.reconnect_backoff,
            self.config.reconnect_backoff_max,
        );
        let everything = Refresh {
            number: 0,
            everything: true,
            list: false,
            topics: Vec::new(),
        };
        let began = Instant::now();
        let mut closed_at_once = 0;
        loop {
            let until =
                attempt_deadline(deadline).min(Instant::now() + self.config.connect_timeout);
            let candidates = whom_to_ask([], &self.bootstrap, &mut self.random.lock());
            let attempts = candidates
                .into_iter()
                .map(|candidate| self.ask_candidate(candidate, &everything, until));
            let failures = match first_success(attempts, BOOTSTRAP_HEAD_START).await {
                Ok(answers) => {
                    self.publish(&answers, &everything);
                    self.plan.lock().found();
                    return Ok(());
                }
                Err(failures) => failures,
            };
            closed_at_once = match failures.iter().all(Error::is_closed_at_once) {
                true => closed_at_once + 1,
                false => 0,
            };
            // What a broker answered may pass; what is no Kafka at all, or not allowed, does not.
            let may_heal = |error: &Error| {
                error.is_retriable() || (error.server_error().is_some() && may_pass(error))
            };
            let hopeless = !failures.iter().any(may_heal) || closed_at_once >= CLOSED_AT_ONCE;
            self.plan.lock().note_failure(all_failed(&failures), began);
            let pause = backoff.failed(&mut self.random.lock());
            if hopeless || timeout_at(deadline, sleep(pause)).await.is_err() {
                return Err(all_failed(&failures));
            }
        }
    }

    async fn ask_candidate(
        &self,
        candidate: Candidate,
        refresh: &Refresh,
        deadline: Instant,
    ) -> Result<Vec<MetadataResponse>> {
        let connection = match candidate {
            Candidate::Broker(node) => self.connect(node, deadline).await?,
            Candidate::Bootstrap(address) => self.connections.dial(-1, &address, deadline).await?,
        };
        self.ask_for_topics(&connection, refresh, deadline).await
    }

    async fn connect(&self, node: i32, deadline: Instant) -> Result<Connection> {
        let metadata = self.metadata();
        let broker = metadata.brokers.get(&node);
        let address = &broker.ok_or_else(|| super::gone(node))?.address;
        self.connections
            .connect(Place::shared(node), address, deadline)
            .await
    }

    /// Asks for the topics of `refresh`, by name for those that a list of all leaves out; separately for those that may be created by that.
    /// One that was there before and is gone was deleted by somebody: it is not for us to bring it back.
    async fn ask_for_topics(
        &self,
        connection: &Connection,
        refresh: &Refresh,
        deadline: Instant,
    ) -> Result<Vec<MetadataResponse>> {
        if self.config.is_of_controllers() {
            return Ok(vec![ask_for_controllers(connection, deadline).await?]);
        }
        let metadata = self.metadata();
        let may_create =
            |name: &str| self.config.allow_auto_create_topics && metadata.topic(name).is_none();
        let mut answers = Vec::new();
        let mut left: Vec<&Arc<str>> = refresh.topics.iter().collect();
        if refresh.list {
            let answer = ask_for(connection, None, false, deadline).await?;
            let listed: BTreeSet<_> = (answer.topics.iter())
                .filter_map(|topic| topic.name.as_deref())
                .collect();
            left.retain(|name| !listed.contains(&***name));
            answers.push(answer);
        }
        let (new, known): (Vec<&Arc<str>>, Vec<_>) =
            left.into_iter().partition(|name| may_create(name));
        for (topics, create) in [(known, false), (new, true)] {
            // Brokers are asked for in any case.
            let needless = create || refresh.list || !refresh.topics.is_empty();
            if topics.is_empty() && needless {
                continue;
            }
            let topics = topics.into_iter().map(|name| MetadataRequestTopic {
                name: Some(name.to_string()),
                ..Default::default()
            });
            let topics = Some(topics.collect());
            answers.push(ask_for(connection, topics, create, deadline).await?);
        }
        Ok(answers)
    }

    fn publish(&self, answers: &[MetadataResponse], refresh: &Refresh) {
        // Topics that became of interest or were let go of while the question was under way count as they are now.
        let asked: BTreeSet<_> = {
            let plan = self.plan.lock();
            let asked = refresh.topics.iter();
            asked.filter_map(|topic| plan.wanted(topic)).collect()
        };
        self.learn(|known| {
            let mut next = known.clone();
            let mut doubts = self.doubts.lock();
            if refresh.everything {
                let plan = self.plan.lock();
                let is_wanted = |topic: &str| plan.wanted(topic).is_some();
                next.retain(is_wanted);
                doubts.retain(is_wanted);
            }
            let now = Instant::now();
            for answer in answers {
                next.merge(answer, &asked, &mut doubts, now);
            }
            next.note_missing(answers, &asked);
            if refresh.everything {
                next.list(answers.first().filter(|_| refresh.list));
            }
            // Whoever waits for a topic that is in trouble is woken by each refresh, to go on with it.
            (next != *known || !next.topic_errors.is_empty()).then_some(next)
        });
        let metadata = self.metadata();
        self.connections
            .retain(|node| Some(&metadata.brokers.get(&node)?.address));
    }

    /// Asks any broker a question that changes nothing, or that may be asked twice: another one beside the first when that keeps silent.
    /// `build` returns it in the version that the broker speaks. Cancel safe.
    pub async fn ask_any<R: Request>(
        &self,
        build: impl Fn(i16) -> Result<R>,
        deadline: Instant,
    ) -> Result<Answer<R>> {
        let until = attempt_deadline(deadline);
        let build = &build;
        let attempts = self.nodes().into_iter().map(|node| async move {
            let connection = self.connect(node, until).await?;
            ask(connection, i16::MAX, build, until).await
        });
        let asked = first_success(attempts, HEAD_START).await;
        asked.map_err(|failures| {
            self.request();
            all_failed(&failures)
        })
    }

    pub async fn any_connection(&self, deadline: Instant) -> Result<Connection> {
        let attempts = self
            .nodes()
            .into_iter()
            .map(|node| self.connect(node, deadline));
        let connected = first_success(attempts, HEAD_START).await;
        connected.map_err(|failures| {
            self.request();
            all_failed(&failures)
        })
    }

    /// Brokers in the order in which to ask them.
    fn nodes(&self) -> Vec<i32> {
        let candidates = whom_to_ask(self.standings(), &[], &mut self.random.lock());
        let node = |candidate| match candidate {
            Candidate::Broker(node) => Some(node),
            Candidate::Bootstrap(_) => None,
        };
        candidates.into_iter().filter_map(node).collect()
    }

    fn standings(&self) -> Vec<(i32, Standing)> {
        let metadata = self.metadata();
        let now = Instant::now();
        let standing = |broker: &super::Broker| {
            let standing = self.connections.standing(
                Place::shared(broker.id),
                &broker.address,
                now,
                HEAD_START,
            );
            (broker.id, standing)
        };
        metadata.brokers.values().map(standing).collect()
    }
}

/// Asks for these topics, or for all.
async fn ask_for(
    connection: &Connection,
    topics: Option<Vec<MetadataRequestTopic>>,
    create: bool,
    deadline: Instant,
) -> Result<MetadataResponse> {
    let request = MetadataRequest {
        topics,
        allow_auto_topic_creation: create,
        ..Default::default()
    };
    let response = connection.call(&request, deadline).await?;
    checked(connection, response)
}

/// Asks a controller for all of them (KIP-919), as brokers are asked for metadata: there are no topics.
async fn ask_for_controllers(
    connection: &Connection,
    deadline: Instant,
) -> Result<MetadataResponse> {
    let request = DescribeClusterRequest {
        endpoint_type: CONTROLLERS,
        ..Default::default()
    };
    let response = connection.call(&request, deadline).await?;
    if response.error_code != ErrorCode::NONE {
        let (node, address) = connection.broker();
        let message = response.error_message.as_deref();
        return Err(Error::server(response.error_code, message)
            .api(DescribeClusterRequest::KEY)
            .broker(node, address));
    }
    let controllers = response.brokers.into_iter();
    let controllers = controllers.map(|it| MetadataResponseBroker {
        node_id: it.broker_id,
        host: it.host,
        port: it.port,
        rack: it.rack,
        ..Default::default()
    });
    let response = MetadataResponse {
        cluster_id: Some(response.cluster_id),
        controller_id: response.controller_id,
        brokers: controllers.collect(),
        ..Default::default()
    };
    checked(connection, response)
}

/// An answer that can be used.
fn checked(connection: &Connection, response: MetadataResponse) -> Result<MetadataResponse> {
    let error = if response.error_code != ErrorCode::NONE {
        Error::server(response.error_code, None)
    } else if response.brokers.is_empty() {
        Error::new(ErrorKind::Connect, "the broker knows of no live broker yet")
    } else {
        return Ok(response);
    };
    let (node, address) = connection.broker();
    Err(error
        .api(<MetadataRequest as protocol::Request>::KEY)
        .broker(node, address))
}

/// Half of the time that is left, so that what failed meanwhile can be tried again; all of it, when that is short.
pub(super) fn attempt_deadline(deadline: Instant) -> Instant {
    let now = Instant::now();
    match deadline.saturating_duration_since(now) {
        left if left <= SHORT => deadline,
        left => now + left / 2,
    }
}

fn all_failed(failures: &[Error]) -> Error {
    let Some(first) = failures.first() else {
        return Error::new(ErrorKind::Connect, "no broker is known now");
    };
    if failures.len() == 1 {
        return first.clone().not_the_end();
    }
    let mut each: Vec<_> = failures
        .iter()
        .take(LISTED)
        .map(ToString::to_string)
        .collect();
    if let more @ 1.. = failures.len().saturating_sub(LISTED) {
        each.push(format!("and {more} more"));
    }
    let is_alike = failures.iter().all(|error| error.kind() == first.kind());
    let (kind, what) = match (is_alike, first.kind()) {
        (true, ErrorKind::Connect) => (ErrorKind::Connect, "no broker could be reached"),
        (true, kind) => (kind, "no broker answered"),
        (false, _) => (ErrorKind::Connect, "no broker answered"),
    };
    let error = Error::new(kind, format!("{what}: {}", each.join("; ")))
        .with_outcome(WriteOutcome::NotWritten);
    // Brokers are asked again, whatever they said; and what may pass at one of them may pass.
    match failures.iter().any(Error::is_retriable) {
        true => error.tried_on(),
        false => error.not_the_end(),
    }
}
