//! The task that fetches from one broker: the next fetch is on its way while the last one is read. In: what is wanted from that broker.
//! Out: buffered fetches, or what went wrong with a partition.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;

use protocol::messages::FetchRequest;
use protocol::{ApiKey, ErrorCode, Uuid};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::next_fetch::{Fetch, NextFetch};
use super::response::{self, FrameMemory, Received};
use super::session::FetchSession;
use crate::kafka::cluster::Channel;
use crate::kafka::consumer::IsolationLevel;
use crate::kafka::consumer::partitions::STALLED_AFTER;
use crate::kafka::consumer::positions::Wanted;
use crate::kafka::consumer::state::ConsumerContext;
use crate::kafka::consumer::wait::wait;
use crate::kafka::net::Connection;
use crate::kafka::runtime::Mutex;
use crate::kafka::{Error, Result};

/// Fetches from `node` until nothing is to be fetched from there. `wakeup` says that something may have changed about it.
pub(crate) async fn run(context: Arc<ConsumerContext>, node: i32, wakeup: Arc<Notify>) {
    let mut session = FetchSession::default();
    let mut fruitless = 0;
    // Until when a broker that has nothing of what others leave room for is not asked again.
    let mut quiet_until = None;
    loop {
        let mut freed = pin!(context.budget.freed());
        freed.as_mut().enable();
        let next = context.next_fetch(node, quiet_until);
        if !matches!(next, NextFetch::Send(_)) {
            context.tell_of_fetched();
        }
        match next {
            NextFetch::Send(fetch) => {
                let sent = Instant::now();
                let (max_wait, full_for) = (fetch.max_wait, fetch.full_for);
                let fetched = fetch_once(&context, node, &mut session, fetch).await;
                quiet_until = full_for
                    .filter(|_| !fetched && max_wait.is_zero())
                    .map(|full_for| sent + full_for);
                // A broker that has nothing waits for some before it says so.
                let waited = sent.elapsed() >= context.patience_of_brokers() / 2;
                fruitless = match fetched || waited || quiet_until.is_some() {
                    true => 0,
                    false => fruitless + 1,
                };
                if fruitless > 1 {
                    context.tell_of_fetched();
                    sleep(context.pause(fruitless - 1)).await;
                }
            }
            NextFetch::Wait(until) => wait(wakeup.notified(), until).await,
            NextFetch::WaitForMemory => {
                let freed_or_woken = async {
                    tokio::select! {
                        biased;
                        () = wakeup.notified() => {}
                        () = freed => {}
                    }
                };
                // Somebody who does not read what is there may be found out.
                let look_at = Instant::now() + STALLED_AFTER;
                wait(freed_or_woken, context.has_readers().then_some(look_at)).await;
            }
            NextFetch::Retire => break,
        }
    }
    end_session(&context, node, session).await;
}

async fn end_session(context: &ConsumerContext, node: i32, mut session: FetchSession) {
    if let Some(request) = session.close() {
        // A courtesy: the broker forgets sessions by itself.
        let _ = context
            .cluster
            .call(node, Channel::Fetch, &request, context.deadline())
            .await;
    }
}

/// Sends `fetch` and takes the response. Whether anything was fetched.
async fn fetch_once(
    context: &ConsumerContext,
    node: i32,
    session: &mut FetchSession,
    fetch: Fetch,
) -> bool {
    let sent = Instant::now();
    let received = {
        let mut asked = pin!(ask(context, node, session, &fetch));
        let mut told = false;
        // The application hears of the last response when the next fetch is on its way: on a runtime with one thread, what it does with the
        // records would hold that up.
        let tell_when_asked = poll_fn(|task| {
            let polled = asked.as_mut().poll(task);
            if !std::mem::replace(&mut told, true) {
                context.tell_of_fetched();
            }
            polled
        });
        tell_when_asked.await
    };
    context.fetch_over();
    let error = match received {
        Ok(received) if received.response.error_code == ErrorCode::NONE => {
            context.counters.fetch_latency.record(sent.elapsed());
            session.answered(received.response.session_id);
            return response::take(context, node, fetch, received, session);
        }
        Ok(received) if session.refused(received.response.error_code) => return false,
        Ok(received) => Error::server(received.response.error_code, None).api(ApiKey::FETCH),
        Err(error) => error,
    };
    session.lost();
    // A broker that has nothing may keep silent for a while.
    let due = sent + fetch.max_wait;
    let failed = fetch.wanted.iter();
    context.failed_since(
        due.min(Instant::now()),
        failed.map(|want| (&want.partition, want.version)),
        &error,
    );
    false
}

async fn ask(
    context: &ConsumerContext,
    node: i32,
    session: &mut FetchSession,
    fetch: &Fetch,
) -> Result<Received> {
    let config = &context.config;
    let deadline = context.deadline() + fetch.max_wait;
    let connection = context
        .cluster
        .connection(node, Channel::Fetch, deadline)
        .await?;
    let api_version = fetch_version(&connection, &fetch.wanted)?;
    let max_partition_bytes = wire_size(config.max_partition_fetch_bytes);
    let request = FetchRequest {
        max_wait_ms: i32::try_from(fetch.max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: wire_size(config.fetch_min_bytes),
        max_bytes: wire_size(fetch.max_bytes),
        isolation_level: i8::from(config.isolation_level == IsolationLevel::ReadCommitted),
        rack_id: config.client_rack.clone().unwrap_or_default(),
        ..session.request(&fetch.wanted, max_partition_bytes, api_version)
    };
    let memory = Arc::<Mutex<FrameMemory>>::default();
    let (budget, announced, max_bytes) = (context.budget.clone(), memory.clone(), fetch.max_bytes);
    let on_length = move |bytes: usize| {
        *announced.lock() = FrameMemory::of(bytes, max_bytes, &budget);
    };
    let response = connection.call_sized(&request, api_version, deadline, on_length);
    Ok(Received {
        response: response.await?,
        api_version,
        frames: connection.pool().clone(),
        memory: std::mem::take(&mut memory.lock()),
    })
}

/// The newest version, or the newest that names topics by name when some id is not known.
fn fetch_version(connection: &Connection, wanted: &[Wanted]) -> Result<i16> {
    let newest = connection.version_of::<FetchRequest>()?;
    let without_id = wanted.iter().any(|want| want.topic_id == Uuid::ZERO);
    Ok(if without_id {
        newest.min(FetchRequest::TOPIC_IDS_FROM - 1)
    } else {
        newest
    })
}

fn wire_size(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}
