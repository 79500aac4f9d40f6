//! What became of each line. In: a delivery for each record that was accepted. Out: nothing, or the first failure, by its line, and how many
//! more there are.
//!
//! One record that brokers refuse takes no other with it: the lines after it are still read and written. Only where nothing goes through
//! any more it is not worth going on. A flush waits only for what is under way: what failed before it is told by nothing but its delivery.

use std::collections::VecDeque;

use pat_events::kafka::{Delivery, Error};

use super::lines::Place;
use crate::Outcome;

/// The most deliveries that are kept: beyond them the oldest is waited for. A long input must not fill the memory.
const MOST_OPEN: usize = 100_000;
/// How many lines in a row may fail before no more are read: more than go into the few batches of which a broker may refuse each as a whole.
const MOST_FAILED_IN_A_ROW: u64 = MOST_OPEN as u64;

/// The deliveries whose outcome is not known yet, in the order of their lines.
#[derive(Debug, Default)]
pub struct Deliveries {
    open: VecDeque<(Place, Delivery)>,
    /// The first failure, by its line.
    first: Option<String>,
    failed: u64,
    failed_in_a_row: u64,
}

impl Deliveries {
    /// Looks at the oldest, and waits for it when there are very many. Fails when nothing goes through any more.
    pub async fn make_room(&mut self) -> Outcome {
        loop {
            if self.failed_in_a_row >= MOST_FAILED_IN_A_ROW {
                return Err("nothing goes through: no more lines were read".into());
            }
            let is_full = self.open.len() >= MOST_OPEN;
            let Some((_, oldest)) = self.open.front_mut() else {
                return Ok(());
            };
            let outcome = match is_full {
                true => Some(oldest.await),
                false => oldest.outcome(),
            };
            let Some(outcome) = outcome else {
                return Ok(());
            };
            let error = outcome.err();
            if let Some((line, _)) = self.open.pop_front() {
                self.note(&line, error);
            }
        }
    }

    /// Takes in what the record of this line is delivered by.
    pub fn push(&mut self, line: Place, delivery: Delivery) {
        self.open.push_back((line, delivery));
    }

    /// Waits for all that are left. Fails with the first failure, and says how many more there are.
    pub async fn all(mut self) -> Outcome {
        while let Some((line, delivery)) = self.open.pop_front() {
            let outcome = delivery.await;
            self.note(&line, outcome.err());
        }
        match self.first {
            None => Ok(()),
            Some(first) if self.failed == 1 => Err(first.into()),
            Some(first) => Err(format!("{first}; {} more records failed", self.failed - 1).into()),
        }
    }

    fn note(&mut self, line: &Place, error: Option<Error>) {
        let Some(error) = error else {
            self.failed_in_a_row = 0;
            return;
        };
        self.failed += 1;
        self.failed_in_a_row += 1;
        self.first.get_or_insert_with(|| format!("{line}: {error}"));
    }
}
