//! The task of a transactional producer: does one step after the other, as the state says, and tells what became of it. Calls of the
//! application only ask for something and wait; what they asked for goes on when they are dropped.

use std::sync::Arc;

use protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, TxnOffsetCommitRequest,
};
use protocol::{ErrorCode, Request};
use tokio::time::{Duration, Instant, sleep_until};

use super::refusal::{Meaning, Refusal, has_moved};
use super::requests::{self, Asking, Offsets};
use super::state::{Flow, Step};
use super::transactions::Transactions;
use crate::kafka::cluster::{Answer, Channel, Target};
use crate::kafka::net::Connection;
#[cfg(planted_defects)]
use crate::kafka::planted;
use crate::kafka::producer::partition::queue::PartitionQueue;
use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
use crate::kafka::producer::state::ProducerState;
use crate::kafka::runtime::Backoff;
use crate::kafka::{Error, ErrorKind, Random, Result, TopicPartition, WriteOutcome};

/// Between two questions while the coordinator is busy with the transaction before: at first, and after some of them.
const SOON: Duration = Duration::from_millis(1);
const LATER: Duration = Duration::from_millis(10);
/// After so many of them it is no matter of moments.
const MANY: u32 = 20;

/// What the task works with.
pub(super) struct Coordinator {
    shared: Arc<ProducerState>,
    transactions: Arc<Transactions>,
    backoff: Backoff,
    random: Random,
    /// How often in a row the coordinator was busy.
    busy: u32,
}

impl Coordinator {
    pub fn new(shared: Arc<ProducerState>, transactions: Arc<Transactions>) -> Self {
        Self {
            backoff: shared.cluster.retry_backoff(),
            random: shared.cluster.random("transactions"),
            busy: 0,
            shared,
            transactions,
        }
    }

    /// Runs until the producer is stopped.
    pub async fn run(mut self) {
        while !self.shared.is_stopped() {
            let step = self.transactions.lock().state.next(Instant::now());
            match step {
                Step::Idle => {
                    // The last step may have been to see that there is nothing to do.
                    self.transactions.tell(|_, _| {});
                    self.transactions.asked().await;
                }
                Step::Until(moment) => {
                    tokio::select! {
                        biased;
                        () = self.transactions.asked() => {}
                        () = sleep_until(moment) => {}
                    }
                }
                step => self.take(step).await,
            }
        }
    }

    async fn take(&mut self, step: Step) {
        let identity = self.transactions.lock().state.identity();
        match (step, identity) {
            (Step::Init(known), _) => self.init(known).await,
            (Step::Flush, _) => {
                let result = self.flush().await;
                (self.transactions).tell(|state, now| state.on_flushed(result, now));
            }
            (Step::Quiesce, _) => {
                let needs_epoch = self.quiesce().await;
                (self.transactions).tell(|state, _| state.on_quiesced(needs_epoch));
            }
            (Step::AddPartitions(partitions), Some(identity)) => {
                self.add_partitions(identity, partitions).await;
            }
            (Step::AddOffsets(offsets), Some(identity)) => {
                self.add_offsets(identity, &offsets).await;
            }
            (Step::CommitOffsets(offsets), Some(identity)) => {
                self.commit_offsets(identity, &offsets).await;
            }
            (Step::End(commit), Some(identity)) => self.end(identity, commit).await,
            // There is no transaction without one.
            (_, None) | (Step::Idle | Step::Until(_), _) => {}
        }
    }

    async fn init(&mut self, known: Option<ProducerIdAndEpoch>) {
        let transactions = self.transactions.clone();
        let two_phase = transactions.two_phase();
        let newest = match two_phase {
            true => i16::MAX,
            false => InitProducerIdRequest::TWO_PHASE_FROM - 1,
        };
        let build = |version| match two_phase && version < InitProducerIdRequest::TWO_PHASE_FROM {
            true => Err(no_two_phase()),
            false => Ok(requests::init(
                transactions.transactional_id(),
                transactions.timeout(),
                two_phase,
                known,
                version,
            )),
        };
        let asked = self.ask(newest, build).await;
        let result = asked.and_then(|answer| {
            self.learn(&answer.connection);
            requests::identity_in(&answer)
        });
        let (result, pause) = self.judge(result);
        transactions.tell(|state, now| state.on_init(result, now, pause));
    }

