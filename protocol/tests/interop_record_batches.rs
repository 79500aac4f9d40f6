//! The same record batches as an independent codec, the crate `kafka-protocol`: what one writes the other reads, with
//! nothing left over, and writes again to the same bytes. In: batches of any records, in every codec. Out: counts.
//!
//! Our codecs compress for both, since some of that crate's are C; `kafka/batches.rs` compares ours with Java's.

use std::iter;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression as TheirCodec, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
    RecordSet, TimestampType as TheirTimestampType,
};
use pat_kafka_protocol::compression::{Buffer, Codec, Compressor, Decompressor};
use pat_kafka_protocol::records::{
    BatchBuilder, BatchIter, HeaderView, RecordBatch, SealOptions, TimestampType, assign_offsets,
};
use pat_kafka_protocol::sample;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 128;
const LIMIT: usize = 64 << 20;

#[test]
fn what_we_write_they_read_and_we_write_again() {
    in_every_codec("ours, theirs, ours", &batch(false), |records, codec| {
        let ours = write(records, codec);
        let mut input = ours.clone();
        let read = read_theirs(&mut input, codec);
        prop_assert!(input.is_empty(), "{} bytes not read", input.len());
        prop_assert_eq!(&read, records);
        prop_assert_eq!(write(&read, codec), ours);
        Ok(())
    });
}

#[test]
fn what_they_write_we_read_and_they_write_again() {
    // Theirs can write what compaction leaves, too.
    let batches = prop_oneof![batch(false), batch(true)];
    in_every_codec("theirs, ours, theirs", &batches, |records, codec| {
        let theirs = write_theirs(records, codec);
        let read = read(RecordBatch::read(theirs.clone()).unwrap(), codec);
        prop_assert_eq!(&read, records);
        prop_assert_eq!(write_theirs(&read, codec), theirs);
        Ok(())
    });
}

#[test]
fn both_write_the_same_bytes() {
    in_every_codec("ours and theirs", &batch(false), |records, codec| {
        // Their timestamps count from the least; ours, as Java's do, from the first.
        let mut times: Vec<i64> = records.iter().map(|record| record.timestamp).collect();
        times.sort();
        let in_time = |(record, timestamp): (&Record, _)| Record {
            timestamp,
            ..record.clone()
        };
        let records: Vec<Record> = records.iter().zip(times).map(in_time).collect();
        let (ours, theirs) = (write(&records, codec), write_theirs(&records, codec));
        if codec == Codec::Gzip {
            // Deflate ends its blocks by how its input comes in pieces, too: the same records may be a byte more or less.
            prop_assert_eq!(&read(RecordBatch::read(ours).unwrap(), codec), &records);
            prop_assert_eq!(&read(RecordBatch::read(theirs).unwrap(), codec), &records);
        } else {
            prop_assert_eq!(ours, theirs);
        }
        Ok(())
    });
}

#[test]
fn batches_one_after_another_are_told_apart() {
    in_every_codec("three in a row", &vec(batch(false), 3), |batches, codec| {
        let sets = batches.iter().map(|records| write(records, codec));
        let all = Bytes::from(sets.collect::<Vec<_>>().concat());
        let mut rest = all.clone();
        let mut ours = BatchIter::strict(all);
        for records in batches {
            prop_assert_eq!(&read_theirs(&mut rest, codec), records);
            prop_assert_eq!(&read(ours.next().unwrap().unwrap(), codec), records);
        }
        prop_assert!(rest.is_empty() && ours.next().is_none());
        Ok(())
    });
}

fn in_every_codec<S: Strategy>(
    name: &str,
    batches: &S,
    check: impl Fn(&S::Value, Codec) -> Result<(), TestCaseError>,
) {
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(batches, |batch| {
        Codec::ALL.into_iter().try_for_each(|codec| {
            check(&batch, codec).map_err(|error| TestCaseError::fail(format!("{codec}: {error}")))
        })
    });
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
    let codecs = Codec::ALL.len();
    println!("kafka-protocol, record batches, {name}: {CASES} cases in {codecs} codecs");
}

/// The records of one batch, of one record to hundreds; with gaps between the offsets and a delete horizon if `compacted`.
fn batch(compacted: bool) -> impl Strategy<Value = Vec<Record>> {
    let base = (0i64..1 << 62, any::<i32>(), any::<bool>());
    let producer = (any::<i64>(), any::<i16>(), any::<i32>(), any::<bool>());
    let gap = if compacted { 0i32..1000 } else { 0..1 };
    let record = (record(), gap);
    let records = prop_oneof![
        4 => vec(record.clone(), 1),
        8 => vec(record.clone(), 2..20),
        1 => vec(record, 200),
    ];
    (base, producer, records).prop_map(move |(base, producer, records)| {
        let (base_offset, partition_leader_epoch, control) = base;
        let (producer_id, producer_epoch, base_sequence, transactional) = producer;
        let mut delta = -1;
        let place = |(record, gap)| {
            // To them the base offset is that of the first record that is left.
            delta += if delta < 0 { 1 } else { gap + 1 };
            Record {
                transactional,
                control,
                delete_horizon: compacted,
                partition_leader_epoch,
                producer_id,
                producer_epoch,
                sequence: base_sequence.wrapping_add(delta),
                offset: base_offset + i64::from(delta),
                ..record
            }
        };
        records.into_iter().map(place).collect()
    })
}

