//! Share groups (KIP-932), on any broker: several members read one partition, each record is one's at a time, and what becomes of it is what the
//! member says, or what happens when it says nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::consumer::AcknowledgementResults;
use pat_events::kafka::wire::messages::IncrementalAlterConfigsRequest;
use pat_events::kafka::wire::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use pat_events::kafka::{
    AcknowledgeType, Admin, Client, ClientConfig, ErrorCode, ErrorKind, NewTopic, ShareConsumer,
    ShareConsumerConfig, Target as Whom, TopicPartition,
};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Target, block_on};
use crate::suite::{number, send_numbers};
use crate::support::kafka::Kafka;

const POLL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(90);
/// Long enough for whoever would get a record to get it.
const QUIET: Duration = Duration::from_secs(2);
const CLOSE: Duration = Duration::from_secs(20);
const EXPLICIT: (&str, &str) = ("share.acknowledgement.mode", "explicit");

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let both = [
        fleet.on_both(
            "share::members_of_a_share_group_share_one_partition",
            members_of_a_share_group_share_one_partition,
        ),
        fleet.on_both(
            "share::each_way_to_acknowledge_a_record_does_what_it_says",
            each_way_to_acknowledge_a_record_does_what_it_says,
        ),
        fleet.on_both(
            "share::a_record_comes_again_when_its_lock_times_out_and_not_while_it_is_renewed",
            a_record_comes_again_when_its_lock_times_out_and_not_while_it_is_renewed,
        ),
        fleet.on_both(
            "share::what_a_member_held_that_is_gone_comes_to_another",
            what_a_member_held_that_is_gone_comes_to_another,
        ),
        fleet.on_both(
            "share::a_record_is_delivered_no_more_often_than_its_group_allows",
            a_record_is_delivered_no_more_often_than_its_group_allows,
        ),
        fleet.on_both(
            "share::a_poll_or_a_commit_accepts_what_the_last_poll_returned",
            a_poll_or_a_commit_accepts_what_the_last_poll_returned,
        ),
        fleet.on_both(
            "share::under_a_limit_no_record_more_is_acquired_than_a_poll_returns",
            under_a_limit_no_record_more_is_acquired_than_a_poll_returns,
        ),
    ];
    let moved = fleet.on_three(
        "share::a_share_group_reads_on_when_leaders_die",
        |_, kafka| {
            block_on(a_share_group_reads_on_when_leaders_die(kafka));
        },
    );
    both.into_iter().flatten().chain([moved]).collect()
}

/// A topic of so many partitions, and a share group of its name that begins at its beginning.
pub(crate) async fn queue(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    more: &[(&str, &str)],
) -> String {
    let config = ClientConfig::from_properties([("bootstrap.servers", bootstrap)]);
    let config = config.expect("good properties");
    let admin = Admin::connect(config.clone()).await.expect("connected");
    let topic = NewTopic::new(name, partitions);
    admin.create_topic(&topic).await.expect("created");
    let earliest = ("share.auto.offset.reset", "earliest");
    let configs = more
        .iter()
        .chain([&earliest])
        .map(|(name, value)| AlterableConfig {
            name: (*name).to_owned(),
            config_operation: 0,
            value: Some((*value).to_owned()),
            ..Default::default()
        });
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 32,
            resource_name: name.to_owned(),
            configs: configs.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let client = Client::connect(config).await.expect("connected");
    let answer = client.request(Whom::Controller, &request).await;
    for resource in answer.expect("answered").responses {
        assert_eq!(
            resource.error_code,
            ErrorCode::NONE,
            "{:?}",
            resource.error_message
        );
    }
    name.to_owned()
}

async fn member(bootstrap: &str, topic: &str, more: &[(&str, &str)]) -> ShareConsumer {
    let given = [("bootstrap.servers", bootstrap), ("group.id", topic)];
    let config = ShareConsumerConfig::from_properties(given.iter().chain(more).copied());
    let config = config.expect("good properties");
    let mut consumer = ShareConsumer::connect(config).await.expect("connected");
    consumer.subscribe(&[topic]).await.expect("subscribed");
    consumer
}

/// What came: each record's number, and how often it has been delivered.
type Read = Vec<(u64, i16)>;

/// Polls until `count` records came, and acknowledges none.
async fn take(consumer: &mut ShareConsumer, count: usize) -> Read {
    let (mut read, began) = (Vec::new(), Instant::now());
    while read.len() < count {
        assert!(began.elapsed() < PATIENCE, "only {read:?} came");
        let records = consumer.poll(POLL).await.expect("polled");
        read.extend(
            records
                .iter()
                .map(|it| (number(it.value), it.delivery_count())),
        );
    }
    read
}

