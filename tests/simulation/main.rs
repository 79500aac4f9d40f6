//! The whole client, from API to bytes, against the embedded broker in one process: one thread, a paused clock, an in-memory network, and
//! everything random from one seed.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `plan` | what a run is about: its scenario, and the few faults that it has |
//! | `harness` | one run: set up, inject faults, heal, demand progress |
//! | `producers`, `consumers`, `handlers`, `sharing` | the applications: raw and typed, in groups of each protocol and in share groups |
//! | `transactions` | applications that write in transactions, and `exactly_once` loops, in some of the runs |
//! | `record_format` | what their records look like |
//! | `network` | delays, stalls, cuts at any byte |
//! | `faults` | leaders, coordinators, nodes and topics that come and go, errors of every API, quotas, outages |
//! | `security` | TLS and SASL, in some of the runs, with sessions that end |
//! | `history`, `checker` | what the applications saw, and whether that is right |
//! | `mix` | what is really drawn, in a table |
//! | `script` | each fault by its name, so that a run can be had again with fewer of them |
//! | `shrink` | reduces a seed that fails to the fewest faults, applications and records |
//! | `rng` | random numbers, all from one seed |
//!
//! `cargo test --test simulation` runs some seeds. `SEED=n` runs one, twice, and prints its hash and what came of it, with `EVENTS=1` all that
//! happened, too; `SEEDS=1000` runs so many, from `FIRST_SEED` (0) on, and with `MIX=1` prints what these had of plans and faults. A seed that fails is
//! printed with how to run it again; with `ALL=1` the others run on.
//!
//! `SHRINK=1 SEED=n cargo test --test simulation nothing -- --nocapture` reduces a seed that fails, in 400 runs at the most (or `SHRINK=1000`), and
//! prints the faults that are left, and by which variables what is left runs again: `WITHOUT` names applications and features, `ONLY` the faults that
//! happen, `RECORDS` how many records and transactions are written.
//!
//! `RUSTFLAGS="--cfg planted_defects" cargo test --test simulation` builds defects into the client that the simulation must then find.
//!
//! Of the faults that have brought clients down, these are not drawn here, and a plain test has each:
//!
//! | fault | test |
//! | --- | --- |
//! | a log that is truncated | `a_log_that_was_truncated_is_noticed_and_read_from_where_it_ends` (`tests/consumer/faults.rs`) |
//! | lengths that lie | `tests/bad_input`, `protocol/tests/hostile_lengths.rs`, `fuzz` |
//!
//! A clock that jumps changes record timestamps only: every decision goes by tokio's clock.

mod checker;
mod consumers;
#[path = "../support/copying.rs"]
mod copying;
mod faults;
mod handlers;
mod harness;
mod history;
mod mix;
mod network;
mod plan;
mod producers;
mod record_format;
mod rng;
mod script;
mod security;
mod sharing;
mod shrink;
mod transactions;

use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::harness::{Outcome, run};
use crate::mix::Mix;
use crate::shrink::shrink;

/// How many seeds a plain test run takes.
const SEEDS: u64 = 200;
/// How many runs a seed that fails is reduced in.
const SHRINKING_RUNS: u32 = 400;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
    )
}

fn report(outcome: &Outcome) -> String {
    let Outcome {
        seed,
        setup,
        violations,
        stuck,
        ..
    } = outcome;
    let (count, first) = (violations.len(), &violations[..violations.len().min(8)]);
    format!(
        "seed {seed}: {stuck:?}, {count} violations, {first:?}\n{setup}\nrun it again with: SEED={seed} cargo test --test simulation -- --nocapture\nreduce it with: SHRINK=1 SEED={seed} cargo test --test simulation nothing -- --nocapture"
    )
}

