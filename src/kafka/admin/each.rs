//! One question about many items, with an answer for each: split by whom it is for, asked side by side, merged by item, and asked again
//! for those that nobody got to. In: items, whom each is for, how a request is built and how its response is read. Out: a result for each
//! item; one error alone where no broker could be asked.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::{ErrorCode, Request};
use tokio::time::Instant;

use super::Admin;
use crate::kafka::cluster::{
    Answer, Channel, CoordinatorKind, Judged, Target, join_all, no_leader, unknown_partition,
};
use crate::kafka::net::broker_timeout_ms;
use crate::kafka::runtime::{Mutex, Retry};
use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// How long a topic or partition that no broker knows is asked for: one that was created just now is soon known to all of them.
const UNKNOWN_WITHIN: Duration = Duration::from_secs(2);

/// How many coordinators are looked up side by side.
const LOOK_UPS: usize = 32;

/// A result for each item.
pub(super) type Results<K, T> = BTreeMap<K, Result<T>>;

type KeyOf<K, T> = Box<dyn Fn(&K) -> T + Send + Sync>;

/// Whom an item is for.
pub(super) enum Route<K> {
    /// Any broker.
    Any,
    /// The broker that takes requests for the controller.
    Controller,
    /// A certain broker.
    Broker(KeyOf<K, i32>),
    /// The coordinator of a group, or of the transactions of a transactional id.
    Coordinator(CoordinatorKind, KeyOf<K, String>),
    /// The leader of a partition.
    Leader(KeyOf<K, TopicPartition>),
}

impl<K> Route<K> {
    pub fn group(id_of: impl Fn(&K) -> String + Send + Sync + 'static) -> Self {
        Self::Coordinator(CoordinatorKind::Group, Box::new(id_of))
    }
}

/// What is asked: of whom, about what.
pub(super) struct Ask<K> {
    route: Route<K>,
    items: BTreeSet<K>,
    newest: i16,
    about: KeyOf<(K, Error), Error>,
}

impl<K: Clone> Ask<K> {
    /// `about` names the item in an error of its own.
    pub fn new(
        route: Route<K>,
        items: BTreeSet<K>,
        about: impl Fn(&K, Error) -> Error + Send + Sync + 'static,
    ) -> Self {
        Self {
            route,
            items,
            newest: i16::MAX,
            about: Box::new(move |(key, error)| about(key, error.clone())),
        }
    }

    /// In no newer version than this one.
    pub fn newest(mut self, version: i16) -> Self {
        self.newest = version;
        self
    }
}

/// One request: which items it is about, in which version.
pub(super) struct Round<K> {
    pub version: i16,
    pub items: BTreeSet<K>,
    /// How long the broker may take, in milliseconds.
    pub timeout_ms: i32,
    refused: Vec<(K, Error)>,
}

impl<K: Ord + Clone> Round<K> {
    /// Takes out what cannot be asked of a broker that speaks this version.
    pub fn refuse(&mut self, why: impl Fn(&K) -> Option<Error>) {
        let refused = &mut self.refused;
        self.items.retain(|key| match why(key) {
            Some(error) => {
                refused.push((key.clone(), error));
                false
            }
            None => true,
        });
    }

    /// Leaves all but the first item for later requests, and returns it.
    pub fn only_first(&mut self) -> Option<K> {
        let first = self.items.pop_first();
        self.items = first.iter().cloned().collect();
        first
    }

    /// The same result for each item.
    pub fn all<T: Clone>(&self, result: Result<T>) -> Results<K, T> {
        let items = self.items.iter();
        items.map(|key| (key.clone(), result.clone())).collect()
    }

    /// What `read` makes of each of `answers`, which stand in the order of the items. None where there are not as many.
    pub fn in_order<A, T>(&self, answers: &[A], read: impl Fn(&A) -> Result<T>) -> Results<K, T> {
        if answers.len() != self.items.len() {
            return BTreeMap::new();
        }
        let items = self.items.iter().cloned();
        items.zip(answers.iter().map(read)).collect()
    }

