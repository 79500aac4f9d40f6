//! Typed consumers of a run, and their handlers, which take now little time and now much. In the group one takes the place of the other,
//! in good order or as if the machine had died.

use std::time::Duration;

use pat_events::events::email::EmailEvents;
use pat_events::events::{ConsumerConfig, ConsumerError, Context, Dispatch, EventConsumer};
use pat_events::kafka::OffsetReset;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::dice::Dice;
use crate::history::{Event, Id};
use crate::plan::Story;
use crate::readers::leaves_at;
use crate::wire::{Handle, Handler, OwnEvents, Wire};
use crate::world::{GROUPS, TOPIC, World};

/// How often a consumer at work is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// A place in the group that one typed consumer after the other takes; the first has the number `first`.
pub fn fill_seat(world: World, first: u32, dice: Dice) -> JoinHandle<()> {
    match world.plan.wire {
        Wire::Email => tokio::spawn(fill::<EmailEvents>(world, first, dice)),
        _ => tokio::spawn(fill::<OwnEvents>(world, first, dice)),
    }
}

async fn fill<S: Dispatch<Handler<Work>>>(world: World, first: u32, dice: Dice) {
    for nth in 0.. {
        let reader = first + nth;
        let until = leaves_at(&world, nth, &dice);
        let config = config(&world, reader, &dice);
        let consumer = EventConsumer::<S>::new(config).expect("a good configuration");
        let lived = be_member(&world, &consumer, reader, until, &dice).await;
        world.scribe.note(Event::Stops { reader });
        match lived {
            // What is refused again and again may end it; an application starts it anew.
            Err(ConsumerError::Kafka(error)) if world.plan.any_error && !error.is_fatal() => {
                sleep(Duration::from_millis(500)).await;
                continue;
            }
            Err(error) => {
                return world
                    .problem
                    .tell(format!("typed consumer {reader}: {error}"));
            }
            Ok(()) => {}
        }
        if !world.plan.all_is_well() && dice.chance(50) {
            continue;
        }
        let began = Instant::now();
        let stopped = consumer.stop().await;
        let took = began.elapsed();
        let may_take = world.plan.shutdown_timeout + world.request_timeout * 2;
        if took > may_take + Duration::from_secs(5) {
            return world.problem.tell(format!(
                "typed consumer {reader}: stopping it took {took:?}"
            ));
        }
        match stopped {
            Err(error) if world.plan.is_handled_once() => {
                return world
                    .problem
                    .tell(format!("typed consumer {reader}: it stops with {error}"));
            }
            // Nobody can say that all is well when it is not.
            _ => {}
        }
    }
}

fn config(world: &World, reader: u32, dice: &Dice) -> ConsumerConfig {
    let (_, group) = GROUPS[1];
    let plan = &world.plan;
    let client = world.client(reader);
    let mut config = ConsumerConfig::new("", TOPIC, group);
    config.brokers = client.bootstrap_servers.clone();
    config.kafka.client = client;
    config.kafka.heartbeat_interval = plan.session_timeout / 4;
    config.kafka.fetch_max_wait = Duration::from_millis(if plan.is_long() { 2_000 } else { 500 });
    config.auto_offset_reset = match plan.latest {
        true => OffsetReset::Latest,
        false => OffsetReset::Earliest,
    };
    config.session_timeout = plan.session_timeout;
    config.max_poll_interval = plan.max_poll_interval;
    config.shutdown_timeout = plan.shutdown_timeout;
    config.commit_interval = *dice.pick(&[Duration::from_millis(100), Duration::from_secs(1)]);
    config.concurrency = dice.between(1, 16) as usize;
    config
}

/// Works until its time has come. Fails when the consumer ends by itself.
async fn be_member<S: Dispatch<Handler<Work>>>(
    world: &World,
    consumer: &EventConsumer<S>,
    reader: u32,
    until: Option<Instant>,
    dice: &Dice,
) -> Result<(), ConsumerError> {
    let is_over = || until.is_some_and(|until| Instant::now() >= until);
    world.look();
    world.scribe.note(Event::Starts { reader });
    while !consumer.is_running() {
        let work = Work {
            world: world.clone(),
            reader,
            dice: dice.fork(),
        };
        // No broker may be there yet.
        if let Err(error) = consumer.start(Handler(work)).await {
            if let ConsumerError::Kafka(error) = &error
                && (error.is_retriable() || world.plan.any_error)
            {
                sleep(Duration::from_millis(500)).await;
                continue;
            }
            return Err(error);
        }
    }
    let mut failed_polls = 0;
    while !is_over() {
        sleep(LOOK).await;
        if !consumer.is_running() {
            return consumer.wait().await;
        }
        let metrics = consumer.metrics();
        if metrics.failed_polls > failed_polls && world.plan.story == Story::Outage {
            world.scribe.note(Event::Complains { reader });
        }
        failed_polls = metrics.failed_polls;
    }
    Ok(())
}

/// What a handler does.
struct Work {
    world: World,
    reader: u32,
    dice: Dice,
}

impl Handle for Work {
    async fn handle(&self, context: &Context<'_>) {
        let (reader, partition, offset) = (self.reader, context.partition(), context.offset());
        let wire = self.world.plan.wire;
        let value = context.record().value;
        let id: Id = value
            .and_then(|value| wire.id(value))
            .expect("all values hold an id");
        self.world.scribe.note(Event::Begins {
            reader,
            partition,
            offset,
            id,
        });
        let work = self.world.plan.work;
        if !self.world.has_healed() && self.dice.chance(work.slow_percent) {
            let longest = work.slow.as_millis() as u64;
            sleep(self.dice.millis(longest / 2, longest)).await;
        } else if self.dice.chance(30) {
            sleep(self.dice.millis(0, 20)).await;
        }
        self.world.scribe.note(Event::Ends {
            reader,
            partition,
            offset,
            id,
        });
    }
}
