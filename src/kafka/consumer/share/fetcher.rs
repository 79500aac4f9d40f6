//! The task that talks to one broker: fetches what polls wait for, and acknowledges. In: what to send next. Out: records to be polled, results of
//! acknowledgements. A connection of its own carries all of it: where that ends, so does the session, and the broker gives what was acquired in it
//! to others.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

use protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use protocol::messages::{
    ShareAcknowledgeRequest, ShareAcknowledgeResponse, ShareFetchRequest, ShareFetchResponse,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::config::AcquireMode;
use super::ledger::{RENEW, Sent};
use super::plan::Partitions;
use super::response;
use super::session::{FINAL_EPOCH, ShareSession};
use super::state::{Next, ShareContext};
use crate::kafka::cluster::Channel;
use crate::kafka::consumer::fetch::FrameMemory;
use crate::kafka::consumer::wait::wait;
use crate::kafka::net::{Connection, FramePool};
use crate::kafka::runtime::{Mutex, Reservation};
use crate::kafka::{Error, ErrorKind, Result, WriteOutcome};

/// The version from which locks can be renewed (KIP-1222).
const RENEW_FROM: i16 = 2;

/// A fetch, and what is needed to read its response.
pub(super) struct Fetched {
    pub response: ShareFetchResponse,
    pub wanted: Arc<Partitions>,
    pub sent: Vec<Sent>,
    pub asked_at: Instant,
    pub frames: FramePool,
    pub memory: FrameMemory,
    pub reservation: Reservation,
}

/// Talks to `node` until there is nothing to do with it. `wakeup` says that something may have changed about it.
pub(super) async fn run(context: Arc<ShareContext>, node: i32, wakeup: Arc<Notify>) {
    let mut session = ShareSession::default();
    let mut fruitless = 0;
    loop {
        let mut freed = pin!(context.budget.freed());
        freed.as_mut().enable();
        match context.next(node, session.is_open()) {
            Next::Fetch {
                sent,
                max_bytes,
                reservation,
            } => {
                let asked_at = Instant::now();
                let room = (max_bytes, reservation);
                let is_fruitful = fetch(&context, node, &mut session, sent, room).await;
                // A broker that has nothing waits for some before it says so.
                let waited = asked_at.elapsed() >= context.config.fetch_max_wait / 2;
                fruitless = match is_fruitful || waited {
                    true => 0,
                    false => fruitless + 1,
                };
                // Others may have their turn.
                context.work().wake_all();
                context.ready.notify_waiters();
                if fruitless > 1 {
                    sleep(context.pause(fruitless - 1)).await;
                }
            }
            Next::Acknowledge(sent) => {
                acknowledge(&context, node, &mut session, sent, false).await;
            }
            Next::Close(sent) => acknowledge(&context, node, &mut session, sent, true).await,
            Next::Wait(until) => wait(wakeup.notified(), until).await,
            Next::WaitForMemory => {
                tokio::select! {
                    biased;
                    () = wakeup.notified() => {}
                    () = freed => {}
                }
            }
            Next::Retire => break,
        }
    }
    context.ready.notify_waiters();
}

/// Fetches, and acknowledges along with that. Whether anything was acquired.
async fn fetch(
    context: &ShareContext,
    node: i32,
    session: &mut ShareSession,
    sent: Vec<Sent>,
    (max_bytes, reservation): (usize, Reservation),
) -> bool {
    let wanted = context
        .work()
        .leaders
        .get(&node)
        .cloned()
        .unwrap_or_default();
    let asked_at = Instant::now();
    let answer = ask(context, node, session, &wanted, &sent, max_bytes).await;
    if answer.is_ok() {
        context.counters.fetch_latency.record(asked_at.elapsed());
    }
    context.work().fetch_over(node);
    let (response, frames, memory) = match answer {
        Ok(answer) => answer,
        Err(error) => {
            session.lost();
            response::failed(context, node, &sent, error);
            return false;
        }
    };
    let fetched = Fetched {
        response,
        wanted,
        sent,
        asked_at,
        frames,
        memory,
        reservation,
    };
    response::take_fetched(context, node, session, fetched)
}

async fn ask(
    context: &ShareContext,
    node: i32,
    session: &mut ShareSession,
    wanted: &Partitions,
    sent: &[Sent],
    max_bytes: usize,
) -> Result<(ShareFetchResponse, FramePool, FrameMemory)> {
    let config = &context.config;
    let deadline = context.deadline() + config.fetch_max_wait;
    let connection = connect(context, node, deadline).await?;
    let api_version = connection.version_of::<ShareFetchRequest>()?;
    let wanted: BTreeSet<_> = wanted.keys().copied().collect();
    let said = session.fetch(&wanted, sent);
    let request = ShareFetchRequest {
        group_id: config.group_id.clone(),
        member_id: Some(member_id(context)),
        share_session_epoch: said.epoch,
        max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
        min_bytes: wire_size(config.fetch_min_bytes),
        max_bytes: wire_size(max_bytes),
        max_records: wire_size(config.max_poll_records),
        batch_size: wire_size(config.max_poll_records),
        share_acquire_mode: i8::from(config.acquire_mode == AcquireMode::RecordLimit),
        topics: said.topics,
        forgotten_topics_data: said.forgotten,
        ..Default::default()
    };
    let memory = Arc::<Mutex<FrameMemory>>::default();
    let (budget, announced) = (context.budget.clone(), memory.clone());
    let on_length = move |bytes: usize| {
        *announced.lock() = FrameMemory::of(bytes, max_bytes, &budget);
    };
    let response = connection.call_sized(&request, api_version, deadline, on_length);
    let response = response.await?;
    let memory = std::mem::take(&mut *memory.lock());
    Ok((response, connection.pool().clone(), memory))
}

/// Acknowledges, and closes the session where it `is_last`: what is not acknowledged is released by that.
async fn acknowledge(
    context: &ShareContext,
    node: i32,
    session: &mut ShareSession,
    mut sent: Vec<Sent>,
    is_last: bool,
) {
    let deadline = context.deadline();
    let answer: Result<Option<ShareAcknowledgeResponse>> = async {
        let connection = connect(context, node, deadline).await?;
        let api_version = connection.version_of::<ShareAcknowledgeRequest>()?;
        let is_renewing = renews(&sent);
        if is_renewing && api_version < RENEW_FROM {
            let refused = take_renewing(&mut sent);
            for sent in refused {
                let error = Error::new(ErrorKind::UnsupportedVersion, NO_RENEWAL).tried_on();
                context.answered(node, &sent, Err(error));
            }
            if sent.is_empty() && !is_last {
                return Ok(None);
            }
        }
        let request = ShareAcknowledgeRequest {
            group_id: context.config.group_id.clone(),
            member_id: Some(member_id(context)),
            share_session_epoch: match is_last {
                true => FINAL_EPOCH,
                false => session.epoch(),
            },
            is_renew_ack: renews(&sent),
            topics: topics_of(&sent),
            ..Default::default()
        };
        let response = connection.call_at(&request, api_version, deadline).await?;
        Ok(Some(response))
    }
    .await;
    match answer {
        Ok(None) => {}
        Ok(Some(response)) => response::take_acknowledged(context, node, session, sent, response),
        Err(error) => {
            session.lost();
            response::failed(context, node, &sent, error);
        }
    }
    if is_last {
        session.lost();
    }
}

const NO_RENEWAL: &str = "the broker cannot renew acquisition locks (KIP-1222, Kafka 4.2 and later): nothing of the partition was acknowledged";

async fn connect(context: &ShareContext, node: i32, deadline: Instant) -> Result<Connection> {
    // None of it was sent.
    let connected = context.cluster.connection(node, Channel::Fetch, deadline);
    let connected = connected.await;
    connected.map_err(|error| error.with_outcome(WriteOutcome::NotWritten))
}

fn member_id(context: &ShareContext) -> String {
    let member = context.member();
    let id = member.map(|member| member.with(|it| it.member_id().to_string()));
    id.unwrap_or_default()
}

fn renews(sent: &[Sent]) -> bool {
    let mut runs = sent.iter().flat_map(|sent| &sent.runs);
    runs.any(|run| run.kind == RENEW)
}

fn take_renewing(sent: &mut Vec<Sent>) -> Vec<Sent> {
    let (renewing, others) = std::mem::take(sent)
        .into_iter()
        .partition(|it| renews(std::slice::from_ref(it)));
    *sent = others;
    renewing
}

fn topics_of(sent: &[Sent]) -> Vec<AcknowledgeTopic> {
    let mut topics: Vec<AcknowledgeTopic> = Vec::new();
    // By id and partition, as places are.
    for Sent { id, runs, .. } in sent {
        let partition = AcknowledgePartition {
            partition_index: id.1,
            acknowledgement_batches: (runs.iter())
                .map(|run| AcknowledgementBatch {
                    first_offset: run.first,
                    last_offset: run.last,
                    acknowledge_types: vec![run.kind],
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id.0 => topic.partitions.push(partition),
            _ => topics.push(AcknowledgeTopic {
                topic_id: id.0,
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    topics
}

fn wire_size(size: usize) -> i32 {
    i32::try_from(size).unwrap_or(i32::MAX)
}
