//! What happened in a run, as the application saw it, in order. The checker reads it; its hash tells two runs apart.

use std::sync::{Arc, Mutex};

/// A record is known by who sent it and as its how-manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub producer: u32,
    pub number: u32,
}

impl Id {
    pub fn to_value(self) -> [u8; 8] {
        let mut value = [0; 8];
        value[..4].copy_from_slice(&self.producer.to_be_bytes());
        value[4..].copy_from_slice(&self.number.to_be_bytes());
        value
    }

    /// Reads what [`Id::to_value`] wrote; bytes behind it are padding.
    pub fn from_value(value: &[u8]) -> Option<Self> {
        let (producer, rest) = value.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<4>()?;
        Some(Self {
            producer: u32::from_be_bytes(*producer),
            number: u32::from_be_bytes(*number),
        })
    }
}

/// What the application was told of a record that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    Written { partition: i32, offset: i64 },
    NotWritten,
    Unknown,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The producer accepted the record.
    Accepted {
        id: Id,
        key: u32,
    },
    /// The delivery of the record was reported.
    Reported {
        id: Id,
        told: Told,
    },
    /// A flush of the producer came back.
    Flushed {
        producer: u32,
    },
    /// A consumer handed the record to the application.
    Polled {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// A reader was told to go on at this offset.
    Sought {
        reader: u32,
        partition: i32,
        offset: i64,
    },
    /// A reader was told to leave a partition alone, or to go on with it.
    Paused {
        reader: u32,
        partition: i32,
    },
    Resumed {
        reader: u32,
        partition: i32,
    },
    /// A group's member was given the partition and starts, or was asked to give it back and ends.
    Owns {
        reader: u32,
        partition: i32,
    },
    Yields {
        reader: u32,
        partition: i32,
    },
    /// A group's member asked to have `next` committed for the partition, or heard that it is.
    Committing {
        reader: u32,
        partition: i32,
        next: i64,
    },
    Committed {
        reader: u32,
        partition: i32,
        next: i64,
    },
}

/// All that happened, and the log as it stands at the end: (partition, offset, record).
#[derive(Clone, Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
    pub log: Vec<(i32, i64, Id)>,
}

impl History {
    /// A hash that is the same on every machine and in every run (FNV-1a over the debug text).
    pub fn hash(&self) -> u64 {
        format!("{:?}{:?}", self.events, self.log)
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }
}

/// Takes down what happens, from every task of a run.
#[derive(Clone, Debug, Default)]
pub struct Scribe(Arc<Mutex<Vec<Event>>>);

impl Scribe {
    pub fn note(&self, event: Event) {
        self.0.lock().expect("no note panics").push(event);
    }

    pub fn events(&self) -> Vec<Event> {
        self.0.lock().expect("no note panics").clone()
    }
}
