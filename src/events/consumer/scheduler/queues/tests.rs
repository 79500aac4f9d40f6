use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::events::tenants::{TenantLimits, tenant_id};

fn queues(records: impl IntoIterator<Item = (KeyId, TenantId, u32)>) -> Queues<u32> {
    let mut queues = Queues::default();
    for (key, tenant, item) in records {
        queues.push(Work { key, tenant, item });
    }
    queues
}

/// What is taken at once, up to `limit`.
fn take(queues: &mut Queues<u32>, now: Instant, limit: usize) -> Vec<(KeyId, u32)> {
    let mut taken = VecDeque::new();
    queues.take(now, limit, &mut taken);
    taken
        .into_iter()
        .map(|work| (work.key, work.item))
        .collect()
}

#[test]
fn a_key_that_is_taken_holds_back_itself_only() {
    let now = Instant::now();
    let mut queues = queues([(1, 0, 10), (2, 0, 20), (1, 0, 11)]);
    assert_eq!(take(&mut queues, now, 1), [(1, 10)]);
    assert_eq!(take(&mut queues, now, 9), [(2, 20)]);
    assert_eq!(take(&mut queues, now, 9), []);
    queues.finish(1);
    assert_eq!(take(&mut queues, now, 9), [(1, 11)]);
}

#[test]
fn a_delayed_record_comes_before_those_behind_it_and_delays_no_other_key() {
    let now = Instant::now();
    let soon = now + Duration::from_secs(1);
    let mut queues = queues([(1, 0, 10), (1, 0, 11), (2, 0, 20)]);
    let mut taken = VecDeque::new();
    queues.take(now, 2, &mut taken);
    let first = taken.pop_front().expect("taken");
    queues.give_back(&mut taken, &[first.key]);
    queues.delay(first, soon);
    assert_eq!(queues.next_delay(), Some(soon));
    assert_eq!(take(&mut queues, now, 9), [(2, 20)]);
    assert_eq!(take(&mut queues, soon - Duration::from_millis(1), 9), []);
    assert_eq!(take(&mut queues, soon, 9), [(1, 10), (1, 11)]);
    assert_eq!(queues.next_delay(), None);
}

/// Whatever their hashes are: these are others in each run.
#[test]
fn keys_that_rest_until_the_same_time_come_in_the_order_in_which_they_began_to() {
    let now = Instant::now();
    let soon = now + Duration::from_secs(1);
    for keys in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let mut queues = queues(keys.map(|key| (key, 0, 0)));
        let mut taken = VecDeque::new();
        queues.take(now, 9, &mut taken);
        for work in taken {
            queues.delay(work, soon);
        }
        assert_eq!(take(&mut queues, soon, 9), keys.map(|key| (key, 0)));
    }
}

#[test]
fn tenants_take_turns_whatever_each_has_to_do() {
    let now = Instant::now();
    let flood = (0..100).map(|key| (key, 1, 0));
    let mut queues = queues(flood.chain([(200, 2, 0), (300, 3, 0), (301, 3, 0)]));
    let keys: Vec<_> = (0..6)
        .flat_map(|_| take(&mut queues, now, 1))
        .map(|(key, _)| key)
        .collect();
    assert_eq!(keys, [0, 200, 300, 1, 301, 2]);
}

/// What is taken one by one, finished at once or not, of each tenant so many.
fn turns(
    queues: &mut Queues<u32>,
    now: Instant,
    most: usize,
    finishes: bool,
) -> BTreeMap<TenantId, usize> {
    let mut turns = BTreeMap::new();
    for _ in 0..most {
        let mut taken = VecDeque::new();
        queues.take(now, 1, &mut taken);
        for work in taken {
            *turns.entry(work.tenant).or_default() += 1;
            if finishes {
                queues.finish(work.key);
            }
        }
    }
    turns
}

