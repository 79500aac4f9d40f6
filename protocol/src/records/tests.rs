//! What holds for batches: the bytes are Kafka's, everything comes back as it went in, and nothing bad gets through.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::compression::{BufferPool, Codec, CompressionError, Compressor, Decompressor};

const LIMIT: usize = 64 << 20;
const NONE: [(&str, Option<&[u8]>); 0] = [];
const NO_BYTES: [(&[u8], Option<&[u8]>); 0] = [];

/// Three records worked out by an independent program.
const GOLDEN: &str = "\
    00000000000000000000009effffffff0203b17dbe0010000000020000018bcfe568000000018bcfe5692c0000000000\
    000fa000030000004d000000032a000000066b65790a76616c75650402680231026e010c0009020101009c0100d80404\
    008c01787878787878787878787878787878787878787878787878787878787878787878787878787878787878787878\
    7878787878787878787878787878787878787878787878787800";
const GOLDEN_TIME: i64 = 1_700_000_000_000;

fn hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A record that owns its parts, to compare with.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    offset: i64,
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

impl From<RecordView<'_>> for Owned {
    fn from(record: RecordView<'_>) -> Owned {
        let headers = record.headers.iter();
        Owned {
            offset: record.offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(Vec::from),
            value: record.value.map(Vec::from),
            headers: headers
                .map(|header| (header.key_text().into_owned(), header.value.map(Vec::from)))
                .collect(),
        }
    }
}

fn append(batch: &mut BatchBuilder, record: &Owned) -> u32 {
    let headers = record.headers.iter();
    batch
        .append(
            record.timestamp_ms,
            record.key.as_deref(),
            record.value.as_deref(),
            headers.map(|(key, value)| (key.as_str(), value.as_deref())),
        )
        .unwrap()
}

fn seal(batch: BatchBuilder, codec: Codec) -> Bytes {
    batch
        .seal(&SealOptions::default(), &mut Compressor::new(codec.into()))
        .into_bytes()
}

fn batch_of(records: &[Owned], codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::new(Vec::new());
    for record in records {
        append(&mut batch, record);
    }
    seal(batch, codec)
}

/// `count` small records with offsets from 0.
fn records(count: usize) -> Vec<Owned> {
    let record = |index: usize| Owned {
        offset: index as i64,
        timestamp_ms: GOLDEN_TIME + index as i64,
        key: Some(format!("key-{index}").into_bytes()),
        value: Some(format!("value {index}").repeat(5).into_bytes()),
        headers: Vec::new(),
    };
    (0..count).map(record).collect()
}

fn read(bytes: Bytes) -> Result<Vec<Owned>, RecordError> {
    let batch = RecordBatch::read(bytes)?;
    batch.verify_crc()?;
    let decoded = batch.decode(&mut Decompressor::new(), LIMIT)?;
    decoded
        .records()
        .map(|record| record.map(Owned::from))
        .collect()
}

/// Sets the CRC right after a field has been changed.
fn fix_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn a_batch_is_written_byte_for_byte_as_worked_out_by_hand() {
    let mut batch = BatchBuilder::new(vec![1, 2, 3]);
    let headers = [("h", Some(&b"1"[..])), ("n", None)];
    let first = batch.append(GOLDEN_TIME, Some(b"key"), Some(b"value"), headers);
    let second = batch.append(GOLDEN_TIME - 5, None, None, NONE);
    let third = batch.append_with(GOLDEN_TIME + 300, Some(b""), 70, NO_BYTES, |value| {
        value.fill(b'x')
    });
    assert_eq!((first, second, third), (Ok(0), Ok(1), Ok(2)));
    assert_eq!((batch.count(), batch.len()), (3, 170));
    let options = SealOptions {
        producer_id: 4000,
        producer_epoch: 3,
        base_sequence: 77,
        transactional: true,
        control: false,
    };
    let sealed = batch.seal(&options, &mut Compressor::new(Codec::None.into()));
    assert_eq!(sealed.bytes(), &hex(GOLDEN));
    assert_eq!((sealed.count(), sealed.uncompressed_len()), (3, 170));
}

