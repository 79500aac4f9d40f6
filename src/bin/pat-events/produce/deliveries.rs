//! What became of each line. In: a delivery for each record that was accepted. Out: nothing, or the first failure, by its line.
//!
//! A flush waits only for what is under way: what failed before it is told by nothing but its delivery.

use std::collections::VecDeque;

use pat_events::kafka::{Delivery, Error};

use crate::Outcome;

/// The most deliveries that are kept: beyond them the oldest is waited for. A long input must not fill the memory.
const MOST_OPEN: usize = 100_000;

/// The deliveries whose outcome is not known yet, in the order of their lines.
#[derive(Debug, Default)]
pub struct Deliveries {
    open: VecDeque<(u64, Delivery)>,
}

impl Deliveries {
    /// Looks at the oldest, and waits for it when there are very many. Fails with the first failure.
    pub async fn make_room(&mut self) -> Outcome {
        loop {
            let is_full = self.open.len() >= MOST_OPEN;
            let Some((line, oldest)) = self.open.front_mut() else {
                return Ok(());
            };
            let outcome = match is_full {
                true => Some(oldest.await),
                false => oldest.outcome(),
            };
            let Some(outcome) = outcome else {
                return Ok(());
            };
            let line = *line;
            self.open.pop_front();
            outcome.map_err(|error| lost(line, &error))?;
        }
    }

    /// Takes in what the record of this line is delivered by.
    pub fn push(&mut self, line: u64, delivery: Delivery) {
        self.open.push_back((line, delivery));
    }

    /// Waits for all that are left. Fails with the first failure, and says how many more there are.
    pub async fn all(self) -> Outcome {
        let (mut first, mut failed) = (None, 0u64);
        for (line, delivery) in self.open {
            if let Err(error) = delivery.await {
                failed += 1;
                first.get_or_insert_with(|| lost(line, &error));
            }
        }
        match first {
            None => Ok(()),
            Some(first) if failed == 1 => Err(first.into()),
            Some(first) => Err(format!("{first}; {} more records failed", failed - 1).into()),
        }
    }
}

fn lost(line: u64, error: &Error) -> String {
    format!("line {line}: {error}")
}
