//! Whoever coordinates transactions dies and comes back, again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::{Record, WriteOutcome};
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::numbered;
use crate::fleet::Target;
use crate::support::kafka::Kafka;

/// A transaction after the other, while whoever coordinates them is killed and started again. What was reported as committed is there, what
/// was reported as not committed is not, and each is there whole.
pub async fn a_coordinator_that_dies_tears_no_transaction(kafka: &Kafka) {
    const EACH: u64 = 30;
    let target = Target {
        bootstrap: kafka.bootstrap(),
    };
    let topic = target.topic("torn").await;
    let mut producer = target.transactional("torn", &[]).await;
    let (mut committed, mut unknown) = (Vec::new(), Vec::new());
    let (mut killed, mut kills, mut round) = (None, 0, 0u64);
    let mut next_change = Instant::now() + Duration::from_secs(2);
    while kills < 3 || killed.is_some() {
        if Instant::now() >= next_change {
            match killed.take() {
                Some(node) => {
                    block_in_place(|| kafka.restart(node)).expect("it comes back");
                }
                None => {
                    let node = target.coordinator_of("torn").await;
                    block_in_place(|| kafka.kill(node));
                    (killed, kills) = (Some(node), kills + 1);
                }
            }
            next_change = Instant::now() + Duration::from_secs(4);
        }
        let transaction = producer.begin().await.expect("begun");
        for n in round * EACH..(round + 1) * EACH {
            let bytes = n.to_be_bytes();
            let record = Record::new(&topic).key(&bytes).value(&bytes);
            drop(transaction.enqueue(record).await.expect("admitted"));
        }
        match transaction.commit().await {
            Ok(()) => committed.push(round),
            Err(error) if error.outcome() == WriteOutcome::Unknown => unknown.push(round),
            Err(error) => println!("transaction {round} was not committed: {error}"),
        }
        round += 1;
    }
    let last = producer.begin().await.expect("begun");
    last.send(numbered(&topic, &u64::MAX.to_be_bytes()))
        .await
        .expect("written");
    last.commit().await.expect("committed");
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for n in target.visible_until(&topic, u64::MAX).await {
        *seen.entry(n / EACH).or_default() += 1;
    }
    println!(
        "{round} transactions, {} committed, {} unknown",
        committed.len(),
        unknown.len()
    );
    for round in 0..round {
        let count = seen.get(&round).copied().unwrap_or_default();
        let allowed = match (committed.contains(&round), unknown.contains(&round)) {
            (true, _) => count == EACH,
            (_, true) => count == 0 || count == EACH,
            _ => count == 0,
        };
        assert!(allowed, "{count} records of transaction {round}");
    }
}
