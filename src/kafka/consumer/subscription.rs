//! What must be known of topics before a member joins for them. In: the names that an application subscribes to. Out: the topics to join
//! for, each once, or why there is no point.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::MissingTopics;
use super::state::ConsumerContext;
use crate::kafka::Result;
use crate::kafka::cluster::{Metadata, TopicError};
use crate::kafka::error::may_pass;
use crate::kafka::group::missing_topics::error_of;
use crate::kafka::model::names::check_topic;

/// Asks for the topics, all at once, until the brokers have said something of each.
pub(super) async fn look_up(context: &ConsumerContext, topics: &[&str]) -> Result<Vec<String>> {
    let topics: BTreeSet<&str> = topics.iter().copied().collect();
    // Nobody is asked for a name that cannot be: nothing would be heard of it.
    topics.iter().try_for_each(|topic| check_topic(topic))?;
    match context.config.missing_topics {
        MissingTopics::Wait => {
            context.cluster.track(topics.iter().copied());
            let known = heard_of(context, &topics).await?;
            check(&known, &topics)?;
        }
        MissingTopics::Fail => {
            let deadline = context.deadline();
            for topic in &topics {
                context.cluster.topic(topic, deadline).await?;
            }
        }
    }
    Ok(topics.into_iter().map(str::to_string).collect())
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