#[test]
fn nothing_is_lost_doubled_reordered_or_stuck() {
    if let (Some(seed), Some(runs)) = (variable("SEED"), variable("SHRINK")) {
        let runs = if runs > 1 {
            runs as u32
        } else {
            SHRINKING_RUNS
        };
        match shrink(seed, runs) {
            Some(shrunk) => panic!("{shrunk}"),
            None => return println!("seed {seed} does not fail"),
        }
    }
    if let Some(seed) = variable("SEED") {
        let outcome = run(seed);
        if std::env::var_os("EVENTS").is_some() {
            for (at, event) in outcome.history.times.iter().zip(&outcome.history.events) {
                println!("{at:>8} {event:?}");
            }
        }
        println!(
            "seed {seed}: history {:016x}, {} events, {} in the log",
            outcome.history.hash(),
            outcome.history.events.len(),
            outcome.history.log.len()
        );
        println!("{}", outcome.setup);
        assert!(outcome.is_clean(), "{}", report(&outcome));
        return;
    }
    let first = variable("FIRST_SEED").unwrap_or(0);
    let seeds = first..first + variable("SEEDS").unwrap_or(SEEDS);
    let Sum {
        events,
        written,
        mix,
        failed,
    } = run_all(seeds.clone());
    if std::env::var_os("MIX").is_some() {
        println!("{mix}");
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
    println!("seeds {seeds:?}: no violation in {events} events, {written} records written");
    assert!(
        written > 0,
        "a simulation in which nothing is written shows nothing"
    );
}

/// What came of many seeds.
#[derive(Default)]
struct Sum {
    events: usize,
    written: usize,
    mix: Mix,
    failed: Vec<u64>,
}

impl Sum {
    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.written += other.written;
        self.mix.merge(other.mix);
        self.failed.extend(other.failed);
    }
}

/// Runs all of these seeds, on a thread for each core: a seed lives on one thread alone. Ends with the first that is not clean, unless all are to
/// run.
fn run_all(seeds: Range<u64>) -> Sum {
    let next = AtomicU64::new(seeds.start);
    let all = std::env::var_os("ALL").is_some();
    let run_some = || {
        let mut sum = Sum::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return sum;
            }
            let outcome = run(seed);
            sum.events += outcome.history.events.len();
            sum.written += outcome.history.log.len();
            sum.mix.add(&outcome.tally);
            if !outcome.is_clean() {
                println!("{}", report(&outcome));
                sum.failed.push(seed);
                if !all {
                    next.store(seeds.end, Ordering::Relaxed);
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run_some)).collect();
        let mut sum = Sum::default();
        for thread in running {
            match thread.join() {
                Ok(one) => sum.merge(one),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        sum.failed.sort_unstable();
        sum
    })
}

#[test]
fn a_seed_gives_the_same_history_each_time() {
    let first = variable("FIRST_SEED").unwrap_or(0);
    let seeds = first..first + variable("SEEDS").unwrap_or(5).min(50);
    for seed in variable("SEED").map_or(seeds, |seed| seed..seed + 1) {
        assert_eq!(
            run(seed).history.hash(),
            run(seed).history.hash(),
            "seed {seed}"
        );
    }
}

/// A simulation that finds nothing would be worth nothing: the seeds must show each planted defect for what it is.
#[cfg(planted_defects)]
mod planted_defects {
    use pat_events::kafka::planted::{Defect, plant};

    use super::*;
    use crate::checker::Violation;
    use crate::checker::transactions::TransactionViolation as Of;
    use crate::harness::{plan_of, run_reduced};
    use crate::plan::{Plan, Scenario};
    use crate::shrink::Reduction;

    /// Among how many seeds those are looked for that a defect concerns, and how many of these are run.
    const LOOKED_AT: u64 = 6_000;
    const RUN: usize = 200;

    /// Those that a defect concerns.
    fn concerned(concerns: impl Fn(&Plan) -> bool) -> impl Iterator<Item = u64> {
        { 0..LOOKED_AT }
            .filter(move |seed| concerns(&plan_of(*seed)))
            .take(RUN)
    }

