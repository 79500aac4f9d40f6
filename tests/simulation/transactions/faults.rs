//! What goes wrong for transactions: their coordinators move in the middle of them, their requests are lost, or done and not answered, markers come
//! late. In: the harness, and rng. Out: nothing, until it is stopped.

use pat_events::broker::{Fault, FaultAction};
use protocol::{ApiKey, ErrorCode};
use tokio::time::sleep;

use super::applications::{FIRST_LOOP, FIRST_WRITER, LOOPS};
use super::events::Topic;
use super::plan::Transactional;
use crate::faults::{Errors, described, errors};
use crate::harness::Harness;
use crate::plan::Scenario;
use crate::rng::Rng;

const SOURCE: &str = "transactions";

/// Does what belongs to the scenario, until it is stopped.
pub async fn inject_faults(harness: Harness, rng: Rng) {
    let Some(plan) = harness.plan.transactions else {
        return;
    };
    match harness.plan.scenario {
        Scenario::Chaos => chaos(harness, plan, rng).await,
        Scenario::Calm | Scenario::TopicRecreated | Scenario::Outage => calm(harness, rng).await,
    }
}

async fn chaos(harness: Harness, plan: Transactional, rng: Rng) {
    let broker = &harness.broker;
    let pause_ms = *rng.pick(&[100, 1_000, 5_000]);
    let coordinated = coordinated(plan);
    loop {
        sleep(rng.millis(1, pause_ms)).await;
        let node = *rng.pick(&broker.node_ids());
        match rng.between(0, 9) {
            0..=1 => {
                let name = rng.pick(&coordinated);
                if harness.happens(SOURCE, "brokers: coordinator of transactions moves") {
                    broker.move_coordinator(name, node);
                }
            }
            2 => {
                let topic = *rng.pick(&Topic::ALL);
                let partition = rng.between(0, topic.partitions() as u64 - 1) as i32;
                if harness.happens(SOURCE, "brokers: leader in transactions moves") {
                    broker.move_leader(topic.name(), partition, node);
                }
            }
            _ => draw_fault(&harness, plan, &rng),
        }
    }
}

/// Markers may come late on any day.
async fn calm(harness: Harness, rng: Rng) {
    loop {
        sleep(rng.millis(200, 4_000)).await;
        let late = FaultAction::Delay(rng.millis(1, 500));
        inject(&harness, ApiKey::WRITE_TXN_MARKERS, late, 1);
    }
}

/// What coordinators are found for.
fn coordinated(plan: Transactional) -> Vec<String> {
    let writers = (0..plan.writers).map(|nth| FIRST_WRITER / 100 + nth);
    let loops = (0..plan.loops).map(|nth| FIRST_LOOP / 100 + nth);
    let ids = writers.clone().chain(loops);
    let groups = writers.map(|place| format!("writers-{place}"));
    let ids = ids.map(|place| format!("place-{place}"));
    ids.chain(groups).chain([LOOPS.to_owned()]).collect()
}

fn draw_fault(harness: &Harness, plan: Transactional, rng: &Rng) {
    // By the older flow there are more requests.
    let of_flow = if plan.version < 2 { OLDER_FLOW } else { &[] };
    let errors: Vec<_> = ERRORS.iter().chain(of_flow).collect();
    let of = rng.pick(&errors);
    let pause = rng.millis(1, 3_000);
    let actions = [
        FaultAction::ApplyThenDisconnect,
        FaultAction::ApplyThenDisconnect,
        FaultAction::Disconnect,
        FaultAction::Delay(pause),
    ];
    let instead = of.instead.iter().copied().map(FaultAction::Answer);
    let after = of.after.iter().copied().map(FaultAction::ApplyThenAnswer);
    let actions: Vec<_> = actions.into_iter().chain(instead).chain(after).collect();
    let action = *rng.pick(&actions);
    inject(harness, of.api, action, rng.between(1, 4));
}

fn inject(harness: &Harness, api: ApiKey, action: FaultAction, times: u64) {
    let what = match action {
        FaultAction::Answer(error) | FaultAction::ApplyThenAnswer(error) => {
            format!("{}, {}", described(api, action), error.name())
        }
        action => described(api, action),
    };
    harness.inject_from(SOURCE, &what, Fault::on(api, action).times(times));
}

/// What coordinators say that are not ready.
const NOT_READY: &[ErrorCode] = &[
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::CONCURRENT_TRANSACTIONS,
];
/// What becomes of a timeout of their own write.
const TIMED_OUT: &[ErrorCode] = &[
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::NOT_COORDINATOR,
];

const END: Errors = errors(ApiKey::END_TXN, NOT_READY, TIMED_OUT);
const ADD_PARTITIONS: Errors = errors(ApiKey::ADD_PARTITIONS_TO_TXN, NOT_READY, TIMED_OUT);
const ADD_OFFSETS: Errors = errors(ApiKey::ADD_OFFSETS_TO_TXN, NOT_READY, TIMED_OUT);

/// The same, of what only producers of the older flow ask for.
const OLDER_FLOW: &[Errors] = &[ADD_PARTITIONS, ADD_OFFSETS, ADD_OFFSETS, ADD_OFFSETS];

/// Which requests meet faults; what is in it more often meets more of them.
const ERRORS: &[Errors] = &[
    END,
    END,
    errors(ApiKey::INIT_PRODUCER_ID, NOT_READY, TIMED_OUT),
    // What leaders ask coordinators.
    ADD_PARTITIONS,
    errors(
        ApiKey::TXN_OFFSET_COMMIT,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
        ],
        TIMED_OUT,
    ),
    errors(ApiKey::WRITE_TXN_MARKERS, &[], &[]),
    errors(
        ApiKey::PRODUCE,
        &[
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::NOT_ENOUGH_REPLICAS,
        ],
        &[ErrorCode::REQUEST_TIMED_OUT],
    ),
    errors(
        ApiKey::FIND_COORDINATOR,
        &[ErrorCode::COORDINATOR_NOT_AVAILABLE],
        &[],
    ),
];
