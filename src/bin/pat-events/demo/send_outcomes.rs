//! What became of each event that was sent, as the producer knows it. In: deliveries. Out: how many failed, and which of those may have been
//! written all the same.

use std::collections::VecDeque;

use pat_events::kafka::{Delivery, Error, WriteOutcome};

/// The deliveries that are not known yet, and what the others came to.
#[derive(Debug, Default)]
pub struct SendOutcomes {
    open: VecDeque<Delivery>,
    lost: Lost,
}

/// Events that the producer gave up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Events that were certainly not written.
    pub not_written: u64,
    /// Events of which nobody can say whether they were written.
    pub unknown: u64,
    /// Why the first of them was given up.
    pub first: Option<String>,
}

impl SendOutcomes {
    /// Takes in the delivery of the event that was sent last.
    pub fn push(&mut self, delivery: Delivery) {
        self.open.push_back(delivery);
    }

    /// Looks at what is known by now, oldest first.
    pub fn look(&mut self) {
        while let Some(outcome) = self.open.front().and_then(Delivery::outcome) {
            self.open.pop_front();
            self.lost.note(outcome.err());
        }
    }

    /// What is known at the end; what is still open then is unknown.
    pub fn end(mut self) -> Lost {
        for delivery in self.open {
            match delivery.outcome() {
                Some(outcome) => self.lost.note(outcome.err()),
                None => self.lost.unknown += 1,
            }
        }
        self.lost
    }
}

impl Lost {
    fn note(&mut self, error: Option<Error>) {
        let Some(error) = error else { return };
        match error.outcome() {
            WriteOutcome::NotWritten => self.not_written += 1,
            // An error of a record that was written is none of those that say so.
            WriteOutcome::Written | WriteOutcome::Unknown => self.unknown += 1,
        }
        self.first.get_or_insert_with(|| error.to_string());
    }
}
