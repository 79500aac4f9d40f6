//! What goes on between a client and one broker. Written by the tasks of its connections, a few times a request; read by whoever asks.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use protocol::ApiKey;

use super::latency::{Histogram, Latency};

/// What a client has done so far with one broker, over all its connections, and what is under way.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct BrokerMetrics {
    /// Connections that were opened.
    pub connects: u64,
    /// Attempts to connect that failed.
    pub failed_connects: u64,
    /// Connections that ended, whoever ended them.
    pub disconnects: u64,
    /// Requests in flight now: handed to be written, and not answered.
    pub requests_in_flight: usize,
    /// From handing a request to be written to its response. Fetches are not in it, nor is joining a group, which waits for the others.
    pub request_latency: Latency,
    /// The same of fetches, what the broker waited for new records included.
    pub fetch_latency: Latency,
    /// The same of each API that was asked, by its name, joining a group among them.
    pub latency_by_api: BTreeMap<&'static str, Latency>,
    /// Responses that asked for a pause (KIP-219): a quota is used up.
    pub throttles: u64,
    /// The pauses that they asked for, all in all.
    pub throttle_time: Duration,
    /// The same, one by one.
    pub throttle_latency: Latency,
}

/// The counters behind [`BrokerMetrics`].
#[derive(Debug)]
pub(crate) struct BrokerCounters {
    connects: AtomicU64,
    failed_connects: AtomicU64,
    /// Whether the last attempt to connect failed.
    is_failing: AtomicBool,
    /// Of the attempts that failed, those that had a stream.
    useless_streams: AtomicUsize,
    disconnects: AtomicU64,
    in_flight: AtomicU64,
    /// By the API's number.
    latencies: Box<[OnceLock<Histogram>]>,
    throttles: OnceLock<Histogram>,
}

/// One more than the largest number of an API that is told apart; Kafka 4.4 ends at 92.
const APIS: usize = 128;

impl Default for BrokerCounters {
    fn default() -> Self {
        Self {
            connects: AtomicU64::default(),
            failed_connects: AtomicU64::default(),
            is_failing: AtomicBool::default(),
            useless_streams: AtomicUsize::default(),
            disconnects: AtomicU64::default(),
            in_flight: AtomicU64::default(),
            latencies: (0..APIS).map(|_| OnceLock::new()).collect(),
            throttles: OnceLock::new(),
        }
    }
}

impl BrokerCounters {
    pub fn connected(&self, succeeded: bool) {
        let counter = match succeeded {
            true => &self.connects,
            false => &self.failed_connects,
        };
        counter.fetch_add(1, Relaxed);
        self.is_failing.store(!succeeded, Relaxed);
    }

    /// Whether there is a connection.
    pub fn is_connected(&self) -> bool {
        self.disconnects.load(Relaxed) < self.connects.load(Relaxed)
    }

    /// Whether the last attempt to connect failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Relaxed)
    }

    /// How many streams were of no use: none came of their handshakes. Several at once count as one.
    pub fn useless_streams(&self) -> usize {
        self.useless_streams.load(Relaxed)
    }

    /// One more, dialled when there were so many.
    pub fn useless_stream_after(&self, before: usize) {
        let counted = &self.useless_streams;
        // Whoever else dialled then has counted.
        let _ = counted.compare_exchange(before, before.wrapping_add(1), Relaxed, Relaxed);
    }

    pub fn disconnected(&self) {
        self.disconnects.fetch_add(1, Relaxed);
    }

    /// A request that will be answered is handed to be written.
    pub fn sent(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// So many requests will not be answered: their connection ended.
    pub fn given_up(&self, requests: usize) {
        self.in_flight.fetch_sub(requests as u64, Relaxed);
    }

    pub fn answered(&self, api: ApiKey, took: Duration) {
        self.in_flight.fetch_sub(1, Relaxed);
        let of_api = usize::try_from(api.0).ok();
        if let Some(latency) = of_api.and_then(|api| self.latencies.get(api)) {
            latency.get_or_init(Histogram::default).record(took);
        }
    }

    pub fn throttled(&self, pause: Duration) {
        self.throttles.get_or_init(Histogram::default).record(pause);
    }

    pub fn read(&self) -> BrokerMetrics {
        let asked = self.latencies.iter().zip(0..);
        let asked = asked.filter_map(|(latency, api)| Some((ApiKey(api), latency.get()?)));
        let of = |wanted: fn(ApiKey) -> bool| {
            let wanted = asked.clone().filter(|(api, _)| wanted(*api));
            Histogram::read_all(wanted.map(|(_, latency)| latency))
        };
        let throttled = Histogram::read_all(self.throttles.get().into_iter());
        BrokerMetrics {
            connects: self.connects.load(Relaxed),
            failed_connects: self.failed_connects.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            requests_in_flight: self.in_flight.load(Relaxed) as usize,
            request_latency: of(|api| {
                !matches!(api, ApiKey::FETCH | ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP)
            }),
            fetch_latency: of(|api| api == ApiKey::FETCH),
            latency_by_api: asked
                .clone()
                .map(|(api, latency)| (api.name(), latency.read()))
                .collect(),
            throttles: throttled.count,
            throttle_time: throttled.sum,
            throttle_latency: throttled,
        }
    }
}
