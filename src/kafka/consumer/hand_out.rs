//! From what was fetched to what is returned: one buffered fetch is read on, and its position moves with what is handed out, not before.

use super::Records;
use super::fetch::batch_reader::{BatchDecoder, BatchReader, Room, Step};
use super::handle::to_commit;
use super::records::Batch;
use super::state::{ConsumerContext, ConsumerState};
use crate::kafka::TopicPartition;

/// What became of reading on.
pub(super) enum ReadOn {
    /// There may be more.
    More(BatchReader),
    /// What is next needs more memory than is left; there are records to go on with.
    NoRoom(BatchReader),
    /// There is no more, or it is not to be read.
    Over,
}

/// Reads on, up to `most` records of one batch, and no more than it takes to reach `bytes`: into `records`.
pub(super) fn read_on(
    context: &ConsumerContext,
    mut reader: BatchReader,
    decoder: &mut BatchDecoder,
    (most, bytes): (usize, usize),
    room: Room<'_>,
    records: &mut Records,
) -> ReadOn {
    let from = reader.position.offset;
    let acknowledged = context.to_hand_out(&reader.partition, from);
    let (most, passed) = match acknowledged {
        Some((room, finished)) => (most.min(room), finished),
        None => (most, None),
    };
    match reader.read(most, bytes, passed, room, decoder) {
        Ok(Step::NoRoom) => return ReadOn::NoRoom(reader),
        Ok(Step::End) => {
            let mut state = context.state();
            state
                .positions
                .buffered_read(&reader.partition, reader.version);
            state.wake_fetcher(&reader.partition);
            drop(state);
            context.budget.look_again();
            return ReadOn::Over;
        }
        Ok(step) => {
            let mut state = context.state();
            let handed_out = match step {
                Step::Records(batch) => Some(batch),
                _ => None,
            };
            if !state.hand_out(&reader, from, handed_out, records) {
                return ReadOn::Over;
            }
        }
        Err(error) => {
            context.stopped(&reader.partition, reader.version, error);
            return ReadOn::Over;
        }
    }
    records.moved(&reader.partition, reader.position, reader.topic_id);
    ReadOn::More(reader)
}

/// Why a buffered fetch is not read.
enum NotRead {
    /// Not now: it was set aside.
    Wait,
    /// Not ever.
    Useless,
}

impl ConsumerState {
    /// The next buffered fetch that may be read now. `reading` is the one that was read last, if it has more.
    pub fn next_reader(&mut self, mut reading: Option<BatchReader>) -> Option<BatchReader> {
        while let Some(reader) = reading.take().or_else(|| self.buffers.next()) {
            if let Ok(reader) = self.turn_of(reader) {
                return Some(reader);
            }
        }
        None
    }

    /// As [`next_reader`](Self::next_reader), of one partition.
    pub fn next_of(
        &mut self,
        partition: &TopicPartition,
        mut reading: Option<BatchReader>,
    ) -> Option<BatchReader> {
        while let Some(reader) = reading.take().or_else(|| self.buffers.next_of(partition)) {
            match self.turn_of(reader) {
                Ok(reader) => return Some(reader),
                Err(NotRead::Wait) => return None,
                Err(NotRead::Useless) => {}
            }
        }
        None
    }

    fn turn_of(&mut self, reader: BatchReader) -> Result<BatchReader, NotRead> {
        let BatchReader {
            partition,
            version,
            position,
            ..
        } = &reader;
        let readable = (self.positions).readable(partition, *version, position.offset);
        match readable {
            Some(true) if !self.withholds(&reader.partition) => Ok(reader),
            Some(_) => {
                self.buffers.set_aside(reader);
                Err(NotRead::Wait)
            }
            None => {
                self.positions.useless(partition, *version, position.offset);
                self.wake_fetcher(&reader.partition);
                Err(NotRead::Useless)
            }
        }
    }

    /// What of `reader` is not read yet is read the next time.
    pub fn put_back(&mut self, reader: BatchReader) {
        if self.positions.holds(&reader.partition) {
            self.buffers.set_aside(reader);
        }
    }

    fn withholds(&mut self, partition: &TopicPartition) -> bool {
        let acknowledged = self.progress.acknowledged();
        acknowledged.is_some_and(|acknowledged| acknowledged.withholds(partition))
    }

    /// Reads on where nothing is withheld any more.
    pub fn release_withheld(&mut self) {
        let Some(acknowledged) = self.progress.acknowledged() else {
            return;
        };
        for released in acknowledged.take_released() {
            self.buffers.resume(&released);
            self.wake_reader(&released);
        }
    }

    /// `reader` was read on: what it has come to since it was at `from`, and the position after it. `false` when nothing of it is to be handed
    /// out, because of a seek or a revocation in the meantime.
    pub fn hand_out(
        &mut self,
        reader: &BatchReader,
        from: i64,
        batch: Option<Batch>,
        records: &mut Records,
    ) -> bool {
        let BatchReader {
            partition,
            version,
            position,
            topic_id,
            ..
        } = reader;
        if let Some(readers) = &mut self.readers {
            let (positions, topic) = (&self.positions, *topic_id);
            readers.hand_out(partition, || {
                Some(to_commit(positions.position(partition)?, topic))
            });
        }
        if !self.positions.advance(partition, *version, *position) {
            return false;
        }
        let acknowledged = self.progress.acknowledged();
        let Some(mut batch) = batch else {
            if let Some(acknowledged) = acknowledged {
                acknowledged.passed(partition, *topic_id, from, position.offset);
            }
            return true;
        };
        if let Some(acknowledged) = acknowledged {
            batch.acks = acknowledged.handed_out(&batch, from);
        }
        let newest = batch.records.header().max_timestamp;
        self.positions.handed_out_at(partition, newest);
        records.push(batch);
        true
    }
}
