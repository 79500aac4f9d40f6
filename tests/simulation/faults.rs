//! What goes wrong at the brokers: leaders and coordinators move, nodes stop and start, requests meet faults, topics come and go. In: the
//! harness, and rng. Out: nothing, until it is stopped.

use std::time::Duration;

use pat_events::broker::{Fault, FaultAction, Garbling};
use protocol::{ApiKey, ErrorCode};
use tokio::time::sleep;

use crate::harness::{Harness, TOPIC};
use crate::history::Event;
use crate::plan::{Scenario, any_error};
use crate::rng::Rng;

/// Does what the scenario says, until it is stopped.
pub async fn inject_faults(harness: Harness, rng: Rng) {
    match harness.plan.scenario {
        Scenario::Chaos => chaos(harness, rng).await,
        Scenario::Calm => calm(harness, rng).await,
        Scenario::TopicRecreated => recreate(harness, rng).await,
        Scenario::Outage => outage(harness, rng).await,
    }
}

/// Injects any fault, now and then.
async fn chaos(harness: Harness, rng: Rng) {
    let broker = &harness.broker;
    let pause_ms = *rng.pick(&[100, 1_000, 5_000]);
    loop {
        sleep(rng.millis(1, pause_ms)).await;
        let node = *rng.pick(&broker.node_ids());
        let happens = |what: &str| harness.happens("brokers", &format!("brokers: {what}"));
        match rng.between(0, 9) {
            0..=2 => {
                let partition = rng.between(0, harness.partitions() as u64 - 1) as i32;
                if happens("leader moves") {
                    broker.move_leader(TOPIC, partition, node);
                }
            }
            3 => {
                if happens("node stops") {
                    broker.stop_node(node).await;
                }
            }
            4..=5 => {
                if happens("node starts") {
                    let started = broker.start_node(node).await;
                    started.expect("memory has no ports to lose");
                }
            }
            6 => {
                let groups = harness.groups();
                let group = rng.pick::<&str>(&groups);
                if happens("coordinator moves") {
                    broker.move_coordinator(group, node);
                }
            }
            7 => {
                if happens("node ends all connections") {
                    broker.disconnect_node(node);
                }
            }
            8 if harness.plan.grows && rng.chance(10) => harness.grow(&rng),
            8 if harness.plan.any_error => draw_any(&harness, &rng),
            8 if harness.plan.unconfirmed => unconfirmed(&harness),
            _ => draw_fault(&harness, &rng),
        }
    }
}

/// Does what happens on a good day.
async fn calm(harness: Harness, rng: Rng) {
    let plan = &harness.plan;
    if let Some(wait) = plan.quota {
        let throttled = Fault::on(ApiKey::PRODUCE, FaultAction::Throttle(wait)).times(12);
        harness.inject("Produce is throttled", throttled);
    }
    loop {
        sleep(rng.millis(200, 4_000)).await;
        match rng.between(0, 3) {
            0 if plan.grows => harness.grow(&rng),
            1 if plan.garbled => {
                let how =
                    *rng.pick(&[Garbling::CorrelationId, Garbling::CutShort, Garbling::Noise]);
                let garbled = Fault::on(ApiKey::PRODUCE, FaultAction::ApplyThenGarble(how));
                harness.inject("Produce is answered by what nobody can read", garbled);
            }
            2 if plan.unconfirmed => unconfirmed(&harness),
            _ => {}
        }
    }
}

/// Deletes the topic and creates it anew, with fewer partitions, as many, or more.
async fn recreate(harness: Harness, rng: Rng) {
    loop {
        sleep(rng.millis(1_000, 20_000)).await;
        let partitions = harness.partitions();
        let happens = harness.happens("topic", "brokers: topic deleted and created anew");
        if happens {
            harness.delete();
        }
        if rng.chance(50) {
            sleep(rng.millis(1, 3_000)).await;
        }
        let partitions = match rng.between(0, 2) {
            0 => rng.between(1, partitions as u64) as i32,
            1 => partitions,
            _ => rng.between(partitions as u64, 5.max(partitions as u64)) as i32,
        };
        if happens {
            harness.recreate(partitions);
        }
        if harness.plan.grows && rng.chance(30) {
            sleep(rng.millis(1, 5_000)).await;
            harness.grow(&rng);
        }
    }
}

