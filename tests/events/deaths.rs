//! Events over which processes die. A process is a runtime of its own here, which ends with all that runs on it, as one does that is killed: there is
//! no last commit, and no member leaves.

use pat_events::events::{
    Batch, BatchError, BatchHandler, DeadLetter, DeadLetterFilter, DeadLetters, FailureClass,
    RetryTopics, event_set,
};
use pat_events::kafka::{Client, ClientConfig};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;

use super::*;

event_set! {
    enum InboxEvents, producer InboxProducer, handler InboxHandler { EmailReceived; }
}

const DEAD: &str = "emails.dlq";
const KEYS: usize = 20;
const EACH: u32 = 10;
/// The event that is handled never: this number of this key.
const DEADLY: (&str, u32) = ("e-7", 3);

/// Handles every event but one, over which the process dies; says so, and waits for it.
#[derive(Clone)]
struct Deadly {
    seen: Arc<Seen>,
    dies: mpsc::UnboundedSender<()>,
    /// How often the event fails as others do, before anybody dies.
    fails: u32,
}

impl Deadly {
    async fn handle(
        &self,
        context: &Context<'_>,
        event: &EmailReceived,
    ) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        if (event.email_id.as_str(), number) == DEADLY {
            if context.attempt() <= self.fails {
                return Err(HandlerError::transient("not now"));
            }
            self.dies.send(()).expect("somebody listens");
            std::future::pending::<()>().await;
        }
        let id = event.email_id.clone();
        self.seen
            .by_key
            .lock()
            .expect("lock")
            .entry(id)
            .or_default()
            .push(number);
        Ok(())
    }
}

impl InboxHandler for Deadly {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        self.handle(context, &event).await
    }
}

impl BatchHandler<InboxEvents> for Deadly {
    async fn handle_batch(&self, batch: Batch<'_, InboxEvents>) -> Result<(), BatchError> {
        for (context, event) in batch.iter() {
            let InboxEvents::EmailReceived(event) = event;
            self.handle(context, event).await?;
        }
        Ok(())
    }
}

fn process() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

/// The consumer of a process. As a static member it has its place back when it comes again.
fn consumer_of(
    broker: &Broker,
    change: impl FnOnce(&mut ConsumerConfig),
) -> EventConsumer<InboxEvents> {
    let mut config = ConsumerConfig::new(&broker.bootstrap_servers(), TOPIC, "test");
    config.auto_offset_reset = OffsetReset::Earliest;
    config.session_timeout = Duration::from_secs(45);
    config.kafka.group_instance_id = Some("the-one".into());
    config.on_failure = OnFailure::DeadLetter;
    change(&mut config);
    EventConsumer::new(config).expect("a good configuration")
}

