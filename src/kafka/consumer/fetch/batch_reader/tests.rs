//! What reading a partition's part of a response returns, batch by batch.

use bytes::{Bytes, BytesMut};
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, ControlRecord, SealOptions, assign_offsets};

use super::*;

/// Batches as a broker serves them: offsets and leader epochs filled in.
#[derive(Default)]
struct Log {
    bytes: BytesMut,
    next: i64,
}

impl Log {
    fn append(&mut self, values: &[&str], options: &SealOptions) {
        let none: [(&str, Option<&[u8]>); 0] = [];
        let mut builder = BatchBuilder::new(Vec::new());
        for value in values {
            builder
                .append(0, None, Some(value.as_bytes()), none)
                .expect("room");
        }
        self.push(builder, options, values.len());
    }

    fn end_transaction(&mut self, producer_id: i64, marker: ControlRecord) {
        let none: [(&str, Option<&[u8]>); 0] = [];
        let mut builder = BatchBuilder::new(Vec::new());
        let value = marker.marker_value().expect("a marker");
        builder
            .append(0, Some(&marker.key()), Some(&value), none)
            .expect("room");
        let options = SealOptions {
            control: true,
            ..transaction(producer_id)
        };
        self.push(builder, &options, 1);
    }

    fn append_compressed(&mut self, values: &[&str], codec: Codec) {
        let none: [(&str, Option<&[u8]>); 0] = [];
        let mut builder = BatchBuilder::new(Vec::new());
        for value in values {
            builder
                .append(0, None, Some(value.as_bytes()), none)
                .expect("room");
        }
        let options = SealOptions::default();
        self.push_as(builder, &options, values.len(), codec.into());
    }

    fn push(&mut self, builder: BatchBuilder, options: &SealOptions, count: usize) {
        self.push_as(builder, options, count, Compression::NONE);
    }

    fn push_as(
        &mut self,
        builder: BatchBuilder,
        options: &SealOptions,
        count: usize,
        compression: Compression,
    ) {
        let sealed = builder.seal(options, &mut Compressor::new(compression));
        let mut bytes = sealed.bytes().to_vec();
        assign_offsets(&mut bytes, self.next, 4).expect("a batch");
        self.bytes.extend_from_slice(&bytes);
        self.next += count as i64;
    }

    fn abort(&mut self, producer_id: i64) {
        self.end_transaction(
            producer_id,
            ControlRecord::Abort {
                coordinator_epoch: 0,
            },
        );
    }

    fn commit(&mut self, producer_id: i64) {
        self.end_transaction(
            producer_id,
            ControlRecord::Commit {
                coordinator_epoch: 0,
            },
        );
    }
}

fn transaction(producer_id: i64) -> SealOptions {
    SealOptions {
        producer_id,
        producer_epoch: 0,
        transactional: true,
        ..SealOptions::default()
    }
}

fn reader(
    records: Bytes,
    from: i64,
    aborted: Option<AbortedTransactions>,
) -> (BatchReader, BatchDecoder) {
    let budget = Budget::new(1 << 20, None);
    let reservation = Fetched::in_frame(budget.reserve(records.len()), None);
    let want = Wanted {
        partition: TopicPartition::new("t", 0),
        topic_id: protocol::Uuid::ZERO,
        version: 1,
        offset: from,
        last_epoch: -1,
        leader_epoch: 0,
    };
    let cut_off = matches!(
        scan_headers(&records, from),
        HeaderScan::Unreadable { cut_off: true }
    );
    let reader = BatchReader::new(&want, records, cut_off, aborted, Arc::new(reservation));
    (
        reader,
        BatchDecoder::new(Arc::default(), budget.clone(), budget.limit(), true),
    )
}

/// The right to take more than is left.
fn alone(decoder: &BatchDecoder) -> Arc<Excess> {
    decoder.budget.try_excess().expect("nobody has it")
}

/// Reads to the end, `most` at a time: offset and value of each record.
fn read_all(
    reader: &mut BatchReader,
    decoder: &mut BatchDecoder,
    most: usize,
) -> Result<Vec<(i64, String)>> {
    let mut all = Vec::new();
    let alone = alone(decoder);
    loop {
        match reader.read(most, usize::MAX, None, Room::Alone(&alone), decoder)? {
            Step::End => return Ok(all),
            Step::Skipped => {}
            Step::NoRoom => panic!("there is room for one batch"),
            Step::Records(batch) => {
                for record in batch.records.records() {
                    let record = record.expect("checked before");
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    all.push((record.offset, value.into_owned()));
                }
                assert_eq!(batch.next_offset, reader.position.offset);
            }
        }
    }
}