/// Three tenants with a hundred keys each, and their limits.
fn limited(limits: impl Fn(&mut TenantLimits)) -> (Queues<u32>, [TenantId; 3], Tenants) {
    let tenants = Tenants::default();
    let mut of_first = TenantLimits::default();
    limits(&mut of_first);
    tenants.set("a", of_first);
    let ids = ["a", "b", "c"].map(|name| tenant_id(Some(name.as_bytes())));
    let records = (0..300).map(|key| (key, ids[key as usize % 3], 0));
    let mut queues = queues(records);
    queues.follow(&tenants, Instant::now());
    (queues, ids, tenants)
}

#[test]
fn a_tenant_gets_as_many_turns_as_its_weight_says() {
    let (mut queues, [a, b, c], _) = limited(|limits| limits.weight = 3);
    let turns = turns(&mut queues, Instant::now(), 50, true);
    assert_eq!(turns, BTreeMap::from([(a, 30), (b, 10), (c, 10)]));
}

#[test]
fn a_tenant_has_no_more_keys_at_work_than_it_may_and_goes_on_when_one_is_done() {
    let now = Instant::now();
    let (mut queues, [a, b, c], tenants) = limited(|limits| limits.concurrency = Some(2));
    let mut taken = VecDeque::new();
    queues.take(now, 100, &mut taken);
    let of = |taken: &VecDeque<Work<u32>>, tenant| {
        taken.iter().filter(|work| work.tenant == tenant).count()
    };
    assert_eq!([a, b, c].map(|tenant| of(&taken, tenant)), [2, 49, 49]);
    let (kept, mut rest): (VecDeque<_>, VecDeque<_>) =
        taken.into_iter().partition(|work| work.tenant == a);
    // Whether it is finished, given back or rests: it is not at work.
    queues.give_back(&mut rest, &[]);
    let mut kept = kept.into_iter();
    queues.finish(kept.next().expect("one").key);
    queues.delay(kept.next().expect("another"), now + Duration::from_secs(1));
    let mut taken = VecDeque::new();
    queues.take(now, 300, &mut taken);
    assert_eq!([a, b, c].map(|tenant| of(&taken, tenant)), [2, 100, 100]);
    // A limit that is gone is gone for what waits already.
    tenants.reset("a");
    queues.follow(&tenants, now);
    assert!(queues.has_ready());
    queues.take(now, 300, &mut taken);
    assert_eq!(of(&taken, a), 98);
}

#[test]
fn a_tenant_over_its_rate_waits_until_it_is_within_it_and_pays_for_nothing_that_was_given_back() {
    let now = Instant::now() + Duration::from_secs(10);
    let (mut queues, [a, b, c], _) = limited(|limits| limits.per_second = Some(10));
    let mut taken = VecDeque::new();
    queues.take(now, 300, &mut taken);
    let of_a = taken.iter().filter(|work| work.tenant == a).count();
    assert_eq!((of_a, taken.len()), (10, 210));
    assert!(queues.take_news(), "somebody has to look again");
    assert!(!queues.has_ready());
    assert_eq!(queues.next_delay(), Some(now + Duration::from_millis(100)));
    queues.give_back(&mut taken, &[]);
    let later = now + Duration::from_millis(300);
    // As many at once as at first: nothing was handled.
    let turns = turns(&mut queues, later, 300, true);
    assert_eq!(turns, BTreeMap::from([(a, 10), (b, 100), (c, 100)]));
}

/// What a worker may do with what it has.
#[derive(Clone, Copy, Debug)]
enum End {
    Finished,
    Waits,
    Fails,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::Finished), 1 => Just(End::Waits), 1 => Just(End::Fails)]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(KeyId, TenantId),
    Take(usize),
    /// The worker of this number handles the first that it has.
    Handle(usize, End),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u64, 0..3u64).prop_map(|(key, tenant)| Step::Push(key, tenant)),
        2 => (1..6usize).prop_map(Step::Take),
        5 => (0..8usize, end()).prop_map(|(worker, end)| Step::Handle(worker, end)),
        1 => (0..30u64).prop_map(Step::Pass),
    ]
}

