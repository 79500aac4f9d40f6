//! What record batches take of memory: nothing for each record, and what a limit allows for a hostile batch or message set.
//! In: batches, bombs and absurd lengths. Out: counts of a counting allocator.

use allocation_counter::{AllocationInfo, measure};
use bytes::Bytes;
use pat_kafka_protocol::compression::{Buffer, Codec, CompressionError, Compressor, Decompressor};
use pat_kafka_protocol::records::{
    BatchBuilder, BatchIter, RecordBatch, RecordError, SealOptions, reclaim,
};

const LIMIT: usize = 1 << 20;
/// The contexts of a codec, however small the input.
const CONTEXT: usize = 512 << 10;
/// A growing vector is there twice while it moves, and up to twice as large as its content.
const GROWTH: usize = 3;

fn sealed(records: usize, value: &[u8], codec: Codec) -> Bytes {
    let mut batch = BatchBuilder::new(Vec::new());
    for _ in 0..records {
        batch.append(0, Some(b"key"), Some(value), []).unwrap();
    }
    let mut compressor = Compressor::new(codec.into());
    batch
        .seal(&SealOptions::default(), &mut compressor)
        .into_bytes()
}

/// Messages of magic 0 or 1, or one that has them inside it, compressed.
fn message_set(messages: usize, value: &[u8], magic: u8, codec: Codec) -> Bytes {
    let message = |offset: usize, codec: Codec, value: &[u8]| {
        let content = [
            &[magic, codec as u8],
            &[0; 8][..8 * usize::from(magic)], // the time, from magic 1 on
            &(-1i32).to_be_bytes(),            // no key
            &(value.len() as i32).to_be_bytes(),
            value,
        ]
        .concat();
        let crc = [0; 4]; // which decoding leaves to `verify_crc`
        let length = (crc.len() + content.len()) as i32;
        [
            &(offset as i64).to_be_bytes()[..],
            &length.to_be_bytes(),
            &crc,
            &content,
        ]
        .concat()
    };
    let set = (0..messages).map(|offset| message(offset, Codec::None, value));
    let set = set.collect::<Vec<_>>().concat();
    if codec == Codec::None {
        return set.into();
    }
    let mut compressed = Vec::new();
    let mut compressor = Compressor::new(codec.into());
    compressor.compress(&set, &mut compressed).unwrap();
    message(messages - 1, codec, &compressed).into()
}

/// Decodes whatever batches there are, with a decompressor of its own.
fn decode(records: Bytes, limit: usize) -> (Result<usize, RecordError>, AllocationInfo) {
    let mut result = Ok(0);
    let allocated = measure(|| {
        let mut decompressor = Decompressor::new();
        result = BatchIter::new(records.clone()).try_fold(0, |count, batch| {
            let decoded = batch?.decode(&mut decompressor, limit)?;
            decoded
                .records()
                .try_fold(count, |count, record| record.map(|_| count + 1))
        });
    });
    (result, allocated)
}

#[test]
fn appending_to_a_buffer_used_before_allocates_nothing() {
    let mut buffer = Vec::with_capacity(1 << 20);
    let allocated = measure(|| {
        let mut batch = BatchBuilder::new(std::mem::take(&mut buffer));
        let headers = [("name", Some(&b"value"[..])), ("empty", None)];
        for index in 0..1000 {
            batch
                .append(index, Some(b"key"), Some(&[7; 300]), headers)
                .unwrap();
            batch
                .append_with(index, None, 300, [], |value| value.fill(8))
                .unwrap();
        }
        buffer = batch.into_buffer();
    });
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn sealing_and_getting_the_buffer_back_allocates_once_however_long_the_batch() {
    for (codec, most) in [(Codec::None, 1), (Codec::Lz4, 1), (Codec::Snappy, 1)] {
        let mut compressor = Compressor::new(codec.into());
        let mut buffer = Vec::with_capacity(1 << 20);
        for round in 0..5 {
            let allocated = measure(|| {
                let mut batch = BatchBuilder::new(std::mem::take(&mut buffer));
                for index in 0..1000 {
                    batch.append(index, None, Some(&[7; 300]), []).unwrap();
                }
                let sealed = batch.seal(&SealOptions::default(), &mut compressor);
                buffer = reclaim(sealed.into_bytes()).unwrap();
            });
            // The first rounds get the buffers; after that there is the count of references.
            assert!(
                round < 2 || allocated.count_total <= most,
                "{codec}: {allocated:?}"
            );
        }
    }
}

#[test]
fn iterating_allocates_nothing() {
    for codec in Codec::ALL {
        let batch = RecordBatch::read(sealed(1000, &[7; 300], codec)).unwrap();
        let mut decoded = batch.decode(&mut Decompressor::new(), LIMIT).unwrap();
        let allocated = measure(|| {
            let records = decoded.clone();
            assert_eq!(records.records().map(Result::unwrap).count(), 1000);
            while let Some(record) = decoded.next_record() {
                assert_eq!(record.unwrap().value.unwrap().len(), 300);
            }
        });
        assert_eq!(allocated.count_total, 0, "{codec}");
    }
}

#[test]
fn decoding_again_uses_the_memory_of_the_last_batch() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = RecordBatch::read(sealed(3000, &[7; 300], codec)).unwrap();
        let mut decompressor = Decompressor::new();
        let first = measure(|| drop(batch.decode(&mut decompressor, LIMIT).unwrap()));
        let again = measure(|| drop(batch.decode(&mut decompressor, LIMIT).unwrap()));
        assert!(first.bytes_total > 900_000, "{codec}: {first:?}");
        assert!(again.bytes_total < 1000, "{codec}: {again:?}");
    }
}