#[test]
fn the_fields_of_a_batch_are_read() {
    let batch = RecordBatch::read(hex(GOLDEN)).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!((batch.base_offset(), batch.last_offset()), (0, 2));
    assert_eq!((batch.magic(), batch.codec()), (2, Ok(Codec::None)));
    assert_eq!((batch.producer_id(), batch.producer_epoch()), (4000, 3));
    assert_eq!((batch.base_sequence(), batch.record_count()), (77, 3));
    assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
    assert!(batch.is_transactional() && !batch.is_control());
    assert_eq!(batch.base_timestamp(), GOLDEN_TIME);
    assert_eq!(batch.max_timestamp(), GOLDEN_TIME + 300);
    let records = read(hex(GOLDEN)).unwrap();
    assert_eq!(records[0].headers[1], ("n".to_owned(), None));
    assert_eq!((&records[1].key, &records[1].value), (&None, &None));
    assert_eq!(records[1].timestamp_ms, GOLDEN_TIME - 5);
    assert_eq!(records[2].key.as_deref(), Some(&b""[..]));
    assert_eq!(records[2].value.as_deref(), Some(&[b'x'; 70][..]));
}

#[test]
fn log_append_time_is_the_time_of_every_record() {
    let mut bytes = hex(GOLDEN).to_vec();
    bytes[22] |= 0x08;
    fix_crc(&mut bytes);
    let times = read(Bytes::from(bytes)).unwrap();
    assert!(
        times
            .iter()
            .all(|record| record.timestamp_ms == GOLDEN_TIME + 300)
    );
}

#[test]
fn a_record_takes_no_more_than_the_size_foretold() {
    for len in [0, 1, 63, 64, 8191, 8192, 1 << 20] {
        let bytes = vec![7; len];
        let headers = [(&b"name"[..], Some(&bytes[..])), (b"", None)];
        let mut batch = BatchBuilder::new(Vec::new());
        batch.append(0, None, None, NONE).unwrap();
        let before = batch.len();
        batch
            .append_raw(i64::MIN, Some(&bytes), Some(&bytes), headers)
            .unwrap();
        let size = batch.len() - before;
        let foretold = BatchBuilder::record_size(len, len, headers);
        assert!(
            size <= foretold && foretold - size < 64,
            "{size} {foretold}"
        );
    }
}

#[test]
fn an_encoder_that_panics_leaves_the_batch_as_it_was() {
    let mut batch = BatchBuilder::new(Vec::new());
    batch.append(1, None, Some(b"first"), NONE).unwrap();
    let len = batch.len();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = batch.append_with(2, Some(b"k"), 100, NO_BYTES, |_| {
            panic!("as the test wants")
        });
    }));
    assert!(panicked.is_err());
    assert_eq!((batch.len(), batch.count()), (len, 1));
    let mut other = BatchBuilder::new(batch.into_buffer());
    for value in [b"second", b"third "] {
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _ = other.append_with(2, Some(b"k"), 100, NO_BYTES, |_| {
                panic!("as the test wants")
            });
        }));
        assert!(panicked.is_err());
        other.append(3, None, Some(value), NONE).unwrap();
    }
    assert_eq!(read(seal(other, Codec::None)).unwrap().len(), 2);
}