    /// Runs seeds until one shows the defect as `shows` has it, and is clean without it. Those are left out that have nothing to do with it.
    fn find(defect: Defect, concerns: impl Fn(&Plan) -> bool, shows: impl Fn(&Outcome) -> bool) {
        let found = concerned(&concerns).find_map(|seed| {
            plant(Some(defect));
            let outcome = run(seed);
            plant(None);
            (shows(&outcome) && run(seed).is_clean()).then_some(outcome)
        });
        let Some(outcome) = found else {
            let seeds: Vec<u64> = concerned(&concerns).collect();
            panic!("{defect:?} was not found in seeds {seeds:?}");
        };
        println!(
            "{defect:?}: found by seed {}: {:?} {:?}",
            outcome.seed,
            outcome.stuck,
            outcome.violations.first()
        );
    }

    /// A test for each defect: the plans that it concerns, and the violations that show it.
    macro_rules! finds {
        ($($name:ident: $defect:ident in $concerns:expr => $violation:pat,)*) => {
            $(#[test]
            fn $name() {
                find(Defect::$defect, $concerns, |outcome| {
                    outcome.violations.iter().any(|violation| matches!(violation, $violation))
                });
            })*
        };
    }

    use Violation::*;

    fn chaos(plan: &Plan) -> bool {
        plan.scenario == Scenario::Chaos
    }

    fn failing(plan: &Plan) -> bool {
        plan.failing.is_some()
    }

    fn retrying(plan: &Plan) -> bool {
        !plan.retry_delays.is_empty()
    }

    fn sharing(plan: &Plan, queues: bool) -> bool {
        plan.sharing.is_some_and(|sharing| sharing.queues == queues)
    }

    fn transactional(plan: &Plan) -> bool {
        plan.transactions.is_some()
    }

    fn transactional_chaos(plan: &Plan) -> bool {
        chaos(plan) && transactional(plan)
    }

    fn recreated(plan: &Plan) -> bool {
        plan.scenario == Scenario::TopicRecreated
    }