#[test]
fn a_bomb_takes_no_more_than_the_limit_allows() {
    let content = vec![0; 8 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = sealed(1, &content, codec);
        let (result, allocated) = decode(bomb, LIMIT);
        assert!(
            matches!(result, Err(RecordError::Compression(_))),
            "{codec}: {result:?}"
        );
        let most = (CONTEXT + GROWTH * LIMIT) as u64;
        assert!(allocated.bytes_max <= most, "{codec}: {allocated:?}");
    }
}

#[test]
fn a_zstd_bomb_that_says_nothing_of_its_size_takes_its_window_and_keeps_nothing() {
    // A frame without a content size, with a window of 128 MiB: blocks of four bytes that say "128 KiB of zeros".
    let mut bomb = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 0x88];
    for _ in 0..64 {
        bomb.extend([0x02, 0, 0x10, 0]);
    }
    let mut decompressor = Decompressor::new();
    let mut result = Ok(());
    let allocated = measure(|| {
        let mut out = Buffer::new();
        result = decompressor.decompress(Codec::Zstd, &bomb, LIMIT, &mut out);
    });
    let (codec, limit) = (Codec::Zstd, LIMIT);
    assert_eq!(result, Err(CompressionError::TooLarge { codec, limit }));
    let most = (CONTEXT + (GROWTH + 2) * LIMIT) as u64;
    assert!(allocated.bytes_max <= most, "{allocated:?}");
    let kept = allocated.bytes_current;
    assert!(kept <= CONTEXT as i64, "{allocated:?}");
}

#[test]
fn small_messages_inside_a_compressed_one_take_no_more_than_large_ones() {
    for (magic, message_len) in [(0, 26), (1, 34)] {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let messages = LIMIT / message_len;
            let set = message_set(messages, b"", magic, codec);
            let (result, allocated) = decode(set, LIMIT);
            assert_eq!(result, Ok(messages), "magic {magic}, {codec}");
            let most = (CONTEXT + GROWTH * LIMIT) as u64;
            assert!(
                allocated.bytes_max <= most,
                "magic {magic}, {codec}: {allocated:?}"
            );
        }
    }
}

#[test]
fn a_hostile_number_anywhere_in_a_batch_or_message_set_takes_no_memory() {
    let hostile = [
        &[0x7F, 0xFF, 0xFF, 0xFF][..],
        &[0x80, 0, 0, 0],
        &[0xFE, 0xFF, 0xFF, 0xFF, 0x0F],
        &[0xFF, 0xFF, 0xFF, 0x7F],
    ];
    let batches = Codec::ALL.map(|codec| (format!("{codec}"), sealed(3, b"value", codec)));
    // zstd came with magic 2.
    let legacy = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4];
    let sets = [0, 1].into_iter().flat_map(|magic| {
        legacy.map(|codec| {
            (
                format!("magic {magic}, {codec}"),
                message_set(3, b"value", magic, codec),
            )
        })
    });
    let mut inputs = 0;
    for (name, batch) in batches.into_iter().chain(sets) {
        assert_eq!(decode(batch.clone(), usize::MAX).0, Ok(3), "{name}");
        for at in 0..batch.len() {
            for number in hostile {
                let mut bytes = batch.to_vec();
                let end = bytes.len().min(at + number.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
                let (_, allocated) = decode(Bytes::from(bytes), usize::MAX);
                assert!(
                    allocated.bytes_max <= CONTEXT as u64,
                    "{name}, {number:?} at {at}: {allocated:?}"
                );
                inputs += 1;
            }
        }
    }
    println!("{inputs} batches and message sets with a hostile number");
}
