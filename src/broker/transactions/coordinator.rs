//! All transactional ids of the cluster, as Kafka's transaction coordinators keep them.
//!
//! Requests come in with what time it is. Nothing in here knows tasks or sockets: whoever owns it calls [`TransactionCoordinator::expire`] when
//! [`TransactionCoordinator::next_deadline`] has passed, and then writes the markers that are due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::ErrorCode;
use protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use tokio::time::Instant;

use super::transaction::NO_TIMEOUT_MS;
use super::{
    Enlistment, InitProducer, Marker, Moment, ProducerIdAndEpoch, State, Transaction,
    TransactionPartition, TransactionVersion,
};
use crate::broker::storage::{Change, Key, TransactionNote};

/// How long a marker that could not be written waits.
const MARKER_RETRY: Duration = Duration::from_millis(100);

/// How transactions behave; names and defaults are Kafka's.
#[derive(Clone, Debug)]
pub(crate) struct TransactionSettings {
    /// The feature `transaction.version`.
    pub(crate) version: TransactionVersion,
    /// `transaction.max.timeout.ms`.
    pub(crate) max_timeout: Duration,
    /// `transactional.id.expiration.ms`.
    pub(crate) id_expiration: Duration,
    /// `producer.id.expiration.ms`.
    pub(crate) producer_id_expiration: Duration,
    /// `transaction.two.phase.commit.enable`.
    pub(crate) two_phase_commit: bool,
    /// How long a coordinator that takes over is loading.
    pub(crate) load_time: Duration,
}

impl Default for TransactionSettings {
    fn default() -> Self {
        Self {
            version: TransactionVersion::V2,
            max_timeout: Duration::from_secs(15 * 60),
            id_expiration: Duration::from_secs(7 * 24 * 60 * 60),
            producer_id_expiration: Duration::from_secs(24 * 60 * 60),
            two_phase_commit: false,
            load_time: Duration::ZERO,
        }
    }
}

/// InitProducerId, as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitRequest {
    pub(crate) timeout_ms: i32,
    pub(crate) expected: Option<ProducerIdAndEpoch>,
    /// Somebody else says when the transactions end (KIP-939).
    pub(crate) two_phase_commit: bool,
    pub(crate) keep_prepared: bool,
}

/// The markers of one transaction that are to be written.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) transactional_id: String,
    pub(crate) marker: Marker,
    pub(crate) partitions: Vec<TransactionPartition>,
    /// Leaders that answer late, and until when.
    pub(crate) delayed: BTreeMap<i32, Instant>,
}

/// All transactional ids.
#[derive(Debug, Default)]
pub(crate) struct TransactionCoordinator {
    settings: TransactionSettings,
    transactions: BTreeMap<String, Transaction>,
    /// Where they are kept: what has changed since.
    changed: Option<BTreeSet<String>>,
}

impl TransactionCoordinator {
    pub(crate) fn new(settings: TransactionSettings) -> Self {
        Self {
            settings,
            transactions: BTreeMap::new(),
            changed: None,
        }
    }

