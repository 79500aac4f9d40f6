//! When to ask for metadata, for which topics, and whom first. Plain structs: time and random numbers are arguments.
//!
//! Requests are counted: a refresh fulfils those that came before it began. A request is about everything that is of interest, or about
//! single topics; only what was requested is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Backoff;
use crate::kafka::model::names::is_topic;
use crate::kafka::{Address, ClientConfig, Error, Random};

/// How many known brokers are asked before the first bootstrap address is.
const BEFORE_BOOTSTRAP: usize = 2;

/// When to refresh, and what.
#[derive(Debug)]
pub(super) struct RefreshPlan {
    topics: BTreeMap<Arc<str>, TopicInterest>,
    /// The topics of requests that were not fulfilled yet, and perhaps others.
    open: BTreeSet<Arc<str>>,
    /// How many want to hear of all topics that there are.
    listing: usize,
    /// The number of the last request.
    requested: u64,
    /// The last request that is about everything.
    everything: u64,
    /// The last request that need not wait out the pause: it is about a topic of which nothing is known.
    immediate: u64,
    /// The last request that was fulfilled.
    fulfilled: u64,
    /// When everything was last asked for.
    refreshed_at: Instant,
    /// The pause between refreshes that are not immediate.
    paused_until: Instant,
    /// The pause after a failure, immediate or not.
    retry_at: Option<Instant>,
    backoff: Backoff,
    failing: Option<Failing>,
    max_age: Duration,
    max_idle: Duration,
    pause: Duration,
}

/// Who wants a topic's metadata; nobody asks for a topic that nobody wants.
#[derive(Clone, Copy, Debug)]
struct TopicInterest {
    /// How many want to hear of it until they release it.
    lasting: usize,
    /// How many wait for it to come into being.
    waiting: usize,
    /// When somebody last used it.
    used_at: Instant,
    /// The last request that is about it.
    requested: u64,
}

/// For how long a topic is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Until it is [released](RefreshPlan::release).
    Released,
    /// Until nobody has used it for `metadata.max.idle.ms`.
    Idle,
    /// Until the waiting is over, and as [`Until::Idle`] from then on if it came.
    Known,
}

/// A refresh that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refresh {
    /// The last request that it fulfils.
    pub number: u64,
    /// Whether it is about everything that is of interest.
    pub everything: bool,
    /// Whether that is all topics that there are.
    pub list: bool,
    /// What to ask for.
    pub topics: Vec<Arc<str>>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Refresh(Refresh),
    Wait(Instant),
}

/// What has been failing.
#[derive(Debug)]
struct Failing {
    since: Instant,
    error: Error,
}

impl RefreshPlan {
    pub fn new(config: &ClientConfig, now: Instant) -> Self {
        Self {
            topics: BTreeMap::new(),
            open: BTreeSet::new(),
            listing: 0,
            requested: 0,
            everything: 0,
            immediate: 0,
            fulfilled: 0,
            refreshed_at: now,
            paused_until: now,
            retry_at: None,
            backoff: Backoff::new(config.retry_backoff, config.retry_backoff_max),
            failing: None,
            max_age: config.metadata_max_age,
            max_idle: config.metadata_max_idle,
            pause: config.retry_backoff,
        }
    }

    /// Requests everything; returns the request's number.
    pub fn request(&mut self) -> u64 {
        self.requested += 1;
        self.everything = self.requested;
        self.requested
    }

    /// One more wants to hear of all topics: they are asked for at once.
    pub fn want_list(&mut self) {
        self.listing += 1;
        self.immediate = self.request();
    }

    /// One of those who wanted to hear of all topics does so no more.
    pub fn release_list(&mut self) {
        self.listing -= 1;
    }

    /// Requests one topic that is of interest; nothing where it is not.
    pub fn request_topic(&mut self, topic: &str) {
        let name = self.wanted(topic);
        if let Some(interest) = self.topics.get_mut(topic) {
            self.requested += 1;
            interest.requested = self.requested;
            self.open.extend(name);
        }
    }

    /// The topic is of interest. A new one is requested: at once, unless `is_known_to_fail`, since one who asks for what is not there, again
    /// and again, gets no more than others do. A name that no topic can have is never asked for.
    pub fn want(&mut self, topic: &str, until: Until, is_known_to_fail: bool, now: Instant) {
        if !is_topic(topic) {
            return;
        }
        let is_new = !self.topics.contains_key(topic);
        if is_new {
            self.requested += 1;
            if !is_known_to_fail {
                self.immediate = self.requested;
            }
            let interest = TopicInterest {
                lasting: 0,
                waiting: 0,
                used_at: now,
                requested: self.requested,
            };
            let name: Arc<str> = Arc::from(topic);
            self.open.insert(name.clone());
            self.topics.insert(name, interest);
        }
        if let Some(interest) = self.topics.get_mut(topic) {
            interest.used_at = now;
            match until {
                Until::Released => interest.lasting += 1,
                Until::Known => interest.waiting += 1,
                Until::Idle => {}
            }
        }
    }

