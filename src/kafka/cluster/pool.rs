//! The connections of a client: one for each broker, channel and owner, dialled when first needed, again when it ended, with pauses between
//! failures. All producers share a few connections to a broker; each long poll and each group member has one of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Backoff;
use super::refresh_plan::Standing;
use crate::kafka::net::{Connection, Dialer, FramePool};
use crate::kafka::observe::{BrokerMetrics, ClientEvent};
use crate::kafka::runtime::Mutex;
use crate::kafka::runtime::tasks::Tasks;
use crate::kafka::{Address, ClientConfig, Error, ErrorKind, Random, Result, WriteOutcome};

/// What a connection carries: nothing waits behind another channel's long poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// Produce requests.
    Produce,
    /// Fetch requests, which wait at the broker for records.
    Fetch,
    /// Requests to a coordinator, where a join waits for the group.
    Coordinator,
    /// Everything else: short requests.
    Shared,
}

/// A connection's place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub node: i32,
    pub channel: Channel,
    /// Whose it is; 0 where the channel is everybody's.
    pub owner: u64,
}

impl Place {
    /// The place for short requests to the broker.
    pub fn shared(node: i32) -> Self {
        Self {
            node,
            channel: Channel::Shared,
            owner: 0,
        }
    }
}

/// How many connections to a broker carry produce requests, as long as there are no more than [`PRODUCERS`] on each.
const LANES: usize = 4;
/// The most producers on one connection: with five requests in flight each, they leave room in its queue.
const PRODUCERS: usize = 32;

/// How many producers there are on each of the connections to a broker. A broker handles the requests of one connection one by one: the
/// first few producers have one each, and the others are spread over them.
#[derive(Debug, Default)]
pub(super) struct ProduceLanes(Vec<usize>);

impl ProduceLanes {
    /// The lane of one more producer.
    pub fn join(&mut self) -> usize {
        let least = (0..self.0.len()).min_by_key(|lane| self.0[*lane]);
        let lane = match least {
            Some(lane) if self.0[lane] == 0 => lane,
            Some(lane) if self.0.len() >= LANES && self.0[lane] < PRODUCERS => lane,
            _ => {
                self.0.push(0);
                self.0.len() - 1
            }
        };
        self.0[lane] += 1;
        lane
    }

    /// The lane has one producer less.
    pub fn leave(&mut self, lane: usize) {
        self.0[lane] -= 1;
    }
}