#[test]
fn restamping_changes_the_producers_fields_and_keeps_the_batch_whole() {
    let mut batch = BatchBuilder::new(Vec::new());
    batch.append(5, Some(b"k"), Some(b"v"), NONE).unwrap();
    let mut sealed = batch.seal(
        &SealOptions::default(),
        &mut Compressor::new(Codec::Lz4.into()),
    );
    let in_flight = sealed.bytes().clone();
    let before = in_flight.to_vec();
    sealed.restamp(9, 8, 7);
    assert_eq!(in_flight, before, "a request in flight keeps its bytes");
    drop(in_flight);
    sealed.restamp(9, 8, 8);
    let batch = RecordBatch::read(sealed.bytes().clone()).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!(
        (
            batch.producer_id(),
            batch.producer_epoch(),
            batch.base_sequence()
        ),
        (9, 8, 8)
    );
    assert_eq!(read(sealed.into_bytes()).unwrap().len(), 1);
}

#[test]
fn buffers_come_back_for_the_next_batch() {
    let mut compressor = Compressor::new(Codec::None.into());
    let mut batch = BatchBuilder::new(Vec::with_capacity(10_000));
    batch.append(5, None, Some(b"v"), NONE).unwrap();
    let sealed = batch.seal(&SealOptions::default(), &mut compressor);
    let in_flight = sealed.bytes().clone();
    assert!(reclaim(in_flight).is_none(), "someone else still holds it");
    let buffer = reclaim(sealed.into_bytes()).unwrap();
    assert_eq!((buffer.len(), buffer.capacity()), (0, 10_000));
}

#[test]
fn a_batch_without_spare_capacity_comes_back_too() {
    let mut batch = BatchBuilder::new(Vec::new());
    batch.append(5, None, Some(b"v"), NONE).unwrap();
    let mut buffer = batch.into_buffer();
    buffer.shrink_to_fit();
    let len = buffer.len();
    assert_eq!(reclaim(Bytes::from(buffer)).unwrap().capacity(), len);
}

