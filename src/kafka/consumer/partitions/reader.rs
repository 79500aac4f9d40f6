//! One partition, read.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::readers::{Left, Standing, Taken};
use crate::kafka::consumer::fetch::batch_reader::{BatchDecoder, Room};
use crate::kafka::consumer::fetch::memory::ExcessOf;
use crate::kafka::consumer::hand_out::{ReadOn, read_on};
use crate::kafka::consumer::positions::Position;
use crate::kafka::consumer::{Acks, CommitSource, ConsumerHandle, Records};
use crate::kafka::runtime::{Budget, Excess};
use crate::kafka::{Result, TopicPartition};

/// Reads one partition: see [`Consumer::into_partitions`](crate::kafka::Consumer::into_partitions). May be moved to any task or thread.
///
/// Dropping it while the partition is assigned gives the partition back: [`Partitions::next`](super::Partitions::next) returns another reader of
/// it, which begins, where commits go by what was returned, with what this one had returned and not [finished](Self::finish).
pub struct PartitionReader {
    handle: ConsumerHandle,
    partition: TopicPartition,
    number: u64,
    wakeup: Arc<Notify>,
    /// Its share of the consumer's.
    budget: Arc<Budget>,
    decoder: BatchDecoder,
    excess: ExcessOf,
}

/// What came of looking for records.
enum Look {
    Records(Records),
    Nothing,
    /// There are some, and no room to decompress them.
    NoRoom,
    End,
}

impl fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionReader")
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}

impl PartitionReader {
    pub(super) fn new(handle: ConsumerHandle, taken: Taken) -> Self {
        let context = &handle.context;
        let budget = Budget::new(context.budget.limit(), Some(context.budget.clone()));
        Self {
            decoder: context.decoder(&budget),
            budget,
            excess: ExcessOf::default(),
            handle,
            partition: taken.partition,
            number: taken.number,
            wakeup: taken.wakeup,
        }
    }

    /// The partition that it reads.
    pub fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// For commits, seeks and pauses.
    pub fn handle(&self) -> ConsumerHandle {
        self.handle.clone()
    }

    /// What acknowledges the records, where commits go by that; see [`PartitionRecords::acks`](crate::kafka::consumer::PartitionRecords::acks).
    pub fn acks(&self) -> Acks {
        self.handle.acks(&self.partition).unwrap_or_default()
    }

    /// Waits for the next records, up to `max_poll_records`; `None` once the partition goes to another member or the consumer is closed: drop
    /// the reader then, so that nobody waits for it.
    ///
    /// Asking says that everything that it returned before is finished, which is what commits without named offsets go by.
    ///
    /// # Errors
    /// What is wrong with the partition, as [`Consumer::poll`](crate::kafka::Consumer::poll) says it: ask again, or seek first where the error says
    /// so. [`ErrorKind::Closed`](crate::kafka::ErrorKind::Closed) once the consumer is gone.
    ///
    /// Cancel safe: dropped, it has returned nothing, and skips nothing.
    pub async fn next(&mut self) -> Result<Option<Records>> {
        self.finish();
        let context = self.handle.context.clone();
        if !context.state().has_fetched(&self.partition) {
            // Lets the fetchers of a runtime with one thread go on before this keeps it busy.
            tokio::task::yield_now().await;
        }
        let wakeup = self.wakeup.clone();
        let mut granted = None;
        loop {
            let mut woken = pin!(wakeup.notified());
            let mut freed = pin!(context.budget.freed());
            woken.as_mut().enable();
            freed.as_mut().enable();
            match self.look(granted.take())? {
                Look::Records(records) => return Ok(Some(records)),
                Look::End => return Ok(None),
                Look::Nothing => woken.await,
                Look::NoRoom => {
                    tokio::select! {
                        biased;
                        excess = context.budget.excess() => granted = Some(excess),
                        () = woken => {}
                        () = freed => {}
                    }
                }
            }
        }
    }

    /// Says that everything that was returned is finished, without asking for more.
    pub fn finish(&mut self) {
        if let Some(readers) = &mut self.handle.context.state().readers {
            readers.finish(&self.partition, self.number);
        }
    }

    fn look(&mut self, granted: Option<Arc<Excess>>) -> Result<Look> {
        let context = self.handle.context.clone();
        context.check_open()?;
        match context.state().readers.as_mut() {
            None => return Ok(Look::End),
            Some(readers) => match readers.standing(&self.partition, self.number) {
                Standing::Read => {}
                Standing::Fail(error) => return Err(error),
                Standing::End => return Ok(Look::End),
            },
        }
        let look = self.read(granted);
        let mut state = context.state();
        let busy = match &look {
            Look::Records(_) => Some(Instant::now()),
            _ => None,
        };
        if let Some(readers) = &mut state.readers {
            readers.set_busy(&self.partition, self.number, busy);
        }
        if matches!(look, Look::Nothing) && state.positions.set_idle(&self.partition, false) {
            state.wake_fetcher(&self.partition);
        }
        Ok(look)
    }

    fn read(&mut self, mut granted: Option<Arc<Excess>>) -> Look {
        let context = &self.handle.context;
        let most = context.config.max_poll_records;
        let mut records = Records::default();
        let mut reading = None;
        let mut no_room = false;
        while records.count() < most {
            let next = context.state().next_of(&self.partition, reading.take());
            let Some(reader) = next else { break };
            let left = (most - records.count(), usize::MAX);
            let decoder = &mut self.decoder;
            let mut read = read_on(context, reader, decoder, left, Room::Left, &mut records);
            if let ReadOn::NoRoom(reader) = read {
                // One at a time may take what it needs, whatever is left: without it there is no progress.
                let excess = match records.is_empty() {
                    true => self.excess.take(granted.take(), &self.budget),
                    false => None,
                };
                let Some(excess) = excess else {
                    reading = Some(reader);
                    no_room = true;
                    break;
                };
                let room = Room::Alone(&excess);
                read = read_on(context, reader, decoder, left, room, &mut records);
            }
            match read {
                ReadOn::More(reader) | ReadOn::NoRoom(reader) => reading = Some(reader),
                ReadOn::Over => {}
            }
        }
        let mut state = context.state();
        if let Some(reading) = reading {
            state.put_back(reading);
        }
        if context.config.enable_partition_eof {
            let end = state.positions.take_end(&self.partition);
            records.ended(end.into_iter().collect());
        }
        drop(state);
        context.counters.read(records.count(), records.bytes());
        match () {
            () if !records.is_empty() || records.ends().next().is_some() => Look::Records(records),
            () if no_room => Look::NoRoom,
            () => Look::Nothing,
        }
    }
}

impl Drop for PartitionReader {
    fn drop(&mut self) {
        let context = &self.handle.context;
        let mut state = context.state();
        let Some(readers) = &mut state.readers else {
            return;
        };
        let Left::Again(Some(unfinished)) = readers.dropped(&self.partition, self.number) else {
            return;
        };
        let is_of_now = unfinished.topic_id == state.positions.topic_id(&self.partition);
        if context.config.commit_source == CommitSource::Polled && is_of_now {
            let position = Position {
                offset: unfinished.offset,
                leader_epoch: unfinished.leader_epoch,
            };
            state.positions.rewind(&self.partition, position);
            state.buffers.forget(&self.partition);
            drop(state);
            context.wake_all();
        }
    }
}
