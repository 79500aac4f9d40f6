//! What a run is about: each seed draws a story and a few of the things that can go wrong in it, so that every run is short and all of them
//! together are broad.

use std::time::Duration;

use protocol::ErrorCode;

use crate::dice::Dice;
use crate::network::Weather;
use crate::wire::Wire;

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// A bad network, and brokers that come and go: whatever happens, nothing may be lost, doubled, or stuck.
    Storm,
    /// A good network, where brokers only say what healthy brokers say: what is strange is in what applications do, and in how much. Here
    /// everything must go well.
    Calm,
    /// The topic is deleted and created anew under its name.
    Recreated,
    /// No broker runs for longer than every timeout.
    Outage,
}

/// How a run goes; drawn once.
#[derive(Clone, Debug)]
pub struct Plan {
    pub story: Story,
    pub wire: Wire,
    /// The group is one of typed consumers, not of polling ones.
    pub typed: bool,
    /// Where the group begins without a commit: at the end, instead of at the beginning.
    pub latest: bool,
    /// The reader that is in no group never moves by itself.
    pub none: bool,
    pub session_timeout: Duration,
    pub max_poll_interval: Duration,
    pub shutdown_timeout: Duration,
    /// How long handlers of typed consumers take, and what members that poll do between polls and in their hooks.
    pub work: Work,
    pub hook: Duration,
    /// Of a hundred records, how many are refused by the broker: too large, or without a key in a compacted topic.
    pub refused_percent: u64,
    pub compacted: bool,
    /// How long a producer is told to wait, time after time.
    pub quota: Option<Duration>,
    /// Answers that nobody can read.
    pub garbled: bool,
    /// Answers to commits that do not say what was committed.
    pub unconfirmed: bool,
    /// The metadata that a commit may have.
    pub metadata_bytes: usize,
    /// Requests are answered with any error there is.
    pub any_error: bool,
    /// Of a hundred records, how many are given up while they are being accepted.
    pub cancelled_percent: u64,
    /// Partitions are added.
    pub grows: bool,
    /// For how long things happen.
    pub lasts: Duration,
}

/// How long it takes to finish a record: mostly little, now and then much.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub slow_percent: u64,
    pub slow: Duration,
}

impl Work {
    const NONE: Work = Work {
        slow_percent: 0,
        slow: Duration::ZERO,
    };
}

const SECOND: Duration = Duration::from_secs(1);

impl Plan {
    pub fn draw(dice: &Dice) -> Self {
        let story = match dice.between(0, 99) {
            0..45 => Story::Storm,
            45..75 => Story::Calm,
            75..88 => Story::Recreated,
            _ => Story::Outage,
        };
        let wire = *dice.pick(&[Wire::Raw, Wire::Own, Wire::Email]);
        let typed = dice.chance(60) && wire != Wire::Raw;
        let calm = story == Story::Calm;
        let session_timeout = *dice.pick(&[SECOND * 6, SECOND * 10, SECOND * 45]);
        let max_poll_interval = *dice.pick(&[SECOND * 20, SECOND * 300, SECOND * 300]);
        let slow = Work {
            slow_percent: *dice.pick(&[2, 20]),
            slow: *dice.pick(&[SECOND * 3, SECOND * 12, SECOND * 60]),
        };
        let hook = *dice.pick(&[SECOND * 2, SECOND * 15, SECOND * 60]);
        let (slow_handler, slow_hook) = (
            dice.chance(50) && typed && story != Story::Outage,
            dice.chance(50) && !typed && story != Story::Outage,
        );
        let refused = dice.chance(30) && calm;
        let compacted = dice.chance(15) && calm;
        let quota = dice.chance(25) && calm && !refused && !compacted;
        let grows = dice.chance(if calm { 50 } else { 15 });
        let latest = dice.chance(40) && calm;
        let recreated = story == Story::Recreated;
        let plan = Self {
            story,
            wire,
            typed,
            latest,
            none: dice.chance(40) && recreated,
            session_timeout,
            max_poll_interval,
            shutdown_timeout: *dice.pick(&[SECOND * 5, SECOND * 15]),
            work: if slow_handler { slow } else { Work::NONE },
            hook: if slow_hook { hook } else { Duration::ZERO },
            refused_percent: if refused || compacted { 10 } else { 0 },
            compacted,
            quota: quota.then(|| dice.millis(500, 5_000)),
            garbled: dice.chance(25) && calm,
            unconfirmed: dice.chance(25) && !typed && story != Story::Outage,
            metadata_bytes: if dice.chance(40) && typed { 8 } else { 4_096 },
            any_error: dice.chance(40) && story == Story::Storm,
            cancelled_percent: if dice.chance(25) { 10 } else { 0 },
            grows,
            lasts: Duration::ZERO,
        };
        let slow = slow_handler || slow_hook;
        let lasts = match story {
            Story::Storm | Story::Calm | Story::Recreated if slow => dice.millis(20_000, 120_000),
            Story::Storm | Story::Recreated => dice.millis(1_000, 40_000),
            Story::Calm => dice.millis(1_000, 30_000),
            Story::Outage => dice.millis(20_000, 300_000),
        };
        Self { lasts, ..plan }
    }

    pub fn weather(&self, dice: &Dice) -> Weather {
        let weather = Weather::draw(dice);
        match self.story {
            Story::Storm => weather,
            _ => Weather::calm(dice),
        }
    }

    /// Nothing that is accepted and good may fail.
    pub fn all_is_well(&self) -> bool {
        self.story == Story::Calm
    }

    /// Whether every event is handled once: all members stop in good order, all handlers are done before anybody loses patience, and a commit
    /// has room to say what is finished beyond it.
    pub fn is_handled_once(&self) -> bool {
        self.all_is_well()
            && self.work.slow < self.shutdown_timeout.min(self.max_poll_interval / 2)
            && self.metadata_bytes >= 4_096
    }

    /// Whether what a member commits in its hook is in time.
    pub fn hook_is_in_time(&self) -> bool {
        self.all_is_well() && self.hook + SECOND * 5 < self.max_poll_interval
    }

    /// Whether the run is so long that readers look less often.
    pub fn is_long(&self) -> bool {
        self.lasts > SECOND * 20
    }
}

/// Errors that say what is not so when nothing of the kind has happened: an application has every right to act on them.
const CLAIMS: &[ErrorCode] = &[
    // The batch is there already.
    ErrorCode::DUPLICATE_SEQUENCE_NUMBER,
    // The log is another one than the reader thinks.
    ErrorCode::OFFSET_OUT_OF_RANGE,
    // Somebody else has taken over, or the client is not who it says, or too old: for good.
    ErrorCode::FENCED_INSTANCE_ID,
    ErrorCode::SASL_AUTHENTICATION_FAILED,
    ErrorCode::UNSUPPORTED_VERSION,
];

/// Any error, by its number, that claims nothing; now and then one that nobody knows.
pub fn any_error(dice: &Dice) -> ErrorCode {
    let known: Vec<ErrorCode> = ErrorCode::all()
        .filter(|code| !code.is_ok() && !CLAIMS.contains(code))
        .collect();
    match dice.between(0, 9) {
        0 => ErrorCode(dice.between(1_000, 2_000) as i16),
        _ => *dice.pick(&known),
    }
}
