//! A queue of jobs as a share group (KIP-932): two members read one partition, each job is one's at a time, one that fails is delivered again, and
//! one that fails as often as the group allows is given up. On the embedded broker.
//!
//! `cargo run --example share_group --features broker`

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::broker::Broker;
use pat_events::kafka::{
    AcknowledgeType, AcknowledgementMode, AcquireMode, Client, ClientConfig, ProducerConfig,
    Record, ShareConsumer, ShareConsumerConfig,
};

const JOBS: usize = 30;

/// Takes some jobs, and says what becomes of each: one in ten fails for good, one in five fails the first time.
async fn work(
    member: &mut ShareConsumer,
    done: &mut BTreeMap<String, i16>,
) -> pat_events::kafka::Result<()> {
    let jobs = member.poll(Duration::from_millis(200)).await?;
    for job in &jobs {
        let name = String::from_utf8_lossy(job.value.unwrap_or_default()).into_owned();
        let number = job.offset;
        let fails = number % 10 == 9 || number % 5 == 4 && job.delivery_count() == 1;
        let what = match fails {
            true => AcknowledgeType::Release,
            false => AcknowledgeType::Accept,
        };
        if !fails {
            done.insert(name, job.delivery_count());
        }
        member.acknowledge(&job, what)?;
    }
    // What was acknowledged is sent with the next poll; this waits until the brokers have taken it.
    for (partition, result) in member.commit_sync().await? {
        if let Err(error) = result {
            println!("{partition}: {error}");
        }
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::builder()
        .share_groups_from_earliest(true)
        .share_delivery_count_limit(3)
        .start_tcp("127.0.0.1:0")
        .await?;
    broker.create_topic("jobs", 1)?;
    let client = Client::lazy(ClientConfig::new(&broker.bootstrap_servers()))?;
    let producer = client.producer(ProducerConfig::default())?;
    for number in 0..JOBS {
        let job = format!("job {number}");
        drop(
            producer
                .enqueue(Record::new("jobs").value(job.as_bytes()))
                .await?,
        );
    }
    producer.flush().await?;

    let mut config = ShareConsumerConfig::new("", "workers");
    config.acknowledgement_mode = AcknowledgementMode::Explicit;
    config.acquire_mode = AcquireMode::RecordLimit;
    config.max_poll_records = 5;
    let mut members = Vec::new();
    for _ in 0..2 {
        let mut member = client.share_consumer(config.clone())?;
        member.subscribe(&["jobs"]).await?;
        members.push(member);
    }
    let mut done = [BTreeMap::new(), BTreeMap::new()];
    while broker.share_start_offset("workers", "jobs", 0) != Some(JOBS as i64) {
        for (member, done) in members.iter_mut().zip(&mut done) {
            work(member, done).await?;
        }
    }
    for member in members {
        member.close(Duration::from_secs(5)).await?;
    }
    let all: Vec<i16> = done
        .iter()
        .flat_map(|done| done.values().copied())
        .collect();
    println!(
        "{} of {JOBS} jobs done, {} and {} of them; {} at the second attempt; the others were given up after three",
        all.len(),
        done[0].len(),
        done[1].len(),
        all.iter().filter(|count| **count == 2).count(),
    );
    assert_eq!(all.len(), JOBS - JOBS / 10);
    Ok(())
}
