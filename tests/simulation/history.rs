//! What happened in a run, as the application saw it, in order. The checker reads it; its hash tells two runs apart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use crate::transactions::TransactionEvent;

/// A record is known by who sent it and as its how-manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub producer: u32,
    pub number: u32,
}

/// Which of the topics that had the name one after the other; the first is 0.
pub type Incarnation = u32;

/// What the application was told of a record that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportedOutcome {
    Written {
        partition: i32,
        offset: i64,
    },
    NotWritten,
    /// Not written, because `delivery.timeout.ms` was over.
    Expired,
    Unknown,
}

/// The groups of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Of consumers that are polled.
    Polling,
    /// Of typed consumers.
    Typed,
}

/// What a member of a share group has decided of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    Accept,
    Release,
    Reject,
    /// Its lock begins anew.
    Renew,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The producer accepted the record. A broker takes one that is good, and refuses any other.
    Accepted {
        id: Id,
        key: u32,
        good: bool,
    },
    /// The delivery of the record was reported.
    Reported {
        id: Id,
        outcome: ReportedOutcome,
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
    Seeked {
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
    Assigned {
        reader: u32,
        partition: i32,
    },
    Revoked {
        reader: u32,
        partition: i32,
    },
    /// What the member was asked to give back, or lost, is given up: others may have it.
    Released {
        reader: u32,
        partition: i32,
    },
    /// A group's member is in this generation, or member epoch, or in none.
    InEpoch {
        reader: u32,
        epoch: Option<i32>,
    },
    /// A group's member asked to have `next` committed for the partition, or heard that it is, or is not.
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
    /// What a member finished before its partitions go to another could not be committed, though it took no longer than it may.
    CommitRefused {
        reader: u32,
    },
    /// A reader runs from now on, or runs no more.
    Starts {
        reader: u32,
    },
    Stops {
        reader: u32,
    },
    /// A handler of a typed consumer begins with the record, or has finished it.
    Begins {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
    },
    Ends {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// A handler of a typed consumer has failed with the record.
    Fails {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// The record is in the topic of dead letters.
    Dead {
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// The record is in a retry topic, where it counts as finished in its own.
    SentToRetry {
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// A member of the share group was given the record: so often has it been delivered with that.
    Acquired {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
        count: u32,
    },
    /// A member of the share group has decided what becomes of this delivery, or heard whether the brokers have taken that.
    Decides {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
        count: u32,
        how: Decision,
    },
    Settled {
        reader: u32,
        partition: i32,
        offset: i64,
        id: Id,
        count: u32,
        how: Decision,
        done: bool,
    },
    /// The record is in the topic of dead letters of the share group's queues.
    QueueDead {
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// A reader said that something fails.
    ReportsFailure {
        reader: u32,
    },
    /// The coordinator has this commit of the group now.
    Stored {
        group: Group,
        partition: i32,
        next: i64,
    },
    /// The topic was created anew under its name, or got more partitions.
    Created {
        incarnation: Incarnation,
        partitions: i32,
    },
    Grown {
        partitions: i32,
    },
    /// No broker runs from now on, or all run again.
    Down,
    Up,
    /// Something of the applications that write in transactions.
    InTransactions(TransactionEvent),
}

impl Event {
    /// Which of them it is.
    pub fn name(&self) -> String {
        let text = match self {
            Self::InTransactions(event) => format!("Transaction{event:?}"),
            event => format!("{event:?}"),
        };
        let end = text.find(|letter: char| !letter.is_alphabetic());
        text[..end.unwrap_or(text.len())].to_string()
    }
}

/// All that happened, when (in milliseconds since the start), and the logs of all incarnations of the topic as they stand at the end, or stood when
/// it was deleted: (incarnation, partition, offset, record).
#[derive(Clone, Debug, Default)]
pub struct History {
    pub events: Vec<Event>,
    pub times: Vec<u64>,
    pub log: Vec<(Incarnation, i32, i64, Id)>,
    /// Under which producer ids and epochs the records were written: no epoch of another id fences what is held back of them.
    pub producers: BTreeMap<Id, (i64, i16)>,
}

impl History {
    /// A hash that is the same on every machine and in every run (FNV-1a over the debug text).
    pub fn hash(&self) -> u64 {
        format!("{:?}{:?}{:?}", self.events, self.times, self.log)
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }
}

/// Takes down what happens, from every task of a run.
#[derive(Clone, Debug)]
pub struct Recorder {
    start: Instant,
    notes: Arc<Mutex<Vec<(u64, Event)>>>,
}

impl Recorder {
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            notes: Arc::default(),
        }
    }

    pub fn record(&self, event: Event) {
        let at = self.start.elapsed().as_millis() as u64;
        self.notes.lock().expect("no note panics").push((at, event));
    }

    /// Looks at what was noted from the `from`th note on, and returns how many notes there are.
    pub fn read(&self, from: usize, mut see: impl FnMut(&Event)) -> usize {
        let notes = self.notes.lock().expect("no note panics");
        notes[from..].iter().for_each(|(_, event)| see(event));
        notes.len()
    }

    /// All that was noted.
    pub fn history(
        &self,
        log: Vec<(Incarnation, i32, i64, Id)>,
        producers: BTreeMap<Id, (i64, i16)>,
    ) -> History {
        let notes = self.notes.lock().expect("no note panics").clone();
        let (times, events) = notes.into_iter().unzip();
        History {
            events,
            times,
            log,
            producers,
        }
    }
}
