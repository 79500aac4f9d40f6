//! What a run is about: each seed draws a scenario and a few of the things that can go wrong in it, so that every run is short and all of them
//! together are broad.

use std::time::Duration;

use pat_events::kafka::{AssignmentStrategies, AssignmentStrategy, GroupProtocol};
use protocol::ErrorCode;

use crate::history::Id;
use crate::network::NetworkConditions;
use crate::record_format::RecordFormat;
use crate::rng::Rng;
use crate::transactions::Transactional;

/// What a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// A bad network, and brokers that come and go: whatever happens, nothing may be lost, doubled, or stuck.
    Chaos,
    /// A good network, where brokers only say what healthy brokers say: what is strange is in what applications do, and in how much. Here
    /// everything must go well.
    Calm,
    /// The topic is deleted and created anew under its name.
    TopicRecreated,
    /// No broker runs for longer than every timeout.
    Outage,
}

/// How a run goes; drawn once.
#[derive(Clone, Debug)]
pub struct Plan {
    pub scenario: Scenario,
    pub format: RecordFormat,
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
    pub listener_delay: Duration,
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
    pub security: Security,
    /// How handlers of typed consumers fail, if they do.
    pub failing: Option<Failing>,
    /// How long events wait in retry topics; without any they are retried in place only.
    pub retry_delays: Vec<Duration>,
    /// How the members of the group may have partitions assigned.
    pub strategies: AssignmentStrategies,
    /// By which protocols they are members of it.
    pub protocols: Protocols,
    /// Each place in the group is a static member's (KIP-345).
    pub is_static: bool,
    /// Some members of the consumer protocol leave it to the brokers to match a pattern.
    pub broker_patterns: bool,
    /// Handlers of typed consumers are called with batches of so many events.
    pub batched: Option<usize>,
    /// The share group that reads as well, if there is one.
    pub sharing: Option<Sharing>,
    /// The producers and readers of the one topic; otherwise there are only those that write in transactions, and a share group.
    pub others: bool,
    /// The applications that write in transactions, if there are any.
    pub transactions: Option<Transactional>,
    /// The epoch with which producer ids begin: near the last one, recoveries use them up.
    pub first_producer_epoch: i16,
    /// For how long things happen.
    pub lasts: Duration,
}

/// A share group (KIP-932), and how its members work.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    /// They are queues of events; otherwise they are polled.
    pub queues: bool,
    pub members: u32,
    /// For how long a record is its member's.
    pub lock: Duration,
    /// How often a record is delivered at the most.
    pub delivery_limit: u8,
    pub slow_percent: u64,
    pub slow: Duration,
    /// How handlers of queues fail.
    pub failing: Failing,
}

impl Sharing {
    fn draw(rng: &Rng, scenario: Scenario, format: RecordFormat, lasts: Duration) -> Self {
        let slow = *rng.pick(&[SECOND / 2, SECOND * 2, SECOND * 12, SECOND * 60]);
        // Who does not poll for long does not hear that no broker runs.
        let is_long = lasts > SECOND * 20 && scenario != Scenario::Outage;
        Self {
            queues: rng.chance(50) && format != RecordFormat::Raw,
            members: rng.between(1, 3) as u32,
            lock: *rng.pick(&[SECOND * 3, SECOND * 10, SECOND * 30]),
            // Where deliveries are lost on their way they count all the same.
            delivery_limit: 200,
            slow_percent: *rng.pick(&[2, 20]),
            slow: if is_long { slow } else { slow.min(SECOND * 2) },
            failing: Failing::draw(rng, lasts),
        }
    }
}

/// By which protocols the members of a group are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    All(GroupProtocol),
    /// Side by side.
    Mixed,
    /// The first that take their places by the first, all that come after them by the second: the group changes over while it is read.
    Changing(GroupProtocol, GroupProtocol),
}

impl Protocols {
    fn draw(rng: &Rng) -> Self {
        use GroupProtocol::{Auto, Classic, Consumer};
        match rng.between(0, 99) {
            0..30 => Self::All(Classic),
            30..55 => Self::All(Consumer),
            55..60 => Self::All(Auto),
            60..75 => Self::Mixed,
            75..90 => Self::Changing(Classic, Consumer),
            _ => Self::Changing(Consumer, Classic),
        }
    }

    /// By which one this member is, the `nth` in its place of the group.
    pub fn of(self, reader: u32) -> GroupProtocol {
        use GroupProtocol::{Auto, Classic, Consumer};
        let (slot, nth) = (reader / 100, reader % 100);
        match self {
            Self::All(protocol) => protocol,
            Self::Mixed => [Classic, Consumer, Auto][((slot + nth) % 3) as usize],
            Self::Changing(first, _) if nth == 0 => first,
            Self::Changing(_, then) => then,
        }
    }