    /// The same error for each item.
    pub fn all_failed<T>(&self, error: &Error) -> Results<K, T> {
        let items = self.items.iter();
        items.map(|key| (key.clone(), Err(error.clone()))).collect()
    }
}

/// What becomes of the items.
struct Book<K, T> {
    open: BTreeSet<K>,
    results: Results<K, T>,
    /// What the last of them that is asked again failed with.
    again: Option<Error>,
}

impl<K: Ord + Clone, T> Book<K, T> {
    fn done(&mut self, key: &K, result: Result<T>) {
        if self.open.remove(key) {
            self.results.insert(key.clone(), result);
        }
    }

    /// The results so far, and `error` for the rest; `error` alone when there are none.
    fn together(
        mut self,
        error: &Error,
        about: impl Fn(&K, Error) -> Error,
    ) -> Result<Results<K, T>> {
        if self.results.is_empty() {
            return Err(error.clone());
        }
        for key in self.open {
            let error = about(&key, error.clone());
            self.results.insert(key, Err(error));
        }
        Ok(self.results)
    }
}

impl Admin {
    /// Asks about each item, again with pauses for those that nobody got to: because the broker is not the one any more, because of a quota,
    /// or because the request did not reach it. What may have been done is not repeated, unless it changes nothing.
    ///
    /// `build` returns a request about the items of a round; `read` says what was answered about each of them.
    pub(super) async fn each<K, R, T>(
        &self,
        ask: Ask<K>,
        build: impl Fn(&mut Round<K>) -> Result<R>,
        read: impl Fn(&Answer<R>, &Round<K>) -> Results<K, T>,
    ) -> Result<Results<K, T>>
    where
        K: Ord + Clone,
        R: Request,
    {
        let deadline = self.deadline();
        let unknown_until = (Instant::now() + UNKNOWN_WITHIN).min(deadline);
        let cluster = &self.cluster;
        let mut retry = Retry::new(cluster.retry_backoff(), cluster.random(R::NAME), deadline);
        let about = |key: &K, error: Error| (ask.about)(&(key.clone(), error.api(R::KEY)));
        let mut book = Book {
            open: ask.items.clone(),
            results: BTreeMap::new(),
            again: None,
        };
        while !book.open.is_empty() {
            book.again = None;
            let unknown_passes = Instant::now() < unknown_until;
            let routed = self
                .routed(&ask, &mut book, deadline, unknown_passes)
                .await?;
            let asked = routed.into_iter().map(|(target, items)| {
                let build = &build;
                async move {
                    self.ask_round(target, items, ask.newest, deadline, build)
                        .await
                }
            });
            for (target, round, answer) in join_all(asked).await {
                for (key, error) in &round.refused {
                    book.done(key, Err(about(key, error.clone())));
                }
                if round.items.is_empty() {
                    continue;
                }
                match answer {
                    Ok(answer) => {
                        let mut said = read(&answer, &round);
                        for key in &round.items {
                            let unanswered = || Err(answer.explain(unanswered()));
                            match said.remove(key).unwrap_or_else(unanswered) {
                                Err(error) if ask.is_open(&error, unknown_passes) => {
                                    self.lost(&ask, target, key);
                                    book.again = Some(about(key, error));
                                }
                                Err(error) => book.done(key, Err(about(key, error))),
                                Ok(answer) => book.done(key, Ok(answer)),
                            }
                        }
                    }
                    Err(error) => match Judged::<()>::failed(error) {
                        Judged::Failed(error)
                            if book.results.is_empty() && round.items == book.open =>
                        {
                            return Err(error);
                        }
                        Judged::Failed(error) => {
                            for key in &round.items {
                                book.done(key, Err(about(key, error.clone())));
                            }
                        }
                        Judged::Rerouted(error) | Judged::Again(error) => {
                            for key in &round.items {
                                self.lost(&ask, target, key);
                            }
                            book.again = Some(error);
                        }
                        Judged::Done(()) => {}
                    },
                }
            }
            if let Some(error) = book.again.take()
                && let Err(error) = retry.pause(error).await
            {
                return book.together(&error, about);
            }
        }
        Ok(book.results)
    }

