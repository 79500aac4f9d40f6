//! `exactly_once` loops: members of one group that read what writers have committed, and write it anew. They come and go, in good order or as if
//! their machines had died, or stay while the next one takes over their transactional id.

use std::sync::Arc;
use std::time::Duration;

use pat_events::events;
use pat_events::events::codec::Protobuf;
use pat_events::events::email::EmailEvents;
use pat_events::events::{Context, Encode, EventOutputs, EventSet, EventTransform, HandlerError};
use pat_events::kafka::{
    ExactlyOnceConfig, ExactlyOnceError, GroupProtocol, InputRecords, OffsetReset, Record,
    Transaction, Transform, exactly_once,
};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::applications::{FIRST_LOOP, LOOPS, Shared};
use super::events::{Topic, TransactionEvent};
use crate::consumers::leaves_at;
use crate::copying::copy;
use crate::record_format::{OwnEvents, RecordFormat};
use crate::rng::Rng;

/// How long a loop may take to stop in good order.
const STOP: Duration = Duration::from_secs(120);

/// The loops at work.
pub(super) struct Loops {
    places: Vec<JoinHandle<()>>,
    stop: Arc<Notify>,
}

impl Loops {
    pub fn start(shared: &Shared, rng: &Rng) -> Self {
        let stop = Arc::new(Notify::new());
        let place = |nth| {
            let (shared, rng, stop) = (shared.clone(), rng.fork(), stop.clone());
            tokio::spawn(run_place(shared, FIRST_LOOP / 100 + nth, rng, stop))
        };
        Self {
            places: (0..shared.plan.loops).map(place).collect(),
            stop,
        }
    }

    /// Stops all of them, in good order.
    pub async fn stop(&mut self) {
        self.stop.notify_waiters();
        for mut place in self.places.drain(..) {
            if timeout(STOP, &mut place).await.is_err() {
                place.abort();
            }
        }
    }
}

/// How an instance makes room for the next.
#[derive(Clone, Copy, Debug)]
enum Exit {
    Stops,
    Dropped,
    Dies,
    Stays,
}

/// A place in the group, and a transactional id, that one instance after the other has.
async fn run_place(shared: Shared, place: u32, rng: Rng, end: Arc<Notify>) {
    let mut end = std::pin::pin!(end.notified());
    end.as_mut().enable();
    let mut stay = Vec::new();
    // While no broker runs, many may come to nothing.
    for nth in (0..).map(|nth: u32| nth.min(99)) {
        let member = place * 100 + nth;
        let rng = rng.fork();
        let (client, lifeline) = shared.client(member, &rng);
        let config = config(&shared, place, member, client, &rng);
        let stop = Arc::new(Notify::new());
        let until = leaves_at(&shared.harness, nth, &rng);
        let exit = match shared.harness.plan.all_is_well() {
            true => *rng.pick(&[Exit::Stops, Exit::Dropped]),
            false => *rng.pick(&[Exit::Stops, Exit::Dropped, Exit::Dies, Exit::Stays]),
        };
        let silence = rng.millis(0, 30_000);
        shared.note(TransactionEvent::Connects { writer: member });
        let mut task = tokio::spawn(live(shared.clone(), config, stop.clone(), rng.fork()));
        let leaves = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        let is_over = tokio::select! {
            biased;
            () = &mut end => true,
            ended = &mut task => {
                if let Ok(Err(error)) = ended {
                    shared.note_obstacle(place, &error);
                    shared.note(TransactionEvent::LoopFails { member });
                    sleep(Duration::from_millis(500)).await;
                }
                shared.note(TransactionEvent::Stops { writer: member });
                continue;
            }
            () = leaves => false,
        };
        match exit {
            _ if is_over => {
                stop.notify_one();
                // Whether the coordinator hears of it or not.
                let _ = timeout(STOP / 2, &mut task).await;
                stay.push(task);
                break;
            }
            Exit::Stops => {
                stop.notify_one();
                let _ = timeout(STOP / 2, &mut task).await;
                task.abort();
            }
            Exit::Dropped => task.abort(),
            Exit::Dies => {
                lifeline.cut();
                task.abort();
            }
            Exit::Stays => {
                lifeline.fall_silent(silence);
                stay.push(task);
                continue;
            }
        }
        shared.note(TransactionEvent::Stops { writer: member });
    }
    for task in stay {
        task.abort();
    }
}

