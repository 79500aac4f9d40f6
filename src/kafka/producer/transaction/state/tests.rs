//! The state against a coordinator that does what Kafka's does, answers or not, times transactions out, and lets others take over.

use protocol::ErrorCode;

use super::*;
use crate::kafka::Random;

/// What has become of the last transaction at the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Nothing,
    Ongoing,
    Ended { committed: bool },
}

/// A coordinator, by Kafka's rules.
struct Model {
    flow: Flow,
    epoch: i16,
    /// The epoch before, whose owner may ask again.
    last: Option<i16>,
    at: At,
    /// Another producer has taken over.
    taken_over: bool,
}

type Answer<T> = std::result::Result<T, ErrorCode>;

impl Model {
    fn owns(&self, epoch: i16) -> Answer<()> {
        match epoch == self.epoch {
            true => Ok(()),
            false => Err(ErrorCode::INVALID_PRODUCER_EPOCH),
        }
    }

    /// Adds a partition, by a request or by writing to it.
    fn add(&mut self, epoch: i16) -> Answer<()> {
        self.owns(epoch)?;
        self.at = At::Ongoing;
        Ok(())
    }

    fn end(&mut self, epoch: i16, commit: bool) -> Answer<Option<i16>> {
        let ended = At::Ended { committed: commit };
        match self.flow {
            Flow::Explicit => {
                self.owns(epoch)?;
                match self.at {
                    At::Ongoing => self.at = ended,
                    at if at == ended => {}
                    _ => return Err(ErrorCode::INVALID_TXN_STATE),
                }
                Ok(None)
            }
            Flow::Implicit if epoch == self.epoch => match self.at {
                _ if commit && self.at != At::Ongoing => Err(ErrorCode::INVALID_TXN_STATE),
                _ => {
                    self.at = ended;
                    self.next_epoch(Some(epoch));
                    Ok(Some(self.epoch))
                }
            },
            Flow::Implicit if self.last == Some(epoch) => match self.at == ended {
                true => Ok(Some(self.epoch)),
                false => Err(ErrorCode::INVALID_TXN_STATE),
            },
            Flow::Implicit => Err(ErrorCode::PRODUCER_FENCED),
        }
    }

    fn init(&mut self, known: Option<i16>) -> Answer<i16> {
        if self.at == At::Ongoing {
            // Whoever asks in the middle of a transaction fences it, whatever its epoch.
            assert!(!self.taken_over, "another one's transaction is aborted");
            self.time_out();
            return Err(ErrorCode::CONCURRENT_TRANSACTIONS);
        }
        match known {
            Some(epoch) if self.last == Some(epoch) => return Ok(self.epoch),
            Some(epoch) if epoch != self.epoch => return Err(ErrorCode::PRODUCER_FENCED),
            _ => {}
        }
        self.next_epoch(known);
        Ok(self.epoch)
    }

    /// The coordinator aborts by itself. In the explicit flow nobody gets the epoch that comes after.
    fn time_out(&mut self) {
        if self.at == At::Ongoing {
            self.at = At::Ended { committed: false };
            self.next_epoch((self.flow == Flow::Implicit).then_some(self.epoch));
        }
    }

    /// Another producer takes over, and has a transaction under way.
    fn take_over(&mut self) {
        self.time_out();
        self.next_epoch(None);
        self.at = At::Ongoing;
        self.taken_over = true;
    }

    fn next_epoch(&mut self, last: Option<i16>) {
        self.last = last;
        self.epoch += 1;
    }
}

/// What becomes of one request.
fn with_luck<T>(random: &mut Random, mut apply: impl FnMut() -> Answer<T>) -> Result<T, Refusal> {
    let server = |code| Refusal::from(Error::server(code, None));
    match random.below(10) {
        0 => Err(Error::new(ErrorKind::Disconnected, "the request was lost").into()),
        1 => {
            let _ = apply();
            Err(Error::new(ErrorKind::Disconnected, "the answer was lost").into())
        }
        2 => Err(server(ErrorCode::NOT_COORDINATOR)),
        3 => {
            let _ = apply();
            Err(server(ErrorCode::UNKNOWN_SERVER_ERROR))
        }
        4 => Err(server(ErrorCode::CONCURRENT_TRANSACTIONS)),
        _ => apply().map_err(server),
    }
}

