//! Transactions: what `read_committed` readers see of them, who may write, which offsets count. In: a Kafka broker, or three that die; Java
//! producers with the same transactional id. Out: all of a transaction or nothing of it, from every reader.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::events::codec::Protobuf;
use pat_events::events::email::{EmailDeleted, EmailEvents};
use pat_events::events::{
    self, Context, EventOutputs, EventTransform, HandlerError, OnFailure,
    TransactionalEventProducer,
};
use pat_events::kafka::wire::messages::update_features_request::FeatureUpdateKey;
use pat_events::kafka::wire::messages::{FindCoordinatorRequest, UpdateFeaturesRequest};
use pat_events::kafka::{
    Client, ClientConfig, Consumer, ErrorKind, ExactlyOnceConfig, ExactlyOnceError, InputRecords,
    NewTopic, ProducerConfig, Record, StartOffset, Target as To, TopicPartition, Transaction,
    TransactionalProducer, Transform, WriteOutcome, exactly_once,
};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Target, block_on};
use crate::suite::{number, send_numbers};
use crate::support::java::Jdk;
use crate::support::kafka::Kafka;

const PARTITIONS: i32 = 3;
const POLL: Duration = Duration::from_millis(500);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let on_both = [
        fleet.on_both("readers_see_a_transaction_whole_or_not_at_all", |target| {
            readers_see_a_transaction_whole_or_not_at_all(target, "")
        }),
        fleet.on_both(
            "a_newer_producer_of_the_id_fences_the_older_one",
            |target| a_newer_producer_of_the_id_fences_the_older_one(target, ""),
        ),
        fleet.on_both(
            "a_record_that_is_refused_aborts_its_transaction",
            |target| a_record_that_is_refused_aborts_its_transaction(target, ""),
        ),
        fleet.on_both(
            "offsets_count_when_their_transaction_is_committed",
            |target| offsets_count_when_their_transaction_is_committed(target, ""),
        ),
        fleet.on_both(
            "a_transaction_that_outlasts_its_timeout_is_aborted",
            |target| a_transaction_that_outlasts_its_timeout_is_aborted(target, ""),
        ),
        fleet.on_both(
            "what_was_asked_for_goes_on_when_the_call_is_dropped",
            what_was_asked_for_goes_on_when_the_call_is_dropped,
        ),
        fleet.on_both(
            "loops_count_each_record_once_while_members_come_and_go",
            loops_count_each_record_once_while_members_come_and_go,
        ),
        fleet.on_both(
            "events_are_handled_exactly_once_dead_letters_among_them",
            events_are_handled_exactly_once_dead_letters_among_them,
        ),
    ];
    let on_kafka = [
        fleet.on_one(
            "transactions_of_older_clusters_go_the_older_way",
            |_, kafka| {
                let bootstrap = kafka.bootstrap();
                block_on(transactions_of_older_clusters_go_the_older_way(Target {
                    bootstrap,
                }));
            },
        ),
        fleet.on_one("java_fences_us_and_we_fence_java", |jdk, kafka| {
            block_on(java_fences_us_and_we_fence_java(jdk, kafka));
        }),
        fleet.on_three(
            "a_coordinator_that_dies_tears_no_transaction",
            |_, kafka| {
                block_on(a_coordinator_that_dies_tears_no_transaction(kafka));
            },
        ),
    ];
    on_both.into_iter().flatten().chain(on_kafka).collect()
}

/// Everything once more with the older flow: partitions and offsets are added by requests of their own, and the epoch stays.
async fn transactions_of_older_clusters_go_the_older_way(target: Target) {
    target.set_transaction_version(1).await;
    readers_see_a_transaction_whole_or_not_at_all(target.clone(), "-older").await;
    a_newer_producer_of_the_id_fences_the_older_one(target.clone(), "-older").await;
    a_record_that_is_refused_aborts_its_transaction(target.clone(), "-older").await;
    offsets_count_when_their_transaction_is_committed(target.clone(), "-older").await;
    a_transaction_that_outlasts_its_timeout_is_aborted(target.clone(), "-older").await;
    target.set_transaction_version(2).await;
}