/// Polls until `count` records came, and acknowledges each as it says.
async fn take_and(
    consumer: &mut ShareConsumer,
    count: usize,
    what: impl Fn(u64) -> Option<AcknowledgeType>,
) -> Read {
    let (mut read, began) = (Vec::new(), Instant::now());
    while read.len() < count {
        assert!(began.elapsed() < PATIENCE, "only {read:?} came");
        let records = consumer.poll(POLL).await.expect("polled");
        for record in &records {
            let number = number(record.value);
            if let Some(what) = what(number) {
                consumer.acknowledge(&record, what).expect("held");
            }
            read.push((number, record.delivery_count()));
        }
    }
    read
}

/// Nothing comes for a while.
async fn stays_quiet(consumer: &mut ShareConsumer, how_long: Duration) {
    let began = Instant::now();
    while began.elapsed() < how_long {
        let records = consumer.poll(POLL).await.expect("polled");
        assert!(records.is_empty(), "{records:?}");
    }
}

async fn committed(consumer: &mut ShareConsumer) -> AcknowledgementResults {
    consumer.commit_sync().await.expect("answered")
}

async fn commits(consumer: &mut ShareConsumer, topic: &str) {
    let results = committed(consumer).await;
    let result = results.get(&TopicPartition::new(topic, 0));
    result.expect("something was sent").as_ref().expect("taken");
}

async fn members_of_a_share_group_share_one_partition(target: Target) {
    const RECORDS: u64 = 400;
    let topic = queue(&target.bootstrap, "share-shared", 1, &[]).await;
    let producer = target.producer(&[]).await;
    let few = [
        ("max.poll.records", "10"),
        ("share.acquire.mode", "record_limit"),
    ];
    let mut members = Vec::new();
    for _ in 0..3 {
        members.push(member(&target.bootstrap, &topic, &few).await);
    }
    let began = Instant::now();
    let has_all = |member: &ShareConsumer| member.assignment().len() == 1;
    while !members.iter().all(has_all) {
        assert!(began.elapsed() < PATIENCE, "each has the partition");
        for member in &mut members {
            member.poll(Duration::ZERO).await.expect("polled");
        }
        sleep(Duration::from_millis(50)).await;
    }
    for start in 0..20 {
        send_numbers(&producer, &topic, start * 20..start * 20 + 20).await;
    }
    let mut seen: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    while seen.len() < RECORDS as usize {
        assert!(began.elapsed() < PATIENCE, "only {} came", seen.len());
        for (index, member) in members.iter_mut().enumerate() {
            let records = member.poll(POLL / 5).await.expect("polled");
            assert!(records.count() <= 10);
            for record in &records {
                assert_eq!(record.delivery_count(), 1);
                seen.entry(number(record.value)).or_default().push(index);
            }
        }
    }
    let repeated: Vec<_> = seen.iter().filter(|(_, by)| by.len() > 1).collect();
    assert!(repeated.is_empty(), "read more than once: {repeated:?}");
    for index in 0..3 {
        assert!(
            seen.values().flatten().any(|by| *by == index),
            "{index} got nothing"
        );
    }
    for mut member in members {
        let results = committed(&mut member).await;
        assert!(results.values().all(Result::is_ok), "{results:?}");
        assert!(member.acquisition_lock_timeout().is_some());
        member.close(CLOSE).await.expect("closed");
    }
    let mut late = member(&target.bootstrap, &topic, &[]).await;
    stays_quiet(&mut late, QUIET).await;
    late.close(CLOSE).await.expect("closed");
}