/// librdkafka 1.7.0, franz-go 1.21.4.
#[test]
fn read_committed_shows_exactly_the_committed_records_whatever_the_brokers_order() {
    let mut log = Log::default();
    log.append(&["aborted"], &transaction(1));
    log.append(&["b", "c"], &transaction(2));
    log.append(&["d"], &SealOptions::default());
    log.abort(1);
    log.append(&["e"], &transaction(1));
    log.commit(2);
    log.commit(1);
    log.abort(2);
    log.append(&["f"], &transaction(2));
    log.commit(2);
    log.append(&["aborted"], &transaction(1));
    log.abort(1);
    let end = log.next;
    let records = log.bytes.freeze();
    for listed in [[(1, 0), (2, 8), (1, 11)], [(1, 11), (1, 0), (2, 8)]] {
        let aborted = AbortedTransactions::new(listed);
        let (mut reader, mut decoder) = reader(records.clone(), 0, Some(aborted));
        let all = read_all(&mut reader, &mut decoder, 500).expect("readable");
        let values: Vec<&str> = all.iter().map(|(_, value)| &**value).collect();
        assert_eq!(values, ["b", "c", "d", "e", "f"]);
        let end = Position {
            offset: end,
            leader_epoch: Some(4),
        };
        assert_eq!(reader.position, end, "the position passes what is hidden");
    }
}

#[test]
fn a_batch_that_begins_before_the_position_is_read_from_the_position_on() {
    let mut log = Log::default();
    log.append(&["a", "b", "c", "d"], &SealOptions::default());
    let (mut reader, mut decoder) = reader(log.bytes.freeze(), 2, None);
    let all = read_all(&mut reader, &mut decoder, 1).expect("readable");
    assert_eq!(all, [(2, "c".to_string()), (3, "d".to_string())]);
}

#[test]
fn a_batch_that_is_cut_off_at_the_end_is_left_for_the_next_fetch() {
    let mut log = Log::default();
    log.append(&["a"], &SealOptions::default());
    let whole = log.bytes.len();
    log.append(&["b"], &SealOptions::default());
    log.bytes.truncate(whole + 40);
    let records = log.bytes.freeze();
    let after = Position {
        offset: 1,
        leader_epoch: Some(4),
    };
    assert_eq!(scan_headers(&records, 0), HeaderScan::Until(after));
    let (mut reader, mut decoder) = reader(records, 0, None);
    assert_eq!(
        read_all(&mut reader, &mut decoder, 9)
            .expect("readable")
            .len(),
        1
    );
}

#[test]
fn an_answer_without_one_whole_batch_is_an_error_that_names_the_place() {
    let mut log = Log {
        next: 7,
        ..Log::default()
    };
    log.append(&["a"], &SealOptions::default());
    log.bytes.truncate(30);
    let (mut reader, mut decoder) = reader(log.bytes.freeze(), 7, None);
    let error = read_all(&mut reader, &mut decoder, 9).expect_err("nothing whole");
    assert_eq!(error.kind(), ErrorKind::CorruptBatch);
    assert_eq!(
        (error.failed_offset(), error.resume_offset()),
        (Some(7), Some(8))
    );
    assert!(error.to_string().contains("t-0 at offset 7"), "{error}");
}

#[test]
fn decompressed_bytes_count_against_the_budget_until_they_are_dropped() {
    let mut builder = BatchBuilder::new(Vec::new());
    let none: [(&str, Option<&[u8]>); 0] = [];
    builder
        .append(0, None, Some(&[b'x'; 50_000]), none)
        .expect("room");
    let compression = protocol::compression::Codec::Zstd.into();
    let sealed = builder.seal(&SealOptions::default(), &mut Compressor::new(compression));
    let compressed = sealed.bytes().len();
    let (mut reader, mut decoder) = reader(sealed.bytes().clone(), 0, None);
    let budget = decoder.budget.clone();
    assert_eq!(budget.left(), (1 << 20) - compressed);
    let excess = alone(&decoder);
    let room = Room::Alone(&excess);
    let Ok(Step::Records(batch)) = reader.read(1, usize::MAX, None, room, &mut decoder) else {
        panic!("a record");
    };
    assert!(budget.left() < (1 << 20) - 50_000);
    drop(batch);
    assert_eq!(budget.left(), (1 << 20) - compressed);
    drop(reader);
    assert_eq!(budget.left(), 1 << 20);
}