/// Runs many transactions; returns how many were committed, aborted, unknown, and whether the producer was fenced.
fn run(seed: u64, flow: Flow) -> ([u32; 3], bool) {
    let mut random = Random::seeded(seed);
    let mut now = Instant::now();
    let mut state = TransactionState::new("id".into(), Duration::from_secs(60), now);
    state.speaks(flow);
    let mut model = Model {
        flow,
        epoch: 7,
        last: None,
        at: At::Nothing,
        taken_over: false,
    };
    let mut counts = [0; 3];
    for round in 0..40 {
        state.want(now);
        if drive(&mut state, &mut model, &mut random, &mut now, |state| {
            state.initialised()
        })
        .is_err()
        {
            check_counters(&state, counts);
            return (counts, true);
        }
        let number = state.begin(now);
        let has_records = random.below(8) > 0;
        let fails = random.below(6) == 0;
        if has_records {
            let name = TopicPartition::new("t", 0);
            state.writes_to(name);
            let epoch = state.identity().expect("initialised").epoch;
            if flow == Flow::Implicit && model.add(epoch).is_err() {
                let error = Error::server(ErrorCode::INVALID_PRODUCER_EPOCH, None);
                state.failed(&error, now);
            }
        }
        if fails {
            let error = Error::new(ErrorKind::RecordTooLarge, "not written");
            state.failed(&error, now);
        }
        match random.below(30) {
            0 => model.time_out(),
            1 if round > 5 && has_records => model.take_over(),
            _ => {}
        }
        let commit = random.below(4) > 0;
        match commit {
            true => state.commit(now),
            false => state.abort(now),
        }
        let ended = drive(&mut state, &mut model, &mut random, &mut now, |state| {
            state.ended(number).map(Ok)
        });
        let was_committed = has_records && model.at == At::Ended { committed: true };
        match ended.expect("how it ended") {
            Ended::Committed => {
                assert!(commit && !fails, "seed {seed}: {state:?}");
                assert!(was_committed || !has_records, "seed {seed}: {state:?}");
                counts[0] += 1;
            }
            Ended::Aborted => {
                assert!(!commit && !was_committed, "seed {seed}: {state:?}");
                counts[1] += 1;
            }
            Ended::Failed(error) => match error.outcome() {
                WriteOutcome::Unknown => {
                    assert!(commit, "seed {seed}: {error}");
                    counts[2] += 1;
                }
                _ => {
                    assert!(!was_committed, "seed {seed}: {error}");
                    counts[1] += 1;
                }
            },
        }
        model.at = match model.at {
            At::Ongoing => At::Ongoing,
            _ => At::Nothing,
        };
    }
    check_counters(&state, counts);
    (counts, false)
}

/// What is measured is what the application was told.
fn check_counters(state: &TransactionState, counts: [u32; 3]) {
    let metrics = state.counters().read();
    let counted = [metrics.committed, metrics.aborted, metrics.unknown];
    assert_eq!(counted, counts.map(u64::from), "{state:?}");
    assert_eq!(metrics.begun, counted.iter().sum::<u64>(), "{state:?}");
    let fenced = ErrorKind::Fenced;
    let is_fenced = matches!(&state.phase, Phase::Over(error) if error.kind() == fenced);
    assert_eq!(metrics.fenced, u64::from(is_fenced), "{state:?}");
    assert_eq!(metrics.commit_latency.count, metrics.committed);
    assert!(metrics.init_latency.count > 0);
}