#[test]
fn compressing_swaps_two_buffers_for_ever() {
    let mut compressor = Compressor::new(Codec::Lz4.into());
    let mut buffer = Vec::with_capacity(50_000);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let mut batch = BatchBuilder::new(buffer);
        batch.append(5, None, Some(&[7; 10_000]), NONE).unwrap();
        seen.insert(batch.buffer.as_ptr() as usize);
        let sealed = batch.seal(&SealOptions::default(), &mut compressor);
        buffer = reclaim(sealed.into_bytes()).unwrap();
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_batch_that_is_cut_off_ends_a_fetch_silently_and_a_produce_with_an_error() {
    let whole = batch_of(&records(3), Codec::None);
    let joined = [&whole[..], &whole[..]].concat();
    for len in whole.len()..joined.len() {
        let bytes = Bytes::copy_from_slice(&joined[..len]);
        assert_eq!(BatchIter::new(bytes.clone()).map(Result::unwrap).count(), 1);
        let last = BatchIter::strict(bytes).last().unwrap();
        assert_eq!(last.is_err(), len > whole.len(), "cut at {len}");
    }
    assert_eq!(BatchIter::strict(Bytes::from(joined)).count(), 2);
}

#[test]
fn absurd_lengths_and_magics_are_errors_that_say_where() {
    let whole = batch_of(&records(1), Codec::None);
    for length in [i32::MIN, -1, 0, 48] {
        let mut bytes = [&whole[..], &whole[..]].concat();
        bytes[whole.len() + 8..][..4].copy_from_slice(&length.to_be_bytes());
        let mut batches = BatchIter::new(Bytes::from(bytes));
        assert!(batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().unwrap_err();
        let expected = format!(
            "malformed length of a batch at byte {}: expected at least the length of its header",
            whole.len() + 8
        );
        assert_eq!(error.to_string(), expected);
        assert!(batches.next().is_none());
    }
    let mut bytes = whole.to_vec();
    bytes[16] = 3;
    assert_eq!(
        RecordBatch::read(Bytes::from(bytes)).unwrap_err(),
        RecordError::UnknownMagic { magic: 3, at: 0 }
    );
}

#[test]
fn every_flipped_bit_is_caught_by_the_crc() {
    let whole = batch_of(&records(2), Codec::None);
    for at in 21..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        let caught = match RecordBatch::read(Bytes::from(bytes)) {
            Ok(batch) => batch.verify_crc().is_err(),
            Err(_) => true,
        };
        assert!(caught, "byte {at}");
    }
}

#[test]
fn an_unknown_codec_is_an_error() {
    let mut bytes = batch_of(&records(1), Codec::None).to_vec();
    bytes[22] = 5;
    let batch = RecordBatch::read(Bytes::from(bytes)).unwrap();
    assert_eq!(
        batch.decode(&mut Decompressor::new(), LIMIT).unwrap_err(),
        RecordError::Compression(CompressionError::UnknownCodec { number: 5 })
    );
}

#[test]
fn a_wrong_number_of_records_is_an_error() {
    let whole = batch_of(&records(3), Codec::None);
    for (count, reason) in [
        (2, "no more than its number of records"),
        (4, "as many records as its header says"),
    ] {
        let mut bytes = whole.to_vec();
        bytes[57..61].copy_from_slice(&i32::to_be_bytes(count));
        fix_crc(&mut bytes);
        let error = read(Bytes::from(bytes)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut bytes = whole.to_vec();
    bytes[57..61].copy_from_slice(&i32::to_be_bytes(-1));
    assert!(RecordBatch::read(Bytes::from(bytes)).is_err());
}

#[test]
fn each_malformed_field_of_a_record_is_named() {
    // A record of 8 bytes: attributes, timestamp delta, offset delta, key "k", value "v", no headers.
    let good: [u8; 9] = [16, 0, 0, 0, 2, b'k', 2, b'v', 0];
    let reason = |record: &[u8]| {
        let mut bytes = batch_of(&records(1), Codec::None)[..HEADER_LEN].to_vec();
        bytes.extend_from_slice(record);
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        fix_crc(&mut bytes);
        read(Bytes::from(bytes))
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(reason(&good), Ok(()));
    for (at, byte, field) in [
        (0, 1, "length of a record"),
        (0, 18, "record at byte 1"),
        (0, 0, "attributes"),
        (2, 0x80, "offset delta"),
        (3, 2, "offset delta"),
        (3, 1, "offset delta"),
        (4, 20, "key of a record"),
        (4, 3, "key of a record"),
        (6, 4, "headers of a record"),
        (6, 5, "value of a record"),
        (8, 2, "headers of a record"),
        (8, 1, "headers of a record"),
    ] {
        let mut record = good;
        record[at] = byte;
        let error = reason(&record).unwrap_err();
        assert!(error.contains(field), "byte {at} = {byte}: {error}");
    }
}

#[test]
fn offsets_must_rise() {
    let mut batch = batch_of(&records(2), Codec::None).to_vec();
    let first_len = usize::from(batch[HEADER_LEN] / 2) + 1;
    let delta_at = HEADER_LEN + first_len + 3;
    assert_eq!(batch[delta_at], 2, "the second record's offset delta is 1");
    batch[delta_at] = 0;
    fix_crc(&mut batch);
    assert!(read(Bytes::from(batch)).is_err());
}

#[test]
fn after_an_error_there_is_nothing_more() {
    let mut bytes = batch_of(&records(3), Codec::None).to_vec();
    bytes[HEADER_LEN] = 1;
    let batch = RecordBatch::read(Bytes::from(bytes)).unwrap();
    let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    assert!(decoded.check().is_err());
    assert!(decoded.next_record().unwrap().is_err());
    assert!(decoded.next_record().is_none());
    assert_eq!(decoded.remaining(), 0);
}

#[test]
fn a_batch_is_read_on_from_where_it_was_left() {
    let records = records(10);
    for codec in Codec::ALL {
        let batch = RecordBatch::read(batch_of(&records, codec)).unwrap();
        let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
        decoded.skip_to(2);
        assert_eq!(decoded.remaining(), 8);
        let first = decoded.next_record().unwrap().unwrap();
        assert_eq!(Owned::from(first), records[2]);
        let mut front = decoded.split_to(3);
        let read = |batch: &DecodedBatch| -> Vec<Owned> {
            batch
                .records()
                .map(|record| record.unwrap().into())
                .collect()
        };
        assert_eq!(read(&front), records[3..6]);
        assert_eq!(read(&decoded), records[6..]);
        front.skip_to(i64::MAX);
        assert_eq!(
            (front.remaining(), front.next_record().is_none()),
            (0, true)
        );
        let rest = decoded.split_to(100);
        assert_eq!((rest.remaining(), decoded.remaining()), (4, 0));
        assert!(decoded.next_record().is_none());
    }
}

#[test]
fn a_split_leaves_what_is_malformed_to_the_front() {
    let mut bytes = batch_of(&records(3), Codec::None).to_vec();
    let first_len = usize::from(bytes[HEADER_LEN] / 2) + 1;
    bytes[HEADER_LEN + first_len] = 1;
    let batch = RecordBatch::read(Bytes::from(bytes)).unwrap();
    let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    let front = decoded.split_to(2);
    let results: Vec<bool> = front.records().map(|record| record.is_ok()).collect();
    assert_eq!(results, [true, false]);
    assert!(decoded.next_record().is_none());
}

#[test]
fn decompressed_memory_returns_to_the_pool_with_the_last_clone() {
    let pool = BufferPool::new(1 << 20);
    let mut decompressor = Decompressor::with_pool(pool.clone());
    let batch = RecordBatch::read(batch_of(&records(100), Codec::Lz4)).unwrap();
    let decoded = batch.decode(&mut decompressor, LIMIT).unwrap();
    let clone = decoded.clone();
    drop(decoded);
    assert_eq!((pool.free_bytes(), clone.records().count()), (0, 100));
    drop(clone);
    assert!(pool.free_bytes() > 0);
}

#[test]
fn a_broker_assigns_offsets_without_touching_the_crc() {
    let mut bytes = batch_of(&records(3), Codec::Gzip).to_vec();
    assign_offsets(&mut bytes, 1000, 6).unwrap();
    let batch = RecordBatch::read(Bytes::from(bytes)).unwrap();
    batch.verify_crc().unwrap();
    assert_eq!((batch.base_offset(), batch.last_offset()), (1000, 1002));
    assert_eq!(batch.partition_leader_epoch(), 6);
    let decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    let offsets: Vec<i64> = decoded
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [1000, 1001, 1002]);
    assert!(assign_offsets(&mut [0; 60], 0, 0).is_err());
    assert!(assign_offsets(&mut [0; 61], 0, 0).is_err());
}

#[test]
fn a_broker_that_sets_the_time_of_a_batch_sets_that_of_its_records_and_the_crc() {
    for codec in Codec::ALL {
        let mut bytes = batch_of(&records(3), codec).to_vec();
        set_log_append_time(&mut bytes, 1_234_567).unwrap();
        let batch = RecordBatch::read(Bytes::from(bytes)).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.codec().unwrap(), codec);
        assert_eq!(batch.timestamp_type(), TimestampType::LogAppendTime);
        let decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
        let times: Vec<i64> = decoded
            .records()
            .map(|record| record.unwrap().timestamp_ms)
            .collect();
        assert_eq!(times, [1_234_567; 3]);
    }
    assert!(set_log_append_time(&mut [0; 60], 0).is_err());
    assert!(set_log_append_time(&mut [0; 61], 0).is_err());
}

#[test]
fn headers_are_found_by_key_the_last_one_first() {
    let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b"2"))];
    let mut batch = BatchBuilder::new(Vec::new());
    batch.append(0, None, None, headers).unwrap();
    let batch = RecordBatch::read(seal(batch, Codec::None)).unwrap();
    let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    let record = decoded.next_record().unwrap().unwrap();
    assert_eq!(
        (record.headers.len(), record.headers.is_empty()),
        (3, false)
    );
    assert_eq!(record.headers.get("a").unwrap().value, Some(&b"2"[..]));
    assert_eq!(record.headers.get("b").unwrap().value, None);
    assert!(record.headers.get("c").is_none());
}