    /// From now on [`changes`](Self::changes) tells what has to be kept.
    pub(crate) fn is_kept(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Takes back an id that was kept. False where that means nothing.
    pub(crate) fn restore(&mut self, id: &str, note: TransactionNote, now: Moment) -> bool {
        let restored = Transaction::of(note, now);
        let restored = restored.map(|transaction| {
            self.transactions.insert(id.to_owned(), transaction);
            self.note_change(id);
        });
        restored.is_some()
    }

    /// Whether a producer has this partition in a transaction.
    pub(crate) fn covers(&self, producer_id: i64, partition: &TransactionPartition) -> bool {
        self.transactions.values().any(|transaction| {
            let is_open = transaction.state == State::Ongoing || transaction.is_ending();
            is_open
                && transaction.producer.id == producer_id
                && transaction.partitions.contains(partition)
        })
    }

    /// What has to be kept, until [`kept`](Self::kept) is told that it is.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let change = |id: &String| {
            let key = Key::Transaction(id.clone());
            match self.transactions.get(id) {
                Some(transaction) => Change::put(&key, &transaction.note().to_bytes()),
                None => Change::remove(&key),
            }
        };
        self.changed.iter().flatten().map(change).collect()
    }

    /// The changes are kept.
    pub(crate) fn kept(&mut self) {
        if let Some(changed) = &mut self.changed {
            changed.clear();
        }
    }

    fn note_change(&mut self, id: &str) {
        if let Some(changed) = &mut self.changed {
            changed.insert(id.to_owned());
        }
    }

    /// What of InitProducerId is refused whoever the coordinator is.
    pub(crate) fn check_init(&self, id: &str, asked: &InitRequest) -> Result<(), ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        if asked.two_phase_commit && !self.settings.two_phase_commit {
            return Err(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        }
        if asked.keep_prepared {
            // Kafka 4.4 has no answer to it.
            return Err(ErrorCode::UNSUPPORTED_VERSION);
        }
        let timeout = u64::try_from(asked.timeout_ms).map(Duration::from_millis);
        let max = self.settings.max_timeout;
        let is_allowed = timeout.is_ok_and(|timeout| !timeout.is_zero() && timeout <= max);
        match asked.two_phase_commit || is_allowed {
            true => Ok(()),
            false => Err(ErrorCode::INVALID_TRANSACTION_TIMEOUT),
        }
    }

    /// InitProducerId, after [`check_init`](Self::check_init).
    pub(crate) fn init(
        &mut self,
        id: &str,
        asked: &InitRequest,
        mut new_id: impl FnMut() -> i64,
        now: Moment,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.check_loaded(id, now)?;
        let timeout_ms = match asked.two_phase_commit {
            true => NO_TIMEOUT_MS,
            false => asked.timeout_ms,
        };
        let transaction = self
            .transactions
            .entry(id.to_owned())
            .or_insert_with(|| Transaction::new(new_id(), timeout_ms, now));
        let asked = InitProducer {
            timeout_ms,
            expected: asked.expected,
        };
        let given = transaction.init(&asked, self.settings.version, new_id, now);
        // Without partitions there is no marker to wait for.
        transaction.complete(now);
        self.note_change(id);
        given
    }

    /// AddPartitionsToTxn.
    pub(crate) fn add(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
        version: TransactionVersion,
        now: Moment,
    ) -> Result<(), ErrorCode> {
        let added = self.known(id, now)?.add(producer, partitions, version, now);
        self.note_change(id);
        added
    }

    /// Whether partitions are in a transaction: what is refused, and why.
    pub(crate) fn verify(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
        now: Moment,
    ) -> Result<BTreeMap<TransactionPartition, ErrorCode>, ErrorCode> {
        let transaction = self.known(id, now)?;
        transaction.verify(producer)?;
        let missing = partitions.difference(&transaction.partitions);
        let refused = |partition: &TransactionPartition| {
            (partition.clone(), ErrorCode::TRANSACTION_ABORTABLE)
        };
        Ok(missing.map(refused).collect())
    }

    /// Adds or verifies, as a request of a client wants it: what is refused, and why.
    pub(crate) fn enlist(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TransactionPartition>,
        how: Enlistment,
        now: Moment,
    ) -> BTreeMap<TransactionPartition, ErrorCode> {
        let answer = match how.adds() {
            true => self
                .add(id, producer, partitions, TransactionVersion::V2, now)
                .map(|()| BTreeMap::new()),
            false => self.verify(id, producer, partitions, now),
        };
        answer.unwrap_or_else(|error| partitions.iter().map(|it| (it.clone(), error)).collect())
    }

    /// EndTxn.
    pub(crate) fn end(
        &mut self,
        id: &str,
        producer: ProducerIdAndEpoch,
        commit: bool,
        version: TransactionVersion,
        new_id: impl FnOnce() -> i64,
        now: Moment,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        let transaction = self.known(id, now)?;
        let ended = transaction.end(producer, commit, version, new_id, now);
        transaction.complete(now);
        self.note_change(id);
        ended
    }

    fn known(&mut self, id: &str, now: Moment) -> Result<&mut Transaction, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.check_loaded(id, now)?;
        let transaction = self.transactions.get_mut(id);
        transaction.ok_or(ErrorCode::INVALID_PRODUCER_ID_MAPPING)
    }

    fn check_loaded(&self, id: &str, now: Moment) -> Result<(), ErrorCode> {
        let transaction = self.transactions.get(id);
        match transaction.is_some_and(|transaction| transaction.is_loading(now.instant)) {
            true => Err(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
            false => Ok(()),
        }
    }

    /// DescribeTransactions, of one id.
    pub(crate) fn describe(&self, id: &str, now: Moment) -> Result<TransactionState, ErrorCode> {
        if id.is_empty() {
            return Err(ErrorCode::INVALID_REQUEST);
        }
        self.check_loaded(id, now)?;
        let transaction = self.transactions.get(id);
        let transaction = transaction.ok_or(ErrorCode::TRANSACTIONAL_ID_NOT_FOUND)?;
        let mut topics: Vec<TopicData> = Vec::new();
        for (topic, partition) in &transaction.partitions {
            match topics.last_mut().filter(|last| last.topic == *topic) {
                Some(last) => last.partitions.push(*partition),
                None => topics.push(TopicData {
                    topic: topic.clone(),
                    partitions: vec![*partition],
                    ..Default::default()
                }),
            }
        }
        Ok(TransactionState {
            transactional_id: id.to_owned(),
            transaction_state: transaction.state.name().to_owned(),
            transaction_timeout_ms: transaction.timeout_ms,
            transaction_start_time_ms: transaction.start_ms,
            producer_id: transaction.producer.id,
            producer_epoch: transaction.producer.epoch,
            topics,
            ..Default::default()
        })
    }

    /// Every transactional id and its state.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&str, &Transaction)> {
        self.transactions
            .iter()
            .map(|(id, transaction)| (id.as_str(), transaction))
    }

    /// Whether any of the ids is being loaded.
    pub(crate) fn is_loading(&self, now: Moment) -> bool {
        (self.transactions.values()).any(|transaction| transaction.is_loading(now.instant))
    }

    /// The transactions whose markers are to be written now. They are due again unless they are written meanwhile.
    pub(crate) fn due_markers(&mut self, now: Moment) -> Vec<Ending> {
        let mut due = Vec::new();
        for (id, transaction) in &mut self.transactions {
            if !transaction.is_ending() || transaction.markers_due > now.instant {
                continue;
            }
            transaction.markers_due = now.instant + MARKER_RETRY;
            due.push(Ending {
                transactional_id: id.clone(),
                marker: Marker {
                    producer: transaction.producer,
                    commit: transaction.state == State::PrepareCommit,
                    coordinator_epoch: transaction.coordinator_epoch,
                    version: transaction.version,
                },
                partitions: transaction.partitions.iter().cloned().collect(),
                delayed: transaction.delayed.clone(),
            });
        }
        due
    }

    /// These markers are written, or never will be; these leaders answer only then.
    pub(crate) fn markers_written(
        &mut self,
        ending: &Ending,
        done: &[TransactionPartition],
        late: impl IntoIterator<Item = (i32, Instant)>,
        now: Moment,
    ) {
        let transaction = self.transactions.get_mut(&ending.transactional_id);
        // It may have ended by the hand of another coordinator meanwhile.
        let Some(transaction) = transaction.filter(|it| it.producer == ending.marker.producer)
        else {
            return;
        };
        done.iter()
            .for_each(|partition| transaction.marked(partition));
        for (node, until) in late {
            transaction.delayed.insert(node, until);
            transaction.markers_due = transaction.markers_due.min(until);
        }
        transaction.complete(now);
        self.note_change(&ending.transactional_id);
    }

    /// Markers are tried at once: there may be leaders again.
    pub(crate) fn retry_markers(&mut self, now: Instant) {
        for transaction in self.transactions.values_mut() {
            if transaction.is_ending() && !transaction.is_loading(now) {
                transaction.markers_due = now;
            }
        }
    }

    /// When something happens by itself, if nothing else does before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let expiration = self.settings.id_expiration;
        let deadline = |transaction: &Transaction| match transaction.is_ending() {
            true => Some(transaction.markers_due),
            false => transaction.timeout().or(transaction.expiry(expiration)),
        };
        self.transactions.values().filter_map(deadline).min()
    }

    /// Aborts transactions that took too long, and forgets ids that nobody has used for long.
    pub(crate) fn expire(&mut self, mut new_id: impl FnMut() -> i64, now: Moment) {
        let TransactionSettings {
            version,
            id_expiration,
            ..
        } = self.settings;
        let changed = &mut self.changed;
        self.transactions.retain(|id, transaction| {
            let is_late = transaction.timeout().is_some_and(|at| at <= now.instant);
            if is_late {
                transaction.abort(version, &mut new_id, now);
                transaction.complete(now);
            }
            let expiry = transaction.expiry(id_expiration);
            let is_in_use = expiry.is_none_or(|at| at > now.instant);
            if let Some(changed) = changed.as_mut().filter(|_| is_late || !is_in_use) {
                changed.insert(id.clone());
            }
            is_in_use
        });
    }

    /// The ids of all transactions.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.transactions.keys().cloned().collect()
    }

    /// What a move of the coordinator does.
    pub(crate) fn coordinator_moved(&mut self, moved: impl Fn(&str) -> bool, now: Instant) {
        let load_time = self.settings.load_time;
        for (id, transaction) in self.transactions.iter_mut().filter(|(id, _)| moved(id)) {
            transaction.moved(load_time, now);
            if let Some(changed) = &mut self.changed {
                changed.insert(id.clone());
            }
        }
    }

    /// Raises the epoch of a producer, for tests.
    pub(crate) fn skip_to_epoch(&mut self, id: &str, epoch: i16) -> bool {
        let transaction = self.transactions.get_mut(id);
        transaction.map(|it| it.skip_to_epoch(epoch)).is_some()
    }
}