/// Does what the state wants until `look` finds something.
fn drive<R>(
    state: &mut TransactionState,
    model: &mut Model,
    random: &mut Random,
    now: &mut Instant,
    look: impl Fn(&mut TransactionState) -> Option<Result<R>>,
) -> Result<R> {
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 0..1_000 {
        let step = state.next(*now);
        if let Some(found) = look(state) {
            return found;
        }
        let epoch = state.identity().map_or(-1, |it| it.epoch);
        let identity = |epoch| ProducerIdAndEpoch { id: 3, epoch };
        match step {
            Step::Idle => panic!("nothing is done, and nothing is found: {state:?}"),
            Step::Until(moment) => *now = moment,
            Step::Init(known) => {
                let known = known.map(|it| it.epoch);
                let result = with_luck(random, || model.init(known)).map(identity);
                state.on_init(result, *now, PAUSE);
            }
            Step::AddPartitions(partitions) => {
                let result = with_luck(random, || model.add(epoch));
                state.on_partitions_added(&partitions, result, *now, PAUSE);
            }
            Step::AddOffsets(_) | Step::CommitOffsets(_) => panic!("there are no offsets"),
            Step::Flush => state.on_flushed(Ok(()), *now),
            Step::Quiesce => {
                // Nothing is on its way to a partition that was not added.
                let needs_epoch = state.may_be_known && random.below(2) == 0;
                state.on_quiesced(needs_epoch);
            }
            Step::End(commit) => {
                let result = with_luck(random, || model.end(epoch, commit));
                let result = result.map(|next| next.map(identity));
                state.on_ended(commit, result, *now, PAUSE);
            }
        }
    }
    panic!("it goes on for ever: {state:?}");
}

/// franz-go 1.21.4: EndTxn answered UNKNOWN_SERVER_ERROR, and the transaction was reported as committed.
#[test]
fn what_is_reported_of_a_transaction_is_what_the_coordinator_has_done() {
    for flow in [Flow::Explicit, Flow::Implicit] {
        let (mut counts, mut fenced) = ([0; 3], 0);
        for seed in 0..3_000 {
            let (some, is_fenced) = run(seed, flow);
            counts = std::array::from_fn(|i| counts[i] + some[i]);
            fenced += u32::from(is_fenced);
        }
        println!("{flow:?}: {counts:?} committed, aborted, unknown; {fenced} producers fenced");
        assert!(counts[0] > 10_000 && counts[1] > 10_000 && fenced > 500);
    }
}

fn ready(flow: Flow) -> (TransactionState, Instant) {
    let now = Instant::now();
    let mut state = TransactionState::new("id".into(), Duration::from_secs(60), now);
    state.speaks(flow);
    state.want(now);
    assert!(matches!(state.next(now), Step::Init(None)));
    let identity = ProducerIdAndEpoch { id: 1, epoch: 0 };
    state.on_init(Ok(identity), now, Duration::ZERO);
    (state, now)
}

fn refused(code: ErrorCode) -> Refusal {
    Error::server(code, None).into()
}

#[test]
fn nothing_is_asked_for_a_transaction_without_records() {
    let (mut state, now) = ready(Flow::Implicit);
    let number = state.begin(now);
    state.commit(now);
    assert!(matches!(state.next(now), Step::Flush));
    state.on_flushed(Ok(()), now);
    assert!(matches!(state.next(now), Step::Idle));
    assert!(matches!(state.ended(number), Some(Ended::Committed)));
}

/// librdkafka #3575: the epoch was raised in the middle of a transaction, and the rest of it was committed.
#[test]
fn a_failure_makes_a_transaction_one_that_is_only_aborted() {
    let (mut state, now) = ready(Flow::Implicit);
    let number = state.begin(now);
    state.writes_to(TopicPartition::new("t", 0));
    let error = Error::new(ErrorKind::Timeout, "late");
    state.failed(&error, now);
    assert_eq!(
        state.failure().map(Error::kind),
        Some(ErrorKind::TransactionAborted)
    );
    state.commit(now);
    assert!(matches!(state.next(now), Step::Quiesce));
    state.on_quiesced(true);
    assert!(matches!(state.next(now), Step::End(false)));
    let next = ProducerIdAndEpoch { id: 1, epoch: 1 };
    state.on_ended(false, Ok(Some(next)), now, Duration::ZERO);
    let Some(Ended::Failed(error)) = state.ended(number) else {
        panic!("it was not committed: {state:?}");
    };
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
    assert!(matches!(state.initialised(), Some(Ok(()))));
    assert_eq!(state.identity(), Some(next));
}

