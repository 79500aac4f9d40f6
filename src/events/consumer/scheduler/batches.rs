//! Workers that call a handler with several records at once. One of them collects at a time: it takes what is ready, waits for more if it may,
//! and makes room for the next collector before it calls the handler.
//!
//! In: records, the bounds of a batch. Out: as of workers that handle single records, for each record of the batch. Of a key nothing counts as
//! handled behind a record that is not: it goes back in front of its key.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc;
use tokio::task::coop;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::leaving::{Given, Leaving};
use super::outcome::{Away, End, counted, finish, turn_of};
use super::queues::{KeyId, Work};
use super::work_batch::WorkItem;
use super::workers::{Shared, Taken};
use crate::events::consumer::death_watch::TurnAlone;
use crate::events::consumer::metrics::count;
use crate::events::failure::Chain;
use crate::events::handler::{Panicked, TimedOut};
use crate::events::observe::{Last, ProcessSpan};
use crate::events::tenants::NOBODY;
use crate::events::{
    Batch, BatchHandler, BatchPolicy, Context, EventSet, HandlerError, RecordKind,
};
use crate::kafka::runtime::tasks::caught;

/// In how many steps a batch waits for more.
const LOOKS: u32 = 4;

/// What became of one record of a batch.
enum Outcome {
    Over(RecordKind, Result<(), Arc<HandlerError>>),
    /// The call as a whole came to nothing.
    Failed(Arc<HandlerError>),
    /// It stands behind one of its key that could not be read, and was not handled.
    Behind,
    /// So many processes have died over it: it was not handled.
    Deadly(u32),
}

/// What a record was found to be, before the handler is called.
enum Read {
    /// The handler has it, at this place of its batch.
    Given(usize, RecordKind),
    Over(RecordKind, Result<(), Arc<HandlerError>>),
    Behind,
}

