//! The task that finds out whom to ask for what is assigned. In: the assignment, the metadata. Out: what each broker leads of it, and a task for
//! each broker that there is something to do with.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use super::fetcher;
use super::plan::Partitions;
use super::state::ShareContext;
use crate::kafka::TopicPartition;
use crate::kafka::cluster::Metadata;
use crate::kafka::group::share::IdPartition;

/// Runs as long as the consumer does.
pub(super) async fn run(context: Arc<ShareContext>) {
    let mut metadata = context.cluster.watch();
    let mut known = None;
    let mut assigned = BTreeSet::new();
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
            let leaders = by_leader(&wanted, &newest);
            let mut work = context.work();
            work.leaders = leaders;
            work.wake_all();
            drop(work);
            (assigned, known) = (wanted, Some(newest));
        }
        start_tasks(&context);
        tokio::select! {
            biased;
            () = ready => {}
            changed = metadata.changed() => {
                if changed.is_err() {
                    break;
                }
            }
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

/// What each broker leads of `assigned`: what nobody is known to lead waits for newer metadata.
fn by_leader(
    assigned: &BTreeSet<IdPartition>,
    metadata: &Metadata,
) -> BTreeMap<i32, Arc<Partitions>> {
    let names = metadata.names_by_id();
    let mut leaders: BTreeMap<i32, Partitions> = BTreeMap::new();
    for (id, index) in assigned {
        let Some(name) = names.get(id) else { continue };
        let topic = metadata.topic(name);
        let partition = topic.and_then(|topic| {
            let index = usize::try_from(*index).ok()?;
            topic.partitions.get(index)
        });
        if let Some(leader) = partition.and_then(|it| it.leader) {
            let partition = TopicPartition::new((*name).clone(), *index);
            let led = leaders.entry(leader).or_default();
            led.insert((*id, *index), partition);
        }
    }
    (leaders.into_iter())
        .map(|(node, led)| (node, Arc::new(led)))
        .collect()
}
