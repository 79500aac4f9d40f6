//! What holds of a transactional id, whatever is asked of it, by whom, and in which order.

use proptest::prelude::*;

use super::*;
use crate::broker::storage::TransactionNote;

const V0: TransactionVersion = TransactionVersion::V0;
const V2: TransactionVersion = TransactionVersion::V2;
const TIMEOUT_MS: i32 = 5_000;

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Who {
    /// The producer that was given an id and epoch last.
    Last,
    Before,
    Nobody,
}

#[derive(Clone, Debug)]
enum Step {
    Init(Option<Who>),
    Add(Who, Vec<i32>),
    End(Who, bool),
    /// Time passes, so many seconds.
    Wait(u64),
    /// The markers of these partitions are written, of some once more.
    Marked(Vec<i32>),
    CoordinatorMoves,
    BrokerRestarts,
    /// As if there had been many transactions: so many epochs are left.
    FewEpochs(i16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = || {
        prop_oneof![
            6 => Just(Who::Last),
            2 => Just(Who::Before),
            1 => Just(Who::Nobody),
        ]
    };
    let partitions = || prop::collection::vec(0..4i32, 1..4);
    let step = prop_oneof![
        3 => prop::option::of(who()).prop_map(Step::Init),
        6 => (who(), partitions()).prop_map(|(who, partitions)| Step::Add(who, partitions)),
        6 => (who(), any::<bool>()).prop_map(|(who, commit)| Step::End(who, commit)),
        2 => (0..8u64).prop_map(Step::Wait),
        6 => partitions().prop_map(Step::Marked),
        1 => Just(Step::CoordinatorMoves),
        1 => Just(Step::BrokerRestarts),
        1 => (0..4i16).prop_map(Step::FewEpochs),
    ];
    prop::collection::vec(step, 1..80)
}

fn named(partitions: &[i32]) -> BTreeSet<TransactionPartition> {
    partitions.iter().map(|it| ("t".to_owned(), *it)).collect()
}

/// The id, and what an onlooker knows of it.
struct World {
    transaction: Transaction,
    server: TransactionVersion,
    client: TransactionVersion,
    now: Moment,
    last_id: i64,
    /// Who was given to clients.
    given: Vec<ProducerIdAndEpoch>,
    /// What was added to the transaction under way.
    added: BTreeSet<TransactionPartition>,
    /// Which markers of the one that ends are not written.
    owed: BTreeSet<TransactionPartition>,
}

impl World {
    fn new(server: TransactionVersion, client: TransactionVersion) -> Self {
        let now = Moment {
            instant: Instant::now(),
            ms: 1_000_000,
        };
        Self {
            transaction: Transaction::new(100, TIMEOUT_MS, now),
            server,
            client,
            now,
            last_id: 100,
            given: Vec::new(),
            added: BTreeSet::new(),
            owed: BTreeSet::new(),
        }
    }

    fn who(&self, who: Who) -> ProducerIdAndEpoch {
        let nth_last = match who {
            Who::Last => Some(1),
            Who::Before => Some(2),
            Who::Nobody => None,
        };
        let at = nth_last.and_then(|nth| self.given.len().checked_sub(nth));
        let nobody = ProducerIdAndEpoch { id: 7, epoch: 3 };
        at.map_or(nobody, |at| self.given[at])
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.ms += i64::try_from(time.as_millis()).expect("moments");
    }

