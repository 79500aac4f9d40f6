//! Transactional producers. At each place one instance after the other has the place's transactional id: it goes in good order, or as if its machine had
//! died, or stays and does not know that the next one has taken over. In the end the last one of each place must get through again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pat_events::events::OutboxEvent;
use pat_events::kafka::{
    ConsumerGroupMetadata, Delivery, Error, ErrorKind, Header, OffsetAndMetadata, ProducerConfig,
    Record, Result, TopicPartition, Transaction, TransactionalProducer, WriteOutcome,
};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use super::applications::Shared;
use super::events::{Ended, Topic, TransactionEvent, number_of, offset_of};
use crate::consumers::leaves_at;
use crate::history::Id;
use crate::network::Lifeline;
use crate::producers::poll_then_drop;
use crate::rng::Rng;

/// How many keys records have.
const KEYS: u64 = 10;
/// How many transactions must get through once everything is healed.
const AFTER_HEALING: u32 = 2;
/// How long an instance may take to go in good order.
const CLOSE: Duration = Duration::from_secs(60);

/// How an instance makes room for the next.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// It finishes its transaction and closes.
    Closes,
    /// It is dropped, in the middle of whatever it does.
    Dropped,
    /// Its machine dies: nothing that it would say is heard.
    Dies,
    /// It stays.
    Stays,
}