fn record() -> impl Strategy<Value = Record> + Clone {
    // Their subtractions must not overflow, and two headers of the same name are one to them.
    let timestamp = prop_oneof![0i64..5000, -(1i64 << 62)..1 << 62];
    let headers = vec(("\\PC{0,8}", content(100)), 0..4);
    let record = (timestamp, content(100), content(600), headers);
    record.prop_map(|(timestamp, key, value, headers)| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 0,
        producer_epoch: 0,
        timestamp_type: TheirTimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp,
        key,
        value,
        headers: headers
            .into_iter()
            .map(|(key, value)| (StrBytes::from_string(key), value))
            .collect(),
    })
}

/// Null, empty, short, or so long that its length takes three bytes.
fn content(short: usize) -> impl Strategy<Value = Option<Bytes>> + Clone {
    let len = prop_oneof![
        50 => Just(None),
        50 => Just(Some(0)),
        300 => (1..short).prop_map(Some),
        1 => Just(Some(9000)),
    ];
    (len, any::<u64>()).prop_map(|(len, seed)| {
        let bytes = iter::repeat_with(sample::random(seed)).flat_map(u64::to_be_bytes);
        len.map(|len| bytes.take(len).collect())
    })
}

fn write(records: &[Record], codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::new(Vec::new());
    for record in records {
        let headers = record.headers.iter();
        let headers = headers.map(|(key, value)| (&**key, value.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        batch.append(record.timestamp, key, value, headers).unwrap();
    }
    let first = &records[0];
    let options = SealOptions {
        producer_id: first.producer_id,
        producer_epoch: first.producer_epoch,
        base_sequence: first.sequence,
        transactional: first.transactional,
        control: first.control,
    };
    let sealed = batch.seal(&options, &mut Compressor::new(codec.into()));
    let mut bytes = sealed.into_bytes().to_vec();
    assign_offsets(&mut bytes, first.offset, first.partition_leader_epoch).unwrap();
    Bytes::from(bytes)
}

fn read(batch: RecordBatch, codec: Codec) -> Vec<Record> {
    batch.verify_crc().unwrap();
    assert_eq!((batch.magic(), batch.codec()), (2, Ok(codec)));
    assert_eq!(batch.timestamp_type(), TimestampType::CreateTime);
    let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
    let mut records = Vec::new();
    while let Some(record) = decoded.next_record() {
        let record = record.unwrap();
        let copied = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice);
        let header = |header: HeaderView<'_>| {
            let name = StrBytes::from_string(header.key_text().into_owned());
            (name, copied(header.value))
        };
        records.push(Record {
            transactional: batch.is_transactional(),
            control: batch.is_control(),
            delete_horizon: batch.header().has_delete_horizon(),
            partition_leader_epoch: batch.partition_leader_epoch(),
            producer_id: batch.producer_id(),
            producer_epoch: batch.producer_epoch(),
            timestamp_type: TheirTimestampType::Creation,
            offset: record.offset,
            sequence: batch
                .base_sequence()
                .wrapping_add((record.offset - batch.base_offset()) as i32),
            timestamp: record.timestamp_ms,
            key: copied(record.key),
            value: copied(record.value),
            headers: record.headers.iter().map(header).collect(),
        });
    }
    assert!(decoded.is_exhausted());
    assert_eq!(records.last().unwrap().offset, batch.last_offset());
    let latest = records.iter().map(|record| record.timestamp).max();
    assert_eq!(latest, Some(batch.max_timestamp()));
    records
}

fn write_theirs(records: &[Record], codec: Codec) -> Bytes {
    let options = RecordEncodeOptions {
        version: 2,
        compression: their_codec(codec),
    };
    let compress = |raw: &mut BytesMut, out: &mut BytesMut, compression: TheirCodec| {
        assert_eq!(compression, their_codec(codec));
        let mut compressed = Vec::new();
        Compressor::new(codec.into()).compress(raw, &mut compressed)?;
        out.extend_from_slice(&compressed);
        Ok(())
    };
    let mut out = BytesMut::new();
    RecordBatchEncoder::encode_with_custom_compression(&mut out, records, &options, Some(compress))
        .unwrap();
    out.freeze()
}

/// Takes a batch off the front of `bytes`.
fn read_theirs(bytes: &mut Bytes, codec: Codec) -> Vec<Record> {
    let decompress = |data: &mut Bytes, compression: TheirCodec| {
        assert_eq!(compression, their_codec(codec));
        let mut out = Buffer::new();
        Decompressor::new().decompress(codec, data, LIMIT, &mut out)?;
        Ok(Bytes::copy_from_slice(out.as_slice()))
    };
    let RecordSet {
        compression,
        version,
        records,
    } = RecordBatchDecoder::decode_with_custom_compression(bytes, Some(decompress)).unwrap();
    assert_eq!((compression, version), (their_codec(codec), 2));
    records
}

fn their_codec(codec: Codec) -> TheirCodec {
    match codec {
        Codec::None => TheirCodec::None,
        Codec::Gzip => TheirCodec::Gzip,
        Codec::Snappy => TheirCodec::Snappy,
        Codec::Lz4 => TheirCodec::Lz4,
        Codec::Zstd => TheirCodec::Zstd,
    }
}
