//! From a request to the broker that it is for, and again with pauses until it is done: the connection, the retry loop and the way to another
//! broker, said once. In: whom to ask, how the request is built for a version, how an answer is judged. Out: what was asked for, or the
//! error that ended it.

use protocol::{ApiKey, ErrorCode, Request};
use tokio::time::Instant;

use super::fan_out::{no_leader, unknown_partition};
use super::refresh::HEAD_START;
use super::{Channel, Cluster, CoordinatorKind};
use crate::kafka::error::may_pass;
use crate::kafka::net::Connection;
use crate::kafka::runtime::Retry;
use crate::kafka::{Error, Result, TopicPartition, WriteOutcome};

/// The broker that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target<'a> {
    /// Any broker: the first one that answers, a second one beside it when it keeps silent.
    Any,
    /// The broker that takes requests for the controller.
    Controller,
    /// The broker of this id.
    Broker(i32),
    /// The coordinator of the consumer group of this id.
    GroupCoordinator(&'a str),
    /// The coordinator of the transactions of this transactional id.
    TransactionCoordinator(&'a str),
    /// The leader of the topic's partition.
    Leader(&'a str, i32),
}

/// What a broker answered.
#[derive(Debug)]
pub(crate) struct Answer<R: Request> {
    pub response: R::Response,
    /// The version that was spoken.
    pub version: i16,
    pub connection: Connection,
}

impl<R: Request> Answer<R> {
    /// `error`, as this broker's answer.
    pub fn explain(&self, error: Error) -> Error {
        let (node, address) = self.connection.broker();
        error.api(R::KEY).broker(node, address)
    }

    /// The error of a code in the response.
    pub fn error(&self, code: ErrorCode, message: Option<&str>) -> Error {
        self.explain(Error::server(code, message))
    }
}

/// What becomes of a request after an answer, or after the failure to get one.
#[derive(Debug)]
pub(crate) enum Judged<T> {
    /// It is done.
    Done(T),
    /// It is sent again, after a pause.
    Again(Error),
    /// It is sent again, after a pause, to whoever it is for then: this broker is the wrong one, or does not answer.
    Rerouted(Error),
    /// It has failed.
    Failed(Error),
}

impl<T> Judged<T> {
    /// What becomes of a request that failed with `error`, where nothing else is known: it is sent again where that may help and cannot do
    /// twice what should be done once.
    pub fn failed(error: Error) -> Self {
        let is_harmless = error.outcome() == WriteOutcome::NotWritten
            || error.api_key().is_some_and(may_be_repeated);
        match may_pass(&error) && is_harmless {
            true => Self::Rerouted(error),
            false => Self::Failed(error),
        }
    }
}

/// Whether a request that changes something at the brokers does no harm when it is carried out twice.
fn may_be_repeated(api: ApiKey) -> bool {
    // A producer id that nobody hears of is one that nobody uses; the same offsets are the same offsets.
    matches!(api, ApiKey::INIT_PRODUCER_ID | ApiKey::OFFSET_COMMIT)
}

impl Cluster {
    /// Sends a request to `target`, and does with each answer, and each failure to get one, as `judge` says: again with pauses until
    /// `deadline`, each time for the request timeout at most. `build` returns the request in the version that the broker speaks. Cancel safe, as [`Connection::call`].
    pub async fn request<R: Request, T>(
        &self,
        target: Target<'_>,
        deadline: Instant,
        build: impl Fn(i16) -> Result<R>,
        mut judge: impl FnMut(Result<Answer<R>>) -> Judged<T>,
    ) -> Result<T> {
        let mut retry = Retry::new(self.retry_backoff(), self.random(R::NAME), deadline);
        loop {
            self.found(deadline).await?;
            let until = deadline.min(Instant::now() + self.config().request_timeout);
            let answer = match target {
                Target::Any => self.refresher().ask_any(&build, until).await,
                _ => {
                    let asked = self.ask(target, Channel::Shared, i16::MAX, until, &build);
                    asked.await
                }
            };
            let error = match judge(answer) {
                Judged::Done(done) => return Ok(done),
                Judged::Failed(error) => return Err(error),
                Judged::Again(error) => error,
                Judged::Rerouted(error) => {
                    self.reroute(target);
                    error
                }
            };
            retry.pause(error).await?;
        }
    }

    /// Sends a request to any broker once: a second one is asked beside the first when that keeps silent. Cancel safe, as
    /// [`Connection::call`].
    pub async fn ask_any<R: Request>(
        &self,
        deadline: Instant,
        build: impl Fn(i16) -> Result<R>,
    ) -> Result<Answer<R>> {
        self.found(deadline).await?;
        self.refresher().ask_any(&build, deadline).await
    }

    /// Sends a request to `target` once, on the channel, in no newer version than `newest`. Where that fails, it is looked up anew whom the
    /// next one is for. Cancel safe, as [`Connection::call`].
    pub async fn ask<R: Request>(
        &self,
        target: Target<'_>,
        channel: Channel,
        newest: i16,
        deadline: Instant,
        build: impl Fn(i16) -> Result<R>,
    ) -> Result<Answer<R>> {
        let answer = match self.connection_to(target, channel, deadline).await {
            Ok(connection) => ask(connection, newest, build, deadline).await,
            Err(error) => Err(error),
        };
        answer.inspect_err(|_| self.reroute(target))
    }

    /// The connection on the channel to the broker that `target` stands for now. Cancel safe.
    pub async fn connection_to(
        &self,
        target: Target<'_>,
        channel: Channel,
        deadline: Instant,
    ) -> Result<Connection> {
        let node = match target {
            Target::Any => return self.any_connection(deadline).await,
            Target::Controller => return self.controller(deadline).await,
            Target::Broker(node) => node,
            Target::GroupCoordinator(group) => {
                self.coordinator(CoordinatorKind::Group, group, deadline)
                    .await?
            }
            Target::TransactionCoordinator(id) => {
                self.coordinator(CoordinatorKind::Transaction, id, deadline)
                    .await?
            }
            Target::Leader(name, partition) => {
                let topic = self.topic(name, deadline).await?;
                let asked = TopicPartition::new(topic.name.clone(), partition);
                let index = usize::try_from(partition).unwrap_or(usize::MAX);
                let known = topic.partitions.get(index);
                let known = known.ok_or_else(|| unknown_partition(&asked))?;
                known.leader.ok_or_else(|| no_leader(Some(&asked)))?
            }
        };
        self.connection(node, channel, deadline).await
    }

    /// What is known of who `target` is may be wrong: it is looked up again.
    pub fn reroute(&self, target: Target<'_>) {
        match target {
            Target::GroupCoordinator(group) => {
                self.coordinator_lost(CoordinatorKind::Group, group);
            }
            Target::TransactionCoordinator(id) => {
                self.coordinator_lost(CoordinatorKind::Transaction, id);
            }
            _ => self.refresh(),
        }
    }
}

/// Asks once. A broker that has kept silent for long is not asked again on the same connection.
pub(super) async fn ask<R: Request>(
    connection: Connection,
    newest: i16,
    build: impl Fn(i16) -> Result<R>,
    deadline: Instant,
) -> Result<Answer<R>> {
    let version = connection.version_of::<R>()?.min(newest);
    let request = build(version)?;
    let response = connection.call_at(&request, version, deadline).await;
    let response = response.inspect_err(|_| {
        let now = Instant::now();
        let silent = connection.unanswered_since();
        if silent.is_some_and(|since| since + HEAD_START <= now) {
            connection.retire();
        }
    })?;
    Ok(Answer {
        response,
        version,
        connection,
    })
}
