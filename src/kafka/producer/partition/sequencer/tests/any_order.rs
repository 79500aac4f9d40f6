//! Any fates of batches in any order, against a log that is as strict as a broker's.

use super::*;

/// What happens to the oldest request in flight.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Applied, but the answer is lost, and with it everything behind on the connection.
    AnswerLost,
    /// Never arrives, and nothing behind it does.
    RequestLost,
    Refused(ErrorCode),
    /// Applied, and then an ambiguous error.
    Ambiguous(ErrorCode),
    /// Refused for some of its records; so many are left.
    Thinned(u32),
    /// The broker forgets the producer, as after a truncation.
    Forgotten,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Answered),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::Refused(ErrorCode::NOT_ENOUGH_REPLICAS)),
        1 => Just(Fate::Refused(ErrorCode::INVALID_RECORD)),
        1 => (0..10u32).prop_map(Fate::Thinned),
        1 => Just(Fate::Refused(ErrorCode::UNKNOWN_SERVER_ERROR)),
        1 => Just(Fate::Ambiguous(ErrorCode::REQUEST_TIMED_OUT)),
        1 => Just(Fate::Ambiguous(ErrorCode::UNKNOWN_SERVER_ERROR)),
        1 => Just(Fate::Ambiguous(ErrorCode::NOT_LEADER_OR_FOLLOWER)),
        1 => Just(Fate::Forgotten),
    ]
}

/// What the application was told of each batch.
#[derive(Default)]
struct Told {
    written: Vec<u32>,
    failed: Vec<(u32, WriteOutcome)>,
}

/// Plays `outcomes`, then heals everything and demands progress.
fn play(fates: &[Fate], widths: &[usize]) -> (Log, Told, u32) {
    let (mut sequencer, mut log, mut told) = (sequencer(), Log::default(), Told::default());
    let (mut wire, mut accepted) = (VecDeque::<Sequenced<u32>>::new(), 0);
    let mut ids = 8;
    let healed = std::iter::repeat_n(&Fate::Answered, 200);
    for (turn, fate) in fates.iter().chain(healed).enumerate() {
        let healing = turn >= fates.len();
        for _ in 0..widths[turn % widths.len()] {
            if sequencer.wants_producer_id() && !sequencer.adopt(producer_id(ids, 0)) {
                ids += 1;
            }
            let fresh = sequencer.send_decision(Instant::now(), LEADER) == SendDecision::New;
            if !(fresh && healing)
                && let Some(batch) = next(&mut sequencer, LEADER, accepted)
            {
                accepted += u32::from(fresh);
                wire.push_back(batch);
            }
        }
        let Some(batch) = wire.pop_front() else {
            continue;
        };
        let finish = |sequencer: &mut PartitionSequencer<u32>,
                      told: &mut Told,
                      batch: Sequenced<u32>,
                      code| {
            match outcome::of_code(code, IDEMPOTENT) {
                ProduceOutcome::Written => told.written.push(sequencer.written(batch, LEADER)),
                _ => fail(sequencer, batch, code),
            }
        };
        match *fate {
            Fate::Answered => {
                let code = log.append(&batch);
                finish(&mut sequencer, &mut told, batch, code);
            }
            Fate::Thinned(left) if sequencer.may_renumber(&batch) => {
                if let Some(content) = sequencer.records_removed(batch, left) {
                    told.failed.push((content, WriteOutcome::NotWritten));
                }
            }
            Fate::Thinned(_) => {
                finish(&mut sequencer, &mut told, batch, ErrorCode::INVALID_RECORD);
            }
            Fate::Refused(code) => finish(&mut sequencer, &mut told, batch, code),
            Fate::Ambiguous(code) => {
                let found = log.append(&batch);
                let code = if found == ErrorCode::NONE {
                    code
                } else {
                    found
                };
                finish(&mut sequencer, &mut told, batch, code);
            }
            Fate::AnswerLost | Fate::RequestLost => {
                let mut arrives = matches!(fate, Fate::AnswerLost);
                for batch in std::iter::once(batch).chain(wire.drain(..)) {
                    if arrives {
                        log.append(&batch);
                    }
                    // How far the rest got is drawn from the turn.
                    arrives &= turn % 3 == 0;
                    lose(&mut sequencer, batch);
                }
            }
            Fate::Forgotten => {
                log.state = None;
                wire.push_front(batch);
            }
        }
        for (batch, error) in sequencer.given_up() {
            told.failed.push((batch.content, error.outcome()));
        }
    }
    assert!(wire.is_empty() && sequencer.retry.is_empty(), "stuck");
    (log, told, accepted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Nothing acknowledged is lost, nothing is doubled, nothing is reordered, what is reported as not written is not in the log, and
    /// every batch is reported once. (Once a broker has forgotten a producer it can no longer recognise repeats: see the next test.)
    #[test]
    fn no_history_loses_doubles_or_reorders(
        fates in prop::collection::vec(fate(), 1..60),
        widths in prop::collection::vec(0usize..4, 1..7),
    ) {
        let fates: Vec<_> = fates.into_iter().filter(|fate| !matches!(fate, Fate::Forgotten)).collect();
        let (log, told, accepted) = play(&fates, &widths);
        for pair in log.batches.windows(2) {
            prop_assert!(pair[0] < pair[1], "doubled or reordered: {:?}", log.batches);
        }
        for batch in &told.written {
            prop_assert!(log.batches.contains(batch), "lost {batch}");
        }
        for (batch, outcome) in &told.failed {
            let there = log.batches.contains(batch);
            prop_assert!(!(there && *outcome == WriteOutcome::NotWritten), "{batch} is there after all");
        }
        let mut reported: Vec<u32> = told.written.iter().copied().chain(told.failed.iter().map(|failed| failed.0)).collect();
        reported.sort_unstable();
        prop_assert_eq!(reported, (0..accepted).collect::<Vec<_>>());
    }

    /// Even when brokers forget: whatever is in the log is there in order of first arrival, nothing acknowledged is lost, and the producer
    /// goes on.
    #[test]
    fn a_broker_that_forgets_the_producer_stops_nothing(
        fates in prop::collection::vec(fate(), 1..60),
        widths in prop::collection::vec(0usize..4, 1..7),
    ) {
        let (log, told, accepted) = play(&fates, &widths);
        for batch in &told.written {
            prop_assert!(log.batches.contains(batch), "lost {batch}");
        }
        prop_assert_eq!(told.written.len() + told.failed.len(), accepted as usize);
    }
}
