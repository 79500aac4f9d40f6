//! Chained groups: records go from topic to topic through three groups, whose members come and go all the time: they join, leave, and are dropped
//! without leaving. For each way to share partitions, on three brokers. Out: each record comes through, those of a key in order; what was committed is
//! never read again, nothing else is read again than what a dropped member had not committed, and nobody gets stuck.
//!
//! `CHAINED_GROUPS=500000` passes so many records through each chain, one chain after the other; without it 3,000, side by side.

mod chain;
mod log_book;
mod members;
mod queue_book;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::broker::Broker;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, SESSION, Target, block_on_for};

/// How the members of a group share what they read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// By the classic protocol, and this strategy.
    Classic(&'static str),
    /// By the consumer protocol (KIP-848).
    Consumer,
    /// As a share group (KIP-932).
    Share,
}

/// The chains, by name.
const CHAINS: [(&str, [Link; 3]); 4] = [
    ("range", [Link::Classic("range"); 3]),
    (
        "cooperative-sticky",
        [Link::Classic("cooperative-sticky"); 3],
    ),
    ("consumer", [Link::Consumer; 3]),
    (
        "share",
        [
            Link::Classic("cooperative-sticky"),
            Link::Consumer,
            Link::Share,
        ],
    ),
];

/// How much of it there is.
#[derive(Clone, Copy)]
struct Size {
    records: u64,
    keys: u64,
    /// How long it takes at least to send them: members come and go meanwhile.
    lasts: Duration,
    /// Whether chains run beside each other.
    together: bool,
}

impl Size {
    fn of_the_environment() -> Self {
        let records = std::env::var("CHAINED_GROUPS").ok();
        match records.map(|it| it.parse().expect("CHAINED_GROUPS is a number of records")) {
            Some(records) => Self {
                records,
                keys: 2_000,
                lasts: Duration::from_secs(60),
                together: false,
            },
            None => Self {
                records: 3_000,
                keys: 100,
                lasts: Duration::from_secs(10),
                together: true,
            },
        }
    }

    /// What is beyond the time that any case may take.
    fn takes(self) -> Duration {
        match self.together {
            true => Duration::ZERO,
            false => Duration::from_secs(2_400),
        }
    }
}

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let name = "chained_groups_pass_each_record_on_in_order_while_members_come_and_go";
    let size = Size::of_the_environment();
    let embedded = fleet.apart(format!("embedded3::{name}"), move || {
        block_on_for(size.takes(), async move {
            let broker = Broker::builder()
                .nodes(3)
                .consumer_group_session_timeout(SESSION)
                .consumer_group_heartbeat_interval(Duration::from_millis(500))
                .share_group_session_timeout(SESSION)
                .share_group_heartbeat_interval(Duration::from_millis(500))
                .start_tcp("127.0.0.1:0");
            let broker = broker.await.expect("free ports");
            let bootstrap = broker.bootstrap_servers();
            case(Target { bootstrap }, size, "embedded").await;
        });
    });
    let real = fleet.on_three(name, move |_, kafka| {
        let bootstrap = kafka.bootstrap();
        block_on_for(size.takes(), case(Target { bootstrap }, size, "kafka"));
    });
    vec![embedded, real]
}

async fn case(target: Target, size: Size, on: &'static str) {
    let mut running = JoinSet::new();
    for (name, links) in CHAINS {
        let target = target.clone();
        running.spawn(async move {
            let said = chain::run(target, name, links, size).await;
            println!("{on}: {said}");
        });
        while !size.together && !running.is_empty() {
            running.join_next().await.expect("one").expect("no panic");
        }
    }
    while let Some(chain) = running.join_next().await {
        chain.expect("no panic");
    }
}