/// Has one instance after the other write at the place, until everything is healed and the last one gets through.
pub(super) async fn run_place(shared: Shared, place: u32, rng: Rng) -> Result<(), String> {
    let mut fenced = JoinSet::new();
    for nth in 0..100 {
        let writer = place * 100 + nth;
        let (mut instance, lifeline) = Instance::new(&shared, place, writer, &rng);
        let (stop, connected) = (instance.stop.clone(), instance.connected.clone());
        let until = leaves_at(&shared.harness, nth, &rng);
        let exit = match shared.harness.plan.all_is_well() {
            true => *rng.pick(&[Exit::Closes, Exit::Dropped, Exit::Stays]),
            false => *rng.pick(&[Exit::Closes, Exit::Dropped, Exit::Dies, Exit::Stays]),
        };
        let silence = rng.millis(0, 30_000);
        let mut task = tokio::spawn(async move { instance.live().await });
        let ended = match until {
            Some(until) => timeout_at(until, &mut task).await.ok(),
            None => Some((&mut task).await),
        };
        match (ended, exit) {
            (Some(ended), _) => match ended.map_err(|error| error.to_string())? {
                Ok(()) => break,
                Err(error) => shared.note_obstacle(place, &error),
            },
            (None, Exit::Closes) => {
                stop.store(true, Ordering::Relaxed);
                if timeout(CLOSE, &mut task).await.is_err() {
                    task.abort();
                }
            }
            (None, Exit::Dropped) => task.abort(),
            (None, Exit::Dies) => {
                lifeline.cut();
                task.abort();
            }
            // Before it has taken over the id it would take it over from the next.
            (None, Exit::Stays) if !connected.load(Ordering::Relaxed) => task.abort(),
            (None, Exit::Stays) => {
                if !shared.harness.plan.all_is_well() {
                    lifeline.fall_silent(silence);
                }
                fenced.spawn(task);
                continue;
            }
        }
        shared.note(TransactionEvent::Stops { writer });
    }
    // Those that were taken over from see that, sooner or later.
    while let Some(ended) = fenced.join_next().await {
        let ended = ended.and_then(|ended| ended);
        // Whatever it is that they see.
        let _ = ended.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// One producer at work.
struct Instance {
    shared: Shared,
    place: u32,
    writer: u32,
    config: ProducerConfig,
    rng: Rng,
    stop: Arc<AtomicBool>,
    connected: Arc<AtomicBool>,
    next: u32,
    /// How many transactions have got through since everything is healed.
    got_through: u32,
}

impl Instance {
    fn new(shared: &Shared, place: u32, writer: u32, rng: &Rng) -> (Self, Lifeline) {
        let rng = rng.fork();
        let (client, lifeline) = shared.client(writer, &rng);
        let mut config = ProducerConfig::new("");
        config.client = client;
        config.batch_bytes = *rng.pick(&[120, 600, 20_000]);
        config.linger = Duration::from_millis(*rng.pick(&[0, 5, 500]));
        config.max_in_flight = rng.between(1, 5) as usize;
        config.delivery_timeout = match shared.harness.plan.all_is_well() {
            true => Duration::from_secs(120),
            false => Duration::from_secs(*rng.pick(&[5, 40])).max(
                // What is in flight is awaited for the request timeout.
                shared.harness.request_timeout + config.linger,
            ),
        };
        config.max_block = Duration::from_secs(*rng.pick(&[10, 60]));
        config.transaction_timeout = shared.plan.timeout;
        let instance = Self {
            shared: shared.clone(),
            place,
            writer,
            config,
            rng,
            stop: Arc::default(),
            connected: Arc::default(),
            next: 0,
            got_through: 0,
        };
        (instance, lifeline)
    }

    /// Writes until it is stopped, or everything is healed and it has got through. Fails when it is of no use any more.
    async fn live(&mut self) -> Result<()> {
        let mut producer = self.connect().await;
        while self.got_through < AFTER_HEALING && !self.stop.load(Ordering::Relaxed) {
            let is_over = self.next >= self.shared.plan.transactions;
            if is_over && !self.shared.harness.has_healed() {
                tokio::select! {
                    biased;
                    () = self.shared.harness.is_healed() => {}
                    () = sleep(Duration::from_secs(1)) => {}
                }
                continue;
            }
            match self.transact(&mut producer).await {
                Ok(()) => {}
                Err(error) if error.is_fatal() => return Err(error),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
            if !self.shared.harness.has_healed() {
                let longest = self.shared.harness.plan.lasts.as_millis() as u64 / 10;
                sleep(self.rng.millis(0, longest)).await;
            }
        }
        // What it had to say has been said.
        let _ = producer.close(CLOSE).await;
        Ok(())
    }

    async fn connect(&self) -> TransactionalProducer {
        let writer = self.writer;
        let id = self.shared.transactional_id(self.place);
        if self.shared.plan.epochs_end {
            // As if many transactions had been.
            (self.shared.harness.broker).skip_to_producer_epoch(&id, i16::MAX - 3);
        }
        self.shared.note(TransactionEvent::Connects { writer });
        loop {
            // No broker may be there yet.
            match TransactionalProducer::connect(self.config.clone(), &id).await {
                Ok(producer) => {
                    self.connected.store(true, Ordering::Relaxed);
                    self.shared.note(TransactionEvent::Connected { writer });
                    return producer;
                }
                Err(_) => sleep(Duration::from_millis(500)).await,
            }
        }
    }

    /// Writes one transaction, and ends it in one way or another.
    async fn transact(&mut self, producer: &mut TransactionalProducer) -> Result<()> {
        let transaction = producer.begin().await?;
        let (writer, number) = (self.writer, self.next);
        self.next += 1;
        let note = |event| self.shared.note(event);
        note(TransactionEvent::Begun {
            writer,
            transaction: number,
        });
        let has_healed = self.shared.harness.has_healed();
        let (deliveries, written) = self.write(&transaction, number, has_healed).await;
        if self.rng.chance(30) || has_healed {
            note(TransactionEvent::SendsOffset {
                writer,
                transaction: number,
            });
            // What fails of it fails the transaction.
            let _ = self.send_offset(&transaction, number).await;
        }
        if self.rng.chance(self.shared.plan.late_percent) && !has_healed {
            sleep(self.shared.plan.timeout * 3 / 2).await;
        }
        let decides = |commit| TransactionEvent::Decides {
            writer,
            transaction: number,
            commit,
        };
        let ended = |how| TransactionEvent::Ended {
            writer,
            transaction: number,
            how,
        };
        match self.rng.between(0, 99) {
            0..72 => {}
            _ if has_healed => {}
            72..84 => {
                note(decides(false));
                let aborted = transaction.abort().await;
                // Whatever keeps it from being aborted now, it is never committed.
                note(ended(Ended::Aborted));
                return aborted;
            }
            84..92 => {
                drop(transaction);
                return written;
            }
            _ => {
                note(decides(true));
                let polls = self.rng.between(1, 4) as u32;
                let committed = poll_then_drop(transaction.commit(), polls).await;
                let (how, result) = match committed {
                    Some(Ok(())) => (Ended::Committed, Ok(())),
                    _ => settle(producer).await,
                };
                note(ended(how));
                return result;
            }
        }
        note(decides(true));
        let (how, result) = match transaction.commit().await {
            Ok(()) => (Ended::Committed, Ok(())),
            Err(error) if error.outcome() == WriteOutcome::NotWritten => {
                (Ended::NotCommitted, Err(error))
            }
            Err(_) => settle(producer).await,
        };
        if how == Ended::Committed {
            self.acknowledged(&deliveries);
            self.got_through += u32::from(has_healed);
        }
        note(ended(how));
        result
    }

    /// Writes some records; one to each partition where that is what it is about.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        number: u32,
        to_all: bool,
    ) -> (Vec<(Id, Topic, Delivery)>, Result<()>) {
        let mut deliveries = Vec::new();
        let rng = &self.rng;
        let mut places: Vec<(Topic, u32)> = Vec::new();
        if to_all {
            let of = |topic: Topic| (0..topic.partitions()).map(move |key| (topic, key as u32));
            places.extend(Topic::INPUTS.into_iter().flat_map(of));
        } else if !rng.chance(5) {
            let draw = |_| (*rng.pick(&Topic::INPUTS), rng.between(0, KEYS - 1) as u32);
            places.extend((0..rng.any_scale(24)).map(draw));
        }
        for (index, (topic, key)) in (0..).zip(places) {
            let id = Id {
                producer: self.writer,
                number: number_of(number, index),
            };
            let partition = key as i32 % topic.partitions();
            let encoded = self.shared.encode(id, key).await;
            let headers = headers(&encoded);
            let mut record = Record::new(topic.name())
                .partition(partition)
                .headers(&headers);
            (record.key, record.value) = (encoded.key.as_deref(), Some(&encoded.value[..]));
            match transaction.enqueue(record).await {
                Ok(delivery) => {
                    self.shared.note(TransactionEvent::Accepted {
                        id,
                        topic,
                        partition,
                        key,
                    });
                    deliveries.push((id, topic, delivery));
                }
                Err(error) => return (deliveries, Err(error)),
            }
            if rng.chance(10) && !to_all {
                sleep(rng.millis(0, 300)).await;
            }
        }
        (deliveries, Ok(()))
    }

    async fn send_offset(&self, transaction: &Transaction<'_>, number: u32) -> Result<()> {
        let partition = TopicPartition::new(Topic::Ledger.name(), 0);
        let offset = OffsetAndMetadata::new(offset_of(self.writer, number));
        let group = ConsumerGroupMetadata::standalone(self.shared.group_of(self.place));
        transaction
            .send_offsets([(partition, offset)], &group)
            .await
    }

    fn acknowledged(&self, deliveries: &[(Id, Topic, Delivery)]) {
        for (id, topic, delivery) in deliveries {
            // What the log has decides; who was told of a place is held to it.
            if let Some(Ok(metadata)) = delivery.outcome()
                && let Some(offset) = metadata.offset
            {
                self.shared.note(TransactionEvent::Acknowledged {
                    id: *id,
                    topic: *topic,
                    partition: metadata.partition,
                    offset,
                });
            }
        }
    }
}

/// What became of a commit that nobody has waited for, or that the coordinator did not answer.
async fn settle(producer: &mut TransactionalProducer) -> (Ended, Result<()>) {
    loop {
        return match producer.settled().await {
            Ok(Some(true)) => (Ended::Committed, Ok(())),
            Ok(_) => (Ended::NotCommitted, Ok(())),
            Err(error) if error.kind() == ErrorKind::Timeout && !error.is_fatal() => continue,
            Err(error) => (fate(&error), Err(error)),
        };
    }
}

fn fate(error: &Error) -> Ended {
    match error.outcome() {
        WriteOutcome::NotWritten => Ended::NotCommitted,
        _ => Ended::Unknown,
    }
}

pub(super) fn headers(event: &OutboxEvent) -> Vec<Header<'_>> {
    let headers = event.headers.iter();
    headers
        .map(|(name, value)| Header::new(name, value))
        .collect()
}
