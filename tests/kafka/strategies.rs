//! Groups whose members agree on each of the assignment strategies, on any broker: members come and go, and every record is read once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::kafka::{
    AssignmentStrategies, AssignmentStrategy, Consumer, ConsumerHandle, RebalanceListener,
    TopicPartition,
};
use tokio::time::Instant;

use crate::fleet::Target;
use crate::suite::{number, send_numbers};

const POLL: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn members_share_by_every_assignment_strategy(target: Target) {
    let by = |strategies: AssignmentStrategies| {
        let names = strategies.as_slice().iter().map(|strategy| strategy.name());
        let names = names.collect::<Vec<_>>().join(",");
        let target = &target;
        async move {
            let properties = [
                ("heartbeat.interval.ms", "300"),
                ("partition.assignment.strategy", &*names),
            ];
            let keeps = names == "cooperative-sticky";
            share(target, &names, &properties, keeps).await;
        }
    };
    // Side by side: most of each is waiting for rebalances.
    tokio::join!(
        by(AssignmentStrategy::RoundRobin.into()),
        by(AssignmentStrategy::Sticky.into()),
        by(AssignmentStrategy::CooperativeSticky.into()),
        by(AssignmentStrategies::default()),
    );
}

pub(crate) async fn members_share_by_the_consumer_protocol(target: Target) {
    let by = |assignor: &'static str| {
        let target = &target;
        async move {
            let properties = [
                ("group.protocol", "consumer"),
                ("group.remote.assignor", assignor),
            ];
            share(target, assignor, &properties, assignor == "uniform").await;
        }
    };
    let auto = [("group.protocol", "auto")];
    tokio::join!(
        by("uniform"),
        by("range"),
        share(&target, "auto", &auto, true)
    );
}

/// The hook that was called, and with what.
type Call = (&'static str, Vec<TopicPartition>);

/// What a member was told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Call>>>);

impl RebalanceListener for Told {
    async fn on_assigned(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("assigned", partitions);
    }

    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
    }
}

impl Told {
    fn note(&self, what: &'static str, partitions: &[TopicPartition]) {
        let mut told = self.0.lock().expect("no panic");
        told.push((what, partitions.to_vec()));
    }

    fn all(&self, what: &str) -> Vec<Vec<TopicPartition>> {
        let told = self.0.lock().expect("no panic");
        let told = told.iter().filter(|(it, _)| *it == what);
        told.map(|(_, partitions)| partitions.clone()).collect()
    }
}

/// Three members join one after the other, and the first leaves, while records come in. `keeps`: what stays a member's is never revoked.
async fn share(target: &Target, strategies: &str, properties: &[(&str, &str)], keeps: bool) {
    let group = format!("by-{}", strategies.replace(',', "-"));
    let topic = target.topic(&group).await;
    let producer = target.producer(&[]).await;
    let partitions = producer.partitions(&topic).await.expect("a topic") as usize;
    let told = Told::default();
    let mut members = Vec::new();
    let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
    let mut sent = 0;
    for count in 1..=3 {
        let common = [
            ("group.id", &*group),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "true"),
            ("auto.commit.interval.ms", "100"),
        ];
        let mut member = target.consumer(&[&common, properties].concat()).await;
        match count {
            1 => member.subscribe_with(&[&*topic], told.clone()).await,
            _ => member.subscribe(&[&*topic]).await,
        }
        .expect("subscribed");
        members.push(member);
        settle(&mut members, partitions, &mut seen).await;
        send_numbers(&producer, &topic, sent..sent + 500).await;
        sent += 500;
        read(&mut members, sent, &mut seen).await;
    }
    let revoked = told.all("revoked");
    assert!(told.all("lost").is_empty(), "{strategies}: lost");
    if keeps {
        let assigned = told.all("assigned");
        assert_eq!(assigned[0].len(), partitions, "alone");
        let gone: Vec<_> = revoked.iter().flatten().collect();
        let kept = members[0].assignment();
        assert!(
            kept.iter().all(|it| !gone.contains(&it)),
            "kept {kept:?}, revoked {gone:?}"
        );
    } else if properties.iter().all(|(name, _)| *name != "group.protocol") {
        assert!(
            revoked[0].len() == partitions,
            "all is given up: {revoked:?}"
        );
    }
    let first = members.remove(0);
    first.close().await.expect("left");
    settle(&mut members, partitions, &mut seen).await;
    send_numbers(&producer, &topic, sent..sent + 500).await;
    read(&mut members, sent + 500, &mut seen).await;
    let repeated: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    assert!(
        repeated.is_empty(),
        "{strategies}: read more than once: {repeated:?}"
    );
    for member in members {
        member.close().await.expect("left");
    }
}

pub(crate) async fn poll(members: &mut [Consumer], seen: &mut BTreeMap<u64, usize>) {
    for member in members {
        for record in member.poll(POLL).await.expect("polled").iter() {
            *seen.entry(number(record.value)).or_default() += 1;
        }
    }
}

/// Polls until every member has its share of the partitions.
pub(crate) async fn settle(
    members: &mut [Consumer],
    partitions: usize,
    seen: &mut BTreeMap<u64, usize>,
) {
    let began = Instant::now();
    loop {
        poll(members, seen).await;
        let shares: Vec<usize> = members.iter().map(|it| it.assignment().len()).collect();
        let fair = shares.iter().all(|it| *it > 0) || partitions < members.len();
        if shares.iter().sum::<usize>() == partitions && fair {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{shares:?} of {partitions}");
    }
}

/// Polls until so many records were read.
pub(crate) async fn read(members: &mut [Consumer], count: u64, seen: &mut BTreeMap<u64, usize>) {
    let began = Instant::now();
    while (seen.len() as u64) < count {
        poll(members, seen).await;
        assert!(began.elapsed() < PATIENCE, "{} of {count}", seen.len());
    }
}