/// One for each place.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    dialer: Dialer,
    slots: Mutex<BTreeMap<Place, Arc<Slot>>>,
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
            dialer: Dialer::new(config, frames, tasks),
            slots: Mutex::default(),
            random,
        }
    }

    /// Told when a broker offers to take what the client measures.
    pub fn telemetry_offered(&self) -> &Arc<Notify> {
        self.dialer.telemetry_offered()
    }

    /// The client's tasks.
    pub fn tasks(&self) -> &Tasks {
        self.dialer.tasks()
    }

    /// A new connection to the broker `node` (-1 while its id is not known), which the pool does not keep. Cancel safe.
    pub async fn dial(
        &self,
        node: i32,
        address: &Address,
        deadline: Instant,
    ) -> Result<Connection> {
        self.dialer.dial(node, address, deadline).await
    }

    /// What went on with each broker that was dialled, by node.
    pub fn metrics(&self) -> BTreeMap<i32, BrokerMetrics> {
        self.dialer.metrics()
    }

    /// The open connection to the broker at `address`, if there is one. Costs two short locks.
    pub fn open(&self, place: Place, address: &Address) -> Option<Connection> {
        let slot = self.slots.lock().get(&place)?.clone();
        let connection = slot.state.lock().connection.clone();
        connection.filter(|connection| connection.is_open() && connection.broker().1 == address)
    }

    /// How good a choice the broker is for a question that any of them can answer. `patience` is how long it may owe an answer.
    pub fn standing(
        &self,
        place: Place,
        address: &Address,
        now: Instant,
        patience: Duration,
    ) -> Standing {
        if let Some(connection) = self.open(place, address) {
            let owes = connection.unanswered_since();
            return match owes.is_some_and(|since| since + patience <= now) {
                true => Standing::Overdue,
                false => Standing::Open,
            };
        }
        let slot = self.slots.lock().get(&place).cloned();
        let not_before = slot.and_then(|slot| slot.state.lock().not_before);
        match not_before {
            Some(not_before) if not_before > now => Standing::Failing,
            _ => Standing::Unknown,
        }
    }

    /// The connection to the broker at `address`: the open one, or a new one. Dials once, after the pause that earlier
    /// failures ask for. Cancel safe.
    pub async fn connect(
        &self,
        place: Place,
        address: &Address,
        deadline: Instant,
    ) -> Result<Connection> {
        if let Some(connection) = self.open(place, address) {
            return Ok(connection);
        }
        let node = place.node;
        let slot = self.slot(place);
        let not_in_time = || {
            let last = slot.state.lock().last_error.clone();
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
        if let Some(connection) = self.open(place, address) {
            return Ok(connection);
        }
        let not_before = slot.state.lock().not_before;
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
        let mut state = slot.state.lock();
        match dialled {
            Ok(connection) => {
                // A broker that takes connections just to drop them must not be dialled without a pause either.
                state.backoff.succeeded();
                let pause = state.backoff.clone().failed(&mut self.random.lock());
                state.connection = Some(connection.clone());
                state.not_before = Some(Instant::now() + pause);
                state.last_error = None;
            }
            Err(error) => {
                let pause = state.backoff.failed(&mut self.random.lock());
                state.connection = None;
                state.not_before = Some(Instant::now() + pause);
                state.last_error = Some(error.clone());
                let failures = state.backoff.failures();
                drop(state);
                self.dialer.config().tell(|| ClientEvent::ConnectFailed {
                    broker: node,
                    address,
                    error,
                    failures,
                    pause,
                });
            }
        }
    }

    fn slot(&self, place: Place) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(place).or_insert_with(|| {
            Arc::new(Slot {
                state: Mutex::new(SlotState {
                    connection: None,
                    backoff: Backoff::new(
                        self.dialer.config().reconnect_backoff,
                        self.dialer.config().reconnect_backoff_max,
                    ),
                    not_before: None,
                    last_error: None,
                }),
                dialling: Semaphore::new(1),
            })
        });
        slot.clone()
    }

    /// Lets go of the connections that are this owner's alone.
    pub fn release(&self, owner: u64) {
        let is_own = |channel| matches!(channel, Channel::Fetch | Channel::Coordinator);
        self.slots
            .lock()
            .retain(|place, _| place.owner != owner || !is_own(place.channel));
    }

    /// Lets go of brokers that are no more, and of connections to where a broker no longer is: whoever holds one dials again.
    pub fn retain<'a>(&self, address_of: impl Fn(i32) -> Option<&'a Address>) {
        self.slots.lock().retain(|place, slot| {
            let Some(address) = address_of(place.node) else {
                return false;
            };
            let connection = slot.state.lock().connection.clone();
            if let Some(connection) = connection.filter(|it| it.broker().1 != address) {
                connection.retire();
            }
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_producers_have_a_connection_each_and_a_hundred_have_a_handful() {
        let mut lanes = ProduceLanes::default();
        assert_eq!([(); 5].map(|()| lanes.join()), [0, 1, 2, 3, 0]);
        lanes.leave(2);
        assert_eq!(lanes.join(), 2, "the one that is free");
        let most = (5..100).map(|_| lanes.join()).max();
        assert_eq!(most, Some(3));
        let most = (100..=4 * PRODUCERS).map(|_| lanes.join()).max();
        assert_eq!(most, Some(4));
    }
}
