//! What an application subscribes to, names and patterns of names, and what must be known of topics before a member joins for them. In: what
//! was given, and the metadata as it comes. Out: the topics to join for, each once, or why there is no point.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::ErrorCode;
use tokio::time::Instant;

use super::MissingTopics;
use super::state::ConsumerContext;
use crate::kafka::Result;
use crate::kafka::cluster::{ListInterest, Metadata, TopicError, TopicList};
use crate::kafka::error::may_pass;
use crate::kafka::group::missing_topics::error_of;
use crate::kafka::model::TopicPattern;
use crate::kafka::model::names::check_topic;

/// What a consumer is subscribed to.
#[derive(Debug, Default)]
pub(super) struct Subscription {
    names: BTreeSet<String>,
    patterns: Patterns,
    /// The names, and what the patterns match.
    topics: BTreeSet<String>,
    /// The metadata that this follows.
    known: Option<Arc<Metadata>>,
    /// Keeps the list of topics fresh that the patterns are matched with.
    list: Option<ListInterest>,
    /// When to ask again for topics that the list leaves out.
    ask_at: Option<Instant>,
}

/// The topics of a subscription when they change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub came: Vec<String>,
    pub went: Vec<String>,
}

#[derive(Debug, Default)]
struct Patterns {
    patterns: Vec<TopicPattern>,
    with_internal: bool,
    excluded: Excluded,
    left_out: LeftOutTopics,
}

/// Topics that no pattern matches, by name or by a pattern of their own.
#[derive(Debug, Default)]
struct Excluded {
    names: BTreeSet<String>,
    patterns: Vec<TopicPattern>,
}

impl Excluded {
    fn new(topics: &[String]) -> Result<Self> {
        let (patterns, names): (Vec<_>, Vec<_>) =
            topics.iter().partition(|it| TopicPattern::is_meant(it));
        let patterns: Result<_> = patterns
            .into_iter()
            .map(|it| TopicPattern::new(it))
            .collect();
        Ok(Self {
            names: names.into_iter().cloned().collect(),
            patterns: patterns?,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name) || self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

/// Topics that no pattern matches, because what reads by the pattern writes there.
#[derive(Clone, Debug, Default)]
pub(crate) enum LeftOutTopics {
    #[default]
    None,
    /// The one of this name.
    Named(String),
    /// Those whose name is this behind that of another that is subscribed to.
    Behind(&'static str),
    /// Those whose name is that of another that is subscribed to, between these.
    Around(String, String),
    /// All of these.
    All(Vec<LeftOutTopics>),
}

impl LeftOutTopics {
    /// Whether the topic called `name` is one, where `is_read` says what is subscribed to.
    fn has(&self, name: &str, is_read: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::None => false,
            Self::Named(left_out) => left_out == name,
            Self::Behind(suffix) => name.strip_suffix(suffix).is_some_and(is_read),
            Self::Around(before, behind) => {
                let name = name.strip_prefix(before.as_str());
                name.and_then(|name| name.strip_suffix(behind.as_str()))
                    .is_some_and(is_read)
            }
            Self::All(all) => all.iter().any(|one| one.has(name, is_read)),
        }
    }
}

impl Patterns {
    /// The topics that match, where `names` are subscribed to beside them.
    fn matching<'a>(
        &'a self,
        listed: &'a TopicList,
        names: &'a BTreeSet<String>,
    ) -> impl Iterator<Item = &'a str> {
        let is_read = |name: &str| names.contains(name) || self.matches(name);
        let leaves_out = move |name: &str| self.left_out.has(name, &is_read);
        let topics = listed.iter().filter(move |(name, is_internal)| {
            (self.with_internal || !**is_internal)
                && self.matches(name)
                && !leaves_out(name)
                && !self.excluded.has(name)
        });
        topics.map(|(name, _)| &**name)
    }

    fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(name))
    }
}

impl Subscription {
    fn new(
        topics: &[&str],
        with_internal: bool,
        excluded: &[String],
        left_out: LeftOutTopics,
    ) -> Result<Self> {
        let is_pattern = |topic: &&str| TopicPattern::is_meant(topic);
        let (patterns, names): (Vec<&str>, Vec<&str>) =
            topics.iter().partition(|it| is_pattern(it));
        // Nobody is asked for a name that cannot be: nothing would be heard of it.
        names.iter().try_for_each(|topic| check_topic(topic))?;
        let patterns: Result<_> = patterns.into_iter().map(TopicPattern::new).collect();
        Ok(Self {
            names: names.into_iter().map(str::to_string).collect(),
            patterns: Patterns {
                patterns: patterns?,
                with_internal,
                excluded: Excluded::new(excluded)?,
                left_out,
            },
            ..Self::default()
        })
    }

