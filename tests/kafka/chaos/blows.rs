//! What happens to the brokers, one thing after the other: each is there again, and known to all, before the next one. In: the brokers. Out: they are up.

use std::time::Duration;

use pat_events::kafka::wire::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use pat_events::kafka::wire::messages::{AlterPartitionReassignmentsRequest, ElectLeadersRequest};
use pat_events::kafka::{Admin, Client, Result, Target as To};
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep};

use super::Shared;
use crate::fleet::Target;
use crate::rng::Rng;
use crate::support::kafka::Kafka;

/// How long a broker may take to end by itself.
const TO_END: Duration = Duration::from_secs(20);
/// Who coordinates is who leads their partitions.
const INTERNAL: [&str; 2] = ["__transaction_state", "__consumer_offsets"];

#[derive(Clone, Copy, Debug)]
enum Blow {
    /// SIGKILL, and started again.
    Kill,
    /// SIGSTOP, and SIGCONT when the others may have given it up.
    Freeze,
    /// SIGTERM, and started again.
    Restart,
    /// Other replicas lead, and other brokers coordinate, while all of them live.
    MoveLeaders,
    /// Every connection at once.
    CutAll,
}

/// Each once, and then what is drawn.
const FIRST: [Blow; 5] = [
    Blow::MoveLeaders,
    Blow::CutAll,
    Blow::Kill,
    Blow::Freeze,
    Blow::Restart,
];

pub(super) async fn rain(
    kafka: &Kafka,
    target: &Target,
    shared: &Shared,
    topics: &[&str],
    rng: &Rng,
    until: Instant,
) {
    let (admin, client) = (target.admin().await, target.client().await);
    let mut first = FIRST.iter();
    // Something is under way when the first one comes.
    sleep(Duration::from_secs(1)).await;
    while Instant::now() < until {
        let blow = first.next().unwrap_or_else(|| rng.pick(&FIRST));
        let node = rng.between(1, kafka.len() as u64) as i32;
        let away = rng.millis(100, 6_000);
        match blow {
            Blow::Kill => block_in_place(|| {
                kafka.kill(node);
                std::thread::sleep(away);
                kafka.restart(node)
            })
            .expect("it comes back"),
            Blow::Freeze => block_in_place(|| kafka.freeze(node, away)).expect("it comes back"),
            Blow::Restart => block_in_place(|| {
                kafka.stop(node, TO_END);
                std::thread::sleep(away);
                kafka.restart(node)
            })
            .expect("it comes back"),
            Blow::MoveLeaders => {
                // What has to be copied first is left for the next time.
                if let Err(error) = move_leaders(&admin, &client, topics, rng).await {
                    println!("leaders stay where they are: {error}");
                }
            }
            Blow::CutAll => shared.network.cut_all(),
        }
        shared.count(format!("{blow:?}"));
        sleep(rng.millis(500, 3_000)).await;
    }
}

/// Puts another replica in front of each partition's list, and lets those lead that are.
async fn move_leaders(admin: &Admin, client: &Client, topics: &[&str], rng: &Rng) -> Result<()> {
    let names: Vec<&str> = topics.iter().copied().chain(INTERNAL).collect();
    let mut reassigned = Vec::new();
    for (name, topic) in admin.describe_topics(&names).await? {
        // Nobody may have needed it yet.
        let Ok(topic) = topic else { continue };
        let partitions = topic.partitions.into_iter().map(|it| {
            let mut replicas = it.replicas;
            let by = rng.between(0, replicas.len() as u64 - 1) as usize;
            replicas.rotate_left(by);
            ReassignablePartition {
                partition_index: it.partition,
                replicas: Some(replicas),
                ..Default::default()
            }
        });
        reassigned.push(ReassignableTopic {
            name,
            partitions: partitions.collect(),
            ..Default::default()
        });
    }
    let request = AlterPartitionReassignmentsRequest {
        topics: reassigned,
        timeout_ms: 10_000,
        ..Default::default()
    };
    let answer = client.request(To::Controller, &request).await?;
    if !answer.error_code.is_ok() {
        println!("replicas stay where they are: {answer:?}");
    }
    let request = ElectLeadersRequest {
        election_type: 0,
        topic_partitions: None,
        timeout_ms: 10_000,
        ..Default::default()
    };
    client.request(To::Controller, &request).await?;
    Ok(())
}
