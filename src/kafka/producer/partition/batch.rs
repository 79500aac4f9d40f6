//! A batch's bytes between leaving the accumulator and being resolved: sealed once, renumbered when its sequence changes, split when
//! a broker finds it too large. It is owned by the sequencer or by the request that carries it; its memory is pooled only after it was
//! released here (KAFKA-19012).

use bytes::Bytes;
use protocol::compression::{Compression, Compressor, Decompressor};
use protocol::records::{BatchBuilder, RecordBatch, RecordView, SealOptions, SealedBatch, reclaim};
use tokio::time::Instant;

use super::accumulator::OpenBatch;
use super::sequenced::BatchSequence;
use crate::kafka::producer::completion::Part;
use crate::kafka::producer::memory::MemoryBudget;
use crate::kafka::{Error, ErrorKind, Result};

/// The bytes of a batch, the duty to its records, and what its memory counts for.
#[derive(Debug)]
pub(crate) struct ProducerBatch {
    payload: Payload,
    pub part: Part,
    pub opened: Instant,
    charged: usize,
}

/// A record that a broker refused, by its place in the batch, and what it said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    pub place: u32,
    pub message: Option<String>,
}

#[derive(Debug)]
enum Payload {
    Open(BatchBuilder),
    Sealed(SealedBatch, Option<BatchSequence>),
    /// Only while one of the others is turned into another.
    Empty,
}

impl From<OpenBatch> for ProducerBatch {
    fn from(batch: OpenBatch) -> Self {
        Self {
            payload: Payload::Open(batch.builder),
            part: batch.part,
            opened: batch.opened,
            charged: batch.charged,
        }
    }
}

impl ProducerBatch {
    /// Number of bytes before compression.
    pub fn uncompressed_len(&self) -> usize {
        match &self.payload {
            Payload::Open(builder) => builder.len(),
            Payload::Sealed(sealed, _) => sealed.uncompressed_len(),
            Payload::Empty => 0,
        }
    }

    /// Number of records.
    pub fn count(&self) -> u32 {
        match &self.payload {
            Payload::Open(builder) => builder.count(),
            Payload::Sealed(sealed, _) => sealed.count(),
            Payload::Empty => 0,
        }
    }

    /// The batch as it goes to the wire under `sequence`: compresses and seals what is open, and renumbers what was sealed otherwise.
    pub fn bytes(&mut self, sequence: Option<BatchSequence>, compressor: &mut Compressor) -> Bytes {
        let options = self.options(sequence);
        let sealed = match std::mem::replace(&mut self.payload, Payload::Empty) {
            Payload::Open(builder) => builder.seal(&options, compressor),
            Payload::Sealed(mut sealed, old) => {
                if old != sequence {
                    let new = options;
                    sealed.restamp(new.producer_id, new.producer_epoch, new.base_sequence);
                }
                sealed
            }
            Payload::Empty => return Bytes::new(),
        };
        // Shared with the request from here on; `release` gets the memory back when the request is done with it.
        let bytes = sealed.bytes().clone();
        self.payload = Payload::Sealed(sealed, sequence);
        bytes
    }

    /// Cuts off the first records: as many as take `bytes` before compression, one at least, and not all. Leaves all as it was when it
    /// fails; there must be two records or more.
    pub fn split_front(
        &mut self,
        bytes: usize,
        decompressor: &mut Decompressor,
    ) -> Result<ProducerBatch> {
        let [front, rest] = cut(self.sealed()?, bytes, decompressor)?;
        let charged = self.charged / 2;
        let front = ProducerBatch {
            part: self.part.split_off_front(front.count()),
            payload: Payload::Open(front),
            opened: self.opened,
            charged,
        };
        self.payload = Payload::Open(rest);
        self.charged -= charged;
        Ok(front)
    }

    /// Takes out some records, but not all of them, and returns the duties to them. Leaves all as it was when it fails.
    pub fn take_out(
        &mut self,
        refused: &[RefusedRecord],
        decompressor: &mut Decompressor,
    ) -> Result<Vec<Part>> {
        let sealed = self.sealed()?;
        let mut rest = BatchBuilder::new(Vec::with_capacity(sealed.uncompressed_len()));
        let mut places = refused.iter().map(|refused| refused.place).peekable();
        read(sealed, decompressor, |place, record| {
            if places.next_if_eq(&place).is_none() {
                append(&mut rest, record)?;
            }
            Ok(())
        })?;
        self.payload = Payload::Open(rest);
        Ok(self.take_out_all(refused))
    }

    /// The duties to some records, which may be all of them, when nothing of the batch is sent again.
    pub fn take_out_all(&mut self, refused: &[RefusedRecord]) -> Vec<Part> {
        let places: Vec<_> = refused.iter().map(|refused| refused.place).collect();
        self.part.take_out(&places)
    }