    /// Whether there are members of the classic protocol.
    #[cfg(planted_defects)]
    pub fn has_classic(self) -> bool {
        match self {
            Self::All(protocol) => protocol == GroupProtocol::Classic,
            Self::Mixed | Self::Changing(..) => true,
        }
    }

    /// Whether there are members of the consumer protocol (KIP-848).
    pub fn has_consumer(self) -> bool {
        self != Self::All(GroupProtocol::Classic)
    }

    /// Whether all are of one protocol: the group's epochs never begin anew then.
    pub fn is_one(self) -> bool {
        matches!(self, Self::All(_))
    }
}

/// How handlers fail.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    /// Of a hundred events, how many fail for a while, and how many for ever.
    transient_percent: u64,
    poison_percent: u64,
    /// For how long there is no topic for dead letters.
    pub no_dead_topic: Duration,
}

/// What handlers do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// So many attempts of each consumer fail.
    Transient(u32),
    Poison,
}

impl Failing {
    fn draw(rng: &Rng, lasts: Duration) -> Self {
        Self {
            transient_percent: *rng.pick(&[5, 30]),
            poison_percent: *rng.pick(&[1, 10]),
            no_dead_topic: *rng.pick(&[Duration::ZERO, lasts / 2, lasts]),
        }
    }

    /// The same whenever and wherever the event is handled.
    pub fn fate(&self, id: Id) -> Fate {
        let number = u64::from(id.producer) << 32 | u64::from(id.number);
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        match mixed % 100 {
            it if it < self.poison_percent => Fate::Poison,
            it if it < self.poison_percent + self.transient_percent => {
                Fate::Transient(1 + id.number % 2)
            }
            _ => Fate::Good,
        }
    }
}

/// How connections begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Security {
    pub tls: bool,
    /// How clients say who they are; they may do no more than they have to.
    pub mechanism: Option<&'static str>,
    /// How long they are believed.
    pub session: Duration,
}

impl Security {
    fn draw(rng: &Rng, lasts: Duration) -> Self {
        let session = rng.millis(3_000, 10_000);
        // Keys are derived, and certificates checked, at every connection: in short runs only, and in few.
        let is_long = lasts > SECOND * 40;
        match rng.between(0, 99) {
            0..25 => Self {
                mechanism: Some("PLAIN"),
                session,
                ..Self::default()
            },
            25..30 if !is_long => Self {
                mechanism: Some(*rng.pick(&["SCRAM-SHA-256", "SCRAM-SHA-512"])),
                session,
                ..Self::default()
            },
            30..35 if !is_long => Self {
                tls: true,
                mechanism: *rng.pick(&[None, Some("PLAIN")]),
                session,
            },
            _ => Self::default(),
        }
    }

    pub fn is_on(&self) -> bool {
        self.tls || self.mechanism.is_some()
    }
}

/// How long it takes to finish a record: mostly little, now and then much.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub slow_percent: u64,
    pub slow: Duration,
}

impl Work {
    pub const NONE: Work = Work {
        slow_percent: 0,
        slow: Duration::ZERO,
    };
}

const SECOND: Duration = Duration::from_secs(1);