    /// One who waited for the topic does so no more. It stays of interest if it `came`.
    pub fn waited(&mut self, topic: &str, came: bool) {
        let Some(interest) = self.topics.get_mut(topic) else {
            return;
        };
        interest.waiting -= 1;
        if interest.waiting == 0 && interest.lasting == 0 && !came {
            self.topics.remove(topic);
        }
    }

    /// One of those who wanted the topic until then does so no more. It stays of interest until it is idle.
    pub fn release(&mut self, topic: &str, now: Instant) {
        if let Some(interest) = self.topics.get_mut(topic) {
            interest.lasting = interest.lasting.saturating_sub(1);
            interest.used_at = now;
        }
    }

    /// Whether somebody wants to hear of the topic; its name.
    pub fn wanted(&self, topic: &str) -> Option<Arc<str>> {
        self.topics
            .get_key_value(topic)
            .map(|(name, _)| name.clone())
    }

    /// What to do at `now`. What nobody has used for long is forgotten when everything is asked for.
    pub fn next(&mut self, now: Instant) -> Next {
        let old_at = self.refreshed_at + self.max_age;
        if old_at <= now && self.everything <= self.fulfilled {
            self.request();
        }
        if self.requested <= self.fulfilled {
            return Next::Wait(old_at);
        }
        let earliest = match self.retry_at {
            Some(retry_at) => retry_at,
            None if self.immediate > self.fulfilled => now,
            None => self.paused_until,
        };
        if now < earliest {
            return Next::Wait(earliest);
        }
        let everything = self.everything > self.fulfilled;
        if everything {
            let max_idle = self.max_idle;
            self.topics.retain(|_, interest| {
                interest.lasting > 0 || interest.waiting > 0 || interest.used_at + max_idle > now
            });
        }
        let topics: Vec<_> = match everything {
            true => self.topics.keys().cloned().collect(),
            false => {
                let is_open = |name: &&Arc<str>| self.is_open(name);
                self.open.iter().filter(is_open).cloned().collect()
            }
        };
        if !everything && topics.is_empty() {
            // Whoever wanted it has lost interest.
            self.fulfilled = self.requested;
            return Next::Wait(old_at);
        }
        Next::Refresh(Refresh {
            number: self.requested,
            everything,
            list: everything && self.listing > 0,
            topics,
        })
    }

    /// Whether a request for the topic was not fulfilled yet.
    fn is_open(&self, name: &str) -> bool {
        let interest = self.topics.get(name);
        interest.is_some_and(|interest| interest.requested > self.fulfilled)
    }

    /// The refresh succeeded.
    pub fn succeeded(&mut self, refresh: &Refresh, now: Instant, random: &mut Random) {
        self.fulfilled = refresh.number;
        let mut open = std::mem::take(&mut self.open);
        open.retain(|name| self.is_open(name));
        self.open = open;
        if refresh.everything {
            self.refreshed_at = now;
        }
        self.paused_until = now + random.jittered(self.pause);
        self.retry_at = None;
        self.backoff.succeeded();
        self.failing = None;
    }

    /// The refresh that began at `began` failed: it is repeated, after a pause.
    pub fn failed(&mut self, error: Error, began: Instant, now: Instant, random: &mut Random) {
        self.retry_at = Some(now + self.backoff.failed(random));
        self.note_failure(error, began);
    }

    /// What began at `began` failed, and nobody waits for it to be repeated by plan.
    pub fn note_failure(&mut self, error: Error, began: Instant) {
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: began,
            error: error.clone(),
        });
        failing.error = error;
    }

    /// The cluster was found.
    pub fn found(&mut self) {
        self.failing = None;
    }

    /// Why the last refresh failed, if it did.
    pub fn last_error(&self) -> Option<Error> {
        self.failing.as_ref().map(|failing| failing.error.clone())
    }

    /// What has been failing, and since when.
    pub fn failing(&self) -> Option<(Instant, Error)> {
        let failing = self.failing.as_ref()?;
        Some((failing.since, failing.error.clone()))
    }
}

/// When one user was last told of failing refreshes.
#[derive(Debug, Default)]
pub(super) struct Told(Option<Instant>);

