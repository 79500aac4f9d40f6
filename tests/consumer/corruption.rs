//! Batches that cannot be read: one clear error each time, naming partition and offset, and a way past it.

use bytes::Bytes;
use pat_events::kafka::{Consumer, Error, ErrorKind};
use protocol::compression::{Codec, Compression};
use protocol::records::SealOptions;

use crate::harness::*;

fn changed(
    range: std::ops::Range<u32>,
    compression: Compression,
    change: impl FnOnce(&mut Vec<u8>),
) -> Bytes {
    let mut bytes = batch(range, compression, &SealOptions::default()).to_vec();
    change(&mut bytes);
    bytes.into()
}

/// Fixes the checksum of a batch that was changed.
fn resealed(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Good, bad, good: offsets 0–9, 10–19, 20–29.
async fn around(bad: Bytes) -> (Consumer, Error) {
    let broker = one_broker(1);
    fill(&broker, 0, 0..10, 10);
    assert_eq!(broker.append_unchecked("t", 0, bad), 1);
    fill(&broker, 0, 20..30, 10);
    let mut consumer = reader(&broker, 1, |_| {}).await;
    assert_eq!(read(&mut consumer, 10).await.len(), 10);
    let error = consumer
        .poll(ms(5_000))
        .await
        .expect_err("a batch that cannot be read");
    assert_eq!(error.kind(), ErrorKind::CorruptBatch);
    assert_eq!(
        (error.partition(), error.failed_offset()),
        (Some(&tp(0)), Some(10)),
        "{error}"
    );
    let again = consumer.poll(ms(5_000)).await.expect_err("still there");
    assert_eq!(
        again.failed_offset(),
        Some(10),
        "the error comes as long as the batch is next"
    );
    assert_eq!(consumer.position(&tp(0)), Some(10));
    (consumer, error)
}

async fn passes(mut consumer: Consumer, error: &Error) {
    assert_eq!(error.resume_offset(), Some(20), "{error}");
    consumer.seek(&tp(0), 20).expect("assigned");
    let rest: Vec<u32> = (20..30).collect();
    assert_eq!(read(&mut consumer, 10).await, rest);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_its_checksum_is_an_error_to_seek_past() {
    let bad = changed(10..20, Compression::NONE, |bytes| {
        *bytes.last_mut().expect("bytes") ^= 1
    });
    let (consumer, error) = around(bad).await;
    assert!(
        error.to_string().contains("t-0 at offset 10") && error.to_string().contains("CRC"),
        "{error}"
    );
    passes(consumer, &error).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_an_unknown_codec_is_an_error_to_seek_past() {
    let bad = changed(10..20, Compression::NONE, |bytes| {
        bytes[22] |= 7;
        resealed(bytes);
    });
    let (consumer, error) = around(bad).await;
    assert!(error.to_string().contains("codec"), "{error}");
    passes(consumer, &error).await;
}

#[tokio::test(start_paused = true)]
async fn damage_inside_a_compressed_batch_is_an_error_to_seek_past() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bad = changed(10..20, codec.into(), |bytes| {
            bytes[61..73].fill(0xFF);
            resealed(bytes);
        });
        let (consumer, error) = around(bad).await;
        passes(consumer, &error).await;
    }
}

#[tokio::test(start_paused = true)]
async fn records_before_a_malformed_one_come_out_first() {
    let broker = one_broker(1);
    let bad = changed(0..10, Compression::NONE, |bytes| {
        // The length of the last record: more than there is.
        let len = (bytes.len() - 61) / 10;
        let at = bytes.len() - len;
        bytes[at] = 0x7E;
        resealed(bytes);
    });
    broker.append_unchecked("t", 0, bad);
    let mut consumer = reader(&broker, 1, |_| {}).await;
    let first: Vec<u32> = (0..9).collect();
    assert_eq!(
        numbers(&consumer.poll(ms(5_000)).await.expect("records")),
        first
    );
    let error = consumer
        .poll(ms(5_000))
        .await
        .expect_err("a malformed record");
    assert_eq!(
        (error.failed_offset(), error.resume_offset()),
        (Some(9), Some(10))
    );
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_cannot_be_read_does_not_stop_the_others() {
    let broker = one_broker(2);
    broker.append_unchecked(
        "t",
        0,
        changed(0..10, Compression::NONE, |bytes| bytes[70] ^= 1),
    );
    fill(&broker, 1, 0..5_000, 100);
    let mut consumer = reader(&broker, 2, |_| {}).await;
    let (mut seen, mut errors) = (0, 0);
    while seen < 5_000 {
        match consumer.poll(ms(5_000)).await {
            Ok(records) => seen += records.count(),
            Err(error) => {
                assert_eq!(error.partition(), Some(&tp(0)));
                errors += 1;
            }
        }
        assert!(errors < 10_000, "only errors: {seen} records");
    }
    assert!(errors > 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_decompresses_to_more_than_the_budget_is_read_alone() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let broker = one_broker(1);
        fill_with(&broker, 0, 0..40_000, 20_000, codec.into());
        fill(&broker, 0, 40_000..40_010, 10);
        let mut consumer = reader(&broker, 1, |config| config.buffer_bytes = 200_000).await;
        let all = read(&mut consumer, 40_010).await;
        assert_eq!(all, (0..40_010).collect::<Vec<u32>>(), "{codec:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_decompresses_to_more_than_any_may_is_an_error_to_seek_past() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let broker = one_broker(1);
        fill_with(&broker, 0, 0..20_000, 20_000, codec.into());
        fill(&broker, 0, 20_000..20_010, 10);
        let mut consumer = reader(&broker, 1, |config| {
            config.buffer_bytes = 200_000;
            config.client.max_frame_bytes = 300_000;
        })
        .await;
        let error = consumer.poll(ms(5_000)).await.expect_err("too large");
        assert_eq!(
            (error.kind(), error.resume_offset()),
            (ErrorKind::CorruptBatch, Some(20_000)),
            "{codec:?}"
        );
        consumer.seek(&tp(0), 20_000).expect("assigned");
        assert_eq!(read(&mut consumer, 10).await.len(), 10);
    }
}
