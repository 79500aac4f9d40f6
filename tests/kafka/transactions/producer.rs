//! A transactional producer on any broker: what readers see of its transactions, who may write under an id, which offsets count, and how long it may take.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::{ErrorKind, NewTopic, Record, WriteOutcome};
use tokio::time::sleep;

use super::{PARTITIONS, POLL, numbered};
use crate::fleet::Target;
use crate::suite::{number, send_numbers};

pub async fn readers_see_a_transaction_whole_or_not_at_all(target: Target, suffix: &str) {
    let topic = target.topic(&format!("whole{suffix}")).await;
    let mut producer = target.transactional(&format!("whole{suffix}"), &[]).await;
    // Committed, aborted, dropped, committed; twice, so that each follows each.
    let mut committed = Vec::new();
    for round in 0..8u64 {
        let transaction = producer.begin().await.expect("begun");
        let numbers: Vec<u64> = (round * 100..round * 100 + 100).collect();
        for n in &numbers {
            let bytes = n.to_be_bytes();
            let record = Record::new(&topic).key(&bytes).value(&bytes);
            drop(transaction.enqueue(record).await.expect("admitted"));
        }
        match round % 4 {
            0 | 3 => {
                transaction.commit().await.expect("committed");
                committed.extend(numbers);
            }
            1 => transaction.abort().await.expect("aborted"),
            _ => drop(transaction),
        }
    }
    assert_eq!(producer.settled().await.expect("settled"), Some(true));
    assert_eq!(target.visible(&topic, committed.len()).await, committed);
    // An empty one is nothing to anybody.
    let empty = producer.begin().await.expect("begun");
    empty.commit().await.expect("committed");
    producer
        .close(Duration::from_secs(30))
        .await
        .expect("closed");
}

pub async fn a_newer_producer_of_the_id_fences_the_older_one(target: Target, suffix: &str) {
    let topic = target.topic(&format!("fenced{suffix}")).await;
    let id = format!("fenced{suffix}");
    let mut older = target.transactional(&id, &[]).await;
    let open = older.begin().await.expect("begun");
    open.send(numbered(&topic, &1u64.to_be_bytes()))
        .await
        .expect("written");
    let mut newer = target.transactional(&id, &[]).await;
    let error = open.commit().await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    assert!(
        error.is_fatal() && error.to_string().contains(&id),
        "{error}"
    );
    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
    let error = older.begin().await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let transaction = newer.begin().await.expect("begun");
    transaction
        .send(numbered(&topic, &2u64.to_be_bytes()))
        .await
        .expect("written");
    transaction.commit().await.expect("committed");
    // Fenced while it writes: it is told by the broker that leads the partition.
    let open = newer.begin().await.expect("begun");
    open.send(numbered(&topic, &3u64.to_be_bytes()))
        .await
        .expect("written");
    let mut newest = target.transactional(&id, &[]).await;
    let error = open
        .send(numbered(&topic, &4u64.to_be_bytes()))
        .await
        .expect_err("fenced");
    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
    let error = open.abort().await.expect_err("fenced");
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    let transaction = newest.begin().await.expect("begun");
    transaction
        .send(numbered(&topic, &5u64.to_be_bytes()))
        .await
        .expect("written");
    transaction.commit().await.expect("committed");
    assert_eq!(target.visible(&topic, 2).await, [2, 5]);
}

pub async fn a_record_that_is_refused_aborts_its_transaction(target: Target, suffix: &str) {
    let name = format!("keys-only-transactions{suffix}");
    let topic = NewTopic::new(&name, 1).config("cleanup.policy", "compact");
    (target.admin().await)
        .create_topic(&topic)
        .await
        .expect("created");
    let mut producer = target.transactional(&format!("refused{suffix}"), &[]).await;
    for round in 0..3u64 {
        let transaction = producer.begin().await.expect("begun");
        transaction
            .send(numbered(&name, &round.to_be_bytes()))
            .await
            .expect("written");
        let refused = transaction
            .enqueue(Record::new(&name).value(b"no key"))
            .await;
        drop(refused.expect("admitted"));
        let error = transaction
            .commit()
            .await
            .expect_err("one record was refused");
        assert_eq!(error.kind(), ErrorKind::TransactionAborted, "{error}");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
        assert!(!error.is_fatal(), "{error}");
        assert_eq!(producer.settled().await.expect("settled"), Some(false));
        let transaction = producer.begin().await.expect("the producer goes on");
        let whole = (100 + round).to_be_bytes();
        transaction
            .send(numbered(&name, &whole))
            .await
            .expect("written");
        transaction.commit().await.expect("committed");
    }
    assert_eq!(target.visible_of(&name, 1, 3).await, [100, 101, 102]);
}