fn config(
    shared: &Shared,
    place: u32,
    member: u32,
    client: pat_events::kafka::ClientConfig,
    rng: &Rng,
) -> ExactlyOnceConfig {
    let plan = &shared.harness.plan;
    let servers = client.bootstrap_servers.join(",");
    let id = shared.transactional_id(place);
    let mut config = ExactlyOnceConfig::new(&servers, LOOPS, &[Topic::Ledger.name()], &id);
    config.client = client;
    config.consumer.auto_offset_reset = OffsetReset::Earliest;
    config.consumer.group_protocol = plan.protocols.of(member % 10_000);
    if config.consumer.group_protocol != GroupProtocol::Consumer {
        config.consumer.session_timeout = plan.session_timeout;
        config.consumer.heartbeat_interval = plan.session_timeout / 4;
        config.consumer.partition_assignment_strategy = plan.strategies.clone();
    }
    config.consumer.fetch_max_wait =
        Duration::from_millis(if plan.is_long() { 2_000 } else { 200 });
    config.consumer.max_poll_interval = plan.max_poll_interval;
    config.producer.transaction_timeout = shared.plan.timeout;
    config.producer.batch_bytes = *rng.pick(&[120, 20_000]);
    config.producer.linger = Duration::from_millis(5);
    config.producer.max_block = Duration::from_secs(*rng.pick(&[10, 60]));
    config.producer.delivery_timeout = match plan.all_is_well() {
        true => Duration::from_secs(120),
        false => Duration::from_secs(20).max(shared.harness.request_timeout * 2),
    };
    config.max_records = *rng.pick(&[1, 5, 1_000]);
    config.max_wait = Duration::from_millis(*rng.pick(&[1, 100, 1_000]));
    config
}

async fn live(
    shared: Shared,
    config: ExactlyOnceConfig,
    stop: Arc<Notify>,
    rng: Rng,
) -> Result<(), ExactlyOnceError> {
    let format = shared.harness.plan.format;
    let mut copying = Copying {
        shared,
        rng,
        works_from: Instant::now(),
    };
    match format {
        RecordFormat::Own if copying.shared.plan.typed => {
            of_events::<OwnEvents>(config, &mut copying, stop).await
        }
        RecordFormat::Email if copying.shared.plan.typed => {
            of_events::<EmailEvents>(config, &mut copying, stop).await
        }
        _ => {
            let stop = stop.notified();
            exactly_once(config, &mut copying, stop).await.map(drop)
        }
    }
}

async fn of_events<S>(
    kafka: ExactlyOnceConfig,
    copying: &mut Copying,
    stop: Arc<Notify>,
) -> Result<(), ExactlyOnceError>
where
    S: EventSet<Codec = Protobuf> + Encode<Protobuf> + Send + Sync,
{
    let servers = kafka.client.bootstrap_servers.join(",");
    let (id, output) = (kafka.transactional_id.clone(), Topic::Outputs.name());
    let topics = [Topic::Ledger.name()];
    let mut config = events::ExactlyOnceConfig::new(&servers, &topics, LOOPS, output, &id);
    config.kafka = kafka;
    let stop = stop.notified();
    let done = events::exactly_once::<S, _, _>(config, Protobuf, copying, stop);
    done.await.map(drop)
}

/// Writes what it reads, as it is.
struct Copying {
    shared: Shared,
    rng: Rng,
    /// Until then it takes no time again: what it takes of a transaction is bounded, however many records that has.
    works_from: Instant,
}

impl Copying {
    /// Takes its time, now and then more than a transaction has.
    async fn work(&mut self) {
        if self.shared.harness.has_healed() {
            return;
        }
        if self.rng.chance(5) && self.works_from <= Instant::now() {
            let time = self.rng.millis(0, 500);
            sleep(time).await;
            self.works_from = Instant::now() + time * 8;
        }
        if self.rng.chance(self.shared.plan.late_percent) && self.rng.chance(20) {
            sleep(self.shared.plan.timeout * 3 / 2).await;
        }
    }
}

impl Transform for Copying {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        for record in records.iter() {
            for topic in [Topic::Outputs, Topic::Copies] {
                copy(&record, Record::new(topic.name()), transaction).await?;
            }
            self.work().await;
        }
        Ok(())
    }
}

impl<S> EventTransform<S, Protobuf> for Copying
where
    S: EventSet + Encode<Protobuf> + Send + Sync,
{
    async fn transform(
        &mut self,
        _: &Context<'_>,
        event: S,
        outputs: &mut EventOutputs<'_, Protobuf>,
    ) -> Result<(), HandlerError> {
        outputs.send(&event).await?;
        self.work().await;
        Ok(())
    }
}