async fn readers_see_a_transaction_whole_or_not_at_all(target: Target, suffix: &str) {
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

async fn a_newer_producer_of_the_id_fences_the_older_one(target: Target, suffix: &str) {
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

async fn a_record_that_is_refused_aborts_its_transaction(target: Target, suffix: &str) {
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

async fn offsets_count_when_their_transaction_is_committed(target: Target, suffix: &str) {
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
async fn a_transaction_that_outlasts_its_timeout_is_aborted(target: Target, suffix: &str) {
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

/// A transaction after the other, while whoever coordinates them is killed and started again. What was reported as committed is there, what
/// was reported as not committed is not, and each is there whole.
async fn a_coordinator_that_dies_tears_no_transaction(kafka: &Kafka) {
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

/// Polls `call` so often, and drops it; what it returned, if it was done.
async fn cut<F: Future>(polls: usize, call: F) -> Option<F::Output> {
    let mut call = pin!(call);
    let mut left = polls;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn what_was_asked_for_goes_on_when_the_call_is_dropped(target: Target) {
    let topic = target.topic("cut").await;
    let mut producer = target.transactional("cut", &[]).await;
    let (mut committed, mut next) = (Vec::new(), 0u64);
    for polls in 0..12 {
        // A begin that is dropped has begun nothing.
        drop(cut(polls, producer.begin()).await);
        for commits in [true, false] {
            next += 1;
            let transaction = producer.begin().await.expect("begun");
            drop(
                cut(
                    polls,
                    transaction.send(numbered(&topic, &next.to_be_bytes())),
                )
                .await,
            );
            next += 1;
            let bytes = next.to_be_bytes();
            drop(
                transaction
                    .enqueue(numbered(&topic, &bytes))
                    .await
                    .expect("admitted"),
            );
            let done = match commits {
                true => cut(polls, transaction.commit()).await,
                false => cut(polls, transaction.abort()).await,
            };
            done.unwrap_or(Ok(())).expect("it ends as it was asked to");
            let is_committed = producer.settled().await.expect("settled");
            // Polled once it is asked for; before that, it is dropped with its transaction.
            assert_eq!(is_committed, Some(commits && polls > 0), "{polls} polls");
            if is_committed == Some(true) {
                committed.push(next);
            }
        }
    }
    let seen = target.visible(&topic, committed.len()).await;
    // What was sent by a call that was dropped is there or not.
    let seen: Vec<_> = seen.into_iter().filter(|n| n % 2 == 0).collect();
    assert_eq!(seen, committed);
}

/// Copies what it reads, slowly.
struct Copy(String);

impl Transform for Copy {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        for record in records.iter() {
            let mut output = Record::new(&self.0);
            (output.key, output.value) = (record.key, record.value);
            drop(transaction.enqueue(output).await?);
        }
        sleep(Duration::from_millis(30)).await;
        Ok(())
    }
}

async fn loops_count_each_record_once_while_members_come_and_go(target: Target) {
    const RECORDS: u64 = 20_000;
    const KEYS: u64 = 40;
    for protocol in ["classic", "consumer"] {
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

async fn events_are_handled_exactly_once_dead_letters_among_them(target: Target) {
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

/// Both write with one transactional id, in turn: whoever comes last can write, and of the other nothing is to be seen.
async fn java_fences_us_and_we_fence_java(jdk: &Jdk, kafka: &Kafka) {
    let target = Target {
        bootstrap: kafka.bootstrap(),
    };
    let topic = target.topic("with-java").await;
    let mut ours = target.transactional("with-java", &[]).await;
    let open = ours.begin().await.expect("begun");
    open.send(numbered(&topic, &1u64.to_be_bytes()))
        .await
        .expect("written");
    let folder = std::env::temp_dir().join(format!("with-java-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (ready, go) = (folder.join("ready"), folder.join("go"));
    let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let arguments = [
        target.bootstrap.clone(),
        topic.clone(),
        path(&ready),
        path(&go),
    ];
    std::thread::scope(|scope| {
        let java = scope.spawn(|| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            jdk.run("FencedTransactions", &arguments, Duration::from_secs(120))
        });
        block_in_place(|| {
            while !ready.exists() && !java.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        // It has committed a transaction, and left one open.
        let handle = tokio::runtime::Handle::current();
        block_in_place(|| {
            handle.block_on(async {
                let error = open.commit().await.expect_err("Java took over");
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
                let mut again = target.transactional("with-java", &[]).await;
                let transaction = again.begin().await.expect("begun");
                transaction
                    .send(numbered(&topic, &4u64.to_be_bytes()))
                    .await
                    .expect("written");
                transaction.commit().await.expect("committed");
            })
        });
        std::fs::write(&go, "").expect("written");
        let said = block_in_place(|| java.join()).expect("no panic");
        let said = said.expect("Java ends");
        assert!(said.contains("fenced"), "{said}");
    });
    std::fs::remove_dir_all(&folder).expect("removed");
    // Java's own: 2 was committed, 3 was open when it was fenced.
    assert_eq!(target.visible(&topic, 2).await, [2, 4]);
}

fn numbered<'a>(topic: &'a str, number: &'a [u8; 8]) -> Record<'a> {
    Record::new(topic).key(number).value(number)
}

impl Target {
    pub(crate) async fn transactional(
        &self,
        id: &str,
        properties: &[(&str, &str)],
    ) -> TransactionalProducer {
        let given = [("bootstrap.servers", self.bootstrap.as_str())];
        let config = ProducerConfig::from_properties(given.iter().chain(properties).copied());
        TransactionalProducer::connect(config.expect("good properties"), id)
            .await
            .expect("connected")
    }

    /// A member of a group that reads what is committed, and commits nothing by itself.
    pub(crate) async fn transactional_member(
        &self,
        group: &str,
        protocol: &str,
        topic: &str,
    ) -> Consumer {
        let mut consumer = self
            .consumer(&[
                ("group.id", group),
                ("group.protocol", protocol),
                ("isolation.level", "read_committed"),
                ("enable.auto.commit", "false"),
            ])
            .await;
        consumer.subscribe(&[topic]).await.expect("subscribed");
        consumer
    }

    /// What a `read_committed` reader sees of a topic, in the order of the numbers: `count` of them, and nothing behind them.
    async fn visible(&self, topic: &str, count: usize) -> Vec<u64> {
        self.visible_of(topic, PARTITIONS, count).await
    }

    async fn visible_of(&self, topic: &str, partitions: i32, count: usize) -> Vec<u64> {
        let mut reader = self.committed_reader(topic, partitions).await;
        let mut seen = Vec::new();
        while seen.len() < count {
            let records = reader.poll(POLL).await.expect("polled");
            seen.extend(records.iter().map(|record| number(record.value)));
        }
        let records = reader.poll(POLL).await.expect("polled");
        seen.extend(records.iter().map(|record| number(record.value)));
        seen.sort_unstable();
        seen
    }

    /// What a `read_committed` reader sees of a topic before it sees `last`; each partition up to where it ended then.
    async fn visible_until(&self, topic: &str, last: u64) -> Vec<u64> {
        let mut reader = self.committed_reader(topic, PARTITIONS).await;
        let (mut seen, mut is_there, mut silent) = (Vec::new(), false, 0);
        while !is_there || silent < 3 {
            let records = reader.poll(POLL).await.expect("polled");
            silent = if records.is_empty() { silent + 1 } else { 0 };
            for record in &records {
                match number(record.value) {
                    n if n == last => is_there = true,
                    n => seen.push(n),
                }
            }
        }
        seen
    }

    async fn committed_reader(&self, topic: &str, partitions: i32) -> Consumer {
        let mut reader = self
            .consumer(&[("isolation.level", "read_committed")])
            .await;
        let starts: Vec<_> = (0..partitions)
            .map(|p| (TopicPartition::new(topic, p), StartOffset::Earliest))
            .collect();
        reader.assign(&starts).await.expect("assigned");
        reader
    }

    pub(crate) async fn client(&self) -> Client {
        let config = [("bootstrap.servers", self.bootstrap.as_str())];
        let config = ClientConfig::from_properties(config).expect("good");
        Client::connect(config).await.expect("connected")
    }

    /// Which broker coordinates the transactions of `id`.
    async fn coordinator_of(&self, id: &str) -> i32 {
        let client = self.client().await;
        loop {
            let request = FindCoordinatorRequest {
                key: id.to_owned(),
                key_type: 1,
                coordinator_keys: vec![id.to_owned()],
                ..Default::default()
            };
            let mut request = request;
            request.key.clear();
            let found = client.request(To::Any, &request).await.expect("answered");
            if let Some(node) = found.coordinators.iter().find(|it| it.error_code.is_ok()) {
                return node.node_id;
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sets the level of the feature by which clusters say how transactions go, and waits until brokers say so.
    async fn set_transaction_version(&self, level: i16) {
        let client = self.client().await;
        let request = UpdateFeaturesRequest {
            feature_updates: vec![FeatureUpdateKey {
                feature: "transaction.version".to_owned(),
                max_version_level: level,
                upgrade_type: if level < 2 { 2 } else { 1 },
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        };
        let answer = client
            .request(To::Controller, &request)
            .await
            .expect("answered");
        assert!(answer.error_code.is_ok(), "{:?}", answer);
        sleep(Duration::from_secs(1)).await;
    }
}
