//! The workload of typed events: a consumer of an event set that is started once and goes on by itself. Its records are none of the set,
//! which its handler takes as they are: what is tried here is the consumer, not the codec.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::events::{
    ConsumerConfig, ConsumerError, Context, EventConsumer, HandlerError, RawRecord, RetryPolicy,
    RetryTopics, Undecodable,
};
use pat_events::kafka::{self, GroupProtocol, OffsetReset};
use tokio::time::{Instant, sleep};

use crate::harness::{
    GROUP, HEARTBEAT, Harness, PARTITIONS, REQUEST_TIMEOUT, SESSION, TOPIC, Violation, number_of,
    partition_of,
};
use crate::workloads::{MORE, RECORDS, WRITE_AGAIN};

const SHUTDOWN: Duration = Duration::from_secs(3);
/// Every so many-th record fails at its first attempt, and goes to a retry topic; all behind it have its key.
const FAILS: u32 = 16;
/// Between two looks at what was handled.
const LOOK: Duration = Duration::from_millis(100);

/// The only event of the set, of which there is none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NeverSent {
    #[prost(string, tag = "1")]
    pub id: String,
}

pat_events::event_set! {
    /// What the workload's records are not.
    pub enum RecordEvents, producer RecordProducer, handler RecordHandler {
        NeverSent: type = "hostile.NeverSent", key = id;
    }
}

/// Notes the numbers that it is called for.
#[derive(Clone, Default)]
struct Handler(Arc<Mutex<Vec<u32>>>);

impl Handler {
    fn has(&self, numbers: std::ops::Range<u32>) -> bool {
        let handled = self.0.lock().expect("no panic");
        let mut numbers = numbers;
        numbers.all(|number| handled.contains(&number))
    }
}

impl RecordHandler for Handler {
    async fn handle_never_sent(&self, _: &Context<'_>, _: NeverSent) -> Result<(), HandlerError> {
        Err(HandlerError::new("never written"))
    }

    async fn handle_undecodable(
        &self,
        context: &Context<'_>,
        record: RawRecord<'_>,
        _: Undecodable,
    ) -> Result<(), HandlerError> {
        let number = number_of(record.value);
        let number = number.ok_or_else(|| HandlerError::new("never written"))?;
        if number.is_multiple_of(FAILS) && context.attempt() == 1 {
            return Err(HandlerError::transient("not now"));
        }
        self.0.lock().expect("no panic").push(number);
        Ok(())
    }
}

fn retry_topics() -> RetryTopics {
    RetryTopics::after([Duration::from_millis(200)])
}

pub async fn handle(harness: &mut Harness, protocol: GroupProtocol) {
    for name in retry_topics().names(TOPIC, GROUP) {
        let created = harness.broker.create_topic(&name, PARTITIONS);
        created.expect("a new topic");
    }
    harness.fill(0..RECORDS);
    let client = harness.client();
    let mut config = ConsumerConfig::new(&harness.broker.bootstrap_servers(), TOPIC, GROUP);
    config.auto_offset_reset = OffsetReset::Earliest;
    config.max_poll_interval = Duration::from_secs(8);
    config.shutdown_timeout = SHUTDOWN;
    config.retry = RetryPolicy::none();
    config.retry_topics = retry_topics();
    config.kafka = kafka::ConsumerConfig::default();
    config.kafka.group_protocol = protocol;
    if protocol != GroupProtocol::Consumer {
        config.session_timeout = SESSION;
        config.kafka.heartbeat_interval = HEARTBEAT;
    }
    config.kafka.max_partition_fetch_bytes = 300;
    config.kafka.client = client;
    let consumer: EventConsumer<RecordEvents> =
        EventConsumer::new(config).expect("a good configuration");
    let handler = Handler::default();
    while harness.goes_on() {
        if !look(harness, &consumer, &handler).await {
            break;
        }
        harness.notes.is_done_under_tampering |= handler.has(0..RECORDS);
        // Long enough for some heartbeats.
        if harness.notes.is_done_under_tampering && harness.now() > Duration::from_secs(4) {
            break;
        }
    }
    if harness.notes.is_done_under_tampering {
        // The tampering may be about leaving the group.
        stop(harness, &consumer).await;
    }
    harness.heal();
    let healed_at = Instant::now();
    let mut written = RECORDS;
    let mut next_write = healed_at;
    loop {
        if Instant::now() >= next_write {
            harness.fill(written..written + MORE);
            written += MORE;
            next_write = Instant::now() + WRITE_AGAIN;
        }
        look(harness, &consumer, &handler).await;
        if handler.has(written - MORE..written) {
            if !handler.has(0..written) {
                let handled = handler.0.lock().expect("no panic").len();
                harness.violation(Violation::Lost(format!("{handled} of {written} handled")));
            }
            break;
        }
        if healed_at.elapsed() > harness.healing() {
            let handled = handler.0.lock().expect("no panic").len();
            let error = consumer.metrics().last_error;
            let text = format!("{handled} of {written} handled; {error:?}");
            harness.violation(Violation::NotHealed(text));
            break;
        }
    }
    stop(harness, &consumer).await;
    check_order(harness, &handler);
    check_commits(harness);
}

/// Starts the consumer if it does not run, and notes what it says is wrong. False when it hangs.
async fn look(
    harness: &mut Harness,
    consumer: &EventConsumer<RecordEvents>,
    handler: &Handler,
) -> bool {
    if !consumer.is_running() {
        // It connects, and waits for its topics.
        let starting = consumer.start(handler.clone());
        match harness.call("start", REQUEST_TIMEOUT * 2, starting).await {
            Some(Ok(())) => {}
            Some(Err(error)) => note(harness, "start", &error),
            None => return false,
        }
    }
    sleep(LOOK).await;
    if let Some(error) = consumer.metrics().last_error {
        harness.error_once("metrics", &error);
    }
    if !consumer.is_running()
        && let Some(Err(error)) = harness.call("wait", Duration::ZERO, consumer.wait()).await
    {
        note(harness, "wait", &error);
        harness.violation(Violation::Ended(error.to_string()));
    }
    true
}

async fn stop(harness: &mut Harness, consumer: &EventConsumer<RecordEvents>) {
    let stopping = consumer.stop();
    let bound = SHUTDOWN + REQUEST_TIMEOUT;
    if let Some(Err(error)) = harness.call("stop", bound, stopping).await {
        note(harness, "stop", &error);
    }
}

fn note(harness: &mut Harness, call: &'static str, error: &ConsumerError) {
    if let ConsumerError::Kafka(error) = error {
        harness.error(call, error);
    }
}

/// Each partition's numbers came in order, but for those that came again.
fn check_order(harness: &mut Harness, handler: &Handler) {
    let handled = handler.0.lock().expect("no panic").clone();
    for partition in 0..PARTITIONS {
        let mut first_times: Vec<u32> = Vec::new();
        for number in handled
            .iter()
            .filter(|number| partition_of(**number) == partition)
        {
            if !first_times.contains(number) {
                first_times.push(*number);
            }
        }
        if !first_times.is_sorted() {
            harness.violation(Violation::Reordered(format!("{first_times:?}")));
        }
    }
}

/// Nothing is committed that is not in the log.
fn check_commits(harness: &mut Harness) {
    for partition in 0..PARTITIONS {
        let committed = harness.broker.committed_offset(GROUP, TOPIC, partition);
        let end = harness
            .broker
            .log(TOPIC, partition)
            .map(|log| log.end_offset);
        if committed > end {
            let text = format!("{TOPIC}-{partition} is committed at {committed:?} of {end:?}");
            harness.violation(Violation::Untrue(text));
        }
    }
}