    finds! {
        a_sequence_number_not_restored_after_a_retry_is_found: SequenceNotRestored in chaos => Doubled(_) | Reordered { .. },
        a_position_advanced_before_delivery_is_found: PositionBeforeDelivery in chaos => CommittedUnread { .. } | NeverRead { .. },
        a_committed_offset_that_is_ignored_is_found: CommittedOffsetIgnored in chaos => BeganTooLow { .. },
        a_rebalance_that_ends_a_members_session_is_found: SessionEndsInRebalance in |plan| plan.all_is_well() && plan.protocols.has_classic() => HandledTwice { .. } | CommitRefused { .. },
        offsets_that_outlive_their_topic_are_found: OffsetsOutliveTopic in recreated => StoredUnfinished { .. },
        a_refusal_that_holds_up_good_records_is_found: RefusalHoldsUp in |plan| plan.refused_percent > 0 => FailedForNothing(_),
        a_refusal_of_good_records_with_the_bad_is_found: RefusalOfAll in |plan| plan.compacted => FailedForNothing(_),
        records_that_die_before_their_time_are_found: TimeOfFirstRecord in |plan| plan.scenario == Scenario::Outage => ExpiredEarly(_),
        a_record_accepted_and_not_said_to_be_is_found: WaitAfterAcceptance in |plan| plan.cancelled_percent > 0 => NeverAccepted(_),
        records_of_added_partitions_passed_over_are_found: NewPartitionByPolicy in |plan| plan.latest => NeverRead { .. },
        a_position_that_moves_by_itself_is_found: MovesByItself in |plan| plan.none => MovedByItself { .. },
        a_pause_that_uses_up_the_time_for_an_answer_is_found: PauseUsesUpTime in |plan| plan.quota.is_some() => FailedForNothing(_),
        a_commit_that_nobody_confirmed_is_found: LeftOutIsCommitted in |plan| plan.unconfirmed => NotStored { .. },
        a_commit_that_is_overtaken_by_a_newer_one_is_found: CommitsSideBySide in |plan| plan.unconfirmed && plan.all_is_well() => StoredFell { .. },
        a_dead_letter_that_counts_before_it_is_written_is_found: DeadLetterUnacknowledged in failing => Overtook { .. } | StoredUnfinished { .. } | NeverRead { .. },
        a_dead_letter_that_is_given_up_is_found: DeadLetterGivenUp in failing => Overtook { .. } | StoredUnfinished { .. } | NeverRead { .. },
        a_key_that_does_not_wait_for_a_retry_is_found: RestingKeyReleased in failing => Overtook { .. },
        a_commit_past_a_record_that_waits_for_its_retry_is_found: RestingIsFinished in failing => StoredUnfinished { .. },
        a_retry_record_that_counts_before_it_is_written_is_found: RetryUnacknowledged in retrying => Overtook { .. } | StoredUnfinished { .. } | NeverRead { .. },
        an_event_handled_before_one_of_its_key_in_a_retry_topic_is_found: LaterNotSentBehind in retrying => Overtook { .. },
        commits_without_the_members_epoch_are_found: CommitsWithoutEpoch in |plan| plan.listener_is_in_time() && !plan.listener_delay.is_zero() && plan.protocols.has_consumer() => CommitRefused { .. },
        a_revocation_acknowledged_before_the_hand_over_is_found: RevocationAcknowledgedEarly in |plan| plan.is_owned_once() && !plan.typed && plan.protocols.has_consumer() => OwnedTwice { .. },
        a_fenced_member_that_keeps_its_partitions_is_found: FencedKeepsPartitions in |plan| chaos(plan) && !plan.typed && plan.protocols.has_consumer() => OwnedTwice { .. },
        a_refused_acknowledgement_that_counts_is_found: RefusedCountsAsAcknowledged in |plan| chaos(plan) && sharing(plan, false) => CameAgain { .. },
        records_of_a_share_group_that_no_poll_returns_are_found: RestOfFetchIsGap in |plan| sharing(plan, false) => NeverDone { .. },
        a_lock_that_ends_before_a_handler_does_is_found: LocksNotRenewed in |plan| plan.is_held_alone() && sharing(plan, true) => HeldTwice { .. },
        a_batch_given_up_for_an_unreadable_answer_is_found: UnreadableIsFinal in |plan| plan.garbled => FailedForNothing(_),
        a_batch_of_unknown_fate_taken_for_not_written_is_found: UnknownIsNotWritten in chaos => WrittenAfterAll(_) | Doubled(_),
        a_sequence_used_again_after_a_batch_of_unknown_fate_is_found: MaybeWrittenSequenceReused in |plan| chaos(plan) && plan.transactions.is_none() && plan.sharing.is_none() => Lost(_) | Doubled(_) | Reordered { .. },
        a_sequence_that_begins_anew_with_a_leader_is_found: SequenceLostWithLeader in chaos => Lost(_) | Doubled(_) | Reordered { .. },
        several_batches_on_their_way_without_sequences_are_found: SeveralWithoutSequences in chaos => Reordered { .. },
        a_batch_with_the_bytes_of_another_one_is_found: BufferReused in chaos => Lost(_) | Doubled(_) | Reordered { .. },
        a_flush_that_forgets_parts_of_a_batch_is_found: FlushForgetsParts in |plan| plan.refused_percent > 0 => FlushedWithout(_),
        a_commit_reported_before_the_coordinator_has_answered_is_found: CommitBeforeAnswer in transactional_chaos => InTransactions(Of::CommittedMissing(_)),
        an_end_that_was_not_answered_taken_for_committed_is_found: UnknownEndIsCommitted in transactional_chaos => InTransactions(Of::CommittedMissing(_)),
        offsets_left_out_of_their_transaction_are_found: OffsetsLeftOut in transactional => InTransactions(Of::OffsetMissing { .. } | Of::InputTwice(_)),
        a_fenced_producer_that_goes_on_is_found: FencedGoesOn in transactional => InTransactions(Of::Zombie(_)),
        records_of_an_aborted_transaction_in_the_next_are_found: AbortedGoesOn in transactional => InTransactions(Of::AbortedVisible(_) | Of::VisibleTwice(_)),
        a_batch_before_its_partition_is_in_the_transaction_is_found: BatchBeforePartition in |plan| plan.all_is_well() && plan.transactions.is_some_and(|it| it.version < 2) => InTransactions(Of::FailedForNothing { .. }),
        a_transaction_committed_without_a_record_that_failed_is_found: FailureForgotten in transactional_chaos => InTransactions(Of::CommittedMissing(_) | Of::Torn { .. }),
        a_transaction_ended_before_its_records_are_written_is_found: EndsBeforeWritten in transactional => InTransactions(Of::CommittedMissing(_) | Of::Torn { .. }),
        an_epoch_kept_after_an_unknown_outcome_is_found: EpochKept in |plan| transactional_chaos(plan) && plan.transactions.is_some_and(|it| it.version < 2) => InTransactions(_),
    }