pub async fn offsets_count_when_their_transaction_is_committed(target: Target, suffix: &str) {
    for protocol in ["classic", "consumer"] {
        let name = format!("offsets-{protocol}{suffix}");
        let input = target.topic(&format!("{name}-in")).await;
        let output = target.topic(&format!("{name}-out")).await;
        send_numbers(&target.producer(&[]).await, &input, 0..60).await;
        let mut producer = target.transactional(&name, &[]).await;
        let mut member = target.transactional_member(&name, protocol, &input).await;
        let (mut read, mut offsets) = (Vec::new(), BTreeMap::new());
        while read.len() < 60 {
            let records = member.poll(POLL).await.expect("polled");
            read.extend(records.iter().map(|record| number(record.value)));
            offsets.extend(records.next_offsets());
        }
        let partitions: Vec<_> = offsets.keys().cloned().collect();
        let earlier = member.group_metadata().expect("a member");
        for commits in [false, true] {
            let transaction = producer.begin().await.expect("begun");
            for n in &read {
                let bytes = (1_000 + n).to_be_bytes();
                let record = Record::new(&output).key(&bytes).value(&bytes);
                drop(transaction.enqueue(record).await.expect("admitted"));
            }
            let group = member.group_metadata().expect("a member");
            let sent = transaction.send_offsets(offsets.clone(), &group).await;
            sent.expect("the group takes them");
            match commits {
                false => transaction.abort().await.expect("aborted"),
                true => transaction.commit().await.expect("committed"),
            }
            let committed = member.committed(&partitions).await.expect("answered");
            let expected: i64 = if commits { 60 } else { 0 };
            let sum: i64 = committed.values().map(|it| it.offset).sum();
            assert_eq!(sum, expected, "{protocol}, {commits}");
        }
        assert_eq!(target.visible(&output, 60).await.len(), 60);
        // Whose partitions went to another commits nothing any more.
        member.close().await.expect("left");
        let mut next = target.transactional_member(&name, protocol, &input).await;
        while next.assignment().len() < PARTITIONS as usize {
            assert!(next.poll(POLL).await.expect("polled").is_empty());
        }
        let transaction = producer.begin().await.expect("begun");
        let sent = transaction.send_offsets(offsets.clone(), &earlier).await;
        let error = sent.expect_err("of a member that has left");
        assert_eq!(error.kind(), ErrorKind::TransactionAborted, "{error}");
        let error = transaction
            .commit()
            .await
            .expect_err("it can only be aborted");
        assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
        let transaction = producer.begin().await.expect("the producer goes on");
        transaction.abort().await.expect("aborted");
        next.close().await.expect("left");
    }
}

/// The broker looks every ten seconds.
pub async fn a_transaction_that_outlasts_its_timeout_is_aborted(target: Target, suffix: &str) {
    let topic = target.topic(&format!("late{suffix}")).await;
    let late = [("transaction.timeout.ms", "1000")];
    let id = format!("late{suffix}");
    let mut producer = target.transactional(&id, &late).await;
    let transaction = producer.begin().await.expect("begun");
    transaction
        .send(numbered(&topic, &1u64.to_be_bytes()))
        .await
        .expect("written");
    sleep(Duration::from_secs(13)).await;
    let error = transaction.commit().await.expect_err("it is over");
    assert_eq!(error.outcome(), WriteOutcome::NotWritten, "{error}");
    println!("commit of one that was too late: {error:?}");
    if let Err(error) = producer.settled().await {
        println!("begin after one that was too late: {error:?}");
        assert!(
            error.to_string().contains("transaction.timeout.ms"),
            "{error}"
        );
        producer = target.transactional(&id, &late).await;
    }
    let transaction = producer.begin().await.expect("begun");
    transaction
        .send(numbered(&topic, &2u64.to_be_bytes()))
        .await
        .expect("written");
    transaction.commit().await.expect("committed");
    assert_eq!(target.visible(&topic, 1).await, [2]);
}