/// Offsets from the wire are added to all over a client: those that cannot be are refused where they come in.
#[test]
fn offsets_that_cannot_be_are_an_error_that_names_the_place() {
    let mut log = Log::default();
    log.append(&["a", "b"], &SealOptions::default());
    let good = log.bytes.freeze();
    // (base offset, last offset delta, whether there can be such a batch)
    for (base, delta, readable) in [
        (0, 1, true),
        (i64::MAX - 2, 1, true),
        (i64::MAX - 1, 1, false),
        (i64::MAX, 1, false),
        (i64::MAX, 0, false),
        (i64::MAX, i32::MAX, false),
        (-1, 1, false),
        (i64::MIN, 1, false),
        (i64::MIN, i32::MIN, false),
        (5, i32::MIN, false),
    ] {
        let mut bytes = good.to_vec();
        assign_offsets(&mut bytes, base, 4).expect("a batch");
        bytes[23..27].copy_from_slice(&i32::to_be_bytes(delta));
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        let from = base.max(0);
        // A log may hold it twice, and more behind it.
        let records: Bytes = [&bytes[..], &bytes[..]].concat().into();
        let (mut reader, mut decoder) = reader(records, from, None);
        match read_all(&mut reader, &mut decoder, 9) {
            Ok(all) if readable => {
                assert_eq!(all[1], (base + 1, "b".to_string()));
                assert_eq!(reader.position.offset, base + 2);
            }
            // What ends before the position is passed over.
            Ok(all) => assert!(all.is_empty(), "{base} {delta}"),
            Err(error) => {
                assert!(!readable, "{base} {delta}: {error}");
                assert_eq!(error.failed_offset(), Some(from), "{error}");
            }
        }
    }
}

#[test]
fn a_batch_for_which_nothing_is_left_waits_unless_it_is_alone() {
    let mut log = Log::default();
    let value = "x".repeat(300_000);
    let compression = protocol::compression::Codec::Zstd;
    for _ in 0..4 {
        log.append_compressed(&[value.as_str(); 2], compression);
    }
    let (mut reader, mut decoder) = reader(log.bytes.freeze(), 0, None);
    let Ok(Step::Records(first)) = reader.read(9, usize::MAX, None, Room::Left, &mut decoder)
    else {
        panic!("there is room for one");
    };
    for _ in 0..3 {
        let read = reader.read(9, usize::MAX, None, Room::Left, &mut decoder);
        assert!(matches!(read, Ok(Step::NoRoom)), "600 KB of 1 MiB are used");
    }
    assert_eq!(reader.position.offset, 2, "nothing was passed over");
    let excess = alone(&decoder);
    let room = Room::Alone(&excess);
    let Ok(Step::Records(alone)) = reader.read(9, usize::MAX, None, room, &mut decoder) else {
        panic!("progress whatever is held");
    };
    assert_eq!(alone.next_offset, 4);
    assert!(decoder.budget.try_excess().is_none());
    drop((first, alone, excess));
    let all = read_all(&mut reader, &mut decoder, 9).expect("readable");
    assert_eq!(all.len(), 4);
}

#[test]
fn a_read_ends_with_the_record_that_reaches_the_bytes_asked_for() {
    let mut log = Log::default();
    let value = "x".repeat(1_000);
    log.append(&[value.as_str(); 10], &SealOptions::default());
    let (mut reader, mut decoder) = reader(log.bytes.freeze(), 0, None);
    for (bytes, expected) in [(0, 1), (1, 1), (1_500, 2), (2_500, 3), (usize::MAX, 3)] {
        let Ok(Step::Records(batch)) = reader.read(100, bytes, None, Room::Left, &mut decoder)
        else {
            panic!("records");
        };
        assert_eq!(batch.records.remaining(), expected, "{bytes}");
        assert!(batch.records.unread_len() > 1_000 * expected);
    }
    assert!(matches!(
        reader.read(100, usize::MAX, None, Room::Left, &mut decoder),
        Ok(Step::End)
    ));
}
