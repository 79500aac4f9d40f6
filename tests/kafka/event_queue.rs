//! Events as the jobs of a queue (`EventQueue`), on any broker: what fails is delivered again, to any member, given up by count, and written to the
//! dead-letter topic before that; what takes long stays its member's.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::events::email::{EmailDeleted, EmailEventProducer, EmailEvents};
use pat_events::events::{
    DeadLetterFilter, DeadLetters, EventProducer, EventQueue, FailureClass, HandlerError,
    ProducerConfig, QueueConfig, RetryPolicy, each,
};
use pat_events::kafka::{Client, ClientConfig, NewTopic};
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Target};
use crate::share::queue;

const PATIENCE: Duration = Duration::from_secs(90);

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let both = [
        fleet.on_both(
            "share::events_are_delivered_again_and_given_up_by_count",
            events_are_delivered_again_and_given_up_by_count,
        ),
        fleet.on_both(
            "share::an_event_whose_handler_takes_longer_than_its_lock_is_handled_once",
            an_event_whose_handler_takes_longer_than_its_lock_is_handled_once,
        ),
    ];
    both.into_iter().flatten().collect()
}

async fn client(target: &Target) -> Client {
    let config = ClientConfig::from_properties([("bootstrap.servers", target.bootstrap.as_str())]);
    let connected = Client::connect(config.expect("good properties")).await;
    connected.expect("connected")
}

async fn send(client: &Client, topic: &str, count: usize) {
    let config = ProducerConfig::new("", topic);
    let producer = EventProducer::on(client, config).expect("good");
    for number in 0..count {
        let event = EmailDeleted {
            email_id: format!("e-{number}"),
            ..Default::default()
        };
        producer.send_email_deleted(&event).await.expect("sent");
    }
}

async fn until(what: impl Fn() -> String, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{}", what());
        sleep(Duration::from_millis(20)).await;
    }
}

/// How often each event was handled, by its id.
type Calls = Arc<Mutex<BTreeMap<String, u32>>>;

/// Counts a call. Returns which it is.
fn call(calls: &Calls, id: &str) -> u32 {
    let mut calls = calls.lock().expect("no panic");
    let count = calls.entry(id.to_owned()).or_default();
    *count += 1;
    *count
}

async fn events_are_delivered_again_and_given_up_by_count(target: Target) {
    let topic = queue(&target.bootstrap, "share-events", 2, &[]).await;
    let letters = NewTopic::new(format!("{topic}.dlq"), 1);
    target
        .admin()
        .await
        .create_topic(&letters)
        .await
        .expect("created");
    let client = client(&target).await;
    send(&client, &topic, 40).await;
    let (calls, mut queues) = (Calls::default(), Vec::new());
    for _ in 0..2 {
        let mut config = QueueConfig::new("", &topic, &topic);
        config.max_deliveries = 3;
        config.events.concurrency = 4;
        config.events.on_panic = FailureClass::Transient;
        let pauses = (Duration::from_millis(20), Duration::from_millis(100));
        config.events.retry = RetryPolicy::default().backoff(pauses.0, pauses.1);
        let queue = EventQueue::<EmailEvents>::on(&client, config).expect("good");
        let calls = calls.clone();
        let handler = each(move |event: EmailEvents| {
            let calls = calls.clone();
            async move {
                let EmailEvents::EmailDeleted(event) = event else {
                    return Err(HandlerError::fatal("nobody has sent that"));
                };
                match (&*event.email_id, call(&calls, &event.email_id)) {
                    ("e-3", _) | ("e-7", 1) => Err(HandlerError::transient("down")),
                    ("e-5", _) => Err(HandlerError::poison("nonsense")),
                    ("e-9", 1) => panic!("a defect of the handler"),
                    _ => Ok(()),
                }
            }
        });
        queue.start(handler).await.expect("started");
        queues.push(queue);
    }
    let sum = |of: fn(&EventQueue<EmailEvents>) -> u64| queues.iter().map(of).sum::<u64>();
    let is_done = || {
        let handled = sum(|queue| queue.metrics().handled);
        handled == 38 && sum(|queue| queue.metrics().dead_lettered) == 2
    };
    let metrics = || {
        format!(
            "{:?}",
            queues.iter().map(EventQueue::metrics).collect::<Vec<_>>()
        )
    };
    until(metrics, is_done).await;
    assert_eq!(sum(|queue| queue.metrics().released), 4);
    for queue in &queues {
        queue.stop().await.expect("stopped");
    }
    let mut calls = std::mem::take(&mut *calls.lock().expect("no panic"));
    for (id, expected) in [("e-3", 3), ("e-5", 1), ("e-7", 2), ("e-9", 2)] {
        assert_eq!(calls.remove(id), Some(expected), "{id}");
    }
    assert!(calls.values().all(|count| *count == 1), "{calls:?}");
    let mut found = Vec::new();
    let letters = DeadLetters::on(&client, format!("{topic}.dlq").as_str());
    let show = |_: &pat_events::kafka::RecordView<'_>, letter: &pat_events::events::DeadLetter| {
        found.push((letter.class, letter.attempts));
        ControlFlow::Continue(())
    };
    letters
        .read(&DeadLetterFilter::default(), show)
        .await
        .expect("read");
    found.sort_by_key(|(_, attempts)| *attempts);
    let expected = [(FailureClass::Poison, 1), (FailureClass::Transient, 3)];
    assert_eq!(found, expected);
}

async fn an_event_whose_handler_takes_longer_than_its_lock_is_handled_once(target: Target) {
    let lock = [("share.record.lock.duration.ms", "3000")];
    let topic = queue(&target.bootstrap, "share-slow-events", 1, &lock).await;
    let client = client(&target).await;
    send(&client, &topic, 4).await;
    let (calls, mut queues) = (Calls::default(), Vec::new());
    for _ in 0..2 {
        let mut config = QueueConfig::new("", &topic, &topic);
        // The others wait, locked, until the first is done with.
        config.events.concurrency = 2;
        let queue = EventQueue::<EmailEvents>::on(&client, config).expect("good");
        let calls = calls.clone();
        let handler = each(move |event: EmailEvents| {
            let calls = calls.clone();
            async move {
                if let EmailEvents::EmailDeleted(event) = event {
                    call(&calls, &event.email_id);
                }
                sleep(Duration::from_secs(8)).await;
                Ok(())
            }
        });
        queue.start(handler).await.expect("started");
        queues.push(queue);
    }
    let handled = || {
        queues
            .iter()
            .map(|queue| queue.metrics().handled)
            .sum::<u64>()
    };
    until(|| format!("{} handled", handled()), || handled() >= 4).await;
    for queue in &queues {
        queue.stop().await.expect("stopped");
    }
    let calls = calls.lock().expect("no panic").clone();
    assert_eq!(
        (calls.len(), calls.values().sum::<u32>()),
        (4, 4),
        "{calls:?}"
    );
}