    /// Does the step, as the coordinator does it; what must hold afterwards does.
    fn take(&mut self, step: &Step) {
        self.pass(Duration::from_millis(10));
        let (before, note) = (self.transaction.state, self.transaction.note());
        let producer = self.transaction.producer;
        let answer = match step {
            Step::Init(who) => {
                let expected = who.map(|who| self.who(who));
                self.init(expected).map(drop)
            }
            Step::Add(who, partitions) => self.add(self.who(*who), &named(partitions)),
            Step::End(who, commit) => self.end(self.who(*who), *commit),
            Step::Wait(seconds) => {
                self.wait(Duration::from_secs(*seconds));
                Ok(())
            }
            Step::Marked(partitions) => {
                self.mark(&named(partitions));
                Ok(())
            }
            Step::CoordinatorMoves => {
                self.transaction.moved(Duration::ZERO, self.now.instant);
                Ok(())
            }
            Step::BrokerRestarts => {
                self.restart();
                Ok(())
            }
            Step::FewEpochs(left) => {
                let is_given = self.given.last() == Some(&producer);
                if is_given && before != State::Ongoing && !self.transaction.is_ending() {
                    self.transaction.skip_to_epoch(EXHAUSTED_EPOCH - left);
                    self.given.push(self.transaction.producer);
                }
                Ok(())
            }
        };
        let is_init = matches!(step, Step::Init(_));
        match answer {
            Ok(()) => {}
            // A transaction under way is aborted by it.
            Err(ErrorCode::CONCURRENT_TRANSACTIONS) if is_init && before == State::Ongoing => {}
            Err(_) => assert_eq!(self.transaction.note(), note, "refused, and done: {step:?}"),
        }
        self.look(step, before, producer);
    }

    fn init(
        &mut self,
        expected: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let before = self.transaction.producer;
        let asked = InitProducer {
            timeout_ms: TIMEOUT_MS,
            expected,
        };
        let last_id = &mut self.last_id;
        let new_id = || {
            *last_id += 1;
            *last_id
        };
        let given = (self.transaction).init(&asked, self.server, new_id, self.now);
        self.note_decision();
        self.transaction.complete(self.now);
        if let Ok(given) = given {
            let is_again = expected.is_some() && given == before;
            assert!(is_again || !self.given.contains(&given), "{given:?} again");
            self.give(given);
        }
        if given == Err(ErrorCode::UNKNOWN_SERVER_ERROR) {
            let other = expected.is_some_and(|it| it.epoch != before.epoch);
            assert!(before.epoch >= EXHAUSTED_EPOCH && other, "{expected:?}");
        }
        given
    }

    fn give(&mut self, given: ProducerIdAndEpoch) {
        assert!(
            (0..=EXHAUSTED_EPOCH).contains(&given.epoch),
            "the last epoch is for fencing: {given:?}"
        );
        if self.given.last() != Some(&given) {
            self.given.push(given);
        }
    }

    fn add(
        &mut self,
        who: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
    ) -> Result<(), ErrorCode> {
        let before = self.transaction.producer;
        (self.transaction).add(who, partitions, self.client, self.now)?;
        assert_eq!(who, before, "only the newest may write");
        self.added.extend(partitions.iter().cloned());
        Ok(())
    }

    fn end(&mut self, who: ProducerIdAndEpoch, commit: bool) -> Result<(), ErrorCode> {
        let (before, producer) = (self.transaction.state, self.transaction.producer);
        let last_id = &mut self.last_id;
        let new_id = || {
            *last_id += 1;
            *last_id
        };
        let next = (self.transaction).end(who, commit, self.client, new_id, self.now)?;
        let is_decided = self.note_decision();
        self.transaction.complete(self.now);
        let is_again = match commit {
            true => before == State::CompleteCommit,
            false => before == State::CompleteAbort,
        };
        assert!(
            is_decided && who == producer || is_again,
            "{who:?} ended what is {producer:?}'s"
        );
        assert!(!commit || before == State::Ongoing || is_again);
        if self.client.bumps_epochs() {
            assert_ne!(next, who, "each transaction has an epoch of its own");
            self.give(next);
        }
        Ok(())
    }

    /// Lets time pass, and aborts what took too long.
    fn wait(&mut self, time: Duration) {
        self.pass(time);
        let now = self.now.instant;
        if (self.transaction.timeout()).is_some_and(|at| at <= now) {
            let last_id = &mut self.last_id;
            let new_id = || {
                *last_id += 1;
                *last_id
            };
            self.transaction.abort(self.server, new_id, self.now);
            self.note_decision();
            self.transaction.complete(self.now);
        }
    }

    fn mark(&mut self, partitions: &BTreeSet<TransactionPartition>) {
        for partition in partitions {
            self.transaction.marked(partition);
            self.owed.remove(partition);
        }
        self.transaction.complete(self.now);
    }