/// Starts one process after the other, until one lives until there is a dead letter and all else is handled. Returns how many have died, and the letter.
async fn until_one_lives(
    broker: &Broker,
    change: impl Fn(&mut ConsumerConfig),
    fails: u32,
    is_batch: bool,
) -> (u32, DeadLetter) {
    let seen = Arc::new(Seen::default());
    let client = Client::connect(ClientConfig::new(&broker.bootstrap_servers())).await;
    let letters = DeadLetters::on(&client.expect("connected"), DEAD);
    for deaths in 0..20 {
        let (dies, mut died) = mpsc::unbounded_channel();
        let handler = Deadly {
            seen: seen.clone(),
            dies,
            fails,
        };
        let process = process();
        let consumer = Arc::new(consumer_of(broker, &change));
        let started = consumer.clone();
        let started = process.spawn(async move {
            match is_batch {
                true => started.start_batches(handler).await,
                false => started.start(handler).await,
            }
        });
        timeout(PATIENCE, started)
            .await
            .expect("in time")
            .expect("no panic")
            .expect("started");
        let lives = async {
            while consumer.metrics().dead_lettered == 0 || !is_all_handled(&seen) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let has_died = tokio::select! {
            biased;
            _ = died.recv() => true,
            () = lives => false,
            () = sleep(PATIENCE) => panic!("after {deaths} deaths nothing happens: {:?}", consumer.metrics()),
        };
        if !has_died {
            let stopped = consumer.clone();
            let stopped = process.spawn(async move { stopped.stop().await });
            timeout(PATIENCE, stopped)
                .await
                .expect("in time")
                .expect("no panic")
                .expect("stopped well");
            process.shutdown_background();
            let mut found = Vec::new();
            let all = DeadLetterFilter::default();
            let read = letters.read(&all, |_, letter| {
                found.push(letter.clone());
                std::ops::ControlFlow::Continue(())
            });
            read.await.expect("read");
            assert_eq!(found.len(), 1, "{found:?}");
            return (deaths, found.remove(0));
        }
        process.shutdown_background();
    }
    panic!("they die and die");
}

fn expected(key: &str) -> Vec<u32> {
    let is_handled = |number: &u32| (key, *number) != DEADLY;
    (0..EACH).filter(is_handled).collect()
}

/// Whether each key has come to its end. What comes again is what was not committed: in order, too.
fn is_all_handled(seen: &Seen) -> bool {
    let by_key = seen.by_key.lock().expect("lock");
    let is_through = |(key, numbers): (&String, &Vec<u32>)| {
        let mut first = Vec::new();
        for number in numbers {
            if first.last().is_none_or(|last| last < number) {
                first.push(*number);
            }
        }
        first == expected(key)
    };
    by_key.len() == KEYS && by_key.iter().all(is_through)
}

async fn with_events() -> Broker {
    let broker = broker().await;
    broker.create_topic(DEAD, 3).expect("a new topic");
    send_numbers(&producer(&broker).await, KEYS, 0..EACH).await;
    broker
}

fn assert_is_of_the_deadly(letter: &DeadLetter, attempts: u32) {
    assert_eq!(
        (letter.class, letter.attempts),
        (FailureClass::Poison, attempts),
        "{letter:?}"
    );
    assert!(
        letter.error_type.ends_with("::KilledProcesses"),
        "{letter:?}"
    );
    assert!(letter.message.starts_with("3 processes died"), "{letter:?}");
}

#[tokio::test]
async fn an_event_over_which_processes_die_becomes_a_dead_letter_and_all_others_are_handled() {
    let broker = with_events().await;
    let (deaths, letter) = until_one_lives(&broker, |_| {}, 0, false).await;
    // The first two, over which nothing is known, and as many as it may; one more where the first came to a commit.
    assert!((5..=6).contains(&deaths), "{deaths}");
    assert_is_of_the_deadly(&letter, 3);
}

#[tokio::test]
async fn an_event_over_which_processes_die_in_batches_becomes_a_dead_letter() {
    let broker = with_events().await;
    let (deaths, letter) = until_one_lives(&broker, |_| {}, 0, true).await;
    assert!((5..=6).contains(&deaths), "{deaths}");
    assert_is_of_the_deadly(&letter, 3);
}

#[tokio::test]
async fn an_event_over_which_processes_die_when_it_comes_from_a_retry_topic_becomes_a_dead_letter()
{
    let broker = with_events().await;
    let topics = RetryTopics::after([Duration::from_millis(100)]);
    let client = Client::connect(ClientConfig::new(&broker.bootstrap_servers())).await;
    let created = topics
        .create(&client.expect("connected"), TOPIC, "test")
        .await;
    created.expect("created");
    let change = |config: &mut ConsumerConfig| {
        config.retry = RetryPolicy::none();
        config.retry_topics = topics.clone();
    };
    let (deaths, letter) = until_one_lives(&broker, change, 1, false).await;
    assert!((5..=6).contains(&deaths), "{deaths}");
    assert_is_of_the_deadly(&letter, 4);
}

#[tokio::test]
async fn a_start_opens_what_it_takes_over_and_a_stop_closes_it() {
    let broker = with_events().await;
    let marks = async || {
        let config = pat_events::kafka::ConsumerConfig::new(&broker.bootstrap_servers(), "test");
        let reader = Consumer::connect(config).await.expect("connected");
        let names: Vec<_> = (0..3)
            .map(|partition| TopicPartition::new(TOPIC, partition))
            .collect();
        let committed = reader.committed(&names).await.expect("answered");
        let open = committed
            .values()
            .filter(|commit| commit.metadata.contains('.'));
        (committed.len(), open.count())
    };
    let until = async |expected: (usize, usize)| {
        let reached = async {
            while marks().await != expected {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, reached).await.expect("in time");
    };
    for _ in 0..2 {
        let consumer = consumer(&broker);
        consumer.start(Handler::default()).await.expect("started");
        until((3, 3)).await;
        consumer.stop().await.expect("stopped well");
        until((3, 0)).await;
    }
    let consumer = consumer_with(&broker, |config| config.handler_deaths = 0);
    consumer.start(Handler::default()).await.expect("started");
    send_numbers(&producer(&broker).await, KEYS, EACH..EACH + 1).await;
    let all = i64::from(EACH + 1) * KEYS as i64;
    let handled = async {
        while committed(&broker) < all {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, handled).await.expect("in time");
    assert_eq!(marks().await, (3, 0));
    consumer.stop().await.expect("stopped well");
}