#[test]
fn who_is_fenced_says_of_whom_and_what_to_do() {
    let (mut state, now) = ready(Flow::Implicit);
    let number = state.begin(now);
    state.writes_to(TopicPartition::new("t", 0));
    state.commit(now);
    state.on_flushed(Ok(()), now);
    let fenced = || Err(refused(ErrorCode::PRODUCER_FENCED));
    state.on_ended(true, fenced(), now, Duration::ZERO);
    assert!(state.ended(number).is_none(), "it is not known who");
    // Asked for another epoch, the coordinator would abort what the other one has under way.
    assert!(matches!(state.next(now), Step::End(false)));
    state.on_ended(false, fenced(), now, Duration::ZERO);
    assert!(matches!(state.next(now), Step::Idle));
    let Some(Ended::Failed(error)) = state.ended(number) else {
        panic!("it was not committed: {state:?}");
    };
    let text = error.to_string();
    assert!(
        error.is_fatal() && text.contains("\"id\"") && text.contains("connect anew"),
        "{text}"
    );
    assert_eq!(error.outcome(), WriteOutcome::NotWritten);
}

#[test]
fn offsets_that_a_group_refuses_make_a_transaction_one_that_is_only_aborted() {
    let (mut state, now) = ready(Flow::Explicit);
    state.begin(now);
    let group = crate::kafka::consumer::ConsumerGroupMetadata::standalone("g");
    let offsets = Arc::new(Offsets {
        group,
        offsets: Default::default(),
    });
    let soon = now + Duration::from_secs(1);
    let first = state.send_offsets(offsets.clone(), now, soon);
    assert!(matches!(state.next(now), Step::AddOffsets(_)));
    state.on_offsets_added(Ok(()), now, Duration::ZERO);
    assert!(matches!(state.next(now), Step::CommitOffsets(_)));
    state.on_offsets_committed(Ok(()), now, Duration::ZERO);
    assert!(matches!(state.offsets_done(first), Some(Ok(()))));
    let second = state.send_offsets(offsets.clone(), now, soon);
    state.on_offsets_added(Ok(()), now, Duration::ZERO);
    state.on_offsets_committed(
        Err(refused(ErrorCode::ILLEGAL_GENERATION)),
        now,
        Duration::ZERO,
    );
    assert!(matches!(state.offsets_done(second), Some(Err(_))));
    assert!(matches!(state.next(now), Step::Idle));
    // And those that are not taken in time.
    let (mut state, now) = ready(Flow::Implicit);
    state.begin(now);
    let ticket = state.send_offsets(offsets, now, soon);
    let loading = Err(refused(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS));
    state.on_offsets_committed(loading, now, Duration::from_secs(5));
    assert!(matches!(state.next(now), Step::Until(_)));
    assert!(matches!(state.next(soon), Step::Idle));
    let Some(Err(error)) = state.offsets_done(ticket) else {
        panic!("they were not committed: {state:?}");
    };
    assert!(
        error.to_string().contains("COORDINATOR_LOAD_IN_PROGRESS"),
        "{error}"
    );
}

/// Jepsen on Bufstream 0.1.0 and on Redpanda 21.10.1: producers went on after an error that settled nothing, and what was still under way came into a
/// later transaction.
#[test]
fn after_what_nobody_can_tell_another_epoch_comes_before_anything_else() {
    for flow in [Flow::Explicit, Flow::Implicit] {
        for commit in [true, false] {
            for refusal in [
                ErrorCode::INVALID_PRODUCER_ID_MAPPING,
                ErrorCode::INVALID_TXN_STATE,
            ] {
                let (mut state, now) = ready(flow);
                let number = state.begin(now);
                let partition = TopicPartition::new("t", 0);
                if state.writes_to(partition.clone()) {
                    state.on_partitions_added(&[partition], Ok(()), now, Duration::ZERO);
                }
                match commit {
                    true => state.commit(now),
                    false => state.abort(now),
                }
                state.on_flushed(Ok(()), now);
                state.on_quiesced(false);
                assert!(matches!(state.next(now), Step::End(end) if end == commit));
                let lost = || Error::new(ErrorKind::Disconnected, "the answer was lost").into();
                state.on_ended(commit, Err(lost()), now, Duration::ZERO);
                assert!(state.ended(number).is_none(), "nobody has said so");
                assert!(matches!(state.next(now), Step::End(end) if end == commit));
                state.on_ended(commit, Err(refused(refusal)), now, Duration::ZERO);
                // A commit that was refused is aborted first, as long as the epoch is any good.
                while let Step::End(false) = state.next(now) {
                    state.on_ended(false, Err(refused(refusal)), now, Duration::ZERO);
                }
                assert!(state.initialised().is_none(), "nothing begins: {state:?}");
                assert!(matches!(state.next(now), Step::Init(Some(_))), "{state:?}");
                let next = ProducerIdAndEpoch { id: 1, epoch: 1 };
                state.on_init(Ok(next), now, Duration::ZERO);
                assert!(matches!(state.initialised(), Some(Ok(()))));
                match state.ended(number) {
                    Some(Ended::Failed(error)) if commit => {
                        assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
                    }
                    Some(Ended::Aborted) if !commit => {}
                    ended => panic!("{ended:?}"),
                }
            }
        }
    }
}