    /// The batch in a form that can be read: one that was never sent is sealed without compression, to be split.
    fn sealed(&mut self) -> Result<&SealedBatch> {
        let options = self.options(None);
        self.payload = match std::mem::replace(&mut self.payload, Payload::Empty) {
            Payload::Open(builder) => {
                let mut compressor = Compressor::new(Compression::NONE);
                Payload::Sealed(builder.seal(&options, &mut compressor), None)
            }
            payload => payload,
        };
        match &self.payload {
            Payload::Sealed(sealed, _) => Ok(sealed),
            _ => Err(unreadable()),
        }
    }

    fn options(&self, sequence: Option<BatchSequence>) -> SealOptions {
        let options = SealOptions {
            transactional: self.part.completion().is_transactional(),
            ..SealOptions::default()
        };
        match sequence {
            Some(sequence) => SealOptions {
                producer_id: sequence.producer_id.id,
                producer_epoch: sequence.producer_id.epoch,
                base_sequence: sequence.base_sequence,
                ..options
            },
            None => options,
        }
    }

    /// Gives the memory back. The duty to the records comes out: resolving it wakes them.
    pub fn release(self, memory: &MemoryBudget) -> Part {
        memory.release(self.charged);
        let buffer = match self.payload {
            Payload::Open(builder) => Some(builder.into_buffer()),
            Payload::Sealed(sealed, _) => reclaim(sealed.into_bytes()),
            Payload::Empty => None,
        };
        if let Some(buffer) = buffer {
            memory.give(buffer);
        }
        self.part
    }
}

/// The records of `batch` in two new batches, the first of which has about `bytes`.
fn cut(
    batch: &SealedBatch,
    bytes: usize,
    decompressor: &mut Decompressor,
) -> Result<[BatchBuilder; 2]> {
    let total = batch.uncompressed_len();
    let mut front = BatchBuilder::new(Vec::with_capacity(bytes.min(total)));
    let mut rest = BatchBuilder::new(Vec::with_capacity(total.saturating_sub(bytes)));
    read(batch, decompressor, |place, record| {
        let last = place + 1 == batch.count();
        let into_front =
            rest.is_empty() && !last && (front.is_empty() || front.len() + size(record) <= bytes);
        append(if into_front { &mut front } else { &mut rest }, record)
    })?;
    Ok([front, rest])
}

