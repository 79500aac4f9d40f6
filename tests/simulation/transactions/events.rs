//! What is noted of applications that write in transactions.

use crate::history::Id;

/// The topics that they write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// What writers write, in transactions and without; the loops read it.
    Ledger,
    /// What writers write in the same transactions.
    Audit,
    /// What the loops write.
    Outputs,
    /// The same once more: untyped loops write every record to both.
    Copies,
}

impl Topic {
    pub const ALL: [Self; 4] = [Self::Ledger, Self::Audit, Self::Outputs, Self::Copies];
    /// What writers write to.
    pub const INPUTS: [Self; 2] = [Self::Ledger, Self::Audit];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Audit => "audit",
            Self::Outputs => "outputs",
            Self::Copies => "copies",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }

    pub fn partitions(self) -> i32 {
        match self {
            Self::Ledger | Self::Outputs => 3,
            Self::Audit | Self::Copies => 2,
        }
    }
}

/// How a transaction ended, as the application was told. What is written without a transaction is one of a single record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    Committed,
    /// As the application wanted.
    Aborted,
    /// Though the application wanted to commit it.
    NotCommitted,
    Unknown,
}

/// One thing that happened. Writers are instances: a hundred numbers for each transactional id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionEvent {
    /// The instance is about to take over its transactional id, or has it.
    Connects {
        writer: u32,
    },
    Connected {
        writer: u32,
    },
    Begun {
        writer: u32,
        transaction: u32,
    },
    /// The record was accepted.
    Accepted {
        id: Id,
        topic: Topic,
        partition: i32,
        key: u32,
    },
    /// The record of a transaction that is reported as committed was acknowledged there.
    Acknowledged {
        id: Id,
        topic: Topic,
        partition: i32,
        offset: i64,
    },
    /// The offset that stands for the transaction is to be committed with it.
    SendsOffset {
        writer: u32,
        transaction: u32,
    },
    /// The application commits or aborts it.
    Decides {
        writer: u32,
        transaction: u32,
        commit: bool,
    },
    Ended {
        writer: u32,
        transaction: u32,
        how: Ended,
    },
    /// A loop came to an end by an error.
    LoopFails {
        member: u32,
    },
    /// The instance runs no more.
    Stops {
        writer: u32,
    },
    /// The reader of what is committed was given the record.
    Sees {
        topic: Topic,
        partition: i32,
        offset: i64,
        id: Id,
    },
    /// The coordinator has this offset of the writers' group, or of the loops' for a partition.
    OffsetOfWriters {
        place: u32,
        next: i64,
    },
    OffsetOfLoops {
        partition: i32,
        next: i64,
    },
}

/// Records of one transaction have numbers from here on.
const NUMBERS: u32 = 1_000;
/// As many instances may have one transactional id.
const INSTANCES: u32 = 100;

/// What the `index`th record of a transaction is known by.
pub fn number_of(transaction: u32, index: u32) -> u32 {
    transaction * NUMBERS + index
}

/// The writer and transaction of a record.
pub fn transaction_of(id: Id) -> (u32, u32) {
    (id.producer, id.number / NUMBERS)
}

/// Whose transactional id an instance has.
pub fn place_of(writer: u32) -> u32 {
    writer / INSTANCES
}

/// The offset that stands for a transaction: later ones of a place have higher ones.
pub fn offset_of(writer: u32, transaction: u32) -> i64 {
    i64::from(writer % INSTANCES) * 1_000_000 + i64::from(transaction)
}