/// Kafka answers UNKNOWN_SERVER_ERROR, again and again, where the last epoch of the producer id is not the one that is named.
#[test]
fn a_producer_whose_epochs_are_used_up_ends_when_a_transaction_would_have() {
    let (mut state, mut now) = ready(Flow::Explicit);
    let number = state.begin(now);
    state.abort(now);
    state.on_quiesced(true);
    // Nothing is known of it, and some of it is not sure.
    assert!(matches!(state.next(now), Step::Idle));
    state.want(now);
    let began = now;
    let pause = Duration::from_secs(1);
    let mut asked = 0;
    let ended = loop {
        match state.next(now) {
            Step::Until(moment) => now = moment,
            Step::Init(Some(_)) => {
                asked += 1;
                let unexplained = Err(refused(ErrorCode::UNKNOWN_SERVER_ERROR));
                state.on_init(unexplained, now, pause);
            }
            Step::End(false) => {
                let nothing = Err(refused(ErrorCode::INVALID_TXN_STATE));
                state.on_ended(false, nothing, now, Duration::ZERO);
            }
            Step::Idle => break state.initialised(),
            step => panic!("{step:?}"),
        }
        assert!(asked < 1_000, "it asks for ever");
    };
    let Some(Err(error)) = ended else {
        panic!("it is of no use any more: {state:?}");
    };
    assert_eq!((error.kind(), error.is_fatal()), (ErrorKind::Fenced, true));
    assert!(error.to_string().contains("connect anew"), "{error}");
    assert_eq!(now - began, Duration::from_secs(60));
    assert!(matches!(state.ended(number), Some(Ended::Aborted)));
    // One that is answered otherwise meanwhile goes on asking.
    let (mut state, mut now) = ready(Flow::Explicit);
    state.begin(now);
    state.abort(now);
    state.on_quiesced(true);
    assert!(matches!(state.next(now), Step::Idle));
    for round in 0..200 {
        let code = match round % 50 {
            0 => ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            _ => ErrorCode::UNKNOWN_SERVER_ERROR,
        };
        now += pause;
        if let Step::End(false) = state.next(now) {
            let nothing = Err(refused(ErrorCode::INVALID_TXN_STATE));
            state.on_ended(false, nothing, now, Duration::ZERO);
        }
        assert!(matches!(state.next(now), Step::Init(Some(_))));
        state.on_init(Err(refused(code)), now, pause);
    }
    now += pause;
    let identity = ProducerIdAndEpoch { id: 2, epoch: 0 };
    state.on_init(Ok(identity), now, Duration::ZERO);
    assert!(matches!(state.initialised(), Some(Ok(()))));
}

/// After the last epoch Kafka's coordinator answers who names an older one with an error that says nothing, as often as it is asked.
#[test]
fn who_was_taken_over_from_after_the_last_epoch_hears_of_it() {
    let (mut state, now) = ready(Flow::Explicit);
    let number = state.begin(now);
    state.writes_to(TopicPartition::new("t", 0));
    state.abort(now);
    state.on_quiesced(true);
    assert!(matches!(state.next(now), Step::Idle));
    assert!(matches!(state.ended(number), Some(Ended::Aborted)));
    for _ in 0..2 {
        assert!(matches!(state.next(now), Step::Init(Some(_))));
        let stumbles = Err(refused(ErrorCode::UNKNOWN_SERVER_ERROR));
        state.on_init(stumbles, now, Duration::ZERO);
        assert!(matches!(state.next(now), Step::End(false)));
        let lost = || Error::new(ErrorKind::Disconnected, "the answer was lost").into();
        state.on_ended(false, Err(lost()), now, Duration::ZERO);
        assert!(matches!(state.next(now), Step::End(false)));
        // It has nothing to abort: the epoch is asked for again.
        let nothing = Err(refused(ErrorCode::INVALID_TXN_STATE));
        state.on_ended(false, nothing, now, Duration::ZERO);
    }
    let stumbles = Err(refused(ErrorCode::UNKNOWN_SERVER_ERROR));
    state.on_init(stumbles, now, Duration::ZERO);
    let fenced = Err(refused(ErrorCode::INVALID_PRODUCER_EPOCH));
    state.on_ended(false, fenced, now, Duration::ZERO);
    assert!(matches!(state.next(now), Step::Idle));
    assert!(matches!(state.initialised(), Some(Err(error)) if error.is_fatal()));
}