    /// How transactions go there.
    fn learn(&self, connection: &Connection) {
        let flow = match connection.versions().has_epochs_of_transactions() {
            true => Flow::Implicit,
            false => Flow::Explicit,
        };
        self.transactions.lock().state.speaks(flow);
    }

    async fn add_partitions(
        &mut self,
        identity: ProducerIdAndEpoch,
        partitions: Vec<TopicPartition>,
    ) {
        let transactions = self.transactions.clone();
        let by = asking(&transactions, identity);
        let newest = AddPartitionsToTxnRequest::LAST_OF_CLIENTS;
        let asked = self.ask(newest, |_| Ok(requests::add_partitions(by, &partitions)));
        let result = asked.await;
        let result = result.and_then(|answer| requests::partitions_added(&answer, &partitions));
        let (result, pause) = self.judge(result);
        let mut refused = None;
        match &result {
            Ok(()) => self.admit(&partitions),
            // What waits for it says so when its time is over.
            Err(refusal) if refusal.meaning == Meaning::Again => {
                (self.shared).note_lack_of_producer_id(refusal.error.clone());
            }
            Err(refusal) => refused = Some(refusal.error.clone()),
        }
        transactions.tell(|state, now| state.on_partitions_added(&partitions, result, now, pause));
        if let Some(error) = refused {
            self.give_up(&partitions, &error);
        }
    }

    /// Nothing will be sent to partitions that cannot be added: what waits for that fails now.
    fn give_up(&self, partitions: &[TopicPartition], error: &Error) {
        let error = error.clone().with_outcome(WriteOutcome::NotWritten);
        let (_, queues) = self.joined(partitions);
        self.cancel(&queues, &error);
    }

    fn admit(&self, partitions: &[TopicPartition]) {
        let (number, queues) = self.joined(partitions);
        for queue in queues {
            queue.admitted(number);
        }
    }

    /// The number of the transaction, and the queues of those of `partitions` that it writes to.
    fn joined(&self, partitions: &[TopicPartition]) -> (u64, Vec<Arc<PartitionQueue>>) {
        let inner = self.transactions.lock();
        let queues = partitions.iter().filter_map(|it| inner.joined.get(it));
        (inner.state.number(), queues.cloned().collect())
    }

    /// Fails what was not sent of these.
    fn cancel(&self, queues: &[Arc<PartitionQueue>], error: &Error) {
        for queue in queues {
            let given_up = queue.cancel(error, &self.shared.memory);
            self.shared.records_failed(queue, &given_up);
        }
    }

    async fn add_offsets(&mut self, identity: ProducerIdAndEpoch, offsets: &Offsets) {
        let transactions = self.transactions.clone();
        let by = asking(&transactions, identity);
        let asked = self.ask(i16::MAX, |_| Ok(requests::add_offsets(by, offsets)));
        let result = asked.await;
        let result = result.and_then(|answer| requests::offsets_added(&answer));
        let result = result.map_err(|error| names_group(error, offsets));
        let (result, pause) = self.judge(result);
        transactions.tell(|state, now| state.on_offsets_added(result, now, pause));
    }

    async fn commit_offsets(&mut self, identity: ProducerIdAndEpoch, offsets: &Offsets) {
        let transactions = self.transactions.clone();
        let by = asking(&transactions, identity);
        let flow = transactions.lock().state.flow();
        let newest = requests::newest_commit_version(flow, offsets);
        let group = Target::GroupCoordinator(&offsets.group.group_id);
        let build = |version| requests::commit_offsets(by, offsets, version);
        let asked = self.ask_at::<TxnOffsetCommitRequest>(group, newest, build);
        let result = asked.await;
        let result = result.and_then(|answer| requests::offsets_committed(&answer, offsets));
        if let Err(error) = &result {
            self.note_move(group, error);
        }
        let result = result.map_err(|error| names_group(error, offsets));
        let (result, pause) = self.paced(result);
        transactions.tell(|state, now| state.on_offsets_committed(result, now, pause));
    }

    async fn end(&mut self, identity: ProducerIdAndEpoch, commit: bool) {
        let transactions = self.transactions.clone();
        let by = asking(&transactions, identity);
        let newest = match transactions.lock().state.flow() {
            Flow::Explicit => EndTxnRequest::NEXT_EPOCH_FROM - 1,
            Flow::Implicit => i16::MAX,
        };
        let asked = self.ask(newest, |_| Ok(requests::end(by, commit))).await;
        let result = asked.and_then(|answer| {
            self.learn(&answer.connection);
            requests::ended(&answer)
        });
        let (result, pause) = self.judge(result);
        transactions.tell(|state, now| state.on_ended(commit, result, now, pause));
    }