    /// One question with one answer.
    pub(super) async fn one<R: Request, T>(
        &self,
        route: Route<()>,
        build: impl Fn(&mut Round<()>) -> Result<R>,
        read: impl Fn(&Answer<R>, &Round<()>) -> Results<(), T>,
    ) -> Result<T> {
        let ask = Ask::new(route, BTreeSet::from([()]), |(), error| error);
        let mut results = self.each(ask, build, read).await?;
        results.remove(&()).unwrap_or_else(|| Err(unanswered()))
    }

    /// Asks once, and returns what the request was about in the end.
    async fn ask_round<K: Ord + Clone, R: Request>(
        &self,
        target: Target<'static>,
        items: BTreeSet<K>,
        newest: i16,
        deadline: Instant,
        build: &impl Fn(&mut Round<K>) -> Result<R>,
    ) -> (Target<'static>, Round<K>, Result<Answer<R>>) {
        let round = |version, items| Round {
            version,
            items,
            timeout_ms: broker_timeout_ms(deadline.saturating_duration_since(Instant::now())),
            refused: Vec::new(),
        };
        let last = Mutex::new(round(0, items.clone()));
        let build = |version| {
            let mut round = round(version, items.clone());
            let request = build(&mut round);
            let request = match round.refused.last() {
                // Nothing is left to ask for.
                Some((_, error)) if round.items.is_empty() => Err(error.clone()),
                _ => request,
            };
            *last.lock() = round;
            request
        };
        let cluster = &self.cluster;
        let answer = match target {
            Target::Any => cluster.ask_any(deadline, build).await,
            target => {
                let asked = cluster.ask(target, Channel::Shared, newest, deadline, build);
                asked.await
            }
        };
        (target, last.into_inner(), answer)
    }