impl Plan {
    pub fn draw(rng: &Rng) -> Self {
        let scenario = match rng.between(0, 99) {
            0..45 => Scenario::Chaos,
            45..75 => Scenario::Calm,
            75..88 => Scenario::TopicRecreated,
            _ => Scenario::Outage,
        };
        let format = *rng.pick(&[RecordFormat::Raw, RecordFormat::Own, RecordFormat::Email]);
        let typed = rng.chance(60) && format != RecordFormat::Raw;
        let calm = scenario == Scenario::Calm;
        let session_timeout = *rng.pick(&[SECOND * 6, SECOND * 10, SECOND * 45]);
        let max_poll_interval = *rng.pick(&[SECOND * 20, SECOND * 300, SECOND * 300]);
        let slow = Work {
            slow_percent: *rng.pick(&[2, 20]),
            slow: *rng.pick(&[SECOND * 3, SECOND * 12, SECOND * 60]),
        };
        let listener_delay = *rng.pick(&[SECOND * 2, SECOND * 15, SECOND * 60]);
        let (slow_handler, slow_listener) = (
            rng.chance(50) && typed && scenario != Scenario::Outage,
            rng.chance(50) && !typed && scenario != Scenario::Outage,
        );
        let refused = rng.chance(30) && calm;
        let compacted = rng.chance(15) && calm;
        let quota = rng.chance(25) && calm && !refused && !compacted;
        let grows = rng.chance(if calm { 50 } else { 15 });
        let latest = rng.chance(40) && calm;
        let recreated = scenario == Scenario::TopicRecreated;
        let plan = Self {
            scenario,
            format,
            typed,
            latest,
            none: rng.chance(40) && recreated,
            session_timeout,
            max_poll_interval,
            shutdown_timeout: *rng.pick(&[SECOND * 5, SECOND * 17]),
            work: if slow_handler { slow } else { Work::NONE },
            listener_delay: if slow_listener {
                listener_delay
            } else {
                Duration::ZERO
            },
            refused_percent: if refused || compacted { 10 } else { 0 },
            compacted,
            quota: quota.then(|| rng.millis(500, 5_000)),
            // What is refused after an answer that could not be read may have been written by the attempt before.
            garbled: rng.chance(25) && calm && !refused && !compacted,
            unconfirmed: rng.chance(25) && !typed && scenario != Scenario::Outage,
            metadata_bytes: if rng.chance(40) && typed { 8 } else { 4_096 },
            any_error: rng.chance(40) && scenario == Scenario::Chaos,
            cancelled_percent: if rng.chance(25) { 10 } else { 0 },
            grows,
            security: Security::default(),
            failing: None,
            retry_delays: Vec::new(),
            strategies: AssignmentStrategies::default(),
            protocols: Protocols::All(GroupProtocol::Classic),
            is_static: false,
            broker_patterns: false,
            batched: None,
            sharing: None,
            others: true,
            transactions: None,
            first_producer_epoch: 0,
            lasts: Duration::ZERO,
        };
        let slow = slow_handler || slow_listener;
        let lasts = match scenario {
            Scenario::Chaos | Scenario::Calm | Scenario::TopicRecreated if slow => {
                rng.millis(20_000, 120_000)
            }
            Scenario::Chaos | Scenario::TopicRecreated => rng.millis(1_000, 40_000),
            Scenario::Calm => rng.millis(1_000, 30_000),
            Scenario::Outage => rng.millis(20_000, 300_000),
        };
        // The last that are drawn: what came before is what it was without.
        let security = Security::draw(rng, lasts);
        let fails = typed && !recreated && rng.chance(50);
        let failing = fails.then(|| Failing::draw(rng, lasts));
        let strategies: AssignmentStrategies = match rng.between(0, 4) {
            0 => AssignmentStrategies::default(),
            1 => AssignmentStrategy::RoundRobin.into(),
            2 => AssignmentStrategy::Sticky.into(),
            _ => AssignmentStrategy::CooperativeSticky.into(),
        };
        let retry_delays = match rng.chance(50) && fails {
            true => rng
                .pick(&[[SECOND, SECOND * 5], [SECOND / 2, SECOND]])
                .to_vec(),
            false => Vec::new(),
        };
        let protocols = Protocols::draw(rng);
        let is_static = rng.chance(40);
        // Under `latest`, what was written to topics before a member hears of them is passed over by such.
        let broker_patterns = rng.chance(40) && !latest;
        let batched = (rng.chance(25) && typed).then(|| rng.between(1, 10) as usize);
        let sharing = (rng.chance(25)).then(|| Sharing::draw(rng, scenario, format, lasts));
        let first_producer_epoch = *rng.pick(&[0, 0, i16::MAX - 1, i16::MAX]);
        let mut transactions =
            (rng.chance(25)).then(|| Transactional::draw(rng, scenario, format, lasts));
        if let (Some(transactions), true) = (&mut transactions, quota) {
            // What waits for its quota is no failure.
            transactions.timeout = transactions.timeout.max(SECOND * 120);
        }
        Self {
            transactions,
            batched,
            sharing,
            security,
            strategies,
            failing,
            retry_delays,
            protocols,
            is_static,
            broker_patterns,
            first_producer_epoch,
            lasts,
            ..plan
        }
    }

    pub fn conditions(&self, rng: &Rng) -> NetworkConditions {
        let conditions = NetworkConditions::draw(rng);
        match self.scenario {
            Scenario::Chaos => conditions,
            _ => NetworkConditions::calm(rng),
        }
    }

    /// Nothing that is accepted and good may fail.
    pub fn all_is_well(&self) -> bool {
        self.scenario == Scenario::Calm
    }

    /// Whether every event is handled once: all members stop in good order, all handlers are done before anybody loses patience, and so are dead
    /// letters, which brokers do not delay; and a commit has room to say what is finished beyond it. In a group that changes over, a member may be refused
    /// that has done nothing wrong: when the last one of the consumer protocol goes, the group's generation is the epoch that others have come to.
    pub fn is_handled_once(&self) -> bool {
        // A quarter of it is for the last commit, and for leaving.
        let handlers_have = self.shutdown_timeout * 3 / 4;
        self.all_is_well()
            && self.protocols.is_one()
            && self.work.slow < handlers_have.min(self.max_poll_interval / 2)
            && self.metadata_bytes >= 4_096
            && (self.failing.is_none() || !self.garbled && self.quota.is_none())
    }