#[test]
fn a_control_batch_says_so_and_holds_its_marker() {
    let marker = ControlRecord::Commit {
        coordinator_epoch: 4,
    };
    let value = marker.marker_value().unwrap();
    let mut batch = BatchBuilder::new(Vec::new());
    batch
        .append(9, Some(&marker.key()), Some(&value), NONE)
        .unwrap();
    let options = SealOptions {
        producer_id: 1,
        producer_epoch: 2,
        transactional: true,
        control: true,
        ..SealOptions::default()
    };
    let sealed = batch.seal(&options, &mut Compressor::new(Codec::None.into()));
    let batch = RecordBatch::read(sealed.into_bytes()).unwrap();
    assert!(batch.is_control() && batch.is_transactional());
    let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    let record = decoded.next_record().unwrap().unwrap();
    assert_eq!(ControlRecord::parse(record.key, record.value), Ok(marker));
}

mod legacy_sets {
    use super::*;

    /// Messages at offsets 10 and 12, "a" → "b" at 100 and "c" → null at 200.
    fn check(set: &str, magic: i8, times: [i64; 2]) {
        let batch = RecordBatch::read(hex(set)).unwrap();
        batch.verify_crc().unwrap();
        assert_eq!((batch.magic(), batch.last_offset()), (magic, 12));
        let decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
        assert_eq!(decoded.header().base_offset, 10);
        assert_eq!((decoded.remaining(), decoded.header().record_count), (2, 2));
        let read: Vec<Owned> = decoded
            .records()
            .map(|record| record.unwrap().into())
            .collect();
        let record = |index: usize, offset, key: &[u8], value: Option<&[u8]>| Owned {
            offset,
            timestamp_ms: times[index],
            key: Some(key.to_vec()),
            value: value.map(Vec::from),
            headers: Vec::new(),
        };
        assert_eq!(
            read,
            [record(0, 10, b"a", Some(b"b")), record(1, 12, b"c", None)]
        );
    }

