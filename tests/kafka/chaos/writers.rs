//! Who writes: without transactions, and in transactions that are committed, aborted and dropped, by producers that now and then die. In: what all of it shares.
//! Out: each record that was handed in, and what became of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use pat_events::kafka::{
    Delivery, Error, ErrorKind, Producer, ProducerConfig, Record, TransactionalProducer,
    WriteOutcome,
};
use tokio::time::sleep;

use super::history::{Fate, Identity};
use super::{INPUT, Shared};
use crate::rng::Rng;

/// Of each writer.
const KEYS: u64 = 24;
/// Between what is handed in at once without transactions.
const PAUSE: Duration = Duration::from_millis(80);
/// The most records of a transaction.
const LARGEST: u64 = 90;
/// How many deliveries are kept before the oldest is awaited.
const WINDOW: usize = 20_000;

fn config(shared: &Shared) -> ProducerConfig {
    let mut config = ProducerConfig::new(&shared.bootstrap);
    config.client.transport = Arc::new(shared.network.clone());
    config
}

fn key(writer: u32, number: u64) -> [u8; 8] {
    ((u64::from(writer) << 32) | (number % KEYS)).to_be_bytes()
}

fn fate_of(error: &Error) -> Fate {
    match error.outcome() {
        WriteOutcome::NotWritten => Fate::Absent,
        _ => Fate::Unknown,
    }
}

pub(super) async fn idempotent(shared: Arc<Shared>, writer: u32) {
    let producer = Producer::connect(config(&shared)).await.expect("connected");
    let mut under_way: VecDeque<(u64, Delivery)> = VecDeque::new();
    while !shared.ends() {
        for _ in 0..shared.burst {
            let number = shared.history().hand_in(writer);
            let identity = Identity {
                writer,
                number,
                transaction: 0,
                size: 0,
            };
            let (key, value) = (key(writer, number), identity.to_value());
            let record = Record::new(INPUT).key(&key).value(&value);
            match producer.enqueue(record).await {
                Ok(delivery) => under_way.push_back((number, delivery)),
                Err(error) => {
                    shared.count(format!("record refused: {:?}", error.kind()));
                    shared.history().became(writer, number, fate_of(&error));
                }
            }
        }
        while let Some((_, delivery)) = under_way.front()
            && (under_way.len() > WINDOW || delivery.outcome().is_some())
        {
            let (number, delivery) = under_way.pop_front().expect("one");
            settle(&shared, writer, number, delivery).await;
        }
        sleep(PAUSE).await;
    }
    for (number, delivery) in under_way {
        settle(&shared, writer, number, delivery).await;
    }
}

async fn settle(shared: &Shared, writer: u32, number: u64, delivery: Delivery) {
    let fate = match delivery.await {
        Ok(_) => Fate::Written,
        Err(error) => {
            shared.count(format!("record failed: {:?}", error.kind()));
            fate_of(&error)
        }
    };
    shared.history().became(writer, number, fate);
}

pub(super) async fn transactional(shared: Arc<Shared>, writer: u32, rng: Rng) {
    let id = format!("chaos-writer-{writer}");
    while !shared.ends() {
        match TransactionalProducer::connect(config(&shared), &id).await {
            Ok(producer) => live(&shared, writer, producer, &rng).await,
            Err(error) => shared.count(format!("not connected: {:?}", error.kind())),
        }
    }
}

/// One producer, until it dies.
async fn live(shared: &Shared, writer: u32, mut producer: TransactionalProducer, rng: &Rng) {
    while !shared.ends() {
        let transaction = match producer.begin().await {
            Ok(transaction) => transaction,
            Err(error) => {
                shared.count(format!("not begun: {:?}", error.kind()));
                if error.is_fatal() {
                    return;
                }
                continue;
            }
        };
        let (number_of, size) = (shared.next_transaction(), rng.between(1, LARGEST));
        let mut numbers = Vec::new();
        let mut accepted = Ok(());
        for _ in 0..size {
            let number = shared.history().hand_in(writer);
            numbers.push(number);
            let identity = Identity {
                writer,
                number,
                transaction: number_of,
                size: size as u32,
            };
            let (key, value) = (key(writer, number), identity.to_value());
            let record = Record::new(INPUT).key(&key).value(&value);
            accepted = transaction.enqueue(record).await.map(drop);
            if accepted.is_err() {
                break;
            }
        }
        let fate = match (accepted, rng.between(0, 19)) {
            (Ok(()), 0) => {
                drop(transaction);
                Fate::Absent
            }
            (Ok(()), 1) => {
                // It dies in the middle of it.
                drop(transaction);
                become_all(shared, writer, &numbers, Fate::Absent);
                return;
            }
            (Ok(()), 2 | 3) | (Err(_), _) => {
                let aborted = transaction.abort().await;
                count_failure(shared, "not aborted", aborted.err());
                Fate::Absent
            }
            (Ok(()), _) => match transaction.commit().await {
                Ok(()) => Fate::Written,
                Err(error) if error.outcome() == WriteOutcome::NotWritten => {
                    count_failure(shared, "not committed", Some(error));
                    Fate::Absent
                }
                Err(error) => {
                    count_failure(shared, "not known", Some(error));
                    find_out(shared, &mut producer).await
                }
            },
        };
        become_all(shared, writer, &numbers, fate);
        sleep(rng.millis(0, 250)).await;
    }
}

/// What became of a commit that nobody answered.
async fn find_out(shared: &Shared, producer: &mut TransactionalProducer) -> Fate {
    loop {
        match producer.settled().await {
            Ok(Some(true)) => return Fate::Written,
            Ok(_) => return Fate::Absent,
            Err(error) if error.kind() == ErrorKind::Timeout => {}
            Err(error) => {
                let fate = fate_of(&error);
                count_failure(shared, "not settled", Some(error));
                return fate;
            }
        }
    }
}

fn count_failure(shared: &Shared, what: &str, error: Option<Error>) {
    if let Some(error) = error {
        shared.count(format!("{what}: {:?}", error.kind()));
    }
}

fn become_all(shared: &Shared, writer: u32, numbers: &[u64], fate: Fate) {
    let mut history = shared.history();
    for number in numbers {
        history.became(writer, *number, fate);
    }
}