    /// Whether what a member commits in its listener_delay is in time.
    pub fn listener_is_in_time(&self) -> bool {
        // While a group changes over, members are told to join again in the middle of their hooks.
        self.all_is_well()
            && self.protocols.is_one()
            && self.listener_delay + SECOND * 5 < self.max_poll_interval
    }

    /// Whether no member ever loses its place in the group, so that nobody gets a partition before another has given it up.
    pub fn is_owned_once(&self) -> bool {
        self.all_is_well()
            && self.protocols.is_one()
            && (self.listener_delay.is_zero() || self.listener_is_in_time())
    }

    /// Whether producers may have to go on under another producer id: their epochs are soon used up, or they are told of errors that nothing has brought
    /// about, such as that their epoch is fenced.
    pub fn producer_ids_end(&self) -> bool {
        self.first_producer_epoch > 0 || self.any_error
    }

    /// Whether a record is one member's of the share group until it lets go of it, or dies: no connection ends, to whose session a record would belong,
    /// and nobody is at work for longer than locks last.
    pub fn is_held_alone(&self) -> bool {
        self.sharing.is_some_and(|sharing| {
            let is_prompt = sharing.queues || sharing.slow <= sharing.lock / 4;
            self.all_is_well() && !self.security.is_on() && is_prompt
        })
    }

    /// The instance id of a static member: each place in the group has one.
    pub fn instance_of(&self, reader: u32) -> Option<String> {
        self.is_static.then(|| format!("instance-{}", reader / 100))
    }

    /// What there is in this run, by kind, for the table of what is drawn.
    pub fn features(&self) -> Vec<String> {
        let mut all = vec![
            format!("plan: scenario {:?}", self.scenario),
            format!("plan: records {:?}", self.format),
            format!("plan: protocols {:?}", self.protocols),
        ];
        let assignors = self.strategies.as_slice().iter();
        all.extend(assignors.map(|it| format!("plan: assignor {}", it.name())));
        let sharing = self.sharing;
        let is = [
            (self.typed, "typed consumers"),
            (self.batched.is_some(), "typed consumers, with batches"),
            (self.failing.is_some(), "typed consumers, failing handlers"),
            (
                !self.retry_delays.is_empty(),
                "typed consumers, retry topics",
            ),
            (self.work.slow_percent > 0, "typed consumers, slow handlers"),
            (!self.typed, "polled consumers"),
            (
                !self.listener_delay.is_zero(),
                "polled consumers, slow hooks",
            ),
            (self.is_static, "static members"),
            (self.broker_patterns, "patterns that brokers match"),
            (sharing.is_some_and(|it| !it.queues), "share group, polled"),
            (
                sharing.is_some_and(|it| it.queues),
                "share group, queues of events",
            ),
            (self.latest, "group begins at the end"),
            (self.none, "reader that never moves by itself"),
            (self.compacted, "compacted topic"),
            (self.quota.is_some(), "quota"),
            (self.garbled, "garbled answers"),
            (self.unconfirmed, "unconfirmed commits"),
            (
                self.metadata_bytes < 4_096,
                "hardly any metadata of commits",
            ),
            (self.any_error, "any error"),
            (self.cancelled_percent > 0, "sends given up"),
            (self.grows, "partitions are added"),
            (self.security.tls, "TLS"),
        ];
        let is = is.into_iter().filter_map(|(is, what)| is.then_some(what));
        all.extend(is.map(|what| format!("plan: {what}")));
        let transactions = self.transactions.iter();
        all.extend(transactions.flat_map(Transactional::features));
        let mechanism = self.security.mechanism;
        all.extend(mechanism.map(|name| format!("plan: SASL {name}")));
        all
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
    ErrorCode::UNSUPPORTED_SASL_MECHANISM,
    ErrorCode::ILLEGAL_SASL_STATE,
    ErrorCode::UNSUPPORTED_VERSION,
];

/// Likewise that a record is larger than a topic takes: one that failed goes to the dead-letter topic then, and to no retry topic.
const CLAIMS_OF_SIZE: &[ErrorCode] = &[
    ErrorCode::MESSAGE_TOO_LARGE,
    ErrorCode::RECORD_LIST_TOO_LARGE,
];

/// Any error, by its number, that claims nothing in this plan; now and then one that nobody knows.
pub fn any_error(plan: &Plan, rng: &Rng) -> ErrorCode {
    let claims = |code: &ErrorCode| {
        CLAIMS.contains(code) || !plan.retry_delays.is_empty() && CLAIMS_OF_SIZE.contains(code)
    };
    let known: Vec<ErrorCode> = ErrorCode::all()
        .filter(|code| !code.is_ok() && !claims(code))
        .collect();
    match rng.between(0, 9) {
        0 => ErrorCode(rng.between(1_000, 2_000) as i16),
        _ => *rng.pick(&known),
    }
}