/// A coordinator that ends a transaction by itself under the last epoch but one leaves the last, which can be fenced by none: what was written under it
/// after that was in two transactions.
#[test]
fn nothing_is_written_under_the_epoch_that_cannot_be_fenced() {
    let last = ProducerIdAndEpoch {
        id: 1,
        epoch: i16::MAX,
    };
    let (mut state, now) = ready(Flow::Implicit);
    let number = state.begin(now);
    state.writes_to(TopicPartition::new("t", 0));
    state.commit(now);
    state.on_flushed(Ok(()), now);
    let ended = Err(refused(ErrorCode::INVALID_TXN_STATE));
    state.on_ended(true, ended, now, Duration::ZERO);
    assert!(matches!(state.next(now), Step::End(false)));
    state.on_ended(false, Ok(Some(last)), now, Duration::ZERO);
    assert!(matches!(state.ended(number), Some(Ended::Failed(_))));
    assert!(state.initialised().is_none(), "nothing begins: {state:?}");
    assert!(matches!(state.next(now), Step::Init(Some(known)) if known == last));
}

/// Under the id before its own another producer would be disturbed, too.
#[test]
fn who_was_fenced_under_a_last_epoch_asks_for_no_other() {
    let (mut state, now) = ready(Flow::Implicit);
    let last = ProducerIdAndEpoch {
        id: 1,
        epoch: i16::MAX - 1,
    };
    state.on_init(Ok(last), now, Duration::ZERO);
    let number = state.begin(now);
    state.writes_to(TopicPartition::new("t", 0));
    state.abort(now);
    state.on_quiesced(false);
    assert!(matches!(state.next(now), Step::End(false)));
    let unknown = Err(refused(ErrorCode::INVALID_PRODUCER_ID_MAPPING));
    state.on_ended(false, unknown, now, Duration::ZERO);
    assert!(matches!(state.next(now), Step::Idle));
    let Some(Ended::Failed(error)) = state.ended(number) else {
        panic!("it is over: {state:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}

/// A coordinator that has answered still writes markers: what comes too early for it comes a little later in the next transactions.
#[test]
fn what_begins_a_transaction_waits_for_the_markers_of_the_last_one() {
    let (mut state, now) = ready(Flow::Explicit);
    let partitions = [TopicPartition::new("t", 0)];
    let begin = |state: &mut TransactionState| {
        state.begin(now);
        state.writes_to(partitions[0].clone());
    };
    let end = |state: &mut TransactionState| {
        state.on_partitions_added(&partitions, Ok(()), now, Duration::ZERO);
        state.commit(now);
        state.on_flushed(Ok(()), now);
        assert!(matches!(state.next(now), Step::End(true)));
        state.on_ended(true, Ok(None), now, Duration::ZERO);
    };
    begin(&mut state);
    end(&mut state);
    begin(&mut state);
    assert!(matches!(state.next(now), Step::AddPartitions(_)));
    let busy = Err(refused(ErrorCode::CONCURRENT_TRANSACTIONS));
    state.on_partitions_added(&partitions, busy, now, Duration::ZERO);
    end(&mut state);
    begin(&mut state);
    let Step::Until(moment) = state.next(now) else {
        panic!("{state:?}");
    };
    assert!(moment > now && moment < now + Duration::from_millis(1));
    assert!(matches!(state.next(moment), Step::AddPartitions(_)));
}
