//! The task that finds out whom to ask for what is assigned. In: the assignment, the metadata. Out: what each broker leads of it, a task for
//! each broker that there is something to do with, and an error where nobody leads a partition for long. Of topics that nobody knows the
//! membership tells.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::fetcher;
use super::plan::Partitions;
use super::state::ShareContext;
use crate::kafka::TopicPartition;
use crate::kafka::cluster::{Metadata, no_leader};
use crate::kafka::consumer::wait::wait;
use crate::kafka::group::heartbeats::IdPartition;
use crate::kafka::runtime::Awaited;

/// The longest pause between two questions for the leaders of partitions that have none.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Runs as long as the consumer does.
pub(super) async fn run(context: Arc<ShareContext>) {
    let mut metadata = context.cluster.watch();
    let mut known = None;
    let mut assigned = BTreeSet::new();
    let (mut leaderless, mut awaited) = (BTreeSet::new(), Awaited::default());
    let patience = context.config.client.request_timeout;
    loop {
        let mut ready = pin!(context.ready.notified());
        ready.as_mut().enable();
        let newest = metadata.look().clone();
        let wanted = context
            .member()
            .map(|member| member.with(|it| it.assigned().clone()));
        let wanted = wanted.unwrap_or_default();
        let is_same = known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &newest));
        if !is_same || wanted != assigned {
            let leaders;
            (leaders, leaderless) = by_leader(&wanted, &newest);
            let mut work = context.work();
            work.leaders = leaders;
            work.wake_all();
            drop(work);
            (assigned, known) = (wanted, Some(newest));
        }
        let now = Instant::now();
        awaited.update(&leaderless, now, |asked| {
            context.pause_up_to(asked, LONGEST_PAUSE)
        });
        if awaited.ask(now).is_some() {
            context.cluster.refresh();
        }
        if let Some(partition) = awaited.overdue(now, patience) {
            context.work().report(no_leader(Some(partition)));
            context.ready.notify_waiters();
        }
        start_tasks(&context);
        let next = awaited.ask_at().into_iter().chain(awaited.due_at(patience));
        let woken = async {
            tokio::select! {
                biased;
                () = ready => true,
                changed = metadata.changed() => changed.is_ok(),
            }
        };
        let mut goes_on = true;
        wait(async { goes_on = woken.await }, next.min()).await;
        if !goes_on {
            break;
        }
    }
}

/// Each broker that there is something to do with has a task.
fn start_tasks(context: &Arc<ShareContext>) {
    let mut work = context.work();
    let new: Vec<i32> = (work.wanted_nodes().into_iter())
        .filter(|node| !work.nodes.contains_key(node))
        .collect();
    for node in new {
        let wakeup = work.begin(node);
        let fetching = fetcher::run(context.clone(), node, wakeup);
        context.spawn(format!("share fetcher of broker {node}"), fetching);
    }
}

/// What each broker leads of `assigned`, and what nobody leads of topics that are known.
fn by_leader(
    assigned: &BTreeSet<IdPartition>,
    metadata: &Metadata,
) -> (BTreeMap<i32, Arc<Partitions>>, BTreeSet<TopicPartition>) {
    let names = metadata.names_by_id();
    let mut leaders: BTreeMap<i32, Partitions> = BTreeMap::new();
    let mut leaderless = BTreeSet::new();
    for (id, index) in assigned {
        let Some(name) = names.get(id) else { continue };
        let topic = metadata.topic(name);
        let partition = topic.and_then(|topic| {
            let index = usize::try_from(*index).ok()?;
            topic.partitions.get(index)
        });
        let Some(known) = partition else { continue };
        let partition = TopicPartition::new((*name).clone(), *index);
        match known.leader {
            Some(leader) => {
                let led = leaders.entry(leader).or_default();
                led.insert((*id, *index), partition);
            }
            None => drop(leaderless.insert(partition)),
        }
    }
    let leaders = leaders.into_iter();
    let leaders = leaders.map(|(node, led)| (node, Arc::new(led)));
    (leaders.collect(), leaderless)
}