pub(super) async fn work<S, B>(
    handler: Arc<B>,
    codec: Arc<S::Codec>,
    policy: BatchPolicy,
    shared: Arc<Shared>,
    leaving: mpsc::UnboundedSender<Given>,
    number: usize,
) where
    S: EventSet,
    B: BatchHandler<S>,
{
    let counters = &shared.counters().workers[number];
    loop {
        let mut taken = VecDeque::new();
        let is_probe = match collect(&shared, policy, &mut taken).await {
            Taken::Nothing => return,
            how => how == Taken::AsProbe,
        };
        if shared.failing().is_restricted() && !is_probe {
            shared.give_back(&mut Vec::new(), &mut taken, &[]);
            continue;
        }
        let mut keys: Vec<KeyId> = taken.iter().map(|work| work.key).collect();
        keys.dedup();
        let begins = |work: &Work<WorkItem>| !shared.is_stopping() && work.item.partition().begin();
        taken.retain(begins);
        if taken.is_empty() {
            // As it is with all that has these keys.
            shared.settle(&mut taken, Vec::new(), &keys, &[]);
            continue;
        }
        let Sorted {
            taken,
            places,
            mut back,
            aways,
            mut kept,
        } = sort(&shared, taken);
        if taken.is_empty() {
            if is_probe {
                shared.failing().probe_unused();
            }
            kept.sort_unstable();
            let mut back = back.into_iter().map(|(_, work)| work).collect();
            shared.settle(&mut back, Vec::new(), &keys, &kept);
            (aways.into_iter()).for_each(|away| shared.send_away(away, &leaving));
            continue;
        }
        let (alone, deaths) = match turn_alone(&shared, &taken).await {
            TurnAlone::Free => (None, None),
            TurnAlone::Alone(permit) => (Some(permit), None),
            TurnAlone::GivenUp(deaths) => (None, Some(deaths)),
            rests => {
                if is_probe {
                    shared.failing().probe_unused();
                }
                let end =
                    |work: &Work<WorkItem>| work.item.partition().end(work.item.offset(), false);
                taken.iter().for_each(end);
                let mut delayed = Vec::new();
                if let TurnAlone::Rests(until) = rests {
                    kept.extend(taken.iter().map(|work| work.key));
                    delayed.extend(taken.into_iter().map(|work| (work, until)));
                }
                kept.sort_unstable();
                let mut back = back.into_iter().map(|(_, work)| work).collect();
                shared.settle(&mut back, delayed, &keys, &kept);
                (aways.into_iter()).for_each(|away| shared.send_away(away, &leaving));
                continue;
            }
        };
        let begun = Instant::now();
        let (outcomes, span) =
            call::<S, B>(&handler, &codec, &shared, &taken, deaths, number).await;
        drop(alone);
        counters.handler_latency.record(begun.elapsed());

        let (mut delayed, mut left) = (Vec::new(), Vec::new());
        let mut tenants_ended = Vec::new();
        let mut behind = None;
        for ((mut work, outcome), place) in taken.into_iter().zip(outcomes).zip(places) {
            let (offset, key, tenant) = (work.item.offset(), work.key, work.tenant);
            let partition = work.item.partition().clone();
            if behind == Some(key) || matches!(outcome, Outcome::Behind) {
                behind = Some(key);
                partition.end(offset, false);
                back.push((place, work));
                continue;
            }
            let mut went_well = false;
            let end = match outcome {
                Outcome::Over(kind, Ok(())) => {
                    counted(counters, kind, true);
                    count(&counters.handled, 1);
                    if is_probe {
                        shared.probe_succeeded();
                    }
                    went_well = true;
                    End::Finished
                }
                Outcome::Over(kind, Err(error)) => {
                    shared.see_to(counters, &mut work.item, Some(kind), error, &span)
                }
                Outcome::Failed(error) => {
                    shared.see_to(counters, &mut work.item, None, error, &span)
                }
                Outcome::Deadly(deaths) => {
                    shared.see_to_deaths(counters, &mut work.item, deaths, &span)
                }
                Outcome::Behind => End::Left,
            };
            if tenant != NOBODY && matches!(end, End::Finished | End::Dead(_)) {
                tenants_ended.push((tenant, went_well));
            }
            match end {
                End::Finished => finish(&work.item),
                End::Left => {
                    partition.end(offset, false);
                    behind = Some(key);
                }
                End::Again(at) => {
                    partition.end(offset, false);
                    delayed.push((work, at));
                    kept.push(key);
                    behind = Some(key);
                }
                End::Dead(letter) => {
                    // It is at work until it is written.
                    left.push((work, Leaving::Dead(letter)));
                    kept.push(key);
                    behind = Some(key);
                }
                End::Retry(to) => {
                    left.push((work, Leaving::ToRetry(to)));
                    kept.push(key);
                    behind = Some(key);
                }
            }
        }
        kept.sort_unstable();
        back.sort_by_key(|(place, _)| *place);
        let mut back = back.into_iter().map(|(_, work)| work).collect();
        shared.settle(&mut back, delayed, &keys, &kept);
        (aways.into_iter()).for_each(|away| shared.send_away(away, &leaving));
        // Nobody receives them when the consumer is at its end: then they are left.
        left.into_iter().for_each(|given| drop(leaving.send(given)));
        if !tenants_ended.is_empty() {
            let mut counts = shared.counters().tenants.lock();
            for (tenant, handled) in tenants_ended {
                counts.ended(tenant, handled);
            }
        }
        // Handlers that never wait leave the thread to others now and then all the same.
        coop::consume_budget().await;
    }
}

/// What of a batch goes to the handler, and what does not.
#[derive(Default)]
struct Sorted {
    taken: VecDeque<Work<WorkItem>>,
    /// The places that they had.
    places: Vec<usize>,
    /// What goes back, with the place that it had.
    back: Vec<(usize, Work<WorkItem>)>,
    aways: Vec<Away>,
    /// The keys of these.
    kept: Vec<KeyId>,
}

/// Takes out what is not to be handled now because of what is under way in retry topics. Where that may concern a key, one of it is in a batch.
fn sort(shared: &Shared, all: VecDeque<Work<WorkItem>>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut last = None;
    for (place, work) in all.into_iter().enumerate() {
        let key = work.key;
        let is_first = last.replace(key) != Some(key);
        let partition = work.item.partition();
        let is_concerned =
            |(chain, level): &(Arc<Chain>, u8)| *level > 0 || chain.len() > 0 || !chain.is_ready();
        if !is_first && partition.chain.as_ref().is_some_and(is_concerned) {
            partition.end(work.item.offset(), false);
            sorted.back.push((place, work));
            continue;
        }
        match turn_of(&work.item) {
            None => {
                sorted.places.push(place);
                sorted.taken.push_back(work);
            }
            Some(turn) => match shared.turn_away(turn, work) {
                Away::Over => {}
                away => {
                    sorted.kept.push(key);
                    sorted.aways.push(away);
                }
            },
        }
    }
    sorted
}