    /// Asks the coordinator of the transactional id once.
    async fn ask<R: Request>(
        &self,
        newest: i16,
        build: impl Fn(i16) -> Result<R>,
    ) -> Result<Answer<R>> {
        let target = Target::TransactionCoordinator(self.transactions.transactional_id());
        self.ask_at(target, newest, build).await
    }

    async fn ask_at<R: Request>(
        &self,
        target: Target<'_>,
        newest: i16,
        build: impl Fn(i16) -> Result<R>,
    ) -> Result<Answer<R>> {
        let cluster = &self.shared.cluster;
        let deadline = Instant::now() + cluster.config().request_timeout;
        cluster.found(deadline).await?;
        cluster
            .ask(target, Channel::Shared, newest, deadline, build)
            .await
    }

    /// What the coordinator of the transactional id has said, and how long to pause before it is asked again.
    fn judge<T>(&mut self, result: Result<T>) -> (Result<T, Refusal>, Duration) {
        if let Err(error) = &result {
            let target = Target::TransactionCoordinator(self.transactions.transactional_id());
            self.note_move(target, error);
        }
        self.paced(result)
    }

    fn note_move(&self, target: Target<'_>, error: &Error) {
        if error.server_error().is_some_and(has_moved) {
            self.shared.cluster.reroute(target);
        }
    }

    fn paced<T>(&mut self, result: Result<T>) -> (Result<T, Refusal>, Duration) {
        let error = match result {
            Ok(done) => {
                self.backoff.succeeded();
                self.busy = 0;
                return (Ok(done), Duration::ZERO);
            }
            Err(error) => self.transactions.names_id(error),
        };
        // It writes the markers of the transaction before: a matter of moments.
        let is_busy = error.server_error() == Some(ErrorCode::CONCURRENT_TRANSACTIONS);
        self.busy += u32::from(is_busy);
        let pause = match is_busy && self.busy <= MANY {
            true => Backoff::pause(SOON, LATER, self.busy, &mut self.random),
            false => self.backoff.failed(&mut self.random),
        };
        (Err(error.into()), pause)
    }

    /// Sends everything, and waits until it is written; fails as soon as something of it is not.
    async fn flush(&self) -> Result<()> {
        let failures = self.transactions.failures();
        for queue in self.transactions.joined() {
            #[cfg(planted_defects)]
            if planted::is_planted(planted::Defect::EndsBeforeWritten) {
                queue.flush(&self.shared.memory);
                continue;
            }
            for completion in queue.flush(&self.shared.memory) {
                // Which one fails first is of no matter: what is left is given up then.
                completion.resolved().await?;
            }
        }
        failures.first().map_or(Ok(()), Err)
    }

    /// Gives up what was not sent, and waits for what was. Whether a partition needs another epoch.
    async fn quiesce(&self) -> bool {
        #[cfg(planted_defects)]
        if planted::is_planted(planted::Defect::AbortedGoesOn) {
            return false;
        }
        let text = "the transaction was aborted before the record was sent";
        let error =
            Error::new(ErrorKind::TransactionAborted, text).with_outcome(WriteOutcome::NotWritten);
        let queues = self.transactions.joined();
        self.cancel(&queues, &error);
        let mut needs_epoch = false;
        for queue in &queues {
            for completion in queue.flush(&self.shared.memory) {
                // Written or not, it is not to be seen.
                let _ = completion.resolved().await;
            }
            needs_epoch |= !queue.lock().sequencer.is_in_epoch();
        }
        needs_epoch
    }
}

fn asking(transactions: &Transactions, identity: ProducerIdAndEpoch) -> Asking<'_> {
    Asking {
        transactional_id: transactions.transactional_id(),
        identity,
    }
}

/// Says which group it was that the client may not commit for.
fn names_group(error: Error, offsets: &Offsets) -> Error {
    match error.server_error() {
        Some(ErrorCode::GROUP_AUTHORIZATION_FAILED) => {
            error.prefixed(&format!("group {:?}", offsets.group.group_id))
        }
        _ => error,
    }
}

fn no_two_phase() -> Error {
    Error::new(
        ErrorKind::UnsupportedVersion,
        "the broker offers no two-phase commit (KIP-939): in Kafka 4.4 it does where unstable.api.versions.enable is set",
    )
}
