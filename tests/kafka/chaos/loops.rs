//! Members that copy what is written, exactly once: they leave, die, come back, and are now and then two with one id. In: what all of it shares, and a group.
//! Out: copies in the group's topic.

use std::sync::Arc;
use std::time::Duration;

use pat_events::kafka::{
    ErrorKind, ExactlyOnceConfig, ExactlyOnceError, ExactlyOnceMetrics, InputRecords, Record,
    Transaction, Transform, exactly_once,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::history::Identity;
use super::{INPUT, Shared};
use crate::rng::Rng;

/// How long a member that is to end may take.
const TO_END: Duration = Duration::from_secs(90);

/// Copies what it gets, and says in each copy with how many others it was written.
struct Copies {
    shared: Arc<Shared>,
    output: &'static str,
}

impl Transform for Copies {
    async fn transform(
        &mut self,
        records: &InputRecords,
        transaction: &Transaction<'_>,
    ) -> Result<(), ExactlyOnceError> {
        let number = self.shared.next_transaction();
        for record in records.iter() {
            let identity = Identity {
                transaction: number,
                size: records.len() as u32,
                ..Identity::of(record.value.expect("a value"))
            };
            let value = identity.to_value();
            let mut copy = Record::new(self.output).value(&value);
            copy.key = record.key;
            drop(transaction.enqueue(copy).await?);
        }
        Ok(())
    }
}

type Ended = Result<ExactlyOnceMetrics, ExactlyOnceError>;

struct Running {
    run: JoinHandle<Ended>,
    stop: oneshot::Sender<()>,
}

fn start(
    shared: &Arc<Shared>,
    (protocol, output): (&'static str, &'static str),
    id: &str,
) -> Running {
    let group = format!("chaos-{protocol}");
    let mut config = ExactlyOnceConfig::new(&shared.bootstrap, &group, &[INPUT], id);
    config.client.transport = Arc::new(shared.network.clone());
    let mut properties = vec![
        ("auto.offset.reset", "earliest"),
        ("group.protocol", protocol),
    ];
    if protocol == "classic" {
        properties.push(("session.timeout.ms", "6000"));
    }
    for (name, value) in properties {
        config.consumer.set(name, value).expect("a property");
    }
    config.max_records = 1_000;
    let (stop, stopped) = oneshot::channel();
    let mut copies = Copies {
        shared: shared.clone(),
        output,
    };
    let run = tokio::spawn(async move {
        exactly_once(config, &mut copies, async { drop(stopped.await) }).await
    });
    Running { run, stop }
}

/// One member after the other under an id, until all is read.
pub(super) async fn member(
    shared: Arc<Shared>,
    group: (&'static str, &'static str),
    member: u32,
    rng: Rng,
) {
    let id = format!("chaos-{}-{member}", group.0);
    let mut current = start(&shared, group, &id);
    // Of two with one id, whoever asked the coordinator last can write.
    let mut was_doubled = false;
    while !shared.is_read() {
        let lives = rng.millis(1_000, 10_000);
        let done = async {
            while !shared.is_read() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            biased;
            () = done => break,
            ended = &mut current.run => {
                judge(&shared, &id, ended.expect("no panic"), was_doubled);
                assert!(was_doubled, "{id} ended by itself");
                (current, was_doubled) = (start(&shared, group, &id), false);
                continue;
            }
            () = sleep(lives) => {}
        }
        if shared.ends() {
            // All that is left is to be read.
            continue;
        }
        match rng.between(0, 3) {
            0 => {
                end(&shared, &id, current, was_doubled).await;
                (current, was_doubled) = (start(&shared, group, &id), false);
            }
            1 => {
                current.run.abort();
                shared.count("members that died");
                sleep(rng.millis(0, 2_000)).await;
                (current, was_doubled) = (start(&shared, group, &id), false);
            }
            2 => {
                let newer = start(&shared, group, &id);
                sleep(rng.millis(500, 4_000)).await;
                end(&shared, &id, current, true).await;
                (current, was_doubled) = (newer, true);
            }
            _ => {}
        }
    }
    end(&shared, &id, current, was_doubled).await;
}

async fn end(shared: &Shared, id: &str, running: Running, was_doubled: bool) {
    drop(running.stop);
    let ended = timeout(TO_END, running.run).await;
    let ended = ended.unwrap_or_else(|_| panic!("{id} does not end"));
    judge(shared, id, ended.expect("no panic"), was_doubled);
}

fn judge(shared: &Shared, id: &str, ended: Ended, was_doubled: bool) {
    match ended {
        Ok(_) => shared.count("members that left"),
        Err(ExactlyOnceError::Kafka(error)) if was_doubled && error.kind() == ErrorKind::Fenced => {
            shared.count("members that were fenced");
        }
        // What was committed is committed: it could not say that it goes.
        Err(ExactlyOnceError::Kafka(error)) if error.kind() == ErrorKind::Timeout => {
            shared.count("members that could not say that they go");
        }
        Err(error) => panic!("{id} failed: {error:?}"),
    }
}