    /// Who is to be asked about what is open. What nobody can be asked about now stays open, or is done with an error.
    async fn routed<K: Ord + Clone, T>(
        &self,
        ask: &Ask<K>,
        book: &mut Book<K, T>,
        deadline: Instant,
        unknown_passes: bool,
    ) -> Result<Vec<(Target<'static>, BTreeSet<K>)>> {
        let of_controllers = self.cluster.config().is_of_controllers();
        let nodes = match &ask.route {
            Route::Coordinator(..) | Route::Leader(_) if of_controllers => {
                let message = "controllers know of no groups and lead no partitions: set bootstrap.servers, not bootstrap.controllers";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            // Of controllers the active one alone knows everything.
            Route::Any if of_controllers => {
                return Ok(vec![(Target::Controller, book.open.clone())]);
            }
            Route::Any => return Ok(vec![(Target::Any, book.open.clone())]),
            Route::Controller => return Ok(vec![(Target::Controller, book.open.clone())]),
            Route::Broker(broker_of) => {
                let open = book.open.iter();
                open.map(|key| (key.clone(), Ok(broker_of(key)))).collect()
            }
            Route::Coordinator(kind, id_of) => {
                self.coordinators_of(*kind, id_of, &book.open, deadline)
                    .await
            }
            Route::Leader(partition_of) => self.leaders_of(partition_of, &book.open).await?,
        };
        let mut by_node: BTreeMap<i32, BTreeSet<K>> = BTreeMap::new();
        for (key, node) in nodes {
            match node {
                Ok(node) => drop(by_node.entry(node).or_default().insert(key)),
                Err(error) if ask.is_open(&error, unknown_passes) => {
                    book.again = Some((ask.about)(&(key, error)));
                }
                Err(error) => {
                    let error = (ask.about)(&(key.clone(), error));
                    book.done(&key, Err(error));
                }
            }
        }
        let by_node = by_node.into_iter();
        Ok(by_node
            .map(|(node, items)| (Target::Broker(node), items))
            .collect())
    }

    /// The coordinator of each item.
    async fn coordinators_of<K: Ord + Clone>(
        &self,
        kind: CoordinatorKind,
        id_of: &KeyOf<K, String>,
        open: &BTreeSet<K>,
        deadline: Instant,
    ) -> Vec<(K, Result<i32>)> {
        let ids: BTreeSet<String> = open.iter().map(id_of).collect();
        let ids: Vec<String> = ids.into_iter().collect();
        let mut found = BTreeMap::new();
        for ids in ids.chunks(LOOK_UPS) {
            let look_ups = ids.iter().map(|id| async move {
                let node = self.cluster.coordinator(kind, id, deadline).await;
                (id.clone(), node)
            });
            found.extend(join_all(look_ups).await);
        }
        let open = open.iter();
        open.filter_map(|key| Some((key.clone(), found.get(&id_of(key))?.clone())))
            .collect()
    }

    /// The leader of each item's partition.
    async fn leaders_of<K: Ord + Clone>(
        &self,
        partition_of: &KeyOf<K, TopicPartition>,
        open: &BTreeSet<K>,
    ) -> Result<Vec<(K, Result<i32>)>> {
        let partitions: Vec<TopicPartition> = open.iter().map(partition_of).collect();
        let names: BTreeSet<&str> = partitions.iter().map(|it| &*it.topic).collect();
        let topics = self.metadata_of(Some(&names)).await?;
        let leader = |at: &TopicPartition| {
            let topic = match topics.get(&*at.topic) {
                Some(Ok(topic)) => topic,
                Some(Err(error)) => return Err(error.clone()),
                None => return Err(unanswered()),
            };
            let partitions = &topic.partitions;
            let known = partitions.iter().find(|it| it.partition == at.partition);
            let known = known.ok_or_else(|| unknown_partition(at))?;
            known.leader.ok_or_else(|| no_leader(Some(at)))
        };
        let leaders = open.iter().zip(&partitions);
        Ok(leaders.map(|(key, at)| (key.clone(), leader(at))).collect())
    }

    /// The broker did not take an item, or was not reached: it is looked up anew who is to be asked about it.
    fn lost<K>(&self, ask: &Ask<K>, target: Target<'static>, key: &K) {
        match &ask.route {
            Route::Coordinator(kind, id_of) => self.cluster.coordinator_lost(*kind, &id_of(key)),
            _ => self.cluster.reroute(target),
        }
    }
}

impl<K> Ask<K> {
    /// Whether the item is asked about again.
    fn is_open(&self, error: &Error, unknown_passes: bool) -> bool {
        let is_unknown = error.kind() == ErrorKind::UnknownTopicOrPartition;
        let is_led = matches!(self.route, Route::Leader(_));
        was_not_tried(error)
            || is_led && (error.kind() == ErrorKind::NoLeader || is_unknown && unknown_passes)
    }
}

/// Whether the broker says that it did not even begin.
pub(super) fn was_not_tried(error: &Error) -> bool {
    matches!(
        error.server_error(),
        Some(
            ErrorCode::NOT_CONTROLLER
                | ErrorCode::THROTTLING_QUOTA_EXCEEDED
                | ErrorCode::NOT_COORDINATOR
                | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                | ErrorCode::COORDINATOR_NOT_AVAILABLE
                | ErrorCode::NOT_LEADER_OR_FOLLOWER
                | ErrorCode::FENCED_LEADER_EPOCH
                | ErrorCode::UNKNOWN_LEADER_EPOCH
                | ErrorCode::LEADER_NOT_AVAILABLE
                | ErrorCode::OFFSET_NOT_AVAILABLE
                | ErrorCode::UNSTABLE_OFFSET_COMMIT
                | ErrorCode::CONCURRENT_TRANSACTIONS
        )
    )
}

/// What the answer says of one item: its error, if it has one.
pub(super) fn checked<R: Request, T>(
    answer: &Answer<R>,
    code: ErrorCode,
    message: Option<&str>,
    value: impl FnOnce() -> T,
) -> Result<T> {
    match code {
        ErrorCode::NONE => Ok(value()),
        code => Err(answer.error(code, message)),
    }
}

pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::Protocol, "the broker's answer leaves it out")
}