    /// The topics to join for.
    pub fn topics(&self) -> Vec<String> {
        self.topics.iter().cloned().collect()
    }

    /// Whether there are patterns to follow.
    pub fn has_patterns(&self) -> bool {
        !self.patterns.patterns.is_empty()
    }

    /// Takes newer metadata: whether other topics match now. A topic that is missing for a moment is not gone: it is asked for again, with
    /// pauses by the number of times that it was missing.
    pub fn follow(
        &mut self,
        known: &Arc<Metadata>,
        now: Instant,
        pause: impl FnOnce(u32) -> Duration,
    ) -> Option<Changed> {
        let is_same = |before: &Arc<Metadata>| Arc::ptr_eq(before, known);
        if !self.has_patterns() || self.known.as_ref().is_some_and(is_same) {
            return None;
        }
        self.known = Some(known.clone());
        let listed = known.listed.as_ref()?;
        let is_left_out =
            |name: &&String| !listed.contains_key(name.as_str()) && !is_over(known, name);
        let left_out: Vec<&String> = self.topics.iter().filter(is_left_out).collect();
        let missed = left_out
            .iter()
            .filter_map(|name| known.missed.get(name.as_str()));
        self.ask_at = missed.max().map(|missed| now + pause(*missed));
        let mut topics = self.names.clone();
        let matching = self.patterns.matching(listed, &self.names);
        topics.extend(matching.map(str::to_string));
        topics.extend(left_out.into_iter().cloned());
        let changed = Changed {
            came: topics.difference(&self.topics).cloned().collect(),
            went: self.topics.difference(&topics).cloned().collect(),
        };
        self.topics = topics;
        (!changed.came.is_empty() || !changed.went.is_empty()).then_some(changed)
    }

    /// Whether to ask for the metadata now; once for each time.
    pub fn ask_due(&mut self, now: Instant) -> bool {
        self.ask_at.take_if(|at| *at <= now).is_some()
    }
}

/// Whether nothing of a topic that was there can be read any more.
fn is_over(known: &Metadata, topic: &str) -> bool {
    let refused = TopicError::Server(ErrorCode::TOPIC_AUTHORIZATION_FAILED);
    known.is_gone(topic) || known.topic_errors.get(topic) == Some(&refused)
}

/// Asks for the topics, all at once, until the brokers have said something of each.
pub(super) async fn look_up(
    context: &ConsumerContext,
    topics: &[&str],
    left_out: LeftOutTopics,
) -> Result<Subscription> {
    let config = &context.config;
    let with_internal = !config.exclude_internal_topics;
    let mut subscription =
        Subscription::new(topics, with_internal, &config.exclude_topics, left_out)?;
    subscription.topics = subscription.names.clone();
    if subscription.has_patterns() {
        subscription.list = Some(context.cluster.list_topics());
        let known = context.cluster.refreshed(context.deadline()).await?;
        subscription.follow(&known, Instant::now(), |missed| context.pause(missed));
    }
    if config.missing_topics == MissingTopics::Fail {
        let deadline = context.deadline();
        for topic in &subscription.names {
            context.cluster.topic(topic, deadline).await?;
        }
    }
    let topics: BTreeSet<&str> = subscription.topics.iter().map(String::as_str).collect();
    context.cluster.track(topics.iter().copied());
    let known = heard_of(context, &topics).await?;
    check(&known, &topics)?;
    Ok(subscription)
}

/// Metadata in which each of the topics is, or why it is not.
async fn heard_of(context: &ConsumerContext, topics: &BTreeSet<&str>) -> Result<Arc<Metadata>> {
    let deadline = context.deadline();
    let mut known = context.cluster.metadata();
    loop {
        let is_heard_of =
            |topic: &&str| known.topic(topic).is_some() || known.topic_errors.contains_key(*topic);
        if topics.iter().all(is_heard_of) {
            return Ok(known);
        }
        known = context.cluster.refreshed(deadline).await?;
    }
}