/// Whose turn it is: a record that has to be handled alone is alone in its batch, and what is of a partition that is not open yet is in none, but
/// for a probe.
async fn turn_alone(shared: &Shared, taken: &VecDeque<Work<WorkItem>>) -> TurnAlone {
    if let Some(Work { item, .. }) = taken.front()
        && let Some(watch) = item.partition().watch()
    {
        let given_up = [shared.stopping(), &item.partition().gone];
        return watch.turn(item.partition(), item.offset(), given_up).await;
    }
    TurnAlone::Free
}

/// Takes the records of a batch: what is ready, and what comes while it lingers.
async fn collect(
    shared: &Shared,
    policy: BatchPolicy,
    taken: &mut VecDeque<Work<WorkItem>>,
) -> Taken {
    let Ok(_turn) = shared.collecting.acquire().await else {
        return Taken::Nothing;
    };
    let most = policy.max_events.max(1);
    loop {
        let how = shared.next(&mut Vec::new(), most, taken).await;
        if how == Taken::Freely {
            let_rest(shared, taken);
            linger(shared, policy, taken).await;
            if taken.is_empty() {
                continue;
            }
        }
        let mut rest = taken.split_off(fitting(taken, policy));
        let kept: Vec<KeyId> = taken.back().map(|work| work.key).into_iter().collect();
        shared.give_back(&mut Vec::new(), &mut rest, &kept);
        return how;
    }
}

/// Waits for more than what is `taken`, as long as it may.
async fn linger(shared: &Shared, policy: BatchPolicy, taken: &mut VecDeque<Work<WorkItem>>) {
    let begun = Instant::now();
    for look in 1..=LOOKS {
        if policy.linger.is_zero()
            || fitting(taken, policy) < taken.len()
            || is_full(taken, policy)
            || taken.iter().all(passes_on)
        {
            return;
        }
        let until = begun + policy.linger * look / LOOKS;
        if timeout_at(until, shared.stopping().cancelled())
            .await
            .is_ok()
        {
            return;
        }
        shared.take_again(policy.max_events.max(1), taken);
        let_rest(shared, taken);
    }
}

/// Lets what is `taken` of partitions that are not open yet rest, and its keys with it: once they are open, it is in batches like any other.
fn let_rest(shared: &Shared, taken: &mut VecDeque<Work<WorkItem>>) {
    if !taken.iter().any(|work| work.item.partition().is_watched()) {
        return;
    }
    let now = Instant::now();
    let (mut back, mut delayed, mut keys) = (VecDeque::new(), Vec::new(), Vec::new());
    for work in std::mem::take(taken) {
        let key = work.key;
        if keys.last() == Some(&key) {
            back.push_back(work);
            continue;
        }
        let partition = work.item.partition();
        // Of one that goes nothing is handled.
        let watch = partition.watch().filter(|_| !partition.is_released());
        match watch.and_then(|watch| watch.opens(partition, now)) {
            Some(until) => {
                keys.push(key);
                delayed.push((work, until));
            }
            None => taken.push_back(work),
        }
    }
    if !keys.is_empty() {
        keys.sort_unstable();
        shared.settle(&mut back, delayed, &keys, &keys);
    }
}

fn is_full(taken: &VecDeque<Work<WorkItem>>, policy: BatchPolicy) -> bool {
    let bytes = taken.iter().map(|work| work.item.len()).sum::<usize>();
    taken.len() >= policy.max_events || bytes >= policy.max_bytes || taken.iter().any(is_alone)
}

/// Whether a record has a batch to itself: what has failed before, and what has to be handled alone.
fn is_alone(work: &Work<WorkItem>) -> bool {
    let partition = work.item.partition();
    let goes_alone = || partition.is_alone(work.item.offset(), Instant::now());
    work.item.failures.is_some() || partition.is_watched() && goes_alone()
}

/// Whether a record will not be handled now, because of what is under way ahead of it in retry topics: a batch of such does not wait for more.
fn passes_on(work: &Work<WorkItem>) -> bool {
    let chain = work.item.partition().chain.as_ref();
    chain.is_some_and(|(chain, _)| chain.has_ahead(work.item.event()))
}

/// How many of these, from the front, may be in one batch.
fn fitting(taken: &VecDeque<Work<WorkItem>>, policy: BatchPolicy) -> usize {
    let mut bytes = 0;
    let mut alone = false;
    let fits = |work: &&Work<WorkItem>| {
        let is_first = bytes == 0;
        bytes += work.item.len().max(1);
        let is_alone = is_alone(work);
        let fits = is_first || !alone && !is_alone && bytes <= policy.max_bytes;
        alone = is_alone;
        fits
    };
    taken
        .iter()
        .take(policy.max_events.max(1))
        .take_while(fits)
        .count()
}

