//! Tests against brokers. In: an embedded broker, and a real Kafka where a JDK 17+ and Maven are there to bring one up.
//! Out: each case under the name of the target it ran against; without a JDK those of Kafka are ignored and say why,
//! and with `CI=true` they fail.

#[path = "../broker/parity/mod.rs"]
mod parity;
// Some of it only the tests of the embedded broker need.
#[path = "../support/connections.rs"]
mod connections;
#[path = "../support/copying.rs"]
mod copying;
#[path = "../support/cut.rs"]
mod cut;
#[path = "../support/process_status.rs"]
mod process_status;
#[allow(dead_code)]
#[path = "../broker/raw.rs"]
mod raw;
// Some of it only the simulation needs.
#[allow(dead_code)]
#[path = "../simulation/rng.rs"]
mod rng;
// Some of it only the tests with a schema registry need.
#[allow(dead_code)]
#[path = "../support/mod.rs"]
mod support;

mod acls;
mod admin;
mod brokers;
mod chained;
mod chaos;
mod check;
mod children;
mod consumer_protocol;
mod deadly_events;
mod event_queue;
mod failover;
mod fleet;
mod interop;
mod killed_broker;
mod killed_consumers;
mod killed_transactions;
mod mixed;
mod one_client;
mod patterns;
mod program;
mod rebalance_cost;
mod recreated;
mod security;
mod share;
mod slow_members;
mod strategies;
mod suite;
mod telemetry;
mod tokens;
mod transactions;
mod transcript;
mod verifiable;
mod ways;

use std::sync::Arc;

use libtest_mimic::Arguments;

use fleet::{Fleet, WAITING};

fn main() {
    killed_consumers::be_one_if_asked();
    deadly_events::be_one_if_asked();
    let mut arguments = Arguments::from_args();
    let fleet = Arc::new(Fleet::new(arguments.test_threads));
    // Of the threads most wait for their turn, or for a cluster that another trial has for itself.
    arguments.test_threads = Some(arguments.test_threads.unwrap_or(WAITING));
    let trials = [
        // Those that take longest first. Of those on three brokers the share group's comes before the chains: it is the first to need the topic of their states.
        share::trials(&fleet),
        transactions::trials(&fleet),
        chained::trials(&fleet),
        killed_consumers::trials(&fleet),
        verifiable::trials(&fleet),
        mixed::trials(&fleet),
        suite::trials(&fleet),
        ways::trials(&fleet),
        event_queue::trials(&fleet),
        brokers::trials(&fleet),
        interop::trials(&fleet),
        telemetry::trials(&fleet),
        one_client::trials(&fleet),
        program::trials(&fleet),
        security::trials(&fleet),
        tokens::trials(&fleet),
        check::trials(&fleet),
        acls::trials(&fleet),
        admin::trials(&fleet),
        transcript::trials(&fleet),
        failover::trials(&fleet),
        killed_broker::trials(&fleet),
        killed_transactions::trials(&fleet),
        deadly_events::trials(&fleet),
        chaos::trials(&fleet),
    ];
    let trials = fleet.in_order(trials.into_iter().flatten().collect());
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` runs no destructors, and the brokers end in theirs.
    fleet.end(conclusion.has_failed());
    conclusion.exit()
}
