//! Sends what brokers want to know of a client (KIP-714), in their interval, and a last time when the client ends. Nothing of it happens
//! before a broker offers to take it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use protocol::messages::GetTelemetrySubscriptionsRequest;
use protocol::{ErrorCode, Request};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::{Answer, Cluster, Judged, Shared, Target};
use crate::kafka::observe::telemetry::{Next, State, Told};
use crate::kafka::runtime::{Mutex, after};
use crate::kafka::{ClientConfig, Error, ErrorKind, Random, Result};

/// How long the last push may take.
const LAST_PUSH: Duration = Duration::from_secs(3);

/// What is known of it.
pub(super) struct Telemetry {
    state: Mutex<State>,
    told: Mutex<Told>,
    random: Mutex<Random>,
    is_over: AtomicBool,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    pub fn new(config: &ClientConfig) -> Self {
        let (metrics, client_id) = (config.metrics.clone(), config.client_id.clone());
        Self {
            state: Mutex::new(State::new(Instant::now())),
            told: Mutex::new(Told::new(metrics, client_id, config.clock.now_ms())),
            random: Mutex::new(config.random("telemetry")),
            is_over: AtomicBool::new(false),
        }
    }
}

impl Telemetry {
    /// Whether there is something to tell a last time: once.
    fn begin_last(&self) -> bool {
        let is_wanted = matches!(self.state.lock().next(), Next::Push(_));
        is_wanted && !self.is_over.swap(true, Ordering::Relaxed)
    }
}

/// Asks and pushes once `offered` was told that a broker takes it, until nothing more is wanted or the client ends.
pub(super) async fn run(shared: Weak<Shared>, offered: Arc<Notify>) {
    offered.notified().await;
    loop {
        let Some(cluster) = shared.upgrade().map(|shared| Cluster::of(&shared)) else {
            return;
        };
        let telemetry = &cluster.0.shared.telemetry;
        let next = telemetry.state.lock().next();
        let (Next::Subscribe(at) | Next::Push(at)) = next else {
            return;
        };
        if telemetry.is_over.load(Ordering::Relaxed) {
            return;
        }
        if at <= Instant::now() {
            cluster.take_step(next).await;
            continue;
        }
        // Whoever sleeps keeps no client alive.
        drop(cluster);
        sleep_until(at).await;
    }
}

impl Cluster {
    async fn take_step(&self, next: Next) {
        let telemetry = &self.0.shared.telemetry;
        let deadline = Instant::now() + self.config().request_timeout;
        if let Next::Push(_) = next {
            return self.push(false, deadline).await;
        }
        let request = GetTelemetrySubscriptionsRequest {
            client_instance_id: telemetry.state.lock().instance,
            ..Default::default()
        };
        let answer = self.ask_any_once(&request, deadline).await;
        let (now, mut state) = (Instant::now(), telemetry.state.lock());
        match answer {
            Ok(response) => state.subscribed(response, now, &mut telemetry.random.lock()),
            Err(_) => state.failed(now),
        }
    }

    /// The id that brokers have given this client, asked for where none has yet.
    pub async fn client_instance_id(&self, deadline: Instant) -> Result<String> {
        if !self.config().metrics_push {
            let message = "brokers give a client an id for the metrics that it tells: enable.metrics.push is false";
            return Err(Error::new(ErrorKind::Config, message));
        }
        let known = || self.0.shared.telemetry.state.lock().instance;
        if known().is_zero() {
            self.found(deadline).await?;
            let build = |_| Ok(GetTelemetrySubscriptionsRequest::default());
            let judge = |answer: Result<Answer<GetTelemetrySubscriptionsRequest>>| match answer {
                Ok(answer) if answer.response.error_code != ErrorCode::NONE => {
                    Judged::failed(answer.error(answer.response.error_code, None))
                }
                Ok(answer) => Judged::Done(answer.response.client_instance_id),
                Err(error) => Judged::failed(error),
            };
            let given = self.request(Target::Any, deadline, build, judge).await?;
            self.0.shared.telemetry.state.lock().given(given);
        }
        Ok(known().to_string())
    }

    /// Asks any broker, and does not ask again where that fails: when to is the protocol's to say.
    async fn ask_any_once<R: Request>(
        &self,
        request: &R,
        deadline: Instant,
    ) -> Result<R::Response> {
        let build = |_| Ok(request.clone());
        let judge = |answer: Result<Answer<R>>| match answer {
            Ok(answer) => Judged::Done(answer.response),
            Err(error) => Judged::Failed(error),
        };
        self.request(Target::Any, deadline, build, judge).await
    }

    /// Tells brokers what they were not told yet, if they want to know it, and nothing more from then on: for `timeout`, and no longer than
    /// [`LAST_PUSH`].
    pub async fn tell_last(&self, timeout: Duration) {
        if self.0.shared.telemetry.begin_last() {
            let deadline = after(timeout.min(LAST_PUSH));
            self.push(true, deadline).await;
        }
    }

    /// This user is done. Where it was the last of its client, brokers are [told](Self::tell_last) so; dropping it does that without waiting.
    pub async fn finish(&self, timeout: Duration) {
        if self.0.leave() {
            self.tell_last(timeout).await;
        }
    }

    /// Sends what is wanted now; `terminating` when it is the last time.
    async fn push(&self, terminating: bool, deadline: Instant) {
        let telemetry = &self.0.shared.telemetry;
        let telling = {
            let (state, told) = (telemetry.state.lock(), telemetry.told.lock());
            let Some(subscription) = &state.subscription else {
                return;
            };
            let mut telling = told.tell(&state, subscription, self.config().clock.now_ms());
            telling.request.terminating = terminating;
            telling
        };
        let answer = self.ask_any_once(&telling.request, deadline).await;
        let now = Instant::now();
        match answer {
            Ok(response) => {
                let mut told = telemetry.told.lock();
                if response.error_code == ErrorCode::NONE {
                    told.told(telling);
                }
                drop(told);
                telemetry.state.lock().pushed(response.error_code, now);
            }
            Err(_) => telemetry.state.lock().failed(now),
        }
    }
}

/// The last user of a client is gone: what it has not told yet it tells now, if anybody wants to know.
pub(super) fn last_push(shared: &Arc<Shared>) {
    if !shared.telemetry.begin_last() {
        return;
    }
    let cluster = Cluster::of(shared);
    shared.tasks.spawn("last telemetry", async move {
        cluster.push(true, Instant::now() + LAST_PUSH).await;
    });
}