/// Stops all brokers, until all is healed.
async fn outage(harness: Harness, rng: Rng) {
    sleep(rng.millis(1_000, 10_000)).await;
    if harness.happens("brokers", "brokers: all stop for long") {
        for node in harness.broker.node_ids() {
            harness.broker.stop_node(node).await;
        }
        harness.recorder.record(Event::Down);
    }
    sleep(Duration::MAX).await;
}

/// An answer to a commit that does not say what was committed.
fn unconfirmed(harness: &Harness) {
    let fault = Fault::on(ApiKey::OFFSET_COMMIT, FaultAction::AnswerNothing);
    harness.inject("OffsetCommit is answered by nothing", fault);
}

/// Any error, of any API that the clients use: once, or a few times.
fn draw_any(harness: &Harness, rng: &Rng) {
    let api = rng.pick(&errors_of(harness)).api;
    let error = any_error(&harness.plan, rng);
    // Most errors say that a batch was not written, or nothing was acknowledged: it is not, then.
    let is_believed = [
        ApiKey::PRODUCE,
        ApiKey::SHARE_FETCH,
        ApiKey::SHARE_ACKNOWLEDGE,
    ];
    let action = match rng.chance(50) || is_believed.contains(&api) {
        true => FaultAction::Answer(error),
        false => FaultAction::ApplyThenAnswer(error),
    };
    let fault = Fault::on(api, action).times(*rng.pick(&[1, 1, 5]));
    harness.tally.count("requests: some other error is drawn");
    harness.inject(&described(api, action), fault);
}

/// What happens to a request of this API.
pub fn described(api: ApiKey, action: FaultAction) -> String {
    let what = match action {
        FaultAction::ApplyThenDisconnect => "is done and not answered",
        FaultAction::Disconnect => "is not read, the connection ends",
        FaultAction::Delay(_) => "is answered late",
        FaultAction::Throttle(_) => "is throttled",
        FaultAction::Answer(_) => "is refused",
        FaultAction::ApplyThenAnswer(_) => "is done, and then said to have failed",
        _ => "is answered in some other way",
    };
    format!("{api} {what}")
}

/// What may go wrong with what the clients of this run ask for.
fn errors_of(harness: &Harness) -> Vec<&'static Errors> {
    let of = |is: bool, errors: &'static [Errors]| if is { errors } else { &[] };
    let of_consumers = of(harness.plan.protocols.has_consumer(), CONSUMER_GROUP_ERRORS);
    let of_sharing = of(harness.plan.sharing.is_some(), SHARE_GROUP_ERRORS);
    (ERRORS.iter().chain(of_consumers))
        .chain(of_sharing)
        .collect()
}

fn draw_fault(harness: &Harness, rng: &Rng) {
    let errors = errors_of(harness);
    let errors = rng.pick(&errors);
    let pause = rng.millis(1, 3_000);
    let actions = [
        FaultAction::ApplyThenDisconnect,
        FaultAction::Disconnect,
        FaultAction::Delay(pause),
        FaultAction::Throttle(pause),
    ];
    let instead = errors.instead.iter().copied().map(FaultAction::Answer);
    let after = errors
        .after
        .iter()
        .copied()
        .map(FaultAction::ApplyThenAnswer);
    let actions: Vec<_> = actions.into_iter().chain(instead).chain(after).collect();
    let action = *rng.pick(&actions);
    let fault = Fault::on(errors.api, action).times(rng.between(1, 4));
    harness.inject(&described(errors.api, action), fault);
}

/// An API, and the errors that it may be answered with by brokers that get over them: instead of doing what was asked, and after it.
pub(crate) struct Errors {
    pub api: ApiKey,
    pub instead: &'static [ErrorCode],
    pub after: &'static [ErrorCode],
}

pub(crate) const fn errors(
    api: ApiKey,
    instead: &'static [ErrorCode],
    after: &'static [ErrorCode],
) -> Errors {
    Errors {
        api,
        instead,
        after,
    }
}

