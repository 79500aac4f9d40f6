//! What is drawn of the applications that write in transactions.

use std::time::Duration;

use crate::plan::Scenario;
use crate::record_format::RecordFormat;
use crate::rng::Rng;

const SECOND: Duration = Duration::from_secs(1);

/// The applications of a run that write in transactions.
#[derive(Clone, Copy, Debug)]
pub struct Transactional {
    /// The feature `transaction.version` of the cluster: by 2 each transaction has an epoch of its own (KIP-890).
    pub version: u8,
    /// How many transactional ids writers have.
    pub writers: u32,
    /// How many transactions each of them writes at the most.
    pub transactions: u32,
    /// Members of the group that reads what they write, transforms it and writes it anew.
    pub loops: u32,
    /// The members are those of typed events.
    pub typed: bool,
    /// `transaction.timeout.ms`.
    pub timeout: Duration,
    /// Of a hundred transactions, how many are open for longer than that.
    pub late_percent: u64,
    /// How long a coordinator that takes over is loading.
    pub load_time: Duration,
    /// Producers come near their last epoch.
    pub epochs_end: bool,
}

impl Transactional {
    pub fn draw(rng: &Rng, scenario: Scenario, format: RecordFormat, lasts: Duration) -> Self {
        let calm = scenario == Scenario::Calm;
        let late = rng.chance(40);
        Self {
            version: *rng.pick(&[2, 2, 0]),
            writers: rng.between(1, 3) as u32,
            transactions: rng.between(5, 30) as u32,
            loops: rng.between(0, 2) as u32,
            typed: rng.chance(50) && format != RecordFormat::Raw,
            timeout: match lasts > SECOND * 30 {
                true => *rng.pick(&[SECOND * 10, SECOND * 60]),
                false => *rng.pick(&[SECOND * 2, SECOND * 10, SECOND * 60]),
            },
            late_percent: if late && !calm { 5 } else { 0 },
            load_time: *rng.pick(&[Duration::ZERO, SECOND / 2, SECOND * 3]),
            epochs_end: rng.chance(20),
        }
    }

    /// What there is of them, for the table of what is drawn.
    pub fn features(&self) -> Vec<String> {
        let is = [
            (true, "transactions"),
            (self.version < 2, "transactions, the flow before KIP-890"),
            (self.loops > 0, "transactions, exactly-once loops"),
            (
                self.loops > 0 && self.typed,
                "transactions, exactly-once loops of events",
            ),
            (self.late_percent > 0, "transactions open for too long"),
            (
                !self.load_time.is_zero(),
                "transactions, coordinators that load",
            ),
            (self.epochs_end, "transactions, epochs that end"),
        ];
        let is = is.into_iter().filter_map(|(is, what)| is.then_some(what));
        is.map(|what| format!("plan: {what}")).collect()
    }
}