async fn each_way_to_acknowledge_a_record_does_what_it_says(target: Target) {
    use AcknowledgeType::{Accept, Reject, Release, Renew};
    let topic = queue(&target.bootstrap, "share-acknowledged", 1, &[]).await;
    send_numbers(&target.producer(&[]).await, &topic, 0..4).await;
    let mut consumer = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    let mut renewed = None;
    let mut read = Vec::new();
    while read.len() < 4 {
        let records = consumer.poll(POLL).await.expect("polled");
        for record in &records {
            let number = number(record.value);
            let what = [Accept, Release, Reject, Renew][number as usize];
            consumer.acknowledge(&record, what).expect("held");
            if what == Renew {
                renewed = Some(record.acquisition());
            } else {
                let error = consumer.acknowledge(&record, Accept).expect_err("once");
                assert!(error.to_string().contains("not held"), "{error}");
            }
            read.push((number, record.delivery_count()));
        }
        if !records.is_empty() {
            commits(&mut consumer, &topic).await;
        }
    }
    read.sort();
    assert_eq!(read, [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let again = take_and(&mut consumer, 1, |_| Some(Accept)).await;
    assert_eq!(again, [(1, 2)], "what was released, and nothing else");
    let renewed = renewed.expect("one was renewed");
    assert_eq!((renewed.offset(), renewed.delivery_count()), (3, 1));
    consumer.acknowledge(&renewed, Accept).expect("still held");
    commits(&mut consumer, &topic).await;
    assert!(committed(&mut consumer).await.is_empty(), "nothing is left");
    stays_quiet(&mut consumer, QUIET).await;
    consumer.close(CLOSE).await.expect("closed");
    let mut late = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    stays_quiet(&mut late, QUIET).await;
}

async fn a_record_comes_again_when_its_lock_times_out_and_not_while_it_is_renewed(target: Target) {
    const LOCK: Duration = Duration::from_secs(4);
    let lock = [("share.record.lock.duration.ms", "4000")];
    let topic = queue(&target.bootstrap, "share-locked", 1, &lock).await;
    send_numbers(&target.producer(&[]).await, &topic, 0..1).await;
    let mut slow = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    let mut held = None;
    while held.is_none() {
        let records = slow.poll(POLL).await.expect("polled");
        held = records.iter().next().map(|record| record.acquisition());
    }
    let held = held.expect("a record");
    assert_eq!(slow.acquisition_lock_timeout(), Some(LOCK));
    let mut other = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    let began = Instant::now();
    while began.elapsed() < LOCK * 2 {
        slow.acknowledge(&held, AcknowledgeType::Renew)
            .expect("held");
        commits(&mut slow, &topic).await;
        stays_quiet(&mut other, LOCK / 4).await;
    }
    let began = Instant::now();
    assert_eq!(take(&mut other, 1).await, [(0, 2)]);
    assert!(began.elapsed() > LOCK / 4, "not before the lock timed out");
    slow.acknowledge(&held, AcknowledgeType::Accept)
        .expect("nobody has told the member");
    let results = committed(&mut slow).await;
    let result = &results[&TopicPartition::new(topic.as_str(), 0)];
    let error = result.as_ref().expect_err("it is another's");
    let code = ErrorCode::INVALID_RECORD_STATE;
    assert_eq!(error.server_error(), Some(code), "{error}");
    slow.close(CLOSE).await.expect("nothing was sent");
    other.close(CLOSE).await.expect("closed");
}

async fn what_a_member_held_that_is_gone_comes_to_another(target: Target) {
    let topic = queue(&target.bootstrap, "share-left-behind", 1, &[]).await;
    send_numbers(&target.producer(&[]).await, &topic, 0..10).await;
    let mut closed = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    let accepts_even = |number| (number % 2 == 0).then_some(AcknowledgeType::Accept);
    assert_eq!(take_and(&mut closed, 10, accepts_even).await.len(), 10);
    closed.close(CLOSE).await.expect("closed");
    let mut dropped = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    let began = Instant::now();
    let mut odd: Vec<u64> = take(&mut dropped, 5).await.iter().map(|it| it.0).collect();
    odd.sort_unstable();
    assert_eq!(odd, [1, 3, 5, 7, 9], "what was accepted is done with");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "a close releases at once"
    );
    drop(dropped);
    let mut last = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    assert_eq!(take(&mut last, 5).await.len(), 5);
    last.close(CLOSE).await.expect("closed");
}

async fn a_record_is_delivered_no_more_often_than_its_group_allows(target: Target) {
    let limit = [("share.delivery.count.limit", "3")];
    let topic = queue(&target.bootstrap, "share-limited", 1, &limit).await;
    send_numbers(&target.producer(&[]).await, &topic, 0..1).await;
    let mut consumer = member(&target.bootstrap, &topic, &[EXPLICIT]).await;
    for count in 1..=3 {
        let read = take_and(&mut consumer, 1, |_| Some(AcknowledgeType::Release)).await;
        assert_eq!(read, [(0, count)]);
    }
    commits(&mut consumer, &topic).await;
    stays_quiet(&mut consumer, QUIET).await;
    send_numbers(&target.producer(&[]).await, &topic, 1..2).await;
    let accept = |_| Some(AcknowledgeType::Accept);
    assert_eq!(take_and(&mut consumer, 1, accept).await, [(1, 1)]);
    consumer.close(CLOSE).await.expect("closed");
}

async fn a_poll_or_a_commit_accepts_what_the_last_poll_returned(target: Target) {
    let topic = queue(&target.bootstrap, "share-implicit", 1, &[]).await;
    let producer = target.producer(&[]).await;
    send_numbers(&producer, &topic, 0..1).await;
    let mut consumer = member(&target.bootstrap, &topic, &[]).await;
    assert_eq!(take(&mut consumer, 1).await, [(0, 1)]);
    // This poll accepts it, and returns the next.
    send_numbers(&producer, &topic, 1..2).await;
    assert_eq!(take(&mut consumer, 1).await, [(1, 1)]);
    commits(&mut consumer, &topic).await;
    send_numbers(&producer, &topic, 2..3).await;
    let began = Instant::now();
    let records = loop {
        let records = consumer.poll(POLL).await.expect("polled");
        if !records.is_empty() {
            break records;
        }
        assert!(began.elapsed() < PATIENCE, "nothing came");
    };
    let third = records.iter().next().expect("a record");
    let error = consumer.acknowledge(&third, AcknowledgeType::Accept);
    let error = error.expect_err("polls accept");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("share.acknowledgement.mode"),
        "{error}"
    );
    drop(records);
    consumer.close(CLOSE).await.expect("closed");
    let mut next = member(&target.bootstrap, &topic, &[]).await;
    let read = take(&mut next, 1).await;
    assert_eq!(read[0].0, 2, "neither a poll nor a commit has followed it");
    commits(&mut next, &topic).await;
    next.close(CLOSE).await.expect("closed");
}

