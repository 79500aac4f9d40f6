//! A Fetch response's records of any magic: no panic, and records that can be read survive being written again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pat_events_fuzz::bounded;
use pat_events_fuzz::codecs::{LIMIT, most_memory};
use protocol::compression::{Compressor, Decompressor};
use protocol::records::{
    BatchBuilder, BatchIter, ControlRecord, DecodedBatch, RecordBatch, SealOptions,
};

fuzz_target!(|data: &[u8]| {
    let mut decompressor = Decompressor::new();
    for batch in BatchIter::new(Bytes::copy_from_slice(data)).flatten() {
        let _ = batch.verify_crc();
        let Ok(mut decoded) = bounded(most_memory(LIMIT), || {
            batch.decode(&mut decompressor, LIMIT)
        }) else {
            continue;
        };
        if decoded.check().is_ok() {
            write_again(&decoded);
        }
        for record in decoded.records().map_while(Result::ok) {
            let _ = ControlRecord::parse(record.key, record.value);
        }
        decoded.skip_to(batch.base_offset().saturating_add(2));
        let front = decoded.split_to(3);
        let _ = (front.check(), decoded.check());
    }
});

/// Header keys are bytes on the wire and text to producers: records with other bytes in them are left out.
fn write_again(decoded: &DecodedBatch) {
    let mut batch = BatchBuilder::new(Vec::new());
    let mut expected = Vec::new();
    for record in decoded.records().map_while(Result::ok) {
        let headers: Option<Vec<_>> = record
            .headers
            .iter()
            .map(|header| Some((std::str::from_utf8(header.key).ok()?, header.value)))
            .collect();
        let Some(headers) = headers else { continue };
        let appended = batch.append(record.timestamp_ms, record.key, record.value, headers);
        assert_eq!(appended, Ok(expected.len() as u32));
        expected.push(record);
    }
    let mut none = Compressor::new(Default::default());
    let sealed = batch.seal(&SealOptions::default(), &mut none);
    let batch = RecordBatch::read(sealed.into_bytes()).expect("our own batch");
    batch.verify_crc().expect("our own CRC");
    let again = batch
        .decode(&mut Decompressor::new(), LIMIT)
        .expect("our own records");
    let mut records = again.records();
    for record in expected {
        let read = records.next().expect("as many records").expect("our own");
        assert_eq!(
            (read.timestamp_ms, read.key, read.value),
            (record.timestamp_ms, record.key, record.value)
        );
        // Not byte by byte: a number may be written longer than it need be.
        assert!(read.headers.iter().eq(record.headers.iter()));
    }
    assert!(records.next().is_none());
}