/// Fails when nothing can come of any of the topics.
fn check(known: &Metadata, topics: &BTreeSet<&str>) -> Result<()> {
    let verdicts: Vec<(&str, TopicError)> = topics
        .iter()
        .filter(|topic| known.topic(topic).is_none())
        .filter_map(|topic| Some((*topic, *known.topic_errors.get(*topic)?)))
        .filter(|(topic, why)| !may_pass(&why.error(topic)))
        .collect();
    match verdicts.first() {
        Some((topic, why)) if verdicts.len() == topics.len() => Err(error_of(topic, *why)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(topics: &[&str]) -> Metadata {
        let topics = topics.iter();
        let listed = topics.map(|name| (Arc::from(*name), name.starts_with("__")));
        Metadata {
            listed: Some(Arc::new(listed.collect())),
            ..Metadata::default()
        }
    }

    fn subscription_to(topics: &[&str], with_internal: bool) -> Subscription {
        Subscription::new(topics, with_internal, &[], LeftOutTopics::None).expect("fine")
    }

    fn follow(subscription: &mut Subscription, known: Metadata, now: Instant) -> Option<Changed> {
        let pause = |missed: u32| Duration::from_secs(missed.into());
        subscription.follow(&Arc::new(known), now, pause)
    }

    #[test]
    fn topics_that_match_come_and_go_and_names_stay() {
        let now = Instant::now();
        let mut subscription = subscription_to(&["named", "^a", "^b$"], false);
        subscription.topics = subscription.names.clone();
        let changed = follow(&mut subscription, known(&["a", "b", "b1", "__a"]), now);
        assert_eq!(changed.expect("a change").came, ["a", "b"]);
        let changed = follow(&mut subscription, known(&["a", "a1", "b", "named"]), now);
        let changed = changed.expect("a change");
        assert_eq!(
            (&*changed.came, &*changed.went),
            (&["a1".to_string()][..], &[][..])
        );
        assert_eq!(subscription.topics(), ["a", "a1", "b", "named"]);
        assert_eq!(
            follow(&mut subscription, known(&["a", "a1", "b"]), now),
            None
        );
    }

    #[test]
    fn a_topic_that_the_list_leaves_out_is_asked_for_until_it_is_gone_or_refused() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut subscription = subscription_to(&["^a"], false);
        follow(&mut subscription, known(&["a1", "a2"]), now);
        for missed in 1..5 {
            let mut missing = known(&["a2"]);
            missing.missed.insert("a1".into(), missed);
            assert_eq!(follow(&mut subscription, missing, now), None);
            assert!(!subscription.ask_due(now));
            let at = now + second * missed;
            assert!(subscription.ask_due(at) && !subscription.ask_due(at));
        }
        let mut gone = known(&["a2"]);
        gone.missed.insert("a1".into(), 5);
        let changed = follow(&mut subscription, gone, now).expect("a change");
        assert_eq!(changed.went, ["a1"]);
        assert!(!subscription.ask_due(now + second * 60));
        let mut refused = known(&[]);
        let code = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        (refused.topic_errors).insert("a2".into(), TopicError::Server(code));
        let changed = follow(&mut subscription, refused, now).expect("a change");
        assert_eq!(changed.went, ["a2"]);
    }

    #[test]
    fn internal_topics_are_matched_where_that_is_wanted() {
        let mut subscription = subscription_to(&["^__"], true);
        let listed = known(&["__consumer_offsets", "a"]);
        let changed = follow(&mut subscription, listed, Instant::now());
        assert_eq!(changed.expect("a change").came, ["__consumer_offsets"]);
    }

    #[test]
    fn what_is_excluded_is_matched_by_no_pattern_and_may_be_named_all_the_same() {
        let excluded = ["a2".to_string(), "^b.*x$".to_string()];
        let subscribed = ["^a", "^b", "bxx"];
        let none = LeftOutTopics::None;
        let mut subscription =
            Subscription::new(&subscribed, false, &excluded, none.clone()).expect("fine");
        let listed = ["a1", "a2", "a22", "b", "bx", "bxx", "c"];
        follow(&mut subscription, known(&listed), Instant::now());
        assert_eq!(subscription.topics(), ["a1", "a22", "b", "bxx"]);
        let wrong = Subscription::new(&subscribed, false, &["^(".to_string()], none);
        let error = wrong.expect_err("no pattern");
        assert!(error.to_string().contains("^("), "{error}");
    }

    #[test]
    fn what_is_left_out_is_matched_by_no_pattern_and_may_be_named_all_the_same() {
        let listed = ["a", "a.dlq", "a.dlq.dlq", "b", "b.dlq", "c.dlq", "dead"];
        let topics = |subscribed: &[&str], left_out| {
            let mut subscription =
                Subscription::new(subscribed, false, &[], left_out).expect("fine");
            follow(&mut subscription, known(&listed), Instant::now());
            subscription.topics()
        };
        let own = LeftOutTopics::Behind(".dlq");
        assert_eq!(topics(&["^a"], own.clone()), ["a"]);
        assert_eq!(topics(&["^.*"], own.clone()), ["a", "b", "dead"]);
        assert_eq!(topics(&["b", "^b"], own.clone()), ["b"]);
        let dead_letters_of_others = ["a.dlq", "b.dlq", "c.dlq"];
        assert_eq!(topics(&[r"^.*\.dlq"], own), dead_letters_of_others);
        let named = LeftOutTopics::Named("dead".into());
        assert_eq!(topics(&["^[cd]"], named.clone()), ["c.dlq"]);
        assert_eq!(topics(&["^c", "dead"], named), ["c.dlq", "dead"]);
    }
}