    fn restart(&mut self) {
        let note = self.transaction.note();
        let restored = Transaction::of(note.clone(), self.now).expect("a note of its own");
        let moved = TransactionNote {
            coordinator_epoch: note.coordinator_epoch + 1,
            ..note
        };
        assert_eq!(restored.note(), moved);
        assert_eq!(restored.timeout(), self.transaction.timeout());
        self.transaction = restored;
    }

    /// A transaction that was decided just now owes a marker to each of its partitions.
    fn note_decision(&mut self) -> bool {
        let is_decided = self.transaction.is_ending() && self.owed.is_empty();
        if is_decided {
            self.owed = std::mem::take(&mut self.added);
        }
        is_decided
    }

    fn look(&self, step: &Step, before: State, producer: ProducerIdAndEpoch) {
        let Transaction {
            state,
            producer: after,
            partitions,
            next_id,
            ..
        } = &self.transaction;
        let what = format!("{step:?}, {before:?} {producer:?}: {:?}", self.transaction);
        match state {
            State::Ongoing => {
                assert!(!partitions.is_empty() && self.owed.is_empty(), "{what}");
                assert_eq!(partitions, &self.added, "{what}");
                assert!(self.transaction.timeout().is_some(), "{what}");
            }
            State::PrepareCommit | State::PrepareAbort => {
                assert_eq!(partitions, &self.owed, "{what}");
                assert!(!partitions.is_empty(), "nothing is left to do: {what}");
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                assert!(partitions.is_empty() && self.owed.is_empty(), "{what}");
                assert!(self.added.is_empty(), "it ended by no decision: {what}");
                assert_eq!(*next_id, NO_PRODUCER_ID, "{what}");
                assert_eq!(self.transaction.timeout(), None, "{what}");
            }
        }
        let stays = match before {
            State::PrepareCommit => [State::PrepareCommit, State::CompleteCommit].contains(state),
            State::PrepareAbort => [State::PrepareAbort, State::CompleteAbort].contains(state),
            _ => true,
        };
        assert!(stays, "it was decided otherwise: {what}");
        let is_new = after.id > producer.id && after.epoch == 0;
        let is_later = after.id == producer.id && after.epoch >= producer.epoch;
        let was_exhausted = producer.epoch >= EXHAUSTED_EPOCH;
        assert!(is_later || is_new && was_exhausted, "{what}");
    }

    /// Somebody new takes over, whatever has been: when all markers are written, at once.
    fn is_taken_over(&mut self) {
        for _ in 0..3 {
            let all = self.owed.clone();
            self.mark(&all);
            match self.init(None) {
                Ok(given) => return assert_eq!(given, self.transaction.producer),
                Err(error) => assert_eq!(error, ErrorCode::CONCURRENT_TRANSACTIONS),
            }
        }
        panic!("nobody can take over: {:?}", self.transaction);
    }
}

proptest! {
    #[test]
    fn a_transaction_is_decided_once_and_epochs_never_fall(steps in steps()) {
        for (server, client) in [(V0, V0), (V2, V2), (V2, V0)] {
            let mut world = World::new(server, client);
            for step in &steps {
                world.take(step);
            }
            world.is_taken_over();
        }
    }
}

/// The random steps come to what they are about: transactions of each end, some of them by time, and producer ids that are used up.
#[test]
fn the_steps_that_are_drawn_lead_everywhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut committed, mut aborted, mut ids) = (0, 0, 0);
    for _ in 0..500 {
        let steps = steps().new_tree(&mut runner).expect("steps").current();
        let mut world = World::new(V2, V2);
        for step in &steps {
            let before = world.transaction.state;
            world.take(step);
            let after = world.transaction.state;
            committed += u32::from(after != before && after == State::CompleteCommit);
            aborted += u32::from(after != before && after == State::CompleteAbort);
        }
        ids += world.last_id - 100;
    }
    println!("{committed} committed, {aborted} aborted, {ids} ids");
    assert!(committed > 100 && aborted > 100 && ids > 20);
}