/// Reads the records of `taken`, and calls the handler with those that are events of the set; not with one over which so many processes have died.
async fn call<S, B>(
    handler: &B,
    codec: &S::Codec,
    shared: &Shared,
    taken: &VecDeque<Work<WorkItem>>,
    deaths: Option<u32>,
    number: usize,
) -> (Vec<Outcome>, ProcessSpan)
where
    S: EventSet,
    B: BatchHandler<S>,
{
    let policy = &shared.failing().policy;
    let contexts = taken.iter().map(|Work { item, .. }| {
        let attempt = item.failures.as_ref().map_or(1, |before| before.count + 1);
        let cancellations = [shared.stopping(), &item.partition().gone];
        Context::of_call(item.record(), attempt, policy.on_unknown, cancellations)
    });
    let contexts: Vec<Context<'_>> = contexts.collect();
    let lasts = taken
        .iter()
        .map(|work| work.item.failures.as_ref().map(|before| &before.last));
    let calls: Vec<(&Context<'_>, Option<&Last>)> = contexts.iter().zip(lasts).collect();
    let span = shared.spans().process_batch(&calls);
    if let Some(deaths) = deaths {
        let outcomes = taken.iter().map(|_| Outcome::Deadly(deaths));
        return (outcomes.collect(), span);
    }
    let handling = async {
        let (mut reads, mut events) = (Vec::with_capacity(taken.len()), Vec::new());
        let mut behind = None;
        for (context, Work { key, .. }) in contexts.iter().zip(taken) {
            let read = match behind == Some(*key) {
                true => Read::Behind,
                false => read::<S>(context, codec, &mut events).await,
            };
            if matches!(read, Read::Over(_, Err(_))) {
                behind = Some(*key);
            }
            reads.push(read);
        }
        let len = events.len();
        let result = match len {
            0 => Ok(()),
            _ => handler.handle_batch(Batch::new(events)).await,
        };
        let outcome = |read| match read {
            Read::Given(place, kind) => {
                let result = result
                    .as_ref()
                    .map_or_else(|error| error.at(place, len), |()| Ok(()));
                Outcome::Over(kind, result)
            }
            Read::Over(kind, result) => Outcome::Over(kind, result),
            Read::Behind => Outcome::Behind,
        };
        reads.into_iter().map(outcome).collect::<Vec<_>>()
    };
    let mut handling = pin!(caught(handling));
    let mut timer = policy
        .handler_timeout
        .map(|limit| Box::pin(sleep_until(Instant::now() + limit)));
    let ended = poll_fn(|task| {
        let polled = {
            let _current = span.enter();
            handling.as_mut().poll(task)
        };
        match (polled, &mut timer) {
            (Poll::Ready(ended), _) => Poll::Ready(Some(ended)),
            (_, Some(timer)) => timer.as_mut().poll(task).map(|()| None),
            (_, None) => Poll::Pending,
        }
    })
    .await;
    let error = match ended {
        Some(Ok(outcomes)) => return (outcomes, span),
        Some(Err(panic)) => HandlerError::of(Panicked(panic), Some(policy.on_panic)),
        None => {
            count(&shared.counters().workers[number].timed_out, 1);
            let limit = policy.handler_timeout.unwrap_or_default();
            HandlerError::transient(TimedOut(limit))
        }
    };
    let error = Arc::new(error);
    let outcomes = taken.iter().map(|_| Outcome::Failed(error.clone()));
    (outcomes.collect(), span)
}

/// Finds out what a record is, and puts it behind `events` where it is one of the set.
async fn read<'a, S: EventSet>(
    context: &Context<'a>,
    codec: &S::Codec,
    events: &mut Vec<(Context<'a>, S)>,
) -> Read {
    match context.read::<S>(codec).await {
        Ok(Ok((index, event))) => {
            events.push((*context, event));
            Read::Given(events.len() - 1, RecordKind::Event(index))
        }
        // There is no handler for these: they are skipped, unless they are failures.
        Ok(Err(event_type)) => {
            let result = context.without_handler(&event_type).unwrap_or(Ok(()));
            Read::Over(RecordKind::Unknown, result.map_err(Arc::new))
        }
        Err(error) => {
            let error = Arc::new(HandlerError::undecodable(error));
            Read::Over(RecordKind::Undecodable, Err(error))
        }
    }
}
