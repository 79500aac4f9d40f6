//! From what was fetched to what is returned: one buffered fetch is read on, and its position moves with what is handed out, not before.

use super::Records;
use super::fetch::batch_reader::{BatchDecoder, BatchReader, Room, Step};
use super::state::ConsumerContext;

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
    room: Room,
    records: &mut Records,
) -> ReadOn {
    let from = reader.position.offset;
    let passed = context.finished_from(&reader.partition, from);
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