impl Told {
    /// What has been failing for `patience`. Told once in that time, so that whoever reports it and goes on does not do so in a hot loop.
    pub fn overdue(
        &mut self,
        failing: Option<(Instant, Error)>,
        now: Instant,
        patience: Duration,
    ) -> Option<Error> {
        let (since, error) = failing?;
        let told_at = self.0.filter(|told_at| *told_at >= since);
        if now < told_at.unwrap_or(since) + patience {
            return None;
        }
        self.0 = Some(now);
        Some(error)
    }
}

/// Who may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Candidate {
    /// A broker that is known.
    Broker(i32),
    /// An address that the client was configured with.
    Bootstrap(Address),
}

/// How good a choice a broker is for a question that any of them can answer, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// There is an open connection, and no answer is due on it for long.
    Open,
    /// Nothing is known against it.
    Unknown,
    /// It has owed an answer for long.
    Overdue,
    /// It could not be reached just now.
    Failing,
}

/// The order in which to ask: brokers by their standing, by chance among equals. Bootstrap addresses come in after the first few, one after
/// each broker: however many brokers keep silent, the way back into the cluster is found soon (KIP-899).
pub(super) fn whom_to_ask(
    brokers: impl IntoIterator<Item = (i32, Standing)>,
    bootstrap: &[Address],
    random: &mut Random,
) -> Vec<Candidate> {
    let mut brokers: Vec<_> = brokers.into_iter().collect();
    shuffle(&mut brokers, random);
    brokers.sort_by_key(|(_, standing)| *standing);
    let mut bootstrap: Vec<_> = bootstrap
        .iter()
        .cloned()
        .map(Candidate::Bootstrap)
        .collect();
    shuffle(&mut bootstrap, random);
    let mut bootstrap = bootstrap.into_iter();
    let mut candidates = Vec::new();
    for (place, (node, _)) in brokers.into_iter().enumerate() {
        if place >= BEFORE_BOOTSTRAP {
            candidates.extend(bootstrap.next());
        }
        candidates.push(Candidate::Broker(node));
    }
    candidates.extend(bootstrap);
    candidates
}