proptest! {
    /// Any number of workers take, handle, wait, fail and finish in any order.
    #[test]
    fn each_record_is_handled_once_in_the_order_of_its_key_and_a_key_by_one_worker(
        steps in prop::collection::vec(step(), 0..300)
    ) {
        let mut now = Instant::now();
        let mut queues = Queues::default();
        let mut pushed = 0;
        let mut expected: BTreeMap<KeyId, VecDeque<u32>> = BTreeMap::new();
        let mut workers: Vec<VecDeque<Work<u32>>> = Vec::new();
        // What is pushed is handled in the end.
        let rest = (0..2_000).map(|i| match i % 3 {
            0 => Step::Take(3),
            1 => Step::Handle(0, End::Finished),
            _ => Step::Pass(10),
        });
        for step in steps.into_iter().chain(rest) {
            match step {
                Step::Push(key, tenant) => {
                    queues.push(Work { key, tenant, item: pushed });
                    expected.entry(key).or_default().push_back(pushed);
                    pushed += 1;
                }
                Step::Take(limit) => {
                    let held: BTreeSet<_> = workers.iter().flatten().map(|work| work.key).collect();
                    let mut taken = VecDeque::new();
                    queues.take(now, limit, &mut taken);
                    prop_assert!(taken.len() <= limit);
                    prop_assert!(taken.iter().all(|work| !held.contains(&work.key)));
                    workers.push(taken);
                }
                Step::Handle(worker, end) => {
                    workers.retain(|taken| !taken.is_empty());
                    if workers.is_empty() {
                        continue;
                    }
                    let at = worker % workers.len();
                    let taken = &mut workers[at];
                    let Some(work) = taken.pop_front() else { continue };
                    let key = work.key;
                    let order = expected.get_mut(&key).expect("pushed");
                    prop_assert_eq!(order.front(), Some(&work.item));
                    match end {
                        End::Fails => {
                            queues.give_back(taken, &[key]);
                            queues.delay(work, now + Duration::from_millis(20));
                        }
                        End::Waits => {
                            queues.give_back(taken, &[key]);
                            order.pop_front();
                            queues.finish(key);
                        }
                        End::Finished => {
                            order.pop_front();
                            if taken.front().is_none_or(|next| next.key != key) {
                                queues.finish(key);
                            }
                        }
                    }
                }
                Step::Pass(ms) => now += Duration::from_millis(ms),
            }
        }
        prop_assert!(expected.values().all(VecDeque::is_empty), "{expected:?}");
        prop_assert!(queues.keys.is_empty() && !queues.has_ready());
    }

    /// As long as a tenant has a key that is ready, it waits for one turn of each other at most.
    #[test]
    fn no_tenant_starves(
        records in prop::collection::vec((0..40u64, 0..5u64), 1..200),
        finished in prop::collection::vec(any::<bool>(), 200),
    ) {
        let now = Instant::now();
        // Each key has one tenant.
        let mut queues = queues(records.iter().map(|(key, tenant)| (key * 5 + tenant, *tenant, 0)));
        let mut waited: BTreeMap<TenantId, usize> = BTreeMap::new();
        for finished in finished {
            let ready: BTreeSet<_> = (0..5).filter(|tenant| queues.turns.has(*tenant)).collect();
            let mut taken = VecDeque::new();
            queues.take(now, 1, &mut taken);
            let Some(work) = taken.pop_front() else { break };
            for tenant in &ready {
                let turns = waited.entry(*tenant).or_default();
                *turns = if *tenant == work.tenant { 0 } else { *turns + 1 };
                prop_assert!(*turns < ready.len().max(5), "tenant {tenant} waits for {turns} turns");
            }
            if finished {
                queues.finish(work.key);
            }
        }
    }
}