    #[test]
    fn plain_messages_are_batches_of_one() {
        let set = hex(PLAIN);
        let batches: Vec<RecordBatch> = BatchIter::new(set).map(Result::unwrap).collect();
        assert_eq!(batches.len(), 2);
        for (batch, offset, time) in [(&batches[0], 5, -1), (&batches[1], 6, 1234)] {
            batch.verify_crc().unwrap();
            assert_eq!((batch.base_offset(), batch.last_offset()), (offset, offset));
            assert_eq!((batch.max_timestamp(), batch.record_count()), (time, 1));
            let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
            let record = decoded.next_record().unwrap().unwrap();
            assert_eq!((record.offset, record.timestamp_ms), (offset, time));
        }
    }

    #[test]
    fn magic_1_counts_inner_offsets_back_from_the_outer() {
        check(V1_CREATE_TIME, 1, [100, 200]);
        check(V1_LOG_APPEND_TIME, 1, [999, 999]);
    }

    #[test]
    fn magic_0_keeps_inner_offsets_and_has_no_time() {
        check(V0, 0, [-1, -1]);
    }

    #[test]
    fn damage_never_panics() {
        for set in [V0, V1_CREATE_TIME] {
            let whole = hex(set);
            for at in 0..whole.len() {
                for bits in [1, 0x80, 0xFF] {
                    let mut bytes = whole.to_vec();
                    bytes[at] ^= bits;
                    for batch in BatchIter::new(Bytes::from(bytes)).flatten() {
                        if let Ok(decoded) = batch.decode(&mut Decompressor::new(), LIMIT) {
                            let _ = decoded.check();
                        }
                    }
                }
            }
        }
    }