fn shuffle<T>(items: &mut [T], random: &mut Random) {
    for end in (1..items.len()).rev() {
        items.swap(end, random.below(end + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ErrorKind;

    const SECOND: Duration = Duration::from_secs(1);

    fn plan(now: Instant) -> (RefreshPlan, Random) {
        let config = ClientConfig::new("kafka:9092");
        (RefreshPlan::new(&config, now), Random::seeded(3))
    }

    fn names(refresh: &Refresh) -> Vec<&str> {
        refresh.topics.iter().map(|name| &**name).collect()
    }

    #[track_caller]
    fn refresh(next: Next) -> Refresh {
        match next {
            Next::Refresh(refresh) => refresh,
            Next::Wait(_) => panic!("a refresh is due"),
        }
    }

    #[test]
    fn only_what_is_new_is_asked_for_and_at_once() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        for topic in ["a", "b"] {
            plan.want(topic, Until::Idle, false, start);
            let due = refresh(plan.next(start));
            assert_eq!(names(&due), [topic]);
            assert!(!due.everything);
            plan.succeeded(&due, start, &mut random);
            assert!(matches!(plan.next(start), Next::Wait(_)));
        }
        // Wanted again, it is not asked for again.
        plan.want("a", Until::Released, false, start);
        assert!(matches!(plan.next(start), Next::Wait(_)));
        plan.request();
        let due = refresh(plan.next(start + SECOND));
        assert_eq!(names(&due), ["a", "b"]);
        assert!(due.everything);
    }

    #[test]
    fn a_topic_that_does_not_come_is_asked_for_alone_with_pauses() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        plan.want("known", Until::Released, false, start);
        plan.want("missing", Until::Known, true, start);
        let due = refresh(plan.next(start));
        plan.succeeded(&due, start, &mut random);
        plan.request_topic("missing");
        let Next::Wait(at) = plan.next(start) else {
            panic!("without a pause")
        };
        assert!(at >= start + Duration::from_millis(80));
        assert_eq!(names(&refresh(plan.next(at))), ["missing"]);
        plan.waited("missing", false);
        assert!(matches!(plan.next(at), Next::Wait(_)), "nobody waits now");
    }

    #[test]
    fn what_nobody_uses_is_forgotten_and_what_is_used_is_not() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        plan.want("idle", Until::Idle, false, start);
        plan.want("used", Until::Idle, false, start);
        plan.want("subscribed", Until::Released, false, start);
        let due = refresh(plan.next(start));
        plan.succeeded(&due, start, &mut random);
        plan.want("used", Until::Idle, false, start + SECOND * 200);
        let due = refresh(plan.next(start + SECOND * 300));
        assert_eq!(names(&due), ["subscribed", "used"]);
        assert!(plan.wanted("idle").is_none());
    }

    #[test]
    fn a_failed_refresh_is_repeated_with_pauses_however_many_requests_are_immediate() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        plan.want("a", Until::Idle, false, start);
        let (mut now, mut refreshes) = (start, 0);
        while now < start + SECOND * 10 {
            match plan.next(now) {
                Next::Refresh(_) => {
                    refreshes += 1;
                    plan.failed(
                        Error::new(ErrorKind::Connect, "down"),
                        now,
                        now,
                        &mut random,
                    );
                    plan.want(&format!("t{refreshes}"), Until::Idle, false, now);
                }
                Next::Wait(at) => now = at,
            }
        }
        assert!((8..=20).contains(&refreshes), "{refreshes}");
    }

    #[test]
    fn what_has_been_failing_for_long_is_told_once_in_that_time() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        let patience = SECOND * 30;
        let mut told = Told::default();
        let mut is_told = |plan: &RefreshPlan, seconds| {
            let now = start + SECOND * seconds;
            told.overdue(plan.failing(), now, patience).is_some()
        };
        assert!(!is_told(&plan, 0));
        let down = Error::new(ErrorKind::Connect, "down");
        plan.failed(down.clone(), start, start, &mut random);
        for (seconds, expected) in [(29, false), (30, true), (31, false), (60, true)] {
            assert_eq!(is_told(&plan, seconds), expected, "{seconds}");
        }
        let now = start + SECOND * 61;
        plan.request();
        let due = refresh(plan.next(now));
        plan.succeeded(&due, now, &mut random);
        assert!(!is_told(&plan, 600));
        let again = start + SECOND * 700;
        plan.failed(down, again, again, &mut random);
        assert!(!is_told(&plan, 729));
        assert!(is_told(&plan, 730));
    }

    #[test]
    fn a_topic_is_of_interest_until_the_last_one_releases_it_and_it_is_idle() {
        let start = Instant::now();
        let (mut plan, _) = plan(start);
        for _ in 0..2 {
            plan.want("t", Until::Released, false, start);
        }
        let is_wanted = |plan: &mut RefreshPlan, seconds| {
            plan.request();
            refresh(plan.next(start + SECOND * seconds)).topics.len() == 1
        };
        plan.release("t", start);
        assert!(is_wanted(&mut plan, 10_000));
        plan.release("t", start + SECOND * 10_000);
        assert!(is_wanted(&mut plan, 10_299));
        assert!(!is_wanted(&mut plan, 10_300));
    }

    #[test]
    fn all_topics_are_asked_for_at_once_and_as_long_as_somebody_wants_to_hear_of_them() {
        let start = Instant::now();
        let (mut plan, mut random) = plan(start);
        plan.want("t", Until::Released, false, start);
        let due = refresh(plan.next(start));
        assert!(!due.list);
        plan.succeeded(&due, start, &mut random);
        plan.want_list();
        plan.want_list();
        let due = refresh(plan.next(start));
        assert!(due.list && due.everything && names(&due) == ["t"]);
        plan.succeeded(&due, start, &mut random);
        for (seconds, is_list) in [(400, true), (800, false)] {
            plan.release_list();
            let now = start + SECOND * seconds;
            let due = refresh(plan.next(now));
            assert_eq!(due.list, is_list);
            plan.succeeded(&due, now, &mut random);
        }
    }

    #[test]
    fn names_that_no_topic_can_have_are_never_asked_for() {
        let start = Instant::now();
        let (mut plan, _) = plan(start);
        for name in ["", "a b", &"t".repeat(40_000)] {
            plan.want(name, Until::Released, false, start);
        }
        assert!(matches!(plan.next(start), Next::Wait(_)));
    }

    #[test]
    fn the_bootstrap_list_is_reached_soon_however_many_brokers_there_are() {
        let mut random = Random::seeded(5);
        let bootstrap = [Address::new("b1", 1), Address::new("b2", 1)];
        let brokers = (0..20).map(|node| {
            let standing = match node {
                0 => Standing::Failing,
                1 => Standing::Overdue,
                2 => Standing::Open,
                _ => Standing::Unknown,
            };
            (node, standing)
        });
        let candidates = whom_to_ask(brokers, &bootstrap, &mut random);
        assert_eq!(candidates.len(), 22);
        assert_eq!(candidates[0], Candidate::Broker(2));
        let place = |of: &Candidate| candidates.iter().position(|candidate| candidate == of);
        assert!(matches!(candidates[2], Candidate::Bootstrap(_)));
        assert!(matches!(candidates[4], Candidate::Bootstrap(_)));
        assert_eq!(place(&Candidate::Broker(1)), Some(20));
        assert_eq!(place(&Candidate::Broker(0)), Some(21));
        let first = whom_to_ask([], &bootstrap, &mut random);
        assert_eq!(first.len(), 2);
    }
}
