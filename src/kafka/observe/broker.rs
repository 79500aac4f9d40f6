//! What goes on between a client and one broker. Written by the tasks of its connections, a few times a request; read by whoever asks.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
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
    /// Responses that asked for a pause (KIP-219): a quota is used up.
    pub throttles: u64,
    /// The pauses that they asked for, all in all.
    pub throttle_time: Duration,
}

/// The counters behind [`BrokerMetrics`].
#[derive(Debug, Default)]
pub(crate) struct BrokerCounters {
    connects: AtomicU64,
    failed_connects: AtomicU64,
    disconnects: AtomicU64,
    in_flight: AtomicU64,
    requests: LazyLock<Histogram>,
    fetches: LazyLock<Histogram>,
    throttles: AtomicU64,
    throttle_us: AtomicU64,
}

impl BrokerCounters {
    pub fn connected(&self, succeeded: bool) {
        let counter = match succeeded {
            true => &self.connects,
            false => &self.failed_connects,
        };
        counter.fetch_add(1, Relaxed);
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
        match api {
            ApiKey::FETCH => self.fetches.record(took),
            ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP => {}
            _ => self.requests.record(took),
        }
    }

    pub fn throttled(&self, pause: Duration) {
        self.throttles.fetch_add(1, Relaxed);
        let us = pause.as_micros() as u64;
        self.throttle_us.fetch_add(us, Relaxed);
    }

    pub fn read(&self) -> BrokerMetrics {
        BrokerMetrics {
            connects: self.connects.load(Relaxed),
            failed_connects: self.failed_connects.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            requests_in_flight: self.in_flight.load(Relaxed) as usize,
            request_latency: self.requests.read(),
            fetch_latency: self.fetches.read(),
            throttles: self.throttles.load(Relaxed),
            throttle_time: Duration::from_micros(self.throttle_us.load(Relaxed)),
        }
    }
}
