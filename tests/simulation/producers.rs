//! The producers of a run: each sends its records, now slowly, now all at once, and notes what it is told of each. In the end each must get
//! through again.

use std::collections::VecDeque;
use std::time::Duration;

use pat_events::kafka::{
    Acks, Delivery, Error, Producer, ProducerConfig, Record, RecordMetadata, WriteOutcome,
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::dice::Dice;
use crate::history::{Event, Id, Told};
use crate::world::{TOPIC, World};

/// How long a producer may take, once everything is healed and all its records are sent, to get one more of each key written.
const RECOVERS_WITHIN: Duration = Duration::from_secs(60);

/// What the producers of a run do; drawn once for all of them.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub producers: u32,
    pub idempotence: bool,
    records: u32,
    keys: u32,
    batch_bytes: usize,
    in_flight: usize,
    compression: &'static str,
    delivery_timeout: Duration,
    /// Of a hundred records, how many are followed by a pause.
    pause_percent: u64,
}

impl Load {
    pub fn draw(dice: &Dice) -> Self {
        Self {
            producers: dice.between(1, 2) as u32,
            idempotence: dice.chance(75),
            records: dice.between(20, 400) as u32,
            keys: dice.between(1, 12) as u32,
            batch_bytes: *dice.pick(&[120, 600, 20_000]),
            in_flight: dice.between(1, 5) as usize,
            compression: *dice.pick(&["none", "none", "lz4", "zstd"]),
            delivery_timeout: Duration::from_secs(*dice.pick(&[5, 40, 120])),
            pause_percent: *dice.pick(&[1, 10, 60]),
        }
    }

    fn config(&self, world: &World, nth: u32) -> ProducerConfig {
        let mut config = ProducerConfig::new("");
        config.client = world.client(nth);
        config.acks = Acks::All;
        config.idempotence = self.idempotence;
        config.batch_bytes = self.batch_bytes;
        config.max_in_flight = self.in_flight;
        config.compression = self.compression.parse().expect("a codec");
        config.delivery_timeout = self
            .delivery_timeout
            .max(config.client.request_timeout + config.linger);
        config.max_block = Duration::from_secs(60);
        config
    }
}

/// Sends all records of the `nth` producer and, once everything is healed, one of each key that must be written. Ends when the fate of each
/// is known; fails when what is healed does not let it write.
pub async fn produce(world: World, load: Load, nth: u32, dice: Dice) -> Result<(), String> {
    let producer = connect(load.config(&world, nth)).await;
    let mut sending = Sending {
        world: &world,
        producer: &producer,
        dice: &dice,
        next: Id {
            producer: nth,
            number: 0,
        },
    };
    let mut open = Open {
        world: &world,
        deliveries: VecDeque::new(),
    };
    for _ in 0..load.records {
        let key = dice.between(0, u64::from(load.keys) - 1) as u32;
        // What is not accepted is not in the history: the checker wants it not to be in the log either. Whether the producer ever accepts
        // anything again shows in the end.
        if let Ok(accepted) = sending.send(key).await {
            open.deliveries.push_back(accepted);
        }
        open.report_known();
        if dice.chance(load.pause_percent) {
            sleep(dice.millis(0, 500)).await;
        }
        if dice.chance(1) {
            // Its result is that of the deliveries.
            let _ = producer.flush().await;
            open.report_known();
            world.scribe.note(Event::Flushed { producer: nth });
        }
    }
    world.is_healed().await;
    let recovered = sending.reach_every_key(load.keys).await;
    open.report_rest().await;
    // As above.
    let _ = producer.close(Duration::from_secs(60)).await;
    recovered.map_err(|error| format!("producer {nth} does not recover: {error}"))
}

async fn connect(config: ProducerConfig) -> Producer {
    loop {
        // No broker may be there yet.
        match Producer::connect(config.clone()).await {
            Ok(producer) => return producer,
            Err(error) if error.is_fatal() => panic!("{error}"),
            Err(_) => sleep(Duration::from_millis(500)).await,
        }
    }
}

/// A producer at work.
struct Sending<'a> {
    world: &'a World,
    producer: &'a Producer,
    dice: &'a Dice,
    next: Id,
}

impl Sending<'_> {
    /// Hands one record to the producer.
    async fn send(&mut self, key: u32) -> Result<(Id, Delivery), Error> {
        let id = self.next;
        self.next.number += 1;
        let mut value = id.to_value().to_vec();
        value.resize(self.dice.between(8, 60) as usize, 0);
        let key_bytes = key.to_be_bytes();
        let record = Record::new(TOPIC).key(&key_bytes).value(&value);
        let delivery = self.producer.enqueue(record).await?;
        self.world.scribe.note(Event::Accepted { id, key });
        Ok((id, delivery))
    }

    /// Gets a record of every key written: a producer that only ever reports failures breaks no other rule.
    async fn reach_every_key(&mut self, keys: u32) -> Result<(), String> {
        let deadline = Instant::now() + RECOVERS_WITHIN;
        for key in 0..keys {
            let mut last = None;
            while let Err(error) = timeout_at(deadline, self.write(key))
                .await
                .map_err(|_| format!("nothing of key {key} is written: {last:?}"))?
            {
                last = Some(error);
                sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    async fn write(&mut self, key: u32) -> Result<(), Error> {
        let (id, delivery) = self.send(key).await?;
        let outcome = delivery.await;
        report(self.world, id, outcome.clone());
        outcome.map(drop)
    }
}

/// Records whose fate is not known yet.
struct Open<'a> {
    world: &'a World,
    deliveries: VecDeque<(Id, Delivery)>,
}

impl Open<'_> {
    fn report_known(&mut self) {
        let world = self.world;
        self.deliveries
            .retain(|(id, delivery)| match delivery.outcome() {
                Some(outcome) => {
                    report(world, *id, outcome);
                    false
                }
                None => true,
            });
    }

    async fn report_rest(&mut self) {
        while let Some((id, delivery)) = self.deliveries.pop_front() {
            report(self.world, id, delivery.await);
        }
    }
}

fn report(world: &World, id: Id, outcome: Result<RecordMetadata, Error>) {
    let told = match outcome {
        Ok(RecordMetadata {
            partition,
            offset: Some(offset),
            ..
        }) => Told::Written { partition, offset },
        // A duplicate that the broker no longer knows the offset of.
        Ok(_) => Told::Unknown,
        Err(error) if error.outcome() == WriteOutcome::NotWritten => Told::NotWritten,
        Err(_) => Told::Unknown,
    };
    world.scribe.note(Event::Reported { id, told });
}