/// Shows every record of `batch`, with its place.
fn read(
    batch: &SealedBatch,
    decompressor: &mut Decompressor,
    mut show: impl FnMut(u32, &RecordView<'_>) -> Result<()>,
) -> Result<()> {
    let failed = |error| unreadable().because(error);
    let read = RecordBatch::read(batch.bytes().clone()).map_err(failed)?;
    let decoded = read
        .decode(decompressor, batch.uncompressed_len())
        .map_err(failed)?;
    for (place, record) in (0..).zip(decoded.records()) {
        show(place, &record.map_err(failed)?)?;
    }
    Ok(())
}

fn unreadable() -> Error {
    Error::new(
        ErrorKind::CorruptBatch,
        "a batch of our own could not be read again to be cut up",
    )
}

/// The most bytes that the record accepts a batch.
fn size(record: &RecordView<'_>) -> usize {
    let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
    let headers = record.headers.iter();
    let headers = headers.map(|header| (header.key, header.value));
    BatchBuilder::record_size(len(record.key), len(record.value), headers)
}

fn append(builder: &mut BatchBuilder, record: &RecordView<'_>) -> Result<()> {
    let headers = record
        .headers
        .iter()
        .map(|header| (header.key, header.value));
    builder
        .append_raw(record.timestamp_ms, record.key, record.value, headers)
        .map(drop)
        .map_err(|error| Error::new(ErrorKind::RecordTooLarge, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::producer::producer_id::ProducerIdAndEpoch;
    use protocol::compression::Codec;

    fn batch(records: u32) -> ProducerBatch {
        let mut builder = BatchBuilder::new(Vec::with_capacity(1 << 16));
        for n in 0..records {
            let value = vec![n as u8; 100];
            let headers = [("n", Some(&b"1"[..]))];
            builder
                .append(
                    1_000 + i64::from(n),
                    Some(&n.to_be_bytes()),
                    Some(&value),
                    headers,
                )
                .unwrap();
        }
        OpenBatch {
            builder,
            part: Part::whole("t".into(), 0),
            opened: Instant::now(),
            closed: Instant::now(),
            charged: 1 << 16,
            spare: 0,
        }
        .into()
    }

    fn sequence(epoch: i16, base_sequence: i32) -> Option<BatchSequence> {
        let producer_id = ProducerIdAndEpoch { id: 9, epoch };
        Some(BatchSequence {
            producer_id,
            base_sequence,
        })
    }

    #[test]
    fn a_batch_is_sealed_once_and_stamped_anew_when_its_sequence_changes() {
        let mut compressor = Compressor::new(Compression::NONE);
        let mut batch = batch(3);
        let first = batch.bytes(sequence(0, 7), &mut compressor);
        assert_eq!(first, batch.bytes(sequence(0, 7), &mut compressor));
        let second = RecordBatch::read(batch.bytes(sequence(1, 0), &mut compressor)).unwrap();
        assert!(second.verify_crc().is_ok());
        assert_eq!((second.producer_epoch(), second.base_sequence()), (1, 0));
        // A request that still held the bytes would not have been touched.
        let first = RecordBatch::read(first).unwrap();
        assert_eq!((first.producer_epoch(), first.base_sequence()), (0, 7));
        assert!(first.verify_crc().is_ok());
    }

    /// KAFKA-19012: a pooled buffer was handed out while a request still held it.
    #[test]
    fn memory_is_pooled_only_after_the_request_let_go_of_it() {
        let memory = MemoryBudget::new(1 << 20, 1 << 16);
        let mut compressor = Compressor::new(Compression::NONE);
        for held in [true, false] {
            assert!(memory.try_charge(1 << 16));
            let mut batch = batch(3);
            let bytes = batch.bytes(None, &mut compressor);
            let (address, copy) = (bytes.as_ptr(), bytes.to_vec());
            let request = held.then_some(bytes);
            let _part = batch.release(&memory);
            let mut next = memory.take(1 << 16);
            next.resize(1 << 16, 0xff);
            assert_eq!(next.as_ptr() == address, !held);
            assert!(request.is_none_or(|bytes| bytes == copy));
        }
    }

    #[test]
    fn a_batch_is_split_into_two_that_hold_its_records_in_order() {
        for (codec, sent) in Codec::ALL
            .into_iter()
            .flat_map(|codec| [(codec, true), (codec, false)])
        {
            let mut compressor = Compressor::new(Compression::new(codec));
            let mut decompressor = Decompressor::default();
            let mut whole = batch(11);
            if sent {
                whole.bytes(sequence(0, 0), &mut compressor);
            }
            let half = whole.uncompressed_len() / 2;
            let front = whole.split_front(half, &mut decompressor).unwrap();
            assert!((4..8).contains(&front.count()), "{}", front.count());
            assert!(front.uncompressed_len() <= half);
            let mut keys = Vec::new();
            for mut half in [front, whole] {
                let batch = RecordBatch::read(half.bytes(None, &mut compressor)).unwrap();
                let decoded = batch.decode(&mut decompressor, 1 << 20).unwrap();
                for record in decoded.records() {
                    let record = record.unwrap();
                    assert_eq!(record.timestamp_ms, 1_000 + keys.len() as i64);
                    assert_eq!(record.headers.len(), 1);
                    keys.push(record.key.unwrap().to_vec());
                }
            }
            let expected: Vec<_> = (0..11u32).map(|n| n.to_be_bytes().to_vec()).collect();
            assert_eq!(keys, expected);
        }
    }

    #[test]
    fn a_cut_leaves_records_on_both_sides_whatever_size_is_asked_for() {
        for bytes in [0, 1, 1_000_000] {
            let mut rest = batch(3);
            let front = rest
                .split_front(bytes, &mut Decompressor::default())
                .unwrap();
            let expected = if bytes < 100 { (1, 2) } else { (2, 1) };
            assert_eq!((front.count(), rest.count()), expected);
        }
    }

    #[test]
    fn records_that_are_taken_out_leave_the_others_in_order() {
        for codec in Codec::ALL {
            let mut compressor = Compressor::new(Compression::new(codec));
            let mut decompressor = Decompressor::default();
            let mut batch = batch(5);
            batch.bytes(sequence(0, 0), &mut compressor);
            let refused = [1, 4].map(|place| RefusedRecord {
                place,
                message: None,
            });
            let out = batch.take_out(&refused, &mut decompressor).unwrap();
            assert_eq!((out.len(), batch.count()), (2, 3));
            let batch = RecordBatch::read(batch.bytes(None, &mut compressor)).unwrap();
            let decoded = batch.decode(&mut decompressor, 1 << 20).unwrap();
            let keys: Vec<_> = decoded
                .records()
                .map(|record| record.unwrap().key.unwrap()[3])
                .collect();
            assert_eq!(keys, [0, 2, 3]);
        }
    }
}