    const PLAIN: &str = "\
        000000000000000500000011165764b10000000000016b00000002763000000000000000060000001809cd576301\
        0000000000000004d2ffffffff000000027631";
    const V1_CREATE_TIME: &str = "\
        000000000000000c0000004fbe90bea3010100000000000000c8ffffffff000000391f8b08000000000000036360\
        800389d0e38bf91961bc1420664c04114950112620165ffbfde74eb89a1320e9e4ff4000007cb5e71a47000000";
    const V1_LOG_APPEND_TIME: &str = "\
        000000000000000c0000004f2ad2281d010900000000000003e7ffffffff000000391f8b08000000000000036360\
        800389d0e38bf91961bc1420664c04114950112620165ffbfde74eb89a1320e9e4ff4000007cb5e71a47000000";
    const V0: &str = "\
        000000000000000c00000043873582c30001ffffffff000000351f8b0800000000000003636000032e201658b256\
        4110cc634c0411491029061e20e65ff0c9df1c2297fc1f08002fa73e2937000000";
}

fn any_bytes(max: usize) -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..max))
}

fn any_records() -> impl Strategy<Value = Vec<Owned>> {
    let headers = prop::collection::vec(("\\PC{0,8}", any_bytes(100)), 0..4);
    let timestamps = prop_oneof![0i64..5000, any::<i64>()];
    let record = (timestamps, any_bytes(40), any_bytes(600), headers);
    prop::collection::vec(record, 1..60).prop_map(|records| {
        let number = |(index, (timestamp_ms, key, value, headers))| Owned {
            offset: index as i64,
            timestamp_ms,
            key,
            value,
            headers,
        };
        records.into_iter().enumerate().map(number).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_goes_in_comes_out_through_every_codec(records in any_records()) {
        for codec in Codec::ALL {
            let bytes = batch_of(&records, codec);
            let batch = RecordBatch::read(bytes.clone()).unwrap();
            prop_assert_eq!(batch.codec(), Ok(codec));
            prop_assert_eq!(batch.max_timestamp(), records.iter().map(|record| record.timestamp_ms).max().unwrap());
            prop_assert_eq!(&read(bytes).unwrap(), &records);
        }
    }

    #[test]
    fn a_value_written_in_place_is_the_same_as_one_copied(records in any_records()) {
        let mut copied = BatchBuilder::new(Vec::new());
        let mut in_place = BatchBuilder::new(vec![0xEE; 999]);
        for record in &records {
            let value = record.value.clone().unwrap_or_default();
            append(&mut copied, &Owned { value: Some(value.clone()), ..record.clone() });
            let headers = record.headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref()));
            in_place
                .append_with(record.timestamp_ms, record.key.as_deref(), value.len(), headers, |out| {
                    out.copy_from_slice(&value);
                })
                .unwrap();
        }
        prop_assert_eq!(copied.into_buffer(), in_place.into_buffer());
    }

    #[test]
    fn damaged_batches_never_panic(
        records in any_records(),
        codec in prop::sample::select(&Codec::ALL[..]),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10),
    ) {
        let mut bytes = batch_of(&records, codec).to_vec();
        for (at, bits) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        for batch in BatchIter::new(Bytes::from(bytes)).flatten() {
            let _ = batch.verify_crc();
            if let Ok(mut decoded) = batch.decode(&mut Decompressor::new(), 1 << 20) {
                let all = decoded.records().map_while(Result::ok);
                all.for_each(|record| drop(Owned::from(record)));
                decoded.skip_to(batch.base_offset() + 3);
                let _ = decoded.split_to(2).check();
            }
        }
    }

    #[test]
    fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        for batch in BatchIter::new(Bytes::from(bytes)).flatten() {
            if let Ok(decoded) = batch.decode(&mut Decompressor::new(), 1 << 20) {
                let _ = decoded.check();
            }
        }
    }
}
