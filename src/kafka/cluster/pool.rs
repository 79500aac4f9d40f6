//! The connections of a client: one for each broker and channel, dialled when first needed, again when it ended, with pauses between failures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Backoff;
use super::refresh_plan::Standing;
use crate::kafka::net::{Connection, FramePool};
use crate::kafka::observe::ClientEvent;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Address, ClientConfig, Error, ErrorKind, Random, Result, WriteOutcome};

/// Which of the connections to a broker: nothing waits behind another channel's long poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// Produce requests.
    Produce,
    /// Fetch requests.
    Fetch,
    /// Groups and transactions.
    Coordinator,
    /// Everything else: short requests.
    Shared,
}

/// One for each broker and channel.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    config: ClientConfig,
    frames: FramePool,
    tasks: Tasks,
    slots: Mutex<BTreeMap<(i32, Channel), Arc<Slot>>>,
    random: Mutex<Random>,
}

/// The place of one connection.
#[derive(Debug)]
struct Slot {
    state: Mutex<SlotState>,
    /// Held by the one who dials: the others wait for what comes of it.
    dialling: Semaphore,
}

#[derive(Debug)]
struct SlotState {
    connection: Option<Connection>,
    backoff: Backoff,
    not_before: Option<Instant>,
    last_error: Option<Error>,
}

impl ConnectionPool {
    pub fn new(config: ClientConfig, frames: FramePool, tasks: Tasks) -> Self {
        let random = Mutex::new(config.random("connections"));
        Self {
            config,
            frames,
            tasks,
            slots: Mutex::default(),
            random,
        }
    }

    /// The client's tasks.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// A new connection to the broker `node` (-1 while its id is not known), which the pool does not keep. Cancel safe.
    pub async fn dial(
        &self,
        node: i32,
        address: &Address,
        deadline: Instant,
    ) -> Result<Connection> {
        Connection::dial(
            &self.config,
            &self.frames,
            &self.tasks,
            node,
            address,
            deadline,
        )
        .await
    }

    /// The open connection to the broker for the channel, if there is one. Costs two short locks.
    pub fn open(&self, node: i32, channel: Channel, address: &Address) -> Option<Connection> {
        let slot = lock(&self.slots).get(&(node, channel))?.clone();
        let connection = lock(&slot.state).connection.clone();
        connection.filter(|connection| connection.is_open() && connection.broker().1 == address)
    }

    /// How good a choice the broker is for a question that any of them can answer. `patience` is how long it may owe an answer.
    pub fn standing(
        &self,
        node: i32,
        channel: Channel,
        address: &Address,
        now: Instant,
        patience: Duration,
    ) -> Standing {
        if let Some(connection) = self.open(node, channel, address) {
            let owes = connection.unanswered_since();
            return match owes.is_some_and(|since| since + patience <= now) {
                true => Standing::Overdue,
                false => Standing::Open,
            };
        }
        let slot = lock(&self.slots).get(&(node, channel)).cloned();
        let not_before = slot.and_then(|slot| lock(&slot.state).not_before);
        match not_before {
            Some(not_before) if not_before > now => Standing::Failing,
            _ => Standing::Unknown,
        }
    }

    /// The connection to the broker at `address` for the channel: the open one, or a new one. Dials once, after the pause that earlier
    /// failures ask for. Cancel safe.
    pub async fn connect(
        &self,
        node: i32,
        channel: Channel,
        address: &Address,
        deadline: Instant,
    ) -> Result<Connection> {
        if let Some(connection) = self.open(node, channel, address) {
            return Ok(connection);
        }
        let slot = self.slot(node, channel);
        let not_in_time = || {
            let last = lock(&slot.state).last_error.clone();
            last.unwrap_or_else(|| {
                Error::new(
                    ErrorKind::Timeout,
                    "the deadline passed before a connection was open",
                )
            })
            .broker(node, address)
            .with_outcome(WriteOutcome::NotWritten)
        };
        let Ok(permit) = timeout_at(deadline, slot.dialling.acquire()).await else {
            return Err(not_in_time());
        };
        // The semaphore is never closed: a permit always comes.
        let _permit = permit;
        if let Some(connection) = self.open(node, channel, address) {
            return Ok(connection);
        }
        let not_before = lock(&slot.state).not_before;
        if let Some(not_before) = not_before
            && timeout_at(deadline, sleep_until(not_before)).await.is_err()
        {
            return Err(not_in_time());
        }
        let dialled = self.dial(node, address, deadline).await;
        self.note(&slot, node, address, &dialled);
        dialled
    }

    fn note(&self, slot: &Slot, node: i32, address: &Address, dialled: &Result<Connection>) {
        let mut state = lock(&slot.state);
        match dialled {
            Ok(connection) => {
                // A broker that takes connections just to drop them must not be dialled without a pause either.
                state.backoff.succeeded();
                let pause = state.backoff.clone().failed(&mut lock(&self.random));
                state.connection = Some(connection.clone());
                state.not_before = Some(Instant::now() + pause);
                state.last_error = None;
            }
            Err(error) => {
                let pause = state.backoff.failed(&mut lock(&self.random));
                state.connection = None;
                state.not_before = Some(Instant::now() + pause);
                state.last_error = Some(error.clone());
                let failures = state.backoff.failures();
                drop(state);
                self.config.tell(|| ClientEvent::ConnectFailed {
                    broker: node,
                    address,
                    error,
                    failures,
                    pause,
                });
            }
        }
    }

    fn slot(&self, node: i32, channel: Channel) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let slot = slots.entry((node, channel)).or_insert_with(|| {
            Arc::new(Slot {
                state: Mutex::new(SlotState {
                    connection: None,
                    backoff: Backoff::new(
                        self.config.reconnect_backoff,
                        self.config.reconnect_backoff_max,
                    ),
                    not_before: None,
                    last_error: None,
                }),
                dialling: Semaphore::new(1),
            })
        });
        slot.clone()
    }

    /// Lets go of brokers that are no more, and of connections to where a broker no longer is: whoever holds one dials again.
    pub fn retain<'a>(&self, address_of: impl Fn(i32) -> Option<&'a Address>) {
        lock(&self.slots).retain(|(node, _), slot| {
            let Some(address) = address_of(*node) else {
                return false;
            };
            let connection = lock(&slot.state).connection.clone();
            if let Some(connection) = connection.filter(|it| it.broker().1 != address) {
                connection.retire();
            }
            true
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