const PRODUCE: Errors = errors(
    ApiKey::PRODUCE,
    &[
        ErrorCode::NOT_LEADER_OR_FOLLOWER,
        ErrorCode::NOT_ENOUGH_REPLICAS,
        ErrorCode::KAFKA_STORAGE_ERROR,
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
    ],
    &[
        ErrorCode::REQUEST_TIMED_OUT,
        ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode::UNKNOWN_SERVER_ERROR,
    ],
);

/// Which requests meet faults; what is in it more often meets more of them.
const ERRORS: &[Errors] = &[
    PRODUCE,
    PRODUCE,
    PRODUCE,
    // The broker's answer to a whole Fetch can only say these; those of single partitions come with moved leaders.
    errors(
        ApiKey::FETCH,
        &[
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ],
        &[
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
        ],
    ),
    // Flapping metadata: topics that are not there for a moment.
    errors(
        ApiKey::METADATA,
        &[
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::LEADER_NOT_AVAILABLE,
        ],
        &[],
    ),
    errors(
        ApiKey::LIST_OFFSETS,
        &[
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::OFFSET_NOT_AVAILABLE,
            ErrorCode::FENCED_LEADER_EPOCH,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            ErrorCode::KAFKA_STORAGE_ERROR,
        ],
        &[],
    ),
    errors(
        ApiKey::OFFSET_COMMIT,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
        // What a coordinator makes of a timeout of its own write.
        &[ErrorCode::COORDINATOR_NOT_AVAILABLE],
    ),
    errors(
        ApiKey::OFFSET_FETCH,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::UNSTABLE_OFFSET_COMMIT,
        ],
        &[],
    ),
    errors(
        ApiKey::JOIN_GROUP,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
        &[ErrorCode::NOT_COORDINATOR],
    ),
    errors(
        ApiKey::SYNC_GROUP,
        &[
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
        &[ErrorCode::NOT_COORDINATOR],
    ),
    errors(
        ApiKey::HEARTBEAT,
        &[
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::REBALANCE_IN_PROGRESS,
            ErrorCode::ILLEGAL_GENERATION,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
        &[],
    ),
    errors(
        ApiKey::FIND_COORDINATOR,
        &[ErrorCode::COORDINATOR_NOT_AVAILABLE],
        &[],
    ),
    errors(
        ApiKey::INIT_PRODUCER_ID,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
        ],
        &[],
    ),
];

const HEARTBEAT: Errors = errors(
    ApiKey::CONSUMER_GROUP_HEARTBEAT,
    &[
        ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
        ErrorCode::FENCED_MEMBER_EPOCH,
        ErrorCode::UNKNOWN_MEMBER_ID,
    ],
    &[
        ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ErrorCode::NOT_COORDINATOR,
    ],
);

/// The same, where there are members of the consumer protocol (KIP-848).
const CONSUMER_GROUP_ERRORS: &[Errors] = &[
    HEARTBEAT,
    HEARTBEAT,
    errors(
        ApiKey::OFFSET_COMMIT,
        &[ErrorCode::STALE_MEMBER_EPOCH, ErrorCode::UNKNOWN_MEMBER_ID],
        &[],
    ),
    errors(ApiKey::OFFSET_FETCH, &[ErrorCode::STALE_MEMBER_EPOCH], &[]),
];

/// The same, where there is a share group (KIP-932).
const SHARE_GROUP_ERRORS: &[Errors] = &[
    errors(
        ApiKey::SHARE_FETCH,
        &[
            ErrorCode::SHARE_SESSION_NOT_FOUND,
            ErrorCode::INVALID_SHARE_SESSION_EPOCH,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ],
        &[],
    ),
    errors(
        ApiKey::SHARE_ACKNOWLEDGE,
        &[
            ErrorCode::SHARE_SESSION_NOT_FOUND,
            ErrorCode::INVALID_SHARE_SESSION_EPOCH,
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
        ],
        &[],
    ),
    errors(
        ApiKey::SHARE_GROUP_HEARTBEAT,
        &[
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::FENCED_MEMBER_EPOCH,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
        &[
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::NOT_COORDINATOR,
        ],
    ),
];