    /// What nobody looked for after an assignment is taken for a copy of something else, and never handled.
    #[test]
    fn what_is_under_way_and_forgotten_by_a_restart_is_found() {
        find(Defect::UnderWayNotRebuilt, retrying, |outcome| {
            let is_lost =
                |violation: &Violation| matches!(violation, NeverRead { .. } | Overtook { .. });
            outcome.stuck.is_some() || outcome.violations.iter().any(is_lost)
        });
    }

    #[test]
    fn a_budget_of_retries_that_gets_nothing_back_is_found() {
        find(Defect::BudgetNotRefilled, failing, |outcome| {
            outcome.stuck.is_some()
        });
    }

    /// What is left of a seed that shows the defect fails in the same way, with fewer faults.
    #[test]
    fn a_failing_seed_is_reduced_to_fewer_faults() {
        plant(Some(Defect::UnknownEndIsCommitted));
        let shrunk = concerned(transactional_chaos).find_map(|seed| shrink(seed, SHRINKING_RUNS));
        let shrunk = shrunk.expect("the defect is found");
        println!("{shrunk}");
        let again = run_reduced(shrunk.seed, &shrunk.reduction);
        let without = run_reduced(
            shrunk.seed,
            &Reduction {
                only: Some(Default::default()),
                ..shrunk.reduction.clone()
            },
        );
        plant(None);
        assert!(!again.is_clean(), "what is left does not fail");
        assert_eq!(again.happened, shrunk.faults);
        assert!(
            shrunk.faults.len() * 4 <= shrunk.faults_before,
            "{} of {} faults are left",
            shrunk.faults.len(),
            shrunk.faults_before
        );
        assert!(without.is_clean(), "it takes no fault to fail");
    }

    /// The ways in which a producer stops for good.
    fn ends_a_producer(outcome: &Outcome) -> bool {
        let stuck = outcome.stuck.as_deref().unwrap_or_default();
        stuck.contains("does not recover")
    }

    #[test]
    fn a_sequence_that_goes_on_under_the_next_epoch_is_found() {
        find(Defect::SequenceNotReset, chaos, ends_a_producer);
    }

    #[test]
    fn a_last_epoch_that_is_used_for_ever_is_found() {
        let near = |plan: &Plan| chaos(plan) && plan.first_producer_epoch > 0;
        find(Defect::EpochNotExhausted, near, |outcome| {
            ends_a_producer(outcome) || !outcome.violations.is_empty()
        });
    }

    #[test]
    fn a_partition_given_up_for_its_sequence_is_found() {
        find(Defect::OutOfSequenceEnds, chaos, ends_a_producer);
    }

    #[test]
    fn a_producer_that_never_recovers_is_found() {
        find(Defect::SilentAfterEpochBump, chaos, ends_a_producer);
    }
}