async fn under_a_limit_no_record_more_is_acquired_than_a_poll_returns(target: Target) {
    let topic = queue(&target.bootstrap, "share-one-batch", 1, &[]).await;
    let producer = target.producer(&[("linger.ms", "1000")]).await;
    send_numbers(&producer, &topic, 0..50).await;
    let limit = [
        EXPLICIT,
        ("max.poll.records", "10"),
        ("share.acquire.mode", "record_limit"),
    ];
    let (mut one, mut two) = (
        member(&target.bootstrap, &topic, &limit).await,
        member(&target.bootstrap, &topic, &limit).await,
    );
    let mut read: Vec<u64> = Vec::new();
    for consumer in [&mut one, &mut two] {
        let got = take(consumer, 10).await;
        assert_eq!(got.len(), 10);
        read.extend(got.iter().map(|it| it.0));
    }
    read.sort_unstable();
    assert_eq!(read, (0..20).collect::<Vec<u64>>(), "each its own ten");
    let whole = [EXPLICIT, ("max.poll.records", "10")];
    let mut three = member(&target.bootstrap, &topic, &whole).await;
    let mut rest = take(&mut three, 10).await;
    // Acquired along with the first ten, and handed out without another fetch.
    for _ in 0..2 {
        let records = three.poll(Duration::ZERO).await.expect("polled");
        rest.extend(
            records
                .iter()
                .map(|it| (number(it.value), it.delivery_count())),
        );
    }
    let rest: Vec<u64> = rest.iter().map(|it| it.0).collect();
    assert_eq!(rest, (20..50).collect::<Vec<u64>>());
    for consumer in [one, two, three] {
        consumer.close(CLOSE).await.expect("closed");
    }
}

/// Every record comes, while the leaders of the partitions are killed one after the other and started again.
async fn a_share_group_reads_on_when_leaders_die(kafka: &Kafka) {
    const RECORDS: u64 = 3_000;
    let bootstrap = kafka.bootstrap();
    let lock = [("share.record.lock.duration.ms", "5000")];
    let topic = queue(&bootstrap, "share-failover", 3, &lock).await;
    let target = Target {
        bootstrap: bootstrap.clone(),
    };
    let producer = target.producer(&[]).await;
    let mut members = Vec::new();
    for _ in 0..2 {
        let few = [EXPLICIT, ("max.poll.records", "50")];
        members.push(member(&bootstrap, &topic, &few).await);
    }
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    let mut killed = None;
    for round in 0..6u64 {
        send_numbers(&producer, &topic, round * 500..round * 500 + 500).await;
        let (until, began) = (round as usize * 500 + 400, Instant::now());
        while seen.len() < until {
            assert!(
                began.elapsed() < PATIENCE * 2,
                "only {} of {until} came",
                seen.len()
            );
            for member in &mut members {
                read_some(member, &mut seen).await;
            }
        }
        match (round % 2, killed.take()) {
            (0, None) => {
                let id = (round / 2) as i32 % 3 + 1;
                block_in_place(|| kafka.kill(id));
                killed = Some(id);
            }
            (_, Some(id)) => block_in_place(|| kafka.restart(id)).expect("back"),
            _ => {}
        }
    }
    let began = Instant::now();
    while seen.len() < RECORDS as usize {
        assert!(began.elapsed() < PATIENCE * 2, "only {} came", seen.len());
        for member in &mut members {
            read_some(member, &mut seen).await;
        }
    }
    for member in members {
        // What was acknowledged to a leader that died may be reported as not taken.
        let _ = member.close(CLOSE).await;
    }
}

/// Brokers that are away are errors of polls, which are repeated.
async fn read_some(member: &mut ShareConsumer, seen: &mut BTreeMap<u64, usize>) {
    let records = match member.poll(POLL / 2).await {
        Ok(records) => records,
        Err(error) => {
            assert!(error.is_retriable(), "{error}");
            return;
        }
    };
    for record in &records {
        member
            .acknowledge(&record, AcknowledgeType::Accept)
            .expect("held");
        *seen.entry(number(record.value)).or_default() += 1;
    }
}
