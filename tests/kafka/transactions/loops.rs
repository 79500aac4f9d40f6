//! `exactly_once`, of records and of events: each is counted once, whatever becomes of the members.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::events::codec::Protobuf;
use pat_events::events::email::{EmailDeleted, EmailEvents};
use pat_events::events::{
    self, Context, EventOutputs, EventTransform, HandlerError, OnFailure,
    TransactionalEventProducer,
};
use pat_events::kafka::{
    ExactlyOnceConfig, ExactlyOnceError, InputRecords, Record, Transaction, Transform, exactly_once,
};
use tokio::time::sleep;

use super::{PARTITIONS, POLL};
use crate::copying::copy;
use crate::fleet::Target;
use crate::suite::number;

/// Copies what it reads, slowly.
struct Copy(String);

impl Transform for Copy {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        for record in records.iter() {
            copy(&record, Record::new(&self.0), transaction).await?;
        }
        sleep(Duration::from_millis(30)).await;
        Ok(())
    }
}

pub async fn loops_count_each_record_once_while_members_come_and_go(target: Target) {
    // Side by side: a good part of each is waiting for a session to time out.
    tokio::join!(
        count_each_record_once(&target, "classic"),
        count_each_record_once(&target, "consumer"),
    );
}

async fn count_each_record_once(target: &Target, protocol: &str) {
    const RECORDS: u64 = 20_000;
    const KEYS: u64 = 40;
    let name = format!("loop-{protocol}");
    let input = target.topic(&format!("{name}-in")).await;
    let output = target.topic(&format!("{name}-out")).await;
    let producer = target.producer(&[]).await;
    for n in 0..RECORDS {
        let (key, value) = ((n % KEYS).to_be_bytes(), n.to_be_bytes());
        let record = Record::new(&input).key(&key).value(&value);
        drop(producer.enqueue(record).await.expect("admitted"));
    }
    producer.flush().await.expect("all delivered");
    let start = |instance: u32| {
        let id = format!("{name}-{instance}");
        let mut config = ExactlyOnceConfig::new(&target.bootstrap, &name, &[&input], &id);
        let consumer = &mut config.consumer;
        consumer
            .set("auto.offset.reset", "earliest")
            .expect("a property");
        consumer
            .set("group.protocol", protocol)
            .expect("a property");
        if protocol == "classic" {
            consumer
                .set("session.timeout.ms", "6000")
                .expect("a property");
        }
        config.max_records = 100;
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let output = output.clone();
        let run = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            exactly_once(config, &mut Copy(output), stopped).await
        });
        (run, stop)
    };
    // One leaves, one dies, and one with a dead one's id comes.
    let first = start(1);
    let second = start(2);
    sleep(Duration::from_millis(1_500)).await;
    first.0.abort();
    let third = start(3);
    sleep(Duration::from_millis(1_500)).await;
    drop(second.1);
    let done = second.0.await.expect("no panic").expect("it left");
    println!("{protocol}: {done:?}");
    let again = start(1);
    let mut reader = target.committed_reader(&output, PARTITIONS).await;
    let mut next: BTreeMap<u64, u64> = (0..KEYS).map(|key| (key, key)).collect();
    let mut seen = 0;
    while seen < RECORDS {
        for record in &reader.poll(POLL).await.expect("polled") {
            let expected = next.get_mut(&number(record.key)).expect("a key");
            assert_eq!(
                number(record.value),
                *expected,
                "{protocol}: once, and in order"
            );
            *expected += KEYS;
            seen += 1;
        }
    }
    for (run, stop) in [third, again] {
        drop(stop);
        let done = run.await.expect("no panic").expect("it left");
        println!("{protocol}: {done:?}");
    }
    let more = reader.poll(POLL).await.expect("polled");
    assert!(more.is_empty(), "{protocol}: nothing comes twice");
}

/// Sends on what it gets; one it cannot handle, and some not at the first time.
struct Forward(BTreeMap<String, u32>);

impl EventTransform<EmailEvents, Protobuf> for Forward {
    async fn transform(
        &mut self,
        context: &Context<'_>,
        event: EmailEvents,
        outputs: &mut EventOutputs<'_, Protobuf>,
    ) -> Result<(), HandlerError> {
        let EmailEvents::EmailDeleted(event) = event else {
            return Err(HandlerError::fatal("another event"));
        };
        *self.0.entry(event.email_id.clone()).or_default() += 1;
        outputs.send(&event).await?;
        match event.email_id.as_str() {
            "e-7" => Err(HandlerError::poison("not this one")),
            id if id.ends_with('3') && context.attempt() < 3 => Err(HandlerError::new("not now")),
            _ => Ok(()),
        }
    }
}

pub async fn events_are_handled_exactly_once_dead_letters_among_them(target: Target) {
    let input = target.topic("events-in").await;
    let output = target.topic("events-out").await;
    let dead = target.topic("events-in.dlq").await;
    let config = events::ProducerConfig::new(&target.bootstrap, &input);
    let mut producer = TransactionalEventProducer::connect(config, "events-source")
        .await
        .expect("connected");
    for commits in [true, false, true] {
        let transaction = producer.begin().await.expect("begun");
        for n in 0..50 {
            let event = EmailDeleted {
                email_id: format!("e-{n}"),
                ..Default::default()
            };
            drop(transaction.enqueue(&event).await.expect("admitted"));
        }
        match commits {
            true => transaction.commit().await.expect("committed"),
            false => transaction.abort().await.expect("aborted"),
        }
    }
    let mut config = events::ExactlyOnceConfig::new(
        &target.bootstrap,
        &[&input],
        "forward",
        &output,
        "forward-1",
    );
    let reset = config.kafka.consumer.set("auto.offset.reset", "earliest");
    reset.expect("a property");
    config.on_failure = OnFailure::DeadLetter;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = tokio::spawn(async move {
        let mut forward = Forward(BTreeMap::new());
        let stopped = async { drop(stopped.await) };
        let done =
            events::exactly_once::<EmailEvents, _, _>(config, Protobuf, &mut forward, stopped)
                .await;
        done.map(|done| (done, forward.0))
    });
    let mut reader = target.committed_reader(&output, PARTITIONS).await;
    let mut dead_letters = target.committed_reader(&dead, PARTITIONS).await;
    let (mut seen, mut buried) = (0, 0);
    while seen < 98 || buried < 2 {
        seen += reader.poll(POLL).await.expect("polled").count();
        buried += dead_letters.poll(POLL).await.expect("polled").count();
    }
    drop(stop);
    let (done, calls) = run.await.expect("no panic").expect("it left");
    println!("{done:?}");
    assert_eq!((done.records, calls["e-7"], calls["e-13"]), (100, 2, 6));
    assert!(reader.poll(POLL).await.expect("polled").is_empty());
    assert!(dead_letters.poll(POLL).await.expect("polled").is_empty());
    assert_eq!((seen, buried), (98, 2));
}
