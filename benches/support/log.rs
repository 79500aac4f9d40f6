//! A log of records of about 300 bytes, as consumers read it.

use bytes::{Bytes, BytesMut};
use protocol::compression::{Codec, Compressor};
use protocol::records::{BatchBuilder, SealOptions};

pub const RECORDS_A_BATCH: u32 = 500;

/// Text that compresses about as well as mails do.
fn value(number: u32) -> String {
    let words = [
        "invoice",
        "meeting",
        "tomorrow",
        "unsubscribe",
        "regards",
        "attachment",
        "hello",
    ];
    let mut random = number;
    let mut text = String::new();
    while text.len() < 270 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text += words[random as usize % words.len()];
        text += &format!(" {:x} ", random >> 8);
    }
    text
}

/// The log of a partition: so many batches of [`RECORDS_A_BATCH`] records.
pub fn log(codec: Codec, batches: u32) -> Bytes {
    let none: [(&str, Option<&[u8]>); 0] = [];
    let mut compressor = Compressor::new(codec.into());
    let mut bytes = BytesMut::new();
    for batch in 0..batches {
        let mut builder = BatchBuilder::new(Vec::new());
        for number in 0..RECORDS_A_BATCH {
            let value = value(batch * RECORDS_A_BATCH + number);
            let appended = builder.append(
                0,
                Some(&value.as_bytes()[..26]),
                Some(value.as_bytes()),
                none,
            );
            appended.expect("room in the batch");
        }
        bytes.extend_from_slice(
            builder
                .seal(&SealOptions::default(), &mut compressor)
                .bytes(),
        );
    }
    bytes.freeze()
}
